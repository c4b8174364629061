//! What the overview shows, gathered after each run so that no request has to read the lake: how far each
//! stream's days go and how they went lately, and the runs that were.

use std::collections::BTreeMap;

use chrono::{DateTime, Days, NaiveDate, Utc};
use futures_util::{StreamExt, TryStreamExt};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::figures::{self, Row};
use crate::config::Stream;
use crate::export;
use crate::lake::{self, Lake};
use crate::model::{Dataset, Grain, Slice, StreamId, local_now, settled_at};
use crate::report::{Outcome, Report, Totals};
use crate::shelf::Shelf;

/// How many days the overview's small charts show.
pub(super) const DAYS: u64 = 60;
/// How many runs are remembered.
pub(super) const RUNS: usize = 100;
/// How many streams are looked at at once.
const AT_ONCE: usize = 8;
/// How many reports are read at once: those of many streams are large.
const REPORTS_AT_ONCE: usize = 2;

/// The newest days of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Recent {
    /// The newest day that had ended when it was fetched.
    pub through: Option<NaiveDate>,
    /// Unique users of the last [`DAYS`] days before the one under way, which is not over and would look like a
    /// fall; the newest last. Nothing for a stream without daily figures.
    pub unique: Vec<Option<i64>>,
}

/// The newest days of every stream, by id.
pub(super) type AllRecent = BTreeMap<StreamId, Recent>;

/// The slice that stands for a stream where only one is shown: all users, or else the first one.
pub(super) fn main_slice(stream: &Stream) -> Slice {
    let first = if stream.slices.contains(&Slice::ALL) { None } else { stream.slices.first() };
    first.cloned().unwrap_or(Slice::ALL)
}

/// Looks at the newest days of all streams.
///
/// # Errors
/// When the lake fails.
pub(super) async fn recent(
    shelf: &Shelf,
    streams: &[Stream],
    now: DateTime<Utc>,
) -> Result<AllRecent, lake::Error> {
    let looks = streams.iter().map(|stream| async move {
        Ok::<_, lake::Error>((stream.id.clone(), of_stream(shelf, stream, now).await?))
    });
    futures_util::stream::iter(looks.collect::<Vec<_>>()).buffer_unordered(AT_ONCE).try_collect().await
}

async fn of_stream(shelf: &Shelf, stream: &Stream, now: DateTime<Utc>) -> Result<Recent, lake::Error> {
    let last = local_now(now, stream.zone).date() - Days::new(1);
    let first = last - Days::new(DAYS - 1);
    let is_daily = stream.grains.contains(&Grain::Daily);
    let dataset = if is_daily { Dataset::Daily } else { Dataset::Hourly };
    let slice = main_slice(stream);
    let rows = figures::read(shelf, (dataset, &stream.id, &slice), (first, last)).await?.rows;
    Ok(Recent {
        through: through(stream, &rows),
        unique: if is_daily { by_day(&rows, first, last) } else { Vec::new() },
    })
}

/// The newest day that had ended when its figures were fetched.
fn through(stream: &Stream, rows: &[Row]) -> Option<NaiveDate> {
    let had_ended = |row: &&Row| settled_at(row.date, stream.zone, 0) <= row.fetched_at;
    rows.iter().rev().find(had_ended).map(|row| row.date)
}

/// One figure per day, with nothing on days that the lake does not hold.
pub(super) fn by_day(rows: &[Row], first: NaiveDate, last: NaiveDate) -> Vec<Option<i64>> {
    let known: BTreeMap<NaiveDate, Option<i64>> = rows.iter().map(|r| (r.date, r.counts.unique)).collect();
    first.iter_days().take_while(|day| *day <= last).map(|day| known.get(&day).copied().flatten()).collect()
}

/// A run in short.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RunSummary {
    /// The run's id: ids sort by time.
    pub run_id: Uuid,
    /// The version that ran.
    pub version: String,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// When it ended.
    pub ended_at: DateTime<Utc>,
    /// The exit code.
    pub exit_code: u8,
    /// Sums.
    pub totals: Totals,
    /// How many units failed, by class.
    pub failures: BTreeMap<String, u64>,
    /// How many figures that were already in the lake have changed, by stream id.
    pub restated: BTreeMap<String, u64>,
    /// How many oddities there were.
    pub warnings: usize,
}

