//! Why a question got no answer, by what the caller can do about it.

use std::time::Duration;

use bytes::Bytes;

use super::auth::SignerError;
use super::check::Rejection;
use crate::secret::Secret;

/// The kind of a failure: a closed set, used in reports and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// No connection, or a broken one.
    Network,
    /// No answer in time.
    Timeout,
    /// The answer broke off.
    Truncated,
    /// TLS could not be agreed on.
    Tls,
    /// The server failed.
    Server,
    /// The server's rate limit.
    RateLimited,
    /// The server refused the credentials.
    Credentials,
    /// The server refused the question.
    Refused,
    /// The server sent us elsewhere.
    Redirect,
    /// The answer is larger than allowed.
    TooLarge,
    /// The answer is not what the vendor documents.
    Contract,
}

impl Class {
    /// The name in reports and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Timeout => "timeout",
            Self::Truncated => "truncated",
            Self::Tls => "tls",
            Self::Server => "server",
            Self::RateLimited => "rate_limited",
            Self::Credentials => "credentials",
            Self::Refused => "refused",
            Self::Redirect => "redirect",
            Self::TooLarge => "too_large",
            Self::Contract => "contract",
        }
    }
}

/// A question got no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No connection, a broken one, or a broken answer; `class` tells which.
    #[error("{text}")]
    Transport {
        /// Network, timeout, truncated or TLS.
        class: Class,
        /// What happened, causes included.
        text: String,
    },
    /// The server failed.
    #[error("the API answered {status}{}", detail(.message))]
    Server {
        /// The HTTP status.
        status: u16,
        /// What the server said.
        message: Option<String>,
        /// When it asked to be tried again.
        retry_after: Option<Duration>,
    },
    /// Too many requests.
    #[error("the API's rate limit is reached{}", detail(.message))]
    RateLimited {
        /// Whether the hourly window is the full one.
        hourly: bool,
        /// What the server said.
        message: Option<String>,
        /// When it asked to be tried again.
        retry_after: Option<Duration>,
    },
    /// The credentials were refused.
    #[error("the API refused the credentials ({status}){}", detail(.message))]
    Credentials {
        /// The HTTP status.
        status: u16,
        /// What the server said.
        message: Option<String>,
        /// How far the server's clock is ahead of ours, in seconds, where that may be the reason.
        skew_secs: Option<i64>,
    },
    /// A token could not be made.
    #[error(transparent)]
    Signer(#[from] SignerError),
    /// The question was refused.
    #[error("the API refused the request ({status}){}", detail(.message))]
    Refused {
        /// The HTTP status.
        status: u16,
        /// What the server said.
        message: Option<String>,
    },
    /// The server sent us elsewhere; nothing was sent there.
    #[error("the API answered with a redirect ({status}), which is not followed")]
    Redirect {
        /// The HTTP status.
        status: u16,
    },
    /// The answer is larger than allowed.
    #[error("the answer is larger than {limit} bytes")]
    TooLarge {
        /// The limit in bytes, after decompression.
        limit: u64,
    },
    /// The answer is no data, or doubtful data.
    #[error("the answer was rejected: {rejection}")]
    Contract {
        /// Why.
        rejection: Rejection,
        /// What the server sent. Empty if it repeats the token.
        body: Bytes,
    },
}

fn detail(message: &Option<String>) -> String {
    message.as_ref().map(|m| format!(": {m}")).unwrap_or_default()
}

/// What to do after a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// It may pass: try again after a while.
    Retry { at_least: Option<Duration> },
    /// Wait for the rate limit and try again.
    Wait(Duration),
    /// Try once more with a new token.
    NewToken,
    /// It will not pass.
    GiveUp,
}

impl Error {
    /// The kind of the failure.
    #[must_use]
    pub const fn class(&self) -> Class {
        match self {
            Self::Transport { class, .. } => *class,
            Self::Server { .. } => Class::Server,
            Self::RateLimited { .. } => Class::RateLimited,
            Self::Credentials { .. } | Self::Signer(_) => Class::Credentials,
            Self::Refused { .. } => Class::Refused,
            Self::Redirect { .. } => Class::Redirect,
            Self::TooLarge { .. } => Class::TooLarge,
            Self::Contract { .. } => Class::Contract,
        }
    }

    /// The HTTP status, where one came.
    #[must_use]
    pub const fn status(&self) -> Option<u16> {
        match self {
            Self::Server { status, .. }
            | Self::Credentials { status, .. }
            | Self::Refused { status, .. }
            | Self::Redirect { status } => Some(*status),
            Self::RateLimited { .. } => Some(429),
            Self::TooLarge { .. }
            | Self::Contract { .. }
            | Self::Transport { class: Class::Truncated, .. } => Some(200),
            Self::Transport { .. } | Self::Signer(_) => None,
        }
    }

    /// Whether the other questions of the stream would fail the same way.
    #[must_use]
    pub const fn stops_stream(&self) -> bool {
        matches!(
            self.class(),
            Class::Credentials | Class::Refused | Class::Redirect | Class::RateLimited | Class::Tls
        )
    }

