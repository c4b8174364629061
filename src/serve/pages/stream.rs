//! One stream: its figures as charts, its months and days as calendars. Read from the lake on request.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use chrono::{NaiveDate, TimeDelta};
use maud::{Markup, html};
use serde::Deserialize;
use url::form_urlencoded::Serializer;
use utoipa::IntoParams;

use super::chart::{self, Bar, Caption, Series};
use super::{Place, calendar, name, overview, page, restated, tables, trouble, words};
use crate::config::Stream;
use crate::export::Condition;
use crate::model::{Dataset, Grain, Month, Slice, Unit, UnitKind, Window, windows};
use crate::serve::figures::{Figures, Row};
use crate::serve::restated::Restated;
use crate::serve::site::{MOST_DAYS, MOST_DAYS_OF_HOURS, Range, Site, Trouble, slice};

/// How many months there are at first, besides the one under way.
const MONTHS: u32 = 11;
/// From how many days on the lines are means of a week.
const MANY_DAYS: usize = 120;

/// What is shown of a stream.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::serve) struct Choice {
    /// The first day, as `YYYY-MM-DD`.
    from: Option<String>,
    /// The last day, inclusive.
    to: Option<String>,
    /// `all`, `dashboard`, or `type / status / channel`.
    slice: Option<String>,
    /// The month whose days are shown, as `YYYY-MM`.
    month: Option<String>,
}

/// Everything that is shown of a stream.
struct Sight {
    stream: Stream,
    slice: Slice,
    range: Range,
    month: Option<Month>,
    today: NaiveDate,
    daily: Figures,
    hourly: Figures,
    monthly: Figures,
    /// The days and the hours of `month`.
    days: (Figures, Figures),
    restated: Restated,
}

/// One stream's figures and calendars.
#[utoipa::path(get, path = "/streams/{id}", tag = "pages",
    params(("id" = String, Path, description = "The stream's id"), Choice),
    responses(
        (status = 200, description = "The page", body = String, content_type = "text/html"),
        (status = 400, description = "What was chosen makes no sense", body = String, content_type = "text/html"),
        (status = 404, description = "There is no such stream", body = String, content_type = "text/html"),
        (status = 500, description = "The lake cannot be read", body = String, content_type = "text/html"),
        (status = 503, description = "The lake cannot be read now", body = String, content_type = "text/html")))]
pub(in crate::serve) async fn show(
    State(site): State<Arc<Site>>,
    Path(id): Path<String>,
    query: Result<Query<Choice>, QueryRejection>,
) -> Response {
    match look(&site, &id, query).await {
        Ok(sight) => page(&site, Place::Stream, &sight.stream.name, &body(&site, &sight)).into_response(),
        Err(error) => trouble(&site, &error),
    }
}

async fn look(site: &Site, id: &str, query: Result<Query<Choice>, QueryRejection>) -> Result<Sight, Trouble> {
    let stream = site.stream(id)?;
    let Query(choice) = query.map_err(|e| Trouble::BadRequest(e.body_text()))?;
    let slice = slice(&stream, choice.slice.as_deref())?;
    let today = site.today(&stream);
    let ends = (date(choice.from.as_deref())?, date(choice.to.as_deref())?);
    let range = Range::new(ends, (today, MONTHS), MOST_DAYS)?;
    let month = match choice.month.as_deref() {
        Some(text) if !text.is_empty() => Some(text.parse::<Month>()),
        _ => None,
    };
    let month = month.transpose().map_err(|e| Trouble::BadRequest(e.to_string()))?;
    let shelf = site.shelf().await?;
    let read = async |dataset: Dataset, range: Range| {
        if stream.grains.contains(&dataset.grain()) {
            site.figures(&shelf, (dataset, &stream, &slice), range).await
        } else {
            Ok(Figures::default())
        }
    };
    let (daily, monthly, hourly, restated) = tokio::try_join!(
        read(Dataset::Daily, range),
        read(Dataset::Summary, range),
        read(Dataset::Hourly, hours_of(range)),
        site.restated(&shelf, (&stream, &slice), range),
    )?;
    let days = match month {
        Some(month) => {
            let range = Range { from: month.first_day(), to: month.last_day() };
            tokio::try_join!(read(Dataset::Daily, range), read(Dataset::Hourly, range))?
        }
        None => Default::default(),
    };
    Ok(Sight { stream, slice, range, month, today, daily, hourly, monthly, days, restated })
}

/// An empty field of a form is no date.
fn date(text: Option<&str>) -> Result<Option<NaiveDate>, Trouble> {
    let text = text.filter(|t| !t.is_empty());
    let bad = |_| Trouble::BadRequest("a date is `YYYY-MM-DD`".into());
    text.map(|t| t.parse().map_err(bad)).transpose()
}

