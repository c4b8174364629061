//! trendlake copies the user-engagement trends of Kore.ai apps ("streams") into a data lake of
//! partitioned Parquet, and keeps the copy right.
//!
//! # The idea
//! The API answers one question per request: stream, grain, filters, range of dates. An answer is an
//! aggregate, and past answers change for days. So a partition of the lake is a pure function of a
//! small set of answers, and a run is a reconciliation, as `make` does it: the partitions that the
//! configuration and the calendar ask for, minus those that the lake holds for good. There is no
//! cursor and no database: retry, re-run, backfill and recovery are one and the same operation.
//!
//! # The flow
//! ```text
//! text -> Settings -> Plan [Unit] -> answers -> Trend -> RecordBatch -> Parquet -> Outcome -> Report
//!  config  config      plan          kore       kore      table         table,     export     report
//!                                                                       lake
//! ```
//! What every figure goes through on this way is a package of its own, compiled for speed: [`trendlake_codec`] reads an
//! answer's JSON for `kore`, and hashes and encodes rows for `table`.
//!
//! # The layers, lowest first
//! A module names only modules before it; `kore`, `table` and `lake` do not name one another: the table and
//! the lake meet in `shelf`, the source and the shelf in `export`. A test reads the `use` lines and proves it.
//!
//! 1. [`clock`], [`chance`], [`secret`]: time, chance and secrets as values; `wording`: figures in words
//! 2. [`model`]: the words of the domain, without IO
//! 3. [`config`]: from a person's text to checked settings, every problem at once
//! 4. [`plan`] and [`report`]: what is to be done, and what came of it; pure
//! 5. [`kore`], [`table`], [`lake`]: the source, the columns, the store
//! 6. [`shelf`]: partitions in their objects: surveyed, read, replaced; [`sql`]: what makes engines read them
//! 7. [`export`]: carries out a plan; [`notify`]: tells the world outside what came of it
//! 8. [`serve`]: carries out plans on a schedule, and shows how it goes
//! 9. [`simulator`]: a stand-in of the API for the demo, the tests and rehearsals
//! 10. [`cli`]: the command line
//!
//! # What always holds
//! 1. Every (stream, slice, date, hour) stands exactly once in the lake, and equals the newest
//!    accepted answer, after any sequence of runs, crashes and retries.
//! 2. A reader never sees half a partition: an object is replaced whole, in one atomic step.
//! 3. A partition is fetched again until it is final, and never after.
//! 4. A run whose answers are what the lake holds writes no data.
//! 5. No more than the allowed requests leave in any rolling span of time, retries included.
//! 6. A bad or doubtful answer never replaces a good partition.
//! 7. One failing stream never holds up another.
//! 8. No secret and no token reaches a log, an error or the lake.
//!
//! What is absent on purpose: a state file, a scheduler's memory, deletes of data (but of what a migration
//! has copied, and a table no longer names), and any addition of unique users.

pub mod chance;
pub mod cli;
pub mod clock;
pub mod config;
pub mod export;
pub mod kore;
pub mod lake;
pub mod model;
pub mod notify;
pub mod plan;
pub mod report;
pub mod secret;
pub mod serve;
pub mod shelf;
pub mod simulator;
pub mod sql;
pub mod table;
mod wording;
