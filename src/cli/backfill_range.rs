//! `--from` and `--to`: months, or dates that stand for their month.

use chrono::{DateTime, NaiveDate, Utc};

use super::failure::Failure;
use crate::config::Stream;
use crate::model::Month;
use crate::plan::{Scope, stream_windows};

/// The scope of a range that the user has typed.
pub(super) fn scope(from: Option<&str>, to: Option<&str>, force: bool) -> Result<Scope, Failure> {
    let from = from.map(|text| month("--from", text)).transpose()?;
    let to = to.map(|text| month("--to", text)).transpose()?;
    if let (Some(from), Some(to)) = (from, to)
        && from > to
    {
        return Err(Failure::usage(
            format!("`--from {from}` is after `--to {to}`"),
            "both ends are inclusive",
        ));
    }
    Ok(Scope { from, to, force, ..Scope::default() })
}

/// Whether any stream has a month within the scope that is not wholly in the future.
pub(super) fn has_begun(scope: &Scope, streams: &[Stream], now: DateTime<Utc>) -> bool {
    streams.iter().any(|stream| stream_windows(stream, scope, now).next().is_some())
}

fn month(flag: &str, text: &str) -> Result<Month, Failure> {
    let month = text.parse::<Month>().ok().or_else(|| text.parse::<NaiveDate>().ok().map(Month::of));
    month.ok_or_else(|| Failure::usage(format!("`{flag} {text}` is no month"), "write it as `2025-01`"))
}
