//! What has to be done: the partitions that the configuration and the calendar ask for, minus those
//! that the lake already holds for good.
//!
//! Everything here is a pure function. What the lake holds comes in as an [`Inventory`].

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::time::Duration;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};

use crate::config::{RateLimit, Stream};
use crate::model::{Dataset, Month, Partition, Period, Span, Unit, UnitKind, Window, local_now, windows};

/// For how long after a month has settled its footers are read rather than the listing believed.
/// The listing tells when an object was written, which is after its answer was fetched.
const READ_FOOTERS_FOR: TimeDelta = TimeDelta::days(35);
/// By how much an object must have been written after the month had settled for the listing to be
/// believed: longer than any run, and any two clocks apart.
const LISTING_MARGIN: TimeDelta = TimeDelta::days(1);

/// What is known of a partition that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Presence {
    /// Only that it was written, and when.
    Listed {
        /// When, by the store's clock.
        written_at: DateTime<Utc>,
    },
    /// What its footer says.
    Known {
        /// When its content was first seen.
        fetched_at: DateTime<Utc>,
        /// What was asked.
        fingerprint: String,
        /// The first day asked for.
        start: NaiveDate,
        /// The setting by which it was judged what is final.
        settle_days: u16,
        /// Whether all of its rows say that they are final.
        is_final: bool,
        /// Whether an older version of the columns wrote it.
        old_format: bool,
    },
    /// Its footer cannot be read.
    Damaged,
}

/// What the lake holds.
pub type Inventory = BTreeMap<Partition, Presence>;

/// Why a unit has to be fetched, or that it has not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// It is there for good.
    Final,
    /// It is there, and its figures may still change.
    Provisional,
    /// It was asked differently than the configuration asks now, or has an older format.
    Stale,
    /// An object of it cannot be read.
    Damaged,
    /// It is not there.
    Missing,
    /// The user wants it fetched again.
    Forced,
    /// It is unsound, and the user wants it replaced.
    Broken,
}

impl State {
    /// The word shown to the user.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Final => "final",
            Self::Provisional => "provisional",
            Self::Stale => "stale",
            Self::Damaged => "damaged",
            Self::Missing => "missing",
            Self::Forced => "forced",
            Self::Broken => "broken",
        }
    }
}

/// Which part of the configured whole is looked at.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// From this month on, also before a stream's first date. Else from each stream's first date.
    pub from: Option<Month>,
    /// Up to this month. Else up to today.
    pub to: Option<Month>,
    /// Whether final units are fetched again.
    pub force: bool,
    /// Only these units, whatever is in their places.
    pub broken: Option<BTreeSet<Unit>>,
    /// Only what can be made of answers that were kept: the API is not asked.
    pub kept: bool,
}

impl Scope {
    /// Whether everything that is configured is looked at.
    #[must_use]
    pub const fn is_everything(&self) -> bool {
        self.from.is_none() && self.to.is_none() && self.broken.is_none() && !self.kept
    }
}

/// A unit with the days to ask for and its state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// The unit.
    pub unit: Unit,
    /// The days to ask for.
    pub window: Window,
    /// Why, or that it is final.
    pub state: State,
    /// Whether the lake holds none of its partitions.
    pub absent: bool,
    /// How many questions it takes. Exact, but that a quarter under way which the API has refused as too
    /// long is counted and not asked for again.
    pub questions: u64,
}

/// The windows of a stream within the scope as of `now`, newest first.
pub fn stream_windows(stream: &Stream, scope: &Scope, now: DateTime<Utc>) -> impl Iterator<Item = Window> {
    let today = today(stream, now);
    let (from, to) = (scope.from, scope.to);
    let within = move |w: &Window| from.is_none_or(|f| f <= w.month) && to.is_none_or(|t| w.month <= t);
    windows(first_date(stream, scope), today).rev().filter(within)
}

