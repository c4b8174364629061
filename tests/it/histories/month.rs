//! Thirty days of two daemons on one lake, on the paused clock: a schedule in a zone whose clocks change meanwhile,
//! outages of the API and of the store, a stop and a kill in the middle of a run, a new configuration. At the end the
//! lake says what the API says, each tick was done once, and memory has not grown.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, NaiveDateTime, NaiveTime, TimeDelta, Timelike, Utc};
use tokio::task::LocalSet;
use trendlake::chance::Chance;
use trendlake::clock::Clock;
use trendlake::config::Settings;

use super::fleet::{Berth, Daemon, Outside, STREAMS, ZONE, configure};
use super::sea::{Log, Sea};
use super::truth;

/// Half past one comes twice when the clocks go back, half past two not at all when they go forward.
const HOURS: [u32; 6] = [1, 2, 6, 11, 16, 21];
const NEW_HOURS: [u32; 4] = [2, 8, 14, 20];
/// How many bytes more the process may hold at the end of the month than in its middle, the lake left out: less
/// than a report for each run in between.
const MOST_GROWTH: i64 = 192 << 10;

struct Month {
    start: DateTime<Utc>,
    clock: Clock,
    chance: Chance,
    log: Arc<Log>,
    outside: Outside,
    folder: tempfile::TempDir,
    settings: Arc<Settings>,
    daemons: Vec<Daemon>,
    launched: usize,
}

impl Month {
    fn new(start: DateTime<Utc>) -> Self {
        let clock = Clock::starting_at(start);
        let log = Arc::new(Log::default());
        let outside = Outside::new(&clock, &log);
        let folder = tempfile::tempdir().unwrap();
        let settings = configure(folder.path(), &HOURS, STREAMS - 1, start);
        let chance = Chance::seeded(1);
        Self { start, clock, chance, log, outside, folder, settings, daemons: Vec::new(), launched: 0 }
    }

    fn launch(&mut self) -> Daemon {
        self.launched += 1;
        let seeds = [(); 2].map(|()| self.chance.bits());
        Daemon::launch(&self.outside, self.launched, self.settings.clone(), &self.clock, seeds)
    }

    async fn until(&self, instant: DateTime<Utc>) {
        self.clock.sleep((instant - self.clock.now()).to_std().expect("the past is over")).await;
    }

    /// Waits for the run of this tick, until it is half-way, and gives the daemon that does it.
    async fn half_way(&self, tick: DateTime<Utc>) -> usize {
        self.until(tick).await;
        let before = self.outside.asked.load(Ordering::Relaxed);
        while self.outside.asked.load(Ordering::Relaxed) < before + 3 {
            self.clock.sleep(Duration::from_secs(1)).await;
            assert!(self.clock.now() < tick + TimeDelta::minutes(10), "nobody runs at {tick}");
        }
        let number = self.outside.asker.load(Ordering::Relaxed);
        self.daemons.iter().position(|daemon| daemon.ship.number == number).unwrap()
    }

    /// A stop, as SIGTERM asks for it, in the middle of this tick's run; half an hour later it is there again.
    async fn restart(&mut self, tick: DateTime<Utc>) {
        let index = self.half_way(tick).await;
        let daemon = self.daemons.remove(index);
        daemon.stop.cancel();
        daemon.task.await.unwrap();
        self.clock.sleep(Duration::from_mins(30)).await;
        let daemon = self.launch();
        self.daemons.push(daemon);
    }

    /// The same without a word.
    async fn kill(&mut self, tick: DateTime<Utc>) {
        let index = self.half_way(tick).await;
        let daemon = self.daemons.remove(index);
        daemon.ship.sunk.store(true, Ordering::Relaxed);
        daemon.task.abort();
        self.clock.sleep(Duration::from_mins(30)).await;
        let daemon = self.launch();
        self.daemons.push(daemon);
    }

    /// The API is down at this tick and the one after.
    async fn without_api(&self, ticks: &[DateTime<Utc>]) {
        self.until(ticks[0] - TimeDelta::minutes(5)).await;
        self.outside.is_down.store(true, Ordering::Relaxed);
        self.until(ticks[1] + TimeDelta::minutes(90)).await;
        self.outside.is_down.store(false, Ordering::Relaxed);
    }

    /// The store is down from the middle of this tick's run, and at the one after.
    async fn without_store(&self, ticks: &[DateTime<Utc>]) {
        self.half_way(ticks[0]).await;
        self.outside.sea.closed.store(true, Ordering::Relaxed);
        self.until(ticks[1] + TimeDelta::minutes(90)).await;
        self.outside.sea.closed.store(false, Ordering::Relaxed);
    }

    /// Every daemon takes up a configuration with other hours and one stream more.
    fn reconfigure(&mut self) {
        self.settings = configure(self.folder.path(), &NEW_HOURS, STREAMS, self.start);
        for daemon in &self.daemons {
            daemon.take(&self.settings);
        }
    }

