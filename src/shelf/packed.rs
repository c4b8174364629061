//! The layout `packed`: an object per dataset, month and group of streams.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::RecordBatch;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryStreamExt};

use super::desk::{Desk, Held};
use super::settle::{Prior, unsound};
use super::{Found, INSPECTED_AT_ONCE, Inspected, LOOKS_AT_ONCE, SMALLEST_FILE, Survey, newer};
use crate::lake::{self, Lake, Listed};
use crate::model::{Dataset, Group, Groups, Pack, Partition, StreamId};
use crate::table::{self, DamagedError, Parts};

/// How much of an object's end is read for what it says of its streams: that of a hundred streams.
const TAIL: u64 = 128 * 1024;

type Objects = BTreeMap<Pack, Listed>;

/// Lists the objects. Those of another number of groups are none of ours: no object would say the same.
async fn list(
    lake: &Lake,
    datasets: &[Dataset],
    groups: Groups,
) -> Result<(Objects, Vec<String>), lake::Error> {
    let (mut objects, mut foreign) = (BTreeMap::new(), Vec::new());
    for &dataset in datasets {
        let listing = lake.list_packs(dataset).await?;
        let (ours, others): (Objects, Objects) =
            listing.objects.into_iter().partition(|(pack, _)| pack.group.groups() == groups);
        objects.extend(ours);
        foreign.extend(others.keys().map(lake::pack_key));
        foreign.extend(listing.foreign);
    }
    Ok((objects, foreign))
}

/// The groups of these streams.
fn groups_of(streams: &[StreamId], groups: Groups) -> BTreeSet<Group> {
    streams.iter().map(|stream| groups.of(stream)).collect()
}

/// Of these streams, or of all. Which streams an object holds is told by its footer alone, so that of each object is read.
pub(super) async fn survey(
    lake: &Lake,
    groups: Groups,
    datasets: &[Dataset],
    streams: Option<&[StreamId]>,
) -> Result<Survey, lake::Error> {
    let (mut listed, foreign) = list(lake, datasets, groups).await?;
    if let Some(streams) = streams {
        let wanted = groups_of(streams, groups);
        listed.retain(|pack, _| wanted.contains(&pack.group));
    }
    let shared = listed.keys().map(lake::pack_key).collect();
    let looks = listed.into_iter().map(|(pack, listed)| async move {
        let damaged =
            || all(pack, streams.unwrap_or_default()).map(|partition| (partition, Found::Damaged)).collect();
        let key = lake::pack_key(&pack);
        if listed.size < SMALLEST_FILE {
            return Ok(damaged());
        }
        // Deleted since it was listed: missing.
        let Some(parts) = parts(lake, &key, listed.size).await? else { return Ok(Vec::new()) };
        match parts {
            Ok(parts) => Ok(of_parts(pack, parts)),
            Err(DamagedError::Newer(found)) => Err(newer(&key, found)),
            Err(_) => Ok(damaged()),
        }
    });
    let found: Vec<Vec<_>> = stream::iter(looks).buffer_unordered(LOOKS_AT_ONCE).try_collect().await?;
    Ok(Survey { found: found.into_iter().flatten().collect(), foreign, shared })
}

/// Every object, by key.
pub(super) async fn objects(lake: &Lake, groups: Groups) -> Result<Vec<(String, Listed)>, lake::Error> {
    let listed = list(lake, &Dataset::ALL, groups).await?.0;
    Ok(listed.into_iter().map(|(pack, listed)| (lake::pack_key(&pack), listed)).collect())
}

/// The partitions of these streams that belong into an object.
fn all(pack: Pack, streams: &[StreamId]) -> impl Iterator<Item = Partition> {
    let of_group = streams.iter().filter(move |stream| pack.group.holds(stream));
    of_group.map(move |stream| pack.partition(stream.clone()))
}

fn of_parts(pack: Pack, parts: Parts) -> Vec<(Partition, Found)> {
    let found =
        |(stream, part): (_, table::Part)| (pack.partition(stream), Found::Footer(part.footer.into()));
    parts.into_iter().map(found).collect()
}

/// What an object says of one stream.
pub(super) fn found(key: &str, bytes: &Bytes, stream: &StreamId) -> Result<Option<Found>, lake::Error> {
    match whole(bytes) {
        Ok(mut parts) => Ok(parts.remove(stream).map(|part| Found::Footer(part.footer.into()))),
        Err(DamagedError::Newer(found)) => Err(newer(key, found)),
        Err(_) => Ok(Some(Found::Damaged)),
    }
}

