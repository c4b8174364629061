//! What has to be done: the partitions that the configuration and the calendar ask for, minus those
//! that the lake already holds for good.
//!
//! Everything here is a pure function. What the lake holds comes in as an [`Inventory`].

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};

use crate::config::{RateLimit, Stream};
use crate::model::{Month, Partition, Unit, Window, local_now, windows};

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
}

impl Scope {
    /// Whether everything that is configured is looked at.
    #[must_use]
    pub const fn is_everything(&self) -> bool {
        self.from.is_none() && self.to.is_none() && self.broken.is_none()
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
}

/// The windows of a stream within the scope as of `now`, newest first.
pub fn stream_windows(stream: &Stream, scope: &Scope, now: DateTime<Utc>) -> impl Iterator<Item = Window> {
    let today = local_now(now, stream.zone).date();
    let first = scope.from.map_or(stream.first_date, |from| from.first_day().min(stream.first_date));
    let (from, to) = (scope.from, scope.to);
    let within = move |w: &Window| from.is_none_or(|f| f <= w.month) && to.is_none_or(|t| w.month <= t);
    windows(first, today).rev().filter(within)
}

/// Every unit of a stream within the scope, final ones included, newest month first.
#[must_use]
pub fn survey(stream: &Stream, inventory: &Inventory, scope: &Scope, now: DateTime<Utc>) -> Vec<Planned> {
    let fingerprint = stream.fingerprint();
    let mut units = Vec::new();
    for window in stream_windows(stream, scope, now) {
        for &grain in &stream.grains {
            let unit = Unit { stream: stream.id.clone(), grain, month: window.month };
            if scope.broken.as_ref().is_some_and(|broken| !broken.contains(&unit)) {
                continue;
            }
            let absent = unit.partitions().all(|p| !inventory.contains_key(&p));
            let states =
                unit.partitions().map(|p| state(stream, &fingerprint, window, inventory.get(&p), now));
            // A unit is as good as the worst of its partitions.
            let state = states.max().unwrap_or(State::Missing);
            let state = match scope {
                Scope { broken: Some(_), .. } => State::Broken,
                Scope { force: true, .. } => State::Forced,
                _ => state,
            };
            units.push(Planned { unit, window, state, absent });
        }
    }
    units
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
        Some(Presence::Known { fetched_at, fingerprint: asked, start, is_final, old_format }) => {
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
    month: Month,
    written_at: DateTime<Utc>,
    verified: bool,
    now: DateTime<Utc>,
) -> bool {
    let settled = stream.settled_at(month.last_day());
    if now < settled {
        // Provisional whatever the footer says.
        return false;
    }
    let undecided = settled..settled + LISTING_MARGIN;
    !verified || now - settled < READ_FOOTERS_FOR || undecided.contains(&written_at)
}

/// How many requests a stream's units take, without retries. A damaged object is left alone, so
/// nothing is asked for it.
#[must_use]
pub fn requests(stream: &Stream, planned: &[Planned]) -> u64 {
    let asked = planned.iter().filter(|p| !matches!(p.state, State::Final | State::Damaged)).count();
    asked as u64 * stream.slices.len() as u64
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

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
