//! Daemons on the paused clock: each as `trendlake serve` puts it together, on a store and an API within this process
//! that can be gone for a while.

use std::path::Path as FilePath;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use futures_util::future::BoxFuture;
use object_store::path::Path;
use tokio::sync::watch;
use tokio::task::{JoinHandle, LocalSet};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;
use trendlake::chance::Chance;
use trendlake::clock::Clock;
use trendlake::config::{HttpSettings, LakeSettings, Settings, Sources};
use trendlake::kore::Transport;
use trendlake::lake::{self, Lake};
use trendlake::secret::Secret;
use trendlake::serve::{self, Alarm, Pace, Reach, Round, Shown, Site, Timetable, Worker};
use trendlake::simulator::{self, SimulatedStream, Simulator, VerifyingKey};

use super::super::support::stream_id;
use super::sea::{Log, Sea, Ship};
use super::{ask, broken};

/// The zone of the schedules.
pub(super) const ZONE: Tz = chrono_tz::America::New_York;
/// How many streams the API knows.
pub(super) const STREAMS: usize = 3;
const SECRET: &str = "a secret of the fleet";

/// What all daemons share.
#[derive(Clone)]
pub(super) struct Outside {
    pub sea: Arc<Sea>,
    router: Router,
    /// The API does not answer.
    pub is_down: Arc<AtomicBool>,
    /// Which daemon has asked the API last, and how often it was asked in all.
    pub asker: Arc<AtomicUsize>,
    pub asked: Arc<AtomicU64>,
}

impl Outside {
    /// An empty lake, and an API that takes its time.
    pub(super) fn new(clock: &Clock, log: &Arc<Log>) -> Self {
        let key = || VerifyingKey::Secret(Secret::from(SECRET.to_owned()));
        let stream = |n| SimulatedStream { id: stream_id(n), client_id: format!("cs-{n}"), key: key() };
        let settings = simulator::Settings {
            streams: (1..=STREAMS).map(stream).collect(),
            latency: Duration::from_secs(4),
            ..simulator::Settings::default()
        };
        Self {
            sea: Sea::new(clock, log, Box::new(|_, _, _| {})),
            router: Simulator::new(settings, clock.clone()).router(),
            is_down: Arc::default(),
            asker: Arc::default(),
            asked: Arc::default(),
        }
    }

    /// A way to it of its own for each daemon.
    pub(super) fn ship(&self, number: usize, seed: u64) -> Ship {
        Ship {
            sea: self.sea.clone(),
            number,
            chance: Chance::seeded(seed),
            storms: 0,
            sunk: Arc::default(),
            becalmed: Arc::default(),
        }
    }
}

/// How one daemon reaches it.
#[derive(Clone)]
pub(super) struct Berth {
    pub outside: Outside,
    pub ship: Ship,
}

impl Reach for Berth {
    fn lake(&self, _: &LakeSettings) -> Result<Lake, lake::Error> {
        Ok(Lake::on(Arc::new(self.ship.clone()), Path::from("lake")))
    }

    fn http(&self, _: &HttpSettings, _: bool) -> Result<Arc<dyn Transport>, String> {
        Ok(Arc::new(self.clone()))
    }
}

impl Transport for Berth {
    fn execute(&self, request: reqwest::Request) -> BoxFuture<'_, reqwest::Result<reqwest::Response>> {
        Box::pin(async move {
            self.ship.sail().await;
            if self.outside.is_down.load(Ordering::Relaxed) {
                return broken();
            }
            self.outside.asker.store(self.ship.number, Ordering::Relaxed);
            self.outside.asked.fetch_add(1, Ordering::Relaxed);
            Ok(ask(&self.outside.router, request).await.into())
        })
    }
}

struct Bell(Clock);

impl Alarm for Bell {
    fn ring(&self, at: DateTime<Utc>) -> BoxFuture<'_, ()> {
        Box::pin(async move { self.0.sleep((at - self.0.now()).to_std().unwrap_or_default()).await })
    }
}

/// A daemon at work.
pub(super) struct Daemon {
    pub stop: CancellationToken,
    pub ship: Ship,
    pub shown: Arc<Shown>,
    pub task: JoinHandle<()>,
    settings: watch::Sender<Arc<Settings>>,
    timetable: watch::Sender<Timetable>,
}

impl Daemon {
    /// Starts a daemon as `trendlake serve` does.
    pub(super) fn launch(
        outside: &Outside,
        number: usize,
        settings: Arc<Settings>,
        clock: &Clock,
        [of_ship, of_daemon]: [u64; 2],
    ) -> Self {
        let ship = outside.ship(number, of_ship);
        let stop = CancellationToken::new();
        let shown = Arc::new(Shown::default());
        let (timetable, timetables) = watch::channel(timetable(&settings));
        let (settings, current) = watch::channel(settings);
        let (clock, chance) = (clock.clone(), Chance::seeded(of_daemon));
        let worker = Worker {
            settings: current,
            clock: clock.clone(),
            chance: chance.clone(),
            stop: stop.clone(),
            reach: Arc::new(Berth { outside: outside.clone(), ship: ship.clone() }),
            shown: shown.clone(),
        };
        let (ends, seen) = (stop.clone(), shown.clone());
        let task = tokio::task::spawn_local(async move {
            let mut contender = serve::contender(&chance);
            let alarm = Bell(clock.clone());
            let pace = Pace { clock, chance, alarm: &alarm, timetable: timetables, stop: ends };
            let round = async |round: Round| worker.round(&mut contender, round).await;
            serve::go_round(pace, round, |ticks| seen.skipped(ticks)).await;
        });
        Self { stop, ship, shown, task, settings, timetable }
    }

