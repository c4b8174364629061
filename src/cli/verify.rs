//! `trendlake verify` and `trendlake repair`: what is wrong in the lake, and fetching it again.

use std::collections::BTreeSet;

use serde::Serialize;

use super::args::{Common, Selection};
use super::failure::Failure;
use super::printer::Printer;
use super::{Setup, progress, run, text};
use crate::config::Stream;
use crate::export::{self, Finding, Flaw, Verdict};
use crate::model::Unit;
use crate::plan::Scope;
use crate::report::{Report, exit};

/// How many findings are shown to a person.
const SHOWN: usize = 100;

pub(super) async fn verify(common: &Common, selection: &Selection, printer: &Printer) -> Result<u8, Failure> {
    let setup = Setup::load(common)?;
    let streams = setup.streams(&selection.streams)?;
    let verdict = look(&setup, &streams, selection).await?;
    printer.result(&verdict, || render(&verdict));
    Ok(exit_code(&verdict))
}

#[derive(Serialize)]
struct RepairResult {
    /// What was fetched, if anything was to be.
    #[serde(skip_serializing_if = "Option::is_none")]
    run: Option<Report>,
    /// What the lake is like now.
    verdict: Verdict,
}

pub(super) async fn repair(common: &Common, selection: &Selection, printer: &Printer) -> Result<u8, Failure> {
    let setup = Setup::load(common)?;
    let streams = setup.streams(&selection.streams)?;
    let verdict = look(&setup, &streams, selection).await?;
    let broken: BTreeSet<Unit> =
        verdict.findings.iter().filter(|f| f.flaw != Flaw::Foreign).filter_map(|f| f.unit.clone()).collect();
    let mut result = RepairResult { run: None, verdict };
    if !broken.is_empty() {
        let months = || broken.iter().map(|unit| unit.month);
        let (from, to) = (months().min(), months().max());
        let scope = Scope { from, to, broken: Some(broken), ..Scope::default() };
        let report = run::reconcile(&setup, &streams, &scope, progress::is_shown(common)).await?;
        result = RepairResult { run: Some(report), verdict: look(&setup, &streams, selection).await? };
    }
    printer.result(&result, || {
        let run = result.run.as_ref().map(run::summary);
        run.into_iter().chain([render(&result.verdict)]).collect::<Vec<_>>().join("\n")
    });
    for line in result.run.iter().flat_map(run::open_lines) {
        printer.note(&line);
    }
    let failed = result.run.as_ref().map(|report| report.exit_code).filter(|code| *code != exit::OK);
    Ok(failed.unwrap_or_else(|| exit_code(&result.verdict)))
}

async fn look(setup: &Setup, streams: &[Stream], selection: &Selection) -> Result<Verdict, Failure> {
    let shelf = setup.shelf().await?;
    Ok(export::verify(&shelf, streams, selection.streams.is_empty(), setup.clock.now()).await?)
}

fn exit_code(verdict: &Verdict) -> u8 {
    if verdict.findings.is_empty() { exit::OK } else { exit::INTEGRITY }
}

fn render(verdict: &Verdict) -> String {
    let Verdict { objects, rows, bytes, findings } = verdict;
    let finding =
        |f: &Finding| format!("{}: {}: {}", f.flaw.as_str(), text::plain(&f.key), text::plain(&f.message));
    let mut lines: Vec<_> = findings.iter().take(SHOWN).map(finding).collect();
    if findings.len() > SHOWN {
        lines.push(format!("and {} more, with `--output json`", findings.len() - SHOWN));
    }
    lines.push(format!(
        "{} read, {}, {}: {}",
        text::count(*objects, "object"),
        text::count(*rows, "row"),
        text::bytes(*bytes),
        match findings.len() {
            0 => "all is sound and complete".to_owned(),
            n => text::count(n as u64, "finding"),
        }
    ));
    if findings.iter().any(|f| f.flaw != Flaw::Foreign) {
        lines.push("`trendlake repair` fetches what is damaged or missing".into());
    }
    lines.join("\n")
}
