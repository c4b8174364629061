//! Counts of what went over the wire, for the report and the progress display.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Running totals. Shared by all streams of a run.
#[derive(Debug, Default)]
pub struct Traffic {
    requests: AtomicU64,
    retries: AtomicU64,
    bytes: AtomicU64,
    waited_ms: AtomicU64,
    waiting: AtomicU64,
    /// By what was answered, in the order of [`STATUSES`].
    answers: [AtomicU64; STATUSES.len()],
    /// By stream's name, how full its rate limits have been.
    quotas: Mutex<BTreeMap<String, f64>>,
}

/// The kinds of answers; `none` where no answer came.
const STATUSES: [&str; 6] = ["2xx", "3xx", "4xx", "429", "5xx", "none"];

impl Traffic {
    /// HTTP requests sent, retries included.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Requests by what was answered: `2xx`, `3xx`, `4xx`, `429`, `5xx`, or `none`.
    pub fn by_status(&self) -> impl Iterator<Item = (&'static str, u64)> {
        STATUSES.into_iter().zip(&self.answers).map(|(name, count)| (name, count.load(Ordering::Relaxed)))
    }

    /// Requests that were a repetition.
    #[must_use]
    pub fn retries(&self) -> u64 {
        self.retries.load(Ordering::Relaxed)
    }

    /// Bytes of answers after decompression.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Time spent waiting for a rate limit, added up over all streams.
    #[must_use]
    pub fn waited(&self) -> Duration {
        Duration::from_millis(self.waited_ms.load(Ordering::Relaxed))
    }

    /// Which share of its rate limits each stream has used at the most, by its name: 1 where it had to wait.
    pub fn quotas(&self) -> BTreeMap<String, f64> {
        self.quotas.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A stream has used so much of its rate limits at the most.
    pub fn note_quota(&self, stream: &str, share: f64) {
        self.quotas.lock().unwrap_or_else(PoisonError::into_inner).insert(stream.to_owned(), share);
    }

    /// How many requests wait for a rate limit right now.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        self.waiting.load(Ordering::Relaxed)
    }

    pub(super) fn count_request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_answer(&self, status: Option<u16>) {
        let place = match status {
            Some(429) => 3,
            Some(200..300) => 0,
            Some(300..400) => 1,
            Some(400..500) => 2,
            Some(_) => 4,
            None => 5,
        };
        self.answers[place].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_retry(&self) {
        self.retries.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_bytes(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Marks the beginning of a wait; dropping the mark ends it.
    pub(super) fn wait(&self) -> Waiting<'_> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        Waiting(self)
    }

    pub(super) fn count_waited(&self, waited: Duration) {
        let millis = u64::try_from(waited.as_millis()).unwrap_or(u64::MAX);
        self.waited_ms.fetch_add(millis, Ordering::Relaxed);
    }
}

/// A wait under way.
pub(super) struct Waiting<'a>(&'a Traffic);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}
