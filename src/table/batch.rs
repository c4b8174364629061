//! Checked answers to record batches.

use std::iter::repeat_n;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, ArrowPrimitiveType, BooleanArray, Date32Array, Float64Array, Int8Array, PrimitiveArray,
    RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use chrono_tz::Tz;
use trendlake_codec::repeated;

use super::schema::schema;
use crate::config::Stream;
use crate::model::{Averages, Counts, Dataset, Period, Points, Slice, Trend, Window, hour_start};

const MICROS_PER_HOUR: i64 = 3_600_000_000;

/// The columns that only some datasets have, in their order.
enum Time {
    Date(Vec<i32>),
    Hour { date: Vec<i32>, hour: Vec<i8>, start: Vec<Option<i64>> },
    Period { window: Window, rows: usize },
}

/// The rows of one partition, sorted as its dataset demands.
///
/// `answers` are sorted by slice, none twice, all of the dataset's grain and of this window; each
/// row says `is_final` if its day (in a summary: the window's whole month) had settled at
/// `fetched_at`, which all rows carry.
///
/// # Panics
/// When an answer is of another grain, or the dataset is that of periods.
#[must_use]
pub fn batch(
    dataset: Dataset,
    stream: &Stream,
    window: Window,
    answers: &[(Slice, Trend)],
    fetched_at: DateTime<Utc>,
) -> RecordBatch {
    let lengths: Vec<usize> = answers.iter().map(|(_, trend)| length(dataset, trend)).collect();
    let rows = lengths.iter().sum();
    let constant = |text: &str| repeated(text, rows);
    let per_slice = |text: fn(&Slice) -> &str| -> ArrayRef {
        if let [(slice, _)] = answers {
            return constant(text(slice));
        }
        let texts = answers.iter().zip(&lengths);
        Arc::new(StringArray::from_iter_values(texts.flat_map(|((slice, _), &n)| repeat_n(text(slice), n))))
    };
    let mut columns = vec![
        constant(stream.id.as_str()),
        constant(&stream.name),
        per_slice(|s| s.conversation_type.as_str()),
        per_slice(|s| s.conversation_status.as_str()),
        per_slice(|s| s.channel.as_str()),
        constant(stream.zone.name()),
    ];
    // A later day settles later, and mostly all have.
    let all_settled = stream.settled_at(window.end) <= fetched_at;
    let settled = |day: NaiveDate| all_settled || stream.settled_at(day) <= fetched_at;
    let (time, counts, is_final) = match dataset {
        Dataset::Daily => daily(answers, rows, settled),
        Dataset::Hourly => hourly(answers, rows, stream, settled),
        Dataset::Summary => {
            let counts = answers.iter().map(|(_, trend)| trend.summary.counts).collect();
            let is_final = window.end == window.month.last_day() && settled(window.end);
            (Time::Period { window, rows }, counts, vec![is_final; rows])
        }
        Dataset::Periods => panic!("a month's answer holds no other periods"),
    };
    columns.extend(time.columns());
    for index in 0..3 {
        columns.push(Arc::new(nullable::<Int64Type>(counts.iter().map(|c| c.as_array()[index]))));
    }
    if dataset == Dataset::Summary {
        for index in 0..3 {
            let figures = answers.iter().map(|(_, trend)| Averages::as_array(trend.summary.averages)[index]);
            columns.push(Arc::new(figures.collect::<Float64Array>()));
        }
    }
    columns.push(Arc::new(BooleanArray::from(is_final)));
    let instant = TimestampMicrosecondArray::from_value(fetched_at.timestamp_micros(), rows);
    columns.push(Arc::new(instant.with_timezone("UTC")));
    RecordBatch::try_new(schema(dataset), columns).expect("the columns are made after the schema")
}

/// A column of figures or instants. Mostly none is missing, and then nothing has to be noted of any.
fn nullable<T: ArrowPrimitiveType<Native = i64>>(
    values: impl ExactSizeIterator<Item = Option<i64>> + Clone,
) -> PrimitiveArray<T> {
    let mut known = Vec::with_capacity(values.len());
    known.extend(values.clone().map_while(|value| value));
    if known.len() == values.len() { PrimitiveArray::new(known.into(), None) } else { values.collect() }
}

