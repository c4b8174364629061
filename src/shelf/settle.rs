//! One partition: what is there now, and whether and how it is replaced.

use std::ops::Range;

use arrow::array::RecordBatch;
use bytes::Bytes;
use tracing::warn;

use super::restated::{self, Ahead};
use super::{Shelf, newer};
use crate::lake::{self, Commit, Kind, Lake, Version};
use crate::model::{Dataset, Partition, Unit};
use crate::table::{self, DamagedError, Footer};

/// Where what a repair replaces is kept, under the keys of the objects.
pub(super) const DAMAGED: &str = "damaged";

/// How often a commit is tried again after someone else's.
pub(super) const CONFLICTS: u32 = 5;

/// The rows of an object that holds one partition.
pub(super) const WHOLE: Range<usize> = 0..usize::MAX;

/// What stands in a partition's place.
#[derive(Clone, Debug)]
pub enum Prior {
    /// Nothing.
    Absent,
    /// A sound partition.
    Sound {
        /// The whole object.
        bytes: Bytes,
        /// Which of its rows are the partition's.
        rows: Range<usize>,
        /// What the object says of the partition.
        footer: Box<Footer>,
        /// For a commit conditional on it.
        version: Version,
    },
    /// Something unsound that is to be replaced all the same.
    Damaged {
        /// The whole object.
        bytes: Bytes,
        /// For a commit conditional on it.
        version: Version,
    },
}

/// What became of a partition.
pub enum Settled {
    /// It already says the same.
    Unchanged,
    /// Someone else has put a newer answer there.
    Superseded,
    /// Someone else has put figures there that the answer must not replace unasked.
    Suspect,
    /// It was replaced.
    Written {
        /// The length of its object, or its share where others were replaced with it.
        bytes: u64,
        /// How many figures it has restated.
        restated: u64,
    },
}

/// A partition as it shall be.
#[derive(Clone, Copy)]
pub(super) struct Change<'a> {
    pub partition: &'a Partition,
    pub batch: &'a RecordBatch,
    pub footer: &'a Footer,
}

/// What the store said of a put, and how many bytes of it were for the partition at hand.
pub(super) struct Put {
    pub outcome: Result<Commit, lake::Error>,
    pub bytes: u64,
}

impl Prior {
    /// What the partition says of itself.
    #[must_use]
    pub fn footer(&self) -> Option<&Footer> {
        match self {
            Self::Absent | Self::Damaged { .. } => None,
            Self::Sound { footer, .. } => Some(footer),
        }
    }

    /// The rows, where there are any that can be compared.
    #[must_use]
    pub fn batch(&self, dataset: Dataset) -> Option<RecordBatch> {
        match self {
            Self::Absent | Self::Damaged { .. } => None,
            Self::Sound { bytes, rows, .. } => table::decode_rows(dataset, bytes, rows.clone()).ok(),
        }
    }

    /// The rows, where the whole of what is there is sound, so that they can be taken over.
    #[must_use]
    pub fn inspected(&self, partition: &Partition) -> Option<RecordBatch> {
        match self {
            Self::Absent | Self::Damaged { .. } => None,
            Self::Sound { bytes, rows, .. } if *rows == WHOLE => {
                let sound = table::inspect(partition, bytes);
                sound.or_else(|_| table::inspect_bare(partition, bytes)).ok().map(|sound| sound.batch)
            }
            Self::Sound { footer, .. } => {
                let batch = self.batch(partition.dataset)?;
                table::flaw(partition, footer, &batch).is_none().then_some(batch)
            }
        }
    }
}

/// What is to be made of an object that is unsound: something to replace, or an error that says what to do.
pub(super) fn unsound(
    key: &str,
    error: &DamagedError,
    repair: bool,
    (bytes, version): (Bytes, Version),
) -> Result<Prior, lake::Error> {
    let hint = match error {
        DamagedError::Newer(found) => return Err(newer(key, *found)),
        DamagedError::Damaged(_) if repair => return Ok(Prior::Damaged { bytes, version }),
        DamagedError::Damaged(_) => "`trendlake repair` fetches it again, and keeps what is there",
        DamagedError::Foreign => "move it out of the lake",
    };
    let text = format!("`{key}` is no sound partition and is left alone: {error}");
    Err(lake::Error::new(Kind::Foreign, text, Some(hint)))
}

/// Brings a partition to say what the change says, unless it does already or says something newer.
pub(super) async fn settle(
    shelf: &Shelf,
    change: Change<'_>,
    mut prior: Prior,
    judge: impl Fn(&Prior) -> Option<Settled>,
) -> Result<Settled, lake::Error> {
    let Change { partition, batch, footer } = change;
    let repair = matches!(prior, Prior::Damaged { .. });
    let (lake, unit) = (shelf.lake(), partition.unit());
    for _ in 0..CONFLICTS {
        if let Prior::Sound { footer: there, .. } = &prior {
            if there.same_content(footer) {
                return Ok(Settled::Unchanged);
            }
            restated::publish(lake, &unit, there, None).await?;
        }
        let ahead = restated::park(lake, partition, (&prior, batch, footer)).await?;
        let footer = &ahead.footer;
        let Put { outcome, bytes } = shelf.put(Change { partition, batch, footer }, &prior).await;
        if let Ok(Commit::Done) = outcome {
            return Ok(written(lake, &unit, bytes, &ahead).await);
        }
        if outcome.is_err() && !lake.loses_replies() {
            return outcome.map(|_| Settled::Unchanged);
        }
        // Whatever the store said, what is there now decides. A put whose reply was lost, or that
        // the store's client sent twice, has succeeded and looks like a conflict with ourselves.
        let there = match (shelf.read(partition, repair).await, &outcome) {
            (Ok(there), _) => there,
            (Err(_), Err(_)) => return outcome.map(|_| Settled::Unchanged),
            (Err(error), Ok(_)) => return Err(error),
        };
        match there.footer() {
            Some(there) if there == footer => return Ok(written(lake, &unit, bytes, &ahead).await),
            Some(there) if there.fetched_at > footer.fetched_at => {
                restated::drop_parked(lake, &unit, footer).await;
                return Ok(Settled::Superseded);
            }
            _ => {}
        }
        outcome?;
        restated::drop_parked(lake, &unit, footer).await;
        if let Some(settled) = judge(&there) {
            return Ok(settled);
        }
        prior = there;
    }
    let text = format!("`{}` is replaced by others time and again", shelf.key(partition));
    Err(lake::Error::new(Kind::Storage, text, None))
}

/// The content is in its place; what it restates follows. That can wait for the next run, the data is there.
async fn written(lake: &Lake, unit: &Unit, bytes: u64, ahead: &Ahead) -> Settled {
    if let Err(error) = restated::publish(lake, unit, &ahead.footer, ahead.rows.as_ref()).await {
        warn!("restatements of {unit} are still to be published: {error}");
    }
    Settled::Written { bytes, restated: ahead.rows.as_ref().map_or(0, |rows| rows.num_rows() as u64) }
}
