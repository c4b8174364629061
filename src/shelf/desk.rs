//! Where changes of one packed object come together: what is ready is put at once, and while one put is under way the
//! next changes gather.
//!
//! An object is worked on by one task at a time, so that changes of one process never meet as a conflict. Each
//! change stands on its own: it is carried out if its partition is still as it was read, whatever has become of
//! its neighbours, whose rows are carried over as they are.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, oneshot};
use tracing::Instrument;
use twox_hash::XxHash3_128;

use super::settle::{CONFLICTS, Change, DAMAGED, Prior, Put};
use crate::clock::Clock;
use crate::lake::{self, Commit, Expect, Lake, Version};
use crate::model::{Groups, Pack, Partition, StreamId};
use crate::table::{self, Footer, Packed, Sound};

/// For how long the first change waits for those that are still to come: a slow stream must not hold up others.
const LINGER: Duration = Duration::from_secs(1);

/// What is in an object's place.
pub(super) enum Held {
    Absent,
    There { bytes: Bytes, version: Version },
}

/// The changes of all objects.
pub(super) struct Desk {
    lake: Lake,
    groups: Groups,
    clock: Clock,
    trays: Mutex<BTreeMap<Pack, Tray>>,
    puts: AtomicU64,
}

/// What lies ready for one object.
#[derive(Default)]
struct Tray {
    waiting: Vec<Waiting>,
    /// The streams whose change may still come in this run.
    expected: BTreeSet<StreamId>,
    /// Whether a task works on it.
    is_served: bool,
    /// What was in the object's place when it was last read; forgotten once it is replaced.
    held: Arc<tokio::sync::Mutex<Option<Arc<Held>>>>,
    /// Told when something has come or will not come.
    changed: Arc<Notify>,
}

/// A change, and who waits for what becomes of it.
struct Waiting {
    stream: StreamId,
    new: Sound,
    /// What was in the partition's place when it was read.
    prior: Place,
    reply: oneshot::Sender<Put>,
}

/// What is or was in a partition's place.
#[derive(PartialEq)]
enum Place {
    Absent,
    Sound(Box<Footer>),
    /// In an object with these bytes.
    Damaged(Bytes),
}

impl Desk {
    pub(super) fn new(lake: Lake, groups: Groups, clock: Clock) -> Self {
        Self { lake, groups, clock, trays: Mutex::default(), puts: AtomicU64::new(0) }
    }

    pub(super) const fn groups(&self) -> Groups {
        self.groups
    }

    /// The object that holds a partition.
    pub(super) fn pack(&self, partition: &Partition) -> Pack {
        Pack::of(partition, self.groups)
    }

    /// How many objects were put.
    pub(super) fn puts(&self) -> u64 {
        self.puts.load(Ordering::Relaxed)
    }

    fn trays(&self) -> MutexGuard<'_, BTreeMap<Pack, Tray>> {
        self.trays.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says that a change of this partition may come: others of its object wait for it a little.
    pub(super) fn expect(&self, partition: &Partition) {
        let mut trays = self.trays();
        trays.entry(self.pack(partition)).or_default().expected.insert(partition.stream.clone());
    }

    /// Says that no change of this partition will come any more.
    pub(super) fn no_more(&self, partition: &Partition) {
        let pack = self.pack(partition);
        let mut trays = self.trays();
        if let Some(tray) = trays.get_mut(&pack) {
            tray.expected.remove(&partition.stream);
            tray.changed.notify_one();
        }
        clear(&mut trays, pack);
    }

    /// What is in an object's place, as far as this process knows: it reads it once for all streams of the run.
    pub(super) async fn held(&self, pack: Pack) -> Result<Arc<Held>, lake::Error> {
        let kept = {
            let trays = self.trays();
            trays.get(&pack).map(|tray| tray.held.clone())
        };
        let Some(kept) = kept else { return self.look(pack).await };
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
        let kept = self.trays().get(&pack).map(|tray| tray.held.clone());
        if let Some(kept) = kept {
            *kept.lock().await = None;
        }
    }

