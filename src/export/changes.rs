//! Which objects have been written since a loader looked last.
//!
//! What was written is told by the listing, so nothing is left out: also what a run wrote that was killed and has
//! left no report, and what `accept` or a person put in place. The reports tell where to go on from.
//!
//! A report is put after everything that its run wrote. So whoever has seen the report of a run, and lists the
//! lake then, sees all that was written before that report; and has to look, the next time, for what was
//! written after it. That holds for any number of runs side by side, whichever began first, since it is the
//! store's own times that are compared: of the objects, and of the reports.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Utc};
use futures_util::{StreamExt, TryStreamExt};
use serde::Serialize;
use uuid::Uuid;

use super::inventory::Error;
use super::run::{RUNS, began_at, read_report};
use crate::lake::Listed;
use crate::report::Report;
use crate::shelf::Shelf;

/// By how much an object can show an earlier time than one that was put before it: what a slow put takes.
const MARGIN: TimeDelta = TimeDelta::minutes(10);
/// How many reports are read at once.
const AT_ONCE: usize = 4;
/// How many reports are held against the listing.
const LOOK_BACK: usize = 500;

/// From when on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// What was written after the report of this run.
    Run(Uuid),
    /// What was written at this time or later, by the store's clock.
    Time(DateTime<Utc>),
}

impl FromStr for Since {
    type Err = &'static str;

    /// Reads a run's id, an instant such as `2026-03-01T12:00:00Z`, or a date, which begins at midnight UTC.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(id) = text.parse::<Uuid>() {
            return if began_at(id).is_some() { Ok(Self::Run(id)) } else { Err("it is no run's id") };
        }
        let date = |text: &str| Some(text.parse::<NaiveDate>().ok()?.and_time(NaiveTime::MIN).and_utc());
        let at = DateTime::parse_from_rfc3339(text).ok().map(|at| at.to_utc()).or_else(|| date(text));
        at.map(Self::Time).ok_or("expected a run's id, or a time such as `2026-03-01T12:00:00Z`")
    }
}

/// What has been written.
#[derive(Debug, Serialize)]
pub struct Changes {
    /// From when on, by the store's clock.
    pub since: DateTime<Utc>,
    /// Whether a report of the run that was named is still there. Else everything since that run began is told.
    pub report_found: bool,
    /// The objects, each once, as they are now.
    pub changed: Vec<Changed>,
    /// What to hand in the next time: the newest run whose report is in the lake, or else a time.
    pub continue_from: String,
}

/// An object that was written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Changed {
    /// Its key, relative to the lake.
    pub key: String,
    /// When, by the store's clock.
    pub written_at: DateTime<Utc>,
    /// Its length in bytes.
    pub bytes: u64,
}

/// The objects written since: those of the datasets, and those of restatements.
///
/// # Errors
/// When the lake cannot be read, or the listing leaves out what a report says was written.
pub async fn changes(shelf: &Shelf, since: Since) -> Result<Changes, Error> {
    // The reports come first: whatever was written before the newest of them is in the listing after.
    let reports = reports(shelf).await?;
    let (base, report_found) = match since {
        Since::Time(at) => (at, true),
        Since::Run(id) => match reports.get(&id) {
            Some(written_at) => (*written_at, true),
            None => (began_at(id).unwrap_or_default(), false),
        },
    };
    // A time is the caller's own; of a run, more may have been written than its times say.
    let from = if let Since::Time(_) = since { base } else { base - MARGIN };
    let mut objects: BTreeMap<String, Listed> = shelf.objects().await?.into_iter().collect();
    let newest = newest(&reports).map_or_else(|| newest_time(&objects, base), |id| id.to_string());

    let mut told = BTreeSet::new();
    let lately = reports.iter().filter(|(_, at)| **at >= from).rev().take(LOOK_BACK);
    let reads = lately.map(|(id, at)| async move {
        Ok::<_, Error>((*at, read_report::<Report>(shelf.lake(), &format!("{id}.json")).await?))
    });
    let mut reads = futures_util::stream::iter(reads.collect::<Vec<_>>()).buffer_unordered(AT_ONCE);
    while let Some((at, report)) = reads.try_next().await? {
        let Some(report) = report else { continue };
        for key in report.written() {
            match objects.get(&key) {
                // The caller has seen this report, or one that came after it.
                Some(listed) if report_found && at <= base && listed.written_at < at => {
                    told.insert(key);
                }
                None if shelf.lake().find(&key).await?.is_some() => {
                    return Err(Error::IncompleteListing { key });
                }
                // It is told, or someone has deleted it.
                Some(_) | None => {}
            }
        }
    }
    objects.retain(|key, listed| listed.written_at >= from && !told.contains(key));
    let changed = |(key, Listed { written_at, size })| Changed { key, written_at, bytes: size };
    let changed = objects.into_iter().map(changed).collect();
    Ok(Changes { since: base, report_found, changed, continue_from: newest })
}

/// The runs whose reports are there, with when these were written.
async fn reports(shelf: &Shelf) -> Result<BTreeMap<Uuid, DateTime<Utc>>, Error> {
    let listed = shelf.lake().listed_internal(RUNS).await?;
    let id =
        |name: &str| name.strip_suffix(".json")?.parse::<Uuid>().ok().filter(|id| began_at(*id).is_some());
    Ok(listed.into_iter().filter_map(|(name, listed)| Some((id(&name)?, listed.written_at))).collect())
}

fn newest(reports: &BTreeMap<Uuid, DateTime<Utc>>) -> Option<Uuid> {
    reports.iter().max_by_key(|(id, at)| (**at, **id)).map(|(id, _)| *id)
}

/// Where there is no report: objects of that very time are told once more.
fn newest_time(objects: &BTreeMap<String, Listed>, base: DateTime<Utc>) -> String {
    let newest = objects.values().map(|listed| listed.written_at).max();
    newest.unwrap_or(base).to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}
