//! The periods whose users are counted as a whole: unique users do not add up, so each period's figures
//! are those of a question over exactly its days.

use std::fmt;
use std::str::FromStr;

use chrono::{Datelike, Days, Months, NaiveDate, Weekday};

use super::{Month, Window};

/// A kind of period. Declared in the order of their texts, by which rows are sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Period {
    /// A calendar month. Its figures come with the daily answer.
    Month,
    /// A calendar quarter: January to March, and so on.
    Quarter,
    /// A day and the 27 before it: one such period for each day.
    Rolling28d,
    /// A day and the 6 before it: one such period for each day.
    Rolling7d,
    /// Seven days from a configured weekday on.
    Week,
}

impl Period {
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::Month, Self::Quarter, Self::Rolling28d, Self::Rolling7d, Self::Week];

    /// How many days lie between the beginning of a period and its last scheduled day, at the most.
    pub const LONGEST: Days = Days::new(91);

    /// The text of the configuration and of the lake's column.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Month => "month",
            Self::Quarter => "quarter",
            Self::Rolling28d => "rolling_28d",
            Self::Rolling7d => "rolling_7d",
            Self::Week => "week",
        }
    }

    /// How many days it has at the most.
    #[must_use]
    pub const fn most_days(self) -> u32 {
        match self {
            Self::Month => 31,
            Self::Quarter => 92,
            Self::Rolling28d => 28,
            Self::Rolling7d | Self::Week => 7,
        }
    }

    /// How many days lie between the ends of two such periods that follow one another, at the least.
    #[must_use]
    pub const fn least_step(self) -> u32 {
        match self {
            Self::Month => 28,
            Self::Quarter => 90,
            Self::Rolling28d | Self::Rolling7d => 1,
            Self::Week => 7,
        }
    }

    /// The periods whose last day lies in `month`, in order of time. Every period has one last day, so it
    /// belongs to one month.
    pub fn ending_in(self, month: Month, week_start: Weekday) -> impl Iterator<Item = Span> {
        let days = month.first_day().iter_days().take(month.days() as usize);
        days.filter_map(move |end| {
            let start = self.start(end, week_start)?;
            Some(Span { period: self, start, end })
        })
    }

    /// The first day of the period whose last day is `end`. `None` where none ends on that day.
    fn start(self, end: NaiveDate, week_start: Weekday) -> Option<NaiveDate> {
        let month = Month::of(end);
        let ends_month = end == month.last_day();
        match self {
            Self::Month => ends_month.then_some(month.first_day()),
            Self::Quarter => {
                (ends_month && end.month().is_multiple_of(3)).then(|| month.first_day() - Months::new(2))
            }
            Self::Rolling28d => Some(end - Days::new(27)),
            Self::Rolling7d => Some(end - Days::new(6)),
            Self::Week => (end.weekday().succ() == week_start).then(|| end - Days::new(6)),
        }
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Period {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let expected = "expected one of `month`, `week`, `rolling_7d`, `rolling_28d`, `quarter`";
        Self::ALL.into_iter().find(|p| p.as_str() == text).ok_or(expected)
    }
}

/// One period of the calendar, both ends inclusive. Sorted as the lake's rows are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Span {
    /// Its kind.
    pub period: Period,
    /// Its first day.
    pub start: NaiveDate,
    /// Its last day as scheduled: it may lie ahead.
    pub end: NaiveDate,
}

