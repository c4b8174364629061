//! What a call asks for, read from the query of its URL.

use std::borrow::Cow;

use chrono::{Datelike, NaiveDate};
use chrono_tz::Tz;
use percent_encoding::percent_decode_str;

use crate::model::{Channel, ConversationStatus, ConversationType, Grain, Question, Slice};

/// The longest range that is ever answered, so that no call can ask for unbounded memory.
pub(super) const MOST_DAYS: u32 = 3660;

/// A question without its stream. Other than a [`Question`], it may cross months, as the API allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ask {
    pub grain: Grain,
    pub slice: Slice,
    pub zone: Tz,
    pub start: NaiveDate,
    pub end: NaiveDate,
}

/// The query is not one the vendor would accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct InvalidAsk;

impl From<&Question> for Ask {
    fn from(question: &Question) -> Self {
        Self {
            grain: question.grain,
            slice: question.slice.clone(),
            zone: question.zone,
            start: question.window.start,
            end: question.window.end,
        }
    }
}

impl Ask {
    /// Reads a query. Filters and the grain have the documented defaults; the zone has none, since
    /// the vendor names none.
    pub(super) fn parse(query: &str, max_days: Option<u32>) -> Result<Self, InvalidAsk> {
        let given = Parameters::parse(query)?;
        let ask = Self {
            grain: given.grain.as_deref().map_or(Ok(Grain::Hourly), str::parse).map_err(|_| InvalidAsk)?,
            slice: Slice {
                conversation_type: exactly(
                    ConversationType::ALL,
                    ConversationType::as_str,
                    given.kind.as_deref(),
                )?,
                conversation_status: exactly(
                    ConversationStatus::ALL,
                    ConversationStatus::as_str,
                    given.status.as_deref(),
                )?,
                channel: given.channel.map_or(Ok(Channel::All), |c| c.parse()).map_err(|_| InvalidAsk)?,
            },
            zone: given.zone.ok_or(InvalidAsk)?.parse().map_err(|_| InvalidAsk)?,
            start: date(&given.start.ok_or(InvalidAsk)?)?,
            end: date(&given.end.ok_or(InvalidAsk)?)?,
        };
        let days = (ask.end - ask.start).num_days() + 1;
        let most = max_days.unwrap_or(MOST_DAYS).min(MOST_DAYS);
        if days < 1 || days > i64::from(most) { Err(InvalidAsk) } else { Ok(ask) }
    }
}

#[derive(Default)]
struct Parameters<'a> {
    grain: Option<Cow<'a, str>>,
    kind: Option<Cow<'a, str>>,
    status: Option<Cow<'a, str>>,
    channel: Option<Cow<'a, str>>,
    zone: Option<Cow<'a, str>>,
    start: Option<Cow<'a, str>>,
    end: Option<Cow<'a, str>>,
}

impl<'a> Parameters<'a> {
    fn parse(query: &'a str) -> Result<Self, InvalidAsk> {
        let mut given = Self::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').ok_or(InvalidAsk)?;
            let slot = match name {
                "aggregation_type" => &mut given.grain,
                "conversationType" => &mut given.kind,
                "conversationStatus" => &mut given.status,
                "channels" => &mut given.channel,
                "timeZoneOffset" => &mut given.zone,
                "start_date" => &mut given.start,
                "end_date" => &mut given.end,
                _ => return Err(InvalidAsk),
            };
            // A `+` stays a plus: that it means a space is a rule of HTML forms, which the vendor
            // does not promise, so a client that needs it must fail here.
            let value = percent_decode_str(value).decode_utf8().map_err(|_| InvalidAsk)?;
            if slot.replace(value).is_some() {
                return Err(InvalidAsk);
            }
        }
        Ok(given)
    }
}

/// Finds the constant that is spelled exactly as given; the first one, `All`, when nothing is given.
fn exactly<T: Copy>(
    all: &[T],
    spelling: fn(T) -> &'static str,
    given: Option<&str>,
) -> Result<T, InvalidAsk> {
    let wanted = given.unwrap_or("All");
    all.iter().copied().find(|&constant| spelling(constant) == wanted).ok_or(InvalidAsk)
}

fn date(text: &str) -> Result<NaiveDate, InvalidAsk> {
    // The parser alone would take `2026-3-1` and five-digit years.
    if text.len() != 10 || !text.bytes().all(|b| b.is_ascii_digit() || b == b'-') {
        return Err(InvalidAsk);
    }
    let date: NaiveDate = text.parse().map_err(|_| InvalidAsk)?;
    if (2000..3000).contains(&date.year()) { Ok(date) } else { Err(InvalidAsk) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "aggregation_type=daily&start_date=2026-03-01&end_date=2026-03-31\
        &conversationType=Non%20Interactive&conversationStatus=Closed&channels=rtm&timeZoneOffset=Asia%2FKolkata";

    #[test]
    fn a_good_query_is_read() {
        let ask = Ask::parse(GOOD, Some(31)).unwrap();
        assert_eq!(ask.grain, Grain::Daily);
        assert_eq!(ask.slice.conversation_type, ConversationType::NonInteractive);
        assert_eq!(ask.slice.channel, Channel::Named("rtm".into()));
        assert_eq!(ask.zone, chrono_tz::Asia::Kolkata);
        assert_eq!((ask.end - ask.start).num_days(), 30);
    }

    #[test]
    fn documented_defaults_hold() {
        let ask = Ask::parse("start_date=2026-03-01&end_date=2026-03-01&timeZoneOffset=UTC", None).unwrap();
        assert_eq!((ask.grain, ask.slice), (Grain::Hourly, Slice::ALL));
    }

    #[test]
    fn everything_else_is_refused() {
        for (from, to) in [
            ("Non%20Interactive", "Non+Interactive"),
            ("Non%20Interactive", "interactive"),
            ("daily", "weekly"),
            ("Closed", "closed"),
            ("2026-03-01", "2026-3-1"),
            ("2026-03-01", "2026-02-30"),
            ("2026-03-01", "2026-04-01"),
            ("start_date=2026-03-01&", ""),
            ("&timeZoneOffset=Asia%2FKolkata", ""),
            ("Asia%2FKolkata", "%2B05:30"),
            ("Asia%2FKolkata", "Asia%2FKolkata&zone=1"),
            ("channels=rtm", "channels=rtm&channels=sms"),
            ("channels=rtm", "channels=%FF"),
            ("channels=rtm", "channels"),
        ] {
            let bad = GOOD.replace(from, to);
            assert_ne!(bad, GOOD);
            assert_eq!(Ask::parse(&bad, None), Err(InvalidAsk), "{bad}");
        }
        assert_eq!(Ask::parse(GOOD, Some(30)), Err(InvalidAsk));
    }
}
