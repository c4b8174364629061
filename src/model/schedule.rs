//! When runs are due: cron expressions in a zone.

use chrono::{DateTime, NaiveDateTime, SubsecRound, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};

/// Cron expressions of five fields, read by the wall clock of a zone.
///
/// Where a change of the clocks skips a tick at a fixed time, the tick comes when the gap ends; where it
/// repeats one, the tick comes once. Ticks by an interval (`*/15`) follow the hours that exist.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// Each with whether its hours are given by name.
    crons: Vec<(Cron, bool)>,
    zone: Tz,
}

/// A text that is no cron expression, or one that never comes due.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidCron(String);

impl Schedule {
    /// A schedule of at least one expression.
    ///
    /// # Errors
    /// When an expression cannot be read, or names a day that does not exist. Gives its index.
    pub fn new(expressions: &[String], zone: Tz) -> Result<Self, (usize, InvalidCron)> {
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        let parse = |(index, text): (usize, &String)| {
            let cron = parser.parse(text).map_err(|e| (index, InvalidCron(e.to_string())))?;
            // Any instant will do: what comes at all comes within the years that croner looks ahead.
            match cron.find_next_occurrence(&DateTime::UNIX_EPOCH, false) {
                Ok(_) => Ok((cron, has_fixed_hours(text))),
                Err(_) => Err((index, InvalidCron("it never comes due".into()))),
            }
        };
        Ok(Self { crons: expressions.iter().enumerate().map(parse).collect::<Result<_, _>>()?, zone })
    }

    /// The first tick after an instant, of any expression.
    #[must_use]
    pub fn next_after(&self, instant: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.crons.iter().filter_map(|(cron, fixed)| self.next_of(cron, *fixed, instant)).min()
    }

    fn next_of(&self, cron: &Cron, fixed: bool, instant: DateTime<Utc>) -> Option<DateTime<Utc>> {
        // Croner keeps the fraction of a second in what it finds.
        let local = instant.trunc_subsecs(0).with_timezone(&self.zone);
        if !fixed {
            return cron.find_next_occurrence(&local, false).ok().map(|tick| tick.to_utc());
        }
        // Croner skips some ticks in a gap, and doubles one right before it. So it is asked about a wall clock that
        // never changes, from a day back, where no shift of the clocks can hide a tick.
        let wall = local.naive_local().and_utc() - TimeDelta::days(1);
        cron.iter_after(wall).map(|tick| self.instant_of(tick.naive_utc())).find(|tick| *tick > instant)
    }

    /// When the wall clock shows this, for the first time; the end of the gap where it never does.
    fn instant_of(&self, wall: NaiveDateTime) -> DateTime<Utc> {
        let minutes = (0..=48 * 60).map(|minute| wall + TimeDelta::minutes(minute));
        let mut existing = minutes.filter_map(|wall| self.zone.from_local_datetime(&wall).earliest());
        existing.next().expect("no zone skips two days").to_utc()
    }

    /// How many ticks there are after `from`, up to and including `to`.
    #[must_use]
    pub fn ticks_between(&self, from: DateTime<Utc>, to: DateTime<Utc>) -> u64 {
        let ticks = std::iter::successors(self.next_after(from), |tick| self.next_after(*tick));
        ticks.take_while(|tick| *tick <= to).count() as u64
    }

    /// The expressions, as they were given.
    pub fn expressions(&self) -> impl Iterator<Item = &str> {
        self.crons.iter().map(|(cron, _)| cron.as_str())
    }

    /// The zone of the wall clock.
    #[must_use]
    pub const fn zone(&self) -> Tz {
        self.zone
    }
}

