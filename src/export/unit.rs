//! One unit from its question to its objects: read what is there, ask and build, commit.

use std::collections::BTreeMap;
use std::time::Duration;

use arrow::array::RecordBatch;
use tracing::{debug, info, warn};

use super::answers::{Built, Prepared, prepare, prepare_again};
use super::compare::vanished;
use super::stop::Stop;
use super::{Context, RawAnswers, parked, raw};
use crate::config::Stream;
use crate::kore::Client;
use crate::lake;
use crate::model::{Dataset, Partition, local_now};
use crate::plan::{Planned, State};
use crate::report::{Amount, Failure, Outcome, Severity, UnitReport};
use crate::shelf::{Prior, Settled};
use crate::table;

/// Says that a unit was not tried, because its stream had shown that it would fail the same way.
pub(super) const NOT_TRIED: &str = "not tried, since another month of the stream failed";

/// How long a run that is being stopped waits for a put under way. Schedulers kill after half a minute.
const LAST_PUT: Duration = Duration::from_secs(20);

/// What came of a unit.
pub(super) struct Finished {
    pub outcome: Outcome,
    /// Whether the stream's other units would fail the same way.
    pub stops_stream: bool,
    /// What was written all the same of a unit that did not come to its end.
    pub partly: Vec<String>,
    pub missing: u64,
    pub restated: u64,
}

impl Finished {
    fn of(outcome: Outcome) -> Self {
        Self { outcome, stops_stream: false, partly: Vec::new(), missing: 0, restated: 0 }
    }

    pub(super) fn failed(failure: Failure) -> Self {
        Self::of(Outcome::Failed(failure))
    }
}

