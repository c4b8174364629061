//! Where partitions stand: surveyed, read, replaced and inspected, whatever objects they are kept in.
//!
//! This is where the table and the lake meet. Whoever is above speaks of partitions; which object holds
//! one, and with which others, is known here alone. A lake has one layout, which its own note tells.

#[cfg(feature = "delta")]
mod delta;
mod desk;
mod gather;
mod migrate;
mod note;
mod packed;
mod restated;
mod settle;
mod single;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::RecordBatch;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::stream::BoxStream;
use serde::Serialize;

pub use migrate::{Migrated, migrate};
pub use note::Note;
pub use restated::{InspectedRestatements, PARKED as PARKED_RESTATEMENTS, finish as finish_restatements};
pub use settle::{Prior, Settled};

use crate::clock::Clock;
use crate::config::{LakeLayout, Settings};
use crate::lake::{self, Kind, Lake, TABLE_LOG};
use crate::model::{Dataset, Groups, Layout, Partition, StreamId};
use crate::table::{self, DamagedError, FORMAT_VERSION, Footer};
use desk::Desk;
use settle::{Change, Put};

/// How many footers are read at once.
const LOOKS_AT_ONCE: usize = 32;
/// How many objects are inspected at once.
const INSPECTED_AT_ONCE: usize = 16;
/// No Parquet file is shorter: its magic number twice, and the length of its footer.
const SMALLEST_FILE: u64 = 12;

/// The partitions of a lake. Cheap to clone; clones put together what belongs into one object.
#[derive(Clone)]
pub struct Shelf {
    lake: Lake,
    note: Arc<Note>,
    kept: Kept,
}

/// How partitions are kept.
#[derive(Clone)]
enum Kept {
    Single,
    Packed(Arc<Desk>),
    #[cfg(feature = "delta")]
    Delta(Arc<delta::Tables>),
}

/// What is known of a partition that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Only that it was written, and when.
    Listed {
        /// When, by the store's clock.
        written_at: DateTime<Utc>,
    },
    /// What it says of itself.
    Footer(Box<Footer>),
    /// What it says of itself cannot be read, or was written by another program.
    Damaged,
}

/// What is there.
#[derive(Debug, Default)]
pub struct Survey {
    /// The partitions, each once.
    pub found: Vec<(Partition, Found)>,
    /// Keys in our folders that are none of ours.
    pub foreign: Vec<String>,
    /// The keys of objects that hold several partitions: what is in them has been found.
    pub shared: BTreeSet<String>,
}

/// What was removed that counted no more, or would be.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Vacuumed {
    /// The keys of the files, sorted.
    pub files: Vec<String>,
    /// How many bytes they have.
    pub bytes: u64,
    /// How many files count no more and are kept, since they did lately.
    pub kept: u64,
}

/// Whether the time at which a partition was written does not do, and it has to say itself what it is.
pub type NeedsFooter<'a> = dyn Fn(&Partition, DateTime<Utc>) -> bool + Sync + 'a;

/// An object that was read whole, with what is in it.
#[derive(Debug)]
pub struct Inspected {
    /// Its key, relative to the lake.
    pub key: String,
    /// Its length in bytes.
    pub bytes: u64,
    /// Each of its partitions with its rows, or with what is wrong.
    pub partitions: Vec<(Partition, Result<u64, DamagedError>)>,
    /// What is wrong with an object of which nobody knows which partitions it held.
    pub flaw: Option<DamagedError>,
}

impl Shelf {
    /// The partitions of this lake, in the layout in which it is kept; a lake that is still to be made will have
    /// the one that is configured.
    ///
    /// # Errors
    /// When the lake cannot be read, is kept in another layout than the configured one, or was written by a later
    /// version of trendlake.
    pub async fn open(lake: Lake, settings: &Settings, clock: &Clock) -> Result<Self, lake::Error> {
        let note = Note::read(&lake).await?;
        let there = match (note.layout(), settings.lake.layout) {
            // Its own objects may be many, and are not listed for this; and whatever the layout, every stream has a grain.
            (None, LakeLayout::Stream) => guess_shared(&lake, &[Dataset::Daily, Dataset::Hourly]).await?,
            (None, LakeLayout::Packed { .. } | LakeLayout::Delta) => guess(&lake).await?,
            (there, _) => there,
        };
        let layout = configured(settings, there);
        if let Some(there) = there.filter(|there| *there != layout) {
            return Err(disagreement(there, layout));
        }
        Ok(Self::in_layout(lake, note, layout, clock))
    }

