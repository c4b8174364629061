//! One question to one answer: limit, sign, send, try again, check.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use chrono::{DateTime, Days, NaiveDate, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use tracing::field::Empty;
use tracing::{Instrument, Span, debug, debug_span, info};

use super::attempt::{self, Transport};
use super::auth::{Signer, SignerError};
use super::check::{Checked, Rejection, check};
use super::error::{Error, Next};
use super::limiter::Limiter;
use super::traffic::Traffic;
use crate::chance::Chance;
use crate::clock::Clock;
use crate::config::{OnMissing, RetrySettings, Stream};
use crate::model::{Points, Question, Summary, Trend, Window, local_now};

/// A request that has to wait for so long is told of: nothing else would tell why the run stands still.
const LONG_WAIT: Duration = Duration::from_secs(10);

/// The client of one stream. All questions of the stream share its rate limit.
pub struct Client {
    stream: Stream,
    http: Arc<dyn Transport>,
    max_body: u64,
    retry: RetrySettings,
    signer: Signer,
    limiter: Limiter,
    clock: Clock,
    chance: Chance,
    traffic: Arc<Traffic>,
    sent: AtomicU64,
    /// The longest range that the API is known to take, in days.
    max_days: AtomicU32,
    /// The shortest range that it is known not to take.
    too_long_days: AtomicU32,
    /// How far the clock of the server that refused a token was ahead of ours, in seconds. Tokens are
    /// dated by it from then on: the server judges them by its own clock.
    skew_secs: AtomicI64,
}

/// A checked answer, with what it took.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The figures.
    pub trend: Trend,
    /// When the first attempt at the answer began.
    pub asked_at: DateTime<Utc>,
    /// Keys of the answer that this version does not know.
    pub drift: BTreeSet<String>,
    /// How far the server's clock is ahead of ours, where it told the time.
    pub skew: Option<TimeDelta>,
    /// Whether the range had to be asked in pieces: the summary then holds no figures.
    pub in_pieces: bool,
    /// What the server has sent, where the stream keeps that.
    pub pieces: Vec<Piece>,
}

/// What the server has sent in answer to one request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    /// The first day asked for.
    pub start: NaiveDate,
    /// The last day asked for, inclusive.
    pub end: NaiveDate,
    /// When it was asked for.
    pub asked_at: DateTime<Utc>,
    /// The body, without the token's parts if it repeats them.
    pub body: String,
}

/// Makes an answer from what was sent before, checked as it was then.
///
/// # Errors
/// When a piece does not pass the checks, or there are days between them.
pub fn again(question: &Question, pieces: &[Piece], on_missing: OnMissing) -> Result<Answer, Rejection> {
    let mut whole: Option<Answer> = None;
    let mut start = question.window.start;
    for Piece { start: from, end, asked_at, body } in pieces {
        if *from != start || *end < start || *end > question.window.end {
            return Err(Rejection("the pieces do not make up the range".into()));
        }
        let window = Window { start, end: *end, ..question.window };
        let piece = Question { window, ..question.clone() };
        let local = local_now(*asked_at, question.zone);
        let Checked { trend, drift } = check(body.as_bytes(), &piece, local, on_missing)?;
        let answer =
            Answer { trend, asked_at: *asked_at, drift, skew: None, in_pieces: false, pieces: Vec::new() };
        whole = Some(match whole {
            None => answer,
            Some(whole) => whole.joined(answer),
        });
        start = *end + Days::new(1);
    }
    match whole {
        Some(answer) if start > question.window.end => {
            Ok(if pieces.len() > 1 { answer.of_pieces() } else { answer })
        }
        _ => Err(Rejection("the pieces do not make up the range".into())),
    }
}

impl Client {
    /// A client for `stream`. The secret is read now.
    ///
    /// # Errors
    /// When the stream's tokens cannot be signed.
    pub fn new(
        stream: &Stream,
        http: Arc<dyn Transport>,
        max_body: u64,
        retry: RetrySettings,
        (clock, chance): (Clock, Chance),
        traffic: Arc<Traffic>,
    ) -> Result<Self, SignerError> {
        Ok(Self {
            signer: Signer::new(&stream.credentials)?,
            limiter: Limiter::new(&stream.rate_limits, clock.clone(), traffic.clone()),
            stream: stream.clone(),
            http,
            max_body,
            retry,
            clock,
            chance,
            traffic,
            sent: AtomicU64::new(0),
            max_days: AtomicU32::new(stream.max_range_days),
            too_long_days: AtomicU32::new(u32::MAX),
            skew_secs: AtomicI64::new(0),
        })
    }

