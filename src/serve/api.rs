//! How it goes and what the lake holds, as JSON.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::figures::Row;
use super::recent::RunSummary;
use super::site::{MOST_DAYS, MOST_DAYS_OF_HOURS, Range, Site, Trouble, slice};
use crate::export::StreamCoverage;
use crate::model::{Averages, Dataset, Period};
use crate::report::Report;

/// Why there is no answer.
#[derive(Serialize, ToSchema)]
pub(super) struct Problem {
    /// What happened.
    error: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'static str>,
}

/// A trouble, told to a program.
pub(super) struct ApiTrouble(Trouble);

impl From<Trouble> for ApiTrouble {
    fn from(trouble: Trouble) -> Self {
        Self(trouble)
    }
}

impl IntoResponse for ApiTrouble {
    fn into_response(self) -> Response {
        let problem = Problem { error: self.0.to_string(), hint: self.0.hint() };
        (self.0.status(), Json(problem)).into_response()
    }
}

/// How one stream stands.
#[derive(Serialize, ToSchema)]
pub(super) struct Coverage {
    /// The stream's id.
    stream: String,
    /// Its name in the configuration.
    name: String,
    /// The IANA zone in which its days are cut.
    zone: String,
    /// The newest day that had ended when it was fetched.
    #[serde(skip_serializing_if = "Option::is_none")]
    through: Option<NaiveDate>,
    /// Every month of every grain, the newest first.
    units: Vec<UnitCoverage>,
}

/// How one month of a stream stands.
#[derive(Serialize, ToSchema)]
pub(super) struct UnitCoverage {
    /// `daily`, `hourly` or `periods`.
    grain: &'static str,
    /// The month, as `YYYY-MM`.
    month: String,
    /// `final`, `provisional`, `stale`, `missing`, `damaged`, `suspect` or `failed`.
    condition: &'static str,
}

/// How every month of every stream stands, as of the last round.
#[utoipa::path(get, path = "/api/v1/coverage", tag = "coverage",
    responses((status = 200, description = "One entry per stream", body = Vec<Coverage>)))]
pub(super) async fn coverage(State(site): State<Arc<Site>>) -> Json<Vec<Coverage>> {
    let state = site.shown.state();
    let of_stream = |c: &StreamCoverage| Coverage {
        stream: c.stream.id.to_string(),
        name: c.stream.name.clone(),
        zone: c.stream.zone.name().into(),
        through: state.recent.get(&c.stream.id).and_then(|recent| recent.through),
        units: c
            .units
            .iter()
            .map(|(unit, condition)| UnitCoverage {
                grain: unit.kind.as_str(),
                month: unit.month.to_string(),
                condition: condition.as_str(),
            })
            .collect(),
    };
    Json(state.coverage.iter().map(of_stream).collect())
}

/// The newest runs in short, the newest first.
#[utoipa::path(get, path = "/api/v1/runs", tag = "runs",
    responses((status = 200, description = "At most a hundred runs", body = Vec<RunSummary>)))]
pub(super) async fn runs(State(site): State<Arc<Site>>) -> Json<Vec<RunSummary>> {
    Json(site.shown.state().runs.as_ref().clone())
}

/// The report of the last run.
#[utoipa::path(get, path = "/api/v1/runs/last", tag = "runs",
    responses(
        (status = 200, description = "The report", body = Report),
        (status = 404, description = "There was no run yet", body = Problem)))]
pub(super) async fn last_run(State(site): State<Arc<Site>>) -> Result<Json<Report>, ApiTrouble> {
    match site.shown.state().last {
        Some(report) => Ok(Json(report.as_ref().clone())),
        None => Err(Trouble::NotFound("there was no run yet".into()).into()),
    }
}

/// The report of one run, read from the lake.
#[utoipa::path(get, path = "/api/v1/runs/{id}", tag = "runs",
    params(("id" = String, Path, description = "The run's id")),
    responses(
        (status = 200, description = "The report", body = Report),
        (status = 404, description = "There is no report of this run", body = Problem),
        (status = 500, description = "The lake cannot be read", body = Problem),
        (status = 503, description = "The lake cannot be read now", body = Problem)))]
pub(super) async fn run(
    State(site): State<Arc<Site>>,
    Path(id): Path<String>,
) -> Result<Json<Report>, ApiTrouble> {
    Ok(Json(site.report(&id).await?))
}

/// How fine the figures are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Fineness {
    /// One point per day.
    #[default]
    Daily,
    /// One point per local hour.
    Hourly,
    /// One point per month: the month's true unique users.
    Month,
    /// One point per week: the week's true unique users, where the configuration asks for them.
    Week,
    /// One point per quarter, likewise.
    Quarter,
    /// One point per day, over it and the 6 before it, likewise.
    #[serde(rename = "rolling_7d")]
    Rolling7d,
    /// One point per day, over it and the 27 before it, likewise.
    #[serde(rename = "rolling_28d")]
    Rolling28d,
}

/// Which figures are asked for.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct TrendsQuery {
    /// Days, hours, months or other periods.
    #[serde(default)]
    grain: Fineness,
    /// The first day. Without it, the beginning of the month that is eleven (of hours: one) before the last.
    from: Option<NaiveDate>,
    /// The last day, inclusive. Without it, today.
    to: Option<NaiveDate>,
    /// `all`, `dashboard`, or `type / status / channel`. Without it, all users if the stream has them.
    slice: Option<String>,
}

