//! A month's days or hours from answers that were kept.

use std::pin::pin;

use chrono::{DateTime, Utc};
use futures_util::TryStreamExt;

use super::{Error, Kept, RawAnswers};
use crate::config::Stream;
use crate::kore::{self, Answer, Rejection};
use crate::lake::Lake;
use crate::model::{Slice, Trend, Unit, Window};

/// Answers that have been checked again, as if they had just come.
pub(in crate::export) struct Again {
    pub window: Window,
    pub fetched_at: DateTime<Utc>,
    pub trends: Vec<(Slice, Trend)>,
    pub missing: u64,
    pub in_pieces: bool,
}

impl RawAnswers {
    /// Reads the newest answers of a unit that fit what is asked, and checks them as when they came.
    pub(in crate::export) async fn newest(
        &self,
        lake: &Lake,
        stream: &Stream,
        unit: &Unit,
    ) -> Result<Again, Error> {
        let mut objects = pin!(self.newest_first(lake, stream, unit));
        while let Some(kept) = objects.try_next().await? {
            if stream.slices.iter().all(|slice| kept.of_slice(slice).is_some()) {
                return Ok(again(&kept, stream, unit)?);
            }
        }
        Err(Error::NoneFits)
    }
}

fn again(kept: &Kept, stream: &Stream, unit: &Unit) -> Result<Again, Rejection> {
    let window = Window { month: unit.month, start: kept.start, end: kept.end };
    let mut found =
        Again { window, fetched_at: kept.fetched_at, trends: Vec::new(), missing: 0, in_pieces: false };
    for slice in &stream.slices {
        let question = stream.question(unit.kind.grain(), slice, window);
        let pieces = kept.of_slice(slice).unwrap_or_default();
        let Answer { trend, in_pieces, .. } = kore::again(&question, pieces, stream.on_missing)?;
        found.missing += u64::from(trend.missing);
        found.in_pieces |= in_pieces;
        found.trends.push((slice.clone(), trend));
    }
    Ok(found)
}
