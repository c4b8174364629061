//! The pace of a daemon: one round at the start, then one at each tick, never two at once.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::BoxFuture;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::chance::Chance;
use crate::clock::Clock;
use crate::model::Schedule;

/// A clock that has stepped back by more than this is believed, and its ticks come again.
const BELIEVED_STEP: TimeDelta = TimeDelta::hours(2);

/// Rings once at an instant of the wall clock.
pub trait Alarm: Send + Sync {
    /// Waits until the wall clock shows `at`, also if the machine sleeps meanwhile.
    fn ring(&self, at: DateTime<Utc>) -> BoxFuture<'_, ()>;
}

/// When rounds are due.
#[derive(Clone, Debug)]
pub struct Timetable {
    /// The ticks.
    pub schedule: Schedule,
    /// The longest time from a tick to the beginning of its round.
    pub jitter: Duration,
}

/// What a round is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Round {
    /// The daemon has started: whatever was missed before is caught up with.
    Start(DateTime<Utc>),
    /// A tick of the schedule.
    Tick(DateTime<Utc>),
}

impl Round {
    /// When it was due.
    #[must_use]
    pub const fn due(self) -> DateTime<Utc> {
        let (Self::Start(due) | Self::Tick(due)) = self;
        due
    }
}

/// What drives the rounds.
pub struct Pace<'a> {
    /// Time.
    pub clock: Clock,
    /// Chance, for the jitter.
    pub chance: Chance,
    /// The alarm.
    pub alarm: &'a dyn Alarm,
    /// The timetable in force; a new one is taken up at once.
    pub timetable: watch::Receiver<Timetable>,
    /// Ends the rounds.
    pub stop: CancellationToken,
}

/// Goes round until it is stopped, first at the start and then at each tick. `skip` is told how many ticks
/// came while a round was under way, or the machine asleep: one round stands for all of them.
pub async fn go_round(mut pace: Pace<'_>, mut round: impl AsyncFnMut(Round), skip: impl Fn(u64)) {
    let mut last = pace.clock.now();
    round(Round::Start(last)).await;
    while !pace.stop.is_cancelled() {
        let now = pace.clock.now();
        let Timetable { schedule, jitter } = pace.timetable.borrow_and_update().clone();
        if last < now {
            skip(schedule.ticks_between(last, now));
            last = now;
        } else if last - now > BELIEVED_STEP {
            warn!("the clock has stepped back by {} min", (last - now).num_minutes());
            last = now;
        }
        let Some(tick) = schedule.next_after(last) else {
            warn!("the schedule has no further tick");
            pace.stop.cancelled().await;
            return;
        };
        let span = u64::try_from(jitter.as_millis()).unwrap_or(u64::MAX).max(1);
        let delay = TimeDelta::milliseconds(i64::try_from(pace.chance.bits() % span).unwrap_or(0));
        info!(next = %(tick + delay).format("%FT%TZ"), "waiting");
        tokio::select! {
            () = pace.stop.cancelled() => return,
            changed = pace.timetable.changed() => {
                if changed.is_err() {
                    pace.stop.cancelled().await;
                }
                continue;
            }
            () = pace.alarm.ring(tick + delay) => {}
        }
        let now = pace.clock.now();
        if now > tick {
            skip(schedule.ticks_between(tick, now));
        }
        last = now.max(tick);
        round(Round::Tick(tick)).await;
    }
}

#[cfg(test)]
#[path = "daemon_tests.rs"]
mod tests;
