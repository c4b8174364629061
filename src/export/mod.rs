//! Carries out a plan: streams side by side, newest months first, one outcome per unit.
//!
//! This is where the source, the table and the lake meet; none of them knows the others. A run is a
//! reconciliation and keeps nothing between runs but the lake itself.

mod answers;
mod changes;
mod compare;
mod coverage;
mod inventory;
mod lateness;
mod parked;
mod periods;
mod raw;
mod run;
mod stop;
mod stream;
mod unit;
mod verify;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};
use futures_util::StreamExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, debug_span, error, warn};

pub use changes::{Changed, Changes, Since, changes};
pub use coverage::{Condition, StreamCoverage, coverage};
pub use inventory::{Error, Overview, StreamOverview, overview};
pub use lateness::{Late, Lateness, late, lateness};
pub use parked::{Accepted, Parked, accept, rejected_key};
pub use raw::{RawAnswers, raw_answers};
pub use run::{RunId, last_reports, report_of, run, run_as, run_ids};
pub use stop::severity;
pub use verify::{Finding, Flaw, Verdict, verify};

use crate::chance::Chance;
use crate::clock::Clock;
use crate::config::{Concurrency, Settings, Stream};
use crate::kore::{Traffic, Transport};
use crate::lake::Lake;
use crate::model::Layout;
use crate::plan::Planned;
use crate::report::{Failure, Outcome, Severity, UnitReport, Units};
use crate::shelf::Shelf;

/// How many streams go side by side where they share objects: more than a group is meant for.
const SIDE_BY_SIDE: usize = 128;

/// Whoever watches a run. Called from several tasks at once; must not block.
pub trait Observer: Send + Sync {
    /// A unit has come to its end.
    fn unit_done(&self, unit: &UnitReport);
}

/// Everything a run needs besides the plan.
#[derive(Clone)]
pub struct Context {
    /// The settings.
    pub settings: Arc<Settings>,
    /// The lake's partitions; the lake is locked by the caller.
    pub shelf: Shelf,
    /// The HTTP client of all streams.
    pub http: Arc<dyn Transport>,
    /// Time.
    pub clock: Clock,
    /// Chance.
    pub chance: Chance,
    /// Counts of the wire.
    pub traffic: Arc<Traffic>,
    /// Who watches.
    pub observer: Arc<dyn Observer>,
    /// Cancelled when the run is to stop: nothing new begins, a put under way ends.
    pub stop: CancellationToken,
    /// Oddities, each told once per run.
    pub warnings: Warnings,
    /// Requests by stream: those of runs before, and those of this one.
    pub spent: Spent,
    /// How many units ask the API at once.
    pub turns: Turns,
}

/// Bounds how many units ask the API at once, where that are not all that are under way.
#[derive(Clone, Debug, Default)]
pub struct Turns(Option<Arc<Semaphore>>);

impl Turns {
    /// Waits for a turn, which ends when what comes back is dropped.
    async fn take(&self) -> Option<OwnedSemaphorePermit> {
        self.0.clone()?.acquire_owned().await.ok()
    }
}

impl Context {
    /// The lake, for what is no partition.
    fn lake(&self) -> &Lake {
        self.shelf.lake()
    }
}

/// How many requests ended when, or shortly before.
type PastRequests = Vec<(DateTime<Utc>, u64)>;

/// Requests that fill the streams' rate limits, by stream id.
#[derive(Clone, Debug, Default)]
pub struct Spent {
    /// Of earlier runs, with when the run had ended; the earliest first.
    before: Arc<BTreeMap<String, PastRequests>>,
    /// Of this run.
    now: Arc<Mutex<BTreeMap<String, u64>>>,
}

/// Oddities that fail nothing. Each is logged once and kept for the report.
#[derive(Clone, Debug, Default)]
pub struct Warnings(Arc<Mutex<BTreeSet<String>>>);