/// Figures of one stream and slice.
#[derive(Serialize, ToSchema)]
pub(super) struct Trends {
    /// The stream's id.
    stream: String,
    /// Its name in the configuration.
    name: String,
    /// The IANA zone in which its days are cut.
    zone: String,
    /// Days, hours, months or other periods.
    grain: Fineness,
    /// The filters: type, status and channel.
    slice: String,
    /// The first day asked for.
    from: NaiveDate,
    /// The last day asked for, inclusive.
    to: NaiveDate,
    /// In order of time. Unique and returning users must not be added up.
    points: Vec<Point>,
    /// Objects that cannot be read, whose points are missing here.
    damaged: Vec<String>,
}

/// Figures of one day, hour, month or other period.
#[derive(Serialize, ToSchema)]
pub(super) struct Point {
    /// The local date; of a month or another period, its first day asked for.
    date: NaiveDate,
    /// Of a period: its last day asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    end: Option<NaiveDate>,
    /// Of an hour: the local hour, 0 to 23.
    #[serde(skip_serializing_if = "Option::is_none")]
    hour: Option<u8>,
    /// Of an hour: when it began. Not there for an hour that a change of the clocks skips.
    #[serde(skip_serializing_if = "Option::is_none")]
    hour_start: Option<DateTime<Utc>>,
    /// Distinct users; null where the API gave no figure.
    unique_users: Option<i64>,
    /// Users seen for the first time; null where the API gave no figure.
    new_users: Option<i64>,
    /// Users seen before; null where the API gave no figure.
    returning_users: Option<i64>,
    /// Of a period: the averages per day.
    #[serde(skip_serializing_if = "Option::is_none")]
    averages: Option<AveragesPerDay>,
    /// Whether the figures had settled when they were fetched.
    is_final: bool,
    /// When this answer was first seen.
    fetched_at: DateTime<Utc>,
}

/// Averages per day of a period; null where the API gave no figure.
#[derive(Serialize, ToSchema)]
pub(super) struct AveragesPerDay {
    /// Distinct users.
    unique: Option<f64>,
    /// Users seen for the first time.
    new: Option<f64>,
    /// Users seen before.
    returning: Option<f64>,
}

impl From<Averages> for AveragesPerDay {
    fn from(averages: Averages) -> Self {
        let Averages { unique, new, returning } = averages;
        Self { unique, new, returning }
    }
}

impl From<Row> for Point {
    fn from(row: Row) -> Self {
        let [unique_users, new_users, returning_users] = row.counts.as_array();
        Self {
            date: row.date,
            end: row.end,
            hour: row.hour,
            hour_start: row.hour_start,
            unique_users,
            new_users,
            returning_users,
            averages: row.averages.map(Into::into),
            is_final: row.is_final,
            fetched_at: row.fetched_at,
        }
    }
}

/// What the lake holds of one stream.
#[utoipa::path(get, path = "/api/v1/streams/{id}/trends", tag = "trends",
    params(("id" = String, Path, description = "The stream's id"), TrendsQuery),
    responses(
        (status = 200, description = "The figures", body = Trends),
        (status = 400, description = "The question makes no sense", body = Problem),
        (status = 404, description = "There is no such stream", body = Problem),
        (status = 500, description = "The lake cannot be read", body = Problem),
        (status = 503, description = "The lake cannot be read now", body = Problem)))]
pub(super) async fn trends(
    State(site): State<Arc<Site>>,
    Path(id): Path<String>,
    query: Result<Query<TrendsQuery>, QueryRejection>,
) -> Result<Json<Trends>, ApiTrouble> {
    let stream = site.stream(&id)?;
    let Query(query) = query.map_err(|e| Trouble::BadRequest(e.body_text()))?;
    let slice = slice(&stream, query.slice.as_deref())?;
    let (dataset, period) = match query.grain {
        Fineness::Daily => (Dataset::Daily, None),
        Fineness::Hourly => (Dataset::Hourly, None),
        Fineness::Month => (Dataset::Summary, Some(Period::Month)),
        Fineness::Week => (Dataset::Periods, Some(Period::Week)),
        Fineness::Quarter => (Dataset::Periods, Some(Period::Quarter)),
        Fineness::Rolling7d => (Dataset::Periods, Some(Period::Rolling7d)),
        Fineness::Rolling28d => (Dataset::Periods, Some(Period::Rolling28d)),
    };
    let (months, most) = if dataset == Dataset::Hourly { (1, MOST_DAYS_OF_HOURS) } else { (11, MOST_DAYS) };
    let range = Range::new((query.from, query.to), (site.today(&stream), months), most)?;
    let mut figures = site.figures(&site.shelf().await?, (dataset, &stream, &slice), range).await?;
    figures.rows.retain(|row| row.period == period);
    Ok(Json(Trends {
        stream: stream.id.to_string(),
        name: stream.name,
        zone: stream.zone.name().into(),
        grain: query.grain,
        slice: slice.to_string(),
        from: range.from,
        to: range.to,
        points: figures.rows.into_iter().map(Into::into).collect(),
        damaged: figures.damaged,
    }))
}

/// This document.
#[utoipa::path(get, path = "/api/v1/openapi.json", tag = "about",
    responses((status = 200, description = "An OpenAPI document", body = serde_json::Value)))]
pub(super) async fn openapi() -> Response {
    Json(super::http::document()).into_response()
}
