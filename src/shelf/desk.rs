//! Changes of packed objects: what has come together for one is put at once.
//!
//! Each change stands on its own: it is carried out if its partition is still as it was read, whatever has become of
//! its neighbours, whose rows are carried over as they are.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use twox_hash::XxHash3_128;

use super::gather::{self, Gather, Waiting, Work};
use super::settle::{CONFLICTS, Change, DAMAGED, Prior, Put};
use crate::clock::Clock;
use crate::lake::{self, Commit, Expect, Lake, Version};
use crate::model::{Groups, Pack, Partition, StreamId};
use crate::table::{self, Footer, Packed, Sound};

/// What is in an object's place.
pub(super) enum Held {
    Absent,
    There { bytes: Bytes, version: Version },
}

/// The changes of all objects.
pub(super) struct Desk {
    lake: Lake,
    groups: Groups,
    gather: Gather<Self>,
    puts: AtomicU64,
}

/// What was in an object's place when it was last read; forgotten once it is replaced.
pub(super) type Memo = Arc<tokio::sync::Mutex<Option<Arc<Held>>>>;

/// What a partition shall say.
pub(super) struct Replacement {
    stream: StreamId,
    new: Sound,
    /// What was in the partition's place when it was read.
    prior: Place,
}

/// What is or was in a partition's place.
#[derive(PartialEq)]
enum Place {
    Absent,
    Sound(Box<Footer>),
    /// In an object with these bytes.
    Damaged(Bytes),
}

impl Work for Desk {
    type Place = Pack;
    type Change = Replacement;
    type Memo = Memo;

    fn gather(&self) -> &Gather<Self> {
        &self.gather
    }

    /// Puts an object with these changes, those of them whose partitions are as they were read.
    async fn carry_out(&self, pack: Pack, mut changes: Vec<Waiting<Replacement>>) {
        let key = lake::pack_key(&pack);
        for _ in 0..CONFLICTS {
            let held = match self.held(pack).await {
                Ok(held) => held,
                Err(error) => return answer_all(changes, 0, || Err(error.clone())),
            };
            let (mut packed, is_readable) = match &*held {
                Held::Absent => (Packed::new(), true),
                Held::There { bytes, .. } => match table::unpack(pack.dataset, bytes) {
                    Ok(packed) => (packed, true),
                    // Nothing of it can be carried over. Only a repair comes this far: it keeps the whole.
                    Err(_) => (Packed::new(), false),
                },
            };
            let (stand, fall): (Vec<_>, Vec<_>) = changes
                .into_iter()
                .partition(|w| w.change.stands(packed.get(&w.change.stream), &held, is_readable));
            // One that has landed already is recognised by whoever reads what is there.
            answer_all(fall, 0, || Ok(Commit::Conflict));
            changes = stand;
            if changes.is_empty() {
                return;
            }
            packed.extend(changes.iter().map(|w| (w.change.stream.clone(), w.change.new.clone())));
            let encoded = table::pack(pack.dataset, &packed);
            let share = encoded.len() as u64 / changes.len() as u64;
            let outcome = self.replace(&key, encoded, &held, &changes).await;
            self.forget(pack).await;
            match outcome {
                // What is there now decides, change by change.
                Ok(Commit::Conflict) => {}
                outcome => return answer_all(changes, share, || outcome.clone()),
            }
        }
        answer_all(changes, 0, || Ok(Commit::Conflict));
    }
}

impl Desk {
    pub(super) fn new(lake: Lake, groups: Groups, clock: Clock) -> Self {
        Self { lake, groups, gather: Gather::new(clock), puts: AtomicU64::new(0) }
    }

    pub(super) const fn groups(&self) -> Groups {
        self.groups
    }

    /// The object that holds a partition.
    pub(super) fn pack(&self, partition: &Partition) -> Pack {
        Pack::of(partition, self.groups)
    }

    pub(super) fn expect(&self, partition: &Partition) {
        self.gather.expect(self.pack(partition), partition);
    }

    pub(super) fn no_more(&self, partition: &Partition) {
        self.gather.no_more(self.pack(partition), partition);
    }

    /// How many objects were put.
    pub(super) fn puts(&self) -> u64 {
        self.puts.load(Ordering::Relaxed)
    }

    /// What is in an object's place, as far as this process knows: it reads it once for all streams of the run.
    pub(super) async fn held(&self, pack: Pack) -> Result<Arc<Held>, lake::Error> {
        let Some(kept) = self.gather.memo(pack) else { return self.look(pack).await };
        let mut kept = kept.lock().await;
        if let Some(held) = &*kept {
            return Ok(held.clone());
        }
        let held = self.look(pack).await?;
        *kept = Some(held.clone());
        Ok(held)
    }

    async fn look(&self, pack: Pack) -> Result<Arc<Held>, lake::Error> {
        let found = self.lake.read(&lake::pack_key(&pack)).await?;
        Ok(Arc::new(found.map_or(Held::Absent, |(bytes, version)| Held::There { bytes, version })))
    }

    /// Forgets what was in an object's place, since it is something else now, or may be.
    async fn forget(&self, pack: Pack) {
        if let Some(kept) = self.gather.memo(pack) {
            *kept.lock().await = None;
        }
    }

    /// Hands in a change, and waits until it has been put with others or turned out to be in conflict.
    pub(super) async fn put(self: &Arc<Self>, change: Change<'_>, prior: &Prior) -> Put {
        let Change { partition, batch, footer } = change;
        let replacement = Replacement {
            stream: partition.stream.clone(),
            new: Sound { footer: footer.clone(), batch: batch.clone() },
            prior: match prior {
                Prior::Absent => Place::Absent,
                Prior::Sound { footer, .. } => Place::Sound(footer.clone()),
                Prior::Damaged { bytes, .. } => Place::Damaged(bytes.clone()),
            },
        };
        gather::put(self, self.pack(partition), partition, replacement).await
    }

    async fn replace(
        &self,
        key: &str,
        encoded: Bytes,
        held: &Held,
        changes: &[Waiting<Replacement>],
    ) -> Result<Commit, lake::Error> {
        let expect = match held {
            Held::Absent => Expect::Absent,
            Held::There { bytes, version } => {
                if changes.iter().any(|w| matches!(w.change.prior, Place::Damaged(_))) {
                    // An object may be repaired partition by partition: each state of it is kept.
                    let name = format!("{DAMAGED}/{key}.{:032x}", XxHash3_128::oneshot(bytes));
                    self.lake.put_internal(&name, bytes.clone()).await?;
                }
                Expect::Unchanged(version.clone())
            }
        };
        let outcome = self.lake.commit(key, encoded, expect).await;
        self.puts.fetch_add(u64::from(matches!(outcome, Ok(Commit::Done))), Ordering::Relaxed);
        outcome
    }
}

impl Replacement {
    /// Whether its partition is as it was read: `there` in what is `held`.
    fn stands(&self, there: Option<&Sound>, held: &Held, is_readable: bool) -> bool {
        match (&self.prior, held) {
            (Place::Damaged(prior), Held::There { bytes, .. }) => prior == bytes,
            (Place::Damaged(_), Held::Absent) => false,
            (Place::Absent, _) => is_readable && there.is_none(),
            (Place::Sound(prior), _) => there.is_some_and(|there| there.footer == **prior),
        }
    }
}

fn answer_all(
    changes: Vec<Waiting<Replacement>>,
    share: u64,
    outcome: impl Fn() -> Result<Commit, lake::Error>,
) {
    for change in changes {
        change.answer(share, outcome());
    }
}

#[cfg(test)]
#[path = "desk_tests.rs"]
mod tests;
