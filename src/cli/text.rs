//! Numbers and names in front of people.

use std::time::Duration;

pub(super) use crate::wording::{count, number};

/// A name as one harmless line: names and server texts may hold terminal escapes.
pub(super) fn plain(text: &str) -> String {
    text.chars().map(|c| if is_harmless(c) { c } else { '\u{fffd}' }).collect()
}

/// The same for text of several lines.
pub(super) fn plain_lines(text: &str) -> String {
    text.chars().map(|c| if c == '\n' || is_harmless(c) { c } else { '\u{fffd}' }).collect()
}

fn is_harmless(c: char) -> bool {
    !c.is_control()
        && !matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// `15 kB`, `1.4 MB`.
pub(super) fn bytes(n: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let n = n as f64;
    match n {
        ..1_000.0 => format!("{n} B"),
        ..1_000_000.0 => format!("{:.0} kB", n / 1e3),
        ..1_000_000_000.0 => format!("{:.1} MB", n / 1e6),
        _ => format!("{:.1} GB", n / 1e9),
    }
}

/// `1h 30m`, with no more than the two largest units.
pub(super) fn duration(duration: Duration) -> String {
    if duration < Duration::from_secs(10) {
        return format!("{:.1} s", duration.as_secs_f64());
    }
    let text = humantime::format_duration(Duration::from_secs(duration.as_secs())).to_string();
    text.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures() {
        assert_eq!(
            [number(0), number(999), number(1000), number(1_234_567)],
            ["0", "999", "1,000", "1,234,567"]
        );
        assert_eq!([bytes(999), bytes(15_400), bytes(2_440_000)], ["999 B", "15 kB", "2.4 MB"]);
        assert_eq!([count(1, "request"), count(0, "request")], ["1 request", "0 requests"]);
        assert_eq!(duration(Duration::from_millis(1234)), "1.2 s");
        assert_eq!(duration(Duration::from_secs(93_784)), "1day 2h");
    }

    #[test]
    fn escapes_do_not_reach_a_terminal() {
        assert_eq!(plain("a\x1b[31mb\n\u{202e}"), "a\u{fffd}[31mb\u{fffd}\u{fffd}");
        assert_eq!(plain_lines("a\nb\r\u{2028}"), "a\nb\u{fffd}\u{fffd}");
    }
}
