//! Answers that did not become partitions: parked beside the data until a good one comes.
//!
//! A suspect one is a whole partition, which a person can accept. A rejected one is what the server sent,
//! for whoever looks into it.

use std::collections::BTreeSet;

use bytes::Bytes;

use crate::lake::{self, Kind, Lake};
use crate::model::{Partition, Unit};
use crate::shelf::{Settled, Shelf};
use crate::table;

const PARKED: &str = "parked";
const SUSPECT: &str = "suspect";
const REJECTED: &str = "rejected";
/// What [`shelf`](crate::shelf) parks and publishes by itself.
const RESTATED: &str = "restated";
/// What a rejected answer is, whatever the partition's file would have been.
const JSON: &str = ".json";
/// No more of a rejected answer is kept.
const MAX_REJECTED: usize = 1 << 20;

/// What is parked.
#[derive(Debug, Default)]
pub struct Parked {
    /// Partitions with a suspect answer that nobody has judged yet.
    pub suspect: BTreeSet<Partition>,
    /// Units whose last answer was rejected.
    pub rejected: BTreeSet<Unit>,
    /// Restatements of which it is not known yet whether their data has been committed.
    pub(super) restated: Vec<String>,
}

/// What became of an answer that a person has accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// It is in the lake now.
    Written,
    /// The lake said the same already.
    Unchanged,
    /// The lake holds a newer answer, which stays.
    Superseded,
}

/// Where a partition's suspect answer is parked, relative to the lake.
fn suspect(partition: &Partition) -> String {
    format!("{PARKED}/{SUSPECT}/{}", lake::key(partition))
}

/// Where a unit's rejected answer is kept, under the key of its first partition.
fn rejected(unit: &Unit) -> String {
    let first = unit.partitions().next().expect("every grain has a dataset");
    format!("{PARKED}/{REJECTED}/{}{JSON}", lake::key(&first))
}

/// The object that holds a unit's rejected answer, relative to the lake.
#[must_use]
pub fn rejected_key(unit: &Unit) -> String {
    format!("{}/{}", lake::INTERNAL, rejected(unit))
}

pub(super) async fn park(lake: &Lake, partition: &Partition, bytes: Bytes) -> Result<(), lake::Error> {
    lake.put_internal(&suspect(partition), bytes).await
}

pub(super) async fn keep_rejected(lake: &Lake, unit: &Unit, body: &Bytes) -> Result<(), lake::Error> {
    lake.put_internal(&rejected(unit), body.slice(..body.len().min(MAX_REJECTED))).await
}

pub(super) async fn list(lake: &Lake) -> Result<Parked, lake::Error> {
    let mut parked = Parked::default();
    for name in lake.list_internal(PARKED).await? {
        let Some((kind, key)) = name.split_once('/') else { continue };
        if kind == RESTATED {
            parked.restated.push(key.to_owned());
            continue;
        }
        let Ok(partition) = lake::parse_key(key.trim_end_matches(JSON)) else { continue };
        match kind {
            SUSPECT => _ = parked.suspect.insert(partition),
            REJECTED => _ = parked.rejected.insert(partition.unit()),
            _ => {}
        }
    }
    Ok(parked)
}

/// Removes what is parked of the units for which `is_settled`.
pub(super) async fn unpark(
    lake: &Lake,
    parked: &Parked,
    is_settled: impl Fn(&Unit) -> bool,
) -> Result<(), lake::Error> {
    for partition in parked.suspect.iter().filter(|p| is_settled(&p.unit())) {
        lake.delete_internal(&suspect(partition)).await?;
    }
    for unit in parked.rejected.iter().filter(|unit| is_settled(unit)) {
        lake.delete_internal(&rejected(unit)).await?;
    }
    Ok(())
}

/// Puts a parked answer in its place, with all partitions of its unit, since they came with one answer.
/// Gives what became of each, none where nothing is parked. The lake is locked by the caller.
///
/// # Errors
/// When the lake fails, or a parked answer is damaged.
pub async fn accept(shelf: &Shelf, unit: &Unit) -> Result<Vec<(Partition, Accepted)>, lake::Error> {
    let lake = shelf.lake();
    let mut accepted = Vec::new();
    for partition in unit.partitions() {
        let Some(bytes) = lake.read_internal(&suspect(&partition)).await? else { continue };
        let parked = table::inspect(&partition, &bytes).map_err(|error| {
            lake::Error::new(
                Kind::Foreign,
                format!("the parked answer `{}/{}` is unsound: {error}", lake::INTERNAL, suspect(&partition)),
                Some("delete it; the next run asks again"),
            )
        })?;
        shelf.forget([&partition.stream]).await?;
        let prior = shelf.read(&partition, false).await?;
        let is_newer = prior.footer().is_some_and(|there| there.fetched_at > parked.footer.fetched_at);
        let outcome = if is_newer {
            Accepted::Superseded
        } else {
            match shelf.replace(&partition, &parked.batch, &parked.footer, prior, |_| None).await? {
                Settled::Written { .. } => Accepted::Written,
                Settled::Unchanged => Accepted::Unchanged,
                Settled::Superseded => Accepted::Superseded,
                Settled::Suspect => unreachable!("a person has judged"),
            }
        };
        lake.delete_internal(&suspect(&partition)).await?;
        accepted.push((partition, outcome));
    }
    Ok(accepted)
}
