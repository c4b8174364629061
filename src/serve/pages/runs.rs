//! The runs: what each did, what failed, and what to do about it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use maud::{Markup, html};

use super::{Place, name, page, scrolled, ticked, trouble, words};
use crate::model::Month;
use crate::report::{Failure, Outcome, Report, UnitReport};
use crate::serve::recent::RunSummary;
use crate::serve::site::Site;

/// How many streams and grains with one failure, or one outcome, are listed by name.
const LISTED: usize = 100;

/// The newest runs.
#[utoipa::path(get, path = "/runs", tag = "pages",
    responses((status = 200, description = "The page", body = String, content_type = "text/html")))]
pub(in crate::serve) async fn all(State(site): State<Arc<Site>>) -> Markup {
    let state = site.shown.state();
    let now = site.now();
    let body = html! {
        h1 { "Runs" }
        @if state.runs.is_empty() {
            p.empty { "There was no run yet." }
        } @else {
            p.lead { "The newest " (words::count(state.runs.len() as u64, "run")) " of those whose reports are in the lake, which are kept for 90 days." }
            (scrolled("Runs", &table(&state.runs, now)))
        }
    };
    page(&site, Place::Runs, "Runs", &body)
}

fn table(runs: &[RunSummary], now: DateTime<Utc>) -> Markup {
    html! {
        table.runs.sheet {
            thead {
                tr {
                    th scope="col" { "Ended" }
                    th scope="col" { "Result" }
                    th.num scope="col" { "Committed" }
                    th.num scope="col" { "Unchanged" }
                    th.num scope="col" { "Failed" }
                    th.num scope="col" { "Open" }
                    th.num scope="col" { "Restated" }
                    th.num scope="col" { "Requests" }
                    th.num scope="col" { "Took" }
                }
            }
            tbody {
                @for run in runs {
                    tr {
                        th scope="row" { a href={ "/runs/" (run.run_id) } { (words::when(run.ended_at, now)) } }
                        td { (result(run.exit_code)) (classes(&run.failures)) }
                        td.num { (words::number(run.totals.committed)) }
                        td.num { (words::number(run.totals.unchanged)) }
                        td.num { span.bad-text[run.totals.failed > 0] { (words::number(run.totals.failed)) } }
                        td.num { (words::number(run.totals.open)) }
                        td.num { (words::number(run.totals.restated)) }
                        td.num { (words::number(run.totals.requests)) }
                        td.num { (words::duration(run.ended_at - run.started_at)) }
                    }
                }
            }
        }
    }
}

fn result(code: u8) -> Markup {
    html! {
        span.tag.final[code == 0].failed[code != 0] { (code) }
        " " (words::ending(code))
    }
}

fn classes(failures: &BTreeMap<String, u64>) -> Markup {
    html! {
        @for (class, count) in failures {
            " " span.soft { code { (class) } " × " (words::number(*count)) }
        }
    }
}

/// One run.
#[utoipa::path(get, path = "/runs/{id}", tag = "pages",
    params(("id" = String, Path, description = "The run's id")),
    responses(
        (status = 200, description = "The page", body = String, content_type = "text/html"),
        (status = 404, description = "There is no report of this run", body = String, content_type = "text/html"),
        (status = 500, description = "The lake cannot be read", body = String, content_type = "text/html"),
        (status = 503, description = "The lake cannot be read now", body = String, content_type = "text/html")))]
pub(in crate::serve) async fn one(State(site): State<Arc<Site>>, Path(id): Path<String>) -> Response {
    match site.report(&id).await {
        Ok(report) => page(&site, Place::Runs, "Run", &body(&report, site.now())).into_response(),
        Err(error) => trouble(&site, &error),
    }
}

