//! The first page: every stream at a glance, those that need a person first.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use chrono::{DateTime, NaiveDate, Utc};
use maud::{Markup, html};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{Place, chart, name, page, ticked, words};
use crate::export::{Condition, StreamCoverage};
use crate::model::local_now;
use crate::serve::recent::{AllRecent, Recent, RunSummary};
use crate::serve::site::Site;

/// What is shown of all streams.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::serve) struct Filter {
    /// A part of a stream's name or id.
    #[serde(default)]
    q: String,
    /// Only streams with a month in this condition.
    #[serde(default)]
    condition: String,
}

/// How many months are in each condition.
pub(super) type Tally = BTreeMap<Condition, u64>;

/// What one row shows.
struct Line<'a> {
    coverage: &'a StreamCoverage,
    recent: Option<&'a Recent>,
    tally: Tally,
}

pub(super) fn tally<'a>(conditions: impl Iterator<Item = &'a Condition>) -> Tally {
    let mut tally = Tally::new();
    for condition in conditions {
        *tally.entry(*condition).or_default() += 1;
    }
    tally
}

/// Every stream: how fresh and how healthy it is, and how it went lately.
#[utoipa::path(get, path = "/", tag = "pages", params(Filter),
    responses((status = 200, description = "The overview", body = String, content_type = "text/html")))]
pub(in crate::serve) async fn show(
    State(site): State<Arc<Site>>,
    query: Result<Query<Filter>, QueryRejection>,
) -> Markup {
    let Query(filter) = query.unwrap_or_default();
    let state = site.shown.state();
    let all = lines(&state.coverage, &state.recent);
    let mut sum = Tally::new();
    for (condition, count) in all.iter().flat_map(|line| &line.tally) {
        *sum.entry(*condition).or_default() += count;
    }
    let total = all.len();
    let shown: Vec<_> = all.into_iter().filter(|line| is_wanted(line, &filter)).collect();
    let now = site.now();
    let body = html! {
        h1 { "Streams" }
        (summary(state.runs.first(), total, &sum, now))
        @if total == 0 {
            p.empty { "Nothing is known of the lake yet: the first look at it is under way." }
        } @else {
            (form(&filter, &sum, shown.len(), total))
            @if shown.is_empty() { p.empty { "No stream is like that." } }
            @else { (table(&shown, now)) (legend(&sum)) }
        }
    };
    page(&site, Place::Overview, "Overview", &body)
}

/// Every stream, the one in the worst condition first.
fn lines<'a>(coverage: &'a [StreamCoverage], recent: &'a AllRecent) -> Vec<Line<'a>> {
    let line = |coverage: &'a StreamCoverage| Line {
        coverage,
        recent: recent.get(&coverage.stream.id),
        tally: tally(coverage.units.iter().map(|(_, condition)| condition)),
    };
    let mut lines: Vec<_> = coverage.iter().map(line).collect();
    // A stream with its newest months still provisional is in good health, as is one without any.
    let worst = |line: &Line| line.tally.keys().max().copied().filter(|c| *c > Condition::Provisional);
    lines.sort_by(|a, b| {
        let count = |line: &Line| worst(line).and_then(|c| line.tally.get(&c).copied());
        let key = |line: &Line| (worst(line), count(line));
        key(b).cmp(&key(a)).then_with(|| a.coverage.stream.name.cmp(&b.coverage.stream.name))
    });
    lines
}

fn is_wanted(line: &Line<'_>, filter: &Filter) -> bool {
    let stream = &line.coverage.stream;
    let part = filter.q.trim().to_lowercase();
    let is_named =
        || stream.name.to_lowercase().contains(&part) || stream.id.as_str().to_lowercase().contains(&part);
    let is_so = || line.tally.keys().any(|c| c.as_str() == filter.condition);
    (part.is_empty() || is_named()) && (filter.condition.is_empty() || is_so())
}

fn summary(last: Option<&RunSummary>, streams: usize, sum: &Tally, now: DateTime<Utc>) -> Markup {
    let months = sum.values().sum::<u64>();
    html! {
        p.lead {
            (words::count(streams as u64, "stream")) " with " (words::count(months, "month")) " of figures"
            @for (condition, count) in sum.iter().rev() { ", " (words::number(*count)) " " (condition.as_str()) }
            "."
            br;
            @match last {
                Some(run) => {

                    "Last run: " (words::when(run.ended_at, now)) ", "
                    a href={ "/runs/" (run.run_id) } { "exit code " (run.exit_code) ", " (words::ending(run.exit_code)) }
                    "; " (words::number(run.totals.committed)) " committed, "
                    (words::number(run.totals.unchanged)) " unchanged, "
                    span.bad-text[run.totals.failed > 0] { (words::number(run.totals.failed)) " failed" }
                    ", in " (words::duration(run.ended_at - run.started_at)) "."
                }
                None => "There was no run yet."
            }
        }
    }
}

