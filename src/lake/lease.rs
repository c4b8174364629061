//! Who of several daemons works on a lake: a small object, written on condition that it has not changed.
//!
//! No clock is compared with another: the holder rewrites the lease at a steady beat, and who waits takes it
//! over once it has seen no beat for the lease's whole time, by its own clock. A holder that has not managed
//! a beat for that long gives up first, by the same measure. Data needs no such care: each of its puts is
//! conditional by itself. The lease keeps two daemons from asking the same questions.

use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use uuid::Uuid;

use super::{Commit, Error, Expect, INTERNAL, Lake, Version};

/// How long a lease holds without a beat.
pub const LEASE_TIME: Duration = Duration::from_mins(1);
/// The time between two beats.
pub const BEAT: Duration = Duration::from_secs(15);

const NAME: &str = "lease.json";

/// What the object says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    /// Who holds it; nobody after it was given back.
    holder: Option<Uuid>,
    /// Grows with each write: a fencing token.
    beat: u64,
    /// The latest tick that is done.
    #[serde(default)]
    done: Option<DateTime<Utc>>,
}

/// A daemon that wants the lease, and what it has seen of it.
#[derive(Debug)]
pub struct Contender {
    id: Uuid,
    seen: Option<(Record, Instant)>,
}

/// What came of asking for the lease.
#[derive(Debug)]
pub enum Bid {
    /// It is ours. With it comes the latest tick that is done.
    Won(Lease, Option<DateTime<Utc>>),
    /// Another one holds it.
    Held,
}

/// The right to work, as long as it is renewed.
#[derive(Debug)]
pub struct Lease {
    record: Record,
    version: Version,
    /// When the last beat was asked for.
    since: Instant,
}

impl Contender {
    /// A daemon by this id, which no other has.
    #[must_use]
    pub const fn new(id: Uuid) -> Self {
        Self { id, seen: None }
    }

    /// Asks for the lease once. `now` is the monotonic time.
    ///
    /// # Errors
    /// When the lake fails.
    pub async fn bid(&mut self, lake: &Lake, now: Instant) -> Result<Bid, Error> {
        let there = lake.read(&format!("{INTERNAL}/{NAME}")).await?;
        let (record, expect) = match there {
            None => (None, Expect::Absent),
            // A lease that cannot be read binds nobody.
            Some((bytes, version)) => (serde_json::from_slice(&bytes).ok(), Expect::Unchanged(version)),
        };
        if let Some(record) = &record {
            let record: &Record = record;
            let seen_since = match &self.seen {
                Some((seen, since)) if seen == record => *since,
                _ => now,
            };
            self.seen = Some((record.clone(), seen_since));
            let is_live = now - seen_since < LEASE_TIME;
            if record.holder.is_some_and(|holder| holder != self.id) && is_live {
                return Ok(Bid::Held);
            }
        }
        let done = record.as_ref().and_then(|r: &Record| r.done);
        let beat = record.map_or(0, |r: Record| r.beat) + 1;
        let record = Record { holder: Some(self.id), beat, done };
        Ok(match write(lake, &record, expect).await? {
            Some(version) => Bid::Won(Lease { record, version, since: now }, done),
            None => Bid::Held,
        })
    }
}

impl Lease {
    /// Renews the lease. `false` when it is lost: another one has taken it, or it has run out.
    pub async fn beat(&mut self, lake: &Lake, now: Instant) -> bool {
        let record = Record { beat: self.record.beat + 1, ..self.record.clone() };
        match write(lake, &record, Expect::Unchanged(self.version.clone())).await {
            Ok(Some(version)) => {
                *self = Self { record, version, since: now };
                true
            }
            Ok(None) => false,
            // The store may be back before the time is over.
            Err(error) => {
                tracing::warn!("the lease was not renewed: {error}");
                now - self.since + BEAT < LEASE_TIME
            }
        }
    }

