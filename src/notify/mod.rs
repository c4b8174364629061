//! Tells the world outside of a run: a webhook that gets a summary of every one, a ping after each good one, which a
//! dead-man's switch waits for, and events of `OpenLineage` when one begins and ends.
//!
//! The first two addresses are secrets: whoever knows one can use it. They are read by reference, and are in no log
//! and no error. A failure here is told and changes nothing about the run.

mod event;
mod lineage;
mod send;

use std::time::Duration;

use serde::Serialize;
use tracing::warn;
use uuid::Uuid;

pub use event::Nominal;

use crate::config::Stream;
use crate::export::{self, Context, Overview, RunId};
use crate::plan::Scope;
use crate::report::{Outcome, Report, Totals, exit};
use lineage::Lineage;
use send::{Message, address, send};

/// For how long a run that is being stopped tries to tell of it.
const LAST_WORDS: Duration = Duration::from_secs(2);
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
    changed: Vec<String>,
    /// Units that are still to be done, with why.
    open: Vec<Open>,
    warnings: &'a [String],
}

#[derive(Serialize)]
struct Open {
    stream: String,
    grain: String,
    month: String,
    class: String,
    message: String,
}

/// One run as [`export::run`] does it, told of when it begins and when it has ended. `nominal` is when it was due.
///
/// # Errors
/// Those of the run.
pub async fn run(
    context: &Context,
    streams: &[Stream],
    scope: &Scope,
    nominal: Option<Nominal>,
    begin: impl FnOnce(&Overview),
    stopped: impl Fn() -> Option<u8>,
) -> Result<Report, export::Error> {
    let run_id = RunId::new(context);
    let lineage = Lineage::new(context, streams, run_id, nominal);
    // What is told at its beginning does not hold the run up.
    let run = export::run_as(run_id, context, streams, scope, begin, stopped);
    let (result, ()) = futures_util::join!(run, unless_stopped(context, lineage.begun()));
    let end = async {
        lineage.ended(&result).await;
        if let Ok(report) = &result {
            tell(context, report).await;
        }
    };
    unless_stopped(context, end).await;
    result
}

/// Tells, but not for long where the run is to stop: whoever stops a run does not wait.
async fn unless_stopped(context: &Context, telling: impl Future<Output = ()>) {
    let patience = async {
        context.stop.cancelled().await;
        context.clock.sleep(LAST_WORDS).await;
    };
    tokio::select! {
        () = telling => {}
        () = patience => warn!("not everybody was told of the run in time"),
    }
}

/// Tells the webhook and the ping of a run that has ended.
async fn tell(context: &Context, report: &Report) {
    let (settings, http) = (&context.settings.notify, context.http.as_ref());
    if let Some(webhook) = &settings.webhook
        && let Some(url) = address("webhook", webhook)
    {
        let body = serde_json::to_vec(&summary(report)).expect("a summary is JSON");
        send(http, &Message { whom: "webhook", url, token: None, body: Some(body) }).await;
    }
    if let Some(ping) = settings.ping.as_ref().filter(|_| report.exit_code == exit::OK)
        && let Some(url) = address("ping", ping)
    {
        send(http, &Message { whom: "ping", url, token: None, body: None }).await;
    }
}

fn summary(report: &Report) -> Summary<'_> {
    let open = report.units.open().take(MOST_OPEN).map(|unit| {
        let (class, message) = match unit.outcome {
            Outcome::Failed(failure) => (failure.class, failure.message),
            _ => ("open".into(), "not reached before the run was stopped".into()),
        };
        Open { stream: unit.stream, grain: unit.grain, month: unit.month, class, message }
    });
    let time = |at: chrono::DateTime<chrono::Utc>| at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
    Summary {
        run_id: report.run_id,
        version: &report.version,
        started_at: time(report.started_at),
        ended_at: time(report.ended_at),
        exit_code: report.exit_code,
        totals: &report.totals,
        changed: report.written().collect(),
        open: open.collect(),
        warnings: &report.warnings,
    }
}
