//! One dataset as a Delta table: what counts now, and the next version of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::sync::Mutex;
use tracing::warn;
use twox_hash::XxHash3_128;

use super::history::{self, log_key};
use super::log::{Added, Asked, File, LAST_CHECKPOINT, Live, Log, LogError, Said};
use crate::clock::Clock;
use crate::lake::{self, Commit, Expect, Kind, Lake, Version, table_key, table_path};
use crate::model::{Dataset, Partition};
use crate::shelf::gather::Waiting;
use crate::shelf::settle::{CONFLICTS, Change, DAMAGED, Prior};
use crate::table::{self, Footer};

/// How often a version is tried for after someone else's. Whoever is in the way has got on, so this many tries
/// are enough for as many processes.
const TRIES: u32 = 20;
/// The longest pause before the second try; it grows with each.
const PAUSE: Duration = Duration::from_millis(100);
/// How many files are put at once.
const PUTS_AT_ONCE: usize = 16;
/// After so many versions, a checkpoint spares readers those before.
const CHECKPOINT_EVERY: u64 = 10;

/// What joins the paths of a partition's files where they stand for its version: no path has one.
const JOINT: &str = "\n";

/// A table.
pub(super) struct Table {
    lake: Lake,
    clock: Clock,
    dataset: Dataset,
    known: Mutex<Known>,
}

/// What is known of a table.
struct Known {
    log: Log,
    /// What counts; forgotten when it may be something else by now.
    live: Option<Arc<Live>>,
}

/// What a partition shall say, and what it said when it was read.
pub(in crate::shelf) struct Replacement {
    partition: Partition,
    batch: RecordBatch,
    footer: Footer,
    bytes: Bytes,
    file: File,
    /// The paths of the files that were there.
    prior: BTreeSet<String>,
    /// What was there and unsound; nothing where a file was gone.
    damaged: Option<Bytes>,
}

impl Replacement {
    pub(super) fn new(change: Change<'_>, prior: &Prior, clock: &Clock) -> Self {
        let Change { partition, batch, footer } = change;
        let bytes = table::encode_bare(partition, batch, footer);
        // Named by what is in it: put twice, it is the same file, and a version that names it is known again.
        let name = format!("{:032x}", XxHash3_128::oneshot(&bytes));
        let file =
            File { path: table_path(partition, &name), size: bytes.len() as u64, written_at: clock.now() };
        let (prior, damaged) = match prior {
            Prior::Absent => (BTreeSet::new(), None),
            Prior::Sound { version, .. } => (paths_of(version), None),
            Prior::Damaged { bytes, version } => {
                (paths_of(version), Some(bytes.clone()).filter(|bytes| !bytes.is_empty()))
            }
        };
        let (partition, batch, footer) = (partition.clone(), batch.clone(), footer.clone());
        Self { partition, batch, footer, bytes, file, prior, damaged }
    }
}

/// What stands for the version of a partition: the paths of its files.
pub(super) fn version_of(files: &[File]) -> Version {
    Version::named(&files.iter().map(|f| f.path.as_str()).collect::<Vec<_>>().join(JOINT))
}

fn paths_of(version: &Version) -> BTreeSet<String> {
    version.names().split(JOINT).map(str::to_owned).collect()
}

impl Table {
    pub(super) fn new(lake: &Lake, dataset: Dataset, clock: &Clock) -> Self {
        let known = Mutex::new(Known { log: Log::new(dataset), live: None });
        Self { lake: lake.clone(), clock: clock.clone(), dataset, known }
    }

    /// What counts, as far as this process knows.
    pub(super) async fn live(&self) -> Result<Arc<Live>, lake::Error> {
        let mut known = self.known.lock().await;
        if let Some(live) = &known.live {
            return Ok(live.clone());
        }
        self.refresh(&mut known).await
    }

    /// What counts now.
    pub(super) async fn live_now(&self) -> Result<Arc<Live>, lake::Error> {
        self.refresh(&mut *self.known.lock().await).await
    }

    /// What counts now, and what the log says of the files that are asked for.
    pub(super) async fn survey(&self, asked: &Asked<'_>) -> Result<(Arc<Live>, Said), lake::Error> {
        let mut known = self.known.lock().await;
        let files = history::read(&self.lake, self.dataset, known.log.version()).await?;
        self.read_in(&mut known, files, asked)
    }

    async fn refresh(&self, known: &mut Known) -> Result<Arc<Live>, lake::Error> {
        let files = history::read(&self.lake, self.dataset, known.log.version()).await?;
        self.take_in(known, files)
    }

    /// Makes files of the log known.
    fn take_in(&self, known: &mut Known, files: Vec<history::Named>) -> Result<Arc<Live>, lake::Error> {
        if let (true, Some(live)) = (files.is_empty(), &known.live) {
            return Ok(live.clone());
        }
        Ok(self.read_in(known, files, &|_, _| false)?.0)
    }