    /// What the ends of runs were, by when they were due; nothing for one that was killed.
    fn told(&self) -> BTreeMap<DateTime<Utc>, Vec<String>> {
        let text = std::fs::read_to_string(self.folder.path().join("events.ndjson")).unwrap();
        let mut told: BTreeMap<_, Vec<String>> = BTreeMap::new();
        for line in text.lines() {
            let event: serde_json::Value = serde_json::from_str(line).unwrap();
            let due = event["run"]["facets"]["nominalTime"]["nominalStartTime"].as_str().unwrap();
            told.entry(due.parse().unwrap())
                .or_default()
                .push(event["eventType"].as_str().unwrap().to_owned());
        }
        told
    }

    /// What happens in these thirty days.
    async fn live(&mut self, plan: &Plan) {
        for _ in 0..2 {
            let daemon = self.launch();
            self.daemons.push(daemon);
        }
        let due = &plan.due;
        self.restart(due[plan.restart]).await;
        self.without_api(&due[plan.no_api..]).await;
        self.without_store(&due[plan.no_store..]).await;
        self.kill(due[plan.kill]).await;
        self.until(plan.reload).await;
        self.reconfigure();
        self.without_api(&due[plan.late_no_api..]).await;
        self.restart(due[plan.late_restart]).await;
        self.without_store(&due[plan.late_no_store..]).await;
        self.until(plan.end).await;
    }

    /// The end of each tick's run was what it had to be, and nothing ran besides.
    fn judge(&self, plan: &Plan) {
        let told = self.told();
        let mut expected: BTreeMap<usize, &[&str]> = BTreeMap::new();
        for stopped in [plan.restart, plan.late_restart] {
            expected.insert(stopped, &["START", "ABORT", "START", "COMPLETE"]);
        }
        expected.insert(plan.kill, &["START", "START", "COMPLETE"]);
        for failed in [plan.no_api, plan.no_api + 1, plan.late_no_api, plan.late_no_api + 1] {
            expected.insert(failed, &["START", "FAIL"]);
        }
        for (index, tick) in plan.due.iter().enumerate() {
            let found: Vec<_> = told.get(tick).into_iter().flatten().map(String::as_str).collect();
            let is_lost = |first: usize| (first..=first + 1).contains(&index);
            if is_lost(plan.no_store) || is_lost(plan.late_no_store) {
                // Begun by one and given up, or by none.
                assert!(!found.contains(&"COMPLETE"), "{tick}: {found:?}");
            } else {
                assert_eq!(found, *expected.get(&index).unwrap_or(&&["START", "COMPLETE"][..]), "{tick}");
            }
        }
        // Besides the ticks there were four starts, of which the first two share one run.
        let starts: Vec<_> = told.iter().filter(|(at, _)| !plan.due.contains(at)).collect();
        assert_eq!(starts.len(), 4, "{starts:?}");
        for daemon in &self.daemons {
            let coverage = daemon.shown.state().coverage;
            let units = coverage.iter().flat_map(|c| &c.units);
            let open =
                units.filter(|(_, condition)| ["missing", "failed"].contains(&condition.as_str())).count();
            assert_eq!((coverage.len(), open), (STREAMS, 0));
        }
    }

    /// The lake says what the API says.
    async fn compare(&mut self) {
        for daemon in self.daemons.drain(..) {
            daemon.stop.cancel();
            daemon.task.await.unwrap();
        }
        // The figures grow by the hour: a last round, within the hour in which they are compared.
        let left = 60 - u64::from(self.clock.now().minute());
        self.clock.sleep(Duration::from_mins(left)).await;
        let daemon = self.launch();
        daemon.ready(&self.clock).await;
        assert_eq!(daemon.shown.state().last.unwrap().exit_code, 0);
        let berth = Berth { outside: self.outside.clone(), ship: daemon.ship.clone() };
        let parts = (self.clock.clone(), self.chance.clone());
        truth::compare(&self.outside.sea, &self.settings, Arc::new(berth), parts).await;
    }
}

/// When the ticks are, and what happens at which: the first of two in a row, for outages.
struct Plan {
    due: Vec<DateTime<Utc>>,
    reload: DateTime<Utc>,
    end: DateTime<Utc>,
    restart: usize,
    no_api: usize,
    no_store: usize,
    kill: usize,
    late_no_api: usize,
    late_restart: usize,
    late_no_store: usize,
}

impl Plan {
    fn from(start: DateTime<Utc>) -> Self {
        let day = |n: i64| start + TimeDelta::days(n);
        let reload = day(8) + TimeDelta::minutes(7);
        let due = [ticks(&HOURS, start, reload), ticks(&NEW_HOURS, reload, day(30))].concat();
        let after = |n: i64| due.iter().position(|tick| *tick > day(n)).unwrap();
        Self {
            restart: after(2),
            no_api: after(3),
            no_store: after(5),
            kill: after(6),
            late_no_api: after(15),
            late_restart: after(18),
            late_no_store: after(21),
            end: day(30),
            reload,
            due,
        }
    }
}

