//! Restatements: figures that have changed after their day or hour was over, as a table of their own.
//!
//! Which figures those are is a pure function of two contents of one partition. The rows of a unit are kept
//! together in one file, which only ever grows.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use arrow::array::{
    Array, ArrayRef, AsArray, Int8Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
    UInt32Array,
};
use arrow::compute::{concat_batches, take, take_record_batch};
use arrow::datatypes::{
    DataType, Date32Type, Int8Type, Int64Type, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType,
};
use arrow::row::{OwnedRow, RowConverter, Rows, SortField};
use bytes::Bytes;
use chrono::{DateTime, NaiveDate, SecondsFormat, Utc};
use chrono_tz::Tz;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use trendlake_codec::{content_hash, repeated};

use super::batch::hour_starts;
use super::decode::{DamagedError, decode_as, entry};
use super::footer::Footer;
use super::inspect::column;
use super::parquet::sorting_of;
use super::schema::{FORMAT_VERSION, field, not_additive, sort_columns};
use crate::model::{Dataset, Month, RESTATEMENTS, Unit, UnitKind, settled_at};

/// The figures that are compared: what `metric` may say.
pub const METRICS: [&str; 3] = ["unique_users", "new_users", "returning_users"];

/// The columns by which the rows are sorted, ascending: the figure, then the time of the change.
pub const RESTATEMENT_SORT: [&str; 7] =
    ["conversation_type", "conversation_status", "channel", "date", "hour", "metric", "restated_at"];

/// The Arrow schema of the restatements, with a `comment` in every field's metadata.
#[must_use]
pub fn restatement_schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        let text = |name, comment| field(name, DataType::Utf8, false, comment);
        let instant = |name, comment| {
            field(name, DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), false, comment)
        };
        Arc::new(Schema::new(vec![
            text("stream_id", "the vendor's id of the app"),
            text("stream_name", "the stream's name in the configuration when the change was found"),
            text("conversation_type", "filter: All, Interactive or Non Interactive"),
            text("conversation_status", "filter: All, Active or Closed"),
            text("channel", "filter: All, or the vendor's name of one channel"),
            text("time_zone", "IANA zone in which days and hours are cut"),
            text("grain", "daily or hourly"),
            field("date", DataType::Date32, false, "local date"),
            field("hour", DataType::Int8, true, "local hour, 0 to 23; null for the figure of a day"),
            text("metric", "the figure's column: unique_users, new_users or returning_users"),
            not_additive(field("old_value", DataType::Int64, false, "what the lake held")),
            not_additive(field(
                "new_value",
                DataType::Int64,
                true,
                "what the lake holds since; null where the API gave no figure any more",
            )),
            instant("old_fetched_at", "when the answer with the old value was first seen"),
            instant("restated_at", "when the answer with the new value was first seen"),
        ]))
    });
    SCHEMA.clone()
}

/// The figures of `old` that have another value in `new`, of days and hours that were over when `old` was
/// fetched. `None` where there is none.
///
/// A figure that was null is not among them: it comes late, and restates nothing. Nor are the figures of a
/// month, which change with each of its days; nor anything where the zone is another one, since then the
/// days are.
#[must_use]
pub fn restated(dataset: Dataset, old: &RecordBatch, new: &RecordBatch) -> Option<RecordBatch> {
    let has_figures = matches!(dataset, Dataset::Daily | Dataset::Hourly);
    if !has_figures || old.num_rows() == 0 || new.num_rows() == 0 {
        return None;
    }
    let zone = |batch: &RecordBatch| column(batch, "time_zone").as_string::<i32>().value(0).to_owned();
    let tz: Tz = zone(old).parse().ok().filter(|_| zone(old) == zone(new))?;
    let keys = sort_columns(dataset);
    let (old_keys, new_keys) = (rows(old, keys)?, rows(new, keys)?);
    let place: HashMap<OwnedRow, usize> =
        new_keys.iter().enumerate().map(|(index, row)| (row.owned(), index)).collect();
    let figures =
        |batch: &RecordBatch| METRICS.map(|name| column(batch, name).as_primitive::<Int64Type>().clone());
    let (before, after) = (figures(old), figures(new));
    let fetched_at = instants(old, "fetched_at");
    let (mut at, mut metrics) = (Vec::new(), Vec::new());
    let (mut old_values, mut new_values): (Vec<i64>, Vec<Option<i64>>) = (Vec::new(), Vec::new());
    for (index, key) in old_keys.iter().enumerate() {
        let Some(&now) = place.get(&key.owned()) else { continue };
        let mut is_over = None;
        for ((metric, before), after) in METRICS.into_iter().zip(&before).zip(&after) {
            let Some(old_value) = value(before, index) else { continue };
            let new_value = value(after, now);
            if new_value == Some(old_value) {
                continue;
            }
            // Asked of few rows: to look into a zone's rules takes its time.
            let was_over = || end(dataset, tz, old, index).is_some_and(|end| end <= fetched_at.value(index));
            if !*is_over.get_or_insert_with(was_over) {
                break;
            }
            at.push(u32::try_from(index).expect("a partition has few rows"));
            metrics.push(metric);
            old_values.push(old_value);
            new_values.push(new_value);
        }
    }
    if at.is_empty() {
        return None;
    }
    let (at, count) = (UInt32Array::from(at), metrics.len());
    let taken = |name: &str| take(column(old, name), &at, None).expect("the rows are those of the batch");
    let same = |text: &str| repeated(text, count);
    let hour: ArrayRef = match dataset {
        Dataset::Hourly => taken("hour"),
        _ => Arc::new(Int8Array::new_null(count)),
    };
    let restated_at = TimestampMicrosecondArray::from_value(instants(new, "fetched_at").value(0), count);
    let columns: Vec<ArrayRef> = vec![
        taken("stream_id"),
        same(column(new, "stream_name").as_string::<i32>().value(0)),
        taken("conversation_type"),
        taken("conversation_status"),
        taken("channel"),
        taken("time_zone"),
        same(dataset.grain().as_str()),
        taken("date"),
        hour,
        Arc::new(StringArray::from(metrics)),
        Arc::new(Int64Array::from(old_values)),
        Arc::new(Int64Array::from(new_values)),
        taken("fetched_at"),
        Arc::new(restated_at.with_timezone("UTC")),
    ];
    let rows = RecordBatch::try_new(restatement_schema(), columns);
    Some(sorted(&rows.expect("the columns are made after the schema")))
}

