//! Delta tables, one per dataset: every change of a partition is a file of its own, and a version of the table's log
//! says which files count.
//!
//! Changes that come together become one version. A version is put only where none is, so whoever comes second reads
//! the first one's and decides anew, partition by partition.

mod history;
mod log;
mod table;
mod tags;
mod vacuum;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::RecordBatch;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryStreamExt};

use super::gather::{self, Gather, Waiting, Work};
use super::settle::{Change, Prior, Put, WHOLE, unsound};
use super::{Found, INSPECTED_AT_ONCE, Inspected, LOOKS_AT_ONCE, NeedsFooter, SMALLEST_FILE, Survey, newer};
use crate::clock::Clock;
use crate::lake::{self, Lake, Listed, table_key};
use crate::model::{Dataset, Partition, StreamId};
use crate::table::{self as rows, DamagedError, Footer};
use log::File;
use table::{Replacement, Table, version_of};

/// The tables of a lake.
pub(super) struct Tables {
    lake: Lake,
    by_dataset: BTreeMap<Dataset, Table>,
    gather: Gather<Self>,
    versions: AtomicU64,
}

impl Work for Tables {
    type Place = Dataset;
    type Change = Replacement;
    type Memo = ();

    fn gather(&self) -> &Gather<Self> {
        &self.gather
    }

    async fn carry_out(&self, dataset: Dataset, changes: Vec<Waiting<Replacement>>) {
        let made = self.table(dataset).carry_out(changes).await;
        self.versions.fetch_add(u64::from(made), Ordering::Relaxed);
    }
}

impl Tables {
    pub(super) fn new(lake: &Lake, clock: &Clock) -> Self {
        let by_dataset = Dataset::ALL.map(|dataset| (dataset, Table::new(lake, dataset, clock))).into();
        Self {
            lake: lake.clone(),
            by_dataset,
            gather: Gather::new(clock.clone()),
            versions: AtomicU64::new(0),
        }
    }

    fn table(&self, dataset: Dataset) -> &Table {
        &self.by_dataset[&dataset]
    }

    /// How many versions were made.
    pub(super) fn versions(&self) -> u64 {
        self.versions.load(Ordering::Relaxed)
    }

    pub(super) fn expect(&self, partition: &Partition) {
        self.gather.expect(partition.dataset, partition);
    }

    pub(super) fn no_more(&self, partition: &Partition) {
        self.gather.no_more(partition.dataset, partition);
    }

    /// Hands in a change, and waits until it is part of a version or turned out to be in conflict.
    pub(super) async fn put(self: &Arc<Self>, change: Change<'_>, prior: &Prior) -> Put {
        let replacement = Replacement::new(change, prior, self.gather.clock());
        gather::put(self, change.partition.dataset, change.partition, replacement).await
    }

    /// Of these streams, or of all. The log tells what is there and what it is. Only a file of which it does not say that,
    /// since an older version of trendlake or another program has written it, has to say so itself.
    pub(super) async fn survey(
        &self,
        datasets: &[Dataset],
        streams: &[StreamId],
        needs_footer: &NeedsFooter<'_>,
    ) -> Result<Survey, lake::Error> {
        let mut survey = Survey::default();
        let streams: BTreeSet<&StreamId> = streams.iter().collect();
        let is_wanted = |partition: &Partition| streams.is_empty() || streams.contains(&partition.stream);
        let asked = |partition: &Partition, file: &File| {
            is_wanted(partition) && needs_footer(partition, file.written_at)
        };
        for dataset in datasets {
            let (live, mut said) = self.table(*dataset).survey(&asked).await?;
            survey.foreign.extend(live.foreign.iter().map(|file| table_key(*dataset, &file.path)));
            let mut unsaid = Vec::new();
            for (partition, files) in live.partitions.iter().filter(|(partition, _)| is_wanted(partition)) {
                let found = match &files[..] {
                    [file] => match said.remove(&file.path) {
                        Some(footer) => found(&table_key(*dataset, &file.path), footer)?,
                        None if asked(partition, file) => {
                            unsaid.push((partition, file));
                            continue;
                        }
                        None if file.size >= SMALLEST_FILE => Found::Listed { written_at: file.written_at },
                        None => Found::Damaged,
                    },
                    _ => Found::Damaged,
                };
                survey.found.push((partition.clone(), found));
            }
            let looks = unsaid.into_iter().map(|(partition, file)| async move {
                // One that counts and is not there is missing: there is nothing that could be lost.
                let key = table_key(*dataset, &file.path);
                let Some((_, footer)) = self.footer(&key).await? else { return Ok(None) };
                Ok::<_, lake::Error>(Some((partition.clone(), found(&key, footer)?)))
            });
            let looked: Vec<_> = stream::iter(looks).buffer_unordered(LOOKS_AT_ONCE).try_collect().await?;
            survey.found.extend(looked.into_iter().flatten());
        }
        Ok(survey)
    }

