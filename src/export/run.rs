//! One run: overview, export, report.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tracing::{Instrument, info, warn};
use uuid::Uuid;

use super::inventory::{self, Overview, StreamOverview, overview};
use super::{Context, PastRequests, RawAnswers, Spent, export, parked, raw};
use crate::config::Stream;
use crate::lake::{self, Lake, Listed};
use crate::model::{StreamId, Unit};
use crate::plan::{Planned, Scope, State};
use crate::report::{Report, UnitReport, exit, exit_code};
use crate::shelf;

/// The folder of the run reports.
pub(super) const RUNS: &str = "runs";
/// The longest of the vendor's windows.
const LONGEST_WINDOW: TimeDelta = TimeDelta::hours(1);
/// How many reports are looked at for what was asked lately: more than the shards of one job leave.
const LOOK_BACK: usize = 2000;
/// How many of them may say nothing of that time before the older ones are left unread. They are in the order of
/// the runs' beginnings, so one that went on for long while others came and went lies behind those.
const STRAGGLERS: usize = 16;
/// What is longer than this is not read whole for what stands at its beginning.
const LARGE: u64 = 1 << 20;
/// How many of them are looked at for how the streams went.
const MOST_REPORTS: usize = 32;
/// For how long a run that is being stopped tries to leave its report.
const LAST_WORDS: Duration = Duration::from_secs(3);
/// For how long run reports are kept.
const KEEP_REPORTS: TimeDelta = TimeDelta::days(90);

/// Which run it is: its id and its beginning.
#[derive(Clone, Copy, Debug)]
pub struct RunId {
    /// A `UUIDv7`, so that ids sort by time.
    pub id: Uuid,
    /// When it begins.
    pub started_at: DateTime<Utc>,
}

impl RunId {
    /// A run that begins now.
    #[must_use]
    pub fn new(context: &Context) -> Self {
        let started_at = context.clock.now();
        Self { id: context.chance.id_at(started_at), started_at }
    }
}

/// Brings the lake to hold what the configuration asks for of `streams` within `scope`, and leaves a
/// report of it in the lake. `begin` is told what is due before the first request.
///
/// `stopped` gives the exit code of the signal that has ended the run, if one has.
///
/// # Errors
/// When the lake cannot be surveyed. What fails later is in the report.
pub async fn run(
    context: &Context,
    streams: &[Stream],
    scope: &Scope,
    begin: impl FnOnce(&Overview),
    stopped: impl Fn() -> Option<u8>,
) -> Result<Report, inventory::Error> {
    run_as(RunId::new(context), context, streams, scope, begin, stopped).await
}

/// The same with an id that was told already.
///
/// # Errors
/// When the lake cannot be surveyed. What fails later is in the report.
pub async fn run_as(
    RunId { id: run_id, started_at }: RunId,
    context: &Context,
    streams: &[Stream],
    scope: &Scope,
    begin: impl FnOnce(&Overview),
    stopped: impl Fn() -> Option<u8>,
) -> Result<Report, inventory::Error> {
    // Every line of the log says which run it is of.
    let span = tracing::error_span!("run", id = %run_id);
    let work = async {
        info!("run begins");
        let overview = tokio::select! {
            () = context.stop.cancelled() => return Err(inventory::Error::Stopped),
            overview = overview(&context.shelf, &context.settings, streams, scope, started_at) => overview?,
        };
        for key in &overview.foreign {
            // Whoever made it has named it: a line end in the name must not begin a line of the log.
            let key = key.escape_debug();
            context.warnings.add(format!("`{key}` in the lake is no file of trendlake; it is left alone"));
        }
        let kept = if scope.kept { Some(Arc::new(raw::raw_answers(context.lake()).await?)) } else { None };
        let mut overview = match &kept {
            Some(kept) => only_kept(overview, kept, context),
            None => overview,
        };
        begin(&overview);
        context.shelf.make().await?;
        if kept.is_some() {
            let due = |s: &&StreamOverview| s.units.iter().any(|planned| planned.state != State::Final);
            context.shelf.forget(overview.streams.iter().filter(due).map(|s| &s.stream.id)).await?;
        }
        shelf::finish_restatements(&context.shelf, &overview.parked.restated).await;
        let past = context.lake().listed_internal(RUNS).await?;
        let context =
            &Context { spent: spent_before(context.lake(), &past, started_at).await?, ..context.clone() };
        let units = export(context, overview.take_due(), kept.as_ref()).await;
        let mut totals = units.totals().clone();
        totals.puts = context.shelf.puts().unwrap_or(totals.puts);
        totals.requests = context.traffic.requests();
        totals.retries = context.traffic.retries();
        totals.rate_wait_ms = u64::try_from(context.traffic.waited().as_millis()).unwrap_or(u64::MAX);
        let report = Report {
            run_id,
            version: env!("CARGO_PKG_VERSION").into(),
            started_at,
            ended_at: context.clock.now(),
            exit_code: exit_code(&units, stopped()),
            totals,
            requests: context.spent.now.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            warnings: context.warnings.all(),
            units,
        };
        if context.stop.is_cancelled() {
            // Whoever stops a run does not wait for long; the rest is the next run's.
            tokio::select! {
                () = leave_report(context, &report) => {}
                () = context.clock.sleep(LAST_WORDS) => warn!("the run report was not written in time"),
            }
        } else {
            leave_behind(context, &overview, &past, &report, scope).await;
        }
        info!(exit_code = report.exit_code, "run ends");
        Ok(report)
    };
    work.instrument(span).await
}

