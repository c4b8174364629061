//! Where partitions stand: surveyed, read, replaced and inspected, whatever objects they are kept in.
//!
//! This is where the table and the lake meet. Whoever is above speaks of partitions; which object holds
//! one, and with which others, is known here alone.

mod restated;
mod settle;

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryStreamExt};

pub use restated::{InspectedRestatements, PARKED as PARKED_RESTATEMENTS, finish as finish_restatements};
pub use settle::{Prior, Settled};

use crate::lake::{self, Kind, Lake};
use crate::model::{Dataset, Partition, StreamId};
use crate::table::{self, DamagedError, FORMAT_VERSION, Footer};

/// How many footers are read at once.
const FOOTERS_AT_ONCE: usize = 32;
/// How many objects are inspected at once.
const INSPECTED_AT_ONCE: usize = 16;
/// No Parquet file is shorter: its magic number twice, and the length of its footer.
const SMALLEST_FILE: u64 = 12;

/// The partitions of a lake. Cheap to clone.
#[derive(Clone)]
pub struct Shelf {
    lake: Lake,
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
    /// The partitions.
    pub found: BTreeMap<Partition, Found>,
    /// Keys in our folders that are none of ours.
    pub foreign: Vec<String>,
}

/// An object that was read whole, with what is in it.
#[derive(Debug)]
pub struct Inspected {
    /// Its key, relative to the lake.
    pub key: String,
    /// Its length in bytes.
    pub bytes: u64,
    /// Each of its partitions with its rows, or with what is wrong.
    pub partitions: Vec<(Partition, Result<u64, DamagedError>)>,
}

impl Shelf {
    /// The partitions of this lake.
    #[must_use]
    pub const fn new(lake: Lake) -> Self {
        Self { lake }
    }

    /// The lake itself, for what is no partition.
    #[must_use]
    pub const fn lake(&self) -> &Lake {
        &self.lake
    }

    /// The key of the object that holds a partition, relative to the lake.
    #[must_use]
    pub fn key(&self, partition: &Partition) -> String {
        lake::key(partition)
    }

    /// What is there of these datasets, of all streams or of one. Where `needs_footer` says that the time of writing does not
    /// do, what the partition says of itself is read. Fails as a whole: half a listing would look like
    /// missing partitions.
    ///
    /// # Errors
    /// When the lake cannot be listed or read, or a later version of trendlake has written there.
    pub async fn survey(
        &self,
        datasets: &[Dataset],
        only: Option<&StreamId>,
        needs_footer: impl Fn(&Partition, DateTime<Utc>) -> bool,
    ) -> Result<Survey, lake::Error> {
        let (listed, foreign) = self.list(datasets, only).await?;
        let needs_footer = &needs_footer;
        let looks = listed.into_iter().map(|(partition, listed)| async move {
            let written_at = listed.written_at;
            let found = if listed.size < SMALLEST_FILE {
                Found::Damaged
            } else if needs_footer(&partition, written_at) {
                // Deleted since it was listed: missing.
                let key = lake::key(&partition);
                let Some((bytes, _)) = self.lake.read(&key).await? else { return Ok(None) };
                found(&key, &bytes)?
            } else {
                Found::Listed { written_at }
            };
            Ok::<_, lake::Error>(Some((partition, found)))
        });
        let looks = stream::iter(looks).buffer_unordered(FOOTERS_AT_ONCE);
        let found: Vec<_> = looks.try_collect().await?;
        Ok(Survey { found: found.into_iter().flatten().collect(), foreign })
    }

    /// Looks for a partition that a survey has left out; what it says of itself, and when it was written.
    ///
    /// # Errors
    /// When the lake cannot be read, or a later version of trendlake has written there.
    pub async fn find(&self, partition: &Partition) -> Result<Option<(Found, DateTime<Utc>)>, lake::Error> {
        let key = lake::key(partition);
        let Some((bytes, written_at)) = self.lake.find(&key).await? else { return Ok(None) };
        Ok(Some((found(&key, &bytes)?, written_at)))
    }

    /// Reads what is in a partition's place, for [`Shelf::replace`]. What is unsound is an error, unless it is to
    /// be repaired.
    ///
    /// # Errors
    /// When the lake fails, or what is there is not a partition that this version may replace.
    pub async fn read(&self, partition: &Partition, repair: bool) -> Result<Prior, lake::Error> {
        settle::read(&self.lake, partition, repair).await
    }

