//! A unit of periods: which rows are taken over from the partition that is there, and which are asked for.
//!
//! Each period is a question over exactly its days, of whose answer the summary is kept. A row that had
//! settled when it was fetched is not asked for again, so that a month of rolling periods costs a run a few
//! requests and not one for each day.

use std::collections::HashMap;

use chrono::{DateTime, NaiveDate, Utc};

use super::Context;
use super::answers::{self, Built};
use super::compare::vanished;
use super::stop::Stop;
use crate::config::Stream;
use crate::kore::Client;
use crate::model::{Dataset, Partition, PeriodRow, Slice, Span, Summary, Window};
use crate::plan::{self, Planned};
use crate::shelf::Prior;
use crate::table::{self, FORMAT_VERSION};

/// The rows that are there for good, by where they stand.
type Standing = HashMap<(Slice, Span), PeriodRow>;

/// A period of a slice as it is to be from now on.
enum Found {
    /// As it is there.
    There(PeriodRow),
    /// As the API has answered now. Without a summary where it does not take so long a range.
    Asked { slice: Slice, span: Span, window: Window, summary: Option<Summary> },
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
) -> Result<Option<Built>, Stop> {
    // A later first date in the configuration takes no rows away.
    let first = prior.footer().map_or(planned.window.start, |f| f.start.min(planned.window.start));
    let spans = stream.spans(partition.month, first);
    let Some(window) = plan::period_window(&spans, today) else { return Ok(None) };
    let standing = standing(stream, &partition, &prior);
    let _turn = context.turns.take().await;
    let began_at = context.clock.now();
    let (mut found, mut asked_at) = (Vec::new(), None);
    for slice in &stream.slices {
        for (span, window) in spans.iter().filter_map(|span| Some((span, span.window(today)?))) {
            // The clock may have stepped back: what lies ahead was not over.
            let is_over = |row: &&PeriodRow| row.end == window.end || row.summary.is_none();
            let there = standing.get(&(slice.clone(), *span)).filter(is_over);
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
            found.push(match (answer, there) {
                // Figures that are there are better than none.
                (None, Some(row)) => Found::There(row.clone()),
                (answer, _) => {
                    let summary = answer.map(|answer| answer.trend.summary);
                    Found::Asked { slice: slice.clone(), span: *span, window, summary }
                }
            });
        }
    }
    let fetched_at = answers::not_before(prior.footer(), asked_at.unwrap_or(began_at));
    let rows: Vec<_> = found.into_iter().map(|found| found.row(stream, fetched_at)).collect();
    let batch = table::period_batch(stream, &rows);
    let last = spans.iter().map(|span| span.end).max().unwrap_or(window.end);
    let footer = answers::footer(stream, planned.unit.kind, (window, last), &batch, fetched_at);
    let there = prior.batch(Dataset::Periods);
    let vanished = there.is_some_and(|there| vanished(Dataset::Periods, &there, &batch));
    Ok(Some(Built { partition, prior, batch, footer, vanished }))
}

impl Found {
    fn row(self, stream: &Stream, fetched_at: DateTime<Utc>) -> PeriodRow {
        match self {
            Self::There(row) => row,
            Self::Asked { slice, span, window, summary } => {
                let has_settled = window.end == span.end && stream.settled_at(span.end) <= fetched_at;
                PeriodRow {
                    slice,
                    period: span.period,
                    start: span.start,
                    // What is not to be had is the whole period, also of one under way.
                    end: if summary.is_some() { window.end } else { span.end },
                    summary,
                    is_final: has_settled || summary.is_none(),
                    fetched_at,
                }
            }
        }
    }
}

/// The rows that need not be asked for again. They are believed only if the whole file is sound, since what
/// is taken over is not held against an answer any more.
fn standing(stream: &Stream, partition: &Partition, prior: &Prior) -> Standing {
    let Some(footer) = prior.footer() else { return Standing::new() };
    if footer.settle_days != stream.settle_days || footer.format_version != FORMAT_VERSION {
        return Standing::new();
    }
    let Some(batch) = prior.inspected(partition) else { return Standing::new() };
    let rows = table::period_rows(&batch).into_iter();
    let rows = rows.filter(|row| row.is_final && stream.asked_alike(&footer.fingerprint, row.period));
    let placed = |row: PeriodRow| {
        let span = Span { period: row.period, start: row.start, end: row.end };
        ((row.slice.clone(), span), row)
    };
    rows.map(placed).collect()
}
