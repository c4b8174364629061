//! `trendlake status`: what the lake holds, as a calendar per stream.

use std::collections::BTreeMap;

use serde::Serialize;

use super::args::{Common, Status};
use super::failure::Failure;
use super::printer::Printer;
use super::{Setup, calendar, lateness, text};
use crate::export::{self, Condition, StreamCoverage};
use crate::lake;
use crate::model::{Month, Unit, UnitKind};
use crate::plan::Scope;
use crate::report::exit;

#[derive(Serialize)]
struct StatusResult {
    streams: Vec<StreamStatus>,
    /// Partitions with an answer that waits for a person's judgement.
    suspect: Vec<String>,
    /// Objects with what the server sent in place of a good answer.
    rejected: Vec<String>,
    /// What is kept of the API's answers, where any stream keeps them.
    #[serde(skip_serializing_if = "Option::is_none")]
    raw_answers: Option<RawStatus>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_run: Option<LastRun>,
}

#[derive(Serialize)]
struct RawStatus {
    objects: u64,
    bytes: u64,
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
    sign: (UnitKind, Month, Condition),
}

pub(super) async fn status(common: &Common, command: &Status, printer: &Printer) -> Result<u8, Failure> {
    let setup = Setup::load(common)?;
    let streams = &command.selection.streams;
    if command.restatements {
        let shelf = setup.shelf().await?;
        lateness::show(&shelf, &setup, streams, printer).await?;
    } else {
        show(&setup, streams, printer).await?;
    }
    Ok(exit::OK)
}

/// Prints the calendars of the named streams, or of all.
pub(super) async fn show(setup: &Setup, streams: &[String], printer: &Printer) -> Result<(), Failure> {
    let streams = setup.streams(streams)?;
    let shelf = setup.shelf().await?;
    let scope = Scope::default();
    let overview = export::overview(&shelf, &setup.settings, &streams, &scope, setup.clock.now()).await?;
    let reports = export::last_reports(shelf.lake(), &streams).await?;
    let raw_answers = if streams.iter().any(|stream| stream.keep_raw) {
        let (objects, bytes) = export::raw_answers(shelf.lake()).await?.size();
        Some(RawStatus { objects, bytes })
    } else {
        None
    };
    let result = StatusResult {
        raw_answers,
        streams: export::coverage(&overview, &reports).iter().map(stream_status).collect(),
        suspect: overview.parked.suspect.iter().map(lake::key).collect(),
        rejected: overview.parked.rejected.iter().map(export::rejected_key).collect(),
        last_run: reports.first().map(|r| LastRun {
            run_id: r.run_id.to_string(),
            ended_at: r.ended_at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
            exit_code: r.exit_code,
        }),
    };
    printer.result(&result, || render(&result));
    Ok(())
}

fn stream_status(coverage: &StreamCoverage) -> StreamStatus {
    let StreamCoverage { stream, units } = coverage;
    let unit = |(unit, condition): &(Unit, Condition)| UnitStatus {
        grain: unit.kind.as_str(),
        month: unit.month.to_string(),
        state: condition.as_str(),
        sign: (unit.kind, unit.month, *condition),
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
        for kind in UnitKind::ALL {
            let months: BTreeMap<Month, Condition> =
                stream.units.iter().filter(|u| u.sign.0 == kind).map(|u| (u.sign.1, u.sign.2)).collect();
            if !months.is_empty() {
                lines.extend(calendar::render(kind.as_str(), &months));
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
    lines.extend(
        result.raw_answers.iter().map(|raw| {
            format!("{} kept ({})", text::count(raw.objects, "raw answer"), text::bytes(raw.bytes))
        }),
    );
    lines.push(match &result.last_run {
        Some(run) => format!("last run ended {} with exit code {}", run.ended_at, run.exit_code),
        None => "no run yet".into(),
    });
    lines.join("\n")
}
