//! Integration tests, one binary, since arrow is slow to link.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod browser;
mod canary;
mod changes;
mod cli;
mod clocks;
mod corpus;
mod credentials;
#[cfg(feature = "delta")]
mod delta;
mod disk;
mod engines;
mod examples;
mod faults;
mod front;
mod histories;
mod hostile;
mod inside;
mod layers;
mod layouts;
mod lineage;
mod loader;
mod mend;
mod moto;
mod notify;
mod operating;
#[cfg(feature = "otlp")]
mod otlp;
mod pace;
mod pages;
mod panic;
mod periods;
mod process;
mod promises;
mod raw;
mod raw_periods;
mod s3;
mod s3_wire;
mod secrets;
mod serve;
mod shards;
mod shelves;
mod spine;
mod store_faults;
mod stores;
mod support;
#[cfg(feature = "delta")]
mod table_tags;
mod tls;
mod waits;
mod warehouse;
mod wire;
