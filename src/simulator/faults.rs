//! What can go wrong on purpose, by name, and when.

use std::fmt;
use std::str::FromStr;

use super::noise::scatter;
use crate::model::{InvalidStreamId, StreamId};

/// Declares the faults with their names, so that the names stand in one place.
macro_rules! faults {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal,)+) => {
        /// One way to go wrong.
        ///
        /// A fault takes the place of an answer, or changes a good one. A change for which the good
        /// answer has no place (an hour of a daily answer) leaves it as it is.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Fault {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Fault {
            /// Every fault.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The name, as it stands in a [`FaultRule`].
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// What it does, in a line for people.
            #[must_use]
            pub const fn about(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc),+).trim_ascii(),)+ }
            }
        }
    };
}

faults! {
    /// Status 400.
    Http400 = "http-400",
    /// Status 403.
    Http403 = "http-403",
    /// Status 404.
    Http404 = "http-404",
    /// Status 405.
    Http405 = "http-405",
    /// Status 412 with the vendor's validation error.
    Http412 = "http-412",
    /// Status 422.
    Http422 = "http-422",
    /// Status 500 with the vendor's envelope.
    Http500 = "http-500",
    /// Status 502 with a gateway's page.
    Http502 = "http-502",
    /// Status 503 with a gateway's page.
    Http503 = "http-503",
    /// Status 504 with a gateway's page.
    Http504 = "http-504",
    /// Status 429 with the text that names no window.
    RateLimit = "rate-limit",
    /// Status 429 with the per-minute text.
    RateLimitMinute = "rate-limit-minute",
    /// Status 429 with the hourly text.
    RateLimitHour = "rate-limit-hour",
    /// Status 429 with `Retry-After: 1`.
    RateLimitRetryAfter = "rate-limit-retry-after",
    /// Status 401, `Invalid SDK credentials`.
    InvalidCredentials = "invalid-credentials",
    /// Status 401, the scope is missing.
    Scope = "scope",
    /// Status 401, possibly a replay.
    Replay = "replay",
    /// Status 302 to another host.
    Redirect = "redirect",
    /// A log-in page with status 200.
    HtmlLogin = "html-login",
    /// The envelope of an error with status 200.
    Errors200 = "errors-200",
    /// The connection ends in the middle of the body.
    Truncated = "truncated",
    /// The JSON ends in the middle, and the length agrees.
    CutJson = "cut-json",
    /// The good answer, 30 s late.
    Slow = "slow",
    /// Counts as texts, `"5"`.
    StringCounts = "string-counts",
    /// Counts as floating-point numbers, `5.0`.
    FloatCounts = "float-counts",
    /// A count below zero.
    NegativeCount = "negative-count",
    /// A count of 5.5.
    FractionalCount = "fractional-count",
    /// A count of 2^64.
    HugeCount = "huge-count",
    /// No summary.
    MissingSummary = "missing-summary",
    /// No trend of returning users.
    MissingTrend = "missing-trend",
    /// The first date is missing from every trend.
    MissingDay = "missing-day",
    /// The first hour of the first date is missing from every trend.
    MissingHour = "missing-hour",
    /// The first date has an hour `24 - 25`.
    UnknownHour = "unknown-hour",
    /// Every date has the hour `0 - 1` twice.
    DoubleHour = "double-hour",
    /// The first date is there twice.
    DoubleDay = "double-day",
    /// The dates run backwards.
    OutOfOrder = "out-of-order",
    /// A date outside the range asked for.
    DayOutOfRange = "day-out-of-range",
    /// The first date is `Dez 01 2025`.
    UnreadableDate = "unreadable-date",
    /// The trend of returning users lacks the last date.
    TrendsDisagree = "trends-disagree",
    /// Fields that are not documented.
    ExtraField = "extra-field",
    /// The echoed conversation type is not the one asked for.
    WrongEcho = "wrong-echo",
    /// The count of dates is one too many.
    WrongCount = "wrong-count",
    /// No users at all, anywhere.
    AllZero = "all-zero",
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Fault {
    type Err = InvalidFaultRule;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.iter().copied().find(|fault| fault.name() == text);
        found.ok_or_else(|| InvalidFaultRule::Name { name: text.to_owned() })
    }
}

/// When a fault happens. Only calls with a good token and within the limits are considered, so that
/// a fault stands for the vendor's mistakes and not for ours.
///
/// As text: `name[@stream][:rate=0.1][:first=3]`.
#[derive(Clone, Debug, PartialEq)]
pub struct FaultRule {
    /// What goes wrong.
    pub fault: Fault,
    /// For which stream; without one, for all.
    pub stream: Option<StreamId>,
    /// Which share of the calls, 0 to 1. The choice follows from a call's ordinal among those that
    /// the rule considers.
    pub rate: f64,
    /// Only so many of the calls are considered, from the first.
    pub first: Option<u64>,
}

/// A text that is no [`FaultRule`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidFaultRule {
    /// No fault has this name.
    #[error("no fault is named `{name}`; known are {}", known_names())]
    Name {
        /// What was given.
        name: String,
    },
    /// What follows `@` is no stream id.
    #[error("`{text}` is no stream id")]
    Stream {
        /// What was given.
        text: String,
        /// Why.
        source: InvalidStreamId,
    },
    /// What follows a colon is no option, or its value does not fit.
    #[error(
        "`{text}` is no option of a fault: expected `rate=` with 0 to 1, or `first=` with a whole number"
    )]
    Option {
        /// What was given.
        text: String,
    },
}