/// The ticks after one instant and up to another, reckoned by watching a wall clock minute by minute: when it shows
/// half past one of the hours for the first time, or has just been moved past that.
fn ticks(hours: &[u32], from: DateTime<Utc>, to: DateTime<Utc>) -> Vec<DateTime<Utc>> {
    let wall = |at: DateTime<Utc>| at.with_timezone(&ZONE).naive_local();
    let (mut ticks, mut latest) = (Vec::new(), wall(from));
    let mut at = from;
    while at < to {
        at += TimeDelta::minutes(1);
        let shown = wall(at);
        let due = |hour: &u32| {
            let time = NaiveTime::from_hms_opt(*hour, 30, 0).unwrap();
            let on = |day: NaiveDateTime| day.date().and_time(time);
            [on(latest), on(shown)].into_iter().any(|tick| latest < tick && tick <= shown)
        };
        if hours.iter().any(due) {
            ticks.push(at);
        }
        latest = latest.max(shown);
    }
    ticks
}

/// Lives through thirty days from this noon, in which the clocks change half-way.
fn live(start: &str) {
    let start: DateTime<Utc> = start.parse().unwrap();
    let plan = Arc::new(Plan::from(start));
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let tasks = LocalSet::new();
    let mut month = tasks.block_on(&runtime, async { Month::new(start) });
    let (clock, sea, log) = (month.clock.clone(), month.outside.sea.clone(), month.log.clone());
    let script = plan.clone();
    let life = tasks.spawn_local(async move {
        month.live(&script).await;
        month
    });
    // What the process holds besides the lake, every two hours.
    let (mut held, mut heights) = (0, BTreeMap::new());
    while clock_of(&runtime, &clock) < plan.end {
        let grown = allocation_counter::measure(|| {
            tasks.block_on(&runtime, clock.sleep(Duration::from_hours(2)));
            *log.lines.lock().unwrap() = Vec::new();
        });
        held += grown.bytes_current;
        let day = (clock_of(&runtime, &clock) - start).num_days();
        heights.entry(day).or_insert_with(Vec::new).push(held - in_memory(&sea));
    }
    let mut month = tasks.block_on(&runtime, life).unwrap();
    month.judge(&plan);
    tasks.block_on(&runtime, month.compare());
    // Columns that were encoded are remembered, up to a number of them, and then all forgotten; so the lowest heights
    // of several days are compared.
    let floor = |days: Range<i64>| *heights.range(days).flat_map(|(_, heights)| heights).min().unwrap();
    let growth = floor(25..30) - floor(10..15);
    assert!(growth < MOST_GROWTH, "{growth} bytes more are held: {heights:?}");
}

fn clock_of(runtime: &tokio::runtime::Runtime, clock: &Clock) -> DateTime<Utc> {
    runtime.block_on(async { clock.now() })
}

/// What the lake takes of the process's memory, about: objects, and their places in the map.
fn in_memory(sea: &Sea) -> i64 {
    let size = |(key, bytes): (String, Bytes)| 2 * key.len() + bytes.len() + 200;
    sea.under("").into_iter().map(|object| i64::try_from(size(object)).unwrap()).sum()
}

/// Runs a test of this binary by itself: what is counted is a thread's memory, and columns that were encoded are
/// remembered for all threads.
fn alone(test: &str, work: impl FnOnce()) {
    const ALONE: &str = "TRENDLAKE_TEST_ALONE";
    if std::env::var_os(ALONE).is_some() {
        return work();
    }
    let name = format!("histories::month::{test}");
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    let output = command.args([&name, "--exact", "--nocapture"]).env(ALONE, "1").output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
    assert!(told.contains("1 passed"), "{told}");
}

#[test]
fn thirty_days_of_two_daemons_while_the_clocks_go_forward() {
    alone("thirty_days_of_two_daemons_while_the_clocks_go_forward", || live("2026-02-20T12:00:00Z"));
}

#[test]
fn thirty_days_of_two_daemons_while_the_clocks_go_back() {
    alone("thirty_days_of_two_daemons_while_the_clocks_go_back", || live("2026-10-16T12:00:00Z"));
}

#[test]
fn the_wall_clock_is_watched_rightly() {
    let of = |from: &str, to: &str| ticks(&HOURS, from.parse().unwrap(), to.parse().unwrap());
    let shown =
        |ticks: Vec<DateTime<Utc>>| ticks.iter().map(|t| t.format("%H:%M").to_string()).collect::<Vec<_>>();
    // On this day 01:59 EST is followed by 03:00 EDT.
    let forward = shown(of("2026-03-08T05:00:00Z", "2026-03-09T04:00:00Z"));
    assert_eq!(forward, ["06:30", "07:00", "10:30", "15:30", "20:30", "01:30"]);
    // On this one 01:59 EDT is followed by 01:00 EST.
    let back = shown(of("2026-11-01T04:00:00Z", "2026-11-02T05:00:00Z"));
    assert_eq!(back, ["05:30", "07:30", "11:30", "16:30", "21:30", "02:30"]);
}
