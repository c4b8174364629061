//! Reads every object of the lake back, and says what is wrong with it.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use futures_util::{StreamExt, TryStreamExt};
use serde::Serialize;

use super::inventory::{Error, SMALLEST_FILE};
use crate::config::Stream;
use crate::lake::{self, Lake, Listed};
use crate::model::{Dataset, Partition, Unit};
use crate::plan::{Scope, stream_windows};
use crate::table::{self, DamagedError};

/// How many objects are read at once.
const AT_ONCE: usize = 16;

/// What a verification found.
#[derive(Debug, Default, Serialize)]
pub struct Verdict {
    /// Objects read.
    pub objects: u64,
    /// Rows read.
    pub rows: u64,
    /// Bytes read.
    pub bytes: u64,
    /// What is wrong, by key.
    pub findings: Vec<Finding>,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// The key, relative to the lake.
    pub key: String,
    /// What kind of thing it is.
    pub flaw: Flaw,
    /// What exactly is wrong.
    pub message: String,
    /// The partition's unit, where it is a partition's key.
    #[serde(skip)]
    pub unit: Option<Unit>,
}

/// A kind of finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Flaw {
    /// A partition that cannot be read, or does not hold what it should.
    Damaged,
    /// A settled month of a configured stream that is not there.
    Missing,
    /// Something in the datasets' folders that trendlake has not written.
    Foreign,
}

impl Flaw {
    /// The word shown to the user.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Damaged => "damaged",
            Self::Missing => "missing",
            Self::Foreign => "foreign",
        }
    }
}

/// Reads every object of `streams`, or all objects of the lake if `whole`, and looks for settled months
/// of `streams` that are not there. A month that has not settled yet may be missing.
///
/// # Errors
/// When the lake cannot be read, or a later version of trendlake has written there.
pub async fn verify(
    lake: &Lake,
    streams: &[Stream],
    whole: bool,
    now: DateTime<Utc>,
) -> Result<Verdict, Error> {
    let mut listed: BTreeMap<Partition, Listed> = BTreeMap::new();
    let mut verdict = Verdict::default();
    for dataset in Dataset::ALL {
        let single = if let ([stream], false) = (streams, whole) { Some(&stream.id) } else { None };
        let listing = lake.list(dataset, single).await?;
        let foreign = |key| Finding {
            key,
            flaw: Flaw::Foreign,
            message: "no file of trendlake; move it out of the lake".into(),
            unit: None,
        };
        verdict.findings.extend(listing.foreign.into_iter().map(foreign));
        let is_wanted = |p: &Partition| whole || streams.iter().any(|s| s.id == p.stream);
        listed.extend(listing.partitions.into_iter().filter(|(p, _)| is_wanted(p)));
    }
    for stream in streams {
        let missing = due(stream, now).filter(|p| !listed.contains_key(p));
        let missing = missing.map(|p| Finding::of(&p, Flaw::Missing, "its month has settled".into()));
        verdict.findings.extend(missing);
    }
    let reads = listed.into_iter().map(|(partition, listed)| read(lake, partition, listed));
    let mut reads = futures_util::stream::iter(reads).buffer_unordered(AT_ONCE);
    while let Some(read) = reads.try_next().await? {
        verdict.objects += 1;
        verdict.bytes += read.bytes;
        match read.result {
            Ok(rows) => verdict.rows += rows,
            Err(finding) => verdict.findings.push(finding),
        }
    }
    verdict.findings.sort();
    Ok(verdict)
}

/// The partitions of a stream that must be there: those of settled months.
fn due(stream: &Stream, now: DateTime<Utc>) -> impl Iterator<Item = Partition> {
    let scope = Scope::default();
    let settled = stream_windows(stream, &scope, now)
        .filter(move |window| stream.settled_at(window.month.last_day()) <= now)
        .collect::<Vec<_>>();
    settled.into_iter().flat_map(move |window| {
        let unit = move |&grain| Unit { stream: stream.id.clone(), grain, month: window.month };
        stream.grains.iter().map(unit).flat_map(|unit| unit.partitions().collect::<Vec<_>>())
    })
}

struct Read {
    bytes: u64,
    result: Result<u64, Finding>,
}

async fn read(lake: &Lake, partition: Partition, listed: Listed) -> Result<Read, Error> {
    let key = lake::key(&partition);
    let damaged = |message: String| Read {
        bytes: listed.size,
        result: Err(Finding::of(&partition, Flaw::Damaged, message)),
    };
    if listed.size < SMALLEST_FILE {
        return Ok(damaged("too short for a Parquet file, or no plain file".into()));
    }
    let Some((bytes, _)) = lake.read(&key).await? else {
        return Ok(damaged("it has gone since it was listed".into()));
    };
    Ok(match table::inspect(&partition, &bytes) {
        Ok(sound) => Read { bytes: bytes.len() as u64, result: Ok(sound.batch.num_rows() as u64) },
        Err(DamagedError::Newer(found)) => return Err(Error::NewerFormat { key, found }),
        Err(DamagedError::Damaged(message)) => damaged(message),
        Err(DamagedError::Foreign) => Read {
            bytes: bytes.len() as u64,
            result: Err(Finding::of(
                &partition,
                Flaw::Foreign,
                "a Parquet file of another program; move it out of the lake".into(),
            )),
        },
    })
}

impl Finding {
    fn of(partition: &Partition, flaw: Flaw, message: String) -> Self {
        Self { key: lake::key(partition), flaw, message, unit: Some(partition.unit()) }
    }
}
