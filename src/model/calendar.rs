//! Months, windows and instants in a stream's zone.
//!
//! Dates are local dates of the zone. Instants are UTC. No function here asks what time it is.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Datelike, Days, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;

/// A calendar month, written `2026-03`. Years run from 2000 to 2999.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Month(NaiveDate);

/// A text that is no month.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a month as `YYYY-MM`, from 2000-01 to 2999-12")]
pub struct ParseMonthError;

impl Month {
    /// The month that holds `date`.
    #[must_use]
    pub fn of(date: NaiveDate) -> Self {
        Self(date.with_day(1).expect("every month has a first day"))
    }

    /// The first day.
    #[must_use]
    pub const fn first_day(self) -> NaiveDate {
        self.0
    }

    /// The last day.
    #[must_use]
    pub fn last_day(self) -> NaiveDate {
        self.next().0.pred_opt().expect("years are bounded")
    }

    /// The month after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.checked_add_months(chrono::Months::new(1)).expect("years are bounded"))
    }

    /// How many days the month has.
    #[must_use]
    pub fn days(self) -> u32 {
        self.last_day().day()
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.0.year(), self.0.month())
    }
}

impl FromStr for Month {
    type Err = ParseMonthError;

    fn from_str(text: &str) -> Result<Self, ParseMonthError> {
        // Exactly one spelling per month, since a month is a part of an object's key.
        let (year, month) = text.split_once('-').ok_or(ParseMonthError)?;
        let digits = |s: &str, len| s.len() == len && s.bytes().all(|b| b.is_ascii_digit());
        if !digits(year, 4) || !digits(month, 2) {
            return Err(ParseMonthError);
        }
        let year = year.parse().map_err(|_| ParseMonthError)?;
        if !(2000..3000).contains(&year) {
            return Err(ParseMonthError);
        }
        let month = month.parse().map_err(|_| ParseMonthError)?;
        NaiveDate::from_ymd_opt(year, month, 1).map(Self).ok_or(ParseMonthError)
    }
}

/// The days that are asked for: both ends inclusive, as in the API, never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Window {
    /// The month whose figures they are. It holds both ends, but where the days are those of other periods:
    /// then it holds the last scheduled day.
    pub month: Month,
    /// The first day.
    pub start: NaiveDate,
    /// The last day.
    pub end: NaiveDate,
}

impl Window {
    /// How many days the window has, at least one.
    #[must_use]
    pub fn days(&self) -> u32 {
        u32::try_from((self.end - self.start).num_days() + 1).expect("a window is never empty")
    }

    /// The days, in order.
    pub fn dates(self) -> impl Iterator<Item = NaiveDate> {
        self.start.iter_days().take(self.days() as usize)
    }
}

/// Cuts the days `first..=last` into one window per month, oldest first.
///
/// The windows tile the range: no gap, no overlap, and each lies within its month. An empty range
/// gives none.
pub fn windows(first: NaiveDate, last: NaiveDate) -> impl DoubleEndedIterator<Item = Window> {
    let months = |d: NaiveDate| d.year() * 12 + d.month0().cast_signed();
    let range = if first <= last { months(first)..months(last) + 1 } else { 0..0 };
    range.map(move |n| {
        let month0 = n.rem_euclid(12).cast_unsigned();
        let month = Month(
            NaiveDate::from_ymd_opt(n.div_euclid(12), month0 + 1, 1).expect("between two existing months"),
        );
        Window { month, start: month.first_day().max(first), end: month.last_day().min(last) }
    })
}

/// The wall-clock date and time in `zone` at `now`.
#[must_use]
pub fn local_now(now: DateTime<Utc>, zone: Tz) -> NaiveDateTime {
    now.with_timezone(&zone).naive_local()
}

/// The instant at which a wall clock in `zone` shows the given hour of the given date.
///
/// The earlier one where a change of the clocks repeats the hour, and `None` where it skips it. An
/// hour of which only a part exists (zones that shift by half an hour) begins at its first
/// existing minute.
#[must_use]
pub fn hour_start(zone: Tz, date: NaiveDate, hour: u32) -> Option<DateTime<Utc>> {
    [0, 15, 30, 45].into_iter().find_map(|minute| {
        let local = date.and_hms_opt(hour, minute, 0)?;
        zone.from_local_datetime(&local).earliest().map(|t| t.to_utc())
    })
}

