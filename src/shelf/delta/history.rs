//! Which files of a table's log are read from the lake, so that it is known as it is now.
//!
//! A listing is asked only where nothing else tells: the versions are numbered, so what is there after the last known
//! one is found by name.

use bytes::Bytes;
use serde::Deserialize;

use super::log::{LAST_CHECKPOINT, checkpoint_name, commit_name};
use crate::lake::{self, Lake, TABLE_LOG, table_key};
use crate::model::Dataset;

/// A file of the log, by its name.
pub(super) type Named = (String, Bytes);

/// The key of a file of the log, relative to the lake.
pub(super) fn log_key(dataset: Dataset, name: &str) -> String {
    table_key(dataset, &format!("{TABLE_LOG}/{name}"))
}

/// What points to the newest checkpoint.
#[derive(Deserialize)]
struct Hint {
    version: u64,
}

/// The files of the log that come after a version, or all that are needed to begin with.
pub(super) async fn read(
    lake: &Lake,
    dataset: Dataset,
    after: Option<u64>,
) -> Result<Vec<Named>, lake::Error> {
    let (mut files, mut next) = match after {
        Some(version) => (Vec::new(), version + 1),
        None => match checkpoint(lake, dataset).await? {
            Some((version, file)) => (vec![file], version + 1),
            None => (Vec::new(), 0),
        },
    };
    while let Some(commit) = file(lake, dataset, commit_name(next)).await? {
        files.push(commit);
        next += 1;
    }
    if after.is_none() && files.is_empty() {
        return newest_listed(lake, dataset).await;
    }
    Ok(files)
}

async fn file(lake: &Lake, dataset: Dataset, name: String) -> Result<Option<Named>, lake::Error> {
    Ok(lake.read(&log_key(dataset, &name)).await?.map(|(bytes, _)| (name, bytes)))
}

/// The newest checkpoint in one piece, as far as it is pointed to. One that is gone, or of another form, is looked for
/// in the listing, if the versions do not tell.
async fn checkpoint(lake: &Lake, dataset: Dataset) -> Result<Option<(u64, Named)>, lake::Error> {
    let Some((_, hint)) = file(lake, dataset, LAST_CHECKPOINT.into()).await? else { return Ok(None) };
    let Ok(Hint { version }) = serde_json::from_slice(&hint) else { return Ok(None) };
    Ok(file(lake, dataset, checkpoint_name(version)).await?.map(|file| (version, file)))
}

/// What is needed to begin with where neither a checkpoint nor the first version is in its place: others may have
/// cleaned up the log, or written a checkpoint in several pieces.
async fn newest_listed(lake: &Lake, dataset: Dataset) -> Result<Vec<Named>, lake::Error> {
    let folder = log_key(dataset, "");
    let listed = lake.list_table(dataset, TABLE_LOG).await?;
    let names: Vec<_> = listed.iter().filter_map(|(key, _)| key.strip_prefix(&folder)).collect();
    let version_of = |name: &&str| name.split('.').next()?.parse::<u64>().ok();
    let is_checkpoint = |name: &&str| name.contains(".checkpoint.");
    let newest = names.iter().copied().filter(is_checkpoint).filter_map(|name| version_of(&name)).max();
    let is_needed = |name: &&str| {
        let version = version_of(name);
        let is_commit = name.rsplit('.').next() == Some("json") && !is_checkpoint(name);
        version.is_some()
            && (if is_checkpoint(name) { version == newest } else { is_commit && version > newest })
    };
    let mut files = Vec::new();
    for name in names.iter().copied().filter(is_needed) {
        files.extend(file(lake, dataset, name.to_owned()).await?);
    }
    Ok(files)
}
