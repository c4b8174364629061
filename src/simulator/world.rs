//! The made-up users behind the answers: believable, cheap, and always the same.
//!
//! The hour is the seed of everything: a day's figures follow from its hours, a range's from its
//! days. So the relations that real figures obey hold by construction, for every slice and at every
//! moment: no filter shows more than `All`, the hours of a day add up to more than the day, no hour
//! exceeds its day and no day its range, and a figure never shrinks while it is restated.
//!
//! Shares and noise are fixed-point numbers with 16 bits after the point, so that the figures are the
//! same on every machine.

use chrono::{DateTime, Datelike, Days, NaiveDate, NaiveTime, TimeZone, Timelike, Utc};
use chrono_tz::Tz;

use super::ask::Ask;
use super::noise::{lane, of_text, scatter};
use super::settings::Future;
use crate::model::{
    Averages, Channel, ConversationStatus, ConversationType, Counts, DayPoint, Grain, HourPoint, Points,
    Question, Slice, Summary, hour_start, local_now,
};

/// One, with 16 bits after the point.
const ONE: u64 = 1 << 16;

/// How a day's visits spread over its local hours, in thousandths: a hump before noon, one after.
const HOURS: [u64; 24] =
    [4, 3, 2, 2, 3, 6, 15, 30, 55, 75, 85, 80, 55, 60, 75, 80, 70, 60, 55, 55, 50, 40, 25, 15];

/// How busy the days of a week are, from Monday, in thousandths.
const WEEKDAYS: [u64; 7] = [1080, 1100, 1090, 1060, 1000, 520, 450];

/// Where the figures come from. A function of the question and the time, and of nothing else.
#[derive(Clone, Debug)]
pub struct World {
    restate_days: u16,
    future: Future,
}

/// Users of an hour, a day or a range.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Users {
    pub unique: u64,
    pub new: u64,
    pub returning: u64,
}

/// One date of an answer.
#[derive(Clone, Debug)]
pub(super) struct Day {
    pub date: NaiveDate,
    pub users: Users,
    pub hours: [Users; 24],
    /// How many of the hours the answer shows: 24, or less when the future is left out.
    pub hours_shown: usize,
}

/// An answer before it has a form.
#[derive(Clone, Debug)]
pub(super) struct Figures {
    pub total: Users,
    pub days: Vec<Day>,
}

impl World {
    /// A world in which a day's figures grow for `restate_days` local days after its end.
    #[must_use]
    pub const fn new(restate_days: u16, future: Future) -> Self {
        Self { restate_days, future }
    }

    /// What the simulator answers to `question` at `now`: the summary, and every point that stands in
    /// the answer, in order of time.
    ///
    /// Days and hours to come have zeros or are left out, as the settings say. An hour that a change
    /// of the clocks skips is there, with zeros.
    #[must_use]
    pub fn answer(&self, question: &Question, now: DateTime<Utc>) -> (Summary, Points) {
        let figures = self.figures(question.stream.as_str(), &Ask::from(question), now);
        let points = match question.grain {
            Grain::Daily => Points::Daily(
                figures
                    .days
                    .iter()
                    .map(|day| DayPoint { date: day.date, counts: counts(day.users) })
                    .collect(),
            ),
            Grain::Hourly => Points::Hourly(figures.days.iter().flat_map(hour_points).collect()),
        };
        (figures.summary(), points)
    }

    /// The figures of `ask` for the stream with the id `stream`, as they stand at `now`.
    pub(super) fn figures(&self, stream: &str, ask: &Ask, now: DateTime<Utc>) -> Figures {
        let local = local_now(now, ask.zone);
        let stream = StreamTraits::of(stream, ask.zone);
        let slice = share_of(&ask.slice);
        let mut midnight = ask.zone.offset_from_local_datetime(&ask.start.and_time(NaiveTime::MIN));
        let span = usize::try_from((ask.end - ask.start).num_days()).unwrap_or(0) + 1;
        let mut days = Vec::with_capacity(span);
        for date in ask.start.iter_days().take(span) {
            let days_ago = (local.date() - date).num_days();
            let elapsed = match days_ago {
                ..0 => 0,
                0 => local.hour() as usize + 1,
                1.. => 24,
            };
            if elapsed == 0 && self.future == Future::Absent {
                break;
            }
            let next = date + Days::new(1);
            let next_midnight = ask.zone.offset_from_local_datetime(&next.and_time(NaiveTime::MIN));
            let clocks_change = midnight.single().is_none() || midnight != next_midnight;
            midnight = next_midnight;
            let exists = |hour| !clocks_change || hour_start(ask.zone, date, hour).is_some();
            let share = (slice * self.completeness(days_ago)) >> 16;
            let (users, hours) = stream.day(date, share, elapsed, exists);
            let hours_shown = if self.future == Future::Absent { elapsed } else { 24 };
            days.push(Day { date, users, hours, hours_shown });
        }
        Figures { total: stream.total(ask.end, &days), days }
    }

    /// The share of a day's users that are known so many local days after the day began: nine
    /// tenths on the day itself, then more each day, and all once it is settled.
    fn completeness(&self, days_ago: i64) -> u64 {
        let steps = u64::from(self.restate_days) + 1;
        let done = u64::try_from(days_ago).unwrap_or(0).min(steps);
        let at_first = ONE * 9 / 10;
        at_first + (ONE - at_first) * done / steps
    }
}

impl Figures {
    /// The averages per day in hundredths, rounded half up, in the order unique, new, returning.
    pub(super) fn average_hundredths(&self) -> [u64; 3] {
        let days = u64::try_from(self.days.len()).unwrap_or(u64::MAX).max(1);
        let Users { unique, new, returning } = self.total;
        [unique, new, returning].map(|count| (200 * count + days) / (2 * days))
    }

