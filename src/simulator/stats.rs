//! What a simulator has seen.

use std::collections::{BTreeMap, VecDeque};

use tokio::time::Instant;

use crate::model::StreamId;

/// How many arrivals are remembered per stream; the older ones are forgotten.
const MOST_ARRIVALS: usize = 1 << 16;

/// The calls so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Per stream that exists, called or not.
    pub streams: BTreeMap<StreamId, StreamStats>,
    /// Calls to no such stream, or to another address.
    pub elsewhere: u64,
}

/// The calls to one stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamStats {
    /// All of them.
    pub requests: u64,
    /// Those answered with 200.
    pub answered: u64,
    /// Those answered with 429, be it by a limit or by a fault.
    pub refused: u64,
    /// All of them by status.
    pub by_status: BTreeMap<u16, u64>,
}

/// The counts behind [`StreamStats`], and when the calls came.
#[derive(Debug, Default)]
pub(super) struct Tally {
    by_status: BTreeMap<u16, u64>,
    arrivals: VecDeque<Instant>,
}

impl Tally {
    pub(super) fn arrive(&mut self, now: Instant) {
        if self.arrivals.len() == MOST_ARRIVALS {
            self.arrivals.pop_front();
        }
        self.arrivals.push_back(now);
    }

    pub(super) fn answer(&mut self, status: u16) {
        *self.by_status.entry(status).or_default() += 1;
    }

    pub(super) fn arrivals(&self) -> Vec<Instant> {
        self.arrivals.iter().copied().collect()
    }

    pub(super) fn stats(&self) -> StreamStats {
        let of = |status| self.by_status.get(&status).copied().unwrap_or(0);
        StreamStats {
            requests: self.by_status.values().sum(),
            answered: of(200),
            refused: of(429),
            by_status: self.by_status.clone(),
        }
    }
}
