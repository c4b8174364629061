//! Raw answers looked after: which are unsound, and which nothing needs any more.

use std::collections::HashSet;

use futures_util::{StreamExt, TryStreamExt, stream};

use super::{Opened, RawAnswers, open};
use crate::lake::{self, Lake};
use crate::model::{Unit, UnitKind};

/// How many are read at once.
const AT_ONCE: usize = 16;

impl RawAnswers {
    /// Reads every object, and gives the keys of those that are unsound, with why.
    ///
    /// # Errors
    /// When the lake cannot be read.
    pub async fn inspect(&self, lake: &Lake) -> Result<Vec<(String, String)>, lake::Error> {
        let all = self.0.iter().flat_map(|(unit, names)| names.iter().map(move |(name, _)| (unit, name)));
        let reads = all.map(|(unit, name)| async move {
            Ok(match open(lake, name, unit).await? {
                Opened::Unsound { key, reason } => Some((key, reason)),
                Opened::Sound(_) | Opened::Gone => None,
            })
        });
        let reads = stream::iter(reads.collect::<Vec<_>>()).buffer_unordered(AT_ONCE);
        reads.try_filter_map(async |unsound| Ok(unsound)).try_collect().await
    }

    /// Removes what newer answers have taken the place of, unless it is a `dry_run`, and gives how many objects that
    /// are, and their bytes.
    ///
    /// # Errors
    /// When one cannot be read or removed.
    pub async fn vacuum(&self, lake: &Lake, dry_run: bool) -> Result<(u64, u64), lake::Error> {
        let (mut count, mut bytes) = (0, 0);
        let replaced = self.0.iter().map(|(unit, objects)| replaced(lake, unit, objects));
        let mut replaced = stream::iter(replaced.collect::<Vec<_>>()).buffer_unordered(AT_ONCE);
        while let Some(objects) = replaced.try_next().await? {
            for (name, size) in objects {
                if !dry_run {
                    lake.delete_internal(name).await?;
                }
                count += 1;
                bytes += size;
            }
        }
        Ok((count, bytes))
    }
}

/// Of a unit's objects, the oldest first, those of which nothing is the newest any more.
async fn replaced<'a>(
    lake: &Lake,
    unit: &Unit,
    objects: &'a [(String, u64)],
) -> Result<Vec<&'a (String, u64)>, lake::Error> {
    if unit.kind != UnitKind::Periods || objects.len() < 2 {
        return Ok(objects.iter().rev().skip(1).collect());
    }
    let mut replaced = Vec::new();
    // The newest one stays also without an answer: it says up to which day the unit was asked.
    let (mut answered, mut is_newest) = (HashSet::new(), true);
    for object in objects.iter().rev() {
        // What cannot be read is for a person, who learns of it by `verify`.
        let Opened::Sound(kept) = open(lake, &object.0, unit).await? else { continue };
        let before = answered.len();
        answered.extend(kept.into_places());
        if answered.len() == before && !is_newest {
            replaced.push(object);
        }
        is_newest = false;
    }
    Ok(replaced)
}