    /// The partitions of this lake in one layout, whatever its note says.
    fn in_layout(lake: Lake, note: Note, layout: Layout, clock: &Clock) -> Self {
        let kept = match layout {
            Layout::Stream => Kept::Single,
            Layout::Packed(groups) => Kept::Packed(Arc::new(Desk::new(lake.clone(), groups, clock.clone()))),
            #[cfg(feature = "delta")]
            Layout::Delta => Kept::Delta(Arc::new(delta::Tables::new(&lake, clock))),
            #[cfg(not(feature = "delta"))]
            Layout::Delta => unreachable!("without the feature `delta`, no configuration asks for it"),
        };
        Self { lake, note: Arc::new(note), kept }
    }

    /// Writes down in which layout the lake is kept, before anything is put there that only this layout tells.
    ///
    /// # Errors
    /// When the store fails, or someone else has just made the lake in another layout.
    pub async fn make(&self) -> Result<(), lake::Error> {
        let ours = self.layout();
        if ours == Layout::Stream || self.note.layout().is_some() {
            return Ok(());
        }
        let there = Note::clone(&self.note).settle(&self.lake, ours).await?;
        if there == ours { Ok(()) } else { Err(disagreement(there, ours)) }
    }

    /// Notes that all footers of these streams, by id, have been held against these settings. Writes nothing if that
    /// was known before.
    ///
    /// # Errors
    /// When the note cannot be read or written.
    pub async fn remember(&self, verified: BTreeMap<String, String>) -> Result<(), lake::Error> {
        if verified.iter().all(|(stream, settings)| self.note.verified.get(stream) == Some(settings)) {
            return Ok(());
        }
        // As it is now: others may have noted something meanwhile, or moved the lake.
        let mut note = Note::read(&self.lake).await?;
        if note.layout().is_some_and(|layout| layout != self.layout()) {
            return Ok(());
        }
        note.verified.extend(verified);
        let leaving = note.leaving();
        note.moved(self.layout(), leaving).write(&self.lake).await
    }

    /// Has the footers of these streams read again by the next survey: answers of long ago are about to be put, and
    /// when they were fetched the time of their objects will not tell.
    ///
    /// # Errors
    /// When the note cannot be read or written.
    pub async fn forget(&self, streams: impl IntoIterator<Item = &StreamId>) -> Result<(), lake::Error> {
        let mut note = Note::read(&self.lake).await?;
        let known = note.verified.len();
        for stream in streams {
            note.verified.remove(stream.as_str());
        }
        if note.verified.len() < known { note.write(&self.lake).await } else { Ok(()) }
    }

    /// The lake itself, for what is no partition.
    #[must_use]
    pub const fn lake(&self) -> &Lake {
        &self.lake
    }

    /// What the lake said of itself when it was opened.
    #[must_use]
    pub fn note(&self) -> &Note {
        &self.note
    }

    /// How partitions are kept in objects.
    #[must_use]
    pub fn layout(&self) -> Layout {
        match &self.kept {
            Kept::Single => Layout::Stream,
            Kept::Packed(desk) => Layout::Packed(desk.groups()),
            #[cfg(feature = "delta")]
            Kept::Delta(_) => Layout::Delta,
        }
    }

    /// The key of the object that holds a partition, relative to the lake; of a table, that of the partition's folder.
    #[must_use]
    pub fn key(&self, partition: &Partition) -> String {
        match &self.kept {
            Kept::Single => lake::key(partition),
            Kept::Packed(desk) => lake::pack_key(&desk.pack(partition)),
            #[cfg(feature = "delta")]
            Kept::Delta(_) => lake::table_key(partition.dataset, &lake::table_folder(partition)),
        }
    }

