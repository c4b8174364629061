//! Figures, times and codes in front of people.

use chrono::{DateTime, NaiveDate, SecondsFormat, TimeDelta, Utc};
use maud::{Markup, html};

use crate::export::Condition;
use crate::report::exit;
pub(super) use crate::wording::{count, number};

/// A figure, or a dash where there is none.
pub(super) fn figure(n: Option<i64>) -> String {
    n.map_or_else(|| "–".to_owned(), number)
}

/// `26 Nov 2026`.
pub(super) fn day(date: NaiveDate) -> String {
    date.format("%-d %b %Y").to_string()
}

/// An instant, as exact as a person needs it, with how long ago that was.
pub(super) fn when(at: DateTime<Utc>, now: DateTime<Utc>) -> Markup {
    html! {
        time datetime=(at.to_rfc3339_opts(SecondsFormat::Secs, true)) {
            (at.format("%-d %b %Y, %H:%M UTC"))
        }
        " " span.soft { "(" (distance(at - now)) ")" }
    }
}

/// `3 minutes ago`, `in 2 hours`.
pub(super) fn distance(ahead: TimeDelta) -> String {
    let minutes = ahead.abs().num_minutes().unsigned_abs();
    let text = match minutes {
        0 => return "just now".into(),
        1..=119 => count(minutes, "minute"),
        120..=2879 => count(minutes / 60, "hour"),
        _ => count(minutes / 1440, "day"),
    };
    if ahead > TimeDelta::zero() { format!("in {text}") } else { format!("{text} ago") }
}

/// `0.4 s`, `3 min 20 s`, `2 h 5 min`.
pub(super) fn duration(took: TimeDelta) -> String {
    let seconds = took.num_seconds().max(0);
    match seconds {
        0..=9 => format!("{:.1}\u{a0}s", took.as_seconds_f64().max(0.0)),
        10..=59 => format!("{seconds}\u{a0}s"),
        60..=3599 => format!("{}\u{a0}min {}\u{a0}s", seconds / 60, seconds % 60),
        _ => format!("{}\u{a0}h {}\u{a0}min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// What an exit code says of a run.
pub(super) const fn ending(code: u8) -> &'static str {
    match code {
        exit::OK => "complete",
        exit::PARTIAL => "partial: the next run goes on",
        exit::INTEGRITY => "a damaged or foreign object",
        exit::LOCKED => "another run held the lake",
        exit::DATA => "an answer was refused or is suspect",
        exit::BUG => "a bug",
        exit::STORAGE => "the storage failed",
        exit::TRY_AGAIN => "the API failed for a passing reason",
        exit::PERMISSION => "credentials or permission",
        exit::CONFIG => "the configuration",
        exit::INTERRUPTED | exit::TERMINATED => "stopped with units open",
        _ => "failed",
    }
}

/// What a condition means.
pub(super) const fn meaning(condition: Condition) -> &'static str {
    match condition {
        Condition::Final => "there for good",
        Condition::Provisional => "there, and its figures may still change",
        Condition::Stale => "asked differently than the configuration asks now; it will be fetched again",
        Condition::Missing => "not there yet; it will be fetched",
        Condition::Damaged => "cannot be read: see `trendlake verify` and `trendlake repair`",
        Condition::Suspect => "its last answer is parked: see `trendlake accept`",
        Condition::Failed => "failed in the last run",
    }
}

/// The sign of a condition, so that nothing is said by colour alone.
pub(super) const fn sign(condition: Condition) -> &'static str {
    match condition {
        Condition::Final => "●",
        Condition::Provisional => "◐",
        Condition::Stale => "◌",
        Condition::Missing => "·",
        Condition::Damaged => "!",
        Condition::Suspect => "?",
        Condition::Failed => "✕",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_and_times() {
        assert_eq!(
            [number(0), number(999), number(1000), number(-1_234_567)],
            ["0", "999", "1,000", "\u{2212}1,234,567"]
        );
        assert_eq!([count(1, "run"), count(0, "run")], ["1 run", "0 runs"]);
        assert_eq!((figure(None).as_str(), figure(Some(0)).as_str()), ("–", "0"));
        let minutes = TimeDelta::minutes;
        assert_eq!(distance(minutes(-1)), "1 minute ago");
        assert_eq!(distance(minutes(150)), "in 2 hours");
        assert_eq!(distance(minutes(-60 * 24 * 3)), "3 days ago");
        assert_eq!(duration(TimeDelta::milliseconds(420)), "0.4\u{a0}s");
        assert_eq!(duration(TimeDelta::seconds(7500)), "2\u{a0}h 5\u{a0}min");
    }
}