/// The rows of a partition in its object.
pub(super) fn rows(partition: &Partition, bytes: &Bytes) -> Option<Result<RecordBatch, DamagedError>> {
    match whole(bytes) {
        Ok(mut parts) => {
            let part = parts.remove(&partition.stream)?;
            Some(table::decode_rows(partition.dataset, bytes, part.rows))
        }
        Err(error) => Some(Err(error)),
    }
}

/// What an object says of its streams, by its end where that does.
async fn parts(
    lake: &Lake,
    key: &str,
    size: u64,
) -> Result<Option<Result<Parts, DamagedError>>, lake::Error> {
    if size > TAIL {
        let Some((end, length)) = lake.read_end(key, size, TAIL).await? else { return Ok(None) };
        match table::read_parts(&end, length) {
            Ok(None) => {}
            Ok(Some(parts)) => return Ok(Some(Ok(parts))),
            Err(error) => return Ok(Some(Err(error))),
        }
    }
    let Some((bytes, _)) = lake.read(key).await? else { return Ok(None) };
    Ok(Some(whole(&bytes)))
}

fn whole(bytes: &Bytes) -> Result<Parts, DamagedError> {
    let parts = table::read_parts(bytes, bytes.len() as u64)?;
    parts.ok_or_else(|| DamagedError::Damaged("it ends before its footer does".into()))
}

/// Reads what is in a partition's place, as the desk knows it.
pub(super) async fn read(desk: &Desk, partition: &Partition, repair: bool) -> Result<Prior, lake::Error> {
    let pack = desk.pack(partition);
    let held = desk.held(pack).await?;
    let Held::There { bytes, version } = &*held else { return Ok(Prior::Absent) };
    let there = || (bytes.clone(), version.clone());
    let flaw = if repair {
        match table::inspect_pack(&pack, bytes) {
            Ok((_, mut flaws)) => flaws.remove(&partition.stream).flatten(),
            Err(error) => Some(error),
        }
    } else {
        None
    };
    let key = lake::pack_key(&pack);
    match flaw.map_or_else(|| whole(bytes), Err) {
        Ok(mut parts) => Ok(match parts.remove(&partition.stream) {
            None => Prior::Absent,
            Some(part) => {
                let (bytes, version) = there();
                Prior::Sound { bytes, rows: part.rows, footer: Box::new(part.footer), version }
            }
        }),
        Err(error) => unsound(&key, &error, repair, there()),
    }
}

pub(super) async fn inspect<'a>(
    lake: &'a Lake,
    groups: Groups,
    streams: &'a [StreamId],
    is_whole: bool,
) -> Result<(BoxStream<'a, Result<Inspected, lake::Error>>, Vec<String>), lake::Error> {
    let (mut listed, foreign) = list(lake, &Dataset::ALL, groups).await?;
    let wanted = groups_of(streams, groups);
    listed.retain(|pack, _| is_whole || wanted.contains(&pack.group));
    let objects = stream::iter(listed).map(move |(pack, listed)| async move {
        let mut inspected = inspected(lake, pack, listed, streams).await?;
        inspected.partitions.retain(|(partition, _)| is_whole || streams.contains(&partition.stream));
        Ok(inspected)
    });
    Ok((objects.buffer_unordered(INSPECTED_AT_ONCE).boxed(), foreign))
}

async fn inspected(
    lake: &Lake,
    pack: Pack,
    listed: Listed,
    streams: &[StreamId],
) -> Result<Inspected, lake::Error> {
    let key = lake::pack_key(&pack);
    let damaged = |text: &str| Err(DamagedError::Damaged(text.into()));
    let (bytes, inspected) = if listed.size < SMALLEST_FILE {
        (listed.size, damaged("too short for a Parquet file, or no plain file"))
    } else if let Some((bytes, _)) = lake.read(&key).await? {
        (bytes.len() as u64, table::inspect_pack(&pack, &bytes))
    } else {
        (listed.size, damaged("it has gone since it was listed"))
    };
    let (partitions, flaw) = match inspected {
        Ok((packed, mut flaws)) => {
            let of_part = |(stream, sound): (StreamId, table::Sound)| {
                let rows = sound.batch.num_rows() as u64;
                let flaw = flaws.remove(&stream).flatten();
                (pack.partition(stream), flaw.map_or(Ok(rows), Err))
            };
            (packed.into_iter().map(of_part).collect(), None)
        }
        Err(DamagedError::Newer(found)) => return Err(newer(&key, found)),
        Err(error) => {
            let partitions: Vec<_> = all(pack, streams).map(|p| (p, Err(error.clone()))).collect();
            let flaw = partitions.is_empty().then_some(error);
            (partitions, flaw)
        }
    };
    Ok(Inspected { key, bytes, partitions, flaw })
}