/// When the time of a row was over: its local day, or its local hour with all of its repetitions.
/// Microseconds; nothing for an hour that a change of the clocks skips.
fn end(dataset: Dataset, zone: Tz, batch: &RecordBatch, row: usize) -> Option<i64> {
    let date = NaiveDate::from_epoch_days(column(batch, "date").as_primitive::<Date32Type>().value(row))?;
    let end_of_day = settled_at(date, zone, 0).timestamp_micros();
    if dataset != Dataset::Hourly {
        return Some(end_of_day);
    }
    let hour = usize::from(column(batch, "hour").as_primitive::<Int8Type>().value(row).cast_unsigned());
    let starts = hour_starts(zone, date);
    // What was read may be damaged, and say anything.
    (*starts.get(hour)?)?;
    Some(starts[hour + 1..].iter().copied().flatten().next().unwrap_or(end_of_day))
}

/// The rows of two tables together, sorted, each once.
#[must_use]
pub fn united(one: &RecordBatch, other: &RecordBatch) -> RecordBatch {
    let both = concat_batches(&restatement_schema(), [one, other]).expect("both have the same columns");
    sorted(&both)
}

/// Sorts the rows by all of [`RESTATEMENT_SORT`], then by the rest, and leaves out what stands twice.
fn sorted(batch: &RecordBatch) -> RecordBatch {
    let mut names = RESTATEMENT_SORT.to_vec();
    let schema = batch.schema();
    let others = schema.fields().iter().map(|field| field.name().as_str());
    names.extend(others.filter(|name| !RESTATEMENT_SORT.contains(name)));
    let rows = rows(batch, &names).expect("every column can be sorted by");
    let mut order: Vec<u32> = (0..).take(batch.num_rows()).collect();
    order.sort_by(|a, b| rows.row(*a as usize).cmp(&rows.row(*b as usize)));
    order.dedup_by(|a, b| rows.row(*a as usize) == rows.row(*b as usize));
    take_record_batch(batch, &UInt32Array::from(order)).expect("the rows are those of the batch")
}

/// Restatements as a file holds them.
#[derive(Clone, Debug)]
pub struct Restatements {
    /// The rows, sorted, none twice.
    pub rows: RecordBatch,
    /// Of those that are parked: what the partition said that their change replaces.
    pub replaces: Option<Replaced>,
}

/// A content of a partition, told from all others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replaced {
    content_hash: String,
    fetched_at: String,
}

impl Replaced {
    /// The content with this footer.
    #[must_use]
    pub fn of(footer: &Footer) -> Self {
        Self { content_hash: footer.content_hash.clone(), fetched_at: instant(footer.fetched_at) }
    }
}

/// A name for the change from one content of a partition to another: that of no other change, in order of
/// time.
#[must_use]
pub fn change_id(old: &Footer, new: &Footer) -> String {
    // With the change before it: should figures go to and fro under one time, each time counts.
    let change = [
        old.restatement.as_deref().unwrap_or_default(),
        &old.content_hash,
        &instant(old.fetched_at),
        &new.content_hash,
    ];
    let digest = crate::config::hex(&change.join(" "));
    format!("{}-{digest}", new.fetched_at.format("%Y%m%dT%H%M%S%.6fZ"))
}

fn instant(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Micros, true)
}

const FORMAT: &str = "trendlake.format_version";
const HASH: &str = "trendlake.content_hash";
const OLD_HASH: &str = "trendlake.replaces.content_hash";
const OLD_TIME: &str = "trendlake.replaces.fetched_at";