impl From<&Report> for RunSummary {
    fn from(report: &Report) -> Self {
        let (mut failures, mut restated) = (BTreeMap::new(), BTreeMap::new());
        for unit in report.units.iter() {
            if let Outcome::Failed(failure) = unit.outcome {
                *failures.entry(failure.class).or_default() += 1;
            }
            if unit.restated > 0 {
                *restated.entry(unit.stream).or_default() += unit.restated;
            }
        }
        Self {
            run_id: report.run_id,
            version: report.version.clone(),
            started_at: report.started_at,
            ended_at: report.ended_at,
            exit_code: report.exit_code,
            totals: report.totals.clone(),
            failures,
            restated,
            warnings: report.warnings.len(),
        }
    }
}

/// The newest runs, the newest first. Those that are `known` are not read again.
///
/// # Errors
/// When the lake fails.
pub(super) async fn runs(lake: &Lake, known: &[RunSummary]) -> Result<Vec<RunSummary>, lake::Error> {
    let ids = export::run_ids(lake).await?;
    let summaries = ids.into_iter().rev().take(RUNS).map(|id| async move {
        match known.iter().find(|run| run.run_id == id) {
            Some(run) => Ok::<_, lake::Error>(Some(run.clone())),
            None => Ok(export::report_of(lake, id).await?.as_ref().map(RunSummary::from)),
        }
    });
    let summaries = futures_util::stream::iter(summaries.collect::<Vec<_>>()).buffered(REPORTS_AT_ONCE);
    summaries.try_filter_map(async |run| Ok(run)).try_collect().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Counts;
    use crate::report::{Failure, Severity, UnitReport};

    fn row(date: &str, fetched_at: &str, unique: Option<i64>) -> Row {
        Row {
            date: date.parse().unwrap(),
            end: None,
            period: None,
            hour: None,
            hour_start: None,
            counts: Counts { unique, ..Counts::default() },
            averages: None,
            is_final: false,
            fetched_at: fetched_at.parse().unwrap(),
        }
    }

    #[test]
    fn a_day_counts_once_it_had_ended_when_it_was_fetched() {
        let stream = Stream { zone: chrono_tz::Asia::Kolkata, ..Stream::example() };
        let rows = |at: &str| ["2026-03-01", "2026-03-02", "2026-03-03"].map(|date| row(date, at, Some(1)));
        let day = |text: &str| Some(text.parse().unwrap());
        // In Kolkata, 2026-03-02 ends at 18:30 UTC.
        assert_eq!(through(&stream, &rows("2026-03-02T18:29:59Z")), day("2026-03-01"));
        assert_eq!(through(&stream, &rows("2026-03-02T18:30:00Z")), day("2026-03-02"));
        assert_eq!(through(&stream, &[]), None);
    }

    #[test]
    fn a_run_in_short() {
        let unit = |stream: &str, outcome: Outcome, restated: u64| UnitReport {
            stream: stream.into(),
            restated,
            ..UnitReport::example(outcome)
        };
        let failed = |class: &str| {
            let (class, message) = (class.into(), "m".into());
            Outcome::Failed(Failure { class, severity: Severity::Data, message, hint: None })
        };
        let units = vec![
            unit("st-1", Outcome::Unchanged, 2),
            unit("st-1", Outcome::Superseded, 3),
            unit("st-2", failed("refused"), 0),
            unit("st-3", failed("refused"), 0),
            unit("st-4", failed("timeout"), 0),
        ];
        let report = Report {
            exit_code: 10,
            warnings: vec!["odd".into()],
            units: units.into_iter().collect(),
            ..Report::default()
        };
        let run = RunSummary::from(&report);
        assert_eq!(run.restated, BTreeMap::from([("st-1".into(), 5)]));
        assert_eq!(run.failures, BTreeMap::from([("refused".into(), 2), ("timeout".into(), 1)]));
        assert_eq!((run.warnings, report.units.totals().failed, run.exit_code), (1, 3, 10));
    }

    #[test]
    fn days_that_the_lake_does_not_hold_are_gaps() {
        let rows = [
            row("2026-02-28", "2026-03-05T00:00:00Z", Some(7)),
            row("2026-03-02", "2026-03-05T00:00:00Z", None),
        ];
        let days = by_day(&rows, "2026-02-27".parse().unwrap(), "2026-03-03".parse().unwrap());
        assert_eq!(days, [None, Some(7), None, None, None]);
    }
}
