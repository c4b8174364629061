//! Reads every object of the lake back, and says what is wrong with it.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use futures_util::TryStreamExt;
use serde::Serialize;

use super::raw::raw_answers;
use crate::config::Stream;
use crate::lake;
use crate::model::{Partition, StreamId, Unit};
use crate::plan::{self, Inventory, Scope};
use crate::shelf::{Inspected, InspectedRestatements, Shelf};
use crate::table::DamagedError;

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
    /// The id of the stream whose partition it is, where it is one's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
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
    shelf: &Shelf,
    streams: &[Stream],
    whole: bool,
    now: DateTime<Utc>,
) -> Result<Verdict, lake::Error> {
    let ids: Vec<StreamId> = streams.iter().map(|stream| stream.id.clone()).collect();
    let single = if let ([only], false) = (&ids[..], whole) { Some(only) } else { None };
    let is_wanted = |id: &StreamId| whole || ids.contains(id);
    let (mut objects, foreign_keys) = shelf.inspect(&ids, whole).await?;
    let foreign = |key| {
        let message = "no file of trendlake; move it out of the lake".into();
        Finding { key, flaw: Flaw::Foreign, stream: None, message, unit: None }
    };
    let mut verdict =
        Verdict { findings: foreign_keys.into_iter().map(foreign).collect(), ..Verdict::default() };
    let mut there = BTreeSet::new();
    while let Some(Inspected { key, bytes, partitions, flaw }) = objects.try_next().await? {
        verdict.objects += 1;
        verdict.bytes += bytes;
        if let Some(error) = flaw {
            let (flaw, message) = unsound(&error);
            verdict.findings.push(Finding { key: key.clone(), flaw, stream: None, message, unit: None });
        }
        for (partition, rows) in partitions {
            match rows {
                Ok(rows) => verdict.rows += rows,
                Err(error) => {
                    let (flaw, message) = unsound(&error);
                    verdict.findings.push(Finding::of(&key, &partition, flaw, &message));
                }
            }
            there.insert(partition);
        }
    }
    let (restatements, foreign_keys) = shelf.inspect_restatements(single, is_wanted).await?;
    verdict.findings.extend(foreign_keys.into_iter().map(foreign));
    for InspectedRestatements { key, bytes, rows } in restatements {
        verdict.objects += 1;
        verdict.bytes += bytes;
        match rows {
            Ok(rows) => verdict.rows += rows,
            Err(error) => {
                let flaw = if error == DamagedError::Foreign { Flaw::Foreign } else { Flaw::Damaged };
                let message =
                    format!("{error}; what it held cannot be fetched again: move it out of the lake");
                verdict.findings.push(Finding { key, flaw, stream: None, message, unit: None });
            }
        }
    }
    if streams.iter().any(|stream| stream.keep_raw) {
        let answers = raw_answers(shelf.lake()).await?.of(is_wanted);
        let (objects, bytes) = answers.size();
        verdict.objects += objects;
        verdict.bytes += bytes;
        for (key, reason) in answers.inspect(shelf.lake()).await? {
            let message = format!("{reason}; `replay` passes over it, and it can be deleted");
            verdict.findings.push(Finding { key, flaw: Flaw::Damaged, stream: None, message, unit: None });
        }
    }
    for stream in streams {
        let missing = due(stream, now).filter(|p| !there.contains(p));
        let missing =
            missing.map(|p| Finding::of(&shelf.key(&p), &p, Flaw::Missing, "its month has settled"));
        verdict.findings.extend(missing);
    }
    verdict.findings.sort();
    Ok(verdict)
}

/// The partitions of a stream that must be there: those of settled months.
fn due(stream: &Stream, now: DateTime<Utc>) -> impl Iterator<Item = Partition> {
    let units = plan::survey(stream, &Inventory::new(), &Scope::default(), now).into_iter();
    let settled = units.filter(move |p| stream.settled_at(p.unit.month.last_day()) <= now);
    settled.flat_map(|planned| planned.unit.partitions().collect::<Vec<_>>())
}

/// What an object that is unsound is called, and why.
fn unsound(error: &DamagedError) -> (Flaw, String) {
    match error {
        DamagedError::Foreign => {
            (Flaw::Foreign, "a Parquet file of another program; move it out of the lake".into())
        }
        error => (Flaw::Damaged, error.to_string()),
    }
}

impl Finding {
    fn of(key: &str, partition: &Partition, flaw: Flaw, message: &str) -> Self {
        let stream = partition.stream.to_string();
        // A key that does not tell of which stream the matter is leaves it to the message.
        let is_told = key == lake::key(partition);
        let message = if is_told { message.into() } else { format!("{stream}: {message}") };
        Self { key: key.into(), flaw, stream: Some(stream), message, unit: Some(partition.unit()) }
    }
}
