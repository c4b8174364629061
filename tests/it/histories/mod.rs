//! Histories: several exporters, one lake, an API that restates and fails, a store that loses requests
//! and replies, crashes, frozen processes, clocks that step, people who delete things. All within this
//! process and on a paused clock, so that a seed says all: the same seed gives the same history.
//!
//! What must hold is checked at each put, by an auditor at random instants, and at the end, when the
//! lake must say what the API says.
//!
//! `TRENDLAKE_SEEDS=0..10000 cargo test --test it histories::` runs as many as one likes.

mod fleet;
mod month;
mod restated;
mod sea;
mod truth;

use std::collections::BTreeMap;
use std::ops::Range;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arrow::array::RecordBatch;
use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use object_store::path::Path;
use tower::ServiceExt as _;
use trendlake::chance::Chance;
use trendlake::clock::Clock;
use trendlake::config::{OnMissing, Settings, Sources, Stream};
use trendlake::export::{self, Context, Spent, Turns, Warnings};
use trendlake::kore::{Traffic, Transport, check};
use trendlake::lake::{Lake, parse_key};
use trendlake::model::{
    Dataset, Grain, Month, Partition, PeriodRow, Question, Slice, Span, StreamId, Summary, Unit, UnitKind,
    Window,
};
use trendlake::plan::Scope;
use trendlake::report::Report;
use trendlake::secret::Secret;
use trendlake::shelf::Shelf;
use trendlake::simulator::{self, SimulatedStream, Simulator, VerifyingKey};
use trendlake::table::{self, inspect};

use self::restated::Oracle;
use self::sea::{Log, Sea, Ship};
use super::inside::Nobody;
use super::shelves::{KEPT, asked, changes, is_data, partitions, table_of, unpacked};
use super::support::stream_id;

const FIGURES: [&str; 3] = ["unique_users", "new_users", "returning_users"];

/// Every good answer of the API, in the order in which they were given.
type Answers = Arc<Mutex<Given>>;

#[derive(Default)]
struct Given {
    months: BTreeMap<Unit, Vec<Vec<RecordBatch>>>,
    /// By stream, first and last day.
    periods: BTreeMap<(StreamId, NaiveDate, NaiveDate), Vec<Summary>>,
}

/// The API within this process, reached by ship.
struct Channel {
    router: Router,
    ship: Ship,
    answers: Answers,
    streams: Arc<Vec<Stream>>,
}

impl Transport for Channel {
    fn execute(&self, request: reqwest::Request) -> BoxFuture<'_, reqwest::Result<reqwest::Response>> {
        Box::pin(async move {
            self.ship.sail().await;
            if self.ship.storm("request lost") {
                return broken();
            }
            let url = request.url().clone();
            let answer = ask(&self.router, request).await;
            if answer.status().is_success() {
                self.remember(&url, answer.body());
            }
            self.ship.sail().await;
            if self.ship.storm("answer lost") {
                return broken();
            }
            Ok(answer.into())
        })
    }
}

/// Carries a request to a server within this process.
async fn ask(router: &Router, request: reqwest::Request) -> axum::http::Response<Bytes> {
    let mut call = axum::http::Request::builder().method(request.method().clone());
    for (name, value) in request.headers() {
        call = call.header(name, value);
    }
    let call = call.uri(request.url().as_str()).body(Body::empty()).unwrap();
    let (head, body) = router.clone().oneshot(call).await.unwrap().into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
    axum::http::Response::from_parts(head, body)
}