/// The bytes of a file of restatements.
///
/// # Panics
/// When the rows have other columns.
#[must_use]
pub fn encode_restatements(restatements: &Restatements) -> Bytes {
    let rows = &restatements.rows;
    let mut entries = vec![(FORMAT, FORMAT_VERSION.to_string()), (HASH, content_hash(rows))];
    if let Some(Replaced { content_hash, fetched_at }) = &restatements.replaces {
        entries.extend([(OLD_HASH, content_hash.clone()), (OLD_TIME, fetched_at.clone())]);
    }
    let properties = WriterProperties::builder()
        .set_created_by(concat!("trendlake version ", env!("CARGO_PKG_VERSION")).into())
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_sorting_columns(Some(sorting_of(&restatement_schema(), &RESTATEMENT_SORT)))
        .set_key_value_metadata(Some(
            entries.into_iter().map(|(key, value)| KeyValue::new(key.into(), value)).collect(),
        ))
        .build();
    let mut bytes = Vec::new();
    // Every type follows from Parquet's own, and the comments would be half of a small file.
    let options = ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
    let mut writer = ArrowWriter::try_new_with_options(&mut bytes, restatement_schema(), options)
        .expect("the schema can be written");
    writer.write(rows).expect("memory takes all bytes");
    writer.close().expect("memory takes all bytes");
    bytes.into()
}

/// Reads a file of restatements, and holds the rows against their hash.
///
/// # Errors
/// When the bytes are no sound file of restatements, or written by another program or a later version.
pub fn decode_restatements(bytes: &Bytes) -> Result<Restatements, DamagedError> {
    let find = |key: &str| entry(bytes, key);
    let version = find(FORMAT)?.and_then(|v| v.parse::<u32>().ok()).ok_or(DamagedError::Foreign)?;
    if version > FORMAT_VERSION {
        return Err(DamagedError::Newer(version));
    }
    let rows = decode_as(&restatement_schema(), RESTATEMENTS, bytes)?;
    let rows =
        RecordBatch::try_new(restatement_schema(), rows.columns().to_vec()).map_err(|e| e.to_string())?;
    if find(HASH)? != Some(content_hash(&rows)) {
        return Err("the rows are not those that were written: the content hash differs".to_owned().into());
    }
    let replaces = find(OLD_HASH)?.zip(find(OLD_TIME)?);
    let replaces = replaces.map(|(content_hash, fetched_at)| Replaced { content_hash, fetched_at });
    Ok(Restatements { rows, replaces })
}

/// Reads the file of a unit's restatements and holds every row against its place: the stream, the month, the
/// grain, the order, that each changes something and none stands twice. Gives how many there are.
///
/// # Errors
/// What is wrong first.
pub fn inspect_restatements(unit: &Unit, bytes: &Bytes) -> Result<u64, DamagedError> {
    let rows = decode_restatements(bytes)?.rows;
    let all = |name: &str, wanted: &str| {
        column(&rows, name).as_string::<i32>().iter().all(|text| text == Some(wanted))
    };
    let date = |day: i32| NaiveDate::from_epoch_days(day).map(Month::of);
    let of_month = || {
        let days = column(&rows, "date").as_primitive::<Date32Type>().values();
        days.iter().all(|&day| date(day) == Some(unit.month))
    };
    let (old, new) = (
        column(&rows, "old_value").as_primitive::<Int64Type>(),
        column(&rows, "new_value").as_primitive::<Int64Type>(),
    );
    let hours = column(&rows, "hour");
    let has_hours = if unit.kind == UnitKind::Hourly { 0 } else { rows.num_rows() } == hours.null_count();
    let changes = (0..rows.num_rows()).all(|row| value(old, row) != value(new, row));
    let flaw = if !all("stream_id", unit.stream.as_str()) {
        "there are rows of another stream"
    } else if !all("grain", unit.kind.as_str()) || !has_hours {
        "there are rows of another grain"
    } else if !of_month() {
        "there are rows of another month"
    } else if !changes {
        "there are rows that restate nothing"
    } else if sorted(&rows) != rows {
        "rows are out of order, or stand twice"
    } else {
        return Ok(rows.num_rows() as u64);
    };
    Err(flaw.to_owned().into())
}

fn rows(batch: &RecordBatch, names: &[&str]) -> Option<Rows> {
    let columns: Vec<_> = names.iter().map(|name| column(batch, name).clone()).collect();
    let fields = columns.iter().map(|c| SortField::new(c.data_type().clone())).collect();
    RowConverter::new(fields).ok()?.convert_columns(&columns).ok()
}

fn value(column: &Int64Array, row: usize) -> Option<i64> {
    column.is_valid(row).then(|| column.value(row))
}

fn instants<'a>(batch: &'a RecordBatch, name: &str) -> &'a TimestampMicrosecondArray {
    column(batch, name).as_primitive::<TimestampMicrosecondType>()
}

#[cfg(test)]
#[path = "restated_tests.rs"]
mod tests;