fn form(filter: &Filter, sum: &Tally, shown: usize, total: usize) -> Markup {
    html! {
        form.filter method="get" action="/" role="search" {
            label { span { "Name or id" } input type="search" name="q" value=(filter.q) autocomplete="off"; }
            label {
                span { "Condition" }
                select name="condition" {
                    option value="" { "any" }
                    @for condition in sum.keys().rev() {
                        option value=(condition.as_str()) selected[condition.as_str() == filter.condition] {
                            (condition.as_str())
                        }
                    }
                }
            }
            button { "Show" }
            @if shown < total {
                span.soft { (words::number(shown as u64)) " of " (words::count(total as u64, "stream")) }
                a href="/" { "Show all" }
            }
        }
    }
}

fn table(lines: &[Line<'_>], now: DateTime<Utc>) -> Markup {
    html! {
        table.streams.sheet {
            caption.unseen { "Streams, those that need attention first" }
            thead {
                tr {
                    th scope="col" { "Stream" }
                    th scope="col" { "Unique users a day: the last 60 days, and the newest" }
                    th scope="col" { "Complete through" }
                    th scope="col" { "Months" }
                }
            }
            tbody {
                @for line in lines {
                    @let stream = &line.coverage.stream;
                    tr {
                        th scope="row" {
                            a href={ "/streams/" (stream.id) } { (name(&stream.name)) }
                            span.id { (stream.id) }
                        }
                        td.trend { (trend(line.recent)) }
                        td data-label="complete through" { (freshness(line.recent, local_now(now, stream.zone).date())) }
                        td { (health(&line.tally)) }
                    }
                }
            }
        }
    }
}

fn trend(recent: Option<&Recent>) -> Markup {
    let values = recent.map(|r| r.unique.as_slice()).unwrap_or_default();
    let newest = values.iter().flatten().next_back().copied();
    let (least, most) = (values.iter().flatten().min().copied(), values.iter().flatten().max().copied());
    html! {
        @if let Some(newest) = newest {
            @let description = format!(
                "between {} and {} unique users a day",
                words::figure(least), words::figure(most)
            );
            (chart::spark(values, &description))
            span.figure { (words::number(newest)) }
        } @else {
            span.soft { "no daily figures" }
        }
    }
}

/// How far the days go that are wholly there, and how many are missing up to yesterday.
pub(super) fn freshness(recent: Option<&Recent>, today: NaiveDate) -> Markup {
    html! {
        @match recent.and_then(|r| r.through) {
            Some(through) => {
                (words::day(through))
                @let behind = (today - through).num_days() - 1;
                @if behind > 0 {
                    " " span.tag.stale { (words::count(behind.unsigned_abs(), "day")) " behind" }
                }
            }
            None => span.soft { "not yet" }
        }
    }
}

/// The share of each condition as a bar, and in words, the worst first.
pub(super) fn health(tally: &Tally) -> Markup {
    let total = tally.values().sum::<u64>().max(1);
    #[expect(clippy::cast_precision_loss, reason = "shares of a bar")]
    let percent = |count: u64| 100.0 * count as f64 / total as f64;
    let mut parts = Vec::with_capacity(tally.len());
    let mut x = 0.0;
    for (condition, count) in tally.iter().rev() {
        parts.push((*condition, x, percent(*count)));
        x += percent(*count);
    }
    html! {
        svg.health aria-hidden="true" height="6" {
            @for (condition, x, width) in parts {
                rect.{ (condition.as_str()) } x={ (format!("{x:.2}%")) } width={ (format!("{width:.2}%")) } height="6" {}
            }
        }
        span.counts {
            @for (condition, count) in tally.iter().rev() {
                span.count.{ (condition.as_str()) } { (words::number(*count)) " " (condition.as_str()) }
            }
        }
    }
}

/// What the conditions mean, those that there are.
pub(super) fn legend(tally: &Tally) -> Markup {
    html! {
        dl.legend {
            @for condition in tally.keys() {
                div {
                    dt { span.sign.{ (condition.as_str()) } { (words::sign(*condition)) } (condition.as_str()) }
                    dd { (ticked(words::meaning(*condition))) }
                }
            }
        }
    }
}
