//! Figures out of the lake, for the pages and the API: one slice of one dataset, over a bounded range.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{Date32Type, Float64Type, Int8Type, Int64Type, TimestampMicrosecondType};
use chrono::{DateTime, NaiveDate, Utc};
use futures_util::{StreamExt, TryStreamExt};

use crate::lake;
use crate::model::{Averages, Counts, Dataset, Partition, Period, Slice, StreamId, windows};
use crate::shelf::Shelf;

/// How many objects are read at once for one question.
const AT_ONCE: usize = 8;

/// One row of a dataset.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    /// The local date; of a month or another period, its first day asked for.
    pub date: NaiveDate,
    /// Of a period: its last day asked for.
    pub end: Option<NaiveDate>,
    /// Of a period: its kind.
    pub period: Option<Period>,
    /// The local hour, where the dataset has hours.
    pub hour: Option<u8>,
    /// When the hour began; none where a change of the clocks skips it.
    pub hour_start: Option<DateTime<Utc>>,
    pub counts: Counts,
    /// Of a period: the averages per day.
    pub averages: Option<Averages>,
    pub is_final: bool,
    pub fetched_at: DateTime<Utc>,
}

/// What the lake says.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Figures {
    /// In order of time; nothing where the lake has nothing.
    pub rows: Vec<Row>,
    /// Objects that cannot be read, by key: their rows are not among the others.
    pub damaged: Vec<String>,
}

/// The rows of a slice from `from` to `to`, inclusive. A month's or another period's own figures are among
/// them if any day of it lies within the range.
///
/// # Errors
/// When the lake fails. An object that cannot be understood is told by name.
pub(super) async fn read(
    shelf: &Shelf,
    (dataset, stream, slice): (Dataset, &StreamId, &Slice),
    (from, to): (NaiveDate, NaiveDate),
) -> Result<Figures, lake::Error> {
    // A period is filed under the month of its last day.
    let last = if dataset == Dataset::Periods { to + Period::LONGEST } else { to };
    let partitions =
        windows(from, last).map(|window| Partition { dataset, stream: stream.clone(), month: window.month });
    let reads = partitions.map(|partition| async move {
        let found = shelf.rows(&partition).await?;
        Ok::<_, lake::Error>((partition, found))
    });
    let mut reads = futures_util::stream::iter(reads.collect::<Vec<_>>()).buffered(AT_ONCE);
    let mut figures = Figures::default();
    while let Some((partition, found)) = reads.try_next().await? {
        match found {
            None => {}
            Some(Ok(batch)) => {
                let wanted = |row: &Row| match row.end {
                    Some(end) => dataset == Dataset::Summary || (from <= end && row.date <= to),
                    None => from <= row.date && row.date <= to,
                };
                figures.rows.extend(rows(dataset, slice, &batch).into_iter().filter(wanted));
            }
            Some(Err(_)) => figures.damaged.push(shelf.key(&partition)),
        }
    }
    Ok(figures)
}

