//! Parquet bytes: written whole in memory, read back with suspicion.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Schema, SchemaRef};
use bytes::Bytes;
use parquet::arrow::ArrowSchemaConverter;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::{
    KeyValue, PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader, SortingColumn,
};
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use parquet::file::properties::{
    DEFAULT_DATA_PAGE_ROW_COUNT_LIMIT, EnabledStatistics, WriterProperties, WriterPropertiesPtr,
};
use parquet::file::statistics::Statistics;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::SchemaDescriptor;

use super::column;
use super::footer::{Footer, PREFIX};
use super::schema::{ADDITIVE, FORMAT_VERSION, schema, sort_columns};
use crate::model::{Dataset, Partition};

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

/// The bytes of a partition's file.
///
/// # Panics
/// When `batch` has other columns than the dataset's.
#[must_use]
pub fn encode(dataset: Dataset, batch: &RecordBatch, footer: &Footer) -> Bytes {
    // Of a column's only page, its own statistics say all that an index could.
    encode_as(dataset, batch, footer, batch.num_rows() > DEFAULT_DATA_PAGE_ROW_COUNT_LIMIT)
}

/// As [`encode`], with the page index or without.
pub(super) fn encode_as(dataset: Dataset, batch: &RecordBatch, footer: &Footer, indexed: bool) -> Bytes {
    let said = footer.said().map(|(name, value)| (format!("{PREFIX}{name}"), value));
    let layout = layout(dataset);
    let properties = layout.properties(batch, indexed);
    write(layout, properties, said, std::slice::from_ref(batch))
}

/// The bytes of a file without the column `stream_id`, whose value its table tells: its footer says it as well.
///
/// # Panics
/// When `batch` has other columns than the dataset's.
#[must_use]
pub fn encode_bare(partition: &Partition, batch: &RecordBatch, footer: &Footer) -> Bytes {
    encode_bare_as(partition, batch, footer, batch.num_rows() > DEFAULT_DATA_PAGE_ROW_COUNT_LIMIT)
}

/// As [`encode_bare`], with the page index or without.
pub(super) fn encode_bare_as(
    partition: &Partition,
    batch: &RecordBatch,
    footer: &Footer,
    indexed: bool,
) -> Bytes {
    let stream = ("stream_id", partition.stream.to_string());
    let said = footer.said().chain([stream]).map(|(name, value)| (format!("{PREFIX}{name}"), value));
    let layout = bare_layout(partition.dataset);
    let properties = layout.properties(batch, indexed);
    write(layout, properties, said, &[bare(batch)])
}

/// The rows without the column `stream_id`.
///
/// # Panics
/// When they have none.
#[must_use]
pub fn bare(batch: &RecordBatch) -> RecordBatch {
    let mut bare = batch.clone();
    bare.remove_column(batch.schema_ref().index_of(STREAM_ID).expect("every dataset has this column"));
    bare
}

/// The columns of a dataset's bare files.
fn bare_schema(dataset: Dataset) -> SchemaRef {
    let schema = schema(dataset);
    let fields = schema.fields().iter().filter(|field| field.name() != STREAM_ID);
    Arc::new(Schema::new(fields.cloned().collect::<Vec<_>>()))
}

/// The column that a bare file leaves out, the first one; and the name of what its footer says instead.
const STREAM_ID: &str = "stream_id";

/// The bytes of a file of several streams with these entries in its footer, whose rows are sorted by stream first: a
/// row group per batch.
pub(super) fn encode_packed(
    dataset: Dataset,
    entries: impl Iterator<Item = (String, String)>,
    groups: &[RecordBatch],
) -> Bytes {
    let layout = layout(dataset);
    write(layout, &layout.packed, entries, groups)
}

fn write(
    layout: &Layout,
    properties: &'static WriterPropertiesPtr,
    entries: impl Iterator<Item = (String, String)>,
    groups: &[RecordBatch],
) -> Bytes {
    let mut bytes = Vec::with_capacity(16 * 1024);
    let mut file = SerializedFileWriter::new(&mut bytes, layout.schema.root_schema_ptr(), properties.clone())
        .expect("every dataset's schema can be written");
    let not_additive = (NOT_ADDITIVE.to_owned(), layout.not_additive.clone());
    for (key, value) in entries.chain([not_additive]) {
        file.append_key_value_metadata(KeyValue::new(key, value));
    }
    // No rows are no row group.
    for batch in groups.iter().filter(|batch| batch.num_rows() > 0) {
        let mut rows = file.next_row_group().expect("the file is open");
        for (field, array) in batch.schema_ref().fields().iter().zip(batch.columns()) {
            column::append(&mut rows, field, array, properties).expect("the column fits its schema");
        }
        rows.close().expect("all columns are written");
    }
    file.close().expect("memory takes all bytes");
    bytes.into()
}

/// The footer's entry that names the columns whose figures must not be added up over rows.
const NOT_ADDITIVE: &str = "trendlake.not_additive";

