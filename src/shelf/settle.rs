//! One object: what is there now, and whether and how it is replaced.

use arrow::array::RecordBatch;
use bytes::Bytes;
use tracing::warn;

use super::newer;
use super::restated::{self, Ahead};
use crate::lake::{self, Commit, Expect, Kind, Lake, Version};
use crate::model::{Dataset, Partition, Unit};
use crate::table::{self, DamagedError, Footer};

/// Where what a repair replaces is kept, under the keys of the partitions.
const DAMAGED: &str = "damaged";

/// How often a commit is tried again after someone else's.
const CONFLICTS: u32 = 5;

/// What stands in a partition's place.
#[derive(Clone, Debug)]
pub enum Prior {
    /// Nothing.
    Absent,
    /// A sound partition.
    Sound {
        /// The whole file.
        bytes: Bytes,
        /// Its footer.
        footer: Box<Footer>,
        /// For a commit conditional on it.
        version: Version,
    },
    /// Something unsound that is to be replaced all the same.
    Damaged {
        /// The whole file.
        bytes: Bytes,
        /// For a commit conditional on it.
        version: Version,
    },
}

/// What became of an object.
pub enum Settled {
    /// It already says the same.
    Unchanged,
    /// Someone else has put a newer answer there.
    Superseded,
    /// Someone else has put figures there that the answer must not replace unasked.
    Suspect,
    /// It was replaced.
    Written {
        /// The length of its bytes.
        bytes: u64,
        /// How many figures it has restated.
        restated: u64,
    },
}

impl Prior {
    /// What the file says of itself.
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
            Self::Sound { bytes, .. } => table::decode(dataset, bytes).ok(),
        }
    }

    /// The rows, where the whole of what is there is sound, so that they can be taken over.
    #[must_use]
    pub fn inspected(&self, partition: &Partition) -> Option<RecordBatch> {
        match self {
            Self::Absent | Self::Damaged { .. } => None,
            Self::Sound { bytes, .. } => table::inspect(partition, bytes).ok().map(|sound| sound.batch),
        }
    }
}

/// Reads what is in a partition's place. What is unsound is an error, unless it is to be repaired.
///
/// # Errors
/// When the lake fails, or what is there is not a partition that this version may replace.
pub(super) async fn read(lake: &Lake, partition: &Partition, repair: bool) -> Result<Prior, lake::Error> {
    let key = lake::key(partition);
    let Some((bytes, version)) = lake.read(&key).await? else { return Ok(Prior::Absent) };
    let footer = if repair {
        table::inspect(partition, &bytes).map(|sound| sound.footer)
    } else {
        table::read_footer(&bytes)
    };
    let unsound = |error| format!("`{key}` is no sound partition and is left alone: {error}");
    let (kind, text, hint) = match footer {
        Ok(footer) => return Ok(Prior::Sound { bytes, footer: Box::new(footer), version }),
        Err(DamagedError::Damaged(_)) if repair => return Ok(Prior::Damaged { bytes, version }),
        Err(DamagedError::Newer(found)) => return Err(newer(&key, found)),
        Err(error @ DamagedError::Damaged(_)) => {
            let hint = "`trendlake repair` fetches it again, and keeps what is there";
            (Kind::Foreign, unsound(error), hint)
        }
        Err(error @ DamagedError::Foreign) => (Kind::Foreign, unsound(error), "move it out of the lake"),
    };
    Err(lake::Error::new(kind, text, Some(hint)))
}

/// Brings an object to say what `batch` says, unless it does already or says something newer.
///
/// `judge` is asked about whatever else than `prior` turns out to be there, and may end it with that.
///
/// # Errors
/// When the lake fails, so that neither can be said.
pub(super) async fn settle(
    lake: &Lake,
    partition: &Partition,
    batch: &RecordBatch,
    footer: &Footer,
    mut prior: Prior,
    judge: impl Fn(&Prior) -> Option<Settled>,
) -> Result<Settled, lake::Error> {
    let key = lake::key(partition);
    let repair = matches!(prior, Prior::Damaged { .. });
    let unit = partition.unit();
    for _ in 0..CONFLICTS {
        let expect = match &prior {
            Prior::Absent => Expect::Absent,
            Prior::Sound { footer: there, .. } if there.same_content(footer) => {
                return Ok(Settled::Unchanged);
            }
            Prior::Sound { footer: there, version, .. } => {
                restated::publish(lake, &unit, there, None).await?;
                Expect::Unchanged(version.clone())
            }
            Prior::Damaged { bytes, version } => {
                lake.put_internal(&format!("{DAMAGED}/{key}"), bytes.clone()).await?;
                Expect::Unchanged(version.clone())
            }
        };
        let ahead = restated::park(lake, partition, (&prior, batch, footer)).await?;
        let footer = &ahead.footer;
        let bytes = table::encode(partition.dataset, batch, footer);
        let size = bytes.len() as u64;
        let outcome = lake.commit(&key, bytes, expect).await;
        if let Ok(Commit::Done) = outcome {
            return Ok(written(lake, &unit, size, &ahead).await);
        }
        if outcome.is_err() && !lake.loses_replies() {
            return outcome.map(|_| Settled::Unchanged);
        }
        // Whatever the store said, what is there now decides. A put whose reply was lost, or that
        // the store's client sent twice, has succeeded and looks like a conflict with ourselves.
        let there = match (read(lake, partition, repair).await, &outcome) {
            (Ok(there), _) => there,
            (Err(_), Err(_)) => return outcome.map(|_| Settled::Unchanged),
            (Err(error), Ok(_)) => return Err(error),
        };
        match there.footer() {
            Some(there) if there == footer => return Ok(written(lake, &unit, size, &ahead).await),
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
    Err(lake::Error::new(Kind::Storage, format!("`{key}` is replaced by others time and again"), None))
}

/// The content is in its place; what it restates follows. That can wait for the next run, the data is there.
async fn written(lake: &Lake, unit: &Unit, bytes: u64, ahead: &Ahead) -> Settled {
    if let Err(error) = restated::publish(lake, unit, &ahead.footer, ahead.rows.as_ref()).await {
        warn!("restatements of {unit} are still to be published: {error}");
    }
    Settled::Written { bytes, restated: ahead.rows.as_ref().map_or(0, |rows| rows.num_rows() as u64) }
}
