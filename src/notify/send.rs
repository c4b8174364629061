//! One message over HTTP, tried twice. What comes of it is in the log and nowhere else.

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Method, Request};
use tracing::{debug, warn};
use url::Url;

use crate::kore::Transport;
use crate::secret::{Secret, SecretError, SecretRef};

/// How often each message is tried.
const ATTEMPTS: u32 = 2;

/// What is told, and to whom. The address is in no log: it may be a secret.
pub(super) struct Message {
    /// Who is told, for the log.
    pub whom: &'static str,
    /// The address.
    pub url: Url,
    /// A bearer token.
    pub token: Option<Secret>,
    /// JSON to post; the address is only asked where there is none.
    pub body: Option<Vec<u8>>,
}

/// The address that a secret holds.
pub(super) fn address(whom: &str, reference: &SecretRef) -> Option<Url> {
    match reference.read().map(|secret| Url::parse(secret.expose())) {
        Ok(Ok(url)) => Some(url),
        // The parser's error would be harmless, but says nothing that the reference does not.
        Ok(Err(_)) => {
            warn!("the {whom} was not told: {reference} holds no URL");
            None
        }
        Err(error) => {
            unreadable(whom, &error);
            None
        }
    }
}

/// A secret that is needed cannot be read.
pub(super) fn unreadable(whom: &str, error: &SecretError) {
    warn!("the {whom} was not told: {error}");
}

/// Sends a message until the answer is good or no attempt is left.
pub(super) async fn send(http: &dyn Transport, message: &Message) {
    let Message { whom, url, token, body } = message;
    let mut failure = String::new();
    for _ in 0..ATTEMPTS {
        let mut request = Request::new(if body.is_some() { Method::POST } else { Method::GET }, url.clone());
        if let Some(body) = body {
            request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            *request.body_mut() = Some(body.clone().into());
        }
        if let Some(token) = token {
            let Ok(mut value) = HeaderValue::from_str(&format!("Bearer {}", token.expose())) else {
                return warn!("the {whom} was not told: its token is no line of plain text");
            };
            value.set_sensitive(true);
            request.headers_mut().insert(AUTHORIZATION, value);
        }
        match http.execute(request).await {
            Ok(response) if response.status().is_success() => return debug!("the {whom} was told"),
            Ok(response) => failure = format!("it answered {}", response.status()),
            Err(error) => failure = error.without_url().to_string(),
        }
    }
    warn!("the {whom} was not told: {failure}");
}
