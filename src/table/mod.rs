//! Trends as tables: Arrow schemas, record batches, and Parquet bytes with their footers.
//!
//! The columns are a public contract. [`schema`] is the one place that makes them, and a golden
//! file guards it; a change of it raises [`FORMAT_VERSION`].

mod batch;
mod decode;
mod footer;
mod inspect;
mod pack;
mod parquet;
mod periods;
mod restated;
mod schema;

pub use batch::batch;
pub use decode::{DamagedError, decode, decode_rows, read_footer};
pub use footer::Footer;
pub use inspect::{Sound, column, flaw, inspect, inspect_bare};
pub use pack::{Flaws, Packed, Part, Parts, inspect_pack, pack, read_parts, unpack};
pub use parquet::{bare, encode, encode_bare};
pub use periods::{period_batch, period_rows};
pub use restated::{
    METRICS, RESTATEMENT_SORT, Replaced, Restatements, change_id, decode_restatements, encode_restatements,
    inspect_restatements, restated, restatement_schema, united,
};
pub use schema::{FORMAT_VERSION, about, schema, sort_columns};
pub use trendlake_codec::content_hash;

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
