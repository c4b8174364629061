//! Integration tests, one binary, since arrow is slow to link.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cli;
mod engines;
mod examples;
mod faults;
mod front;
mod layers;
mod mend;
mod moto;
mod s3;
mod s3_wire;
mod secrets;
mod spine;
mod store_faults;
mod stores;
mod support;
mod wire;