    /// Gives the lease back, with the tick that is done, if one is.
    ///
    /// # Errors
    /// When the lake fails; the lease then runs out by itself.
    pub async fn give_back(self, lake: &Lake, done: Option<DateTime<Utc>>) -> Result<(), Error> {
        let done = done.max(self.record.done);
        let record = Record { holder: None, beat: self.record.beat + 1, done };
        write(lake, &record, Expect::Unchanged(self.version)).await.map(drop)
    }
}

/// Writes the lease, and gives its new version; `None` if another one was faster.
async fn write(lake: &Lake, record: &Record, expect: Expect) -> Result<Option<Version>, Error> {
    let key = format!("{INTERNAL}/{NAME}");
    let bytes = Bytes::from(serde_json::to_vec(record).expect("a record is JSON"));
    let outcome = lake.commit(&key, bytes.clone(), expect).await;
    if !matches!(outcome, Ok(Commit::Done | Commit::Conflict)) {
        outcome?;
    }
    // A reply may have been lost, and a version is told by reading only: what is there decides.
    let there = lake.read(&key).await?;
    Ok(there.filter(|(found, _)| *found == bytes).map(|(_, version)| version))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use object_store::memory::InMemory;
    use object_store::path::Path;

    use super::*;

    #[expect(clippy::disallowed_methods, reason = "any instant will do")]
    fn now() -> Instant {
        Instant::now()
    }

    fn lake() -> Lake {
        Lake::on(Arc::new(InMemory::new()), Path::from("lake"))
    }

    fn contender(n: u128) -> Contender {
        Contender::new(Uuid::from_u128(n))
    }

    async fn won(contender: &mut Contender, lake: &Lake, now: Instant) -> (Lease, Option<DateTime<Utc>>) {
        match contender.bid(lake, now).await.unwrap() {
            Bid::Won(lease, done) => (lease, done),
            Bid::Held => panic!("it is held"),
        }
    }

    #[tokio::test]
    async fn one_holds_it_and_gives_it_back_with_what_was_done() {
        let (lake, now) = (lake(), now());
        let (mut a, mut b) = (contender(1), contender(2));
        let (lease, done) = won(&mut a, &lake, now).await;
        assert_eq!(done, None);
        assert!(matches!(b.bid(&lake, now).await.unwrap(), Bid::Held));
        let tick = "2026-03-01T06:00:00Z".parse().ok();
        lease.give_back(&lake, tick).await.unwrap();
        let (lease, done) = won(&mut b, &lake, now).await;
        assert_eq!(done, tick);
        // A round that was stopped has done nothing, and takes nothing back.
        lease.give_back(&lake, None).await.unwrap();
        assert_eq!(won(&mut a, &lake, now).await.1, tick);
    }

    #[tokio::test]
    async fn a_holder_that_beats_keeps_it_and_one_that_is_gone_loses_it() {
        let (lake, start) = (lake(), now());
        let (mut a, mut b) = (contender(1), contender(2));
        let (mut lease, _) = won(&mut a, &lake, start).await;
        let mut now = start;
        for _ in 0..20 {
            now += BEAT;
            assert!(lease.beat(&lake, now).await);
            assert!(matches!(b.bid(&lake, now).await.unwrap(), Bid::Held));
        }
        // No beat for the whole time: taken over, and the old holder finds out at its next beat.
        now += LEASE_TIME;
        let (mut taken, _) = won(&mut b, &lake, now).await;
        assert!(!lease.beat(&lake, now).await);
        assert!(taken.beat(&lake, now).await);
    }

    #[tokio::test]
    async fn of_two_that_bid_at_once_one_wins() {
        let (lake, now) = (lake(), now());
        let mut contenders: Vec<_> = (1..=8).map(contender).collect();
        let bids = contenders.iter_mut().map(|c| c.bid(&lake, now));
        let bids = futures_util::future::join_all(bids).await;
        let won = bids.into_iter().filter(|bid| matches!(bid, Ok(Bid::Won(..)))).count();
        assert_eq!(won, 1);
    }

    #[tokio::test]
    async fn a_damaged_lease_binds_nobody() {
        let (lake, now) = (lake(), now());
        lake.put_internal(NAME, Bytes::from_static(b"{")).await.unwrap();
        won(&mut contender(1), &lake, now).await;
    }
}
