//! What benchmarks and the test of costs share: an exporter within this process, over the simulator's answers.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use tower::ServiceExt as _;
use trendlake::chance::Chance;
use trendlake::clock::Clock;
use trendlake::config::{Settings, Sources, Stream};
use trendlake::export::{Context, Observer, Spent, Turns, Warnings};
use trendlake::kore::{Traffic, Transport};
use trendlake::lake::Lake;
use trendlake::model::{Grain, Month, Question, Slice, Window, windows};
use trendlake::report::UnitReport;
use trendlake::shelf::Shelf;
use trendlake::simulator::{self, SimulatedStream, Simulator, VerifyingKey};

const SECRET: &str = "a secret of the benchmarks";
/// When it is: late in a month, with the one before settled.
const NOW: &str = "2026-04-20T12:00:00Z";

/// Settings of so many streams in Berlin, from `first_date` on.
pub(crate) fn settings(folder: &Path, streams: usize, first_date: &str, grains: &str) -> Settings {
    use std::fmt::Write as _;
    std::fs::write(folder.join("secret"), SECRET).unwrap();
    let mut text = format!(
        "[lake]\nurl = \"lake\"\n[defaults]\nbase_url = \"http://localhost\"\nzone = \"Europe/Berlin\"\n\
         first_date = \"{first_date}\"\nclient_secret_file = \"secret\"\ngrains = {grains}\n\
         rate_limits = [{{ requests = 1000000, per = \"1s\" }}]\n"
    );
    for n in 1..=streams {
        let id = format!("st-00000000-0000-5000-8000-{n:012}");
        let _ = write!(text, "[streams.stream-{n:05}]\nid = \"{id}\"\nclient_id = \"cs-{n}\"\n");
    }
    let file = folder.join("trendlake.toml");
    std::fs::write(&file, text).unwrap();
    Settings::load(&Sources { file, ..Sources::default() }).unwrap_or_else(|problems| panic!("{problems}"))
}

/// The benchmarks' clock, within a runtime.
pub(crate) fn clock() -> Clock {
    Clock::starting_at(NOW.parse().unwrap())
}

/// The API within this process. Each question is put to the simulator once; whoever asks it again gets the same
/// bytes, so that the simulator's work is not counted.
pub(crate) struct Replayed {
    router: Router,
    known: Mutex<BTreeMap<String, Bytes>>,
}

impl Replayed {
    /// The API of these streams.
    pub(crate) fn new(streams: &[Stream], clock: &Clock) -> Self {
        let simulated = |stream: &Stream| SimulatedStream {
            id: stream.id.clone(),
            client_id: stream.credentials.client_id.clone(),
            key: VerifyingKey::Secret(stream.credentials.key.read().unwrap()),
        };
        let settings = simulator::Settings {
            streams: streams.iter().map(simulated).collect(),
            limits: Vec::new(),
            enforce_jti: false,
            ..simulator::Settings::default()
        };
        Self { router: Simulator::new(settings, clock.clone()).router(), known: Mutex::default() }
    }

    /// The answer to the question with this grain about this month.
    pub(crate) fn body(&self, stream: &Stream, grain: Grain, month: Month) -> Bytes {
        let (id, start) = (stream.id.as_str(), format!("start_date={}", month.first_day()));
        let known = self.known.lock().unwrap();
        let is_it = |url: &String| {
            url.contains(id) && url.contains(&start) && url.contains(&format!("aggregation_type={grain}"))
        };
        known.iter().find(|(url, _)| is_it(url)).expect("it has been asked").1.clone()
    }

    /// The simulator's answer, which is not kept.
    pub(crate) async fn ask(&self, request: &reqwest::Request) -> Bytes {
        let mut call = axum::http::Request::builder().method(request.method().clone());
        for (name, value) in request.headers() {
            call = call.header(name, value);
        }
        let call = call.uri(request.url().as_str()).body(Body::empty()).unwrap();
        let answer = self.router.clone().oneshot(call).await.unwrap();
        assert!(answer.status().is_success(), "{}", answer.status());
        axum::body::to_bytes(answer.into_body(), usize::MAX).await.unwrap()
    }
}

impl Transport for Replayed {
    fn execute(&self, request: reqwest::Request) -> BoxFuture<'_, reqwest::Result<reqwest::Response>> {
        Box::pin(async move {
            let known = self.known.lock().unwrap().get(request.url().as_str()).cloned();
            let body = if let Some(body) = known {
                body
            } else {
                let body = self.ask(&request).await;
                self.known.lock().unwrap().insert(request.url().to_string(), body.clone());
                body
            };
            Ok(axum::http::Response::new(body).into())
        })
    }
}

struct Nobody;

impl Observer for Nobody {
    fn unit_done(&self, _: &UnitReport) {}
}

/// An exporter over these answers and this lake.
pub(crate) async fn context(
    settings: &Settings,
    clock: &Clock,
    http: Arc<dyn Transport>,
    lake: Lake,
) -> Context {
    Context {
        settings: Arc::new(settings.clone()),
        shelf: Shelf::open(lake, settings, clock).await.unwrap(),
        http,
        clock: clock.clone(),
        chance: Chance::seeded(1),
        traffic: Arc::new(Traffic::default()),
        observer: Arc::new(Nobody),
        stop: tokio_util::sync::CancellationToken::new(),
        warnings: Warnings::default(),
        spent: Spent::default(),
        turns: Turns::default(),
    }
}

/// The whole month as a window.
pub(crate) fn whole(month: Month) -> Window {
    windows(month.first_day(), month.last_day()).next().unwrap()
}

/// What a stream is asked about a month.
pub(crate) fn question(stream: &Stream, grain: Grain, window: Window) -> Question {
    stream.question(grain, &Slice::ALL, window)
}
