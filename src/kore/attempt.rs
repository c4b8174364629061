//! One HTTP attempt: a POST without a body, its answer read within bounds.

use std::error::Error as StdError;
use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::{ACCEPT, CONTENT_LENGTH, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Method, Proxy, Request, Response, StatusCode};
use tokio::sync::Semaphore;
use url::Url;

use super::error::{Class, Error};
use super::refusal;
use crate::config::HttpSettings;
use crate::model::{Channel, Question};
use crate::secret::Secret;

/// The largest error body that is looked into.
const MAX_ERROR_BODY: u64 = 64 * 1024;

/// More than any real answer has: a month of hours takes a tenth of it. What is larger is read one at a
/// time, so that memory does not grow with the number of answers that are too large.
const LARGE: usize = 256 * 1024;
static ONE_LARGE: Semaphore = Semaphore::const_new(1);

/// Everything but RFC 3986's unreserved characters: a space becomes `%20` and a slash `%2F`, as the
/// vendor asks.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What carries a request to its server and brings the answer: an HTTP client, or a server within this
/// process.
pub trait Transport: Send + Sync {
    /// Sends one request. Its time-outs and connections are the transport's concern.
    fn execute(&self, request: Request) -> BoxFuture<'_, reqwest::Result<Response>>;
}

impl Transport for Client {
    fn execute(&self, request: Request) -> BoxFuture<'_, reqwest::Result<Response>> {
        Box::pin(Self::execute(self, request))
    }
}

