//! What goes back over the wire, before axum's types.

use std::time::Duration;

use bytes::Bytes;

/// An answer to a call.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    pub status: u16,
    pub content_type: &'static str,
    /// One header beyond the usual ones.
    pub extra: Option<(&'static str, &'static str)>,
    pub body: Bytes,
    /// Whether the connection ends in the middle of the body.
    pub cut: bool,
    /// How long the answer takes on top of the latency.
    pub delay: Duration,
}

impl Reply {
    /// A JSON body.
    pub(super) fn json(status: u16, body: impl Into<Bytes>) -> Self {
        Self {
            status,
            content_type: "application/json; charset=utf-8",
            extra: None,
            body: body.into(),
            cut: false,
            delay: Duration::ZERO,
        }
    }

    /// The vendor's error envelope. `code` is written as it stands, since the vendor's codes are
    /// numbers or texts.
    pub(super) fn error(status: u16, msg: &str, code: &str) -> Self {
        let msg = serde_json::Value::from(msg);
        Self::json(status, format!(r#"{{"errors":[{{"msg":{msg},"code":{code}}}]}}"#))
    }

    /// A page, as gateways give it.
    pub(super) fn html(status: u16, title: &str) -> Self {
        let page = format!(
            "<!doctype html><html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>"
        );
        Self { content_type: "text/html; charset=utf-8", ..Self::json(status, page) }
    }

    /// The refusal of bad arguments.
    pub(super) fn invalid_arguments() -> Self {
        Self::error(412, "Validation errors/ Invalid arguments", r#""ValidationError""#)
    }

    /// The refusal of a call that a window of this length has no room for.
    pub(super) fn rate_limited(window: Duration) -> Self {
        let msg = match window.as_secs() {
            60 => "You've exceeded the per-minute rate limit. Please wait for sometime before retrying.",
            3600 => "You've exceeded the hourly rate limit. Please wait for sometime before retrying.",
            _ => "Rate limit for this API has been reached. Please try again after some time.",
        };
        Self::error(429, msg, "429")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn same(reply: &Reply, sample: &str) {
        let sample: Value = serde_json::from_str(sample).unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&reply.body).unwrap(), sample);
    }

    #[test]
    fn errors_equal_the_samples() {
        use super::super::auth::Refusal;
        same(&Refusal::Credentials.into(), include_str!("../../tests/data/error-401-credentials.json"));
        same(&Refusal::Scope.into(), include_str!("../../tests/data/error-401-scope.json"));
        same(&Reply::invalid_arguments(), include_str!("../../tests/data/error-412-validation.json"));
        let hour = Duration::from_hours(1);
        same(&Reply::rate_limited(hour), include_str!("../../tests/data/error-429-hourly.json"));
        same(&Reply::rate_limited(Duration::MAX), include_str!("../../tests/data/error-429.json"));
        let lifetime: Value = serde_json::from_slice(&Reply::from(Refusal::Lifetime).body).unwrap();
        let msg = lifetime["errors"][0]["msg"].as_str().unwrap();
        assert!(msg.ends_with(r#"if "jti" claim "exp" must be <= 1 hour(s)"#));
    }
}
