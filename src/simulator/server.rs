//! The simulator itself: judges calls, keeps what must be kept between them, and serves.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, Method, Response, StatusCode, header};
use axum::serve::ListenerExt;
use bytes::Bytes;
use futures_util::stream;
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::ask::Ask;
use super::auth::{Gate, UsedTokens};
use super::faults::{FaultPlan, FaultRule};
use super::limits::Windows;
use super::reply::Reply;
use super::settings::Settings;
use super::stats::{Stats, Tally};
use super::world::World;
use super::{mutate, wire};
use crate::clock::Clock;
use crate::model::StreamId;

/// How long open calls may still take after the stop signal.
const DRAIN: Duration = Duration::from_secs(2);

/// A stand-in of the API. Clones share their state.
#[derive(Clone, Debug)]
pub struct Simulator(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    clock: Clock,
    world: World,
    limits: Vec<(u32, Duration)>,
    refused_calls_count: bool,
    latency: Duration,
    max_days: Option<u32>,
    streams: HashMap<String, Stream>,
    faults: Mutex<FaultPlan>,
    elsewhere: AtomicU64,
}

#[derive(Debug)]
struct Stream {
    id: StreamId,
    gate: Gate,
    state: Mutex<StreamState>,
}

#[derive(Debug, Default)]
struct StreamState {
    windows: Windows,
    used: UsedTokens,
    tally: Tally,
}

/// What matters of a request.
struct Call<'a> {
    method: &'a Method,
    path: &'a str,
    query: &'a str,
    auth: Option<&'a [u8]>,
}

impl Simulator {
    /// A simulator that has seen no call.
    #[must_use]
    pub fn new(settings: Settings, clock: Clock) -> Self {
        let stream = |stream: super::SimulatedStream| {
            let gate = Gate::new(&stream.client_id, &stream.key, settings.enforce_jti);
            (stream.id.to_string(), Stream { id: stream.id, gate, state: Mutex::default() })
        };
        Self(Arc::new(Shared {
            clock,
            world: World::new(settings.restate_days, settings.future),
            limits: settings.limits,
            refused_calls_count: settings.refused_calls_count,
            latency: settings.latency,
            max_days: settings.max_days,
            streams: settings.streams.into_iter().map(stream).collect(),
            faults: Mutex::new(FaultPlan::new(settings.faults)),
            elsewhere: AtomicU64::new(0),
        }))
    }

    /// The simulator as a service, at the path of the vendor's.
    pub fn router(&self) -> Router {
        Router::new().fallback(handle).with_state(self.clone())
    }