    /// What a person can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Transport { class: Class::Network, .. } => "check `base_url`, the network and `http.proxy`",
            Self::Transport { class: Class::Tls, .. } => {
                "for a private CA set `http.ca_file`; check that `base_url` names the host of the certificate"
            }
            Self::RateLimited { .. } => {
                "other clients of this app may use the limit too: lower `rate_share`, or run less often"
            }
            Self::Credentials { message, skew_secs, .. } => {
                return Some(credentials_hint(message.as_deref(), *skew_secs));
            }
            Self::Refused { status: 404 | 405, .. } => {
                "check `base_url`; on a private installation this API may not be there in version 2"
            }
            Self::Refused { message: Some(m), .. } if m.contains("StreamId") => {
                "check the stream's `id`, and that `base_url` is the app's own region"
            }
            Self::Refused { .. } => "check the stream's `id`, `slices` and `zone`",
            Self::Redirect { .. } => {
                "set `base_url` to the address that answers itself; a redirect would carry the token to another host"
            }
            Self::TooLarge { .. } => "raise `http.max_body_mib` if the stream is really this large",
            _ => return None,
        };
        Some(hint.into())
    }

    /// The error with what the server said made fit to be shown: without the parts of the token that it
    /// was sent, and of the length of a log line.
    #[must_use]
    pub fn tidy(mut self, token: &Secret) -> Self {
        match &mut self {
            Self::Server { message, .. }
            | Self::RateLimited { message, .. }
            | Self::Credentials { message, .. }
            | Self::Refused { message, .. } => *message = message.take().map(|m| tidy(&m, token)),
            Self::Transport { text, .. } => *text = tidy(text, token),
            Self::Contract { rejection: Rejection(text), body } => {
                *text = tidy(text, token);
                let is_said = |part: &str| body.windows(part.len()).any(|window| window == part.as_bytes());
                if token_parts(token).any(is_said) {
                    *body = Bytes::new();
                }
            }
            Self::Signer(_) | Self::Redirect { .. } | Self::TooLarge { .. } => {}
        }
        self
    }

    pub(super) fn next(&self) -> Next {
        match self {
            Self::Transport { class: Class::Tls, .. } => Next::GiveUp,
            Self::Transport { .. } => Next::Retry { at_least: None },
            Self::Server { retry_after, .. } => Next::Retry { at_least: *retry_after },
            // No Retry-After is documented. A minute's window is over in a minute; an hour's frees
            // places bit by bit, which is looked for every five minutes.
            Self::RateLimited { hourly, retry_after, .. } => {
                Next::Wait(retry_after.unwrap_or(Duration::from_secs(if *hourly { 300 } else { 60 })))
            }
            Self::Credentials { .. } => Next::NewToken,
            _ => Next::GiveUp,
        }
    }
}

/// A server may echo what it was sent, at any length: the parts of the token are cut out (the first
/// one is the same for all), then whatever a log line has no room for.
pub(super) fn tidy(text: &str, token: &Secret) -> String {
    without(text, token).chars().take(300).collect()
}

/// A text without the parts of the token.
pub(super) fn without(text: &str, token: &Secret) -> String {
    let whole = text.replace(token.expose(), "[token]");
    token_parts(token).fold(whole, |text, part| text.replace(part, "[token]"))
}

fn token_parts(token: &Secret) -> impl Iterator<Item = &str> {
    token.expose().split('.').skip(1)
}

/// The remedy for each of the vendor's texts.
fn credentials_hint(message: Option<&str>, skew_secs: Option<i64>) -> String {
    if let Some(skew) = skew_secs.filter(|s| s.abs() >= 30) {
        return format!(
            "the server's clock is {skew} s away from this machine's: set the time, tokens depend on it"
        );
    }
    let hint = match message.unwrap_or_default() {
        m if m.contains("Scope") => {
            "give the app's own JWT app the scope `User Engagement Trend` (the admin console does not offer it) and publish the app"
        }
        m if m.contains("SDK credentials") => {
            "check `client_id` and the secret, and that the JWT app belongs to this stream and this region"
        }
        m if m.contains("replay") => "another process may use the same token ids; this one makes each anew",
        m if m.contains("hour") => {
            "check this machine's clock: the token's end must lie within an hour of the server's time"
        }
        _ => {
            "check `client_id`, the secret, `algorithm`, and this machine's clock; encrypted tokens (JWE) must be off"
        }
    };
    hint.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_text_of_the_vendor_has_its_own_hint() {
        let hint = |m: &str, skew| credentials_hint(Some(m), skew);
        let texts = [
            "Invalid SDK credentials",
            "Invalid JWT token",
            "Permission denied. Scope is incorrect!",
            "possibly a replay",
        ];
        let mut hints: Vec<_> = texts.iter().map(|t| hint(t, None)).collect();
        hints.push(hint(texts[1], Some(-700)));
        let all = hints.len();
        hints.sort();
        hints.dedup();
        assert_eq!(hints.len(), all);
    }
}
