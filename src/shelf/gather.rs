//! Where changes of one place come together: what is ready is carried out at once, and meanwhile the next changes
//! gather.
//!
//! A place is worked on by one task at a time, so that changes of one process never meet as a conflict.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tracing::Instrument;

use super::settle::Put;
use crate::clock::Clock;
use crate::lake::{self, Commit};
use crate::model::Partition;

/// For how long the first change waits for those that are still to come: a slow stream must not hold up others.
pub(super) const LINGER: Duration = Duration::from_secs(1);

/// Carries out what has come together for a place.
pub(super) trait Work: Sized + Send + Sync + 'static {
    /// What is worked on by one task at a time.
    type Place: Ord + Copy + Send + Sync + 'static;
    /// What is to be done there.
    type Change: Send + 'static;
    /// What is remembered of a place as long as there is something to do.
    type Memo: Default + Clone + Send;

    /// Where changes come together.
    fn gather(&self) -> &Gather<Self>;

    /// Carries out these changes, each of which is answered.
    fn carry_out(
        &self,
        place: Self::Place,
        changes: Vec<Waiting<Self::Change>>,
    ) -> impl Future<Output = ()> + Send;
}

/// The changes of all places.
pub(super) struct Gather<W: Work> {
    clock: Clock,
    trays: Mutex<BTreeMap<W::Place, Tray<W>>>,
}

/// What lies ready for one place.
struct Tray<W: Work> {
    waiting: Vec<Waiting<W::Change>>,
    /// What may still be changed in this run.
    expected: BTreeSet<Partition>,
    /// Whether a task works on it.
    is_served: bool,
    memo: W::Memo,
    /// Told when something has come or will not come.
    changed: Arc<Notify>,
}

impl<W: Work> Default for Tray<W> {
    fn default() -> Self {
        Self {
            waiting: Vec::new(),
            expected: BTreeSet::new(),
            is_served: false,
            memo: W::Memo::default(),
            changed: Arc::default(),
        }
    }
}

/// A change, and who waits for what becomes of it.
pub(super) struct Waiting<C> {
    pub change: C,
    reply: oneshot::Sender<Put>,
}

impl<C> Waiting<C> {
    pub(super) fn answer(self, bytes: u64, outcome: Result<Commit, lake::Error>) {
        // Who does not wait any more need not be told.
        let _ = self.reply.send(Put { outcome, bytes });
    }
}

impl<W: Work> Gather<W> {
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, trays: Mutex::default() }
    }

    #[cfg(any(test, feature = "delta"))]
    pub(super) const fn clock(&self) -> &Clock {
        &self.clock
    }

    fn trays(&self) -> MutexGuard<'_, BTreeMap<W::Place, Tray<W>>> {
        self.trays.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says that a change of this partition may come: others of its place wait for it a little.
    pub(super) fn expect(&self, place: W::Place, partition: &Partition) {
        self.trays().entry(place).or_default().expected.insert(partition.clone());
    }

    /// Says that no change of this partition will come any more.
    pub(super) fn no_more(&self, place: W::Place, partition: &Partition) {
        let mut trays = self.trays();
        if let Some(tray) = trays.get_mut(&place) {
            tray.expected.remove(partition);
            tray.changed.notify_one();
        }
        clear(&mut trays, place);
    }

    /// What is remembered of a place, if there is something to do.
    pub(super) fn memo(&self, place: W::Place) -> Option<W::Memo> {
        self.trays().get(&place).map(|tray| tray.memo.clone())
    }

    /// Whether there is nothing to do anywhere.
    #[cfg(test)]
    pub(super) fn is_idle(&self) -> bool {
        self.trays().is_empty()
    }

    /// Waits until all expected changes have come, or the first one has waited long enough.
    async fn wait(&self, place: W::Place) {
        let deadline = self.clock.instant() + LINGER;
        loop {
            let changed = {
                let trays = self.trays();
                let Some(tray) = trays.get(&place) else { return };
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
    fn take(&self, place: W::Place) -> Vec<Waiting<W::Change>> {
        self.trays().get_mut(&place).map(|tray| std::mem::take(&mut tray.waiting)).unwrap_or_default()
    }

    /// Serves a place no more if nothing lies ready.
    fn rest(&self, place: W::Place) -> bool {
        let mut trays = self.trays();
        let Some(tray) = trays.get_mut(&place) else { return true };
        tray.is_served = !tray.waiting.is_empty();
        let rests = !tray.is_served;
        clear(&mut trays, place);
        rests
    }
}

/// Hands in a change, and waits until it has been carried out with others or turned out to be in conflict.
pub(super) async fn put<W: Work>(
    work: &Arc<W>,
    place: W::Place,
    partition: &Partition,
    change: W::Change,
) -> Put {
    let (reply, answer) = oneshot::channel();
    let is_served = {
        let mut trays = work.gather().trays();
        let tray = trays.entry(place).or_default();
        tray.expected.remove(partition);
        tray.waiting.push(Waiting { change, reply });
        tray.changed.notify_one();
        std::mem::replace(&mut tray.is_served, true)
    };
    if !is_served {
        // A task of its own: whoever brought the first change may be gone before the last one is put.
        tokio::spawn(serve(Server { work: work.clone(), place }).in_current_span());
    }
    answer.await.expect("the place's task answers each change, or has told of its bug")
}

/// Forgets a place that nobody has to do with any more.
fn clear<W: Work>(trays: &mut BTreeMap<W::Place, Tray<W>>, place: W::Place) {
    let is_idle = |tray: &Tray<W>| tray.waiting.is_empty() && tray.expected.is_empty() && !tray.is_served;
    if trays.get(&place).is_some_and(is_idle) {
        trays.remove(&place);
    }
}

/// The right to work on a place.
struct Server<W: Work> {
    work: Arc<W>,
    place: W::Place,
}

impl<W: Work> Drop for Server<W> {
    /// Where a bug has ended the work, nobody waits for it in vain.
    fn drop(&mut self) {
        drop(self.work.gather().take(self.place));
        self.work.gather().rest(self.place);
    }
}

async fn serve<W: Work>(server: Server<W>) {
    let Server { work, place } = &server;
    while !work.gather().rest(*place) {
        work.gather().wait(*place).await;
        work.carry_out(*place, work.gather().take(*place)).await;
    }
}
