//! Removes data files that count no more, and have not for long.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;

use super::Tables;
use super::history::log_key;
use crate::lake::{self, Lake, Listed, TABLE_LOG, parse_table_key, table_key};
use crate::model::Dataset;
use crate::shelf::Vacuumed;

/// A line of a version's file, of which only what removes is looked at.
#[derive(Deserialize)]
struct Action {
    remove: Option<Remove>,
}

#[derive(Deserialize)]
struct Remove {
    path: String,
}

impl Tables {
    /// Removes the data files that have not counted for `retention`, unless it is a `dry_run`: those are not among the
    /// files that count, no version within that time has taken them out, and they were written before it. Files
    /// that are not named as ours are left alone.
    ///
    /// # Errors
    /// When the lake fails.
    pub(in crate::shelf) async fn vacuum(
        &self,
        retention: TimeDelta,
        dry_run: bool,
    ) -> Result<Vacuumed, lake::Error> {
        let before = self.gather.clock().now() - retention;
        let mut vacuumed = Vacuumed::default();
        for (&dataset, table) in &self.by_dataset {
            // The files first: what is written after that is not among them.
            let files = self.lake.list_table(dataset, "").await?;
            let live = table.live_now().await?;
            let lately = removed_since(&self.lake, dataset, &files, before).await?;
            let counting = live.partitions.values().flatten().chain(&live.foreign);
            let counting: BTreeSet<&str> = counting.map(|file| file.path.as_str()).collect();
            let folder = table_key(dataset, "");
            for (key, Listed { written_at, size }) in &files {
                let Some(path) = key.strip_prefix(&folder) else { continue };
                if parse_table_key(key).is_err() || counting.contains(path) {
                    continue;
                }
                if *written_at >= before || lately.contains(path) {
                    vacuumed.kept += 1;
                    continue;
                }
                if !dry_run {
                    self.lake.remove(key).await?;
                }
                vacuumed.files.push(key.clone());
                vacuumed.bytes += size;
            }
        }
        vacuumed.files.sort();
        Ok(vacuumed)
    }
}

/// The paths that versions since then have taken out.
async fn removed_since(
    lake: &Lake,
    dataset: Dataset,
    files: &[(String, Listed)],
    since: DateTime<Utc>,
) -> Result<BTreeSet<String>, lake::Error> {
    let folder = table_key(dataset, &format!("{TABLE_LOG}/"));
    let is_version =
        |name: &str| name.strip_suffix(".json").is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit()));
    let mut removed = BTreeSet::new();
    for (key, listed) in files {
        let Some(name) = key.strip_prefix(&folder).filter(|name| is_version(name)) else { continue };
        if listed.written_at < since {
            continue;
        }
        let Some((bytes, _)) = lake.read(&log_key(dataset, name)).await? else { continue };
        let lines = serde_json::Deserializer::from_slice(&bytes).into_iter::<Action>();
        removed.extend(lines.filter_map(|action| Some(action.ok()?.remove?.path)));
    }
    Ok(removed)
}