    /// A file, and what it says of itself.
    async fn footer(&self, key: &str) -> Result<Option<(Bytes, Result<Footer, DamagedError>)>, lake::Error> {
        let read = self.lake.read(key).await?;
        Ok(read.map(|(bytes, _)| {
            let footer = match rows::read_footer(&bytes) {
                // Another program's file is part of the table all the same: it is replaced where a person asks for it.
                Err(DamagedError::Foreign) => Err(rewritten()),
                footer => footer,
            };
            (bytes, footer)
        }))
    }

    /// Reads what is in a partition's place, as the table is known.
    pub(super) async fn read(&self, partition: &Partition, repair: bool) -> Result<Prior, lake::Error> {
        let table = self.table(partition.dataset);
        // While changes gather, the table is known as this process has read and made it; whatever else has become of
        // it, a change turns out to be in conflict.
        let is_known = self.gather.memo(partition.dataset).is_some();
        let live = if is_known { table.live().await? } else { table.live_now().await? };
        let Some(files) = live.partitions.get(partition) else { return Ok(Prior::Absent) };
        let version = version_of(files);
        let [file] = &files[..] else {
            let key = table_key(partition.dataset, &lake::table_folder(partition));
            return unsound(&key, &several(files), repair, (Bytes::new(), version));
        };
        let key = table_key(partition.dataset, &file.path);
        let Some((bytes, footer)) = self.footer(&key).await? else {
            return Ok(Prior::Damaged { bytes: Bytes::new(), version });
        };
        let footer = match footer {
            Ok(_) if repair => {
                let said = table.survey(&|_, other| other.path == file.path).await?.1.remove(&file.path);
                rows::inspect_bare(partition, &bytes).and_then(|sound| agreed(sound.footer, said))
            }
            footer => footer,
        };
        match footer {
            Ok(footer) => Ok(Prior::Sound { bytes, rows: WHOLE, footer: Box::new(footer), version }),
            Err(error) => unsound(&key, &error, repair, (bytes, version)),
        }
    }

    /// The files that count, by key.
    pub(super) async fn objects(&self) -> Result<Vec<(String, Listed)>, lake::Error> {
        let mut objects = Vec::new();
        for (dataset, table) in &self.by_dataset {
            let live = table.live_now().await?;
            let listed = |file: &File| {
                let listed = Listed { written_at: file.written_at, size: file.size };
                (table_key(*dataset, &file.path), listed)
            };
            objects.extend(live.partitions.values().flatten().map(listed));
        }
        Ok(objects)
    }

