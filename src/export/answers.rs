//! A unit as it shall be: what is asked, and what its answers make next to what is in their places.

use arrow::array::RecordBatch;
use chrono::{DateTime, NaiveDate, SubsecRound, TimeDelta, Utc};
use tracing::warn;

use super::compare::vanished;
use super::parked;
use super::raw::{Again, Raw};
use super::stop::{self, Stop};
use super::{Context, RawAnswers, Warnings, periods};
use crate::config::Stream;
use crate::kore::{self, Client};
use crate::model::{Partition, Question, Slice, Trend, UnitKind, Window};
use crate::plan::Planned;
use crate::shelf::Prior;
use crate::table::{self, FORMAT_VERSION, Footer};

/// A unit as it shall be.
pub(super) struct Prepared {
    pub built: Vec<Built>,
    pub missing: u64,
    /// Whether the range had to be asked in pieces.
    pub in_pieces: bool,
    /// What is to be kept of the answers, word for word. `None` where nothing is, or they were kept before.
    pub raw: Option<Vec<Raw>>,
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
pub(super) async fn prepare(
    context: &Context,
    client: &Client,
    stream: &Stream,
    planned: &Planned,
    priors: Vec<(Partition, Prior)>,
    today: NaiveDate,
) -> Result<Option<Prepared>, Stop> {
    if planned.unit.kind == UnitKind::Periods {
        let prior = priors.into_iter().next().expect("every unit has a partition");
        return periods::build(context, client, stream, planned, prior, today).await;
    }
    let Some(window) = begun(widened(planned.window, &priors), today) else { return Ok(None) };
    let Answers { trends, asked_at, missing, in_pieces, raw } =
        fetch(context, client, stream, planned, window).await?;
    let latest_prior = priors.iter().filter_map(|(_, p)| p.footer()).max_by_key(|f| f.fetched_at);
    let fetched_at = after(latest_prior, asked_at);
    let built = build(stream, planned.unit.kind, (window, &trends, fetched_at), priors);
    Ok(Some(Prepared { built, missing, in_pieces, raw }))
}

/// The same from answers that were kept, unless what is there is newer than they are, or goes further back.
pub(super) async fn prepare_again(
    context: &Context,
    kept: &RawAnswers,
    stream: &Stream,
    planned: &Planned,
    priors: Vec<(Partition, Prior)>,
) -> Result<Prepared, Stop> {
    if planned.unit.kind == UnitKind::Periods {
        let prior = priors.into_iter().next().expect("every unit has a partition");
        let built = periods::build_again(context, kept, stream, planned, prior).await?;
        return Ok(Prepared { built: vec![built], missing: 0, in_pieces: false, raw: None });
    }
    let Again { window, fetched_at, trends, missing, in_pieces } =
        kept.newest(context.lake(), stream, &planned.unit).await?;
    let is_newer = |there: &Footer| there.fetched_at > fetched_at || there.start < window.start;
    if priors.iter().filter_map(|(_, p)| p.footer()).any(is_newer) {
        return Err(Stop::Superseded);
    }
    let built = build(stream, planned.unit.kind, (window, &trends, fetched_at), priors);
    Ok(Prepared { built, missing, in_pieces, raw: None })
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
/// there was written; the answer is newer all the same, and says so: raw answers are told apart by it.
pub(super) fn after(there: Option<&Footer>, asked_at: DateTime<Utc>) -> DateTime<Utc> {
    // As exact as a footer tells it: a put whose reply was lost is recognised by it.
    let asked_at = asked_at.trunc_subsecs(6);
    there.map_or(asked_at, |there| asked_at.max(there.fetched_at + TimeDelta::microseconds(1)))
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
    raw: Option<Vec<Raw>>,
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
    let (mut in_pieces, mut raw) = (false, stream.keep_raw.then(Vec::new));
    for slice in &stream.slices {
        let question = stream.question(planned.unit.kind.grain(), slice, window);
        let answer = client.fetch(&question).await;
        let answer = answered(context, planned, answer).await?;
        warn_of(&context.warnings, &question, &answer);
        missing += u64::from(answer.trend.missing);
        in_pieces |= answer.in_pieces;
        // The unit is as old as its oldest answer.
        asked_at = Some(asked_at.map_or(answer.asked_at, |t: DateTime<Utc>| t.min(answer.asked_at)));
        if let Some(raw) = &mut raw {
            raw.push(Raw { slice: slice.clone(), period: None, pieces: answer.pieces });
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
    answer.map_err(|error| stop::api_stop(&error))
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
