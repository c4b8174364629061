//! Whether a file is sound: readable, and saying only what a partition of its place can say.

use std::collections::BTreeSet;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{Date32Type, Int8Type, TimestampMicrosecondType};
use arrow::row::{RowConverter, SortField};
use bytes::Bytes;
use chrono::{Datelike, NaiveDate, Weekday};
use chrono_tz::Tz;
use trendlake_codec::content_hash;

use super::batch::hour_starts;
use super::decode::{self, DamagedError, decode, read_footer, statistics};
use super::footer::Footer;
use super::parquet::{encode_as, encode_bare_as};
use super::periods::period_rows;
use super::schema::sort_columns;
use crate::model::{Dataset, Partition, Period, Span, Window, settled_at};

/// A partition that holds what it should.
#[derive(Clone, Debug, PartialEq)]
pub struct Sound {
    /// What it says of itself.
    pub footer: Footer,
    /// Its rows.
    pub batch: RecordBatch,
}

/// Reads a partition's whole file and holds every row against the footer, the place and the calendar:
/// columns, statistics, content hash, order, that no (slice, date, hour) stands twice and none of the window is
/// left out, the stream's id, the hours' instants, finality.
///
/// # Errors
/// What is wrong first.
pub fn inspect(partition: &Partition, bytes: &Bytes) -> Result<Sound, DamagedError> {
    inspect_as(partition, bytes, false)
}

/// The same of a bare file.
///
/// # Errors
/// What is wrong first.
pub fn inspect_bare(partition: &Partition, bytes: &Bytes) -> Result<Sound, DamagedError> {
    inspect_as(partition, bytes, true)
}

fn inspect_as(partition: &Partition, bytes: &Bytes, is_bare: bool) -> Result<Sound, DamagedError> {
    let footer = read_footer(bytes)?;
    if decode::is_bare(bytes)? != is_bare {
        let text = "the column `stream_id` is there where it should not be, or the other way round";
        return Err(DamagedError::Damaged(text.into()));
    }
    let batch = decode(partition.dataset, bytes)?;
    if let Some(flaw) = flaw(partition, &footer, &batch) {
        return Err(DamagedError::Damaged(flaw));
    }
    // Readers skip what the statistics rule out, so wrong ones hide rows.
    let said = statistics(bytes)?;
    let indexed = said.iter().any(|(_, pages)| pages.is_some());
    let encoded = if is_bare {
        encode_bare_as(partition, &batch, &footer, indexed)
    } else {
        encode_as(partition.dataset, &batch, &footer, indexed)
    };
    if said != statistics(&encoded)? {
        return Err(DamagedError::Damaged("the statistics are not those of the rows".into()));
    }
    Ok(Sound { footer, batch })
}

/// What is wrong with a partition's rows first.
#[must_use]
pub fn flaw(partition: &Partition, footer: &Footer, batch: &RecordBatch) -> Option<String> {
    let window = Window { month: partition.month, start: footer.start, end: footer.end };
    let is_periods = partition.dataset == Dataset::Periods;
    // Periods reach back over the month's beginning, and may be asked for before it.
    let within = (is_periods || partition.month.first_day() <= window.start)
        && window.start <= window.end
        && window.end <= partition.month.last_day();
    if !within {
        return Some(format!(
            "the footer says {} to {}, which is not within the month",
            window.start, window.end
        ));
    }
    if content_hash(batch) != footer.content_hash {
        return Some("the rows are not those that were written: the content hash differs".into());
    }
    let texts = |name: &str| column(batch, name).as_string::<i32>().iter().flatten();
    if texts("stream_id").any(|id| id != partition.stream.as_str()) {
        return Some("there are rows of another stream".into());
    }
    let fetched_at = footer.fetched_at.timestamp_micros();
    // Rows of periods that had settled have been taken over from the file before.
    let is_its_own = |at: Option<i64>| at == Some(fetched_at) || (is_periods && at < Some(fetched_at));
    if !instants(batch, "fetched_at").all(is_its_own) {
        return Some("`fetched_at` is not the footer's".into());
    }
    if is_periods {
        return out_of_order(partition.dataset, batch).or_else(|| wrong_periods(footer, window, batch));
    }
    let all_final = column(batch, "is_final").as_boolean().false_count() == 0;
    if footer.is_final != (all_final && window.end == partition.month.last_day()) {
        return Some("the rows and the footer differ on what is final".into());
    }
    out_of_order(partition.dataset, batch)
        .or_else(|| incomplete(partition.dataset, window, batch))
        .or_else(|| wrong_hours(partition.dataset, batch))
}

/// Rows that do not come after the one before: in a wrong place, or there twice.
fn out_of_order(dataset: Dataset, batch: &RecordBatch) -> Option<String> {
    let columns: Vec<_> = sort_columns(dataset).iter().map(|name| column(batch, name).clone()).collect();
    let fields = columns.iter().map(|c| SortField::new(c.data_type().clone())).collect();
    let rows = RowConverter::new(fields).and_then(|c| c.convert_columns(&columns)).ok()?;
    let row = (1..rows.num_rows()).find(|&row| rows.row(row - 1) >= rows.row(row))?;
    let what = if rows.row(row - 1) == rows.row(row) { "stands twice" } else { "is out of order" };
    Some(format!("row {row} {what}"))
}