impl Channel {
    /// Keeps the figures of a good answer, those of hours to come included.
    fn remember(&self, url: &url::Url, body: &Bytes) {
        let asked: BTreeMap<_, _> = url.query_pairs().collect();
        let id = url.path().split('/').nth(4).unwrap();
        let stream = self.streams.iter().find(|s| s.id.as_str() == id).unwrap();
        let date = |name: &str| asked[name].parse::<NaiveDate>().unwrap();
        let grain: Grain = asked["aggregation_type"].parse().unwrap();
        let (start, end) = (date("start_date"), date("end_date"));
        let window = Window { month: Month::of(end), start, end };
        let question =
            Question { stream: stream.id.clone(), grain, slice: Slice::ALL, zone: stream.zone, window };
        let late = window.end.and_hms_opt(23, 59, 59).unwrap() + TimeDelta::days(1);
        let Ok(checked) = check(body, &question, late, OnMissing::Null) else { return };
        if grain == Grain::Daily {
            let place = (stream.id.clone(), start, end);
            self.answers.lock().unwrap().periods.entry(place).or_default().push(checked.trend.summary);
            // A week may begin with the month: its days are the month's then.
            if start != window.month.first_day().max(stream.first_date) {
                return;
            }
        }
        let answers = [(Slice::ALL, checked.trend)];
        let batch =
            |&dataset: &Dataset| table::batch(dataset, stream, window, &answers, DateTime::UNIX_EPOCH);
        let kind = UnitKind::from(grain);
        let unit = Unit { stream: stream.id.clone(), kind, month: window.month };
        let batches = kind.datasets().iter().map(batch).collect();
        self.answers.lock().unwrap().months.entry(unit).or_default().push(batches);
    }
}

fn broken<T>() -> reqwest::Result<T> {
    let response: reqwest::Response =
        axum::http::Response::builder().status(599).body(Bytes::new()).unwrap().into();
    Err(response.error_for_status().unwrap_err())
}

/// Which of the API's answers a partition's file holds: the first and the last of them.
fn answers_held(answers: &Answers, partition: &Partition, bytes: &Bytes) -> (usize, usize) {
    let sound = inspect(partition, bytes).unwrap_or_else(|error| panic!("{partition:?}: {error}"));
    let place =
        partition.dataset.unit_kind().datasets().iter().position(|d| *d == partition.dataset).unwrap();
    let rows = sound.batch.num_rows();
    let figures =
        |batch: &RecordBatch| FIGURES.map(|name| batch.column_by_name(name).unwrap().slice(0, rows));
    let answers = answers.lock().unwrap();
    let given = answers.months.get(&partition.unit()).map(Vec::as_slice).unwrap_or_default();
    let held = |answer: &Vec<RecordBatch>| {
        answer[place].num_rows() >= rows && figures(&answer[place]) == figures(&sound.batch)
    };
    let first = given.iter().position(held);
    let first = first.unwrap_or_else(|| panic!("{partition:?} holds what the API never answered"));
    (first, given.iter().rposition(held).unwrap())
}

/// Which of the API's answers each row of a partition of periods holds: the first and the last of them, by
/// period, first and last day.
fn periods_held(
    answers: &Answers,
    partition: &Partition,
    bytes: &Bytes,
) -> BTreeMap<(Span, NaiveDate), (usize, usize)> {
    let sound = inspect(partition, bytes).unwrap_or_else(|error| panic!("{partition:?}: {error}"));
    let answers = answers.lock().unwrap();
    let held = |row: &PeriodRow| {
        let given = answers.periods.get(&(partition.stream.clone(), row.start, row.end));
        let given = given.map(Vec::as_slice).unwrap_or_default();
        let is_it = |summary: &Summary| Some(*summary) == row.summary;
        let first = given.iter().position(is_it);
        let first =
            first.unwrap_or_else(|| panic!("{partition:?} holds what the API never answered: {row:?}"));
        let span = Span { period: row.period, start: row.start, end: row.start };
        ((span, row.end), (first, given.iter().rposition(is_it).unwrap()))
    };
    table::period_rows(&sound.batch).iter().map(held).collect()
}

/// One history.
struct History {
    chance: Chance,
    log: Arc<Log>,
    /// The exporters' clock, which may be wrong, and the right one.
    ours: Clock,
    right: Clock,
    sea: Arc<Sea>,
    simulator: Simulator,
    settings: Arc<Settings>,
    streams: Arc<Vec<Stream>>,
    answers: Answers,
    restated: Arc<Oracle>,
    launched: usize,
    under_way: Vec<(Ship, tokio::task::JoinHandle<()>)>,
}

