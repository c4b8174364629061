//! Moves a lake from one layout to the other: copies, switches, removes.
//!
//! Each layout has a root of its own, so whoever reads one sees none of the other's objects: while they are copied, the
//! old root is whole; from the switch on, the new one is. What is copied stays what it was, with the time at which
//! it was fetched. Wherever a migration was cut short, the next one goes on: a partition that is there already is
//! not copied again, and nothing is removed that has not been found in the new layout.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join_all;
use serde::Serialize;

use super::settle::Change;
use super::{Note, Shelf, Survey, configured, disagreement, guess};
use crate::clock::Clock;
use crate::config::Settings;
use crate::lake::{self, Commit, Kind, Lake};
use crate::model::{Dataset, Layout, Partition};

/// What a migration did.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Migrated {
    /// The layout in which the lake was.
    pub from: &'static str,
    /// The layout in which it is.
    pub to: &'static str,
    /// Into how many groups its streams are divided now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups: Option<u32>,
    /// Partitions that were copied.
    pub copied: u64,
    /// Objects of the old layout that were removed.
    pub removed: u64,
}

/// Moves the lake into the layout that is configured. Nothing is done where it is in it already, and nothing is left of
/// another. The lake is locked by the caller, who has made sure that nobody else writes to it.
///
/// # Errors
/// When the lake fails, or holds what is no sound partition. Whatever was done until then is of use to the next try.
pub async fn migrate(
    lake: &Lake,
    settings: &Settings,
    clock: &Clock,
) -> Result<Option<Migrated>, lake::Error> {
    let note = Note::read(lake).await?;
    let there = match note.layout() {
        Some(layout) => layout,
        None => guess(lake).await?.unwrap_or_default(),
    };
    let wanted = configured(settings, Some(there));
    if there != wanted {
        match (there, wanted) {
            (Layout::Packed(_), Layout::Packed(_)) | (Layout::Delta, _) | (_, Layout::Delta) => {
                return Err(disagreement(there, wanted));
            }
            _ => {}
        }
    }
    let from = match note.leaving() {
        _ if there != wanted => there,
        Some(left) => left,
        None => return Ok(None),
    };
    let [old, new] = [from, wanted].map(|layout| Shelf::in_layout(lake.clone(), note.clone(), layout, clock));
    let mut copied = 0;
    if there != wanted {
        if note.layout().is_none() {
            // The copies of a try that is cut short must not be taken for the lake.
            note.clone().moved(there, None).write(lake).await?;
        }
        clear(&new).await?;
        copied += copy(&old, &new).await?.copied;
        // From here on the new layout counts; footers will be looked at anew, since the times at which objects were
        // written say nothing any more.
        note.clone().forgetful().moved(wanted, Some(from)).write(lake).await?;
    }
    // Once more: what a run that was under way has still written, and to be sure.
    let again = copy(&old, &new).await?;
    for key in &again.objects {
        lake.remove(key).await?;
    }
    Note::read(lake).await?.moved(wanted, None).write(lake).await?;
    Ok(Some(Migrated {
        from: from.as_str(),
        to: wanted.as_str(),
        groups: if let Layout::Packed(groups) = wanted { Some(groups.count()) } else { None },
        copied: copied + again.copied,
        removed: again.objects.len() as u64,
    }))
}

/// Removes copies that an earlier try has made for another number of groups: beside others they would stand twice.
async fn clear(new: &Shelf) -> Result<(), lake::Error> {
    let Layout::Packed(groups) = new.layout() else { return Ok(()) };
    for dataset in Dataset::ALL {
        let packs = new.lake().list_packs(dataset).await?.objects;
        for pack in packs.keys().filter(|pack| pack.group.groups() != groups) {
            new.lake().remove(&lake::pack_key(pack)).await?;
        }
    }
    Ok(())
}

#[derive(Default)]
struct Copied {
    copied: u64,
    /// The objects of the old layout whose partitions are all in the new one.
    objects: BTreeSet<String>,
}

/// Copies every partition that is not in the new layout or is older there.
async fn copy(old: &Shelf, new: &Shelf) -> Result<Copied, lake::Error> {
    let Survey { found, .. } = old.survey_all().await?;
    let objects = found.iter().map(|(partition, _)| old.key(partition)).collect();
    // By the objects that hold several, so that each of them is read or put once.
    let packed = if new.layout() == Layout::Stream { old } else { new };
    let mut groups: BTreeMap<String, Vec<Partition>> = BTreeMap::new();
    for (partition, _) in found {
        groups.entry(packed.key(&partition)).or_default().push(partition);
    }
    let mut copied = Copied { objects, ..Copied::default() };
    for partitions in groups.into_values() {
        packed.expect(partitions.iter().cloned());
        // All to their ends, even where one fails: a put that nobody waits for would be in the way of the next try.
        let copies = join_all(partitions.iter().map(async |partition| {
            let copy = copy_one(old, new, partition).await;
            packed.no_more(partition);
            copy
        }));
        for copy in copies.await {
            copied.copied += u64::from(copy?);
        }
    }
    Ok(copied)
}

/// Copies a partition unless the new layout has it; whether it did.
async fn copy_one(old: &Shelf, new: &Shelf, partition: &Partition) -> Result<bool, lake::Error> {
    let source = old.read(partition, false).await?;
    let there = new.read(partition, false).await?;
    let Some(footer) = source.footer() else { return Ok(false) };
    if there.footer().is_some_and(|there| there.fetched_at >= footer.fetched_at) {
        return Ok(false);
    }
    let Some(batch) = source.batch(partition.dataset) else {
        let text = format!("the rows of `{}` cannot be read", old.key(partition));
        return Err(lake::Error::new(Kind::Foreign, text, Some("`trendlake repair` fetches them again")));
    };
    // Not as a new answer, which would be held against what it replaces: it stays what it was.
    match new.put(Change { partition, batch: &batch, footer }, &there).await.outcome? {
        Commit::Done => Ok(true),
        Commit::Conflict => {
            let text = format!("`{}` has just been written by someone else", new.key(partition));
            let hint = "stop whatever else writes to the lake, and run `trendlake migrate` again";
            Err(lake::Error::new(Kind::Storage, text, Some(hint)))
        }
    }
}
