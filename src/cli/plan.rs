//! `trendlake plan`: what a run would do, and what it costs, before it is spent.

use std::time::Duration;

use serde::Serialize;

use super::args::{Common, Plan};
use super::failure::Failure;
use super::printer::Printer;
use super::{Setup, backfill_range, text};
use crate::export::{self, StreamOverview};
use crate::model::UnitKind;
use crate::plan::{Planned, State, in_parallel, least_time, requests};
use crate::report::exit;

#[derive(Serialize)]
struct PlanResult {
    streams: Vec<StreamPlan>,
    requests: u64,
    units: usize,
    least_secs: u64,
    foreign: Vec<String>,
}

#[derive(Serialize)]
struct StreamPlan {
    stream: String,
    name: String,
    requests: u64,
    least_secs: u64,
    r#final: usize,
    units: Vec<UnitPlan>,
}

#[derive(Serialize)]
struct UnitPlan {
    grain: String,
    month: String,
    start: String,
    end: String,
    reason: String,
    requests: u64,
}

pub(super) async fn plan(common: &Common, command: &Plan, printer: &Printer) -> Result<u8, Failure> {
    let scope = backfill_range::scope(command.from.as_deref(), command.to.as_deref(), command.force)?;
    let setup = Setup::load(common)?;
    let streams = setup.share(&command.share).await?;
    let shelf = setup.shelf().await?;
    let overview = export::overview(&shelf, &setup.settings, &streams, &scope, setup.clock.now()).await?;
    let plans: Vec<_> = overview.streams.iter().map(stream_plan).collect();
    let result = PlanResult {
        requests: plans.iter().map(|p| p.requests).sum(),
        units: plans.iter().map(|p| p.units.len()).sum(),
        least_secs: in_parallel(
            plans.iter().map(|p| Duration::from_secs(p.least_secs)),
            export::streams_at_once(&setup.settings, shelf.layout()),
        )
        .as_secs(),
        streams: plans,
        foreign: overview.foreign,
    };
    printer.result(&result, || render(&result));
    Ok(exit::OK)
}

fn stream_plan(overview: &StreamOverview) -> StreamPlan {
    let StreamOverview { stream, units } = overview;
    let requests = requests(units);
    let due = |p: &&Planned| p.state != State::Final;
    let unit = |p: &Planned| UnitPlan {
        grain: p.unit.kind.to_string(),
        month: p.unit.month.to_string(),
        start: p.window.start.to_string(),
        end: p.window.end.to_string(),
        reason: p.state.as_str().into(),
        requests: p.questions,
    };
    StreamPlan {
        stream: stream.id.to_string(),
        name: stream.name.clone(),
        requests,
        least_secs: least_time(requests, &stream.rate_limits).as_secs(),
        r#final: units.iter().filter(|p| p.state == State::Final).count(),
        units: units.iter().filter(due).map(unit).collect(),
    }
}

fn render(result: &PlanResult) -> String {
    let mut lines = Vec::new();
    for stream in &result.streams {
        let name = text::plain(&stream.name);
        if stream.units.is_empty() {
            lines.push(format!("{name} ({}): nothing to fetch, {} final", stream.stream, stream.r#final));
            continue;
        }
        lines.push(format!(
            "{name} ({}): {}, {} final, {}{}",
            stream.stream,
            text::count(stream.units.len() as u64, "unit"),
            stream.r#final,
            text::count(stream.requests, "request"),
            at_least(stream.least_secs)
        ));
        lines.extend(spans(&stream.units));
    }
    lines.extend(result.foreign.iter().map(|key| format!("not ours, left alone: {}", text::plain(key))));
    lines.push(format!(
        "in all: {}, {}{}",
        text::count(result.units as u64, "unit"),
        text::count(result.requests, "request"),
        at_least(result.least_secs)
    ));
    lines.join("\n")
}

fn at_least(secs: u64) -> String {
    if secs == 0 {
        return String::new();
    }
    format!(", at least {} under the rate limit", text::duration(Duration::from_secs(secs)))
}

/// The units in their order, neighbours of one grain and reason in one line.
fn spans(units: &[UnitPlan]) -> Vec<String> {
    let mut spans: Vec<(&UnitPlan, &UnitPlan, usize, u64)> = Vec::new();
    let mut by_grain: Vec<&UnitPlan> = units.iter().collect();
    by_grain.sort_by_key(|u| u.grain.clone());
    for unit in by_grain {
        match spans.last_mut() {
            // Newest first: the span grows towards older months, and ends where one is final.
            Some((first, last, count, requests))
                if first.grain == unit.grain
                    && first.reason == unit.reason
                    && follows(&unit.month, &last.month) =>
            {
                (*last, *count, *requests) = (unit, *count + 1, *requests + unit.requests);
            }
            _ => spans.push((unit, unit, 1, unit.requests)),
        }
    }
    let line = |(newest, oldest, count, requests): (&UnitPlan, &UnitPlan, usize, u64)| {
        // A month's figures take one request per slice, its periods one for each of them.
        let is_periods = newest.grain == UnitKind::Periods.as_str();
        let price =
            if is_periods { format!(", {}", text::count(requests, "request")) } else { String::new() };
        if count == 1 {
            format!(
                "  {:<7} {:<21} {:<12} {} to {}{price}",
                newest.grain, newest.month, newest.reason, newest.start, newest.end
            )
        } else {
            let months = format!("{} to {}", oldest.month, newest.month);
            format!("  {:<7} {months:<21} {:<12} {count} months{price}", newest.grain, newest.reason)
        }
    };
    spans.into_iter().map(line).collect()
}

/// Whether `older` is the month right before `newer`.
fn follows(older: &str, newer: &str) -> bool {
    older.parse::<crate::model::Month>().is_ok_and(|m| m.next().to_string() == newer)
}