    fn read_in(
        &self,
        known: &mut Known,
        files: Vec<history::Named>,
        asked: &Asked<'_>,
    ) -> Result<(Arc<Live>, Said), lake::Error> {
        known.live = None;
        let read = known.log.read(files).and_then(|()| known.log.live(asked));
        let (live, said) = read.map_err(|e| self.unreadable(&e))?;
        let live = Arc::new(live);
        known.live = Some(live.clone());
        Ok((live, said))
    }

    fn unreadable(&self, error: &LogError) -> lake::Error {
        let text = format!("the log of the Delta table `{}` cannot be understood: {error}", self.dataset);
        let hint = "see with another Delta tool what was done to the table, and take it back";
        lake::Error::new(Kind::Foreign, text, Some(hint))
    }

    /// Makes a version with these changes, those of them whose partitions are as they were read; whether it did.
    pub(super) async fn carry_out(&self, changes: Vec<Waiting<Replacement>>) -> bool {
        let mut changes = self.put_files(changes).await;
        let (mut tried, mut stalls) = (None, 0);
        for attempt in 0..TRIES {
            if changes.is_empty() {
                return false;
            }
            // Nobody else makes anything of the log known until the version is put or refused.
            let mut known = self.known.lock().await;
            let outcome = self.put_next(&mut known, &mut changes, attempt > 0).await;
            match outcome {
                Ok(Commit::Done) => {
                    let made = !changes.is_empty();
                    answer_all(changes, &outcome);
                    if made {
                        self.put_checkpoint(&known.log).await;
                    }
                    return made;
                }
                Ok(Commit::Conflict) => {}
                Err(_) => {
                    // It may have landed: whoever reads what is there finds out.
                    known.live = None;
                    answer_all(changes, &outcome);
                    return false;
                }
            }
            // Whoever is in the way has got on, or else the store says so of nobody.
            stalls = if tried == known.log.version() { stalls + 1 } else { 0 };
            tried = known.log.version();
            drop(known);
            if stalls == CONFLICTS {
                let text = format!("the next version of `{}` is said to be there, and is not", self.dataset);
                answer_all(changes, &Err(lake::Error::new(Kind::Storage, text, None)));
                return false;
            }
            self.clock.sleep(Self::pause(&changes, attempt)).await;
        }
        answer_all(changes, &Ok(Commit::Conflict));
        false
    }

    /// Puts the next version with those changes that stand; the others are answered.
    async fn put_next(
        &self,
        known: &mut Known,
        changes: &mut Vec<Waiting<Replacement>>,
        again: bool,
    ) -> Result<Commit, lake::Error> {
        let live = match &known.live {
            Some(live) if !again => live.clone(),
            _ => self.refresh(known).await?,
        };
        *changes = standing(std::mem::take(changes), &live);
        if changes.is_empty() { Ok(Commit::Done) } else { self.put_version(known, changes).await }
    }

    /// For how long this process stands back, so that several do not meet time and again.
    fn pause(changes: &[Waiting<Replacement>], attempt: u32) -> Duration {
        // No two processes have files of the same names to add.
        let names: String = changes.iter().map(|w| w.change.file.path.as_str()).collect();
        let chance = (XxHash3_128::oneshot(names.as_bytes()) >> attempt) % 1000;
        (PAUSE * (attempt + 1)).mul_f64(u32::try_from(chance).map_or(1.0, f64::from) / 1000.0)
    }

    /// Puts the data files, and gives the changes whose file is there.
    async fn put_files(&self, changes: Vec<Waiting<Replacement>>) -> Vec<Waiting<Replacement>> {
        let puts = changes.into_iter().map(|waiting| async move {
            let outcome = self.put_file(&waiting.change).await;
            (waiting, outcome)
        });
        let outcomes: Vec<_> = futures_util::stream::iter(puts).buffered(PUTS_AT_ONCE).collect().await;
        let mut there = Vec::new();
        for (waiting, outcome) in outcomes {
            match outcome {
                Ok(()) => there.push(waiting),
                Err(error) => waiting.answer(0, Err(error)),
            }
        }
        there
    }