    /// The rows of a partition as it is now, or why they cannot be understood; nothing where there is none.
    pub(super) async fn rows(
        &self,
        partition: &Partition,
    ) -> Result<Option<Result<RecordBatch, DamagedError>>, lake::Error> {
        let live = self.table(partition.dataset).live_now().await?;
        let Some(files) = live.partitions.get(partition) else { return Ok(None) };
        let [file] = &files[..] else { return Ok(Some(Err(several(files)))) };
        let found = self.footer(&table_key(partition.dataset, &file.path)).await?;
        let Some((bytes, footer)) = found else { return Ok(None) };
        Ok(Some(footer.and_then(|_| rows::decode(partition.dataset, &bytes))))
    }

    pub(super) async fn inspect<'a>(
        &'a self,
        streams: &'a [StreamId],
        whole: bool,
    ) -> Result<(BoxStream<'a, Result<Inspected, lake::Error>>, Vec<String>), lake::Error> {
        let (mut files, mut foreign) = (Vec::new(), Vec::new());
        let is_wanted = |partition: &Partition| whole || streams.contains(&partition.stream);
        for (dataset, table) in &self.by_dataset {
            let (live, mut said) = table.survey(&|partition, _| is_wanted(partition)).await?;
            foreign.extend(live.foreign.iter().map(|file| table_key(*dataset, &file.path)));
            for (partition, named) in live.partitions.iter().filter(|(partition, _)| is_wanted(partition)) {
                let said = named.first().and_then(|file| said.remove(&file.path));
                files.push((partition.clone(), named.clone(), said));
            }
        }
        let objects =
            stream::iter(files).map(|(partition, files, said)| self.inspected(partition, files, said));
        Ok((objects.buffer_unordered(INSPECTED_AT_ONCE).boxed(), foreign))
    }

    async fn inspected(
        &self,
        partition: Partition,
        files: Vec<File>,
        said: Option<Result<Footer, DamagedError>>,
    ) -> Result<Inspected, lake::Error> {
        let bytes = files.iter().map(|file| file.size).sum();
        let [file] = &files[..] else {
            let key = table_key(partition.dataset, &lake::table_folder(&partition));
            let partitions = vec![(partition, Err(several(&files)))];
            return Ok(Inspected { key, bytes, partitions, flaw: None });
        };
        let key = table_key(partition.dataset, &file.path);
        let found = match self.footer(&key).await? {
            None => Err(DamagedError::Damaged("the table's log names it, and it is not there".into())),
            Some((read, Ok(_))) if read.len() as u64 != file.size => {
                let text = format!("it has {} bytes, and the table's log says {bytes}", read.len());
                Err(DamagedError::Damaged(text))
            }
            Some((read, Ok(footer))) => rows::inspect_bare(&partition, &read)
                .and_then(|sound| agreed(footer, said).map(|_| sound.batch.num_rows() as u64)),
            Some((_, Err(DamagedError::Newer(found)))) => return Err(newer(&key, found)),
            Some((_, Err(error))) => Err(error),
        };
        Ok(Inspected { key, bytes, partitions: vec![(partition, found)], flaw: None })
    }
}

/// What is known of a partition of which that was said.
fn found(key: &str, said: Result<Footer, DamagedError>) -> Result<Found, lake::Error> {
    match said {
        Ok(footer) => Ok(Found::Footer(Box::new(footer))),
        Err(DamagedError::Newer(found)) => Err(newer(key, found)),
        Err(_) => Ok(Found::Damaged),
    }
}

/// What a file says of itself, unless the log says otherwise.
fn agreed(footer: Footer, said: Option<Result<Footer, DamagedError>>) -> Result<Footer, DamagedError> {
    match said {
        Some(said) if said.as_ref() != Ok(&footer) => {
            Err(DamagedError::Damaged("the table's log says of it what its footer does not".into()))
        }
        _ => Ok(footer),
    }
}

fn several(files: &[File]) -> DamagedError {
    let count = files.len();
    DamagedError::Damaged(format!("the table's log names {count} files of this month and stream, not one"))
}

fn rewritten() -> DamagedError {
    DamagedError::Damaged(
        "another program has written it, so that nothing says when its figures were fetched".into(),
    )
}