/// What is the same in every file of a dataset, or in every bare one. Its Arrow schema stands in none of them: it would be a third of a
/// small file, and every type follows from Parquet's own.
struct Layout {
    schema: SchemaDescriptor,
    not_additive: String,
    /// Of packed files.
    packed: WriterPropertiesPtr,
    /// For few rows and for many, each without the page index and with it.
    properties: [[WriterPropertiesPtr; 2]; 2],
}

impl Layout {
    /// Of files with these columns, which sort the rows of one stream, and those of several.
    fn new(schema: &Schema, sorted: &[&str], packed: &[&str]) -> Self {
        let not_additive = schema.fields().iter().filter(|f| f.metadata().get(ADDITIVE).is_some());
        Self {
            schema: ArrowSchemaConverter::new().convert(schema).expect("every column has a Parquet type"),
            not_additive: not_additive.map(|f| f.name().as_str()).collect::<Vec<_>>().join(","),
            properties: [false, true]
                .map(|many| [false, true].map(|indexed| Arc::new(properties(schema, many, indexed, sorted)))),
            // The row groups of a packed file are small enough to be one page of each column.
            packed: Arc::new(properties(schema, true, false, packed)),
        }
    }

    fn properties(&self, batch: &RecordBatch, indexed: bool) -> &WriterPropertiesPtr {
        &self.properties[usize::from(batch.num_rows() >= MANY_ROWS)][usize::from(indexed)]
    }
}

fn layout(dataset: Dataset) -> &'static Layout {
    static LAYOUTS: LazyLock<[Layout; 4]> = LazyLock::new(|| {
        Dataset::ALL.map(|dataset| {
            let sorted = sort_columns(dataset);
            Layout::new(&schema(dataset), sorted, &[&[STREAM_ID], sorted].concat())
        })
    });
    of(dataset, &LAYOUTS)
}

fn bare_layout(dataset: Dataset) -> &'static Layout {
    static LAYOUTS: LazyLock<[Layout; 4]> = LazyLock::new(|| {
        Dataset::ALL
            .map(|dataset| Layout::new(&bare_schema(dataset), sort_columns(dataset), sort_columns(dataset)))
    });
    of(dataset, &LAYOUTS)
}