impl History {
    fn new(log: &Arc<Log>, seed: u64, folder: &std::path::Path) -> Self {
        let chance = Chance::seeded(seed);
        let start = "2026-02-03T05:20:00Z".parse::<DateTime<Utc>>().unwrap();
        let (ours, right) = (Clock::starting_at(start), Clock::starting_at(start));
        let settings =
            Settings::load(&Sources { file: folder.join("trendlake.toml"), ..Sources::default() }).unwrap();
        let streams = Arc::new(settings.streams.clone());
        let key = || VerifyingKey::Secret(Secret::from("a secret of the histories".to_owned()));
        let simulated = |n| SimulatedStream { id: stream_id(n), client_id: format!("cs-{n}"), key: key() };
        let simulator = Simulator::new(
            simulator::Settings {
                streams: vec![simulated(1), simulated(2)],
                ..simulator::Settings::default()
            },
            right.clone(),
        );
        let answers = Answers::default();
        let restated = Arc::new(Oracle::default());
        let sea = Sea::new(&right, log, Box::new(judge(answers.clone(), restated.clone(), log.clone())));
        Self {
            chance,
            log: log.clone(),
            ours,
            right,
            sea,
            simulator,
            settings: Arc::new(settings),
            streams,
            answers,
            restated,
            launched: 0,
            under_way: Vec::new(),
        }
    }

    fn below(&self, n: u64) -> u64 {
        self.chance.bits() % n
    }

