//! One stream's units: several at once, and no more of them once the stream has shown that the rest
//! would fail the same way.

use std::sync::PoisonError;
use std::sync::{Arc, Mutex};

use futures_util::StreamExt;
use tracing::{Instrument, debug_span};

use super::{Context, RawAnswers, stop, unit};
use crate::config::Stream;
use crate::kore::Client;
use crate::plan::Planned;
use crate::report::{Failure, Outcome, Severity, UnitReport};

/// After this many units in a row that failed for a passing reason, the stream is left for the next
/// run: its server is down, or the lake's storage is, and each further unit would spend all its attempts
/// on it.
const FAILURES_IN_A_ROW: u32 = 3;

/// Whether the stream's remaining units still have a chance.
#[derive(Default)]
struct Breaker(Mutex<Fuse>);

#[derive(Default)]
struct Fuse {
    in_a_row: u32,
    blown: Option<Failure>,
}

impl Breaker {
    fn blown(&self) -> Option<Failure> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).blown.clone()
    }

    /// Takes note of an outcome. `stops_stream` says that the failure is not about this unit alone.
    fn note(&self, outcome: &Outcome, stops_stream: bool) {
        let mut fuse = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Outcome::Failed(failure) = outcome else {
            fuse.in_a_row = 0;
            return;
        };
        fuse.in_a_row +=
            u32::from(matches!(failure.severity, Severity::PassingApi | Severity::PassingStorage));
        if stops_stream || fuse.in_a_row >= FAILURES_IN_A_ROW {
            let not_tried = Failure { message: unit::NOT_TRIED.into(), hint: None, ..failure.clone() };
            fuse.blown.get_or_insert(not_tried);
        }
    }
}

pub(super) async fn export_stream(
    context: Context,
    stream: Stream,
    units: Vec<Planned>,
    kept: Option<Arc<RawAnswers>>,
) -> Vec<UnitReport> {
    if units.is_empty() {
        return Vec::new();
    }
    let client = Client::new(
        &stream,
        context.http.clone(),
        context.settings.http.max_body_bytes,
        context.settings.retry,
        (context.clock.clone(), context.chance.clone()),
        context.traffic.clone(),
    );
    if let Ok(client) = &client {
        for (ended_at, requests) in context.spent.before.get(stream.id.as_str()).into_iter().flatten() {
            let ago = (context.clock.now() - ended_at).to_std().unwrap_or_default();
            client.limiter().remember(*requests, ago);
        }
    }
    let breaker = Breaker::default();
    let finished = |planned: &Planned, outcome: unit::Finished| {
        breaker.note(&outcome.outcome, outcome.stops_stream);
        let mut report = unit::report(&stream, planned, outcome.outcome);
        report.partly = outcome.partly;
        report.missing = outcome.missing;
        report.restated = outcome.restated;
        unit::log(&report);
        planned.unit.partitions().for_each(|partition| context.shelf.no_more(&partition));
        context.observer.unit_done(&report);
        report
    };
    let (context, client, stream, breaker, finished) = (&context, &client, &stream, &breaker, &finished);
    let kept = kept.as_deref();
    let reports = units.into_iter().map(|planned| {
        let span = debug_span!("unit", grain = %planned.unit.kind, month = %planned.unit.month);
        let work = async move {
            let source = match (kept, client) {
                (Some(kept), _) => Ok(unit::Source::Kept(kept)),
                (None, client) => client.as_ref().map(unit::Source::Api),
            };
            let outcome = match (source, breaker.blown()) {
                (_, Some(failure)) => unit::Finished::failed(failure),
                (Err(error), None) => unit::Finished::failed(stop::signer_failure(error)),
                (Ok(source), None) => unit::export_unit(context, source, stream, &planned).await,
            };
            finished(&planned, outcome)
        };
        work.instrument(span)
    });
    let at_once = context.settings.concurrency.units_per_stream;
    let reports = futures_util::stream::iter(reports).buffer_unordered(at_once).collect().await;
    if let Ok(client) = client {
        context.traffic.note_quota(&stream.name, client.limiter().fullest());
        let mut spent = context.spent.now.lock().unwrap_or_else(PoisonError::into_inner);
        spent.insert(stream.id.to_string(), client.sent());
    }
    reports
}