/// The days of a range whose hours are shown.
fn hours_of(range: Range) -> Range {
    Range { from: range.from.max(range.to - TimeDelta::days(MOST_DAYS_OF_HOURS - 1)), to: range.to }
}

fn body(site: &Site, sight: &Sight) -> Markup {
    let state = site.shown.state();
    let stream = &sight.stream;
    let units = state.coverage.iter().find(|c| c.stream.id == stream.id).map(|c| c.units.as_slice());
    let units = units.unwrap_or_default();
    let tally = overview::tally(units.iter().map(|(_, condition)| condition));
    html! {
        p.crumb { a href="/" { "Streams" } }
        h1 { (name(&stream.name)) }
        p.lead {
            code { (stream.id) } " · days and hours of " (stream.zone.name()) " · complete through "
            (overview::freshness(state.recent.get(&stream.id), sight.today))
        }
        div.health-line { (overview::health(&tally)) }
        (form(sight))
        (damaged(sight))
        @if stream.grains.contains(&Grain::Daily) { (by_day(sight)) }
        div.pair {
            @if stream.grains.contains(&Grain::Daily) { (by_month(sight)) }
            @if stream.grains.contains(&Grain::Hourly) { (by_hour(sight)) }
        }
        (restated::section((stream, &sight.restated), &state.runs, site.now(), |month| {
            format!("{}#coverage", link(sight, None, Some(month)))
        }))
        (coverage(sight, units, &tally))
    }
}

/// The address of this page with other choices.
fn link(sight: &Sight, range: Option<Range>, month: Option<Month>) -> String {
    let range = range.unwrap_or(sight.range);
    let mut query = Serializer::new(String::from("?"));
    query.append_pair("from", &range.from.to_string()).append_pair("to", &range.to.to_string());
    query.append_pair("slice", &sight.slice.to_string());
    if let Some(month) = month {
        query.append_pair("month", &month.to_string());
    }
    query.finish()
}

fn form(sight: &Sight) -> Markup {
    let Sight { stream, slice, range, today, .. } = sight;
    let spans = [("3 months", 2), ("6 months", 5), ("12 months", 11), ("3 years", 35)];
    let span = |months: u32| Range::new((None, None), (*today, months), MOST_DAYS).ok();
    let slices = stream.slices.iter().chain((!stream.slices.contains(slice)).then_some(slice));
    html! {
        form.filter method="get" action={ "/streams/" (stream.id) } {
            label { span { "From" } input type="date" name="from" value=(range.from) max=(today); }
            label { span { "To" } input type="date" name="to" value=(range.to) max=(today); }
            label {
                span { "Users of" }
                select name="slice" {
                    @for other in slices { option value=(other) selected[other == slice] { (slice_name(other)) } }
                }
            }
            button { "Show" }
            span.spans {
                @for (text, months) in spans {
                    @if let Some(other) = span(months) {
                        @let here = (other == *range).then_some("true");
                        a href=(link(sight, Some(other), None)) aria-current=[here] { (text) }
                    }
                }
            }
        }
    }
}

fn slice_name(slice: &Slice) -> String {
    if *slice == Slice::ALL { "all conversations".into() } else { slice.to_string() }
}

fn damaged(sight: &Sight) -> Markup {
    let damaged = [&sight.daily, &sight.monthly, &sight.hourly].into_iter().flat_map(|f| &f.damaged);
    let damaged: Vec<_> = damaged.collect();
    html! {
        @if !damaged.is_empty() {
            div.alert.bad role="alert" {
                strong { (words::count(damaged.len() as u64, "object")) " of the lake cannot be read; their figures are missing below." }
                " What to do: " code { "trendlake verify" } ", then " code { "trendlake repair" } "."
                ul { @for key in damaged.iter().take(10) { li { code { (key) } } } }
            }
        }
    }
}

fn by_day(sight: &Sight) -> Markup {
    let days = days(sight);
    let Some((first, last)) = days.first().zip(days.last()) else {
        return html! { section { h2 { "Users by day" } p.empty { "The lake holds no day of this range." } } };
    };
    let rows: BTreeMap<NaiveDate, &Row> = sight.daily.rows.iter().map(|row| (row.date, row)).collect();
    let many = days.len() > MANY_DAYS;
    let values = |index: usize| -> Vec<Option<i64>> {
        days.iter().map(|day| rows.get(day)?.counts.as_array()[index]).collect()
    };
    let line = |name, class, index: usize| {
        let values = values(index);
        Series { name, class, values: if many { chart::weekly(&values) } else { values } }
    };
    let series = [line("unique", "unique", 0), line("returning", "returning", 2), line("new", "new", 1)];
    let provisional = days.iter().position(|day| rows.get(day).is_some_and(|row| !row.is_final));
    let busiest = sight.daily.rows.iter().max_by_key(|row| row.counts.unique);
    let description = format!(
        "{} to {}. {}",
        words::day(*first),
        words::day(*last),
        busiest.map_or_else(String::new, |row| format!(
            "Most unique users on {}: {}.",
            words::day(row.date),
            words::figure(row.counts.unique)
        ))
    );
    let caption = Caption { id: "days", title: "Unique, returning and new users by day", description };
    html! {
        section {
            h2 { "Users by day" }
            div.figure-box data-chart="days-table" {
                p.legend aria-live="polite" {
                    @for line in &series {
                        span.key.{ (line.class) } { (line.name) " " b data-of=(line.name) {} }
                    }
                    @if many { span { "lines are means of 7 days, the ground is each day's unique users" } }
                    @if provisional.is_some() { span.key.soft-key { "may still change" } }
                    span.at {}
                }
                (chart::lines(&caption, *first, (&series, &values(0)), provisional))
            }
            (tables::days(&sight.daily.rows))
        }
    }
}