fn of(dataset: Dataset, [daily, hourly, summary, periods]: &'static [Layout; 4]) -> &'static Layout {
    match dataset {
        Dataset::Daily => daily,
        Dataset::Hourly => hourly,
        Dataset::Summary => summary,
        Dataset::Periods => periods,
    }
}

/// The columns that compression shortens. A page of one repeated text is a few bytes already and only
/// grows by a frame around it, and figures are packed by their differences.
const COMPRESSED: [&str; 3] = ["date", "hour", "is_final"];
/// Columns whose least and greatest values rule nothing out: every day has all hours.
const NOT_SEARCHED: [&str; 2] = ["hour", "time_zone"];
/// With fewer rows, neither compression nor a dictionary of anything but texts gains: both cost a page or
/// a frame for what is a few hundred bytes.
const MANY_ROWS: usize = 256;

fn properties(schema: &Schema, many_rows: bool, indexed: bool, sorted: &[&str]) -> WriterProperties {
    let mut builder = WriterProperties::builder()
        .set_created_by(concat!("trendlake version ", env!("CARGO_PKG_VERSION")).into())
        .set_dictionary_enabled(true)
        // Statistics by page bring the page index, which lets engines skip pages by date.
        .set_statistics_enabled(if indexed { EnabledStatistics::Page } else { EnabledStatistics::Chunk })
        .set_offset_index_disabled(!indexed)
        .set_sorting_columns(Some(sorting_of(schema, sorted)));
    for name in NOT_SEARCHED {
        builder = builder.set_column_statistics_enabled(name.into(), EnabledStatistics::None);
    }
    for field in schema.fields() {
        let name = field.name().as_str();
        if many_rows && COMPRESSED.contains(&name) {
            // The level that the format's own tools use: on these small files a higher one gains nothing.
            builder = builder.set_column_compression(name.into(), Compression::ZSTD(ZstdLevel::default()));
        } else if is_stepwise(name) {
            builder = builder
                .set_column_dictionary_enabled(name.into(), false)
                .set_column_encoding(name.into(), Encoding::DELTA_BINARY_PACKED);
        } else if !many_rows && *field.data_type() != DataType::Utf8 {
            builder = builder.set_column_dictionary_enabled(name.into(), false);
        }
    }
    builder.build()
}

/// Whether a column's values lie close to those of the rows before: a few bits each as differences, where
/// a dictionary would hold nearly every one of them in full.
fn is_stepwise(name: &str) -> bool {
    ["date", "hour_start", "unique_users", "new_users", "returning_users"].contains(&name)
}

pub(super) fn sorting_of(schema: &Schema, names: &[&str]) -> Vec<SortingColumn> {
    let column = |name: &&str| {
        let index = schema.index_of(name).expect("sort columns are columns");
        SortingColumn {
            column_idx: i32::try_from(index).expect("a dozen columns"),
            descending: false,
            nulls_first: false,
        }
    };
    names.iter().map(column).collect()
}

/// Reads only what a file says of itself. `bytes` is the whole file.
///
/// # Errors
/// When the bytes are no Parquet, or written by another program or a later version of this one.
pub fn read_footer(bytes: &Bytes) -> Result<Footer, DamagedError> {
    guarded(|| {
        let metadata = ParquetMetaDataReader::new().parse_and_finish(bytes).map_err(|e| e.to_string())?;
        let entries = metadata.file_metadata().key_value_metadata();
        let find = |key: &str| {
            let entry = entries?.iter().find(|kv| kv.key == key)?;
            entry.value.as_deref()
        };
        match Footer::from_said(|name| find(&format!("{PREFIX}{name}"))) {
            Some(footer) if footer.format_version > FORMAT_VERSION => {
                Err(DamagedError::Newer(footer.format_version))
            }
            footer => footer.ok_or(DamagedError::Foreign),
        }
    })
}

/// One entry of a file's own key-value metadata. `bytes` is the whole file.
///
/// # Errors
/// When the bytes are no Parquet.
pub(super) fn entry(bytes: &Bytes, key: &str) -> Result<Option<String>, DamagedError> {
    guarded(|| {
        let metadata = ParquetMetaDataReader::new().parse_and_finish(bytes).map_err(|e| e.to_string())?;
        let entries = metadata.file_metadata().key_value_metadata().into_iter().flatten();
        Ok(entries.clone().find(|kv| kv.key == key).and_then(|kv| kv.value.clone()))
    })
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
    decode_some(expected, name, bytes, 0..usize::MAX)
}

/// Reads some rows of a file, and of the others no more than their row groups make it. `bytes` is the whole file.
///
/// # Errors
/// When the bytes are no sound Parquet, or their columns are not the dataset's.
pub fn decode_rows(dataset: Dataset, bytes: &Bytes, rows: Range<usize>) -> Result<RecordBatch, DamagedError> {
    match stream_of(bytes)? {
        None => decode_some(&schema(dataset), dataset.as_str(), bytes, rows),
        Some(stream) => {
            let bare = decode_some(&bare_schema(dataset), dataset.as_str(), bytes, rows)?;
            let stream: ArrayRef = Arc::new(StringArray::new_repeated(&stream, bare.num_rows()));
            let columns = [stream].into_iter().chain(bare.columns().iter().cloned()).collect();
            RecordBatch::try_new(schema(dataset), columns).map_err(|e| e.to_string().into())
        }
    }
}

/// The stream of a bare file, which its footer says; nothing of any other. `bytes` is the whole file.
///
/// # Errors
/// When the bytes are no Parquet.
pub(super) fn stream_of(bytes: &Bytes) -> Result<Option<String>, DamagedError> {
    entry(bytes, &format!("{PREFIX}{STREAM_ID}"))
}

fn decode_some(
    expected: &SchemaRef,
    name: &str,
    bytes: &Bytes,
    rows: Range<usize>,
) -> Result<RecordBatch, DamagedError> {
    guarded(|| {
        // With the page index, whose mistakes other readers would run into.
        let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Optional);
        let reader = ParquetRecordBatchReaderBuilder::try_new_with_options(bytes.clone(), options)
            .map_err(|e| e.to_string())?;
        if !reader
            .schema()
            .fields()
            .iter()
            .map(|f| (f.name(), f.data_type()))
            .eq(expected.fields().iter().map(|f| (f.name(), f.data_type())))
        {
            return Err(format!("the columns are not those of `{name}`").into());
        }
        let (mut start, mut first, mut groups) = (0, None, Vec::new());
        for (index, group) in reader.metadata().row_groups().iter().enumerate() {
            let end = start + usize::try_from(group.num_rows()).map_err(|e| e.to_string())?;
            if start < rows.end && rows.start < end {
                first.get_or_insert(start);
                groups.push(index);
            }
            start = end;
        }
        let reader = if groups.len() < reader.metadata().num_row_groups() {
            reader.with_row_groups(groups)
        } else {
            reader
        };
        let batches: Result<Vec<_>, _> = reader.build().map_err(|e| e.to_string())?.collect();
        let batches = batches.map_err(|e| e.to_string())?;
        let schema = batches.first().map_or_else(|| expected.clone(), RecordBatch::schema);
        let batch = concat_batches(&schema, &batches).map_err(|e| e.to_string())?;
        let start = rows.start.saturating_sub(first.unwrap_or(0)).min(batch.num_rows());
        let length = rows.len().min(batch.num_rows() - start);
        Ok(if length == batch.num_rows() { batch } else { batch.slice(start, length) })
    })
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
