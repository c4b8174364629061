//! Parquet bytes, written whole in memory.

use std::sync::{Arc, LazyLock};

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Schema, SchemaRef};
use bytes::Bytes;
use parquet::arrow::ArrowSchemaConverter;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::metadata::{KeyValue, SortingColumn};
use parquet::file::properties::{
    DEFAULT_DATA_PAGE_ROW_COUNT_LIMIT, EnabledStatistics, WriterProperties, WriterPropertiesPtr,
};
use parquet::schema::types::SchemaDescriptor;

use super::decode::stream_key;
use super::footer::Footer;
use super::schema::{ADDITIVE, schema, sort_columns};
use crate::model::{Dataset, Partition};

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
    let layout = layout(dataset);
    let properties = layout.properties(batch, indexed);
    write(layout, properties, footer.entries(), std::slice::from_ref(batch))
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
    let stream = (stream_key(), partition.stream.to_string());
    let layout = bare_layout(partition.dataset);
    let properties = layout.properties(batch, indexed);
    write(layout, properties, footer.entries().chain([stream]), &[bare(batch)])
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
pub(super) fn bare_schema(dataset: Dataset) -> SchemaRef {
    let schema = schema(dataset);
    let fields = schema.fields().iter().filter(|field| field.name() != STREAM_ID);
    Arc::new(Schema::new(fields.cloned().collect::<Vec<_>>()))
}

/// The column that a bare file leaves out, the first one; and the name of what its footer says instead.
pub(super) const STREAM_ID: &str = "stream_id";

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
    let not_additive = (NOT_ADDITIVE.to_owned(), layout.not_additive.clone());
    let entries = entries.chain([not_additive]).map(|(key, value)| KeyValue::new(key, value));
    trendlake_codec::write(&layout.schema, properties, entries.collect(), groups)
        .expect("every dataset's rows can be written, and memory takes all bytes")
}

/// The footer's entry that names the columns whose figures must not be added up over rows.
const NOT_ADDITIVE: &str = "trendlake.not_additive";

/// What is the same in every file of a dataset, or in every bare one. Its Arrow schema stands in none of them: it
/// would be a third of a small file, and every type follows from Parquet's own.
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
    ["date", "hour_start", "unique_users", "new_users", "returning_users", "fetched_at"].contains(&name)
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