/// What the runs before have asked, as far as it can still matter. A run that was killed has left no
/// report; the server's own refusals then tell.
async fn spent_before(lake: &Lake, past: &Past, now: DateTime<Utc>) -> Result<Spent, lake::Error> {
    let mut before: BTreeMap<String, PastRequests> = BTreeMap::new();
    let mut too_old = 0;
    for (name, listed) in past.iter().rev().take(LOOK_BACK) {
        let Some(report) = asked(lake, name, listed.size).await? else { continue };
        if report.ended_at + LONGEST_WINDOW < now {
            too_old += 1;
            if too_old == STRAGGLERS {
                break;
            }
            continue;
        }
        for (stream, requests) in report.requests {
            before.entry(stream).or_default().push((report.ended_at, requests));
        }
    }
    for runs in before.values_mut() {
        runs.sort_unstable();
    }
    Ok(Spent { before: Arc::new(before), now: Arc::default() })
}

/// The names of the reports that are there, the oldest first.
type Past = BTreeMap<String, Listed>;

/// What a report says of the requests.
#[derive(Deserialize)]
struct Asked {
    ended_at: DateTime<Utc>,
    #[serde(default)]
    requests: BTreeMap<String, u64>,
}

/// Reads what a report says of the requests, and of a large one no more than it takes: its units come last, and are
/// nearly all of it.
async fn asked(lake: &Lake, name: &str, size: u64) -> Result<Option<Asked>, lake::Error> {
    /// No text within JSON holds this, since its quotes would be escaped there.
    const UNITS: &[u8] = br#","units":["#;
    if size > LARGE {
        let start = lake.read_start_internal(&format!("{RUNS}/{name}"), LARGE).await?.unwrap_or_default();
        if let Some(end) = start.windows(UNITS.len()).position(|text| text == UNITS) {
            return Ok(serde_json::from_slice(&[&start[..end], b"}"].concat()).ok());
        }
    }
    read_report(lake, name).await
}

pub(super) async fn read_report<T: DeserializeOwned>(
    lake: &Lake,
    name: &str,
) -> Result<Option<T>, lake::Error> {
    let bytes = lake.read_internal(&format!("{RUNS}/{name}")).await?;
    Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
}

/// An overview without the due units of which no answer is kept; says how many that are.
fn only_kept(mut overview: Overview, kept: &RawAnswers, context: &Context) -> Overview {
    for stream in &mut overview.streams {
        let is_due = |p: &Planned| p.state != State::Final;
        let due = stream.units.iter().filter(|p| is_due(p)).count();
        stream.units.retain(|p| !is_due(p) || kept.has(&p.unit));
        let left = due - stream.units.iter().filter(|p| is_due(p)).count();
        if left > 0 {
            let id = &stream.stream.id;
            context.warnings.add(format!(
                "{id}: no raw answer is kept of {left} units that are due: `trendlake run` asks for them"
            ));
        }
    }
    overview
}

/// Writes the report and what the run has verified. The data is in the lake already, so a failure
/// here is told and changes nothing about the run.
async fn leave_behind(context: &Context, overview: &Overview, past: &Past, report: &Report, scope: &Scope) {
    if scope.is_everything() {
        let open: BTreeSet<String> = report.units.open().map(|unit| unit.stream).collect();
        let complete = |id: &StreamId| !open.contains(id.as_str());
        if let Err(error) = overview.remember(&context.shelf, complete).await {
            warn!("the lake's note was not written: {error}");
        }
    }
    let settled = |unit: &Unit| {
        let is_it = |u: &UnitReport| u.grain == unit.kind.as_str() && u.month == unit.month.to_string();
        let found = report.units.of(unit.stream.as_str()).find(is_it);
        found.is_some_and(|u| !u.outcome.is_open())
    };
    if let Err(error) = parked::unpark(context.lake(), &overview.parked, settled).await {
        warn!("parked answers that are no longer needed were not removed: {error}");
    }
    leave_report(context, report).await;
    let is_whole = scope.is_everything() && overview.streams.len() == context.settings.streams.len();
    if context.settings.lake.success_marker
        && report.exit_code == exit::OK
        && is_whole
        && let Err(error) = context.lake().mark_success(&report.run_id.to_string()).await
    {
        warn!("the marker was not written: {error}");
    }
    if let Err(error) = prune(context.lake(), past, report.started_at).await {
        warn!("old run reports were not removed: {error}");
    }
}