/// Times that a slice lacks, or has too many of. The rows are known to be sorted.
fn incomplete(dataset: Dataset, window: Window, batch: &RecordBatch) -> Option<String> {
    let slices: Vec<_> = sort_columns(dataset)[..3].iter().map(|name| column(batch, name).clone()).collect();
    let Ok(slices) = arrow::compute::partition(&slices) else { return Some("there are no rows".into()) };
    let mut lengths = slices.ranges().into_iter().map(|r| r.len()).collect::<Vec<_>>();
    lengths.dedup();
    let [length] = lengths[..] else { return Some("the slices do not have the same times".into()) };
    let complete = match dataset {
        Dataset::Summary => {
            let all = |name, wanted| dates(batch, name).all(|date| date == Some(wanted));
            length == 1 && all("period_start", window.start) && all("period_end", window.end)
        }
        Dataset::Daily => {
            dates(batch, "date").take(length).eq(window.dates().map(Some)) && length == window.days() as usize
        }
        Dataset::Periods => unreachable!("periods are held against their own calendar"),
        Dataset::Hourly => {
            // On the last day, hours that had not begun are no rows.
            let hours = column(batch, "hour").as_primitive::<Int8Type>().values().iter().copied();
            let most = 24 * window.days() as usize;
            let wanted = window.dates().flat_map(|date| (0..24).map(move |hour| (Some(date), hour)));
            dates(batch, "date").zip(hours).take(length).eq(wanted.take(length))
                && (most - 23..=most).contains(&length)
        }
    };
    (!complete).then(|| format!("it does not hold every time from {} to {}", window.start, window.end))
}

/// Periods that are not those of the calendar, or of which one is left out, and finality that the calendar
/// does not bear out. The rows are known to be sorted.
fn wrong_periods(footer: &Footer, window: Window, batch: &RecordBatch) -> Option<String> {
    let rows = period_rows(batch);
    if rows.len() != batch.num_rows() || rows.is_empty() {
        return Some("there are rows of no slice or period, or none at all".into());
    }
    let zone = column(batch, "time_zone").as_string::<i32>().value(0);
    let Ok(zone) = zone.parse::<Tz>() else { return Some("the time zone is unknown".into()) };
    let settled = |end| settled_at(end, zone, footer.settle_days);
    let week_start = rows.iter().find(|row| row.period == Period::Week).map(|row| row.start.weekday());
    let periods: BTreeSet<Period> = rows.iter().map(|row| row.period).collect();
    let calendar = periods.iter().flat_map(|p| p.ending_in(window.month, week_start.unwrap_or(Weekday::Mon)));
    let spans: Vec<Span> = calendar.filter(|span| window.start <= span.start).collect();
    let begun: Vec<&Span> = spans.iter().filter(|span| span.window(window.end).is_some()).collect();
    for of_slice in rows.chunk_by(|a, b| a.slice == b.slice) {
        if !of_slice.iter().map(|row| (row.period, row.start)).eq(begun.iter().map(|s| (s.period, s.start))) {
            return Some(format!("it does not hold every period from {} to {}", window.start, window.end));
        }
        for (row, span) in of_slice.iter().zip(&begun) {
            let end = if row.summary.is_some() { span.end.min(window.end) } else { span.end };
            let has_settled = row.end == span.end && settled(span.end) <= row.fetched_at;
            if row.end != end || row.is_final != (has_settled || row.summary.is_none()) {
                return Some(format!(
                    "the {} from {} has another end, or is not as final as it says",
                    row.period, row.start
                ));
            }
        }
    }
    let is_whole = begun.len() == spans.len() && begun.iter().all(|span| span.end <= window.end);
    let is_final = is_whole && settled(window.month.last_day()) <= footer.fetched_at;
    (footer.is_final != is_final).then(|| "the rows and the footer differ on what is final".into())
}

/// Hours that began at another instant than their row says.
fn wrong_hours(dataset: Dataset, batch: &RecordBatch) -> Option<String> {
    if dataset != Dataset::Hourly {
        return None;
    }
    let zone = column(batch, "time_zone").as_string::<i32>().value(0);
    let Ok(zone) = zone.parse::<Tz>() else { return Some("the time zone is unknown".into()) };
    let hours = column(batch, "hour").as_primitive::<Int8Type>().values();
    let mut day = (None, [None; 24]);
    for (row, (date, start)) in dates(batch, "date").zip(instants(batch, "hour_start")).enumerate() {
        if day.0 != date {
            day = (date, hour_starts(zone, date?));
        }
        if start != day.1[usize::from(hours[row].cast_unsigned()) % 24] {
            return Some(format!("row {row} has a wrong `hour_start`"));
        }
    }
    None
}

/// A column of a batch that [`decode`] has given or [`batch`](super::batch()) has made.
///
/// # Panics
/// When its dataset has no such column.
pub fn column<'a>(batch: &'a RecordBatch, name: &str) -> &'a ArrayRef {
    batch.column_by_name(name).expect("the columns were checked when the file was decoded")
}

fn dates<'a>(batch: &'a RecordBatch, name: &str) -> impl Iterator<Item = Option<NaiveDate>> + use<'a> {
    let dates = column(batch, name).as_primitive::<Date32Type>();
    dates.values().iter().map(|&day| NaiveDate::from_epoch_days(day))
}

fn instants<'a>(batch: &'a RecordBatch, name: &str) -> impl Iterator<Item = Option<i64>> + use<'a> {
    column(batch, name).as_primitive::<TimestampMicrosecondType>().iter()
}