    fn pick<'a, T>(&self, things: &'a [T]) -> &'a T {
        &things[usize::try_from(self.below(things.len() as u64)).unwrap()]
    }

    fn note(&self, line: std::fmt::Arguments<'_>) {
        self.log.note(&self.right, line);
    }

    fn ship(&mut self, storms: u64) -> Ship {
        self.launched += 1;
        Ship {
            sea: self.sea.clone(),
            number: self.launched,
            chance: Chance::seeded(self.chance.bits()),
            storms,
            sunk: Arc::default(),
            becalmed: Arc::default(),
        }
    }

    /// A run by a process of its own.
    fn run(&self, ship: &Ship) -> impl Future<Output = Result<Report, String>> + use<> {
        let transport = Channel {
            router: self.simulator.router(),
            ship: ship.clone(),
            answers: self.answers.clone(),
            streams: self.streams.clone(),
        };
        let mut lake = Lake::on(Arc::new(ship.clone()), Path::from("lake"));
        let (settings, clock) = (self.settings.clone(), self.ours.clone());
        let chance = Chance::seeded(ship.chance.bits());
        let streams = self.streams.clone();
        async move {
            let _lock = lake.lock().await.map_err(|e| e.to_string())?;
            let shelf = Shelf::open(lake, &settings, &clock).await.map_err(|e| e.to_string())?;
            let context = Context {
                settings,
                shelf,
                http: Arc::new(transport),
                clock,
                chance,
                traffic: Arc::new(Traffic::default()),
                observer: Arc::new(Nobody),
                stop: tokio_util::sync::CancellationToken::new(),
                warnings: Warnings::default(),
                spent: Spent::default(),
                turns: Turns::default(),
            };
            let everything = Scope::default();
            let run = export::run(&context, &streams, &everything, |_| {}, || None);
            run.await.map_err(|e| e.to_string())
        }
    }

    /// Sends a ship out, which may sink or be becalmed on its way.
    fn launch(&mut self) {
        let storms = *self.pick(&[0, 15, 60]);
        let ship = self.ship(storms);
        let run = self.run(&ship);
        let (log, clock, number) = (self.log.clone(), self.right.clone(), ship.number);
        let task = tokio::task::spawn_local(async move {
            let end = match run.await {
                Ok(report) => format!("ends with {}", report.exit_code),
                Err(error) => format!("fails: {error}"),
            };
            log.note(&clock, format_args!("ship {number} {end}"));
        });
        let fate = self.below(6);
        let after = Duration::from_millis(self.below(60_000));
        let calm = Duration::from_mins(self.below(180));
        if fate < 2 {
            let (log, clock) = (self.log.clone(), self.right.clone());
            let (sunk, becalmed) = (ship.sunk.clone(), ship.becalmed.clone());
            let sea = ship.sea.clone();
            let is_done = task.abort_handle();
            tokio::spawn(async move {
                clock.sleep(after).await;
                if is_done.is_finished() {
                } else if fate == 0 {
                    log.fault("crash");
                    if restated::is_halfway(&sea) {
                        log.fault("crash between data and restatements");
                    }
                    sunk.store(true, Ordering::Relaxed);
                } else {
                    log.fault("frozen and woken");
                    becalmed.store(true, Ordering::Relaxed);
                    clock.sleep(calm).await;
                    becalmed.store(false, Ordering::Relaxed);
                }
            });
        }
        self.note(format_args!("ship {number} leaves"));
        self.under_way.push((ship, task));
    }

    /// Waits until every ship has come home or sunk.
    async fn quiet(&mut self) {
        for (ship, task) in std::mem::take(&mut self.under_way) {
            while !task.is_finished() && !ship.sunk.load(Ordering::Relaxed) {
                self.right.sleep(Duration::from_secs(20)).await;
            }
            if task.is_finished() {
                task.await.expect("no run panics");
            }
        }
    }

    /// Whatever a reader may read now is sound.
    fn audit(&self) {
        for (key, bytes) in self.sea.data() {
            if key.starts_with(restated::PUBLISHED) {
                self.restated.audit(&key, &bytes);
                continue;
            }
            let partition = parse_key(key.strip_prefix("lake/").unwrap()).unwrap();
            if partition.dataset == Dataset::Periods {
                periods_held(&self.answers, &partition, &bytes);
            } else {
                answers_held(&self.answers, &partition, &bytes);
            }
        }
    }

    async fn event(&mut self) {
        match self.below(20) {
            0..=7 => self.launch(),
            8..=10 => self.right.sleep(Duration::from_secs(self.below(120))).await,
            11 | 12 => self.right.sleep(Duration::from_secs(3600 * (1 + self.below(30)))).await,
            13 => self.right.sleep(Duration::from_hours(24 * (1 + self.below(20)))).await,
            14 => {
                // The clock of all our machines steps, while none of them is at work.
                self.quiet().await;
                let steps =
                    [TimeDelta::minutes(10), TimeDelta::hours(1), TimeDelta::days(-1), TimeDelta::hours(-1)];
                let off = self.ours.now() - self.right.now();
                let step = if off.abs() < TimeDelta::seconds(1) { *self.pick(&steps) } else { -off };
                self.ours.step(step);
                self.log.fault("clock step");
                self.note(format_args!("our clocks step by {} min", step.num_minutes()));
            }
            15 => {
                // A person deletes an object. A table's log is what the lake is, and so are the files that it names.
                let is_table = |key: &String| table_of(key).is_some() || key.contains("/stream_id=");
                let keys: Vec<_> = self.sea.under("lake/").into_keys().filter(|key| !is_table(key)).collect();
                if !keys.is_empty() {
                    let key = self.pick(&keys);
                    for (key, _) in unpacked("lake/", self.sea.under(key)) {
                        self.restated.deleted(&key, &self.sea);
                    }
                    self.sea.objects.lock().unwrap().remove(key);
                    self.log.fault("object deleted");
                    self.note(format_args!("{key} is deleted"));
                }
            }
            16..=18 => {
                let rules = [
                    "http-503:rate=0.3",
                    "wrong-count:rate=0.3",
                    "rate-limit-retry-after:first=2",
                    "html-login:first=3",
                    "http-500:first=8",
                ];
                let rule = self.pick(&rules);
                self.simulator.set_faults(vec![rule.parse().unwrap()]);
                self.log.fault("the API fails");
                self.note(format_args!("the API: {rule}"));
            }
            _ => self.simulator.set_faults(Vec::new()),
        }
        self.audit();
    }

    /// When all is calm again, a run or two bring the lake to say what the API says, and a further one
    /// changes nothing.
    async fn end(&mut self) {
        self.quiet().await;
        self.simulator.set_faults(Vec::new());
        self.ours.step(self.right.now() - self.ours.now());
        // Into the middle of an hour, so that none begins while the figures are compared; and past
        // whatever time a wrong clock has shown.
        let to_hour = 3600 - self.right.now().timestamp().rem_euclid(3600);
        self.right.sleep(Duration::from_secs(u64::try_from(to_hour).unwrap() + 2 * 3600 + 60)).await;
        let ship = self.ship(0);
        let report = self.run(&ship).await.unwrap();
        assert_eq!(report.exit_code, 0, "{:?}", report.units.open().collect::<Vec<_>>());
        self.audit();
        self.restated.compare(&self.sea);
        self.compare().await;
        let before = self.sea.data();
        let ship = self.ship(0);
        let report = self.run(&ship).await.unwrap();
        assert_eq!((report.exit_code, report.totals.puts), (0, 0), "{report:?}");
        assert!(before == self.sea.data());
    }

    /// Every due partition is there once and holds what the API answers now.
    async fn compare(&mut self) {
        let transport = Channel {
            router: self.simulator.router(),
            ship: self.ship(0),
            answers: self.answers.clone(),
            streams: self.streams.clone(),
        };
        let parts = (self.ours.clone(), self.chance.clone());
        truth::compare(&self.sea, &self.settings, Arc::new(transport), parts).await;
    }
}

