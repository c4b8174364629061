//! Files that hold the partitions of several streams: their rows one stream after the other, and in the
//! footer one entry per stream, which says what the footer of a file of its own would say.

use std::collections::BTreeMap;
use std::ops::Range;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use bytes::Bytes;
use serde_json::{Map, Value};

use super::decode::{DamagedError, decode, guarded, metadata, statistics};
use super::footer::{Footer, PREFIX};
use super::inspect::{Sound, flaw};
use super::parquet::encode_packed;
use super::schema::{FORMAT_VERSION, schema};
use crate::model::{Dataset, Pack, StreamId};

/// The entry of a stream is called by its id.
const STREAM: &str = "trendlake.stream.";
/// How many rows a stream has in the file.
const ROWS: &str = "rows";
/// A row group is closed with the stream that brings it to so many rows: each costs about three kilobytes of
/// metadata, and is the least that an engine reads for one stream.
const ROW_GROUP: usize = 8192;

/// What a packed file says of one stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// What the stream's rows are.
    pub footer: Footer,
    /// Which rows of the file they are.
    pub rows: Range<usize>,
}

/// What a packed file says of its streams.
pub type Parts = BTreeMap<StreamId, Part>;

/// The partitions of several streams, by stream.
pub type Packed = BTreeMap<StreamId, Sound>;

/// The bytes of a packed file.
///
/// # Panics
/// When a stream's rows have other columns than the dataset's.
#[must_use]
pub fn pack(dataset: Dataset, packed: &Packed) -> Bytes {
    let version = (format!("{PREFIX}format_version"), FORMAT_VERSION.to_string());
    let parts = packed.iter().map(|(id, part)| (format!("{STREAM}{id}"), entry(part)));
    let mut groups: Vec<Vec<&RecordBatch>> = Vec::new();
    let mut open = 0;
    for Sound { batch, .. } in packed.values() {
        match groups.last_mut() {
            Some(group) if open < ROW_GROUP => group.push(batch),
            _ => {
                groups.push(vec![batch]);
                open = 0;
            }
        }
        open += batch.num_rows();
    }
    let whole = |group: Vec<&RecordBatch>| {
        concat_batches(&schema(dataset), group).expect("the columns are the dataset's")
    };
    let groups: Vec<_> = groups.into_iter().map(whole).collect();
    encode_packed(dataset, [version].into_iter().chain(parts), &groups)
}

fn entry(part: &Sound) -> String {
    let said = part.footer.said().map(|(name, value)| (name.to_owned(), Value::from(value)));
    let rows = (ROWS.to_owned(), Value::from(part.batch.num_rows()));
    Value::Object([rows].into_iter().chain(said).collect()).to_string()
}

/// Reads only what a packed file says of its streams. `bytes` is the whole file of `length` bytes, or its end;
/// nothing comes back where it would take more of it.
///
/// # Errors
/// When the bytes are no Parquet, or written by another program or a later version of this one.
pub fn read_parts(bytes: &Bytes, length: u64) -> Result<Option<Parts>, DamagedError> {
    guarded(|| {
        let Some(metadata) = metadata(bytes, length)? else { return Ok(None) };
        let file = metadata.file_metadata();
        let entries = || {
            let entries = file.key_value_metadata().into_iter().flatten();
            entries.filter_map(|kv| Some((kv.key.as_str(), kv.value.as_deref()?)))
        };
        let version = entries().find_map(|(key, value)| {
            (key.strip_prefix(PREFIX)? == "format_version").then(|| value.parse::<u32>().ok())?
        });
        match version {
            None => return Err(DamagedError::Foreign),
            Some(found) if found > FORMAT_VERSION => return Err(DamagedError::Newer(found)),
            Some(_) => {}
        }
        let mut parts = Parts::new();
        let said: BTreeMap<_, _> =
            entries().filter_map(|(key, value)| Some((key.strip_prefix(STREAM)?, value))).collect();
        let mut end = 0;
        for (id, value) in said {
            let (id, footer, rows) = part(id, value).ok_or(DamagedError::Foreign)?;
            parts.insert(id, Part { footer, rows: end..end + rows });
            end += rows;
        }
        match i64::try_from(end) {
            _ if parts.is_empty() => Err(DamagedError::Foreign),
            Ok(rows) if rows == file.num_rows() => Ok(Some(parts)),
            _ => Err(format!("the footer tells of {end} rows, the file of {}", file.num_rows()).into()),
        }
    })
}

fn part(id: &str, value: &str) -> Option<(StreamId, Footer, usize)> {
    let entry: Map<String, Value> = serde_json::from_str(value).ok()?;
    let rows = usize::try_from(entry.get(ROWS)?.as_u64()?).ok()?;
    let footer = Footer::from_said(|name| entry.get(name)?.as_str())?;
    Some((id.parse().ok()?, footer, rows))
}

/// The partitions in a packed file. `bytes` is the whole file.
///
/// # Errors
/// When it cannot be read.
pub fn unpack(dataset: Dataset, bytes: &Bytes) -> Result<Packed, DamagedError> {
    let parts = read_parts(bytes, bytes.len() as u64)?.expect("the whole file is there");
    let batch = decode(dataset, bytes)?;
    if parts.values().any(|part| part.rows.end > batch.num_rows()) {
        return Err("there are fewer rows than the footer says".to_owned().into());
    }
    // What cannot stand in a file of ours could not be carried over into the next one.
    RecordBatch::try_new(schema(dataset), batch.columns().to_vec()).map_err(|e| e.to_string())?;
    let sound = |Part { footer, rows }: Part| Sound { footer, batch: batch.slice(rows.start, rows.len()) };
    Ok(parts.into_iter().map(|(id, part)| (id, sound(part))).collect())
}

/// What is wrong with the partitions of a packed file, by stream.
pub type Flaws = BTreeMap<StreamId, Option<DamagedError>>;

/// Reads a whole packed file and holds every row against the footer, the place and the calendar, as
/// [`inspect`](super::inspect()) does with the file of one partition. Gives each stream's partition, with what is
/// wrong with it first.
///
/// # Errors
/// What is wrong with the file as a whole.
pub fn inspect_pack(pack: &Pack, bytes: &Bytes) -> Result<(Packed, Flaws), DamagedError> {
    let packed = unpack(pack.dataset, bytes)?;
    // Readers skip what the statistics rule out, so wrong ones hide rows.
    if statistics(bytes)? != statistics(&self::pack(pack.dataset, &packed))? {
        return Err(DamagedError::Damaged("the statistics are not those of the rows".into()));
    }
    let of_part = |(id, Sound { footer, batch }): (&StreamId, &Sound)| {
        let flaw = if pack.group.holds(id) {
            flaw(&pack.partition(id.clone()), footer, batch)
        } else {
            Some(format!("the stream `{id}` does not belong into this group"))
        };
        (id.clone(), flaw.map(DamagedError::Damaged))
    };
    let flaws = packed.iter().map(of_part).collect();
    Ok((packed, flaws))
}

#[cfg(test)]
#[path = "pack_tests.rs"]
mod tests;