/// Whether an expression names the hours of its ticks, instead of following all of them.
fn has_fixed_hours(expression: &str) -> bool {
    let hours = expression.split_whitespace().nth(1).unwrap_or_default();
    hours.bytes().all(|b| b.is_ascii_digit() || b == b',')
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::NaiveDate;

    fn schedule(text: &str, zone: Tz) -> Schedule {
        Schedule::new(&[text.to_owned()], zone).unwrap()
    }

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let refused = |text: &str| Schedule::new(&["0 * * * *".into(), text.into()], Tz::UTC).unwrap_err();
        for text in ["", "* * *", "0 0 0 * * *", "61 * * * *", "0 0 30 2 *", "0 0 31 4,6,9,11 *", "soon"] {
            assert_eq!(refused(text).0, 1, "{text}");
        }
        schedule("0 0 29 2 *", Tz::UTC);
    }

    /// Row 31 of the table of faults: a day's tick comes once on every day, whatever the clocks do.
    #[test]
    fn fault_31_a_daily_tick_comes_once_a_day_in_every_zone() {
        let zones = [
            chrono_tz::America::New_York,
            chrono_tz::Europe::Dublin,
            chrono_tz::Australia::Lord_Howe,
            chrono_tz::Asia::Kolkata,
        ];
        for zone in zones {
            for hour in 0..4 {
                for minute in [0, 15, 45] {
                    let schedule = schedule(&format!("{minute} {hour} * * *"), zone);
                    let mut tick = at("2026-01-01T12:00:00Z");
                    let mut day: Option<NaiveDate> = None;
                    for _ in 0..730 {
                        tick = schedule.next_after(tick).unwrap();
                        let local = tick.with_timezone(&zone);
                        if let Some(day) = day {
                            assert_eq!(
                                local.date_naive(),
                                day + TimeDelta::days(1),
                                "{zone} {hour}:{minute}"
                            );
                        }
                        day = Some(local.date_naive());
                    }
                }
            }
        }
    }

    #[test]
    fn ticks_in_gaps_and_overlaps() {
        let new_york = schedule("30 2 * * *", chrono_tz::America::New_York);
        // 2:30 does not exist on 2026-03-08: the tick comes at 3:00, when the gap ends.
        assert_eq!(new_york.next_after(at("2026-03-08T00:00:00Z")), Some(at("2026-03-08T07:00:00Z")));
        let twice_a_day = schedule("30 2,14 * * *", chrono_tz::America::New_York);
        assert_eq!(twice_a_day.next_after(at("2026-03-08T00:00:00Z")), Some(at("2026-03-08T07:00:00Z")));
        // 1:30 comes twice on 2026-11-01: the tick comes with the first.
        let twice = schedule("30 1 * * *", chrono_tz::America::New_York);
        assert_eq!(twice.next_after(at("2026-11-01T00:00:00Z")), Some(at("2026-11-01T05:30:00Z")));
        assert_eq!(twice.next_after(at("2026-11-01T05:30:00Z")), Some(at("2026-11-02T06:30:00Z")));
        // Lord Howe moves by half an hour: an hourly tick has no gap of more than an hour and a half.
        let hourly = schedule("5 * * * *", chrono_tz::Australia::Lord_Howe);
        let mut tick = at("2026-01-01T00:05:00Z");
        for _ in 0..24 * 365 {
            let next = hourly.next_after(tick).unwrap();
            assert!(next - tick <= TimeDelta::minutes(90) && next - tick >= TimeDelta::minutes(30), "{tick}");
            tick = next;
        }
    }

    #[test]
    fn several_expressions_and_counting() {
        let texts = ["0 6 * * *".to_owned(), "0 18 * * 1-5".to_owned()];
        let schedule = Schedule::new(&texts, Tz::UTC).unwrap();
        let (friday, monday) = (at("2026-11-27T18:00:00Z"), at("2026-11-30T06:00:00Z"));
        assert_eq!(schedule.next_after(at("2026-11-27T06:00:00Z")), Some(friday));
        assert_eq!(schedule.ticks_between(friday, monday), 3);
        assert_eq!(schedule.ticks_between(monday, monday), 0);
    }
}