/// Every unit of a stream within the scope, final ones included: newest month first, and the periods, which
/// may take many requests, after all the rest.
#[must_use]
pub fn survey(stream: &Stream, inventory: &Inventory, scope: &Scope, now: DateTime<Utc>) -> Vec<Planned> {
    let mut units = Vec::new();
    let unit = |kind, month| Unit { stream: stream.id.clone(), kind, month };
    let is_meant = |unit: &Unit| scope.broken.as_ref().is_none_or(|broken| broken.contains(unit));
    for window in stream_windows(stream, scope, now) {
        for &grain in &stream.grains {
            let unit = unit(grain.into(), window.month);
            if is_meant(&unit) {
                let mut planned = planned(stream, unit, window, inventory, scope, now);
                planned.questions = stream.slices.len() as u64;
                units.push(planned);
            }
        }
    }
    let today = today(stream, now);
    for month in period_months(stream, scope, today) {
        let unit = unit(UnitKind::Periods, month);
        let there = inventory.get(&Partition { dataset: Dataset::Periods, stream: stream.id.clone(), month });
        let first = match there {
            Some(Presence::Known { start, .. }) => (*start).min(first_date(stream, scope)),
            _ => first_date(stream, scope),
        };
        let spans = stream.spans(month, first);
        if let Some(window) = period_window(&spans, today).filter(|_| is_meant(&unit)) {
            let mut planned = planned(stream, unit, window, inventory, scope, now);
            let asked = spans.iter().filter(|span| {
                span.window(today).is_some() && !is_carried(stream, **span, there, planned.state)
            });
            planned.questions = asked.count() as u64 * stream.slices.len() as u64;
            units.push(planned);
        }
    }
    // Those of many streams are kept side by side.
    units.shrink_to_fit();
    units
}

/// The unit with its state, before it is known how many questions it takes.
fn planned(
    stream: &Stream,
    unit: Unit,
    window: Window,
    inventory: &Inventory,
    scope: &Scope,
    now: DateTime<Utc>,
) -> Planned {
    let fingerprint = stream.fingerprint(unit.kind);
    let absent = unit.partitions().all(|p| !inventory.contains_key(&p));
    let states = unit.partitions().map(|p| state(stream, &fingerprint, window, inventory.get(&p), now));
    // A unit is as good as the worst of its partitions.
    let state = states.max().unwrap_or(State::Missing);
    let state = match scope {
        Scope { broken: Some(_), .. } => State::Broken,
        Scope { force: true, .. } => State::Forced,
        _ => state,
    };
    Planned { unit, window, state, absent, questions: 0 }
}

/// The date that a calendar in the stream's zone shows.
fn today(stream: &Stream, now: DateTime<Utc>) -> NaiveDate {
    local_now(now, stream.zone).date()
}

/// The first day to ask for.
fn first_date(stream: &Stream, scope: &Scope) -> NaiveDate {
    scope.from.map_or(stream.first_date, |from| from.first_day().min(stream.first_date))
}

/// The months within the scope in which periods end that have begun by today, newest first.
fn period_months(stream: &Stream, scope: &Scope, today: NaiveDate) -> impl Iterator<Item = Month> {
    let (from, to) = (scope.from, scope.to);
    let within = move |m: &Month| from.is_none_or(|f| f <= *m) && to.is_none_or(|t| *m <= t);
    let first = if stream.periods.is_empty() { NaiveDate::MAX } else { first_date(stream, scope) };
    windows(first, today + Period::LONGEST).rev().map(|window| window.month).filter(within)
}

/// The days of a month's periods as of `today`: from the first one's first day on, up to the last one's last
/// day. `None` where none of them has begun.
#[must_use]
pub fn period_window(spans: &[Span], today: NaiveDate) -> Option<Window> {
    let month = spans.iter().find_map(|span| span.window(today))?.month;
    let start = spans.iter().map(|span| span.start).min()?;
    let end = spans.iter().map(|span| span.end).max()?;
    Some(Window { month, start, end: end.min(today) })
}

/// Whether the rows of a period are taken over from the partition that is there, and not asked for: those
/// that had settled when they were fetched.
fn is_carried(stream: &Stream, span: Span, there: Option<&Presence>, state: State) -> bool {
    match there {
        Some(Presence::Known { fetched_at, fingerprint, start, settle_days, old_format: false, .. }) => {
            carries(state)
                && *start <= span.start
                && *settle_days == stream.settle_days
                && stream.asked_alike(fingerprint, span.period)
                && stream.settled_at(span.end) <= *fetched_at
        }
        _ => false,
    }
}

/// Whether a unit in this state takes over what is there and still stands.
#[must_use]
pub const fn carries(state: State) -> bool {
    !matches!(state, State::Forced | State::Broken)
}