async fn leave_report(context: &Context, report: &Report) {
    let name = format!("{RUNS}/{}.json", report.run_id);
    if let Err(error) = context.lake().put_pieces(&name, report.pieces()).await {
        warn!("the run report was not written: {error}");
    }
}

/// Removes reports that are older than they need to be.
async fn prune(lake: &Lake, past: &Past, now: DateTime<Utc>) -> Result<(), lake::Error> {
    for name in past.keys() {
        if started_at(name).is_some_and(|at| now - at > KEEP_REPORTS) {
            lake.delete_internal(&format!("{RUNS}/{name}")).await?;
        }
    }
    Ok(())
}

/// When the run began whose report has this name: its id tells.
fn started_at(name: &str) -> Option<DateTime<Utc>> {
    began_at(name.strip_suffix(".json")?.parse().ok()?)
}

/// When the run with this id began, by the clock of its machine. `None` where it is no run's id.
pub(super) fn began_at(id: Uuid) -> Option<DateTime<Utc>> {
    let (secs, nanos) = id.get_timestamp()?.to_unix();
    DateTime::from_timestamp(i64::try_from(secs).ok()?, nanos)
}

/// The newest reports, the newest first, down to where each of these streams was met: a run may have been for some of
/// them only, as those of shards are. At most so many are read that one with nothing due does not cost many.
///
/// # Errors
/// When the lake cannot be read.
pub async fn last_reports(lake: &Lake, streams: &[Stream]) -> Result<Vec<Report>, lake::Error> {
    let mut unmet: BTreeSet<&str> = streams.iter().map(|stream| stream.id.as_str()).collect();
    let mut reports = Vec::new();
    for run_id in run_ids(lake).await?.into_iter().rev().take(MOST_REPORTS) {
        let Some(report) = report_of(lake, run_id).await? else { continue };
        for stream in report.units.streams() {
            unmet.remove(stream);
        }
        reports.push(report);
        if unmet.is_empty() {
            break;
        }
    }
    Ok(reports)
}

/// The ids of the runs whose reports are in the lake, the oldest first.
///
/// # Errors
/// When the lake cannot be read.
pub async fn run_ids(lake: &Lake) -> Result<Vec<Uuid>, lake::Error> {
    let names = lake.list_internal(RUNS).await?;
    let id = |name: &String| name.strip_suffix(".json")?.parse::<Uuid>().ok();
    Ok(names.iter().filter_map(id).filter(|id| id.get_timestamp().is_some()).collect())
}

/// The report of a run, if it is there and can be read.
///
/// # Errors
/// When the lake cannot be read.
pub async fn report_of(lake: &Lake, run_id: Uuid) -> Result<Option<Report>, lake::Error> {
    read_report(lake, &format!("{run_id}.json")).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chance::Chance;
    use crate::report::{Outcome, Units};

    /// One process works on its streams for two hours while another one begins later and ends soon.
    #[tokio::test]
    async fn what_a_long_run_has_asked_counts_though_later_ones_have_long_ended() {
        let store = std::sync::Arc::new(object_store::memory::InMemory::new());
        let lake = Lake::on(store, "lake".into());
        let now: DateTime<Utc> = "2026-03-01T12:00:00Z".parse().unwrap();
        let chance = Chance::seeded(1);
        // Large ones, of which only the beginning is read.
        let unit = |month: u32| UnitReport {
            stream_name: "a \",\"units\":[ name".into(),
            month: month.to_string(),
            ..UnitReport::example(Outcome::Unchanged)
        };
        let units: Units = (0..10_000).map(unit).collect();
        let leave = async |stream: &str, started: i64, ended: i64| {
            let started_at = now - TimeDelta::minutes(started);
            let report = Report {
                run_id: chance.id_at(started_at),
                started_at,
                ended_at: now - TimeDelta::minutes(ended),
                requests: BTreeMap::from([(stream.to_owned(), 7)]),
                warnings: vec![r#"","units":[" "#.into()],
                units: units.clone(),
                ..Report::default()
            };
            lake.put_pieces(&format!("{RUNS}/{}.json", report.run_id), report.pieces()).await.unwrap();
        };
        leave("st-long", 180, 10).await;
        leave("st-short", 170, 160).await;
        leave("st-new", 5, 1).await;
        let past = lake.listed_internal(RUNS).await.unwrap();
        assert!(past.values().all(|listed| listed.size > LARGE));
        let spent = spent_before(&lake, &past, now).await.unwrap();
        assert_eq!(spent.before.keys().collect::<Vec<_>>(), ["st-long", "st-new"]);
        assert_eq!(spent.before["st-long"], [(now - TimeDelta::minutes(10), 7)]);
    }
}
