//! Restatements on their way: what a commit restates is published exactly if the commit has happened.
//!
//! The data and what it restates are two objects, and no store puts two in one step. So:
//!
//! 1. Before a content is put, the figures it restates are parked under the name of the change, and the
//!    content's footer names the change.
//! 2. The content is put, on condition that what it replaces is still there.
//! 3. The parked rows are added to the unit's restatements, once, and are parked no more.
//! 4. Whoever replaces a content whose footer names a change publishes that first, if it is still parked.
//!
//! So the data's own put decides: of a content that was in its place, the footer has been seen by its writer or
//! by whoever replaced it, and the last one is found by the next run ([`finish`]). A content that never came
//! into its place leaves something parked, which is dropped once what it would have replaced is gone.

use arrow::array::RecordBatch;
use futures_util::{StreamExt, TryStreamExt, stream};
use tracing::{debug, warn};

use super::settle::Prior;
use super::{INSPECTED_AT_ONCE, SMALLEST_FILE, Shelf, newer};
use crate::lake::{self, Commit, Expect, Kind, Lake, Listing};
use crate::model::{Partition, StreamId, Unit};
use crate::table::{self, DamagedError, Footer, Replaced, Restatements};

/// Where restatements wait for their data, relative to the lake's own folder.
pub const PARKED: &str = "parked/restated";

/// How often a file of restatements is read and put again after someone else's.
const CONFLICTS: u32 = 5;

/// Restatements that are parked, and the footer of the content that brings them.
pub(super) struct Ahead {
    /// The footer to put, which names the change.
    pub footer: Footer,
    /// The rows, where there are any.
    pub rows: Option<RecordBatch>,
}

/// A file of restatements that was read whole.
#[derive(Debug)]
pub struct InspectedRestatements {
    /// Its key, relative to the lake.
    pub key: String,
    /// Its length in bytes.
    pub bytes: u64,
    /// How many rows it has, or what is wrong.
    pub rows: Result<u64, DamagedError>,
}

/// A name under [`PARKED`].
fn parked(unit: &Unit, change: &str) -> String {
    format!("{PARKED}/{}/{change}.parquet", lake::restatement_key(unit).trim_end_matches(".parquet"))
}

/// The unit and the change of a name under [`PARKED`], relative to that.
fn parse_parked(name: &str) -> Option<(Unit, &str)> {
    let (unit, change) = name.strip_suffix(".parquet")?.rsplit_once('/')?;
    Some((lake::parse_restatement_key(&format!("{unit}.parquet")).ok()?, change))
}

/// Parks what a content restates, before it is put.
///
/// # Errors
/// When the lake fails.
pub(super) async fn park(
    lake: &Lake,
    partition: &Partition,
    (prior, batch, footer): (&Prior, &RecordBatch, &Footer),
) -> Result<Ahead, lake::Error> {
    let mut ahead = Ahead { footer: Footer { restatement: None, ..footer.clone() }, rows: None };
    let (Some(there), Some(old)) = (prior.footer(), prior.batch(partition.dataset)) else { return Ok(ahead) };
    let Some(rows) = table::restated(partition.dataset, &old, batch) else { return Ok(ahead) };
    let change = table::change_id(there, footer);
    let restatements = Restatements { rows, replaces: Some(Replaced::of(there)) };
    let bytes = table::encode_restatements(&restatements);
    lake.put_internal(&parked(&partition.unit(), &change), bytes).await?;
    ahead.footer.restatement = Some(change);
    ahead.rows = Some(restatements.rows);
    Ok(ahead)
}

/// Publishes what a content that is in its place restates, if it is still parked. `known` are the rows, where
/// the caller has them.
///
/// # Errors
/// When the lake fails, or a file of restatements is unsound. What is parked stays so.
pub(super) async fn publish(
    lake: &Lake,
    unit: &Unit,
    footer: &Footer,
    known: Option<&RecordBatch>,
) -> Result<(), lake::Error> {
    let Some(change) = &footer.restatement else { return Ok(()) };
    let name = parked(unit, change);
    let read;
    let rows = if let Some(rows) = known {
        rows
    } else {
        // What is not parked any more has been published.
        let Some(bytes) = lake.read_internal(&name).await? else { return Ok(()) };
        let key = format!("{}/{name}", lake::INTERNAL);
        read = table::decode_restatements(&bytes).map_err(|error| unsound(&key, &error))?.rows;
        &read
    };
    add(lake, unit, rows).await?;
    lake.delete_internal(&name).await
}

/// Drops what was parked for a content that can no longer come into its place. What stays all the same is
/// dropped by the next run.
pub(super) async fn drop_parked(lake: &Lake, unit: &Unit, footer: &Footer) {
    let Some(change) = &footer.restatement else { return };
    if let Err(error) = lake.delete_internal(&parked(unit, change)).await {
        debug!("parked restatements that are not needed were not removed: {error}");
    }
}