fn state(
    stream: &Stream,
    fingerprint: &str,
    window: Window,
    presence: Option<&Presence>,
    now: DateTime<Utc>,
) -> State {
    let settled = stream.settled_at(window.month.last_day());
    let (seen_at, rows_final, stale) = match presence {
        None => return State::Missing,
        Some(Presence::Damaged) => return State::Damaged,
        Some(Presence::Listed { written_at }) => (*written_at, true, false),
        Some(Presence::Known { fetched_at, fingerprint: asked, start, is_final, old_format, .. }) => {
            // A partition that reaches further back than asked for is not cut.
            (*fetched_at, *is_final, asked != fingerprint || *old_format || *start > window.start)
        }
    };
    if stale {
        State::Stale
    } else if seen_at < settled || now < settled || !rows_final {
        State::Provisional
    } else {
        State::Final
    }
}

/// Whether the listing cannot decide on a partition, so that its footer must be read.
///
/// `verified` says that the stream's footers have all been held against these settings before.
#[must_use]
pub fn needs_footer(
    stream: &Stream,
    partition: &Partition,
    written_at: DateTime<Utc>,
    verified: bool,
    now: DateTime<Utc>,
) -> bool {
    let settled = stream.settled_at(partition.month.last_day());
    // What is provisional may hold periods that need not be asked for again.
    let holds_settled = partition.dataset == Dataset::Periods;
    if now < settled {
        // Provisional whatever the footer says.
        return holds_settled;
    }
    let undecided = settled..settled + LISTING_MARGIN;
    !verified
        || now - settled < READ_FOOTERS_FOR
        || undecided.contains(&written_at)
        || (holds_settled && written_at < settled)
}

/// How many requests units take, without retries. A damaged object is left alone, so nothing is asked
/// for it.
#[must_use]
pub fn requests(planned: &[Planned]) -> u64 {
    let asked = planned.iter().filter(|p| !matches!(p.state, State::Final | State::Damaged));
    asked.map(|p| p.questions).sum()
}

/// How many requests a run spends at the most on a stream's periods, if it follows soon on another one: on
/// those under way, and those that have ended and may still change.
#[must_use]
pub fn upkeep(stream: &Stream) -> u64 {
    let open = |period: &Period| 1 + u64::from(u32::from(stream.settle_days).div_ceil(period.least_step()));
    stream.periods.iter().map(open).sum::<u64>() * stream.slices.len() as u64
}

/// How many requests the limits let leave in a day.
#[must_use]
pub fn daily_budget(limits: &[RateLimit]) -> u64 {
    const DAY: Duration = Duration::from_hours(24);
    let of_day = |limit: &RateLimit| {
        let requests = u128::from(limit.requests) * DAY.as_millis() / limit.per.as_millis().max(1);
        u64::try_from(requests).unwrap_or(u64::MAX)
    };
    limits.iter().map(of_day).min().unwrap_or(u64::MAX)
}

/// The least time in which the limits let `requests` requests leave, the first one at once.
///
/// Exact: request number i may leave when, for every limit of n per span, request i - n left a span
/// ago. An empty set of limits allows everything at once.
#[must_use]
pub fn least_time(requests: u64, limits: &[RateLimit]) -> Duration {
    let longest = limits.iter().map(|l| l.requests as usize).max().unwrap_or(0);
    let mut left = std::collections::VecDeque::with_capacity(longest);
    let mut now = Duration::ZERO;
    for _ in 0..requests {
        for limit in limits {
            if let Some(index) = left.len().checked_sub(limit.requests as usize) {
                now = now.max(left[index] + limit.per);
            }
        }
        if left.len() == longest {
            left.pop_front();
        }
        left.push_back(now);
    }
    now
}

/// The least time for all streams, each of which takes one of `times`, when so many go on at once and the
/// next one begins as one ends.
#[must_use]
pub fn in_parallel(times: impl Iterator<Item = Duration>, at_once: usize) -> Duration {
    let mut ends = BinaryHeap::new();
    for time in times {
        let begin = if ends.len() < at_once {
            Duration::ZERO
        } else {
            ends.pop().map_or(Duration::ZERO, |Reverse(end)| end)
        };
        ends.push(Reverse(begin + time));
    }
    ends.into_iter().map(|Reverse(end)| end).max().unwrap_or(Duration::ZERO)
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