impl Span {
    /// The days to ask for on `today`: of a period under way, those up to today. `None` before its turn. A
    /// rolling period stands for its last day, so its turn comes with that one; that of the others with
    /// their first.
    #[must_use]
    pub fn window(self, today: NaiveDate) -> Option<Window> {
        let turn = match self.period {
            Period::Rolling28d | Period::Rolling7d => self.end,
            Period::Month | Period::Quarter | Period::Week => self.start,
        };
        let window = Window { month: Month::of(self.end), start: self.start, end: self.end.min(today) };
        (turn <= today).then_some(window)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn date(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    fn spans(period: Period, month: &str, week_start: Weekday) -> Vec<(String, String)> {
        let spans = period.ending_in(month.parse().unwrap(), week_start);
        spans.map(|s| (s.start.to_string(), s.end.to_string())).collect()
    }

    fn pairs(texts: &[(&str, &str)]) -> Vec<(String, String)> {
        texts.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
    }

    #[test]
    fn weeks_belong_to_the_month_of_their_last_day() {
        // ISO weeks over the turn of a year: 2020 had 53 of them, and the last one ends in 2021.
        let january = spans(Period::Week, "2021-01", Weekday::Mon);
        assert_eq!(january[0], ("2020-12-28".into(), "2021-01-03".into()));
        assert_eq!(january.len(), 5);
        assert_eq!(date("2020-12-28").iso_week().week(), 53);
        let sunday = spans(Period::Week, "2026-03", Weekday::Sun);
        assert_eq!(
            sunday,
            pairs(&[
                ("2026-03-01", "2026-03-07"),
                ("2026-03-08", "2026-03-14"),
                ("2026-03-15", "2026-03-21"),
                ("2026-03-22", "2026-03-28"),
            ])
        );
    }

    #[test]
    fn quarters_end_four_times_a_year_and_know_leap_years() {
        assert_eq!(spans(Period::Quarter, "2024-03", Weekday::Mon), pairs(&[("2024-01-01", "2024-03-31")]));
        assert_eq!(spans(Period::Quarter, "2026-12", Weekday::Mon), pairs(&[("2026-10-01", "2026-12-31")]));
        for month in ["2024-01", "2024-02", "2024-11"] {
            assert!(spans(Period::Quarter, month, Weekday::Mon).is_empty());
        }
        let days = |month: &str| {
            let span = Period::Quarter.ending_in(month.parse().unwrap(), Weekday::Mon).next().unwrap();
            span.window(span.end).unwrap().days()
        };
        assert_eq!([days("2024-03"), days("2025-03"), days("2025-06"), days("2025-09")], [91, 90, 91, 92]);
    }

    #[test]
    fn rolling_periods_reach_back_over_years_and_leap_days() {
        let january = spans(Period::Rolling7d, "2025-01", Weekday::Mon);
        assert_eq!(january.len(), 31);
        assert_eq!(january[0], ("2024-12-26".into(), "2025-01-01".into()));
        let leap = spans(Period::Rolling28d, "2024-03", Weekday::Mon);
        assert_eq!(leap[0], ("2024-02-03".into(), "2024-03-01".into()));
        assert_eq!(spans(Period::Rolling28d, "2025-03", Weekday::Mon)[0].0, "2025-02-02");
    }

    #[test]
    fn a_period_under_way_is_asked_up_to_today_and_a_rolling_one_on_its_day() {
        let week = Span { period: Period::Week, start: date("2026-03-30"), end: date("2026-04-05") };
        assert_eq!(week.window(date("2026-03-29")), None);
        let under_way = week.window(date("2026-03-31")).unwrap();
        assert_eq!((under_way.month.to_string().as_str(), under_way.end), ("2026-04", date("2026-03-31")));
        assert_eq!(under_way.days(), 2);
        assert_eq!(week.window(date("2026-05-01")).unwrap().end, week.end);
        let rolling = Span { period: Period::Rolling7d, ..week };
        assert_eq!(rolling.window(date("2026-04-04")), None);
        assert_eq!(rolling.window(date("2026-04-05")).unwrap().days(), 7);
    }

    #[test]
    fn periods_have_one_text_and_sort_by_it() {
        for period in Period::ALL {
            assert_eq!(period.as_str().parse(), Ok(period));
        }
        assert!(Period::ALL.is_sorted());
        assert!(Period::ALL.map(Period::as_str).is_sorted());
        for bad in ["", "Week", "weekly", "rolling_14d", "year"] {
            assert!(bad.parse::<Period>().is_err(), "{bad}");
        }
    }

    proptest! {
        /// Over any run of months: weeks and quarters tile the days, every day has its rolling periods, and
        /// each has its length.
        #[test]
        fn the_calendar_has_no_holes(first in 0u32..2_000, months in 4usize..40, weekday in 0u8..7) {
            let week_start = Weekday::try_from(weekday).unwrap();
            let first = Month::of(date("2010-01-01") + Months::new(first % 600));
            let all: Vec<Month> = std::iter::successors(Some(first), |m| Some(m.next())).take(months).collect();
            for period in Period::ALL {
                let spans: Vec<_> = all.iter().flat_map(|&m| period.ending_in(m, week_start)).collect();
                prop_assert!(spans.is_sorted());
                for span in &spans {
                    let whole = span.window(span.end).unwrap();
                    prop_assert!(whole.days() <= period.most_days());
                    prop_assert!(span.end <= span.start + Period::LONGEST);
                    prop_assert_eq!(whole.month, Month::of(span.end));
                    let beginning = span.window(span.start);
                    prop_assert!(beginning.is_none_or(|w| w.days() == 1));
                }
                for pair in spans.windows(2) {
                    let step = (pair[1].end - pair[0].end).num_days();
                    prop_assert!(step >= i64::from(period.least_step()));
                    match period {
                        Period::Rolling7d | Period::Rolling28d => prop_assert_eq!(step, 1),
                        _ => prop_assert_eq!(pair[1].start, pair[0].end + Days::new(1)),
                    }
                    if period == Period::Week {
                        prop_assert_eq!(pair[0].start.weekday(), week_start);
                    }
                }
            }
        }
    }
}
