//! `trendlake status`: what the lake holds, as a calendar per stream.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::args::{Common, Selection};
use super::calendar::{self, Sign};
use super::failure::Failure;
use super::printer::Printer;
use super::{Setup, text};
use crate::export::{self, Overview, StreamOverview};
use crate::lake::{self, Lake};
use crate::model::{Grain, Month, Partition, Unit};
use crate::plan::{Scope, State};
use crate::report::{Outcome, Report, exit};

/// What is known about units besides what the lake's partitions say.
struct Marks {
    /// Failed in the last run.
    failed: BTreeSet<(String, String, String)>,
    /// With a parked answer.
    suspect: BTreeSet<Unit>,
}

#[derive(Serialize)]
struct StatusResult {
    streams: Vec<StreamStatus>,
    /// Partitions with an answer that waits for a person's judgement.
    suspect: Vec<String>,
    /// Objects with what the server sent in place of a good answer.
    rejected: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_run: Option<LastRun>,
}

#[derive(Serialize)]
struct LastRun {
    run_id: String,
    ended_at: String,
    exit_code: u8,
}

#[derive(Serialize)]
struct StreamStatus {
    stream: String,
    name: String,
    zone: String,
    units: Vec<UnitStatus>,
}

#[derive(Serialize)]
struct UnitStatus {
    grain: &'static str,
    month: String,
    state: &'static str,
    #[serde(skip)]
    sign: (Grain, Month, Sign),
}

pub(super) async fn status(common: &Common, selection: &Selection, printer: &Printer) -> Result<u8, Failure> {
    let setup = Setup::load(common)?;
    show(&setup, &selection.streams, printer).await?;
    Ok(exit::OK)
}

/// Prints the calendars of the named streams, or of all.
pub(super) async fn show(setup: &Setup, streams: &[String], printer: &Printer) -> Result<(), Failure> {
    let streams = setup.streams(streams)?;
    let lake = Lake::open(&setup.settings.lake)?;
    let scope = Scope::default();
    let overview = export::overview(&lake, &setup.settings, &streams, &scope, setup.clock.now()).await?;
    let last = export::last_report(&lake).await?;
    let marks = marks(&overview, last.as_ref());
    let result = StatusResult {
        streams: overview.streams.iter().map(|s| stream_status(s, &marks)).collect(),
        suspect: overview.parked.suspect.iter().map(lake::key).collect(),
        rejected: overview.parked.rejected.iter().map(export::rejected_key).collect(),
        last_run: last.map(|r| LastRun {
            run_id: r.run_id.to_string(),
            ended_at: r.ended_at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
            exit_code: r.exit_code,
        }),
    };
    printer.result(&result, || render(&result));
    Ok(())
}

fn marks(overview: &Overview, last: Option<&Report>) -> Marks {
    let failed = last.into_iter().flat_map(|r| &r.units).filter(|u| matches!(u.outcome, Outcome::Failed(_)));
    let suspect = overview.parked.suspect.iter().map(Partition::unit);
    Marks {
        failed: failed.map(|u| (u.stream.clone(), u.grain.clone(), u.month.clone())).collect(),
        suspect: suspect.collect(),
    }
}

fn stream_status(overview: &StreamOverview, marks: &Marks) -> StreamStatus {
    let StreamOverview { stream, units } = overview;
    let unit = |planned: &crate::plan::Planned| {
        let unit = &planned.unit;
        let failed = (unit.stream.to_string(), unit.grain.to_string(), unit.month.to_string());
        let sign = match planned.state {
            State::Final => Sign::Final,
            _ if marks.suspect.contains(unit) => Sign::Suspect,
            State::Damaged => Sign::Damaged,
            _ if marks.failed.contains(&failed) => Sign::Failed,
            State::Provisional => Sign::Provisional,
            State::Stale => Sign::Stale,
            State::Missing | State::Forced | State::Broken => Sign::Missing,
        };
        UnitStatus {
            grain: unit.grain.as_str(),
            month: unit.month.to_string(),
            state: sign.as_str(),
            sign: (unit.grain, unit.month, sign),
        }
    };
    StreamStatus {
        stream: stream.id.to_string(),
        name: stream.name.clone(),
        zone: stream.zone.name().into(),
        units: units.iter().map(unit).collect(),
    }
}

fn render(result: &StatusResult) -> String {
    let mut lines = Vec::new();
    for stream in &result.streams {
        lines.push(format!("{} ({}), zone {}", text::plain(&stream.name), stream.stream, stream.zone));
        for grain in Grain::ALL {
            let months: BTreeMap<Month, Sign> =
                stream.units.iter().filter(|u| u.sign.0 == grain).map(|u| (u.sign.1, u.sign.2)).collect();
            if !months.is_empty() {
                lines.extend(calendar::render(grain.as_str(), &months));
            }
        }
        lines.push(String::new());
    }
    let shown = |sign| result.streams.iter().flat_map(|s| &s.units).any(|u| u.sign.2 == sign);
    lines.push(calendar::legend(shown));
    lines.extend(result.rejected.iter().map(|name| format!("rejected, what the API sent: {name}")));
    lines.extend(result.suspect.iter().map(|name| format!("parked: {name}")));
    if !result.suspect.is_empty() {
        lines.push("if their figures are right: `trendlake accept PARTITION`".into());
    }
    lines.push(match &result.last_run {
        Some(run) => format!("last run ended {} with exit code {}", run.ended_at, run.exit_code),
        None => "no run yet".into(),
    });
    lines.join("\n")
}
