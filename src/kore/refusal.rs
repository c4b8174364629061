//! What the server says besides data: error bodies, `Retry-After`, `Date`.

use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::StatusCode;
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};
use serde::Deserialize;
use serde_json::Value;

use super::error::Error;

/// The vendor's envelope. `code` is a number in some answers and a text in others.
#[derive(Deserialize)]
struct Envelope {
    errors: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    msg: Value,
    #[serde(default)]
    code: Value,
}

/// The server's own words in an error body: each message with its code, free of control characters. `None` where the body is no such envelope; its text is
/// then not repeated, since a gateway's page may hold anything.
#[must_use]
pub fn message(body: &[u8]) -> Option<String> {
    let envelope: Envelope = serde_json::from_slice(body).ok()?;
    let texts: Vec<_> = envelope
        .errors
        .iter()
        .take(3)
        .map(|e| match (plain(&e.msg), plain(&e.code)) {
            (msg, code) if code.is_empty() => msg,
            (msg, code) => format!("{msg} (code {code})"),
        })
        .collect();
    (!texts.is_empty()).then(|| texts.join("; "))
}

/// A scalar as one harmless line.
fn plain(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => String::new(),
    };
    one_line(&text)
}

/// The text with control and direction marks replaced. It may still be long, and hold what the server
/// was sent: whoever shows it goes through [`Error::tidy`].
pub(super) fn one_line(text: &str) -> String {
    let harmless = |c: char| {
        let turns = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if c.is_control() || turns { ' ' } else { c }
    };
    text.chars().map(harmless).collect()
}

/// The error that an answer with another status than 200 stands for.
#[must_use]
pub fn error(status: StatusCode, headers: &HeaderMap, body: &[u8], now: DateTime<Utc>) -> Error {
    let message = message(body);
    let retry_after = retry_after(headers, now);
    let skew_secs = skew(headers, now).map(|s| s.num_seconds());
    let code = status.as_u16();
    match code {
        300..=399 => Error::Redirect { status: code },
        429 => {
            let hourly = message.as_deref().is_some_and(|m| m.contains("hourly"));
            Error::RateLimited { hourly, message, retry_after }
        }
        401 | 403 => Error::Credentials { status: code, message, skew_secs },
        408 | 500..=599 => Error::Server { status: code, message, retry_after },
        _ => Error::Refused { status: code, message },
    }
}

/// What `Retry-After` asks for: seconds, or an HTTP date, read against the server's own `Date` where
/// it gives one. Zero, the past and junk are no hint. The caller bounds the wait.
#[must_use]
pub fn retry_after(headers: &HeaderMap, now: DateTime<Utc>) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = if let Ok(secs) = text.parse::<u64>() {
        Duration::from_secs(secs)
    } else {
        let date: DateTime<Utc> = httpdate::parse_http_date(text).ok()?.into();
        (date - server_date(headers).unwrap_or(now)).to_std().ok()?
    };
    (!wait.is_zero()).then_some(wait)
}

/// How far the server's clock is ahead of ours.
#[must_use]
pub fn skew(headers: &HeaderMap, now: DateTime<Utc>) -> Option<chrono::TimeDelta> {
    Some(server_date(headers)? - now)
}

fn server_date(headers: &HeaderMap) -> Option<DateTime<Utc>> {
    let date = httpdate::parse_http_date(headers.get(DATE)?.to_str().ok()?).ok()?;
    Some(date.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(k, v)| (k.parse().unwrap(), v.parse().unwrap())).collect()
    }

    #[test]
    fn envelopes_with_codes_of_either_type() {
        let text = |name: &str| message(&std::fs::read(format!("tests/data/{name}.json")).unwrap()).unwrap();
        assert_eq!(text("error-401-credentials"), "Invalid SDK credentials (code 4002)");
        assert_eq!(
            text("error-412-validation"),
            "Validation errors/ Invalid arguments (code ValidationError)"
        );
        assert_eq!(message(b"<html>log in</html>"), None);
        assert_eq!(message(br#"{"errors":[]}"#), None);
        let hostile = message(br#"{"errors":[{"msg":"a\nb\u001b[31m\u202e"}]}"#).unwrap();
        assert_eq!(hostile, "a b [31m ");
        let harmless = "You\u{2019}ve exceeded the limit \u{2013} wait\u{2026}";
        assert_eq!(one_line(harmless), harmless);
    }

    #[test]
    fn hints_on_when_to_come_back() {
        let now = "2026-03-01T12:00:00Z".parse().unwrap();
        let at = |v: &str| retry_after(&headers(&[("retry-after", v)]), now);
        assert_eq!(at("17"), Some(Duration::from_secs(17)));
        assert_eq!(at("1000000000"), Some(Duration::from_secs(1_000_000_000)));
        assert_eq!(at("Sun, 01 Mar 2026 12:00:30 GMT"), Some(Duration::from_secs(30)));
        for junk in ["0", "-5", "soon", "", "Sun, 01 Mar 2026 11:00:00 GMT", "1.5"] {
            assert_eq!(at(junk), None, "{junk}");
        }
        // A server an hour ahead means its own hour.
        let ahead = headers(&[
            ("retry-after", "Sun, 01 Mar 2026 13:00:30 GMT"),
            ("date", "Sun, 01 Mar 2026 13:00:00 GMT"),
        ]);
        assert_eq!(retry_after(&ahead, now), Some(Duration::from_secs(30)));
        assert_eq!(skew(&ahead, now).unwrap().num_minutes(), 60);
    }
}