fn known_names() -> String {
    Fault::ALL.iter().map(|fault| format!("`{fault}`")).collect::<Vec<_>>().join(", ")
}

impl FaultRule {
    /// `fault` on every call.
    #[must_use]
    pub const fn always(fault: Fault) -> Self {
        Self { fault, stream: None, rate: 1.0, first: None }
    }
}

impl FromStr for FaultRule {
    type Err = InvalidFaultRule;

    /// Reads `name[@stream][:rate=0.1][:first=3]`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.split(':');
        let head = parts.next().unwrap_or_default();
        let (name, stream) = head.split_once('@').map_or((head, None), |(name, id)| (name, Some(id)));
        let mut rule = Self::always(name.parse()?);
        if let Some(id) = stream {
            let stream = id.parse();
            rule.stream =
                Some(stream.map_err(|source| InvalidFaultRule::Stream { text: id.to_owned(), source })?);
        }
        for part in parts {
            let invalid = || InvalidFaultRule::Option { text: part.to_owned() };
            match part.split_once('=') {
                Some(("rate", value)) => {
                    let rate = value.parse().ok().filter(|rate| (0.0..=1.0).contains(rate));
                    rule.rate = rate.ok_or_else(invalid)?;
                }
                Some(("first", value)) => rule.first = Some(value.parse().map_err(|_| invalid())?),
                _ => return Err(invalid()),
            }
        }
        Ok(rule)
    }
}

impl fmt::Display for FaultRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.fault.name())?;
        if let Some(stream) = &self.stream {
            write!(f, "@{stream}")?;
        }
        if self.rate < 1.0 {
            write!(f, ":rate={}", self.rate)?;
        }
        self.first.map_or(Ok(()), |first| write!(f, ":first={first}"))
    }
}

/// The rules at work, each with the number of calls it has considered.
#[derive(Debug, Default)]
pub(super) struct FaultPlan(Vec<(FaultRule, u64)>);

impl FaultPlan {
    pub(super) fn new(rules: Vec<FaultRule>) -> Self {
        Self(rules.into_iter().map(|rule| (rule, 0)).collect())
    }

    /// The fault that befalls the next call of `stream`, if any.
    pub(super) fn next(&mut self, stream: &str) -> Option<Fault> {
        let mut found = None;
        for (rule, considered) in &mut self.0 {
            if rule.stream.as_ref().is_some_and(|only| only.as_str() != stream) {
                continue;
            }
            let ordinal = *considered;
            *considered += 1;
            let in_time = rule.first.is_none_or(|first| ordinal < first);
            if found.is_none() && in_time && drawn(rule, ordinal) {
                found = Some(rule.fault);
            }
        }
        found
    }
}

/// Whether a rule's share holds the call with this ordinal.
fn drawn(rule: &FaultRule, ordinal: u64) -> bool {
    // Two rules of one rate should not strike the same calls, so the fault is a part of the seed.
    let seed = super::noise::of_text(rule.fault.name()).wrapping_add(ordinal);
    let draw = u32::try_from(scatter(seed) >> 32).unwrap_or(u32::MAX);
    f64::from(draw) < rule.rate * (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_round_trips() {
        for &fault in Fault::ALL {
            let text = format!("{fault}@st-1:rate=0.25:first=3");
            let rule: FaultRule = text.parse().unwrap();
            assert_eq!((rule.fault, rule.rate, rule.first), (fault, 0.25, Some(3)));
            assert_eq!(rule.to_string(), text);
            assert_eq!(fault.name().parse(), Ok(FaultRule::always(fault)));
            assert!(fault.about().ends_with('.'), "{fault}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let error = |text: &str| text.parse::<FaultRule>().unwrap_err().to_string();
        assert!(
            error("http-501").starts_with("no fault is named `http-501`; known are `http-400`, `http-403`")
        );
        assert_eq!(error("scope@../x"), "`../x` is no stream id");
        for bad in ["rate=2", "rate=x", "rate=NaN", "first=-1", "twice", ""] {
            assert!(error(&format!("scope:{bad}")).starts_with(&format!("`{bad}` is no option")), "{bad}");
        }
    }

    #[test]
    fn rules_hold_for_their_calls_only() {
        let plan = |rules: &[&str]| FaultPlan::new(rules.iter().map(|rule| rule.parse().unwrap()).collect());
        let mut two = plan(&["scope@st-1:first=2", "http-500:first=3"]);
        let seen: Vec<_> = ["st-1", "st-2", "st-1", "st-1"].map(|stream| two.next(stream)).into();
        assert_eq!(seen, [Some(Fault::Scope), Some(Fault::Http500), Some(Fault::Scope), None]);
        let strikes = |rate: &str| {
            let mut plan = plan(&[rate]);
            (0..1000).filter(|_| plan.next("st-1").is_some()).count()
        };
        assert!((50..150).contains(&strikes("scope:rate=0.1")));
        assert_eq!((strikes("scope:rate=0"), strikes("scope:rate=1")), (0, 1000));
    }
}