    fn summary(&self) -> Summary {
        // Hundredths of a count fit a double exactly, and the division rounds as a parser would.
        #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
        let [unique, new, returning] =
            self.average_hundredths().map(|hundredths| Some(hundredths as f64 / 100.0));
        Summary { counts: counts(self.total), averages: Averages { unique, new, returning } }
    }
}

/// What is particular to a stream.
struct StreamTraits {
    seed: u64,
    /// Users on a usual weekday at the beginning of 2020 or so.
    level: u64,
}

impl StreamTraits {
    fn of(stream: &str, zone: Tz) -> Self {
        let own = of_text(stream);
        let size = lane(own, 0);
        // Squared, since small apps are common and large ones are rare. Cut in another zone, the
        // same visits give other figures, so the zone is a part of the seed.
        Self { seed: own ^ of_text(zone.name()).rotate_left(1), level: 20 + ((1980 * size * size) >> 32) }
    }

    /// The level that slow growth has led to, in thousandths of a user.
    fn level_on(&self, date: NaiveDate) -> u64 {
        let months = i64::from(date.year() - 2020) * 12 + i64::from(date.month0());
        self.level * (700 + 8 * months).clamp(300, 2500).cast_unsigned()
    }

    /// The users of one day and of its hours, of which the first `elapsed` have begun.
    fn day(
        &self,
        date: NaiveDate,
        share: u64,
        elapsed: usize,
        exists: impl Fn(u32) -> bool,
    ) -> (Users, [Users; 24]) {
        let seed = scatter(self.seed ^ u64::from(date.num_days_from_ce().cast_unsigned()));
        let weekday = WEEKDAYS[date.weekday().num_days_from_monday() as usize];
        // Thousandths of a user on this day, with a tenth of noise either way.
        let users = self.level_on(date) * weekday / 1000 * (900 + lane(seed, 0) % 200) / 1000;
        let new_share = 230 + lane(seed, 1) % 60;
        // Visits in a thousandth of the day, with 16 bits after the point. Who returns comes in
        // several hours, hence the factor on the second.
        let new_visits = (users << 16) / 1000 * new_share / 1_000_000;
        let return_visits = (users << 16) / 1000 * (1000 - new_share) / 1_000_000 * 145 / 100;

        let mut hours = [Users::default(); 24];
        let (mut new, mut visits, mut busiest) = (0, 0, 0);
        for (hour, slot) in (0..24).zip(&mut hours).take(elapsed) {
            if !exists(hour) {
                continue;
            }
            let noise = scatter(seed.wrapping_add(u64::from(hour) + 1));
            let dither = scatter(noise);
            let weight = HOURS[hour as usize];
            let drawn = |visits: u64, lanes: u32| {
                let swing = ONE * 6 / 10 + lane(noise, lanes) * 8 / 10;
                let all = (((visits * weight * swing) >> 16) + lane(noise, lanes + 1)) >> 16;
                // The same dither for every slice and at every time keeps them in order.
                (all * share + lane(dither, lanes)) >> 16
            };
            let (first_timers, returners) = (drawn(new_visits, 0), drawn(return_visits, 2));
            *slot = Users { unique: first_timers + returners, new: first_timers, returning: returners };
            new += first_timers;
            visits += returners;
            busiest = busiest.max(returners);
        }
        let distinct = ONE * 64 / 100 + lane(seed, 2) / 10;
        let returned = ((visits * distinct + ONE - 1) >> 16).max(busiest);
        // On some days a few who were new come back within the day: they are both, and count once.
        let both = if lane(seed, 3).is_multiple_of(4) { new / 16 } else { 0 };
        (Users { unique: new + returned, new, returning: returned + both }, hours)
    }

    /// The users of a whole range. The new ones add up; those who return are a pool that is soon
    /// exhausted. It is that of the range's end, which the growth has led to, so that no part of a range has
    /// more users than the whole.
    fn total(&self, end: NaiveDate, days: &[Day]) -> Users {
        let pool = (self.level_on(end) * 32 / 10_000).max(1);
        let (mut new, mut both, mut returns, mut most) = (0, 0, 0, 0);
        for Users { unique, new: first_timers, returning } in days.iter().map(|day| day.users) {
            let returned = unique - first_timers;
            new += first_timers;
            both += returning - returned;
            returns += returned;
            most = most.max(returned);
        }
        let returned = (pool * returns).div_ceil(pool + returns).max(most);
        Users { unique: new + returned, new, returning: returned + both }
    }
}

/// The share of all users that a filter leaves, with 16 bits after the point.
fn share_of(slice: &Slice) -> u64 {
    let hundredths = |n: u64| ONE * n / 100;
    let kind = match slice.conversation_type {
        ConversationType::All => ONE,
        ConversationType::Interactive => hundredths(80),
        ConversationType::NonInteractive => hundredths(25),
    };
    let status = match slice.conversation_status {
        ConversationStatus::All => ONE,
        ConversationStatus::Active => hundredths(12),
        ConversationStatus::Closed => hundredths(90),
    };
    let channel = match &slice.channel {
        Channel::All => ONE,
        Channel::Named(name) => hundredths(5 + of_text(name) % 40),
    };
    (((kind * status) >> 16) * channel) >> 16
}

fn counts(users: Users) -> Counts {
    let count = |n: u64| Some(n.cast_signed());
    Counts { unique: count(users.unique), new: count(users.new), returning: count(users.returning) }
}

fn hour_points(day: &Day) -> impl Iterator<Item = HourPoint> {
    let shown = (0u8..).zip(&day.hours).take(day.hours_shown);
    shown.map(|(hour, &users)| HourPoint { date: day.date, hour, counts: counts(users) })
}

#[cfg(test)]
mod tests;
