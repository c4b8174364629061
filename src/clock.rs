//! Time as a value: everything that waits or asks for the time is handed a [`Clock`].

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::Instant;

/// The wall clock and the monotonic clock together.
///
/// Clones share their state. [`Clock::system`] is the machine's. [`Clock::starting_at`] runs from a
/// given instant along tokio's timers, so that a test with paused time moves both at once.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System,
    Manual { start: DateTime<Utc>, origin: Instant, step_ms: Arc<AtomicI64> },
}

#[expect(clippy::disallowed_methods, reason = "the one place that may ask the machine for the time")]
impl Clock {
    /// The machine's clock.
    #[must_use]
    pub const fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that shows `start` now and goes on at the pace of tokio's timers.
    #[must_use]
    pub fn starting_at(start: DateTime<Utc>) -> Self {
        Self(Source::Manual { start, origin: Instant::now(), step_ms: Arc::default() })
    }

    /// The wall-clock time. It may step backwards.
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        match &self.0 {
            Source::System => Utc::now(),
            Source::Manual { start, origin, step_ms } => {
                let ran = TimeDelta::from_std(origin.elapsed()).unwrap_or(TimeDelta::MAX);
                *start + ran + TimeDelta::milliseconds(step_ms.load(Ordering::Relaxed))
            }
        }
    }

    /// The monotonic time, for measuring and for deadlines.
    #[must_use]
    pub fn instant(&self) -> Instant {
        Instant::now()
    }

    /// Steps the wall clock, as a correction by NTP or by hand would. The machine's clock stays.
    pub fn step(&self, by: TimeDelta) {
        if let Source::Manual { step_ms, .. } = &self.0 {
            step_ms.fetch_add(by.num_milliseconds(), Ordering::Relaxed);
        }
    }

    /// Waits for `duration` of monotonic time.
    pub async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }

    /// Waits until the monotonic clock shows `deadline`.
    pub async fn sleep_until(&self, deadline: Instant) {
        tokio::time::sleep_until(deadline).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn both_clocks_move_together_and_only_one_steps() {
        let start = "2026-03-01T00:00:00Z".parse().unwrap();
        let clock = Clock::starting_at(start);
        let began = clock.instant();
        clock.sleep(Duration::from_hours(1)).await;
        assert_eq!(clock.now() - start, TimeDelta::hours(1));
        clock.step(TimeDelta::days(-1));
        assert_eq!(clock.now() - start, TimeDelta::hours(-23));
        assert_eq!(clock.instant() - began, Duration::from_hours(1));
    }
}