    /// The rows of a partition, or why they cannot be understood; nothing where there is none.
    ///
    /// # Errors
    /// When the lake fails.
    pub async fn rows(
        &self,
        partition: &Partition,
    ) -> Result<Option<Result<RecordBatch, DamagedError>>, lake::Error> {
        let found = self.lake.read(&lake::key(partition)).await?;
        Ok(found.map(|(bytes, _)| table::decode(partition.dataset, &bytes)))
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
        settle::settle(&self.lake, partition, batch, footer, prior, judge).await
    }

    /// Reads all objects that hold wanted streams, and holds every row against what it should be; with the keys
    /// that are none of ours. `only` says that one stream alone is wanted.
    ///
    /// # Errors
    /// When the lake cannot be listed. What fails later is an error of its object.
    pub async fn inspect(
        &self,
        only: Option<&StreamId>,
        is_wanted: impl Fn(&StreamId) -> bool,
    ) -> Result<(BoxStream<'_, Result<Inspected, lake::Error>>, Vec<String>), lake::Error> {
        let (mut listed, foreign) = self.list(&Dataset::ALL, only).await?;
        listed.retain(|partition, _| is_wanted(&partition.stream));
        let objects = stream::iter(listed).map(|(partition, listed)| self.inspected(partition, listed));
        Ok((objects.buffer_unordered(INSPECTED_AT_ONCE).boxed(), foreign))
    }

    async fn inspected(&self, partition: Partition, listed: lake::Listed) -> Result<Inspected, lake::Error> {
        let key = lake::key(&partition);
        let damaged = |text: &str| Err(DamagedError::Damaged(text.into()));
        let (bytes, rows) = if listed.size < SMALLEST_FILE {
            (listed.size, damaged("too short for a Parquet file, or no plain file"))
        } else if let Some((bytes, _)) = self.lake.read(&key).await? {
            let rows = match table::inspect(&partition, &bytes) {
                Err(DamagedError::Newer(found)) => return Err(newer(&key, found)),
                inspected => inspected.map(|sound| sound.batch.num_rows() as u64),
            };
            (bytes.len() as u64, rows)
        } else {
            (listed.size, damaged("it has gone since it was listed"))
        };
        Ok(Inspected { key, bytes, partitions: vec![(partition, rows)] })
    }

    /// Every object with rows of a dataset, restatements included, by key.
    ///
    /// # Errors
    /// When the lake cannot be listed.
    pub async fn objects(&self) -> Result<Vec<(String, lake::Listed)>, lake::Error> {
        let partitions =
            self.list(&Dataset::ALL, None).await?.0.into_iter().map(|(p, listed)| (lake::key(&p), listed));
        let restatements = self.lake.list_restatements(None).await?.0.into_iter();
        let restatements = restatements.map(|(unit, listed)| (lake::restatement_key(&unit), listed));
        Ok(partitions.chain(restatements).collect())
    }

    async fn list(
        &self,
        datasets: &[Dataset],
        only: Option<&StreamId>,
    ) -> Result<(BTreeMap<Partition, lake::Listed>, Vec<String>), lake::Error> {
        let (mut partitions, mut foreign) = (BTreeMap::new(), Vec::new());
        for &dataset in datasets {
            let listing = self.lake.list(dataset, only).await?;
            partitions.extend(listing.partitions);
            foreign.extend(listing.foreign);
        }
        Ok((partitions, foreign))
    }
}

/// What a file says of itself.
fn found(key: &str, bytes: &Bytes) -> Result<Found, lake::Error> {
    match table::read_footer(bytes) {
        Ok(footer) => Ok(Found::Footer(Box::new(footer))),
        Err(DamagedError::Newer(found)) => Err(newer(key, found)),
        Err(_) => Ok(Found::Damaged),
    }
}

/// A later version of trendlake has written an object, in this format.
pub(crate) fn newer(key: &str, found: u32) -> lake::Error {
    lake::Error::new(
        Kind::Settings,
        format!(
            "`{key}` was written by a later version of trendlake (format {found}, this one knows {FORMAT_VERSION})"
        ),
        Some("upgrade this trendlake"),
    )
}
