//! The vendor's rate limits, kept exactly: no more than n requests in any rolling span.
//!
//! A token bucket would not do. One that holds 60 and refills one a second lets 119 requests
//! through within 60 seconds. Here the log of the last requests itself is the limit.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::traffic::Traffic;
use crate::clock::Clock;
use crate::config::RateLimit;

/// The windows are counted by the server's clock, with whatever it rounds; this much is kept clear.
const MARGIN: Duration = Duration::from_millis(1);

/// Lets requests of one stream leave when every rolling limit allows it, in the order they came.
pub struct Limiter {
    rules: Vec<RateLimit>,
    clock: Clock,
    traffic: Arc<Traffic>,
    /// Held by the request that waits at the head of the queue.
    turn: tokio::sync::Mutex<()>,
    freed: Notify,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Requests whose end is still to come. They fill a place in every window.
    in_flight: usize,
    /// When past requests ended, oldest first. The server counted each at some time before that, so
    /// a place that is free by these times is free by the server's, whatever the network does.
    ended: VecDeque<Instant>,
    /// Nothing leaves before this.
    paused_until: Option<Instant>,
    /// How full the fullest of all windows has been, from 0 to 1.
    fullest: f64,
}

/// What keeps the next request from leaving.
enum Gate {
    Open,
    Until(Instant),
    /// As many requests are under way as a limit allows in all.
    InFlight,
}

impl State {
    /// Which share of a limit's places is taken now.
    #[expect(clippy::cast_precision_loss, reason = "counts of requests")]
    fn fill(&self, rule: &RateLimit, now: Instant) -> f64 {
        let gone = self.ended.partition_point(|ended| *ended + rule.per + MARGIN <= now);
        (self.ended.len() - gone + self.in_flight) as f64 / f64::from(rule.requests)
    }
}

impl Limiter {
    /// A limiter with an empty log.
    #[must_use]
    pub fn new(rules: &[RateLimit], clock: Clock, traffic: Arc<Traffic>) -> Self {
        Self {
            rules: rules.to_vec(),
            clock,
            traffic,
            turn: tokio::sync::Mutex::default(),
            freed: Notify::new(),
            state: Mutex::default(),
        }
    }

    /// Enters requests of the past into the log, all of them as if they had ended so long ago: what
    /// another process asked fills the server's windows too. To be called before the first request,
    /// the longest ago first.
    pub fn remember(&self, requests: u64, ago: Duration) {
        let now = self.clock.instant();
        // A machine that has not been up for so long cannot say it; now is on the safe side.
        let ended = now.checked_sub(ago).unwrap_or(now);
        let longest = self.longest();
        let mut state = self.state();
        state
            .ended
            .extend(std::iter::repeat_n(ended, longest.min(usize::try_from(requests).unwrap_or(longest))));
        let surplus = state.ended.len().saturating_sub(longest);
        state.ended.drain(..surplus);
    }

