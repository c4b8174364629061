//! The source: Kore.ai's User Engagement Trend API, version 2.
//!
//! One [`Question`](crate::model::Question) in, one checked [`Trend`](crate::model::Trend) out.
//! What stands between is one folder's concern: signing ([`auth`](Signer)), waiting for the rate
//! limit, one HTTP attempt, trying again, decoding, and checking the answer against the question.
//! `docs/API.md` says what the vendor documents and what is only known from use.

mod attempt;
mod auth;
mod check;
mod client;
mod error;
mod limiter;
mod refusal;
mod traffic;

pub use attempt::{Transport, http_client};
pub use auth::{Claims, Signer, SignerError, read_back};
pub use check::{Checked, Rejection, check};
pub use client::{Answer, Client, Piece, again};
pub use error::{Class, Error};
pub use limiter::{Limiter, Permit};
pub use refusal::{error as refusal, message as server_message, retry_after, skew};
pub use traffic::Traffic;
