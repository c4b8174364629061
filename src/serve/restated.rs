//! What was restated of a stream, month by month, for its page.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, Utc};
use futures_util::{StreamExt, TryStreamExt};

use crate::export::{self, Late};
use crate::lake::{self, Kind};
use crate::model::{Month, Slice, StreamId, UnitKind};
use crate::shelf::Shelf;

/// How many objects are read at once for one question.
const AT_ONCE: usize = 8;

/// The figures of a month that have changed after their day or hour was over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OfMonth {
    /// How many figures of days, each time that they changed.
    pub daily: u64,
    /// How many of hours.
    pub hourly: u64,
    /// When the newest change was found.
    pub newest: DateTime<Utc>,
    /// How many local days after its own a figure has changed at the latest.
    pub days: u16,
}

/// What the lake says.
#[derive(Debug, Default)]
pub(super) struct Restated {
    /// The months with restated figures.
    pub months: BTreeMap<Month, OfMonth>,
    /// Why objects cannot be understood: their rows are not among the others.
    pub damaged: Vec<lake::Error>,
}

impl Restated {
    fn add(&mut self, (kind, month): (UnitKind, Month), late: &[Late]) {
        for &Late { at, days } in late {
            let empty = OfMonth { daily: 0, hourly: 0, newest: at, days };
            let sum = self.months.entry(month).or_insert(empty);
            let count = if kind == UnitKind::Hourly { &mut sum.hourly } else { &mut sum.daily };
            *count += 1;
            sum.newest = sum.newest.max(at);
            sum.days = sum.days.max(days);
        }
    }
}

/// What was restated of a slice in the months from `from` to `to`, inclusive.
///
/// # Errors
/// When the lake fails. An object that cannot be understood is told.
pub(super) async fn read(
    shelf: &Shelf,
    (stream, slice): (&StreamId, &Slice),
    (from, to): (NaiveDate, NaiveDate),
) -> Result<Restated, lake::Error> {
    let mut units = shelf.lake().list_restatements(Some(stream)).await?.objects;
    units.retain(|unit, _| (Month::of(from)..=Month::of(to)).contains(&unit.month));
    let reads = units.into_keys().map(|unit| async move {
        match shelf.restatements(&unit).await {
            Err(error) if !matches!(error.kind(), Kind::Foreign | Kind::Settings) => Err(error),
            read => Ok((unit, read)),
        }
    });
    let mut reads = futures_util::stream::iter(reads.collect::<Vec<_>>()).buffered(AT_ONCE);
    let mut restated = Restated::default();
    while let Some((unit, read)) = reads.try_next().await? {
        match read {
            Ok(None) => {}
            Ok(Some(rows)) => restated.add((unit.kind, unit.month), &export::late(&rows, Some(slice))),
            Err(error) => restated.damaged.push(error),
        }
    }
    Ok(restated)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_has_the_newest_change_and_the_greatest_age() {
        let late = |at: &str, days: u16| Late { at: at.parse().unwrap(), days };
        let month = "2026-03".parse().unwrap();
        let mut restated = Restated::default();
        restated.add((UnitKind::Daily, month), &[]);
        assert_eq!(restated.months.len(), 0);
        restated.add(
            (UnitKind::Daily, month),
            &[late("2026-03-07T00:00:00Z", 2), late("2026-03-05T00:00:00Z", 4)],
        );
        restated.add((UnitKind::Hourly, month), &[late("2026-03-06T00:00:00Z", 3)]);
        let newest = "2026-03-07T00:00:00Z".parse().unwrap();
        assert_eq!(
            restated.months,
            BTreeMap::from([(month, OfMonth { daily: 2, hourly: 1, newest, days: 4 })])
        );
    }
}
