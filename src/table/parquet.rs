//! Parquet bytes: written whole in memory, read back with suspicion.

use std::panic::{AssertUnwindSafe, catch_unwind};

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::metadata::{KeyValue, ParquetMetaDataReader, SortingColumn};
use parquet::file::properties::{EnabledStatistics, WriterProperties};

use super::footer::Footer;
use super::schema::{schema, sort_columns};
use crate::model::Dataset;

/// An object is no partition of ours, or no longer a sound one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct DamagedError(String);

/// The bytes of a partition's file.
#[must_use]
pub fn encode(dataset: Dataset, batch: &RecordBatch, footer: &Footer) -> Bytes {
    let entries = footer.entries().into_iter().map(|(key, value)| KeyValue::new(key, value)).collect();
    let properties = properties(dataset, entries);
    let mut bytes = Vec::with_capacity(16 * 1024);
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties))
        .expect("every dataset's schema can be written");
    writer.write(batch).expect("the batch fits its schema");
    writer.close().expect("memory takes all bytes");
    bytes.into()
}

/// The columns whose values vary enough for compression to gain anything. A page of one repeated text
/// is a few bytes already and only grows by a frame around it.
const COMPRESSED: [&str; 5] = ["date", "hour", "unique_users", "new_users", "returning_users"];

fn properties(dataset: Dataset, entries: Vec<KeyValue>) -> WriterProperties {
    let builder = WriterProperties::builder()
        .set_created_by(concat!("trendlake version ", env!("CARGO_PKG_VERSION")).into())
        .set_dictionary_enabled(true)
        // Statistics by page bring the page index, which lets engines skip pages by date.
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_sorting_columns(Some(sorting(dataset)))
        .set_key_value_metadata(Some(entries));
    let compressed = COMPRESSED.iter().filter(|_| dataset != Dataset::Summary);
    let builder = compressed.fold(builder, |builder, name| {
        // The level that the format's own tools use: on these small files a higher one gains nothing.
        builder.set_column_compression((*name).into(), Compression::ZSTD(ZstdLevel::default()))
    });
    // Instants an hour apart: a dictionary would hold every one of them, their differences are one.
    builder
        .set_column_dictionary_enabled("hour_start".into(), false)
        .set_column_encoding("hour_start".into(), Encoding::DELTA_BINARY_PACKED)
        .build()
}

fn sorting(dataset: Dataset) -> Vec<SortingColumn> {
    let schema = schema(dataset);
    let column = |name: &&str| {
        let index = schema.index_of(name).expect("sort columns are columns");
        SortingColumn {
            column_idx: i32::try_from(index).expect("a dozen columns"),
            descending: false,
            nulls_first: false,
        }
    };
    sort_columns(dataset).iter().map(column).collect()
}

/// Reads only what a file says of itself. `bytes` is the whole file.
///
/// # Errors
/// When the bytes are no Parquet, or not written by trendlake.
pub fn read_footer(bytes: &Bytes) -> Result<Footer, DamagedError> {
    guarded(|| {
        let metadata = ParquetMetaDataReader::new().parse_and_finish(bytes).map_err(|e| e.to_string())?;
        let entries = metadata.file_metadata().key_value_metadata();
        let find = |key: &str| {
            let entry = entries?.iter().find(|kv| kv.key == key)?;
            entry.value.as_deref()
        };
        Footer::from_entries(find).ok_or_else(|| "the footer has no entries of trendlake".into())
    })
}

/// Reads every row of a file. `bytes` is the whole file.
///
/// # Errors
/// When the bytes are no sound Parquet, or their columns are not the dataset's.
pub fn decode(dataset: Dataset, bytes: &Bytes) -> Result<RecordBatch, DamagedError> {
    guarded(|| {
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes.clone()).map_err(|e| e.to_string())?;
        let expected = schema(dataset);
        if !reader
            .schema()
            .fields()
            .iter()
            .map(|f| (f.name(), f.data_type()))
            .eq(expected.fields().iter().map(|f| (f.name(), f.data_type())))
        {
            return Err(format!("the columns are not those of `{dataset}`"));
        }
        let batches: Result<Vec<_>, _> = reader.build().map_err(|e| e.to_string())?.collect();
        let batches = batches.map_err(|e| e.to_string())?;
        let schema = batches.first().map_or(expected, RecordBatch::schema);
        concat_batches(&schema, &batches).map_err(|e| e.to_string())
    })
}

/// A damaged file can make the Parquet library panic; that is one more way to say damaged.
fn guarded<T>(read: impl FnOnce() -> Result<T, String>) -> Result<T, DamagedError> {
    match catch_unwind(AssertUnwindSafe(read)) {
        Ok(result) => result.map_err(DamagedError),
        Err(_) => Err(DamagedError("the file cannot be read: its metadata contradict one another".into())),
    }
}
