//! `trendlake run` and `trendlake backfill`.

use std::sync::Arc;

use super::args::{Backfill, Common, Replay, Run};
use super::backfill_range;
use super::failure::Failure;
use super::printer::Printer;
use super::progress::{self, Progress};
use super::signals::Stop;
use super::{Setup, text};
use crate::config::Stream;
use crate::export::{self, Context, Overview, Spent, Turns, Warnings};
use crate::kore::{Traffic, http_client};
use crate::lake::Lake;
use crate::notify;
use crate::plan::{Scope, State};
use crate::report::{Outcome, Report, UnitReport};
use crate::shelf::Shelf;

pub(super) async fn run(common: &Common, command: &Run, printer: &Printer) -> Result<u8, Failure> {
    let setup = Setup::load(common)?;
    let streams = setup.share(&command.share).await?;
    reconcile_and_print(common, &setup, &streams, &Scope::default(), printer).await
}

pub(super) async fn replay(common: &Common, command: &Replay, printer: &Printer) -> Result<u8, Failure> {
    let scope = backfill_range::scope(command.from.as_deref(), command.to.as_deref(), false)?;
    let setup = Setup::load(common)?;
    let streams = setup.streams(&command.selection.streams)?;
    reconcile_and_print(common, &setup, &streams, &Scope { kept: true, ..scope }, printer).await
}

pub(super) async fn backfill(common: &Common, command: &Backfill, printer: &Printer) -> Result<u8, Failure> {
    let scope = backfill_range::scope(Some(&command.from), command.to.as_deref(), command.force)?;
    let setup = Setup::load(common)?;
    let streams = setup.share(&command.share).await?;
    reconcile_and_print(common, &setup, &streams, &scope, printer).await
}

async fn reconcile_and_print(
    common: &Common,
    setup: &Setup,
    streams: &[Stream],
    scope: &Scope,
    printer: &Printer,
) -> Result<u8, Failure> {
    let report = reconcile(setup, streams, scope, progress::is_shown(common)).await?;
    // A share may hold no stream at all, which is nobody's mistake.
    if !scope.is_everything()
        && !streams.is_empty()
        && report.units.is_empty()
        && !backfill_range::has_begun(scope, streams, setup.clock.now())
    {
        return Err(Failure::usage(
            "the range holds no month that has begun",
            "both ends are inclusive, as `2025-01`",
        ));
    }
    printer.result(&report, || summary(&report));
    for line in open_lines(&report) {
        printer.note(&line);
    }
    Ok(report.exit_code)
}

/// Locks the lake and runs once.
pub(super) async fn reconcile(
    setup: &Setup,
    streams: &[Stream],
    scope: &Scope,
    shown: bool,
) -> Result<Report, Failure> {
    let stop = Stop::default();
    let traffic = Arc::new(Traffic::default());
    let progress = Arc::new(Progress::new(traffic.clone(), shown));
    let work = async {
        let mut lake = Lake::open(&setup.settings.lake)?;
        let _lock = tokio::select! {
            () = stop.token.cancelled() => return Err(stop.early(export::Error::Stopped)),
            lock = lake.lock() => lock?,
        };
        let context = Context {
            http: http_client(&setup.settings.http, streams.iter().all(Stream::is_local))
                .map_err(Failure::setting)?,
            settings: setup.settings.clone(),
            shelf: tokio::select! {
                () = stop.token.cancelled() => return Err(stop.early(export::Error::Stopped)),
                shelf = Shelf::open(lake, &setup.settings, &setup.clock) => shelf?,
            },
            clock: setup.clock.clone(),
            chance: setup.chance.clone(),
            traffic,
            observer: progress.clone(),
            stop: stop.token.clone(),
            warnings: Warnings::default(),
            spent: Spent::default(),
            turns: Turns::default(),
        };
        let begin = |overview: &Overview| {
            let units = overview.streams.iter().flat_map(|s| &s.units);
            progress.begin(units.filter(|u| u.state != State::Final).count() as u64);
        };
        let ran = notify::run(&context, streams, scope, None, begin, || stop.code()).await;
        ran.map_err(|error| stop.early(error))
    };
    let result = stop.guard(work).await;
    progress.end();
    result
}

/// A run in a few lines.
pub(super) fn summary(report: &Report) -> String {
    let t = &report.totals;
    let took = (report.ended_at - report.started_at).to_std().unwrap_or_default();
    if t.planned == 0 && report.warnings.is_empty() {
        return "everything is final: nothing to fetch".into();
    }
    let mut parts = Vec::new();
    let more =
        [(t.committed, "committed"), (t.unchanged, "unchanged"), (t.failed, "failed"), (t.open, "left open")];
    parts.extend(more.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{} {what}", text::number(*n))));
    let mut lines = vec![
        format!("{}: {} in {}", text::count(t.planned, "unit"), parts.join(", "), text::duration(took)),
        match t.puts {
            0 => format!("{}, nothing written", text::count(t.requests, "request")),
            puts => format!(
                "{}, {} written as {} ({})",
                text::count(t.requests, "request"),
                text::count(t.rows, "row"),
                text::count(puts, "object"),
                text::bytes(t.bytes)
            ),
        },
    ];
    let oddities = [
        (t.retries, "repeated requests"),
        (t.restated, "restated figures"),
        (t.missing, "days or hours without figures"),
    ];
    lines.extend(
        oddities.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{what}: {}", text::number(*n))),
    );
    if t.rate_wait_ms >= 1000 {
        let waited = std::time::Duration::from_millis(t.rate_wait_ms);
        lines.push(format!("{} of waiting for rate limits, over all streams", text::duration(waited)));
    }
    lines.extend(report.warnings.iter().take(10).map(|w| format!("warning: {}", text::plain(w))));
    if report.warnings.len() > 10 {
        lines.push(format!(
            "and {} more, in the run report",
            text::count(report.warnings.len() as u64 - 10, "warning")
        ));
    }
    lines.join("\n")
}

/// The open units, those with the same reason in one line; the exit code in the last.
pub(super) fn open_lines(report: &Report) -> Vec<String> {
    let mut groups: Vec<(String, Option<String>, Vec<UnitReport>)> = Vec::new();
    for unit in report.units.open() {
        let (why, hint) = match &unit.outcome {
            Outcome::Failed(failure) => {
                (format!("{}: {}", failure.class, failure.message), failure.hint.clone())
            }
            _ => ("not reached before the run was stopped".to_owned(), None),
        };
        match groups.iter_mut().find(|(w, _, units)| *w == why && units[0].stream == unit.stream) {
            Some((.., units)) => units.push(unit),
            None => groups.push((why, hint, vec![unit])),
        }
    }
    groups.sort_by(|(.., a), (.., b)| a[0].stream_name.cmp(&b[0].stream_name));
    let mut lines = Vec::new();
    for (why, hint, units) in &groups {
        let stream = text::plain(&units[0].stream_name);
        let names: Vec<_> = units.iter().map(|u| format!("{} {}", u.grain, u.month)).collect();
        lines.push(format!("open: {stream}: {}: {}", names.join(", "), text::plain(why)));
        lines.extend(hint.iter().map(|hint| format!("  hint: {hint}")));
    }
    if !lines.is_empty() {
        lines.push(format!(
            "exit code {}; the run report is _trendlake/runs/{}.json",
            report.exit_code, report.run_id
        ));
    }
    lines
}