/// Where answers come from.
#[derive(Clone, Copy)]
pub(super) enum Source<'a> {
    /// The API is asked.
    Api(&'a Client),
    /// It was asked before, and its answers were kept.
    Kept(&'a RawAnswers),
}

pub(super) async fn export_unit(
    context: &Context,
    source: Source<'_>,
    stream: &Stream,
    planned: &Planned,
) -> Finished {
    let mut partly = Vec::new();
    let (outcome, stops_stream) = match attempt(context, source, stream, planned, &mut partly).await {
        Ok(finished) => return finished,
        Err(Stop::Open) => (Outcome::Open, false),
        Err(Stop::Superseded) => (Outcome::Superseded, false),
        Err(Stop::Failed(failure)) => (Outcome::Failed(failure), false),
        Err(Stop::StreamFailed(failure)) => (Outcome::Failed(failure), true),
    };
    Finished { outcome, stops_stream, partly, missing: 0, restated: 0 }
}

async fn attempt(
    context: &Context,
    source: Source<'_>,
    stream: &Stream,
    planned: &Planned,
    written: &mut Vec<String>,
) -> Result<Finished, Stop> {
    if context.stop.is_cancelled() {
        return Err(Stop::Open);
    }
    let priors = read_priors(context, planned).await?;
    let prepared = match source {
        Source::Api(client) => {
            let today = local_now(context.clock.now(), stream.zone).date();
            tokio::select! {
                () = context.stop.cancelled() => return Err(Stop::Open),
                prepared = prepare(context, client, stream, planned, priors, today) => prepared?,
            }
        }
        Source::Kept(kept) => Some(prepare_again(context, kept, stream, planned, priors).await?),
    };
    let Some(Prepared { built, missing, in_pieces, raw }) = prepared else {
        return Ok(Finished::of(Outcome::Unchanged));
    };
    if planned.state != State::Forced && built.iter().any(|b| b.vanished) {
        return Err(Stop::Failed(park(context, planned, &built).await?));
    }
    let is_new = |b: &&Built| !b.prior.footer().is_some_and(|there| there.same_content(&b.footer));
    if let (Some(raw), Some(new)) = (&raw, built.iter().find(is_new)) {
        raw::keep(context.lake(), &planned.unit, stream, &new.footer, raw).await?;
    }
    let (outcome, restated) = commit(context, planned, &built, in_pieces, written).await?;
    Ok(Finished { missing, restated, ..Finished::of(outcome) })
}

/// What is in the unit's places. It is read before anything is asked: whatever the answer then
/// replaces is older than the answer, and a commit by anyone else in between is noticed.
async fn read_priors(context: &Context, planned: &Planned) -> Result<Vec<(Partition, Prior)>, lake::Error> {
    let mut priors = Vec::new();
    for partition in planned.unit.partitions() {
        let prior = if planned.absent {
            // The listing has told.
            Prior::Absent
        } else {
            context.shelf.read(&partition, planned.state == State::Broken).await?
        };
        priors.push((partition, prior));
    }
    Ok(priors)
}

/// Brings the unit's objects to say what was built, and gives how many figures that has restated. What was
/// `written` stays so where a later object fails.
async fn commit(
    context: &Context,
    planned: &Planned,
    built: &[Built],
    in_pieces: bool,
    written: &mut Vec<String>,
) -> Result<(Outcome, u64), Stop> {
    let (mut restated, mut datasets) = (0, BTreeMap::<String, Amount>::new());
    let mut superseded = false;
    for Built { partition, prior, batch, footer, .. } in built {
        let (dataset, prior) = (partition.dataset, prior.clone());
        // The pieces have no summary; the one that is there is better than none.
        let keeps = |there: &Prior| in_pieces && dataset == Dataset::Summary && there.footer().is_some();
        if keeps(&prior) {
            continue;
        }
        if context.stop.is_cancelled() {
            return Err(Stop::Open);
        }
        // What a conflict brings to light was not there, or not so, when the answer was judged.
        let judge = |there: &Prior| {
            let vanished = |old: RecordBatch| vanished(dataset, &old, batch);
            if keeps(there) {
                Some(Settled::Unchanged)
            } else if planned.state != State::Forced && there.batch(dataset).is_some_and(vanished) {
                Some(Settled::Suspect)
            } else {
                None
            }
        };
        let settled = tokio::select! {
            settled = context.shelf.replace(partition, batch, footer, prior, judge) => settled?,
            () = patience_ends(context) => return Err(Stop::Open),
        };
        match settled {
            Settled::Unchanged => {}
            Settled::Superseded => superseded = true,
            Settled::Suspect => return Err(Stop::Failed(park(context, planned, built).await?)),
            Settled::Written { bytes: size, restated: figures } => {
                written.push(context.shelf.key(partition));
                restated += figures;
                let amount = Amount { objects: 1, rows: batch.num_rows() as u64, bytes: size };
                let sum = datasets.entry(dataset.to_string()).or_default();
                *sum = sum.and(amount);
            }
        }
    }
    let Amount { rows, bytes, .. } = datasets.values().copied().fold(Amount::default(), Amount::and);
    let outcome = match (written.is_empty(), superseded) {
        (false, _) => Outcome::Committed { written: std::mem::take(written), rows, bytes, datasets },
        (true, true) => Outcome::Superseded,
        (true, false) => Outcome::Unchanged,
    };
    Ok((outcome, restated))
}

/// Ends some time after the run was asked to stop. A put given up then ends or never happens, as if the
/// process had been killed.
async fn patience_ends(context: &Context) {
    context.stop.cancelled().await;
    context.clock.sleep(LAST_PUT).await;
}

/// Parks an answer that has lost users which settled days had. What is in the lake stays.
async fn park(context: &Context, planned: &Planned, built: &[Built]) -> Result<Failure, lake::Error> {
    for Built { partition, batch, footer, .. } in built {
        parked::park(context.lake(), partition, table::encode(partition.dataset, batch, footer)).await?;
    }
    let first = planned.unit.partitions().next().expect("every grain has a dataset");
    Ok(Failure {
        class: "suspect".into(),
        severity: Severity::Data,
        message: "all figures are zero where settled days held users; the answer is parked and the lake is as it was"
            .into(),
        hint: Some(format!(
            "if the zeros are right (such as past the retention): `trendlake accept {}`",
            lake::key(&first)
        )),
    })
}

/// The report of a unit with this outcome.
pub(super) fn report(stream: &Stream, planned: &Planned, outcome: Outcome) -> UnitReport {
    UnitReport {
        stream: stream.id.to_string(),
        stream_name: stream.name.clone(),
        grain: planned.unit.kind.to_string(),
        month: planned.unit.month.to_string(),
        reason: planned.state.as_str().into(),
        outcome,
        partly: Vec::new(),
        missing: 0,
        restated: 0,
    }
}

/// One line for a finished unit, one event for a failed one.
pub(super) fn log(report: &UnitReport) {
    let UnitReport { stream, grain, month, reason, outcome, restated, .. } = report;
    match outcome {
        Outcome::Committed { rows, bytes, .. } => {
            info!(%stream, %grain, %month, %reason, rows, bytes, restated, "committed");
        }
        Outcome::Unchanged => info!(%stream, %grain, %month, %reason, "unchanged"),
        Outcome::Superseded => {
            info!(%stream, %grain, %month, %reason, "another run committed a newer answer");
        }
        // The failure that this one follows from has been told.
        Outcome::Failed(failure) if failure.message == NOT_TRIED => {
            debug!(%stream, %grain, %month, "{NOT_TRIED}");
        }
        Outcome::Failed(failure) => {
            warn!(%stream, %grain, %month, class = %failure.class, "failed: {}", failure.message);
        }
        Outcome::Open => info!(%stream, %grain, %month, "left open"),
    }
}
