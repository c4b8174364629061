//! What of a stream has changed after its time, beside the months' own figures.

use chrono::{DateTime, SecondsFormat, Utc};
use maud::{Markup, html};

use super::{scrolled, ticked, words};
use crate::config::Stream;
use crate::model::Month;
use crate::serve::recent::RunSummary;
use crate::serve::restated::{OfMonth, Restated};

/// How many runs with restated figures are listed.
const RUNS: usize = 5;

/// The section of a stream's page. `link` leads to the days of a month.
pub(super) fn section(
    (stream, restated): (&Stream, &Restated),
    runs: &[RunSummary],
    now: DateTime<Utc>,
    link: impl Fn(Month) -> String,
) -> Markup {
    html! {
        section #restated {
            h2 { "Restated figures" }
            (summary(stream, restated, now))
            @for error in &restated.damaged {
                div.alert.bad role="alert" {
                    (ticked(&error.to_string())) "."
                    @if let Some(hint) = error.hint() { " What to do: " (ticked(hint)) "." }
                }
            }
            @if !restated.months.is_empty() {
                (scrolled("Restated figures by month", &months(restated, link)))
            }
            (by_run(stream, runs, now))
        }
    }
}

fn summary(stream: &Stream, restated: &Restated, now: DateTime<Utc>) -> Markup {
    let months = restated.months.values();
    let figures: u64 = months.clone().map(|m| m.daily + m.hourly).sum();
    let newest = months.clone().map(|m| m.newest).max();
    html! {
        @if let Some((newest, belated)) = newest.zip(months.map(|m| m.days).max()) {
            p.lead {
                (words::count(figures, "figure")) " of " (words::count(restated.months.len() as u64, "month"))
                " changed after the day or hour was over. The last change was found " (words::when(newest, now))
                "; the most belated came "
                @if belated == 0 { "on the day itself" } @else { (words::count(belated.into(), "day")) " after its own" } ". A month is asked again until it has settled ("
                code { "settle_days = " (stream.settle_days) } "): what changes later is not seen."
            }
        } @else if restated.damaged.is_empty() {
            p.empty { "No figure of these months has changed after its day or hour was over." }
        }
    }
}

fn months(restated: &Restated, link: impl Fn(Month) -> String) -> Markup {
    html! {
        table #restated-months {
            thead {
                tr {
                    th scope="col" { "month" }
                    th.num scope="col" { "day figures" }
                    th.num scope="col" { "hour figures" }
                    th.num scope="col" { "most belated" }
                    th.num scope="col" { "last found" }
                }
            }
            tbody {
                @for (month, OfMonth { daily, hourly, newest, days }) in restated.months.iter().rev() {
                    tr {
                        th.nobreak scope="row" { a href=(link(*month)) { (month) } }
                        td.num { (words::number(*daily)) }
                        td.num { (words::number(*hourly)) }
                        td.num { @if *days == 0 { "same day" } @else { (words::count((*days).into(), "day")) } }
                        td.num { time datetime=(newest.to_rfc3339_opts(SecondsFormat::Secs, true)) { (words::day(newest.date_naive())) } }
                    }
                }
            }
        }
    }
}

fn by_run(stream: &Stream, runs: &[RunSummary], now: DateTime<Utc>) -> Markup {
    let of_run = |run: &RunSummary| run.restated.get(stream.id.as_str()).copied().filter(|n| *n > 0);
    let found: Vec<_> = runs.iter().filter_map(|run| Some((run, of_run(run)?))).collect();
    let sum: u64 = found.iter().map(|(_, n)| n).sum();
    html! {
        @if !found.is_empty() {
            details {
                summary {
                    (words::count(sum, "figure")) ", of all slices, in " (words::number(found.len() as u64)) " of the last "
                    (words::count(runs.len() as u64, "run"))
                }
                ul.plain {
                    @for (run, count) in found.iter().take(RUNS) {
                        li { a href={ "/runs/" (run.run_id) } { (words::when(run.ended_at, now)) } ": " (words::number(*count)) }
                    }
                }
            }
        }
    }
}
