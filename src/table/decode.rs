//! Parquet bytes, read back with suspicion.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::errors::ParquetError;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use parquet::file::statistics::Statistics;
use trendlake_codec::repeated;

use super::footer::{Footer, PREFIX};
use super::parquet::{STREAM_ID, bare_schema};
use super::schema::schema;
use crate::model::Dataset;

/// An object is no partition of ours, or no longer a sound one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DamagedError {
    /// It cannot be read, or contradicts itself.
    #[error("{0}")]
    Damaged(String),
    /// A later version of trendlake wrote it, in this format.
    #[error("it was written by a later version of trendlake (format {0})")]
    Newer(u32),
    /// It is a Parquet file that someone else wrote.
    #[error("the footer has no entries of trendlake")]
    Foreign,
}

impl From<String> for DamagedError {
    fn from(text: String) -> Self {
        Self::Damaged(text)
    }
}

/// Reads only what a file says of itself. `bytes` is the whole file.
///
/// # Errors
/// When the bytes are no Parquet, or written by another program or a later version of this one.
pub fn read_footer(bytes: &Bytes) -> Result<Footer, DamagedError> {
    guarded(|| {
        let metadata = ParquetMetaDataReader::new().parse_and_finish(bytes).map_err(|e| e.to_string())?;
        Footer::from_entries(|key| said(&metadata, key))
    })
}

/// One entry of a file's own key-value metadata. `bytes` is the whole file.
///
/// # Errors
/// When the bytes are no Parquet.
pub(super) fn entry(bytes: &Bytes, key: &str) -> Result<Option<String>, DamagedError> {
    guarded(|| {
        let metadata = ParquetMetaDataReader::new().parse_and_finish(bytes).map_err(|e| e.to_string())?;
        Ok(said(&metadata, key).map(str::to_owned))
    })
}

fn said<'a>(metadata: &'a ParquetMetaData, key: &str) -> Option<&'a str> {
    let mut entries = metadata.file_metadata().key_value_metadata()?.iter();
    entries.find(|kv| kv.key == key)?.value.as_deref()
}

/// What a file says of itself and its row groups. `bytes` is the whole file of `length` bytes, or its end; nothing
/// comes back where it would take more of it.
pub(super) fn metadata(bytes: &Bytes, length: u64) -> Result<Option<ParquetMetaData>, DamagedError> {
    let mut reader = ParquetMetaDataReader::new();
    match reader.try_parse_sized(bytes, length).and_then(|()| reader.finish()) {
        Ok(metadata) => Ok(Some(metadata)),
        Err(ParquetError::NeedMoreData(_)) => Ok(None),
        Err(error) => Err(error.to_string().into()),
    }
}

/// Reads every row of a file, bare or not. `bytes` is the whole file.
///
/// # Errors
/// When the bytes are no sound Parquet, or their columns are not the dataset's.
pub fn decode(dataset: Dataset, bytes: &Bytes) -> Result<RecordBatch, DamagedError> {
    decode_rows(dataset, bytes, 0..usize::MAX)
}

/// The same for the columns of any schema, which belong to the table of this name.
pub(super) fn decode_as(
    expected: &SchemaRef,
    name: &str,
    bytes: &Bytes,
) -> Result<RecordBatch, DamagedError> {
    guarded(|| read_rows(open(bytes)?, expected, name, 0..usize::MAX))
}

/// Reads some rows of a file, and of the others no more than their row groups make it. `bytes` is the whole file.
///
/// # Errors
/// When the bytes are no sound Parquet, or their columns are not the dataset's.
pub fn decode_rows(dataset: Dataset, bytes: &Bytes, rows: Range<usize>) -> Result<RecordBatch, DamagedError> {
    guarded(|| {
        let file = open(bytes)?;
        let Some(stream) = said(file.metadata(), &stream_key()).map(str::to_owned) else {
            return read_rows(file, &schema(dataset), dataset.as_str(), rows);
        };
        let bare = read_rows(file, &bare_schema(dataset), dataset.as_str(), rows)?;
        let stream = repeated(&stream, bare.num_rows());
        let columns = [stream].into_iter().chain(bare.columns().iter().cloned()).collect();
        RecordBatch::try_new(schema(dataset), columns).map_err(|e| e.to_string().into())
    })
}