/// The rows of a slice, in the order of the batch. The columns have been checked when it was decoded.
fn rows(dataset: Dataset, slice: &Slice, batch: &RecordBatch) -> Vec<Row> {
    let column = |name: &str| batch.column_by_name(name);
    let text = |name: &str, wanted: &str| -> Vec<bool> {
        let texts = column(name).map(AsArray::as_string::<i32>);
        texts.map(|texts| texts.iter().map(|t| t == Some(wanted)).collect()).unwrap_or_default()
    };
    let filters = [
        text("conversation_type", slice.conversation_type.as_str()),
        text("conversation_status", slice.conversation_status.as_str()),
        text("channel", slice.channel.as_str()),
    ];
    let is_summary = matches!(dataset, Dataset::Summary | Dataset::Periods);
    let start = if is_summary { "period_start" } else { "date" };
    let averages = |row: usize| Averages {
        unique: float(column("avg_unique_users_per_day"), row),
        new: float(column("avg_new_users_per_day"), row),
        returning: float(column("avg_returning_users_per_day"), row),
    };
    let row = |row: usize| {
        Some(Row {
            date: date(column(start), row)?,
            end: date(column("period_end"), row),
            period: column("period").and_then(|c| c.as_string::<i32>().value(row).parse().ok()),
            hour: column("hour").map(|c| c.as_primitive::<Int8Type>().value(row).cast_unsigned()),
            hour_start: instant(column("hour_start"), row),
            counts: Counts {
                unique: count(column("unique_users"), row),
                new: count(column("new_users"), row),
                returning: count(column("returning_users"), row),
            },
            averages: is_summary.then(|| averages(row)),
            is_final: column("is_final").is_some_and(|c| c.as_boolean().value(row)),
            fetched_at: instant(column("fetched_at"), row)?,
        })
    };
    let is_wanted = |row: &usize| filters.iter().all(|f| f.get(*row) == Some(&true));
    (0..batch.num_rows()).filter(is_wanted).filter_map(row).collect()
}

fn date(column: Option<&ArrayRef>, row: usize) -> Option<NaiveDate> {
    NaiveDate::from_epoch_days(column?.as_primitive::<Date32Type>().value(row))
}

fn count(column: Option<&ArrayRef>, row: usize) -> Option<i64> {
    let counts = column?.as_primitive::<Int64Type>();
    counts.is_valid(row).then(|| counts.value(row))
}

fn float(column: Option<&ArrayRef>, row: usize) -> Option<f64> {
    let floats = column?.as_primitive::<Float64Type>();
    floats.is_valid(row).then(|| floats.value(row))
}

fn instant(column: Option<&ArrayRef>, row: usize) -> Option<DateTime<Utc>> {
    let instants = column?.as_primitive::<TimestampMicrosecondType>();
    instants.is_valid(row).then(|| DateTime::from_timestamp_micros(instants.value(row)))?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Stream;
    use crate::model::{DayPoint, Grain, Points, Summary, Trend};
    use crate::table;

    #[test]
    fn one_slice_of_a_batch() {
        let stream = Stream::example();
        let window = windows("2026-03-01".parse().unwrap(), "2026-03-03".parse().unwrap()).next().unwrap();
        let trend = |users: Option<i64>| Trend {
            summary: Summary {
                averages: Averages { unique: Some(1.5), ..Averages::default() },
                ..Summary::default()
            },
            points: Points::Daily(
                window
                    .dates()
                    .map(|date| DayPoint {
                        date,
                        counts: Counts { unique: users, new: Some(1), returning: None },
                    })
                    .collect(),
            ),
            missing: 0,
        };
        let answers = [(Slice::ALL, trend(Some(5))), (Slice::DASHBOARD, trend(None))];
        let fetched_at = "2026-03-03T12:00:00.000001Z".parse().unwrap();
        let batch = |dataset: Dataset| table::batch(dataset, &stream, window, &answers, fetched_at);
        assert_eq!(Dataset::Daily.grain(), Grain::Daily);
        let daily = rows(Dataset::Daily, &Slice::DASHBOARD, &batch(Dataset::Daily));
        assert_eq!(daily.iter().map(|r| r.date).collect::<Vec<_>>(), window.dates().collect::<Vec<_>>());
        let first = &daily[0];
        assert_eq!((first.counts.unique, first.counts.new, first.counts.returning), (None, Some(1), None));
        assert_eq!(
            (first.end, first.hour, first.is_final, first.fetched_at),
            (None, None, false, fetched_at)
        );
        let month = rows(Dataset::Summary, &Slice::ALL, &batch(Dataset::Summary));
        assert_eq!(month.len(), 1);
        assert_eq!((month[0].date, month[0].end), (window.start, Some(window.end)));
        assert_eq!(month[0].averages.unwrap().unique, Some(1.5));
    }
}
