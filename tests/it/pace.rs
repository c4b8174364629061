//! How long a run takes when nothing but the vendor's limits holds it up: on a paused clock, so that hours of
//! waiting cost nothing and the time measured is exact.
//!
//! The least time is reckoned with answers that take no time. Ones that do put off what leaves after the last
//! window has opened: for a short job by slow answers that is more than the fiftieth allowed here.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use futures_util::future::BoxFuture;
use object_store::memory::InMemory;
use tower::ServiceExt as _;
use trendlake::chance::Chance;
use trendlake::clock::Clock;
use trendlake::config::{Settings, Sources};
use trendlake::export::{self, Context, Spent, Turns, Warnings};
use trendlake::kore::{Traffic, Transport};
use trendlake::lake::Lake;
use trendlake::plan::{self, Scope};
use trendlake::secret::Secret;
use trendlake::shelf::Shelf;
use trendlake::simulator::{self, SimulatedStream, Simulator, VerifyingKey};

use super::inside::Nobody;
use super::support::stream_id;

/// The API within this process.
pub(crate) struct Direct(pub(crate) Router);

impl Transport for Direct {
    fn execute(&self, request: reqwest::Request) -> BoxFuture<'_, reqwest::Result<reqwest::Response>> {
        Box::pin(async move {
            let mut call = axum::http::Request::builder().method(request.method().clone());
            for (name, value) in request.headers() {
                call = call.header(name, value);
            }
            let call = call.uri(request.url().as_str()).body(Body::empty()).unwrap();
            let (head, body) = self.0.clone().oneshot(call).await.unwrap().into_parts();
            let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
            Ok(axum::http::Response::from_parts(head, body).into())
        })
    }
}

/// A backfill: so many streams, months before the one under way, and slices.
struct Job {
    streams: usize,
    months: u32,
    channels: usize,
    grains: &'static str,
    /// `concurrency.streams`.
    at_once: usize,
    /// How long the API takes over an answer.
    latency: Duration,
}

impl Job {
    fn settings(&self, folder: &std::path::Path) -> Settings {
        std::fs::write(folder.join("secret"), "a secret of this test").unwrap();
        let mut text = format!(
            "[lake]\nurl = \"lake\"\n[concurrency]\nstreams = {}\n[defaults]\nbase_url = \"http://localhost\"\n\
             zone = \"UTC\"\nfirst_date = \"{}\"\nclient_secret_file = \"secret\"\ngrains = {}\n",
            self.at_once,
            "2026-11-01".parse::<chrono::NaiveDate>().unwrap() - chrono::Months::new(self.months),
            self.grains,
        );
        let channel = |n| format!("{{ channel = \"c{n}\" }}");
        let slices: Vec<_> = (1..=self.channels).map(channel).collect();
        let _ = writeln!(text, "slices = [{}]", slices.join(", "));
        for n in 1..=self.streams {
            let _ = write!(text, "[streams.s{n}]\nid = \"st-{n}\"\nclient_id = \"cs-{n}\"\n");
        }
        std::fs::write(folder.join("trendlake.toml"), text).unwrap();
        let file = folder.join("trendlake.toml");
        Settings::load(&Sources { file, ..Sources::default() })
            .unwrap_or_else(|problems| panic!("{problems}"))
    }

    /// What the plan says that it takes, and what it took. Every request was let through at once.
    fn forecast_and_time(&self) -> (Duration, Duration) {
        let folder = tempfile::tempdir().unwrap();
        let settings = self.settings(folder.path());
        let work = async {
            let clock = Clock::starting_at("2026-11-20T12:00:00Z".parse().unwrap());
            let stream = |n| SimulatedStream {
                id: stream_id(n),
                client_id: format!("cs-{n}"),
                key: VerifyingKey::Secret(Secret::from("a secret of this test".to_owned())),
            };
            let simulated = simulator::Settings {
                streams: (1..=self.streams).map(stream).collect(),
                latency: self.latency,
                ..simulator::Settings::default()
            };
            let simulator = Simulator::new(simulated, clock.clone());
            let streams = settings.streams.clone();
            let lake = Lake::on(Arc::new(InMemory::new()), "lake".into());
            let shelf = Shelf::open(lake, &settings, &clock).await.unwrap();
            let context = Context {
                shelf,
                http: Arc::new(Direct(simulator.router())),
                settings: Arc::new(settings),
                clock: clock.clone(),
                chance: Chance::seeded(1),
                traffic: Arc::new(Traffic::default()),
                observer: Arc::new(Nobody),
                stop: tokio_util::sync::CancellationToken::new(),
                warnings: Warnings::default(),
                spent: Spent::default(),
                turns: Turns::default(),
            };
            let scope = Scope::default();
            let overview = export::overview(&context.shelf, &context.settings, &streams, &scope, clock.now())
                .await
                .unwrap();
            let times = overview
                .streams
                .iter()
                .map(|s| plan::least_time(plan::requests(&s.units), &s.stream.rate_limits));
            let forecast = plan::in_parallel(times, self.at_once);
            let began = clock.instant();
            let report = export::run(&context, &streams, &scope, |_| {}, || None).await.unwrap();
            assert_eq!(report.exit_code, 0, "{:?}", report.units.open().next());
            let requests = self.streams * (self.months as usize + 1) * self.channels;
            assert_eq!(report.totals.requests % requests as u64, 0, "{:?}", report.totals);
            assert_eq!((report.totals.open, report.totals.retries), (0, 0), "{:?}", report.totals);
            (forecast, clock.instant() - began)
        };
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_time().start_paused(true).build().unwrap().block_on(work)
    }

    #[track_caller]
    fn takes_no_longer_than_the_limits(&self, least: Duration) {
        let (forecast, took) = self.forecast_and_time();
        assert_eq!(forecast, least);
        assert!(took >= least, "{took:?} is less than the limits allow: {least:?}");
        assert!(took <= least.mul_f64(1.02), "{took:?} instead of {least:?}");
    }
}

#[test]
fn a_backfill_takes_the_least_time_that_the_minute_allows() {
    // 8 months x 2 grains x 10 slices: 160 requests in three minutes' windows.
    let job = Job {
        streams: 3,
        months: 7,
        channels: 10,
        grains: "[\"daily\", \"hourly\"]",
        at_once: 8,
        latency: Duration::from_millis(50),
    };
    job.takes_no_longer_than_the_limits(Duration::from_mins(2));
}

#[test]
fn a_backfill_takes_the_least_time_that_the_hour_allows() {
    // 36 months x 51 slices: 1,836 requests. The last 36 wait for the first ones to be an hour old.
    let job = Job {
        streams: 2,
        months: 35,
        channels: 51,
        grains: "[\"daily\"]",
        at_once: 8,
        latency: Duration::from_millis(300),
    };
    job.takes_no_longer_than_the_limits(Duration::from_hours(1));
}

#[test]
fn streams_that_take_turns_leave_no_gap_between_them() {
    // Four streams of 120 requests, two at a time: a minute each, and the next begins at once.
    let job = Job {
        streams: 4,
        months: 11,
        channels: 10,
        grains: "[\"daily\"]",
        at_once: 2,
        latency: Duration::from_millis(50),
    };
    job.takes_no_longer_than_the_limits(Duration::from_mins(2));
}