    /// What is there of these datasets and streams, and perhaps of others. Where `needs_footer` says that the time of
    /// writing does not do, what the partition says of itself is read. Fails as a whole: half a listing would look like
    /// missing partitions.
    ///
    /// # Errors
    /// When the lake cannot be listed or read, or a later version of trendlake has written there.
    pub async fn survey(
        &self,
        datasets: &[Dataset],
        streams: &[StreamId],
        needs_footer: &NeedsFooter<'_>,
    ) -> Result<Survey, lake::Error> {
        match &self.kept {
            Kept::Single => single::survey(&self.lake, datasets, streams, needs_footer).await,
            Kept::Packed(desk) => packed::survey(&self.lake, desk.groups(), datasets, Some(streams)).await,
            #[cfg(feature = "delta")]
            Kept::Delta(tables) => tables.survey(datasets, streams, needs_footer).await,
        }
    }

    /// What is there of all streams, as the objects themselves say.
    async fn survey_all(&self) -> Result<Survey, lake::Error> {
        match &self.kept {
            Kept::Single => single::survey(&self.lake, &Dataset::ALL, &[], &|_, _| false).await,
            Kept::Packed(desk) => packed::survey(&self.lake, desk.groups(), &Dataset::ALL, None).await,
            #[cfg(feature = "delta")]
            Kept::Delta(tables) => tables.survey(&Dataset::ALL, &[], &|_, _| false).await,
        }
    }

    /// Looks for a partition whose object a survey has left out; what it says of itself, and when it was written.
    ///
    /// # Errors
    /// When the lake cannot be read, or a later version of trendlake has written there.
    pub async fn find(&self, partition: &Partition) -> Result<Option<(Found, DateTime<Utc>)>, lake::Error> {
        // What a table's log does not name is not there: it was not listed, but read to its end.
        #[cfg(feature = "delta")]
        if let Kept::Delta(_) = &self.kept {
            return Ok(None);
        }
        let key = self.key(partition);
        let Some((bytes, written_at)) = self.lake.find(&key).await? else { return Ok(None) };
        let found = match &self.kept {
            #[cfg(feature = "delta")]
            Kept::Delta(_) => None,
            Kept::Single => Some(single::found(&key, &bytes)?),
            Kept::Packed(_) => packed::found(&key, &bytes, &partition.stream)?,
        };
        Ok(found.map(|found| (found, written_at)))
    }

    /// Reads what is in a partition's place, for [`Shelf::replace`]. What is unsound is an error, unless it is to
    /// be repaired.
    ///
    /// # Errors
    /// When the lake fails, or what is there is not a partition that this version may replace.
    pub async fn read(&self, partition: &Partition, repair: bool) -> Result<Prior, lake::Error> {
        match &self.kept {
            Kept::Single => single::read(&self.lake, partition, repair).await,
            Kept::Packed(desk) => packed::read(desk, partition, repair).await,
            #[cfg(feature = "delta")]
            Kept::Delta(tables) => tables.read(partition, repair).await,
        }
    }

    /// The rows of a partition, or why they cannot be understood; nothing where there is none.
    ///
    /// # Errors
    /// When the lake fails.
    pub async fn rows(
        &self,
        partition: &Partition,
    ) -> Result<Option<Result<RecordBatch, DamagedError>>, lake::Error> {
        let read = async || Ok(self.lake.read(&self.key(partition)).await?.map(|(bytes, _)| bytes));
        match &self.kept {
            Kept::Single => Ok(read().await?.map(|bytes| table::decode(partition.dataset, &bytes))),
            Kept::Packed(_) => Ok(read().await?.and_then(|bytes| packed::rows(partition, &bytes))),
            #[cfg(feature = "delta")]
            Kept::Delta(tables) => tables.rows(partition).await,
        }
    }

