//! One unit from its question to its objects: read what is there, fetch, check, build, commit.

use std::collections::BTreeMap;
use std::time::Duration;

use arrow::array::RecordBatch;
use chrono::{DateTime, NaiveDate, SubsecRound, Utc};
use tracing::{debug, info, warn};

use super::compare::vanished;
use super::parked;
use super::raw::{self, Again};
use super::{Context, RawAnswers, Warnings, periods};
use crate::config::Stream;
use crate::kore::{self, Class, Client, Piece, SignerError};
use crate::lake::{self, Kind};
use crate::model::{Dataset, Partition, Question, Slice, Trend, UnitKind, Window, local_now};
use crate::plan::{Planned, State};
use crate::report::{Amount, Failure, Outcome, Severity, UnitReport};
use crate::shelf::{Prior, Settled};
use crate::table::{self, FORMAT_VERSION, Footer};

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

/// The end of a unit before its time.
pub(super) enum Stop {
    /// The run is being stopped.
    Open,
    /// What is there is newer.
    Superseded,
    Failed(Failure),
    /// Failed for a reason that the stream's other units share.
    StreamFailed(Failure),
}

impl From<lake::Error> for Stop {
    fn from(error: lake::Error) -> Self {
        let failure = lake_failure(&error);
        match error.kind() {
            // Nothing can be written any more, so nothing more need be asked.
            Kind::Permission => Self::StreamFailed(failure),
            _ => Self::Failed(failure),
        }
    }
}