    async fn put_file(&self, change: &Replacement) -> Result<(), lake::Error> {
        if let Some(damaged) = &change.damaged {
            for path in &change.prior {
                let name = format!("{DAMAGED}/{}", table_key(self.dataset, path));
                self.lake.put_internal(&name, damaged.clone()).await?;
            }
        }
        let key = table_key(self.dataset, &change.file.path);
        for _ in 0..CONFLICTS {
            let outcome = self.lake.commit(&key, change.bytes.clone(), Expect::Absent).await;
            match (&outcome, self.lake.loses_replies()) {
                (Ok(Commit::Done), _) => return Ok(()),
                (Err(_), false) => return outcome.map(drop),
                _ => {}
            }
            // Whatever the store said, what has this name has these bytes, if it is there.
            match (self.lake.read(&key).await, outcome) {
                (Ok(Some((bytes, _))), _) if bytes == change.bytes => return Ok(()),
                (Ok(Some(_)), _) => {
                    let text = format!("`{key}` is there, and is not what its name says");
                    return Err(lake::Error::new(Kind::Foreign, text, Some("move it out of the lake")));
                }
                (_, Err(error)) | (Err(error), Ok(_)) => return Err(error),
                (Ok(None), Ok(_)) => {}
            }
        }
        let text = format!("`{key}` is said to be there, and is not");
        Err(lake::Error::new(Kind::Storage, text, None))
    }

    /// Puts the next version, and before the first one the table itself.
    async fn put_version(
        &self,
        known: &mut Known,
        changes: &[Waiting<Replacement>],
    ) -> Result<Commit, lake::Error> {
        if known.log.version().is_none() {
            let created = known.log.created().map_err(|e| self.unreadable(&e))?;
            if self.put_commit(known, created).await? == Commit::Conflict {
                return Ok(Commit::Conflict);
            }
        }
        let added: Vec<_> = changes
            .iter()
            .map(|Waiting { change, .. }| Added {
                partition: &change.partition,
                file: &change.file,
                footer: &change.footer,
                batch: &change.batch,
            })
            .collect();
        let removed: BTreeSet<&str> =
            changes.iter().flat_map(|w| &w.change.prior).map(String::as_str).collect();
        let commit = known.log.changed(&removed, &added).map_err(|e| self.unreadable(&e))?;
        self.put_commit(known, commit).await
    }

    /// Puts a version where none is, and finds out by reading whether it is there in spite of what the store said.
    async fn put_commit(
        &self,
        known: &mut Known,
        (name, bytes): history::Named,
    ) -> Result<Commit, lake::Error> {
        let key = log_key(self.dataset, &name);
        let outcome = self.lake.commit(&key, bytes.clone(), Expect::Absent).await;
        let is_ours = match &outcome {
            Ok(Commit::Done) => true,
            Err(_) if !self.lake.loses_replies() => false,
            // A version has an id of its own, so no other process's is the same.
            _ => match (self.lake.read(&key).await, &outcome) {
                (Ok(found), _) => found.is_some_and(|(found, _)| found == bytes),
                (Err(_), Err(_)) => false,
                (Err(error), Ok(_)) => return Err(error),
            },
        };
        if is_ours {
            self.take_in(known, vec![(name, bytes)])?;
            return Ok(Commit::Done);
        }
        outcome
    }

    /// Now and then, puts a checkpoint. The version counts without one, so a failure fails nothing.
    async fn put_checkpoint(&self, log: &Log) {
        if log.version().is_none_or(|version| version == 0 || version % CHECKPOINT_EVERY != 0) {
            return;
        }
        let files = match log.checkpoint() {
            Ok(files) => files,
            Err(error) => return warn!(table = %self.dataset, "no checkpoint was made: {error}"),
        };
        for (name, bytes) in files {
            let key = log_key(self.dataset, &name);
            let put = if name == LAST_CHECKPOINT {
                self.lake.put_hint(&key, bytes).await
            } else {
                self.lake.commit(&key, bytes, Expect::Absent).await.map(drop)
            };
            if let Err(error) = put {
                return warn!(table = %self.dataset, "the checkpoint was not written: {error}");
            }
        }
    }
}

/// Those changes whose partitions are as they were read. The others are answered: one whose own file counts already has
/// landed with an earlier try; any other is in conflict.
fn standing(changes: Vec<Waiting<Replacement>>, live: &Live) -> Vec<Waiting<Replacement>> {
    let mut standing: BTreeMap<Partition, Waiting<Replacement>> = BTreeMap::new();
    for waiting in changes {
        let Replacement { partition, file, prior, .. } = &waiting.change;
        let there = live.partitions.get(partition).into_iter().flatten().map(|f| f.path.as_str());
        let there: BTreeSet<&str> = there.collect();
        if there.len() == 1 && there.contains(file.path.as_str()) {
            let bytes = file.size;
            waiting.answer(bytes, Ok(Commit::Done));
        } else if there.iter().eq(prior.iter()) && !standing.contains_key(partition) {
            standing.insert(partition.clone(), waiting);
        } else {
            waiting.answer(0, Ok(Commit::Conflict));
        }
    }
    standing.into_values().collect()
}

fn answer_all(changes: Vec<Waiting<Replacement>>, outcome: &Result<Commit, lake::Error>) {
    for waiting in changes {
        let bytes = waiting.change.file.size;
        waiting.answer(bytes, outcome.clone());
    }
}