/// What is put into a data place are whole partitions with figures that the API has given, and none that
/// are older than those in their place. What was there of other streams is there as it was.
fn judge(
    answers: Answers,
    restated: Arc<Oracle>,
    log: Arc<Log>,
) -> impl Fn(&str, &Bytes, Option<&Bytes>) + Send + Sync {
    let judge = judge_partition(answers, restated, log);
    // The files of tables, which have no place but by a version: as those of a lake with an object per partition.
    let files: Mutex<BTreeMap<String, (String, Bytes)>> = Mutex::default();
    move |key, bytes, there| {
        let Some(name) = key.strip_prefix("lake/") else { return };
        let (new, old) = if let Some(table) = table_of(name) {
            assert_eq!(there, None, "{key}: a version is replaced");
            let files = files.lock().unwrap();
            let all = |paths: Vec<String>| {
                let found = paths.iter().map(|path| files[&format!("{table}/{path}")].clone());
                let map: BTreeMap<_, _> = found.collect();
                assert_eq!(map.len(), paths.len(), "{key}: a partition stands twice");
                map
            };
            let (added, removed) = changes(bytes);
            if added.is_empty() && removed.is_empty() {
                // The table itself.
                return;
            }
            (all(added), all(removed))
        } else if name.contains("/stream_id=") {
            let (partition, sound) = partitions(name, bytes).pop_first().unwrap();
            let single = table::encode(partition.dataset, &sound.batch, &sound.footer);
            let place = format!("lake/{}", trendlake::lake::key(&partition));
            files.lock().unwrap().insert(name.to_owned(), (place, single));
            return;
        } else if is_data(name) {
            let all = |bytes: &Bytes| unpacked("lake/", BTreeMap::from([(key.to_owned(), bytes.clone())]));
            (all(bytes), there.map(all).unwrap_or_default())
        } else {
            return;
        };
        assert!(old.keys().all(|partition| new.contains_key(partition)), "{key}: a partition is gone");
        let is_replaced = |(key, bytes): &(&String, &Bytes)| old.get(*key) != Some(*bytes);
        let replaced: Vec<_> = new.iter().filter(is_replaced).collect();
        assert!(!replaced.is_empty(), "{key}: nothing was replaced");
        for (key, bytes) in replaced {
            judge(key, bytes, old.get(key));
        }
    }
}

fn judge_partition(
    answers: Answers,
    restated: Arc<Oracle>,
    log: Arc<Log>,
) -> impl Fn(&str, &Bytes, Option<&Bytes>) + Send + Sync {
    move |key, bytes, there| {
        let Some(partition) = key.strip_prefix("lake/").and_then(|key| parse_key(key).ok()) else { return };
        let time = |bytes: &Bytes| table::read_footer(bytes).unwrap().fetched_at;
        if partition.dataset == Dataset::Periods {
            let new = periods_held(&answers, &partition, bytes);
            let Some(there) = there else { return };
            assert!(time(there) <= time(bytes), "{key}: `fetched_at` goes back");
            for (place, (earliest, _)) in periods_held(&answers, &partition, there) {
                assert!(
                    new.get(&place).is_none_or(|(_, latest)| earliest <= *latest)
                        || time(there) == time(bytes),
                    "{key}: an older answer replaces a newer one: {place:?}"
                );
            }
            return;
        }
        let (_, latest) = answers_held(&answers, &partition, bytes);
        let Some(there) = there else { return };
        if restated.committed(&partition, there, bytes) {
            log.fault("figures restated");
        }
        let (earliest, _) = answers_held(&answers, &partition, there);
        assert!(time(there) <= time(bytes), "{key}: `fetched_at` goes back");
        // Under a clock that has stepped back, several answers get one time, and their order is lost.
        assert!(
            earliest <= latest || time(there) == time(bytes),
            "{key}: an older answer replaces a newer one"
        );
    }
}