    /// How many requests of this stream have been sent, repetitions included.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// The stream's rate limit.
    pub const fn limiter(&self) -> &Limiter {
        &self.limiter
    }

    /// Asks until there is an answer or no more hope of one.
    ///
    /// A range that the API refuses is asked again in halves: what it allows is not documented. One
    /// that the server fails on is not: an outage that passes meanwhile would look like a limit, and
    /// cost the month its summary. For such a server there is `max_range_days`.
    ///
    /// # Errors
    /// The last attempt's error.
    pub async fn fetch(&self, question: &Question) -> Result<Answer, Error> {
        let known = self.max_days.load(Ordering::Relaxed);
        if question.window.days() > known {
            return self.fetch_in_pieces(question, known).await;
        }
        let error = match self.fetch_whole(question, self.retry.attempts).await {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        let Some(days) = self.shorter(question, &error).await else { return Err(error) };
        self.max_days.fetch_min(days, Ordering::Relaxed);
        self.fetch_in_pieces(question, days).await
    }

    /// Asks for the figures of exactly the question's days. `None` where the API does not take so long a
    /// range: those of its pieces would not add up.
    ///
    /// # Errors
    /// The last attempt's error.
    pub async fn fetch_period(&self, question: &Question) -> Result<Option<Answer>, Error> {
        let days = question.window.days();
        if days >= self.too_long_days.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let error = match self.fetch_whole(question, self.retry.attempts).await {
            Ok(answer) => return Ok(Some(answer)),
            Err(error) => error,
        };
        if self.shorter(question, &error).await.is_none() {
            return Err(error);
        }
        // Nobody asks again what counts as too long, so it has to be refused twice, with an answer between.
        match self.fetch_whole(question, 1).await {
            Err(error) if splits(&error) => {
                self.too_long_days.fetch_min(days, Ordering::Relaxed);
                Ok(None)
            }
            answer => answer.map(Some),
        }
    }

    /// The first half of a refused range that the API takes, or of that half, and so on, in days.
    async fn shorter(&self, question: &Question, error: &Error) -> Option<u32> {
        let mut days = question.window.days();
        while splits(error) && days > 1 {
            days = days.div_ceil(2);
            debug!(stream = %question.stream, days, "asking for a shorter range");
            let first =
                Window { end: question.window.start + Days::new(u64::from(days) - 1), ..question.window };
            let probe = Question { window: first, ..question.clone() };
            if self.fetch_whole(&probe, 1).await.is_ok() {
                return Some(days);
            }
        }
        None
    }

    /// Asks for at most `days` days at a time. The pieces' points make up the whole; their
    /// summaries do not, since users do not add up.
    async fn fetch_in_pieces(&self, question: &Question, days: u32) -> Result<Answer, Error> {
        let mut whole: Option<Answer> = None;
        let mut start = question.window.start;
        while start <= question.window.end {
            let end = (start + Days::new(u64::from(days) - 1)).min(question.window.end);
            let piece = Question { window: Window { start, end, ..question.window }, ..question.clone() };
            let answer = self.fetch_whole(&piece, self.retry.attempts).await?;
            whole = Some(match whole {
                None => answer,
                Some(whole) => whole.joined(answer),
            });
            start = end + Days::new(1);
        }
        Ok(whole.expect("a window is never empty").of_pieces())
    }

    async fn fetch_whole(&self, question: &Question, attempts: u32) -> Result<Answer, Error> {
        let mut backoff = self.backoff(attempts).build();
        let mut rate_budget = self.retry.max_rate_wait;
        let mut new_token = true;
        loop {
            let error = match self.attempt(question).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let wait = match error.next() {
                Next::Retry { at_least } => backoff
                    .next()
                    .map(|delay| delay.max(at_least.unwrap_or_default().min(self.retry.max_rate_wait))),
                Next::Wait(asked) => {
                    let wait = asked.min(rate_budget);
                    rate_budget -= wait;
                    // The whole stream waits: its other requests would be refused as well.
                    info!(stream = %question.stream, wait_secs = wait.as_secs(), "waiting, as the API's rate limit is reached");
                    self.limiter.pause(wait);
                    (!wait.is_zero()).then_some(Duration::ZERO)
                }
                Next::NewToken if new_token => {
                    new_token = false;
                    if let Error::Credentials { skew_secs: Some(skew), .. } = &error {
                        self.skew_secs.store(*skew, Ordering::Relaxed);
                    }
                    // The secret may have been rotated. If it cannot be read, the old one stays.
                    let _ = self.signer.reload();
                    Some(Duration::ZERO)
                }
                Next::NewToken | Next::GiveUp => None,
            };
            let Some(wait) = wait else { return Err(error) };
            debug!(stream = %question.stream, class = error.class().as_str(), %error, wait_ms = wait.as_millis(), "trying again");
            self.traffic.count_retry();
            self.clock.sleep(wait).await;
        }
    }

    fn backoff(&self, attempts: u32) -> ExponentialBuilder {
        ExponentialBuilder::new()
            .with_min_delay(self.retry.base_delay)
            .with_max_delay(self.retry.max_delay)
            .with_max_times(attempts.saturating_sub(1) as usize)
            .with_jitter()
            .with_jitter_seed(self.chance.bits())
    }

    /// One request with a token of its own, and the check of its answer.
    async fn attempt(&self, question: &Question) -> Result<Answer, Error> {
        let tell = |wait: Duration| {
            if wait >= LONG_WAIT {
                info!(stream = %question.stream, wait_secs = wait.as_secs(), "waiting, so that the rate limit is kept");
            }
        };
        let permit = self.limiter.acquire(tell).await;
        let asked_at = self.clock.now();
        let servers_time = asked_at + TimeDelta::seconds(self.skew_secs.load(Ordering::Relaxed));
        let token = self.signer.sign(&self.signer.claims(servers_time, self.chance.id()))?;
        self.traffic.count_request();
        self.sent.fetch_add(1, Ordering::Relaxed);
        let url = attempt::url(&self.stream.base_url, question);
        let span = request_span(&self.stream);
        let send = attempt::send(self.http.as_ref(), url, &token, self.max_body, || self.clock.now());
        let body = send.instrument(span.clone()).await;
        drop(permit);
        let status = body.as_ref().map_or_else(Error::status, |_| Some(200));
        span.record("http.response.status_code", status);
        if body.is_err() {
            span.record("otel.status_code", "ERROR");
        }
        self.traffic.count_answer(status);
        let body = body.map_err(|error| error.tidy(&token))?;
        self.traffic.count_bytes(body.bytes.len() as u64);
        let local = local_now(asked_at, question.zone);
        let checked = check(&body.bytes, question, local, self.stream.on_missing);
        // A good answer is JSON, and so it is text.
        let text = self.stream.keep_raw.then(|| String::from_utf8_lossy(&body.bytes).into_owned());
        let Checked { trend, drift } =
            checked.map_err(|rejection| Error::Contract { rejection, body: body.bytes }.tidy(&token))?;
        let drift = drift.iter().map(|name| super::error::tidy(name, &token)).collect();
        let Window { start, end, .. } = question.window;
        let piece = |text: &str| Piece { start, end, asked_at, body: super::error::without(text, &token) };
        let kept = text.as_deref().map(piece);
        Ok(Answer {
            trend,
            asked_at,
            drift,
            skew: body.skew,
            in_pieces: false,
            pieces: kept.into_iter().collect(),
        })
    }
}

impl Answer {
    /// This answer followed by that on the days right after it.
    fn joined(mut self, next: Self) -> Self {
        match (&mut self.trend.points, next.trend.points) {
            (Points::Daily(points), Points::Daily(more)) => points.extend(more),
            (Points::Hourly(points), Points::Hourly(more)) => points.extend(more),
            _ => unreachable!("both answer the same grain"),
        }
        self.trend.missing += next.trend.missing;
        self.drift.extend(next.drift);
        self.pieces.extend(next.pieces);
        self
    }

    /// The same, known to be made up of several: a sum of users is no summary.
    fn of_pieces(mut self) -> Self {
        self.trend.summary = Summary::default();
        self.in_pieces = true;
        self
    }
}

/// The span of one request, in the words of OpenTelemetry.
fn request_span(stream: &Stream) -> Span {
    debug_span!(
        "request",
        otel.kind = "client",
        otel.status_code = Empty,
        http.request.method = "POST",
        http.response.status_code = Empty,
        server.address = stream.base_url.host_str(),
    )
}

/// Whether a shorter range might do.
fn splits(error: &Error) -> bool {
    matches!(error, Error::Refused { status: 400 | 412 | 413 | 422, message }
        if !message.as_ref().is_some_and(|m| m.contains("StreamId")))
}