/// The HTTP client of all streams: one pool of connections, no redirects. `direct` leaves out every
/// proxy, as a simulator on this machine needs it.
///
/// # Errors
/// When the CA file or the proxy is unusable, or the system has no certificates at all.
pub fn http_client(settings: &HttpSettings, direct: bool) -> Result<Arc<dyn Transport>, String> {
    let mut builder = Client::builder()
        .user_agent(concat!("trendlake/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(settings.connect_timeout)
        .timeout(settings.timeout)
        // A redirect would carry the `auth` header along to another host.
        .redirect(Policy::none())
        .tcp_nodelay(true);
    if let Some(path) = &settings.ca_file {
        let pem = std::fs::read(path).map_err(|e| format!("cannot read `{}`: {e}", path.display()))?;
        let certs = Certificate::from_pem_bundle(&pem)
            .map_err(|e| format!("`{}` holds no certificates in PEM form: {e}", path.display()))?;
        builder = builder.tls_certs_merge(certs);
    }
    if direct {
        builder = builder.no_proxy();
    } else if let Some(proxy) = &settings.proxy {
        builder =
            builder.proxy(Proxy::all(proxy.as_str()).map_err(|e| format!("the proxy is unusable: {e}"))?);
    }
    let client = builder.build().map_err(|e| {
        format!(
            "no HTTP client can be built: {}",
            causes(&e).map(ToString::to_string).collect::<Vec<_>>().join(": ")
        )
    })?;
    Ok(Arc::new(client))
}

/// The address of a question. Every part is escaped, so that a filter cannot add a parameter.
pub(super) fn url(base: &Url, question: &Question) -> Url {
    let mut url = base.clone();
    let stream = utf8_percent_encode(question.stream.as_str(), RESERVED);
    url.set_path(&format!(
        "{}/api/public/bot/{stream}/v2/userEngagementTrend",
        base.path().trim_end_matches('/')
    ));
    let (start, end) = (question.window.start.to_string(), question.window.end.to_string());
    let slice = &question.slice;
    let mut query = String::with_capacity(200);
    let parameters = [
        ("aggregation_type", question.grain.as_str()),
        ("start_date", &start),
        ("end_date", &end),
        ("conversationType", slice.conversation_type.as_str()),
        ("conversationStatus", slice.conversation_status.as_str()),
        // An IANA name, whatever the parameter is called.
        ("timeZoneOffset", question.zone.name()),
    ];
    let channel = match &slice.channel {
        Channel::All => None,
        Channel::Named(name) => Some(("channels", name.as_str())),
    };
    for (name, value) in parameters.into_iter().chain(channel) {
        let separator = if query.is_empty() { "" } else { "&" };
        let _ = write!(query, "{separator}{name}={}", utf8_percent_encode(value, RESERVED));
    }
    url.set_query(Some(&query));
    url
}

/// What came back from an attempt that the server took for a valid question.
pub(super) struct Body {
    pub bytes: Bytes,
    /// How far the server's clock is ahead of ours.
    pub skew: Option<chrono::TimeDelta>,
}

/// Sends one request and reads its answer, at most `max_body` bytes of it after decompression.
///
/// # Errors
/// Anything but a whole answer of status 200.
pub(super) async fn send(
    http: &dyn Transport,
    url: Url,
    token: &Secret,
    max_body: u64,
    now: impl Fn() -> DateTime<Utc>,
) -> Result<Body, Error> {
    let mut request = Request::new(Method::POST, url);
    let headers = request.headers_mut();
    headers.insert("auth", super::auth::header(token));
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    // Without it, proxies in front of private installations answer 411 to a POST without a body.
    headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    let response = http.execute(request).await.map_err(|e| transport(&e, Class::Network))?;
    let status = response.status();
    if status != StatusCode::OK {
        let headers = response.headers().clone();
        // The status tells what to do; a body that cannot be read is only not quoted.
        let body = read(response, MAX_ERROR_BODY).await.unwrap_or_default();
        return Err(refusal::error(status, &headers, &body, now()));
    }
    let skew = refusal::skew(response.headers(), now());
    Ok(Body { bytes: read(response, max_body).await?, skew })
}

async fn read(mut response: Response, limit: u64) -> Result<Bytes, Error> {
    let announced = response.content_length().unwrap_or(0);
    if announced > limit {
        return Err(Error::TooLarge { limit });
    }
    // Without compression, it mostly is the only one.
    let mut first = Bytes::new();
    let mut bytes = Vec::new();
    let mut turn = None;
    while let Some(chunk) = response.chunk().await.map_err(|e| transport(&e, Class::Truncated))? {
        let length = first.len().max(bytes.len()) + chunk.len();
        if length as u64 > limit {
            return Err(Error::TooLarge { limit });
        }
        if length > LARGE && turn.is_none() {
            turn = Some(ONE_LARGE.acquire().await.expect("it is never closed"));
            // All at once: growing by doubling would leave as much behind as it ends with.
            bytes.reserve_exact(usize::try_from(limit).unwrap_or(usize::MAX) - bytes.len());
        }
        if first.is_empty() {
            first = chunk;
            continue;
        }
        if bytes.is_empty() {
            bytes.reserve_exact(usize::try_from(announced).unwrap_or(LARGE).min(LARGE));
            bytes.extend_from_slice(&first);
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(if bytes.is_empty() { first } else { bytes.into() })
}

/// Sorts a failure of the HTTP client; `otherwise` is its class where nothing tells more.
fn transport(error: &reqwest::Error, otherwise: Class) -> Error {
    let class = if error.is_timeout() {
        Class::Timeout
    } else if causes(error).any(is_tls) {
        Class::Tls
    } else {
        otherwise
    };
    let root = causes(error).last().map(ToString::to_string).unwrap_or_default();
    let what = match class {
        Class::Timeout => "no whole answer in time",
        Class::Tls => "TLS could not be agreed on",
        Class::Truncated => "the answer broke off",
        _ if error.is_connect() => "cannot connect",
        _ => "the connection broke",
    };
    Error::Transport { class, text: format!("{what}: {}", refusal::one_line(&root)) }
}

/// Whether an error is one of TLS, be it wrapped. An IO error gives the cause of what it wraps as its own
/// source, and not what it wraps; and here one wraps another.
fn is_tls(error: &(dyn StdError + 'static)) -> bool {
    let wrapped = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    error.is::<rustls::Error>() || wrapped.is_some_and(|inner| is_tls(inner))
}

/// An error and what caused it, outermost first.
fn causes<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |e| (*e).source())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ConversationType, Grain, Slice, windows};

    #[test]
    fn every_part_of_the_address_is_escaped() {
        let day: chrono::NaiveDate = "2026-03-31".parse().unwrap();
        let question = Question {
            stream: "st-1".parse().unwrap(),
            grain: Grain::Hourly,
            slice: Slice {
                conversation_type: ConversationType::NonInteractive,
                channel: "a&b=c d".parse().unwrap(),
                ..Slice::ALL
            },
            zone: chrono_tz::Asia::Kolkata,
            window: windows(day, day).next().unwrap(),
        };
        let url = url(&"https://kore.example/pre/".parse().unwrap(), &question);
        assert_eq!(
            url.as_str(),
            "https://kore.example/pre/api/public/bot/st-1/v2/userEngagementTrend?aggregation_type=hourly\
             &start_date=2026-03-31&end_date=2026-03-31&conversationType=Non%20Interactive\
             &conversationStatus=All&timeZoneOffset=Asia%2FKolkata&channels=a%26b%3Dc%20d"
        );
    }
}
