//! A unit of periods: which rows are taken over from the partition that is there, and which are asked for.
//!
//! Each period is a question over exactly its days, of whose answer the summary is kept. A row that had
//! settled when it was fetched is not asked for again, so that a month of rolling periods costs a run a few
//! requests and not one for each day.

use std::collections::HashMap;
use std::pin::pin;

use chrono::{DateTime, NaiveDate, Utc};
use futures_util::TryStreamExt;

use super::answers::{self, Built, Prepared};
use super::compare::vanished;
use super::raw::{self, Kept, Raw};
use super::stop::Stop;
use super::{Context, RawAnswers};
use crate::config::Stream;
use crate::kore::{self, Client, Rejection};
use crate::model::{Dataset, Grain, Partition, PeriodRow, Slice, Span, Summary, UnitKind, Window};
use crate::plan::{self, Planned};
use crate::shelf::Prior;
use crate::table::{self, FORMAT_VERSION};

/// Where a row stands.
type Place = (Slice, Span);
/// The same with the days to ask for.
type At = (Place, Window);
/// Rows by where they stand.
type Rows = HashMap<Place, PeriodRow>;

/// A period of a slice as it is to be from now on.
enum Found {
    /// As it is there.
    There(PeriodRow),
    /// As the API has answered now. Without a summary where it does not take so long a range.
    Asked { place: Place, window: Window, summary: Option<Summary> },
}

/// The partition of periods as it shall be on `today`. `None` where no period has begun.
///
/// # Errors
/// When a question has no answer. The unit then stays as it was.
pub(super) async fn build(
    context: &Context,
    client: &Client,
    stream: &Stream,
    planned: &Planned,
    (partition, prior): (Partition, Prior),
    today: NaiveDate,
) -> Result<Option<Prepared>, Stop> {
    // A later first date in the configuration takes no rows away.
    let first = prior.footer().map_or(planned.window.start, |f| f.start.min(planned.window.start));
    let spans = stream.spans(partition.month, first);
    let Some(window) = plan::period_window(&spans, today) else { return Ok(None) };
    let standing = standing(stream, &partition, &prior);
    let _turn = context.turns.take().await;
    let began_at = context.clock.now();
    let (mut found, mut asked_at) = (Vec::new(), None);
    let mut raw = stream.keep_raw.then(Vec::new);
    for (place, window) in begun(stream, &spans, today) {
        let (slice, span) = &place;
        let there = standing.get(&place).filter(|row| is_over(row, window));
        if let Some(row) = there.filter(|_| plan::carries(planned.state)) {
            found.push(Found::There(row.clone()));
            continue;
        }
        let question = stream.question(planned.unit.kind.grain(), slice, window);
        let answer = client.fetch_period(&question).await;
        let answer = answers::answered(context, planned, answer).await?;
        if let Some(answer) = &answer {
            answers::warn_of_oddities(&context.warnings, answer);
            // What is new is as old as the oldest answer.
            asked_at = Some(asked_at.map_or(answer.asked_at, |at| answer.asked_at.min(at)));
        } else {
            context.warnings.add(format!(
                "{}: the API takes no whole {} at once; the figures of those that it refuses are null, and only \
                 `backfill --force` asks for them again",
                stream.id, span.period
            ));
        }
        if let (None, Some(row)) = (&answer, there) {
            // Figures that are there are better than none.
            found.push(Found::There(row.clone()));
            continue;
        }
        let (summary, pieces) = answer.map(|answer| (answer.trend.summary, answer.pieces)).unzip();
        if let Some(raw) = &mut raw {
            let (slice, pieces) = (slice.clone(), pieces.unwrap_or_default());
            raw.push(Raw { slice, period: Some((*span, window.end)), pieces });
        }
        found.push(Found::Asked { place, window, summary });
    }
    let fetched_at = answers::after(prior.footer(), asked_at.unwrap_or(began_at));
    let row = |found| match found {
        Found::There(row) => row,
        Found::Asked { place, window, summary } => row(stream, place, window, summary, fetched_at),
    };
    let rows: Vec<_> = found.into_iter().map(row).collect();
    let built = built(stream, (partition, prior), &spans, window, &rows, fetched_at);
    Ok(Some(Prepared { built: vec![built], missing: 0, in_pieces: false, raw }))
}

/// The same from answers that were kept: as it was when the newest of them came.
///
/// # Errors
/// When what is there is newer, or what was kept does not do. The unit then stays as it was.
pub(super) async fn build_again(
    context: &Context,
    kept: &RawAnswers,
    stream: &Stream,
    planned: &Planned,
    (partition, prior): (Partition, Prior),
) -> Result<Built, Stop> {
    let mut objects = pin!(kept.newest_first(context.lake(), stream, &planned.unit));
    let newest = objects.try_next().await?.ok_or(raw::Error::NoneFits)?;
    let Kept { start, end: today, fetched_at, .. } = newest;
    if prior.footer().is_some_and(|there| there.fetched_at > fetched_at || there.start < start) {
        return Err(Stop::Superseded);
    }
    let spans = stream.spans(partition.month, start);
    let window = plan::period_window(&spans, today).ok_or(raw::Error::NoneFits)?;
    let standing = standing(stream, &partition, &prior);
    let places = begun(stream, &spans, today);
    let stands = |(place, window): &At| standing.get(place).filter(|row| is_over(row, *window));
    let mut rows = Rows::new();
    let mut next = Some(newest);
    while let Some(object) = next {
        // What is there for good is as new as whatever had been kept by then.
        let is_older = prior.footer().is_some_and(|there| object.fetched_at <= there.fetched_at);
        for at in &places {
            if rows.contains_key(&at.0) {
                continue;
            }
            let row = match stands(at).filter(|_| is_older) {
                Some(row) => Some(row.clone()),
                None => again(stream, planned.unit.kind.grain(), &object, at, fetched_at)
                    .map_err(raw::Error::Rejected)?,
            };
            rows.extend(row.map(|row| (at.0.clone(), row)));
        }
        next = if rows.len() < places.len() { objects.try_next().await? } else { None };
    }
    let row = |at: &At| rows.remove(&at.0).or_else(|| stands(at).cloned());
    let rows: Vec<_> = places.iter().filter_map(row).collect();
    if rows.len() < places.len() {
        let (missing, all) = (places.len() - rows.len(), places.len());
        return Err(raw::Error::Incomplete { missing, all }.into());
    }
    if holds_newer(&prior, &rows) {
        return Err(Stop::Superseded);
    }
    Ok(built(stream, (partition, prior), &spans, window, &rows, fetched_at))
}

