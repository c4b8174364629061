//! Rows of periods to a record batch, and back: those that still stand are taken over by the next file.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Date32Array, Float64Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{Date32Type, Float64Type, Int64Type, TimestampMicrosecondType};
use chrono::{DateTime, NaiveDate};
use trendlake_codec::repeated;

use super::inspect::column;
use super::schema::schema;
use crate::config::Stream;
use crate::model::{Averages, Counts, Dataset, PeriodRow, Slice, Summary};

const COUNTS: [&str; 3] = ["unique_users", "new_users", "returning_users"];
const AVERAGES: [&str; 3] =
    ["avg_unique_users_per_day", "avg_new_users_per_day", "avg_returning_users_per_day"];

/// The rows of one partition of periods, in the order given: by slice, kind of period, and first day.
#[must_use]
pub fn period_batch(stream: &Stream, rows: &[PeriodRow]) -> RecordBatch {
    let constant = |text: &str| repeated(text, rows.len());
    let texts = |text: fn(&PeriodRow) -> &str| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(rows.iter().map(text)))
    };
    let dates = |date: fn(&PeriodRow) -> NaiveDate| -> ArrayRef {
        Arc::new(Date32Array::from_iter_values(rows.iter().map(|row| date(row).to_epoch_days())))
    };
    let bools = |is: fn(&PeriodRow) -> bool| -> ArrayRef {
        Arc::new(rows.iter().map(|row| Some(is(row))).collect::<BooleanArray>())
    };
    let mut columns = vec![
        constant(stream.id.as_str()),
        constant(&stream.name),
        texts(|row| row.slice.conversation_type.as_str()),
        texts(|row| row.slice.conversation_status.as_str()),
        texts(|row| row.slice.channel.as_str()),
        constant(stream.zone.name()),
        texts(|row| row.period.as_str()),
        dates(|row| row.start),
        dates(|row| row.end),
    ];
    for index in 0..3 {
        let figures = rows.iter().map(|row| row.summary.and_then(|s| s.counts.as_array()[index]));
        columns.push(Arc::new(figures.collect::<Int64Array>()));
    }
    for index in 0..3 {
        let figures = rows.iter().map(|row| row.summary.and_then(|s| s.averages.as_array()[index]));
        columns.push(Arc::new(figures.collect::<Float64Array>()));
    }
    columns.push(bools(|row| row.summary.is_some()));
    columns.push(bools(|row| row.is_final));
    let instants = rows.iter().map(|row| row.fetched_at.timestamp_micros());
    columns.push(Arc::new(TimestampMicrosecondArray::from_iter_values(instants).with_timezone("UTC")));
    RecordBatch::try_new(schema(Dataset::Periods), columns).expect("the columns are made after the schema")
}

/// The rows of a batch that [`decode`](super::decode) has given. Those that name no slice or period of
/// this version are left out.
#[must_use]
pub fn period_rows(batch: &RecordBatch) -> Vec<PeriodRow> {
    let text = |name: &str, row: usize| column(batch, name).as_string::<i32>().value(row);
    let date = |name: &str, row: usize| {
        NaiveDate::from_epoch_days(column(batch, name).as_primitive::<Date32Type>().value(row))
    };
    let is = |name: &str, row: usize| column(batch, name).as_boolean().value(row);
    let count = |name: &str, row: usize| {
        let counts = column(batch, name).as_primitive::<Int64Type>();
        counts.is_valid(row).then(|| counts.value(row))
    };
    let average = |name: &str, row: usize| {
        let averages = column(batch, name).as_primitive::<Float64Type>();
        averages.is_valid(row).then(|| averages.value(row))
    };
    let period_row = |row: usize| {
        let [unique, new, returning] = COUNTS.map(|name| count(name, row));
        let counts = Counts { unique, new, returning };
        let [unique, new, returning] = AVERAGES.map(|name| average(name, row));
        let averages = Averages { unique, new, returning };
        let at = column(batch, "fetched_at").as_primitive::<TimestampMicrosecondType>().value(row);
        Some(PeriodRow {
            slice: Slice {
                conversation_type: text("conversation_type", row).parse().ok()?,
                conversation_status: text("conversation_status", row).parse().ok()?,
                channel: text("channel", row).parse().ok()?,
            },
            period: text("period", row).parse().ok()?,
            start: date("period_start", row)?,
            end: date("period_end", row)?,
            summary: is("is_available", row).then_some(Summary { counts, averages }),
            is_final: is("is_final", row),
            fetched_at: DateTime::from_timestamp_micros(at)?,
        })
    };
    (0..batch.num_rows()).filter_map(period_row).collect()
}