    /// Waits until a request may leave. It counts until the permit is dropped, and for the length
    /// of every window after that. `tell` is told once how long that is at the least, if it has to wait for its time.
    pub async fn acquire(&self, tell: impl FnOnce(Duration)) -> Permit<'_> {
        let _turn = self.turn.lock().await;
        let began = self.clock.instant();
        let (mut waiting, mut tell) = (None, Some(tell));
        loop {
            let gate = self.gate();
            if !matches!(gate, Gate::Open) {
                waiting.get_or_insert_with(|| self.traffic.wait());
            }
            match gate {
                Gate::Open => break,
                Gate::Until(instant) => {
                    if let Some(tell) = tell.take() {
                        tell(instant - self.clock.instant());
                    }
                    self.clock.sleep_until(instant).await;
                }
                Gate::InFlight => self.freed.notified().await,
            }
        }
        if waiting.is_some() {
            self.traffic.count_waited(self.clock.instant() - began);
        }
        Permit(self)
    }

    /// Holds back every request of the stream for `duration` from now, as the server asked.
    pub fn pause(&self, duration: Duration) {
        let until = self.clock.instant() + duration;
        let mut state = self.state();
        state.paused_until = state.paused_until.max(Some(until));
    }

    /// Takes a place if one is free in every window.
    fn gate(&self) -> Gate {
        let now = self.clock.instant();
        let mut state = self.state();
        let mut latest = state.paused_until.filter(|t| *t > now);
        for rule in &self.rules {
            let limit = rule.requests as usize;
            if state.in_flight >= limit {
                return Gate::InFlight;
            }
            // With this one out of the window, there is a place beside those that ended later and
            // those under way.
            let Some(index) = (state.ended.len() + state.in_flight).checked_sub(limit) else { continue };
            let free_at = state.ended[index] + rule.per + MARGIN;
            if free_at > now {
                latest = latest.max(Some(free_at));
            }
        }
        if let Some(instant) = latest {
            Gate::Until(instant)
        } else {
            state.in_flight += 1;
            let filled = self.rules.iter().map(|rule| state.fill(rule, now)).fold(0.0, f64::max);
            state.fullest = state.fullest.max(filled);
            Gate::Open
        }
    }

    /// Which share of a limit has been used at the most: of any window of any limit, from 0 to 1.
    pub fn fullest(&self) -> f64 {
        self.state().fullest
    }

    fn end(&self) {
        let now = self.clock.instant();
        let longest = self.longest();
        let mut state = self.state();
        state.in_flight -= 1;
        state.ended.push_back(now);
        if state.ended.len() > longest {
            state.ended.pop_front();
        }
        drop(state);
        self.freed.notify_one();
    }

    /// How many past requests can matter.
    fn longest(&self) -> usize {
        self.rules.iter().map(|r| r.requests as usize).max().unwrap_or(0)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to one request. Dropped when the request has ended, however it ended.
pub struct Permit<'a>(&'a Limiter);

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn limiter(rules: &[(u32, u64)], clock: &Clock) -> Arc<Limiter> {
        let rules: Vec<_> = rules
            .iter()
            .map(|&(requests, ms)| RateLimit { requests, per: Duration::from_millis(ms) })
            .collect();
        Arc::new(Limiter::new(&rules, clock.clone(), Arc::default()))
    }

    fn clock() -> Clock {
        Clock::starting_at("2026-01-01T00:00:00Z".parse().unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn the_61st_request_waits_for_the_first_to_leave_the_window() {
        let clock = clock();
        let limiter = limiter(&[(60, 60_000), (1800, 3_600_000)], &clock);
        let began = clock.instant();
        for _ in 0..60 {
            drop(limiter.acquire(|wait| panic!("it has to wait {wait:?}")).await);
        }
        assert_eq!(clock.instant(), began);
        let mut told = None;
        drop(limiter.acquire(|wait| told = Some(wait)).await);
        assert_eq!(clock.instant() - began, Duration::from_millis(60_001));
        assert_eq!(told, Some(Duration::from_millis(60_001)));
        assert_eq!(limiter.traffic.waited(), Duration::from_millis(60_001));
    }

    #[tokio::test(start_paused = true)]
    async fn requests_of_an_earlier_process_fill_the_windows() {
        let clock = clock();
        let limiter = limiter(&[(4, 60_000), (6, 3_600_000)], &clock);
        limiter.remember(3, Duration::from_secs(1000));
        limiter.remember(2, Duration::from_secs(50));
        let began = clock.instant();
        let mut waited = Vec::new();
        for _ in 0..2 {
            drop(limiter.acquire(|_| ()).await);
            waited.push((clock.instant() - began).as_secs());
        }
        // One place is left of the six of the hour; the next is free when the three of it are.
        assert_eq!(waited, [0, 2600]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_fullest_window_of_all_is_told() {
        let clock = clock();
        let limiter = limiter(&[(4, 60_000), (10, 3_600_000)], &clock);
        limiter.remember(2, Duration::from_secs(1000));
        let mut shares = vec![limiter.fullest()];
        for wait in [0, 0, 90, 90, 90] {
            clock.sleep(Duration::from_secs(wait)).await;
            drop(limiter.acquire(|_| ()).await);
            shares.push(limiter.fullest());
        }
        // Two of four in a minute, and only then more of the ten in the hour.
        for (share, expected) in shares.iter().zip([0.0, 0.3, 0.5, 0.5, 0.6, 0.7]) {
            assert!((share - expected).abs() < 1e-9, "{shares:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_holds_back_everything() {
        let clock = clock();
        let limiter = limiter(&[(60, 60_000)], &clock);
        let began = clock.instant();
        limiter.pause(Duration::from_secs(5));
        limiter.pause(Duration::from_secs(2));
        drop(limiter.acquire(|_| ()).await);
        assert_eq!(clock.instant() - began, Duration::from_secs(5));
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_given_up_while_waiting_takes_no_place() {
        let clock = clock();
        let limiter = limiter(&[(1, 1_000)], &clock);
        drop(limiter.acquire(|_| ()).await);
        let waiting = tokio::time::timeout(Duration::from_millis(500), limiter.acquire(|_| ())).await;
        assert!(waiting.is_err());
        let began = clock.instant();
        drop(limiter.acquire(|_| ()).await);
        assert_eq!(clock.instant() - began, Duration::from_millis(501));
    }

    /// Runs requests with the given (delay before arrival, duration) and gives the spans over which
    /// the server may have counted each.
    async fn run(rules: &[(u32, u64)], arrivals: Vec<(u64, u64)>) -> Vec<(Instant, Instant)> {
        let clock = clock();
        let limiter = limiter(rules, &clock);
        let mut tasks = tokio::task::JoinSet::new();
        for (delay, takes) in arrivals {
            clock.sleep(Duration::from_millis(delay)).await;
            let (limiter, clock) = (limiter.clone(), clock.clone());
            tasks.spawn(async move {
                let permit = limiter.acquire(|_| ()).await;
                let left = clock.instant();
                clock.sleep(Duration::from_millis(takes)).await;
                drop(permit);
                (left, clock.instant())
            });
        }
        tasks.join_all().await
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Whatever the arrivals and the network: even if the server counts an earlier request at
        /// its very end and a later one at its very start, no window holds more than its limit.
        #[test]
        fn no_window_is_ever_exceeded(
            short in (1u32..5, 50u64..500),
            long in (1u32..20, 500u64..3_000),
            arrivals in prop::collection::vec((0u64..120, 0u64..200), 1..60),
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
            let rules = [short, long];
            let spans = runtime.block_on(run(&rules, arrivals));
            for (requests, ms) in rules {
                let per = Duration::from_millis(ms);
                for &(left, _) in &spans {
                    // The window that ends just as this request leaves.
                    let counted = spans.iter().filter(|&&(l, end)| l <= left && end + per > left).count();
                    prop_assert!(counted <= requests as usize, "{counted} in {ms} ms, allowed {requests}");
                }
            }
        }
    }
}
