//! The layout `stream`: an object per partition.

use std::collections::BTreeMap;

use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryStreamExt};

use super::settle::{Change, DAMAGED, Prior, Put, WHOLE, unsound};
use super::{Found, INSPECTED_AT_ONCE, Inspected, LOOKS_AT_ONCE, NeedsFooter, SMALLEST_FILE, Survey, newer};
use crate::lake::{self, Expect, Lake, Listed};
use crate::model::{Dataset, Partition, StreamId};
use crate::table::{self, DamagedError};

type Objects = BTreeMap<Partition, Listed>;

/// Lists the objects, of all streams or of the only one.
async fn list(
    lake: &Lake,
    datasets: &[Dataset],
    streams: &[StreamId],
) -> Result<(Objects, Vec<String>), lake::Error> {
    let only = if let [stream] = streams { Some(stream) } else { None };
    let (mut objects, mut foreign) = (BTreeMap::new(), Vec::new());
    for &dataset in datasets {
        let mut listing = lake.list(dataset, only).await?;
        objects.append(&mut listing.objects);
        foreign.extend(listing.foreign);
    }
    Ok((objects, foreign))
}

pub(super) async fn survey(
    lake: &Lake,
    datasets: &[Dataset],
    streams: &[StreamId],
    needs_footer: &NeedsFooter<'_>,
) -> Result<Survey, lake::Error> {
    let (mut found, mut unknown, mut foreign) = (Vec::new(), Vec::new(), Vec::new());
    for dataset in datasets {
        // One listing at a time: that of a large lake takes as much memory as what it tells.
        let (listed, others) = list(lake, &[*dataset], streams).await?;
        foreign.extend(others);
        found.reserve(listed.len());
        for (partition, Listed { written_at, size }) in listed {
            if size < SMALLEST_FILE {
                found.push((partition, Found::Damaged));
            } else if needs_footer(&partition, written_at) {
                unknown.push(partition);
            } else {
                found.push((partition, Found::Listed { written_at }));
            }
        }
    }
    let looks = unknown.into_iter().map(|partition| async move {
        // Deleted since it was listed: missing.
        let key = lake::key(&partition);
        let Some((bytes, _)) = lake.read(&key).await? else { return Ok(None) };
        Ok::<_, lake::Error>(Some((partition, self::found(&key, &bytes)?)))
    });
    let looked: Vec<_> = stream::iter(looks).buffer_unordered(LOOKS_AT_ONCE).try_collect().await?;
    found.extend(looked.into_iter().flatten());
    Ok(Survey { found, foreign, ..Survey::default() })
}

/// Every object, by key.
pub(super) async fn objects(lake: &Lake) -> Result<Vec<(String, Listed)>, lake::Error> {
    let listed = list(lake, &Dataset::ALL, &[]).await?.0;
    Ok(listed.into_iter().map(|(partition, listed)| (lake::key(&partition), listed)).collect())
}

/// What a file says of itself.
pub(super) fn found(key: &str, bytes: &bytes::Bytes) -> Result<Found, lake::Error> {
    match table::read_footer(bytes) {
        Ok(footer) => Ok(Found::Footer(Box::new(footer))),
        Err(DamagedError::Newer(found)) => Err(newer(key, found)),
        Err(_) => Ok(Found::Damaged),
    }
}

pub(super) async fn read(lake: &Lake, partition: &Partition, repair: bool) -> Result<Prior, lake::Error> {
    let key = lake::key(partition);
    let Some((bytes, version)) = lake.read(&key).await? else { return Ok(Prior::Absent) };
    let footer = if repair {
        table::inspect(partition, &bytes).map(|sound| sound.footer)
    } else {
        table::read_footer(&bytes)
    };
    match footer {
        Ok(footer) => Ok(Prior::Sound { bytes, rows: WHOLE, footer: Box::new(footer), version }),
        Err(error) => unsound(&key, &error, repair, (bytes, version)),
    }
}

pub(super) async fn put(lake: &Lake, change: Change<'_>, prior: &Prior) -> Put {
    let Change { partition, batch, footer } = change;
    let key = lake::key(partition);
    let encoded = table::encode(partition.dataset, batch, footer);
    let bytes = encoded.len() as u64;
    let commit = async {
        let expect = match prior {
            Prior::Absent => Expect::Absent,
            Prior::Sound { version, .. } => Expect::Unchanged(version.clone()),
            Prior::Damaged { bytes, version } => {
                lake.put_internal(&format!("{DAMAGED}/{key}"), bytes.clone()).await?;
                Expect::Unchanged(version.clone())
            }
        };
        lake.commit(&key, encoded, expect).await
    };
    Put { outcome: commit.await, bytes }
}

pub(super) async fn inspect<'a>(
    lake: &'a Lake,
    streams: &[StreamId],
    whole: bool,
) -> Result<(BoxStream<'a, Result<Inspected, lake::Error>>, Vec<String>), lake::Error> {
    let (mut listed, foreign) = list(lake, &Dataset::ALL, if whole { &[] } else { streams }).await?;
    listed.retain(|partition, _| whole || streams.contains(&partition.stream));
    let objects = stream::iter(listed).map(|(partition, listed)| inspected(lake, partition, listed));
    Ok((objects.buffer_unordered(INSPECTED_AT_ONCE).boxed(), foreign))
}

async fn inspected(lake: &Lake, partition: Partition, listed: Listed) -> Result<Inspected, lake::Error> {
    let key = lake::key(&partition);
    let damaged = |text: &str| Err(DamagedError::Damaged(text.into()));
    let (bytes, rows) = if listed.size < SMALLEST_FILE {
        (listed.size, damaged("too short for a Parquet file, or no plain file"))
    } else if let Some((bytes, _)) = lake.read(&key).await? {
        let rows = match table::inspect(&partition, &bytes) {
            Err(DamagedError::Newer(found)) => return Err(newer(&key, found)),
            inspected => inspected.map(|sound| sound.batch.num_rows() as u64),
        };
        (bytes.len() as u64, rows)
    } else {
        (listed.size, damaged("it has gone since it was listed"))
    };
    Ok(Inspected { key, bytes, partitions: vec![(partition, rows)], flaw: None })
}