    /// Says which partitions may be replaced by what is under way, so that those of one object can wait for each
    /// other a little.
    pub fn expect(&self, partitions: impl IntoIterator<Item = Partition>) {
        match &self.kept {
            Kept::Single => {}
            Kept::Packed(desk) => partitions.into_iter().for_each(|partition| desk.expect(&partition)),
            #[cfg(feature = "delta")]
            Kept::Delta(tables) => partitions.into_iter().for_each(|partition| tables.expect(&partition)),
        }
    }

    /// Says that this partition will not be replaced any more.
    pub fn no_more(&self, partition: &Partition) {
        match &self.kept {
            Kept::Single => {}
            Kept::Packed(desk) => desk.no_more(partition),
            #[cfg(feature = "delta")]
            Kept::Delta(tables) => tables.no_more(partition),
        }
    }

    /// Brings a partition to say what `batch` says, unless it does already or says something newer.
    ///
    /// `judge` is asked about whatever else than `prior` turns out to be there, and may end it with that.
    ///
    /// # Errors
    /// When the lake fails, so that neither can be said.
    pub async fn replace(
        &self,
        partition: &Partition,
        batch: &RecordBatch,
        footer: &Footer,
        prior: Prior,
        judge: impl Fn(&Prior) -> Option<Settled>,
    ) -> Result<Settled, lake::Error> {
        settle::settle(self, Change { partition, batch, footer }, prior, judge).await
    }

    /// Puts a change in place of what was read.
    async fn put(&self, change: Change<'_>, prior: &Prior) -> Put {
        match &self.kept {
            Kept::Single => single::put(&self.lake, change, prior).await,
            Kept::Packed(desk) => desk.put(change, prior).await,
            #[cfg(feature = "delta")]
            Kept::Delta(tables) => tables.put(change, prior).await,
        }
    }

    /// How many objects were put, or versions made, where they are not as many as partitions were replaced.
    #[must_use]
    pub fn puts(&self) -> Option<u64> {
        match &self.kept {
            Kept::Single => None,
            Kept::Packed(desk) => Some(desk.puts()),
            #[cfg(feature = "delta")]
            Kept::Delta(tables) => Some(tables.versions()),
        }
    }

    /// Removes what has not counted for `retention`, unless it is a `dry_run`; nothing comes back of a lake that keeps
    /// nothing beside what counts.
    ///
    /// # Errors
    /// When the lake fails.
    #[cfg_attr(
        not(feature = "delta"),
        expect(clippy::unused_async, reason = "Delta tables are read and listed")
    )]
    pub async fn vacuum(&self, retention: TimeDelta, dry_run: bool) -> Result<Option<Vacuumed>, lake::Error> {
        match &self.kept {
            Kept::Single | Kept::Packed(_) => {
                let _ = (retention, dry_run);
                Ok(None)
            }
            #[cfg(feature = "delta")]
            Kept::Delta(tables) => Ok(Some(tables.vacuum(retention, dry_run).await?)),
        }
    }

    /// Reads the objects of these streams, or all of them if `whole`, and holds every row against what it should be;
    /// with the keys that are none of ours.
    ///
    /// # Errors
    /// When the lake cannot be listed. What fails later is an error of its object.
    pub async fn inspect<'a>(
        &'a self,
        streams: &'a [StreamId],
        whole: bool,
    ) -> Result<(BoxStream<'a, Result<Inspected, lake::Error>>, Vec<String>), lake::Error> {
        match &self.kept {
            Kept::Single => single::inspect(&self.lake, streams, whole).await,
            Kept::Packed(desk) => packed::inspect(&self.lake, desk.groups(), streams, whole).await,
            #[cfg(feature = "delta")]
            Kept::Delta(tables) => tables.inspect(streams, whole).await,
        }
    }

    /// Every object with rows of a dataset, restatements included, by key.
    ///
    /// # Errors
    /// When the lake cannot be listed.
    pub async fn objects(&self) -> Result<Vec<(String, lake::Listed)>, lake::Error> {
        let mut objects = match &self.kept {
            Kept::Single => single::objects(&self.lake).await?,
            Kept::Packed(desk) => packed::objects(&self.lake, desk.groups()).await?,
            #[cfg(feature = "delta")]
            Kept::Delta(tables) => tables.objects().await?,
        };
        let restatements = self.lake.list_restatements(None).await?.objects.into_iter();
        objects.extend(restatements.map(|(unit, listed)| (lake::restatement_key(&unit), listed)));
        Ok(objects)
    }
}