    /// Waits for the end of its first round.
    pub(super) async fn ready(&self, clock: &Clock) {
        while !self.shown.state().ready {
            assert!(!self.task.is_finished(), "the daemon has ended");
            clock.sleep(Duration::from_secs(1)).await;
        }
    }

    /// Takes up a new configuration.
    pub(super) fn take(&self, settings: &Arc<Settings>) {
        self.timetable.send_replace(timetable(settings));
        self.settings.send_replace(settings.clone());
    }
}

fn timetable(settings: &Settings) -> Timetable {
    Timetable { schedule: settings.serve.schedule.clone(), jitter: settings.serve.jitter }
}

/// The settings of a daemon that runs at half past each of these hours.
pub(super) fn configure(
    folder: &FilePath,
    hours: &[u32],
    streams: usize,
    start: DateTime<Utc>,
) -> Arc<Settings> {
    let hours: Vec<_> = hours.iter().map(ToString::to_string).collect();
    let first = start - TimeDelta::days(40);
    let mut text = format!(
        "[lake]\nurl = \"lake\"\n[lineage]\nfile = \"events.ndjson\"\n[retry]\nattempts = 3\n\
         [serve]\nschedule = [\"30 {} * * *\"]\nzone = \"{ZONE}\"\n\
         [defaults]\nbase_url = \"http://127.0.0.1:1\"\nclient_secret_file = \"secret\"\nfirst_date = \"{}\"\n",
        hours.join(","),
        first.format("%F"),
    );
    for (n, zone) in (1..=streams).zip(["UTC", "America/New_York", "Asia/Kolkata"]) {
        use std::fmt::Write as _;
        let _ = write!(text, "[streams.s{n}]\nid = \"st-{n}\"\nclient_id = \"cs-{n}\"\nzone = \"{zone}\"\n");
    }
    std::fs::write(folder.join("secret"), SECRET).unwrap();
    let file = folder.join("trendlake.toml");
    std::fs::write(&file, text).unwrap();
    Arc::new(Settings::load(&Sources { file, ..Sources::default() }).unwrap())
}

/// The store is gone once the run has left its report: the lease cannot be given back, nor the lake looked at.
#[test]
fn what_fails_after_a_good_run_is_no_failure_of_the_run() {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        let start = "2026-02-20T12:00:00Z".parse().unwrap();
        let clock = Clock::starting_at(start);
        let log = Arc::new(Log::default());
        let outside = Outside::new(&clock, &log);
        let folder = tempfile::tempdir().unwrap();
        let settings = configure(folder.path(), &[1], 1, start);
        let daemon = Daemon::launch(&outside, 1, settings.clone(), &clock, [1, 2]);
        while outside.sea.under("lake/_trendlake/runs").is_empty() {
            assert!(!daemon.task.is_finished(), "the daemon has ended");
            clock.sleep(Duration::from_millis(1)).await;
        }
        outside.sea.closed.store(true, Ordering::Relaxed);
        daemon.ready(&clock).await;
        let state = daemon.shown.state();
        assert_eq!((state.failure, state.last.map(|report| report.exit_code)), (None, Some(0)));
        let said = metrics(&daemon, &settings, &clock).await;
        let of = |name: &str| said.lines().filter(|line| line.starts_with(name)).collect::<Vec<_>>();
        assert_eq!(of("trendlake_runs_total"), ["trendlake_runs_total{exit_code=\"0\"} 1"]);
        assert_eq!(of("trendlake_lease_held"), ["trendlake_lease_held 0"]);

        // The next tick finds the lease run out.
        outside.sea.closed.store(false, Ordering::Relaxed);
        clock.sleep(Duration::from_hours(24)).await;
        let said = metrics(&daemon, &settings, &clock).await;
        assert!(said.contains("trendlake_runs_total{exit_code=\"0\"} 2"), "{said}");
        // Two surveys in each round, the run's and one of what it has left, without that for which the store was gone.
        let lines = log.lines.lock().unwrap();
        let is_survey = |line: &&String| {
            line.contains(" list lake/user_engagement_daily") && !line.contains("_delta_log")
        };
        let listed = lines.iter().filter(is_survey).count();
        assert_eq!(listed, 3, "{lines:?}");
    });
}

async fn metrics(daemon: &Daemon, settings: &Arc<Settings>, clock: &Clock) -> String {
    let (_settings, current) = watch::channel(settings.clone());
    let site = Site::new(daemon.shown.clone(), current, clock.clone());
    let call = axum::http::Request::get("/metrics").body(axum::body::Body::empty()).unwrap();
    let answer = serve::router(Arc::new(site)).oneshot(call).await.unwrap();
    let body = axum::body::to_bytes(answer.into_body(), usize::MAX).await.unwrap();
    String::from_utf8(body.to_vec()).unwrap()
}
