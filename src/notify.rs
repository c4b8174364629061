//! Tells the world outside that a run has ended: a webhook that gets a summary of every run, and a ping
//! after each good one, which a dead-man's switch waits for.
//!
//! Both addresses are secrets: whoever knows one can use it. They are read by reference, and are in no log
//! and no error. A failure here is told and changes nothing about the run.

use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::{Method, Request};
use serde::Serialize;
use tracing::{debug, warn};
use url::Url;
use uuid::Uuid;

use crate::config::NotifySettings;
use crate::kore::Transport;
use crate::report::{Outcome, Report, Totals, exit};
use crate::secret::SecretRef;

/// How often each address is tried.
const ATTEMPTS: u32 = 2;
/// How many open units a summary names.
const MOST_OPEN: usize = 100;

/// What the webhook gets.
#[derive(Serialize)]
struct Summary<'a> {
    run_id: Uuid,
    version: &'a str,
    started_at: String,
    ended_at: String,
    exit_code: u8,
    totals: &'a Totals,
    /// The keys of the objects that were written: what a loader has to load anew.
    changed: Vec<&'a str>,
    /// Units that are still to be done, with why.
    open: Vec<Open<'a>>,
    warnings: &'a [String],
}

#[derive(Serialize)]
struct Open<'a> {
    stream: &'a str,
    grain: &'a str,
    month: &'a str,
    class: &'a str,
    message: &'a str,
}

/// Tells of a run that has ended.
pub async fn tell(settings: &NotifySettings, http: &dyn Transport, report: &Report) {
    if let Some(webhook) = &settings.webhook {
        let body = serde_json::to_vec(&summary(report)).expect("a summary is JSON");
        send(http, "webhook", webhook, Some(body)).await;
    }
    if let Some(ping) = settings.ping.as_ref().filter(|_| report.exit_code == exit::OK) {
        send(http, "ping", ping, None).await;
    }
}

fn summary(report: &Report) -> Summary<'_> {
    let written = report.units.iter().filter_map(|unit| match &unit.outcome {
        Outcome::Committed { written, .. } => Some(written),
        _ => None,
    });
    let open = report.open_units().take(MOST_OPEN).map(|unit| {
        let (class, message) = match &unit.outcome {
            Outcome::Failed(failure) => (failure.class.as_str(), failure.message.as_str()),
            _ => ("open", "not reached before the run was stopped"),
        };
        Open { stream: &unit.stream, grain: &unit.grain, month: &unit.month, class, message }
    });
    let time = |at: chrono::DateTime<chrono::Utc>| at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
    Summary {
        run_id: report.run_id,
        version: &report.version,
        started_at: time(report.started_at),
        ended_at: time(report.ended_at),
        exit_code: report.exit_code,
        totals: &report.totals,
        changed: written.flatten().map(String::as_str).collect(),
        open: open.collect(),
        warnings: &report.warnings,
    }
}

/// Posts the body, or asks without one, until the answer is good or no attempt is left.
async fn send(http: &dyn Transport, what: &str, address: &SecretRef, body: Option<Vec<u8>>) {
    let url = match address.read().map(|secret| Url::parse(secret.expose())) {
        Ok(Ok(url)) => url,
        // The parser's error would be harmless, but says nothing that the reference does not.
        Ok(Err(_)) => return warn!("the {what} was not told: {address} holds no URL"),
        Err(error) => return warn!("the {what} was not told: {error}"),
    };
    let mut failure = String::new();
    for _ in 0..ATTEMPTS {
        let mut request = Request::new(if body.is_some() { Method::POST } else { Method::GET }, url.clone());
        if let Some(body) = &body {
            request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            *request.body_mut() = Some(body.clone().into());
        }
        match http.execute(request).await {
            Ok(response) if response.status().is_success() => return debug!("the {what} was told"),
            Ok(response) => failure = format!("it answered {}", response.status()),
            Err(error) => failure = error.without_url().to_string(),
        }
    }
    warn!("the {what} was not told: {failure}");
}
