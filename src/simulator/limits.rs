//! Rolling windows, counted exactly.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// The calls of one stream that count, as far back as the largest limit needs.
#[derive(Debug, Default)]
pub(super) struct Windows {
    /// Oldest first.
    counted: VecDeque<Instant>,
}

impl Windows {
    /// The longest window that a call at `now` would overfill, if any.
    pub(super) fn overfilled(&self, limits: &[(u32, Duration)], now: Instant) -> Option<Duration> {
        let full = |&(most, window): &(u32, Duration)| {
            // A call fits when the one `most` calls before it has left the window; so one look at
            // that call replaces counting.
            let Some(place) = self.counted.len().checked_sub(most as usize) else { return false };
            self.counted.get(place).is_none_or(|&earlier| now.duration_since(earlier) < window)
        };
        limits.iter().filter(|limit| full(limit)).map(|&(_, window)| window).max()
    }

    /// Counts a call at `now`.
    pub(super) fn count(&mut self, limits: &[(u32, Duration)], now: Instant) {
        let most = limits.iter().map(|&(most, _)| most as usize).max().unwrap_or(0);
        if most == 0 {
            return;
        }
        while self.counted.len() >= most {
            self.counted.pop_front();
        }
        self.counted.push_back(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use proptest::prelude::*;

    const LIMITS: [(u32, Duration); 2] = [(60, Duration::from_mins(1)), (1800, Duration::from_hours(1))];

    fn call(windows: &mut Windows, now: Instant) -> Option<Duration> {
        let refused = windows.overfilled(&LIMITS, now);
        if refused.is_none() {
            windows.count(&LIMITS, now);
        }
        refused
    }

    #[tokio::test(start_paused = true)]
    async fn the_minute_rolls() {
        let clock = Clock::system();
        let mut windows = Windows::default();
        for _ in 0..60 {
            assert_eq!(call(&mut windows, clock.instant()), None);
            clock.sleep(Duration::from_millis(500)).await;
        }
        // 30 s after the first: full until the first is 60 s old, then one place every half second.
        assert_eq!(call(&mut windows, clock.instant()), Some(LIMITS[0].1));
        clock.sleep(Duration::from_millis(29_999)).await;
        assert_eq!(call(&mut windows, clock.instant()), Some(LIMITS[0].1));
        clock.sleep(Duration::from_millis(1)).await;
        assert_eq!(call(&mut windows, clock.instant()), None);
        assert_eq!(call(&mut windows, clock.instant()), Some(LIMITS[0].1));
        clock.sleep(Duration::from_millis(500)).await;
        assert_eq!(call(&mut windows, clock.instant()), None);
    }

    #[tokio::test(start_paused = true)]
    async fn the_hour_rolls() {
        let clock = Clock::system();
        let mut windows = Windows::default();
        for _ in 0..1800 {
            assert_eq!(call(&mut windows, clock.instant()), None);
            clock.sleep(Duration::from_secs(1)).await;
        }
        assert_eq!(call(&mut windows, clock.instant()), Some(LIMITS[1].1));
        clock.sleep(Duration::from_millis(1_799_999)).await;
        assert_eq!(call(&mut windows, clock.instant()), Some(LIMITS[1].1));
        clock.sleep(Duration::from_millis(1)).await;
        assert_eq!(call(&mut windows, clock.instant()), None);
        assert_eq!(call(&mut windows, clock.instant()), Some(LIMITS[1].1));
    }

    #[test]
    fn a_limit_of_none_refuses_everything() {
        let limits = [(0, Duration::from_secs(1))];
        assert!(Windows::default().overfilled(&limits, Clock::system().instant()).is_some());
    }

    proptest! {
        /// Against counting every accepted call anew.
        #[test]
        fn agrees_with_plain_counting(steps in prop::collection::vec(0u64..40, 1..200)) {
            let limits = [(3, Duration::from_millis(50)), (7, Duration::from_millis(200))];
            let mut now = Clock::system().instant();
            let (mut windows, mut accepted) = (Windows::default(), Vec::<Instant>::new());
            for step in steps {
                now += Duration::from_millis(step);
                let within = |window| accepted.iter().filter(|&&t| now - t < window).count();
                let full = limits.iter().any(|&(most, window)| within(window) >= most as usize);
                prop_assert_eq!(windows.overfilled(&limits, now).is_some(), full);
                if !full {
                    windows.count(&limits, now);
                    accepted.push(now);
                }
            }
        }
    }
}
