//! A stand-in of the vendor's API, for the tests, the demo, and rehearsals before credentials exist.
//!
//! It judges a call as strictly as the documentation allows (token, rolling limits, parameters) and
//! answers in the documented shape, with figures from a made-up [`World`]. Where the documentation
//! is silent it takes the choice that finds more mistakes of a client: a parameter sent twice, an
//! unknown one, a missing zone and a `+` for a space are all refused. Faults can be asked for by name.
//!
//! Everything follows from the settings, the calls and the clock, so that a run can be repeated.

mod settings;

mod ask;
mod auth;
mod limits;
mod noise;
mod world;

mod faults;
mod mutate;
mod reply;
mod wire;

mod server;
mod stats;

pub use auth::{InvalidKey, VerifyingKey};
pub use faults::{Fault, FaultRule, InvalidFaultRule};
pub use server::Simulator;
pub use settings::{Future, Settings, SimulatedStream};
pub use stats::{Stats, StreamStats};
pub use world::World;