fn length(dataset: Dataset, trend: &Trend) -> usize {
    match (dataset, &trend.points) {
        (Dataset::Summary, _) => 1,
        (_, Points::Daily(points)) => points.len(),
        (_, Points::Hourly(points)) => points.len(),
    }
}

type Rows = (Time, Vec<Counts>, Vec<bool>);

fn daily(answers: &[(Slice, Trend)], rows: usize, settled: impl Fn(NaiveDate) -> bool) -> Rows {
    let (mut dates, mut counts, mut is_final) =
        (Vec::with_capacity(rows), Vec::with_capacity(rows), Vec::with_capacity(rows));
    for (_, trend) in answers {
        let Points::Daily(points) = &trend.points else { panic!("an hourly answer to a daily question") };
        for point in points {
            dates.push(day_number(point.date));
            counts.push(point.counts);
            is_final.push(settled(point.date));
        }
    }
    (Time::Date(dates), counts, is_final)
}

fn hourly(
    answers: &[(Slice, Trend)],
    rows: usize,
    stream: &Stream,
    settled: impl Fn(NaiveDate) -> bool,
) -> Rows {
    let (mut dates, mut hours, mut starts) =
        (Vec::with_capacity(rows), Vec::with_capacity(rows), Vec::with_capacity(rows));
    let (mut counts, mut is_final) = (Vec::with_capacity(rows), Vec::with_capacity(rows));
    for (_, trend) in answers {
        let Points::Hourly(points) = &trend.points else { panic!("a daily answer to an hourly question") };
        for day in points.chunk_by(|a, b| a.date == b.date) {
            let date = day[0].date;
            let starts_of_day = hour_starts(stream.zone, date);
            dates.extend(repeat_n(day_number(date), day.len()));
            hours.extend(day.iter().map(|point| point.hour.cast_signed()));
            starts.extend(day.iter().map(|point| starts_of_day[usize::from(point.hour)]));
            counts.extend(day.iter().map(|point| point.counts));
            is_final.extend(repeat_n(settled(date), day.len()));
        }
    }
    (Time::Hour { date: dates, hour: hours, start: starts }, counts, is_final)
}

/// The 24 instants of a date in microseconds. A look into the zone's rules costs more than all else
/// about a row, so an ordinary day takes two.
pub(super) fn hour_starts(zone: Tz, date: NaiveDate) -> [Option<i64>; 24] {
    let start = |hour| hour_start(zone, date, hour);
    let (first, last) = (start(0), start(23));
    let ordinary = match (first, last) {
        (Some(first), Some(last)) => last - first == TimeDelta::hours(23),
        _ => false,
    };
    let micros = |instant: DateTime<Utc>| instant.timestamp_micros();
    let mut starts = [None; 24];
    for (place, hour) in starts.iter_mut().zip(0..) {
        *place = match first {
            Some(first) if ordinary => Some(micros(first) + i64::from(hour) * MICROS_PER_HOUR),
            _ => start(hour).map(micros),
        };
    }
    starts
}

fn day_number(date: NaiveDate) -> i32 {
    date.to_epoch_days()
}

impl Time {
    fn columns(self) -> Vec<ArrayRef> {
        match self {
            Self::Date(dates) => vec![Arc::new(Date32Array::from(dates))],
            Self::Hour { date, hour, start } => vec![
                Arc::new(Date32Array::from(date)),
                Arc::new(Int8Array::from(hour)),
                Arc::new(nullable::<TimestampMicrosecondType>(start.iter().copied()).with_timezone("UTC")),
            ],
            Self::Period { window, rows } => vec![
                repeated(Period::Month.as_str(), rows),
                Arc::new(Date32Array::from_value(day_number(window.start), rows)),
                Arc::new(Date32Array::from_value(day_number(window.end), rows)),
            ],
        }
    }
}