/// The row that an object of raw answers gives for a period. `None` where it holds no answer that does.
fn again(
    stream: &Stream,
    grain: Grain,
    object: &Kept,
    (place, window): &At,
    newest_at: DateTime<Utc>,
) -> Result<Option<PeriodRow>, Rejection> {
    let (slice, span) = place;
    let Some(pieces) = object.of_period(slice, *span, window.end) else { return Ok(None) };
    let summary = if pieces.is_empty() {
        None
    } else {
        let question = stream.question(grain, slice, *window);
        Some(kore::again(&question, pieces, stream.on_missing)?.trend.summary)
    };
    let row = row(stream, place.clone(), *window, summary, object.fetched_at);
    // One that had settled by then was asked for once more, and that answer is not there.
    let is_outdated = !row.is_final && has_settled(stream, *span, *window, newest_at);
    Ok((!is_outdated).then_some(row))
}

/// Whether one of these rows stands already in what is there, and was fetched later.
fn holds_newer(prior: &Prior, rows: &[PeriodRow]) -> bool {
    let Some(there) = prior.batch(Dataset::Periods) else { return false };
    let place = |row: &PeriodRow| (row.slice.clone(), row.period, row.start);
    let there: HashMap<_, _> =
        table::period_rows(&there).iter().map(|row| (place(row), row.fetched_at)).collect();
    rows.iter().any(|row| there.get(&place(row)).is_some_and(|there| *there > row.fetched_at))
}

/// The periods of all slices that have begun, in the order of the rows.
fn begun(stream: &Stream, spans: &[Span], today: NaiveDate) -> Vec<At> {
    let begun: Vec<_> = spans.iter().filter_map(|span| Some((*span, span.window(today)?))).collect();
    let of_slice = |slice: &Slice| -> Vec<At> {
        begun.iter().map(|&(span, window)| ((slice.clone(), span), window)).collect()
    };
    stream.slices.iter().flat_map(of_slice).collect()
}

/// Whether a row that is there for good was over. The clock may have stepped back: what lies ahead was not.
fn is_over(row: &PeriodRow, window: Window) -> bool {
    row.end == window.end || row.summary.is_none()
}

/// Whether the figures of these days are those of the whole period, and had settled at that time.
fn has_settled(stream: &Stream, span: Span, window: Window, at: DateTime<Utc>) -> bool {
    window.end == span.end && stream.settled_at(span.end) <= at
}

/// The row of an answer. Without a summary, the API takes no whole period of that kind.
fn row(
    stream: &Stream,
    (slice, span): Place,
    window: Window,
    summary: Option<Summary>,
    fetched_at: DateTime<Utc>,
) -> PeriodRow {
    PeriodRow {
        slice,
        period: span.period,
        start: span.start,
        // What is not to be had is the whole period, also of one under way.
        end: if summary.is_some() { window.end } else { span.end },
        summary,
        is_final: has_settled(stream, span, window, fetched_at) || summary.is_none(),
        fetched_at,
    }
}

/// The partition that these rows make, next to what is in its place.
fn built(
    stream: &Stream,
    (partition, prior): (Partition, Prior),
    spans: &[Span],
    window: Window,
    rows: &[PeriodRow],
    fetched_at: DateTime<Utc>,
) -> Built {
    let batch = table::period_batch(stream, rows);
    let last = spans.iter().map(|span| span.end).max().unwrap_or(window.end);
    let footer = answers::footer(stream, UnitKind::Periods, (window, last), &batch, fetched_at);
    let there = prior.batch(Dataset::Periods);
    let vanished = there.is_some_and(|there| vanished(Dataset::Periods, &there, &batch));
    Built { partition, prior, batch, footer, vanished }
}

/// The rows that need not be asked for again. They are believed only if the whole file is sound, since what
/// is taken over is not held against an answer any more.
fn standing(stream: &Stream, partition: &Partition, prior: &Prior) -> Rows {
    let Some(footer) = prior.footer() else { return Rows::new() };
    if footer.settle_days != stream.settle_days || footer.format_version != FORMAT_VERSION {
        return Rows::new();
    }
    let Some(batch) = prior.inspected(partition) else { return Rows::new() };
    let rows = table::period_rows(&batch).into_iter();
    let rows = rows.filter(|row| row.is_final && stream.asked_alike(&footer.fingerprint, row.period));
    let placed = |row: PeriodRow| {
        let span = Span { period: row.period, start: row.start, end: row.end };
        ((row.slice.clone(), span), row)
    };
    rows.map(placed).collect()
}