/// Lives through a history and gives its log, as an error of one that ends badly.
fn live(
    seed: u64,
    folder: &std::path::Path,
    faults: &Mutex<BTreeMap<&'static str, u64>>,
) -> Result<Vec<String>, Vec<String>> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let log = Arc::new(Log::default());
    let lived = tokio::task::LocalSet::new().block_on(&runtime, async {
        let mut history = History::new(&log, seed, folder);
        let life = async {
            for _ in 0..12 + history.below(12) {
                history.event().await;
            }
            history.end().await;
        };
        AssertUnwindSafe(life).catch_unwind().await
    });
    for (name, count) in &*log.faults.lock().unwrap() {
        *faults.lock().unwrap().entry(name).or_default() += count;
    }
    let lines = std::mem::take(&mut *log.lines.lock().unwrap_or_else(PoisonError::into_inner));
    if lived.is_ok() { Ok(lines) } else { Err(lines) }
}

fn folder(layout: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("secret"), "a secret of the histories").unwrap();
    let lake = format!("[lake]\nurl = \"lake\"\n{}\n", asked(layout));
    let text = "[defaults]\nbase_url = \"http://127.0.0.1:1\"\nclient_secret_file = \"secret\"\n\
                [retry]\nattempts = 3\n\
                [streams.s1]\nid = \"st-1\"\nclient_id = \"cs-1\"\nzone = \"UTC\"\nfirst_date = \"2026-01-20\"\ngrains = [\"daily\"]\n\
                summaries = [\"month\", \"week\", \"rolling_7d\"]\n\
                [streams.s2]\nid = \"st-2\"\nclient_id = \"cs-2\"\nzone = \"America/New_York\"\nfirst_date = \"2026-02-01\"\n";
    std::fs::write(folder.path().join("trendlake.toml"), lake + text).unwrap();
    folder
}

fn seeds() -> Range<u64> {
    let Some(text) = std::env::var_os("TRENDLAKE_SEEDS") else { return 0..250 };
    let text = text.into_string().expect("TRENDLAKE_SEEDS is text");
    let (from, to) = text.split_once("..").expect("TRENDLAKE_SEEDS is a range such as 0..10000");
    from.parse().unwrap()..to.parse().unwrap()
}

#[test]
fn every_history_ends_well() {
    all_end_well("stream");
}

#[test]
fn every_history_of_a_packed_lake_ends_well() {
    all_end_well("packed");
}

#[cfg(feature = "delta")]
#[test]
fn every_history_of_a_lake_of_tables_ends_well() {
    all_end_well("delta");
}

fn all_end_well(layout: &str) {
    let folder = folder(layout);
    let faults = Mutex::new(BTreeMap::new());
    let failed = Mutex::new(BTreeMap::new());
    let next = Mutex::new(seeds());
    let count = seeds().count();
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let Some(seed) = next.lock().unwrap().next() else { return };
                    if let Err(lines) = live(seed, folder.path(), &faults) {
                        failed.lock().unwrap().insert(seed, lines);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    if let Some((seed, lines)) = failed.first_key_value() {
        let seeds: Vec<_> = failed.keys().collect();
        let last = lines[lines.len().saturating_sub(80)..].join("\n");
        panic!("{} of {count} histories ended badly: {seeds:?}\nThe end of {seed}:\n{last}", failed.len());
    }
    let faults = faults.into_inner().unwrap();
    let all = [
        "put lost on the way",
        "put refused though nothing is there",
        "put done, reply lost",
        "put done twice",
        "get lost",
        "get cut short",
        "list lost",
        "list cut short",
        "request lost",
        "answer lost",
        "crash",
        "frozen and woken",
        "clock step",
        "object deleted",
        "the API fails",
        "figures restated",
        "crash between data and restatements",
    ];
    for fault in all {
        assert!(count < 100 || faults.contains_key(fault), "`{fault}` never happened: {faults:?}");
    }
}

#[test]
fn a_seed_says_all() {
    let faults = Mutex::default();
    for (layout, seed) in KEPT.iter().flat_map(|&layout| [(layout, 1), (layout, 7)]) {
        let folder = folder(layout);
        let [one, two] = [(); 2].map(|()| live(seed, folder.path(), &faults).unwrap());
        assert!(one.len() > 50, "{one:?}");
        let differs = one.iter().zip(&two).find(|(a, b)| a != b);
        assert!(one == two, "seed {seed} gives two histories: {differs:?}");
    }
}