/// The days of the range from the first one that the lake holds. The one under way is not over, and would look
/// like a fall.
fn days(sight: &Sight) -> Vec<NaiveDate> {
    let Some(first) = sight.daily.rows.first() else { return Vec::new() };
    let is_over = |day: &NaiveDate| *day <= sight.range.to && *day < sight.today;
    first.date.iter_days().take_while(is_over).collect()
}

fn by_month(sight: &Sight) -> Markup {
    let rows: BTreeMap<Month, &Row> = sight.monthly.rows.iter().map(|r| (Month::of(r.date), r)).collect();
    let all = windows(sight.range.from, sight.range.to).map(|Window { month, .. }| month);
    let months: Vec<_> = all.skip_while(|month| !rows.contains_key(month)).collect();
    let bar = |month: &Month| {
        let row = rows.get(month);
        let value = row.and_then(|r| r.counts.unique);
        let full = month.first_day().format("%B %Y");
        Bar {
            label: month.first_day().format(if months.len() > 13 { "%b %y" } else { "%b" }).to_string(),
            title: format!("{full}: {} unique users", words::figure(value)),
            value,
            provisional: row.is_some_and(|r| !r.is_final),
        }
    };
    let bars: Vec<_> = months.iter().map(bar).collect();
    let description = match (months.first(), months.last()) {
        (Some(first), Some(last)) => format!("{first} to {last}."),
        _ => String::new(),
    };
    let caption = Caption { id: "months", title: "Unique users of each month", description };
    html! {
        section {
            h2 { "Unique users of each month" }
            p.soft { "As the API counts them: who comes on several days is one user." }
            @if bars.is_empty() {
                p.empty { "The lake holds no month of this range." }
            } @else {
                p.legend {
                    span.key.bar-key { "settled" }
                    @if bars.iter().any(|b| b.provisional) { span.key.open-key { "may still change" } }
                }
                (chart::bars(&caption, &bars))
                (tables::months(&sight.monthly.rows, &sight.daily.rows))
            }
        }
    }
}

fn by_hour(sight: &Sight) -> Markup {
    let figures = sight.hourly.rows.iter().filter(|row| row.is_final);
    let week = chart::week(figures.filter_map(|row| Some((row.date, row.hour?, row.counts.unique?))));
    let caption = Caption {
        id: "hours",
        title: "Mean of unique users by weekday and hour",
        description: "Weekdays down from Monday, local hours across; the darker, the more users.".into(),
    };
    html! {
        section {
            h2 { "Hours of the week" }
            p.soft { "Mean of the unique users of an hour, on the settled days since " (words::day(hours_of(sight.range).from)) "." }
            @if week.iter().flatten().all(Option::is_none) {
                p.empty { "The lake holds no settled hour of this range." }
            } @else {
                (chart::heat_legend(&week))
                (chart::heat(&caption, &week))
                (tables::week(&week))
            }
        }
    }
}

fn coverage(sight: &Sight, units: &[(Unit, Condition)], tally: &overview::Tally) -> Markup {
    let of_kind = |kind: UnitKind| -> BTreeMap<Month, Condition> {
        units.iter().filter(|(u, _)| u.kind == kind).map(|(u, c)| (u.month, *c)).collect()
    };
    let to_month = |month: Month| format!("{}#coverage", link(sight, None, Some(month)));
    html! {
        section #coverage {
            h2 { "What the lake holds" }
            @if units.is_empty() { p.empty { "Nothing is known of this stream until a run has ended." } }
            div.calendars {
                @for kind in sight.stream.unit_kinds() {
                    (calendar::years(kind.as_str(), &of_kind(kind), sight.month, to_month))
                }
            }
            (overview::legend(tally))
            @if let Some(month) = sight.month {
                (calendar::month(month, &sight.days.0.rows, &sight.days.1.rows))
            } @else if !units.is_empty() {
                p.soft { "Choose a month to see its days." }
            }
        }
    }
}