/// Whether a file is bare: then its footer says of which stream it is. `bytes` is the whole file.
///
/// # Errors
/// When the bytes are no Parquet.
pub(super) fn is_bare(bytes: &Bytes) -> Result<bool, DamagedError> {
    Ok(entry(bytes, &stream_key())?.is_some())
}

/// The entry of a bare file's footer that says of which stream it is.
pub(super) fn stream_key() -> String {
    format!("{PREFIX}{STREAM_ID}")
}

type Reader = ParquetRecordBatchReaderBuilder<Bytes>;

/// Opens a file with the page index, whose mistakes other readers would run into.
fn open(bytes: &Bytes) -> Result<Reader, DamagedError> {
    let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Optional);
    Reader::try_new_with_options(bytes.clone(), options).map_err(|e| e.to_string().into())
}

fn read_rows(
    file: Reader,
    expected: &SchemaRef,
    name: &str,
    rows: Range<usize>,
) -> Result<RecordBatch, DamagedError> {
    let (found, expected_columns) = (file.schema().fields().iter(), expected.fields().iter());
    if !found.map(|f| (f.name(), f.data_type())).eq(expected_columns.map(|f| (f.name(), f.data_type()))) {
        return Err(format!("the columns are not those of `{name}`").into());
    }
    let (mut start, mut first, mut groups) = (0, None, Vec::new());
    for (index, group) in file.metadata().row_groups().iter().enumerate() {
        let end = start + usize::try_from(group.num_rows()).map_err(|e| e.to_string())?;
        if start < rows.end && rows.start < end {
            first.get_or_insert(start);
            groups.push(index);
        }
        start = end;
    }
    let has_others = groups.len() < file.metadata().num_row_groups();
    let file = if has_others { file.with_row_groups(groups) } else { file };
    let batches: Result<Vec<_>, _> = file.build().map_err(|e| e.to_string())?.collect();
    let batches = batches.map_err(|e| e.to_string())?;
    let schema = batches.first().map_or_else(|| expected.clone(), RecordBatch::schema);
    let batch = concat_batches(&schema, &batches).map_err(|e| e.to_string())?;
    let start = rows.start.saturating_sub(first.unwrap_or(0)).min(batch.num_rows());
    let length = rows.len().min(batch.num_rows() - start);
    Ok(if length == batch.num_rows() { batch } else { batch.slice(start, length) })
}

/// What a file says of its columns and their pages, by which readers skip them.
///
/// # Errors
/// When the bytes are no Parquet.
pub(super) fn statistics(bytes: &Bytes) -> Result<Vec<ColumnStatistics>, DamagedError> {
    guarded(|| {
        let mut reader = ParquetMetaDataReader::new().with_page_index_policy(PageIndexPolicy::Optional);
        reader.try_parse(bytes).and_then(|()| reader.finish()).map_err(|e| e.to_string().into()).map(
            |metadata| {
                let of_group = |group: usize| {
                    let pages = metadata.page_index_for_row_group(group);
                    let columns = metadata.row_group(group).columns().iter().enumerate();
                    columns
                        .map(|(index, column)| {
                            (column.statistics().cloned(), pages.column_index(index).cloned())
                        })
                        .collect::<Vec<_>>()
                };
                (0..metadata.num_row_groups()).flat_map(of_group).collect()
            },
        )
    })
}

/// The least and the greatest value and the like, of a column and of its pages.
pub(super) type ColumnStatistics = (Option<Statistics>, Option<ColumnIndexMetaData>);

/// A damaged file can make the Parquet library panic; that is one more way to say damaged.
pub(super) fn guarded<T>(read: impl FnOnce() -> Result<T, DamagedError>) -> Result<T, DamagedError> {
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| {
        Err("the file cannot be read: its metadata contradict one another".to_owned().into())
    })
}
