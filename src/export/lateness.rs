//! How late figures still move: what the restatements in the lake tell.

use std::collections::BTreeMap;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Date32Type, TimestampMicrosecondType};
use chrono::{DateTime, NaiveDate, Utc};
use chrono_tz::Tz;
use futures_util::{StreamExt, TryStreamExt};
use serde::Serialize;

use crate::config::Stream;
use crate::lake;
use crate::model::{Grain, Slice, local_now};
use crate::shelf::Shelf;
use crate::table::column;

/// How many files are read at once.
const AT_ONCE: usize = 8;

/// How late the figures of a stream in one grain were restated: in local days after their own, of which 0 is
/// their own and `n` is within `settle_days = n`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Lateness {
    /// The grain.
    pub grain: &'static str,
    /// How many figures were restated.
    pub figures: u64,
    /// Half of them were by then.
    pub p50_days: u16,
    /// 99 in 100 of them were by then.
    pub p99_days: u16,
    /// All of them were by then.
    pub max_days: u16,
}

/// One restatement of one figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Late {
    /// When it was found.
    pub at: DateTime<Utc>,
    /// How many local days after the figure's own.
    pub days: u16,
}

/// What rows of restatements tell, one by one: of a slice, or of all.
#[must_use]
pub fn late(rows: &RecordBatch, slice: Option<&Slice>) -> Vec<Late> {
    let texts = |name: &str| column(rows, name).as_string::<i32>();
    let filters = slice.map(|slice| {
        [
            (texts("conversation_type"), slice.conversation_type.as_str()),
            (texts("conversation_status"), slice.conversation_status.as_str()),
            (texts("channel"), slice.channel.as_str()),
        ]
    });
    let is_wanted = |row: &usize| filters.iter().flatten().all(|(texts, text)| texts.value(*row) == *text);
    let zones = texts("time_zone");
    let dates = column(rows, "date").as_primitive::<Date32Type>();
    let times = column(rows, "restated_at").as_primitive::<TimestampMicrosecondType>();
    let late = |row: usize| {
        let zone = zones.value(row).parse::<Tz>().ok()?;
        let at = DateTime::from_timestamp_micros(times.value(row))?;
        let days = local_now(at, zone).date() - NaiveDate::from_epoch_days(dates.value(row))?;
        Some(Late { at, days: u16::try_from(days.num_days()).unwrap_or(0) })
    };
    (0..rows.num_rows()).filter(is_wanted).filter_map(late).collect()
}

/// How many figures were restated, by days after their own.
#[derive(Debug, Default)]
struct Histogram(BTreeMap<u16, u64>);

impl Histogram {
    fn count(&self) -> u64 {
        self.0.values().sum()
    }

    /// The first day by which so many of a hundred had been restated.
    fn percentile(&self, percent: u64) -> u16 {
        let wanted = (self.count() * percent).div_ceil(100);
        let mut seen = 0;
        let found = self.0.iter().find(|(_, count)| {
            seen += **count;
            seen >= wanted
        });
        found.map_or(0, |(days, _)| *days)
    }
}

/// How late the figures of a stream were restated, by grain; nothing of a grain where none was.
///
/// # Errors
/// When the lake fails, or restatements cannot be understood.
pub async fn lateness(shelf: &Shelf, stream: &Stream) -> Result<Vec<Lateness>, lake::Error> {
    let units = shelf.lake().list_restatements(Some(&stream.id)).await?.objects;
    let reads = units.keys().map(|unit| async move {
        Ok::<_, lake::Error>((unit.kind.grain(), shelf.restatements(unit).await?))
    });
    let mut reads = futures_util::stream::iter(reads.collect::<Vec<_>>()).buffer_unordered(AT_ONCE);
    let mut by_grain: BTreeMap<Grain, Histogram> = BTreeMap::new();
    while let Some((grain, rows)) = reads.try_next().await? {
        let Some(rows) = rows else { continue };
        let histogram = by_grain.entry(grain).or_default();
        for Late { days, .. } in late(&rows, None) {
            *histogram.0.entry(days).or_default() += 1;
        }
    }
    let lateness = |(grain, histogram): (Grain, Histogram)| Lateness {
        grain: grain.as_str(),
        figures: histogram.count(),
        p50_days: histogram.percentile(50),
        p99_days: histogram.percentile(99),
        max_days: histogram.percentile(100),
    };
    Ok(by_grain.into_iter().map(lateness).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_days_that_were_seen() {
        let histogram = Histogram(BTreeMap::from([(0, 50), (1, 48), (2, 1), (9, 1)]));
        let at = |percent| histogram.percentile(percent);
        assert_eq!([at(50), at(51), at(98), at(99), at(100)], [0, 1, 1, 2, 9]);
        assert_eq!(Histogram(BTreeMap::from([(3, 1)])).percentile(50), 3);
    }
}