    /// Hands in a change, and waits until it has been put with others or turned out to be in conflict.
    pub(super) async fn put(self: &Arc<Self>, change: Change<'_>, prior: &Prior) -> Put {
        let Change { partition, batch, footer } = change;
        let pack = self.pack(partition);
        let (reply, answer) = oneshot::channel();
        let waiting = Waiting {
            stream: partition.stream.clone(),
            new: Sound { footer: footer.clone(), batch: batch.clone() },
            prior: match prior {
                Prior::Absent => Place::Absent,
                Prior::Sound { footer, .. } => Place::Sound(footer.clone()),
                Prior::Damaged { bytes, .. } => Place::Damaged(bytes.clone()),
            },
            reply,
        };
        let is_served = {
            let mut trays = self.trays();
            let tray = trays.entry(pack).or_default();
            tray.expected.remove(&partition.stream);
            tray.waiting.push(waiting);
            tray.changed.notify_one();
            std::mem::replace(&mut tray.is_served, true)
        };
        if !is_served {
            // A task of its own: whoever brought the first change may be gone before the last one is put.
            tokio::spawn(serve(Server { desk: self.clone(), pack }).in_current_span());
        }
        answer.await.expect("the object's task answers each change, or has told of its bug")
    }

    /// Waits until all expected changes have come, or the first one has waited long enough.
    async fn gather(&self, pack: Pack) {
        let deadline = self.clock.instant() + LINGER;
        loop {
            let changed = {
                let trays = self.trays();
                let Some(tray) = trays.get(&pack) else { return };
                if tray.expected.is_empty() {
                    return;
                }
                tray.changed.clone()
            };
            tokio::select! {
                () = changed.notified() => {}
                () = self.clock.sleep_until(deadline) => return,
            }
        }
    }

    /// Takes what lies ready.
    fn take(&self, pack: Pack) -> Vec<Waiting> {
        self.trays().get_mut(&pack).map(|tray| std::mem::take(&mut tray.waiting)).unwrap_or_default()
    }

    /// Serves an object no more if nothing lies ready.
    fn rest(&self, pack: Pack) -> bool {
        let mut trays = self.trays();
        let Some(tray) = trays.get_mut(&pack) else { return true };
        tray.is_served = !tray.waiting.is_empty();
        let rests = !tray.is_served;
        clear(&mut trays, pack);
        rests
    }

    /// Puts an object with these changes, those of them whose partitions are as they were read.
    async fn carry_out(&self, pack: Pack, mut changes: Vec<Waiting>) {
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
                .partition(|change| change.stands(packed.get(&change.stream), &held, is_readable));
            // One that has landed already is recognised by whoever reads what is there.
            answer_all(fall, 0, || Ok(Commit::Conflict));
            changes = stand;
            if changes.is_empty() {
                return;
            }
            packed.extend(changes.iter().map(|change| (change.stream.clone(), change.new.clone())));
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

    async fn replace(
        &self,
        key: &str,
        encoded: Bytes,
        held: &Held,
        changes: &[Waiting],
    ) -> Result<Commit, lake::Error> {
        let expect = match held {
            Held::Absent => Expect::Absent,
            Held::There { bytes, version } => {
                if changes.iter().any(|change| matches!(change.prior, Place::Damaged(_))) {
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

impl Waiting {
    /// Whether its partition is as it was read: `there` in what is `held`.
    fn stands(&self, there: Option<&Sound>, held: &Held, is_readable: bool) -> bool {
        match (&self.prior, held) {
            (Place::Damaged(prior), Held::There { bytes, .. }) => prior == bytes,
            (Place::Damaged(_), Held::Absent) => false,
            (Place::Absent, _) => is_readable && there.is_none(),
            (Place::Sound(prior), _) => there.is_some_and(|there| there.footer == **prior),
        }
    }

    fn answer(self, bytes: u64, outcome: Result<Commit, lake::Error>) {
        // Who does not wait any more need not be told.
        let _ = self.reply.send(Put { outcome, bytes });
    }
}

fn answer_all(changes: Vec<Waiting>, share: u64, outcome: impl Fn() -> Result<Commit, lake::Error>) {
    for change in changes {
        change.answer(share, outcome());
    }
}

/// Forgets an object that nobody has to do with any more.
fn clear(trays: &mut BTreeMap<Pack, Tray>, pack: Pack) {
    let is_idle = |tray: &Tray| tray.waiting.is_empty() && tray.expected.is_empty() && !tray.is_served;
    if trays.get(&pack).is_some_and(is_idle) {
        trays.remove(&pack);
    }
}

/// The right to work on an object.
struct Server {
    desk: Arc<Desk>,
    pack: Pack,
}

impl Drop for Server {
    /// Where a bug has ended the work, nobody waits for it in vain.
    fn drop(&mut self) {
        drop(self.desk.take(self.pack));
        self.desk.rest(self.pack);
    }
}

async fn serve(server: Server) {
    let Server { desk, pack } = &server;
    while !desk.rest(*pack) {
        desk.gather(*pack).await;
        desk.carry_out(*pack, desk.take(*pack)).await;
    }
}

#[cfg(test)]
#[path = "desk_tests.rs"]
mod tests;