    /// Serves until `stop` is given, and then until the open calls have ended, or two seconds.
    ///
    /// # Errors
    /// When the listener fails.
    pub async fn serve(&self, listener: TcpListener, stop: CancellationToken) -> std::io::Result<()> {
        let listener = listener.tap_io(|stream| {
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "cannot set TCP_NODELAY");
            }
        });
        let stopped = stop.clone().cancelled_owned();
        let serving = axum::serve(listener, self.router()).with_graceful_shutdown(stopped).into_future();
        let drained = async {
            stop.cancelled().await;
            self.0.clock.sleep(DRAIN).await;
        };
        tokio::select! {
            served = serving => served,
            () = drained => Ok(()),
        }
    }

    /// The calls so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let streams = self.0.streams.values();
        Stats {
            streams: streams.map(|stream| (stream.id.clone(), lock(&stream.state).tally.stats())).collect(),
            elsewhere: self.0.elsewhere.load(Ordering::Relaxed),
        }
    }

    /// When the calls to a stream came, refused ones too, oldest first; the last 65536 of them.
    #[must_use]
    pub fn arrivals(&self, stream: &StreamId) -> Vec<Instant> {
        let known = self.0.streams.get(stream.as_str());
        known.map(|stream| lock(&stream.state).tally.arrivals()).unwrap_or_default()
    }

    /// Where the figures come from.
    #[must_use]
    pub fn world(&self) -> &World {
        &self.0.world
    }

    /// Replaces the rules by which things go wrong; they count their calls from now on.
    pub fn set_faults(&self, rules: Vec<FaultRule>) {
        *lock(&self.0.faults) = FaultPlan::new(rules);
    }

    /// Answers a call, but for the time that it takes.
    fn reply(&self, call: &Call<'_>) -> Reply {
        let elsewhere = |reply| {
            self.0.elsewhere.fetch_add(1, Ordering::Relaxed);
            reply
        };
        let Some(id) = stream_of(call.path) else {
            return elsewhere(Reply::error(404, "Not Found", "404"));
        };
        let Some(stream) = self.0.streams.get(id) else {
            return elsewhere(Reply::error(400, "Invalid StreamId", "400"));
        };
        let now = self.0.clock.instant();
        lock(&stream.state).tally.arrive(now);
        let reply = self.judged(stream, call, now).unwrap_or_else(|refused| refused);
        lock(&stream.state).tally.answer(reply.status);
        reply
    }

    /// The good answer, or the first reason against it, in the order in which a gateway, the
    /// application and its validation would find one.
    fn judged(&self, stream: &Stream, call: &Call<'_>, instant: Instant) -> Result<Reply, Reply> {
        let shared = &*self.0;
        if call.method != Method::POST {
            return Err(Reply::error(405, "Method Not Allowed", "405"));
        }
        let now = shared.clock.now();
        let ticket = stream.gate.check(call.auth, now)?;
        {
            let StreamState { windows, used, .. } = &mut *lock(&stream.state);
            if let Some(ticket) = ticket {
                used.use_up(&ticket, now)?;
            }
            let overfilled = windows.overfilled(&shared.limits, instant);
            if overfilled.is_none() || shared.refused_calls_count {
                windows.count(&shared.limits, instant);
            }
            if let Some(window) = overfilled {
                return Err(Reply::rate_limited(window));
            }
        }
        let fault = lock(&shared.faults).next(stream.id.as_str());
        if let Some(reply) = fault.and_then(mutate::replacement) {
            return Err(reply);
        }
        let ask = Ask::parse(call.query, shared.max_days).map_err(|_| Reply::invalid_arguments())?;
        let figures = shared.world.figures(stream.id.as_str(), &ask, now);
        let good = Reply::json(200, wire::body(&ask, &figures));
        Ok(match fault {
            Some(fault) => mutate::changed(fault, good),
            None => good,
        })
    }
}

async fn handle(State(simulator): State<Simulator>, request: Request) -> Response<Body> {
    let reply = simulator.reply(&Call {
        method: request.method(),
        path: request.uri().path(),
        query: request.uri().query().unwrap_or_default(),
        auth: request.headers().get("auth").map(HeaderValue::as_bytes),
    });
    let wait = simulator.0.latency + reply.delay;
    if !wait.is_zero() {
        simulator.0.clock.sleep(wait).await;
    }
    response(reply, &simulator.0.clock)
}

/// The id in the path of a trend.
fn stream_of(path: &str) -> Option<&str> {
    let id = path.strip_prefix("/api/public/bot/")?.strip_suffix("/v2/userEngagementTrend")?;
    (!id.is_empty() && !id.contains('/')).then_some(id)
}

fn response(reply: Reply, clock: &Clock) -> Response<Body> {
    let length = reply.body.len();
    let body = if reply.cut { broken(&reply.body) } else { Body::from(reply.body) };
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(reply.content_type));
    if reply.cut {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    // The server would take the machine's time; a client that measures skew must see ours.
    let date = httpdate::fmt_http_date(SystemTime::from(clock.now()));
    if let Ok(date) = HeaderValue::try_from(date) {
        headers.insert(header::DATE, date);
    }
    if let Some((name, value)) = reply.extra {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    response
}

/// The first half of a body under the length of the whole, and then the end of the connection.
fn broken(body: &Bytes) -> Body {
    let half = body.slice(..body.len() / 2);
    Body::from_stream(stream::unfold(Some(half), async |rest| {
        if rest.is_none() {
            // Gives the server a turn to send the half, which it would drop with the connection.
            tokio::task::yield_now().await;
        }
        rest.map(|half| (Ok::<_, Infallible>(half), None))
    }))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