/// The layout of a lake whose note does not tell it: that of the objects there. Nothing where there are none.
async fn guess(lake: &Lake) -> Result<Option<Layout>, lake::Error> {
    if let Some(layout) = guess_shared(lake, &Dataset::ALL).await? {
        return Ok(Some(layout));
    }
    for dataset in Dataset::ALL {
        if !lake.list(dataset, None).await?.objects.is_empty() {
            return Ok(Some(Layout::Stream));
        }
    }
    Ok(None)
}

/// The same of a lake that keeps these datasets in tables or packs. On any other one these are listings of nothing.
async fn guess_shared(lake: &Lake, datasets: &[Dataset]) -> Result<Option<Layout>, lake::Error> {
    for &dataset in datasets {
        if !lake.list_table(dataset, TABLE_LOG).await?.is_empty() {
            return Ok(Some(Layout::Delta));
        }
    }
    for &dataset in datasets {
        if let Some(pack) = lake.list_packs(dataset).await?.objects.keys().next() {
            return Ok(Some(Layout::Packed(pack.group.groups())));
        }
    }
    Ok(None)
}

/// The layout that is configured. How many groups a packed lake has may be left to the lake itself, and to the number
/// of streams where it is still to be made.
fn configured(settings: &Settings, there: Option<Layout>) -> Layout {
    match (settings.lake.layout, there) {
        (LakeLayout::Stream, _) => Layout::Stream,
        (LakeLayout::Delta, _) => Layout::Delta,
        (LakeLayout::Packed { groups: Some(groups) }, _) => Layout::Packed(groups),
        (LakeLayout::Packed { groups: None }, Some(there @ Layout::Packed(_))) => there,
        (LakeLayout::Packed { groups: None }, _) => {
            Layout::Packed(Groups::for_streams(settings.streams.len()))
        }
    }
}

fn disagreement(there: Layout, wanted: Layout) -> lake::Error {
    let (text, hint) = match (there, wanted) {
        (Layout::Packed(there), Layout::Packed(wanted)) => (
            format!(
                "the lake's streams are divided into groups, {} of them, and `lake.groups` asks for {}",
                there.count(),
                wanted.count()
            ),
            "leave `lake.groups` out; or move the lake to the layout `stream` and back: `trendlake migrate`",
        ),
        (Layout::Delta, _) => (
            "the lake is kept as Delta tables, and the configuration asks for Parquet files".into(),
            "set `lake.format = \"delta\"`; or have a new lake filled: another `lake.url`, and `trendlake backfill`",
        ),
        (_, Layout::Delta) => (
            "the lake is kept in Parquet files, and `lake.format` asks for Delta tables".into(),
            "set `lake.format` to `parquet`; or have a new lake filled: another `lake.url`, and `trendlake backfill`",
        ),
        (there, wanted) => (
            format!(
                "the lake is kept in the layout `{}`, and `lake.layout` asks for `{}`",
                there.as_str(),
                wanted.as_str()
            ),
            "set `lake.layout` to the lake's own; or move the lake to the other one: `trendlake migrate`",
        ),
    };
    lake::Error::new(Kind::Settings, text, Some(hint))
}

/// A later version of trendlake has written an object, in this format.
fn newer(key: &str, found: u32) -> lake::Error {
    lake::Error::new(
        Kind::Settings,
        format!(
            "`{key}` was written by a later version of trendlake (format {found}, this one knows {FORMAT_VERSION})"
        ),
        Some("upgrade this trendlake"),
    )
}