impl Warnings {
    /// At most this many different ones are kept.
    const MOST: usize = 1000;

    fn add(&self, text: String) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() < Self::MOST && !all.contains(&text) {
            warn!("{text}");
            all.insert(text);
        }
    }

    /// All of them, sorted.
    #[must_use]
    pub fn all(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

/// Fetches and commits every unit of `planned`, and gives one report per unit, the newest month
/// of each stream first.
///
/// A stream that fails, or whose task has a bug, never holds up another one.
///
/// With `kept`, the answers are those, and the API is not asked.
pub async fn export(
    context: &Context,
    planned: Vec<(Stream, Vec<Planned>)>,
    kept: Option<&Arc<RawAnswers>>,
) -> Units {
    let (context, planned, at_once) = arranged(context, planned);
    for (_, units) in &planned {
        context.shelf.expect(units.iter().flat_map(|p| p.unit.partitions()));
    }
    let tasks = planned.into_iter().map(|(stream, units)| {
        let (context, kept) = (context.clone(), kept.cloned());
        async move {
            let (name, due) = (stream.clone(), units.clone());
            // A task of its own, so that a panic stays within the stream.
            let span = debug_span!("stream", id = %stream.id);
            let work = stream::export_stream(context.clone(), stream, units, kept);
            // Where nobody listens to spans this fine, the run's own is left.
            match tokio::spawn(work.instrument(span).in_current_span()).await {
                Ok(reports) => reports,
                Err(_) => panicked(&context, &name, &due),
            }
        }
    });
    let mut reports = futures_util::stream::iter(tasks).buffer_unordered(at_once);
    let mut all = Units::default();
    while let Some(mut units) = reports.next().await {
        units.sort_by(|a, b| (&b.month, &a.grain).cmp(&(&a.month, &b.grain)));
        all.add(&units);
    }
    all
}

/// The streams in the order in which they are worked on, and how many of them at once.
///
/// Where streams share objects, those of a group go side by side, month by month, so that what belongs into one
/// object comes at about the same time; as many units ask the API at once as otherwise.
fn arranged(
    context: &Context,
    mut planned: Vec<(Stream, Vec<Planned>)>,
) -> (Context, Vec<(Stream, Vec<Planned>)>, usize) {
    let Concurrency { streams, units_per_stream } = context.settings.concurrency;
    let (mut context, layout) = (context.clone(), context.shelf.layout());
    let at_once = streams_at_once(&context.settings, layout);
    match layout {
        Layout::Stream => return (context, planned, at_once),
        Layout::Packed(groups) => planned.sort_by_key(|(stream, _)| groups.of(&stream.id)),
        Layout::Delta => {}
    }
    context.turns = Turns(Some(Arc::new(Semaphore::new(streams * units_per_stream))));
    (context, planned, at_once)
}

/// How many streams are worked on at once.
#[must_use]
pub fn streams_at_once(settings: &Settings, layout: Layout) -> usize {
    match layout {
        Layout::Stream => settings.concurrency.streams,
        Layout::Packed(_) | Layout::Delta => settings.concurrency.streams.max(SIDE_BY_SIDE),
    }
}

/// The reports of a stream whose task has a bug. What it had committed is in the lake all the same.
fn panicked(context: &Context, stream: &Stream, due: &[Planned]) -> Vec<UnitReport> {
    error!(stream = %stream.id, "the stream's task ended with a bug");
    let failure = Failure {
        class: "panic".into(),
        severity: Severity::Bug,
        message: "a bug ended the work on this stream".into(),
        hint: Some("please report it, with the log of this run".into()),
    };
    let report = |planned: &Planned| {
        let report = unit::report(stream, planned, Outcome::Failed(failure.clone()));
        planned.unit.partitions().for_each(|partition| context.shelf.no_more(&partition));
        context.observer.unit_done(&report);
        report
    };
    due.iter().map(report).collect()
}