/// Adds rows to a unit's restatements, each once.
async fn add(lake: &Lake, unit: &Unit, rows: &RecordBatch) -> Result<(), lake::Error> {
    let key = lake::restatement_key(unit);
    let mut failed = None;
    for _ in 0..CONFLICTS {
        let (rows, expect) = match lake.read(&key).await? {
            None => (rows.clone(), Expect::Absent),
            Some((bytes, version)) => {
                let there = table::decode_restatements(&bytes).map_err(|error| unsound(&key, &error))?.rows;
                let both = table::united(&there, rows);
                if both.num_rows() == there.num_rows() {
                    return Ok(());
                }
                (both, Expect::Unchanged(version))
            }
        };
        let bytes = table::encode_restatements(&Restatements { rows, replaces: None });
        match lake.commit(&key, bytes, expect).await {
            Ok(Commit::Done) => return Ok(()),
            Ok(Commit::Conflict) => {}
            // The put may have landed: the next look finds out.
            Err(error) if lake.loses_replies() && failed.is_none() => failed = Some(error),
            Err(error) => return Err(error),
        }
    }
    Err(failed.unwrap_or_else(|| {
        lake::Error::new(Kind::Storage, format!("`{key}` is replaced by others time and again"), None)
    }))
}

fn unsound(key: &str, error: &DamagedError) -> lake::Error {
    if let DamagedError::Newer(found) = error {
        return newer(key, *found);
    }
    let text = format!("`{key}` holds no sound restatements and is left alone: {error}");
    lake::Error::new(
        Kind::Foreign,
        text,
        Some("move it out of the lake; what it held cannot be fetched again"),
    )
}

/// Comes to an end with what runs before have left parked: publishes it where its content is in place, and drops
/// it where the content never came there. `names` are relative to [`PARKED`]. A failure is told, and left to
/// the next run.
pub async fn finish(shelf: &Shelf, names: &[String]) {
    for name in names {
        let Some((unit, change)) = parse_parked(name) else { continue };
        if let Err(error) = finish_one(shelf, &unit, change).await {
            warn!("restatements of {unit} are still to be published: {error}");
        }
    }
}

async fn finish_one(shelf: &Shelf, unit: &Unit, change: &str) -> Result<(), lake::Error> {
    let lake = shelf.lake();
    let name = parked(unit, change);
    let Some(bytes) = lake.read_internal(&name).await? else { return Ok(()) };
    let restatements = table::decode_restatements(&bytes);
    let restatements = restatements.map_err(|e| unsound(&format!("{}/{name}", lake::INTERNAL), &e))?;
    // Those of a unit are in the first of its datasets.
    let partition = unit.partitions().next().expect("every grain has a dataset");
    let prior = shelf.read(&partition, false).await?;
    match prior.footer() {
        Some(there) if there.restatement.as_deref() == Some(change) => {
            publish(lake, unit, there, Some(&restatements.rows)).await
        }
        // Where there are other writers, the one that parked it may still be about to put its content, if only
        // after a long sleep.
        Some(there) if lake.is_shared() && restatements.replaces == Some(Replaced::of(there)) => Ok(()),
        None => Ok(()),
        // Had the content ever been there, whoever replaced it would have published this.
        Some(_) => lake.delete_internal(&name).await,
    }
}

impl Shelf {
    /// Reads the restatements of all wanted streams, and holds every row against its place: the files by key,
    /// with their lengths and how many rows they have, or what is wrong; and the keys that are none of ours.
    /// `only` says that one stream alone is wanted.
    ///
    /// # Errors
    /// When the lake fails, or a later version of trendlake has written there.
    pub async fn inspect_restatements(
        &self,
        only: Option<&StreamId>,
        is_wanted: impl Fn(&StreamId) -> bool,
    ) -> Result<(Vec<InspectedRestatements>, Vec<String>), lake::Error> {
        let Listing { objects: mut listed, foreign } = self.lake.list_restatements(only).await?;
        listed.retain(|unit, _| is_wanted(&unit.stream));
        let files = stream::iter(listed).map(|(unit, listed)| async move {
            let key = lake::restatement_key(&unit);
            let damaged = |text: &str| Err(DamagedError::Damaged(text.into()));
            let (bytes, rows) = match self.lake.read(&key).await? {
                _ if listed.size < SMALLEST_FILE => {
                    (listed.size, damaged("too short for a Parquet file, or no plain file"))
                }
                None => (listed.size, damaged("it has gone since it was listed")),
                Some((bytes, _)) => (bytes.len() as u64, table::inspect_restatements(&unit, &bytes)),
            };
            match rows {
                Err(DamagedError::Newer(found)) => Err(newer(&key, found)),
                rows => Ok(InspectedRestatements { key, bytes, rows }),
            }
        });
        Ok((files.buffer_unordered(INSPECTED_AT_ONCE).try_collect().await?, foreign))
    }

    /// The restatements of a unit, as the lake holds them. Nothing where there are none.
    ///
    /// # Errors
    /// When the lake fails, or they cannot be understood.
    pub async fn restatements(&self, unit: &Unit) -> Result<Option<RecordBatch>, lake::Error> {
        let key = lake::restatement_key(unit);
        let Some((bytes, _)) = self.lake.read(&key).await? else { return Ok(None) };
        let read = table::decode_restatements(&bytes).map_err(|error| unsound(&key, &error))?;
        Ok(Some(read.rows))
    }
}