impl From<raw::Error> for Stop {
    fn from(error: raw::Error) -> Self {
        let (class, hint) = match &error {
            raw::Error::Lake(error) => return Self::Failed(lake_failure(error)),
            raw::Error::NoneFits => ("not_kept", "`trendlake run` asks the API"),
            raw::Error::Rejected(_) => ("contract", "`trendlake run` asks the API"),
        };
        let (severity, message) = (Severity::Data, error.to_string());
        Self::Failed(Failure { class: class.into(), severity, message, hint: Some(hint.into()) })
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
    if let (false, Some(new)) = (raw.is_empty(), built.iter().find(is_new)) {
        raw::keep(context.lake(), &planned.unit, stream, &new.footer, &raw).await?;
    }
    let (outcome, restated) = commit(context, planned, &built, in_pieces, written).await?;
    Ok(Finished { missing, restated, ..Finished::of(outcome) })
}

/// A unit as it shall be.
struct Prepared {
    built: Vec<Built>,
    missing: u64,
    /// Whether the range had to be asked in pieces.
    in_pieces: bool,
    /// What is to be kept of the answers, word for word.
    raw: Vec<(Slice, Vec<Piece>)>,
}

/// A partition as it shall be, with what is in its place.
pub(super) struct Built {
    pub partition: Partition,
    pub prior: Prior,
    pub batch: RecordBatch,
    pub footer: Footer,
    /// Whether users have vanished that settled days had.
    pub vanished: bool,
}

/// Asks for the unit's figures. `None` where nothing of the unit has begun by `today`.
async fn prepare(
    context: &Context,
    client: &Client,
    stream: &Stream,
    planned: &Planned,
    priors: Vec<(Partition, Prior)>,
    today: NaiveDate,
) -> Result<Option<Prepared>, Stop> {
    if planned.unit.kind == UnitKind::Periods {
        let prior = priors.into_iter().next().expect("every unit has a partition");
        let built = periods::build(context, client, stream, planned, prior, today).await?;
        return Ok(built.map(|b| Prepared { built: vec![b], missing: 0, in_pieces: false, raw: Vec::new() }));
    }
    let Some(window) = begun(widened(planned.window, &priors), today) else { return Ok(None) };
    let Answers { trends, asked_at, missing, in_pieces, raw } =
        fetch(context, client, stream, planned, window).await?;
    let latest_prior = priors.iter().filter_map(|(_, p)| p.footer()).max_by_key(|f| f.fetched_at);
    let fetched_at = not_before(latest_prior, asked_at);
    let built = build(stream, planned.unit.kind, (window, &trends, fetched_at), priors);
    Ok(Some(Prepared { built, missing, in_pieces, raw }))
}

/// The same from answers that were kept, unless what is there is newer than they are, or goes further back.
async fn prepare_again(
    context: &Context,
    kept: &RawAnswers,
    stream: &Stream,
    planned: &Planned,
    priors: Vec<(Partition, Prior)>,
) -> Result<Prepared, Stop> {
    let Again { window, fetched_at, trends, missing, in_pieces } =
        kept.newest(context.lake(), stream, &planned.unit).await?;
    let is_newer = |there: &Footer| there.fetched_at > fetched_at || there.start < window.start;
    if priors.iter().filter_map(|(_, p)| p.footer()).any(is_newer) {
        return Err(Stop::Superseded);
    }
    let built = build(stream, planned.unit.kind, (window, &trends, fetched_at), priors);
    Ok(Prepared { built, missing, in_pieces, raw: Vec::new() })
}

/// The partitions that answers on a window make, next to what is in their places.
fn build(
    stream: &Stream,
    kind: UnitKind,
    (window, trends, fetched_at): (Window, &[(Slice, Trend)], DateTime<Utc>),
    priors: Vec<(Partition, Prior)>,
) -> Vec<Built> {
    let build = |(partition, prior): (Partition, Prior)| {
        let dataset = partition.dataset;
        let batch = table::batch(dataset, stream, window, trends, fetched_at);
        let vanished = prior.batch(dataset).is_some_and(|prior| vanished(dataset, &prior, &batch));
        let footer = footer(stream, kind, (window, window.month.last_day()), &batch, fetched_at);
        Built { partition, prior, batch, footer, vanished }
    };
    priors.into_iter().map(build).collect()
}

/// When an answer was had that was asked for at `asked_at`. The clock may have stepped back since what is
/// there was written; the answer is newer all the same.
pub(super) fn not_before(there: Option<&Footer>, asked_at: DateTime<Utc>) -> DateTime<Utc> {
    let fetched_at = there.map_or(asked_at, |there| there.fetched_at.max(asked_at));
    // As exact as a footer tells it: a put whose reply was lost is recognised by it.
    fetched_at.trunc_subsecs(6)
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

/// The window, from the first day that the lake already holds of it: a later first date in the
/// configuration does not take rows away.
fn widened(window: Window, priors: &[(Partition, Prior)]) -> Window {
    let starts = priors.iter().filter_map(|(_, p)| p.footer().map(|f| f.start));
    Window {
        start: starts.min().map_or(window.start, |s| s.clamp(window.month.first_day(), window.start)),
        ..window
    }
}

/// The days of the window that have begun. The clock may have stepped back since the plan was made, and
/// what lies ahead is not asked for.
fn begun(window: Window, today: NaiveDate) -> Option<Window> {
    (window.start <= today).then(|| Window { end: window.end.min(today), ..window })
}

/// What a partition says of itself: the window asked for, whole once it reaches the `last` day.
pub(super) fn footer(
    stream: &Stream,
    kind: UnitKind,
    (window, last): (Window, NaiveDate),
    batch: &RecordBatch,
    fetched_at: DateTime<Utc>,
) -> Footer {
    let settled = stream.settled_at(window.month.last_day());
    Footer {
        format_version: FORMAT_VERSION,
        fingerprint: stream.fingerprint(kind),
        start: window.start,
        end: window.end,
        settle_days: stream.settle_days,
        is_final: window.end == last && settled <= fetched_at,
        content_hash: table::content_hash(batch),
        fetched_at,
        restatement: None,
    }
}

struct Answers {
    trends: Vec<(Slice, Trend)>,
    asked_at: DateTime<Utc>,
    missing: u64,
    in_pieces: bool,
    /// What is to be kept of them, word for word.
    raw: Vec<(Slice, Vec<Piece>)>,
}

/// Asks for every slice of the unit.
async fn fetch(
    context: &Context,
    client: &Client,
    stream: &Stream,
    planned: &Planned,
    window: Window,
) -> Result<Answers, Stop> {
    let _turn = context.turns.take().await;
    let mut trends = Vec::with_capacity(stream.slices.len());
    let mut asked_at = None;
    let mut missing = 0;
    let (mut in_pieces, mut raw) = (false, Vec::new());
    for slice in &stream.slices {
        let question = Question {
            stream: stream.id.clone(),
            grain: planned.unit.kind.grain(),
            slice: slice.clone(),
            zone: stream.zone,
            window,
        };
        let answer = client.fetch(&question).await;
        let answer = answered(context, planned, answer).await?;
        warn_of(&context.warnings, &question, &answer);
        missing += u64::from(answer.trend.missing);
        in_pieces |= answer.in_pieces;
        // The unit is as old as its oldest answer.
        asked_at = Some(asked_at.map_or(answer.asked_at, |t: DateTime<Utc>| t.min(answer.asked_at)));
        if stream.keep_raw {
            raw.push((slice.clone(), answer.pieces));
        }
        trends.push((slice.clone(), answer.trend));
    }
    let asked_at = asked_at.expect("a stream has at least one slice");
    Ok(Answers { trends, asked_at, missing, in_pieces, raw })
}

/// What came of a question. What the server sent in place of a good answer is kept.
pub(super) async fn answered<T>(
    context: &Context,
    planned: &Planned,
    answer: Result<T, kore::Error>,
) -> Result<T, Stop> {
    if let Err(kore::Error::Contract { body, .. }) = &answer
        && let Err(error) = parked::keep_rejected(context.lake(), &planned.unit, body).await
    {
        warn!("the rejected answer was not kept: {error}");
    }
    answer.map_err(|error| api_stop(&error))
}

fn warn_of(warnings: &Warnings, question: &Question, answer: &kore::Answer) {
    let Question { stream, grain, window, .. } = question;
    if answer.trend.missing > 0 {
        let what = match grain {
            crate::model::Grain::Daily => "day(s)",
            crate::model::Grain::Hourly => "hour(s)",
        };
        let count = answer.trend.missing;
        warnings.add(format!(
            "{stream} {grain} {}: the API left out {count} elapsed {what}; their figures are null",
            window.month
        ));
    }
    if answer.in_pieces {
        warnings.add(format!("{stream}: the API takes no whole month at once; the months' summaries have no figures, since users do not add up"));
    }
    warn_of_oddities(warnings, answer);
}

/// Warns of what is odd about any answer.
pub(super) fn warn_of_oddities(warnings: &Warnings, answer: &kore::Answer) {
    for path in &answer.drift {
        warnings.add(format!("the API's answers have a key that this version does not know: `{path}`"));
    }
    if let Some(skew) = answer.skew.map(|s| s.num_seconds()).filter(|s| s.abs() >= 30) {
        // In minutes, so that one skew is one warning.
        warnings.add(format!(
            "the API's clock is {} min away from this machine's: set the time, tokens depend on it",
            skew / 60
        ));
    }
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

/// Who has to act on a failure of the API.
pub fn severity(class: Class) -> Severity {
    match class {
        Class::Network
        | Class::Timeout
        | Class::Truncated
        | Class::Tls
        | Class::Server
        | Class::RateLimited => Severity::PassingApi,
        Class::Credentials => Severity::Permission,
        Class::Refused | Class::Redirect | Class::TooLarge | Class::Contract => Severity::Data,
    }
}

fn api_stop(error: &kore::Error) -> Stop {
    let failure = Failure {
        class: error.class().as_str().into(),
        severity: severity(error.class()),
        message: error.to_string(),
        hint: error.hint(),
    };
    if error.stops_stream() { Stop::StreamFailed(failure) } else { Stop::Failed(failure) }
}

/// A stream whose tokens cannot be made fails as a whole.
pub(super) fn signer_failure(error: &SignerError) -> Failure {
    Failure {
        class: "credentials".into(),
        severity: Severity::Permission,
        message: error.to_string(),
        hint: None,
    }
}

fn lake_failure(error: &lake::Error) -> Failure {
    let (class, severity) = match error.kind() {
        Kind::Storage | Kind::Locked => ("storage", Severity::PassingStorage),
        Kind::Permission => ("storage_permission", Severity::Permission),
        Kind::Foreign => ("integrity", Severity::Integrity),
        Kind::Settings => ("config", Severity::Config),
    };
    Failure { class: class.into(), severity, message: error.to_string(), hint: error.hint().map(Into::into) }
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
