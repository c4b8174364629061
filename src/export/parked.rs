//! Answers that a person has to judge: parked beside the data, under the keys of their partitions.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::settle::{self, Settled};
use crate::lake::{self, Kind, Lake};
use crate::model::{Partition, Unit};
use crate::table;

const SUSPECT: &str = "suspect";

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

fn name(partition: &Partition) -> String {
    format!("{SUSPECT}/{}", lake::key(partition))
}

pub(super) async fn park(lake: &Lake, partition: &Partition, bytes: Bytes) -> Result<(), lake::Error> {
    lake.put_internal(&name(partition), bytes).await
}

pub(super) async fn list(lake: &Lake) -> Result<BTreeSet<Partition>, lake::Error> {
    Ok(lake.list_internal(SUSPECT).await?.iter().filter_map(|key| lake::parse_key(key).ok()).collect())
}

pub(super) async fn remove(lake: &Lake, partition: &Partition) -> Result<(), lake::Error> {
    lake.delete_internal(&name(partition)).await
}

/// Puts a parked answer in its place, with all partitions of its unit, since they came with one answer.
/// Gives what became of each, none where nothing is parked. The lake is locked by the caller.
///
/// # Errors
/// When the lake fails, or a parked answer is damaged.
pub async fn accept(lake: &Lake, unit: &Unit) -> Result<Vec<(Partition, Accepted)>, lake::Error> {
    let mut accepted = Vec::new();
    for partition in unit.partitions() {
        let Some(bytes) = lake.read_internal(&name(&partition)).await? else { continue };
        let parked = table::inspect(&partition, &bytes).map_err(|error| {
            lake::Error::new(
                Kind::Foreign,
                format!("the parked answer `{}/{}` is unsound: {error}", lake::INTERNAL, name(&partition)),
                Some("delete it; the next run asks again"),
            )
        })?;
        let prior = settle::read_prior(lake, &partition, false).await?;
        let is_newer = prior.footer().is_some_and(|there| there.fetched_at > parked.footer.fetched_at);
        let outcome = if is_newer {
            Accepted::Superseded
        } else {
            match settle::settle(lake, &partition, &parked.batch, &parked.footer, prior).await? {
                Settled::Written { .. } => Accepted::Written,
                Settled::Unchanged => Accepted::Unchanged,
                Settled::Superseded => Accepted::Superseded,
            }
        };
        remove(lake, &partition).await?;
        accepted.push((partition, outcome));
    }
    Ok(accepted)
}