fn body(report: &Report, now: DateTime<Utc>) -> Markup {
    let totals = &report.totals;
    let facts = [
        ("planned", totals.planned),
        ("committed", totals.committed),
        ("unchanged", totals.unchanged),
        ("failed", totals.failed),
        ("open", totals.open),
        ("requests", totals.requests),
        ("retries", totals.retries),
        ("objects written", totals.puts),
        ("rows written", totals.rows),
        ("figures restated", totals.restated),
        ("points missing", totals.missing),
    ];
    let mut failed = BTreeMap::<_, (_, Group)>::new();
    let (mut open, mut committed, mut unchanged) = <(Group, Group, Group)>::default();
    for unit in report.units.iter() {
        match &unit.outcome {
            Outcome::Failed(Failure { class, message, hint, .. }) => {
                let alike = failed.entry((class.clone(), message.clone()));
                alike.or_insert_with(|| (hint.clone(), Group::default())).1.add(unit);
            }
            Outcome::Open => open.add(unit),
            Outcome::Committed { .. } => committed.add(unit),
            Outcome::Unchanged | Outcome::Superseded => unchanged.add(unit),
        }
    }
    let outcomes = [
        ("Open", "not finished because the run was stopped", open),
        ("Committed", "written", committed),
        ("Unchanged", "the lake held the same, or something newer", unchanged),
    ];
    html! {
        p.crumb { a href="/runs" { "Runs" } }
        h1 { "Run of " (report.started_at.format("%-d %b %Y, %H:%M UTC")) }
        p.lead {
            (result(report.exit_code)) " · ended " (words::when(report.ended_at, now))
            ", after " (words::duration(report.ended_at - report.started_at)) " · version " (report.version)
            " · " code { (report.run_id) }
        }
        dl.facts { @for (what, count) in facts { div { dt { (what) } dd { (words::number(count)) } } } }
        (failures(failed))
        @if !report.warnings.is_empty() {
            section {
                h2 { "Oddities" }
                ul.plain { @for warning in &report.warnings { li { (ticked(warning)) } } }
            }
        }
        @for (title, meaning, group) in outcomes {
            @if group.count > 0 {
                section {
                    h2 { (title) " " span.soft { (words::number(group.count)) ", " (meaning) } }
                    p.units { (names(&group)) }
                }
            }
        }
    }
}

/// Units with one outcome.
#[derive(Default)]
struct Group {
    count: u64,
    /// The months, and how many figures were restated in them, by the stream's name, its id and the grain.
    months: BTreeMap<(String, String, String), (BTreeSet<Month>, u64)>,
}

impl Group {
    fn add(&mut self, unit: UnitReport) {
        self.count += 1;
        let key = (unit.stream_name, unit.stream, unit.grain);
        let (months, restated) = self.months.entry(key).or_default();
        months.extend(unit.month.parse::<Month>());
        *restated += unit.restated;
    }
}

/// Failures that are alike, with the units that they met: one cause often meets many.
fn failures(alike: BTreeMap<(String, String), (Option<String>, Group)>) -> Markup {
    // What a person can do something about comes before what only follows from it.
    let mut alike: Vec<_> = alike.into_iter().collect();
    alike.sort_by_key(|(_, (hint, group))| (hint.is_none(), std::cmp::Reverse(group.count)));
    html! {
        @if !alike.is_empty() {
            section {
                h2 { "What failed, and what to do" }
                @for ((class, message), (hint, group)) in &alike {
                    article.failure {
                        h3 { span.tag.failed { (class) } " " (words::count(group.count, "unit")) }
                        p { (ticked(message)) }
                        @if let Some(hint) = hint { p.hint { "What to do: " (ticked(hint)) "." } }
                        p.units { (names(group)) }
                    }
                }
            }
        }
    }
}

/// The units by stream and grain, months that follow one another as a range.
fn names(group: &Group) -> Markup {
    let more = group.months.len().saturating_sub(LISTED);
    html! {
        @for ((stream_name, stream, grain), (months, restated)) in group.months.iter().take(LISTED) {
            span.unit {
                a href={ "/streams/" (stream) "#coverage" } { (name(stream_name)) }
                " " (grain) " " (ranges(months))
                @if *restated > 0 { span.soft { ", " (words::number(*restated)) " restated" } }
            }
            " "
        }
        @if more > 0 { span.soft { "and of " (words::number(more as u64)) " more" } }
    }
}

/// `2026-01 to 2026-03, 2026-05`.
fn ranges(months: &BTreeSet<Month>) -> String {
    let mut ranges: Vec<(Month, Month)> = Vec::new();
    for &month in months {
        match ranges.last_mut() {
            Some((_, last)) if last.next() == month => *last = month,
            _ => ranges.push((month, month)),
        }
    }
    let text = |(first, last): &(Month, Month)| {
        if first == last { first.to_string() } else { format!("{first} to {last}") }
    };
    ranges.iter().map(text).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_as_ranges() {
        let of = |months: &[&str]| ranges(&months.iter().map(|m| m.parse().unwrap()).collect());
        assert_eq!(of(&["2026-02", "2025-12", "2026-01", "2026-05"]), "2025-12 to 2026-02, 2026-05");
        assert_eq!(of(&[]), "");
    }
}
