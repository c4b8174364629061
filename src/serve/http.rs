//! What the daemon serves: health, metrics, and how it goes as JSON.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::worker::Shown;

/// Serves until `stop` is given.
///
/// # Errors
/// When the listener fails.
pub async fn serve(listener: TcpListener, shown: Arc<Shown>, stop: CancellationToken) -> std::io::Result<()> {
    axum::serve(listener, router(shown)).with_graceful_shutdown(stop.cancelled_owned()).await
}

/// Every path.
pub fn router(shown: Arc<Shown>) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/api/v1/coverage", get(coverage))
        .route("/api/v1/runs/last", get(last_run))
        .with_state(shown)
}

async fn ready(State(shown): State<Arc<Shown>>) -> impl IntoResponse {
    if shown.state().ready {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "the first round is under way\n")
    }
}

async fn metrics(State(shown): State<Arc<Shown>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], shown.meter.render())
}

/// How one stream stands.
#[derive(Serialize)]
struct Coverage {
    stream: String,
    name: String,
    zone: String,
    units: Vec<Unit>,
}

#[derive(Serialize)]
struct Unit {
    grain: &'static str,
    month: String,
    condition: &'static str,
}

async fn coverage(State(shown): State<Arc<Shown>>) -> Json<Vec<Coverage>> {
    let coverage = shown.state().coverage;
    let of_stream = |c: &crate::export::StreamCoverage| Coverage {
        stream: c.stream.id.to_string(),
        name: c.stream.name.clone(),
        zone: c.stream.zone.name().into(),
        units: c
            .units
            .iter()
            .map(|(unit, condition)| Unit {
                grain: unit.grain.as_str(),
                month: unit.month.to_string(),
                condition: condition.as_str(),
            })
            .collect(),
    };
    Json(coverage.iter().map(of_stream).collect())
}

async fn last_run(State(shown): State<Arc<Shown>>) -> impl IntoResponse {
    match shown.state().last {
        Some(report) => Json(report.as_ref().clone()).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}