/// The instant from which an answer on days up to `last_day` counts as final: `settle_days` whole
/// days in `zone` after the day has ended.
#[must_use]
pub fn settled_at(last_day: NaiveDate, zone: Tz, settle_days: u16) -> DateTime<Utc> {
    let date = last_day + Days::new(u64::from(settle_days) + 1);
    let midnight = date.and_time(NaiveTime::MIN);
    // A change of the clocks may skip midnight, and has skipped a whole day (Apia, 2011-12-30): the
    // day then begins where the gap ends.
    (0..=96)
        .find_map(|quarter| {
            let local = midnight + TimeDelta::minutes(15 * quarter);
            zone.from_local_datetime(&local).earliest()
        })
        .expect("no zone skips more than a day")
        .to_utc()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn date(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    #[test]
    fn a_month_has_one_spelling() {
        let month: Month = "2024-02".parse().unwrap();
        assert_eq!((month.to_string().as_str(), month.days()), ("2024-02", 29));
        assert_eq!(month.last_day(), date("2024-02-29"));
        for bad in
            ["2024-2", "2024-13", "2024-00", "24-01", "+024-01", "2024-02-01", "1999-12", "3000-01", ""]
        {
            assert_eq!(bad.parse::<Month>(), Err(ParseMonthError), "{bad}");
        }
    }

    #[test]
    fn hours_around_changes_of_the_clocks() {
        let utc = |s: &str| Some(s.parse::<DateTime<Utc>>().unwrap());
        // New York: 2026-03-08 has no 2 o'clock, 2026-11-01 has 1 o'clock twice.
        let ny = chrono_tz::America::New_York;
        assert_eq!(hour_start(ny, date("2026-03-08"), 1), utc("2026-03-08T06:00:00Z"));
        assert_eq!(hour_start(ny, date("2026-03-08"), 2), None);
        assert_eq!(hour_start(ny, date("2026-03-08"), 3), utc("2026-03-08T07:00:00Z"));
        assert_eq!(hour_start(ny, date("2026-11-01"), 1), utc("2026-11-01T05:00:00Z"));
        // Lord Howe shifts by half an hour: of 2 o'clock on 2026-10-04 only the second half exists.
        let lord_howe = chrono_tz::Australia::Lord_Howe;
        assert_eq!(hour_start(lord_howe, date("2026-10-04"), 2), utc("2026-10-03T15:30:00Z"));
    }

    #[test]
    fn settling_counts_local_days() {
        let kolkata = chrono_tz::Asia::Kolkata;
        assert_eq!(
            settled_at(date("2026-03-31"), kolkata, 3),
            "2026-04-03T18:30:00Z".parse::<DateTime<Utc>>().unwrap()
        );
        // Beirut skips midnight of 2026-03-29: the day begins at 01:00, which is 22:00 UTC.
        let beirut = chrono_tz::Asia::Beirut;
        assert_eq!(
            settled_at(date("2026-03-28"), beirut, 0),
            "2026-03-28T22:00:00Z".parse::<DateTime<Utc>>().unwrap()
        );
    }

    proptest! {
        #[test]
        fn windows_tile_any_range(start in 0u32..30_000, len in 0u32..4_000) {
            let first = date("2000-01-01") + Days::new(u64::from(start));
            let last = first + Days::new(u64::from(len));
            let tiles: Vec<_> = windows(first, last).collect();
            let days: Vec<_> = tiles.iter().copied().flat_map(Window::dates).collect();
            prop_assert_eq!(days, first.iter_days().take(len as usize + 1).collect::<Vec<_>>());
            for w in &tiles {
                prop_assert_eq!(Month::of(w.start), w.month);
                prop_assert_eq!(Month::of(w.end), w.month);
            }
        }

        /// Whatever the zone and the instant: the windows up to the local today end with today, and
        /// a window is settled only after its last local day is over.
        #[test]
        fn windows_end_today_in_any_zone(zone in 0..chrono_tz::TZ_VARIANTS.len(), secs in 946_684_800i64..2_000_000_000, settle in 0u16..40) {
            let zone = chrono_tz::TZ_VARIANTS[zone];
            let now = DateTime::from_timestamp(secs, 0).unwrap();
            let today = local_now(now, zone).date();
            let last = windows(today - Days::new(400), today).last().unwrap();
            prop_assert_eq!(last.end, today);
            prop_assert!(settled_at(last.end, zone, settle) > now);
            let long_ago = today - Days::new(u64::from(settle) + 2);
            prop_assert!(settled_at(long_ago, zone, settle) <= now);
        }
    }

    #[test]
    fn an_empty_range_has_no_window() {
        assert_eq!(windows(date("2026-01-02"), date("2026-01-01")).count(), 0);
    }
}
