//! What an object store can do wrong, operation by operation: the exporter itself, in this process, on a
//! store that fails as it is told. Whatever goes wrong, each partition holds the old answer or the new
//! one, whole; the exit code says which; and the next run ends with the new one everywhere.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use Fault::{
    ChangedByUs, Conflict, CutShort, Empty, ExistsByUs, Expired, Forbidden, Hangs, LostReply, NoSuchBucket,
    Refused, ServerError, SlowDown, TimeoutAfter, TimeoutBefore, Truncated,
};
use Op::{Create, Delete, Get, List, Overwrite, Update};
use bytes::Bytes;
use chrono::TimeDelta;
use object_store::path::Path;
use tokio_util::sync::CancellationToken;
use trendlake::chance::Chance;
use trendlake::clock::Clock;
use trendlake::config::Settings;
use trendlake::export::{self, Context, Overview, Spent, Turns, Warnings};
use trendlake::kore::{Traffic, http_client};
use trendlake::lake::{Kind, Lake};
use trendlake::plan::Scope;
use trendlake::shelf::Shelf;
use trendlake::simulator::FaultRule;

use super::inside::{self, Nobody};
use super::shelves::{self, LAYOUTS};
use super::spine::months_ago;
use super::stores::{Fault, Faulty, Op, Rule};
use super::support::{self, Sandbox, settled};

const ALWAYS: u32 = u32::MAX;
/// Keys of data, of the probe of conditions, and of all else.
const DATA: &str = "user_engagement_";
const PROBE: &str = "_trendlake/probe";
const INTERNAL: &str = "_trendlake";

/// Objects by path.
type Objects = Vec<(Path, Bytes)>;
/// The content hashes of partitions by key.
type Contents = BTreeMap<String, String>;

/// One stream and one settled month, so that the truth does not depend on when it is asked.
struct Bench {
    sandbox: Sandbox,
    runtime: tokio::runtime::Runtime,
    settings: Arc<Settings>,
    scope: Scope,
    /// The lake with an older answer, and a run report that is past keeping.
    older: Objects,
    /// The contents of the older answer, and those that a run must bring about.
    before: Contents,
    truth: Contents,
}

impl Bench {
    fn new(layout: &'static str) -> Self {
        let sandbox = Sandbox::new(1, &months_ago(2), settled()).in_layout(layout);
        let month = months_ago(2)[..7].parse().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let settings = Arc::new(inside::settings(&sandbox));
        let scope = Scope { from: Some(month), to: Some(month), ..Scope::default() };
        let (older, before, truth) = Default::default();
        let mut bench = Self { sandbox, runtime, settings, scope, older, before, truth };

        // The older answer is to one question, the newer one to two.
        let store = bench.store(&[]);
        assert_eq!(bench.run(&store), 0);
        bench.older = bench.objects(&store);
        bench.before = contents(&bench.older);
        let report = "_trendlake/runs/01700000-0000-7000-8000-000000000000.json";
        bench.older.push((report.into(), Bytes::from_static(b"{}")));

        // One unit after the other, so that it can be told which ones are tried.
        let more = "slices = [\"all\", \"dashboard\"]\n[concurrency]\nunits_per_stream = 1\n";
        bench.sandbox.configure(1, &months_ago(2), more);
        bench.settings = Arc::new(inside::settings(&bench.sandbox));
        let store = bench.store(&[]);
        assert_eq!(bench.run(&store), 0);
        bench.truth = contents(&bench.objects(&store));
        assert_eq!((bench.before.len(), bench.truth.len()), (3, 3));
        assert!(bench.before.iter().all(|(key, hash)| bench.truth[key] != *hash), "nothing would change");
        bench
    }

    fn store(&self, objects: &[(Path, Bytes)]) -> Arc<Faulty> {
        self.runtime.block_on(Faulty::holding(objects))
    }

    fn objects(&self, store: &Faulty) -> Objects {
        self.runtime.block_on(store.objects())
    }

    /// How many questions the API has been asked so far.
    fn asked(&self) -> u64 {
        self.sandbox.simulator.stats().streams.values().map(|s| s.requests).sum()
    }

    /// One run on the store, as the program does it; the exit code.
    fn run(&self, store: &Arc<Faulty>) -> u8 {
        self.runtime.block_on(self.stoppable(store, CancellationToken::new()))
    }

    /// The same, which ends with 143 if it is stopped.
    async fn stoppable(&self, store: &Arc<Faulty>, stop: CancellationToken) -> u8 {
        let mut lake = Lake::on(store.clone(), Path::default());
        let _lock = match lake.lock().await {
            Ok(lock) => lock,
            Err(error) => return code_of(error.kind()),
        };
        let shelf = match Shelf::open(lake, &self.settings, &Clock::system()).await {
            Ok(shelf) => shelf,
            Err(error) => return code_of(error.kind()),
        };
        let context = Context {
            http: http_client(&self.settings.http, true).unwrap(),
            settings: self.settings.clone(),
            shelf,
            clock: Clock::system(),
            chance: Chance::from_os(),
            traffic: Arc::new(Traffic::default()),
            observer: Arc::new(Nobody),
            stop: stop.clone(),
            warnings: Warnings::default(),
            spent: Spent::default(),
            turns: Turns::default(),
        };
        let begin = |_: &Overview| {};
        match export::run(&context, &self.settings.streams, &self.scope, begin, || {
            stop.is_cancelled().then_some(143)
        })
        .await
        {
            Ok(report) => report.exit_code,
            Err(export::Error::Lake(error)) => code_of(error.kind()),
            Err(export::Error::IncompleteListing { .. }) => 74,
            Err(error) => panic!("{error}"),
        }
    }

    /// A run under the rule ends with this code: 0 with the truth, 74 (or 10, where a unit is done all
    /// the same) and 77 without. The run after it always ends with the truth.
    #[track_caller]
    fn expect(&self, code: u8, rule: Rule) {
        let Rule { op, fault, within, skip, times } = rule;
        let case = format!("{fault:?} of {op:?} within `{within}` after {skip}, {times} times");
        let creates = (op, within) == (Create, DATA);
        let base: Objects = match (op, within) {
            // Where something is to be created, it must not be there.
            (Create, DATA) => Vec::new(),
            (_, PROBE) => {
                self.older.iter().filter(|(p, _)| op != Create || p.as_ref() != PROBE).cloned().collect()
            }
            _ => self.older.clone(),
        };
        let store = self.store(&base);
        store.obey(Some(rule));
        let ended = self.run(&store);
        assert!(store.obey(None) > 0, "{case}: never fired");

        let after = contents(&self.objects(&store));
        let mut done = 0;
        for (key, hash) in &self.truth {
            match after.get(key) {
                Some(found) if found == hash => done += 1,
                Some(found) => assert_eq!(Some(found), self.before.get(key), "{case}: {key} is neither"),
                None => assert!(creates, "{case}: {key} is gone"),
            }
        }
        let daily = after.iter().filter(|(key, hash)| !key.contains("hourly") && self.truth[*key] == **hash);
        let unit_done =
            daily.count() == 2 || after.iter().any(|(k, h)| k.contains("hourly") && self.truth[k] == *h);
        let expected = if code == 74 && unit_done { 10 } else { code };
        assert_eq!(ended, expected, "{case}: exit code");
        assert_eq!(done == self.truth.len(), code == 0, "{case}: {done} partitions are done");

        assert_eq!(self.run(&store), 0, "{case}: the next run");
        let objects = self.objects(&store);
        assert_eq!(contents(&objects), self.truth, "{case}: the next run");
    }

    /// How many questions are asked while no partition can be created, which ends with this code.
    #[track_caller]
    fn asked_under(&self, fault: Fault, code: u8) -> u64 {
        let (store, before) = (self.store(&[]), self.asked());
        store.obey(Some(Rule { op: Create, fault, within: DATA, skip: 0, times: ALWAYS }));
        assert_eq!(self.run(&store), code);
        self.asked() - before
    }

    /// The same for one, two and all operations of that kind.
    #[track_caller]
    fn expect_each(&self, op: Op, within: &'static str, fault: Fault, codes: [u8; 3]) {
        for (times, code) in [1, 2, ALWAYS].into_iter().zip(codes) {
            self.expect(code, Rule { op, fault, within, skip: 0, times });
        }
    }
}

fn rules(rules: &[&str]) -> Vec<FaultRule> {
    rules.iter().map(|r| r.parse().unwrap()).collect()
}

/// The exit code of a command that failed for this.
fn code_of(kind: Kind) -> u8 {
    match kind {
        Kind::Storage => 74,
        Kind::Permission => 77,
        Kind::Locked => 12,
        Kind::Foreign => 11,
        Kind::Settings => 78,
    }
}

fn contents(objects: &[(Path, Bytes)]) -> Contents {
    support::contents(objects.iter().map(|(path, bytes)| (path.to_string(), bytes.clone())))
}

/// The operations on internal objects: none of them fails a run that has done its work.
const BY_THE_WAY: [(Op, &str); 2] = [(Overwrite, INTERNAL), (Delete, "")];

#[test]
fn fault_41_a_store_that_is_busy_or_down() {
    for bench in LAYOUTS.map(Bench::new) {
        for fault in [SlowDown, ServerError, TimeoutBefore] {
            for (op, within) in [(Create, DATA), (Update, DATA)] {
                bench.expect_each(op, within, fault, [74; 3]);
            }
            for (op, within) in [(Create, PROBE), (Update, PROBE)] {
                bench.expect_each(op, within, fault, [0, 0, 74]);
            }
            for (op, within) in [(Get, DATA), (List, DATA), (List, INTERNAL)] {
                bench.expect_each(op, within, fault, [74; 3]);
            }
            for (op, within) in BY_THE_WAY {
                bench.expect_each(op, within, fault, [0; 3]);
            }
            // The three footers are read by the survey; what comes after are the units' own reads.
            bench.expect(74, Rule { op: Get, fault, within: DATA, skip: 3, times: 1 });
        }
        // After three units that could not be written, the others are left for the next run: two slices each.
        let bench = Bench {
            scope: Scope { from: Some(months_ago(7)[..7].parse().unwrap()), ..bench.scope },
            ..bench
        };
        assert_eq!(bench.asked_under(SlowDown, 74), 3 * 2);
    }
}

#[test]
fn fault_42_a_put_that_landed_is_recognised() {
    for bench in LAYOUTS.map(Bench::new) {
        for fault in [TimeoutAfter, LostReply, ExistsByUs, ChangedByUs] {
            for (op, within) in
                [(Create, DATA), (Update, DATA), (Create, PROBE)].into_iter().chain(BY_THE_WAY)
            {
                bench.expect_each(op, within, fault, [0; 3]);
            }
        }
    }
}

/// A lake of tables replaces nothing and lists nothing: it creates files, then versions that name them.
#[cfg(feature = "delta")]
#[test]
fn fault_41_to_46_of_a_lake_of_tables() {
    const LOG: &str = "/_delta_log/";
    const FILES: &str = "/stream_id=";
    const FIRST: &str = "/_delta_log/00000000000000000000.json";
    let bench = Bench::new("delta");
    for fault in [SlowDown, ServerError, TimeoutBefore] {
        bench.expect_each(Create, DATA, fault, [74; 3]);
        bench.expect_each(Create, LOG, fault, [74; 3]);
        bench.expect_each(Create, FILES, fault, [74; 3]);
        bench.expect_each(Get, DATA, fault, [74; 3]);
        bench.expect_each(Get, FILES, fault, [74; 3]);
    }
    for fault in [TimeoutAfter, LostReply, ExistsByUs] {
        bench.expect_each(Create, DATA, fault, [0; 3]);
        bench.expect_each(Create, LOG, fault, [0; 3]);
        bench.expect_each(Create, FILES, fault, [0; 3]);
    }
    for fault in [Conflict, Refused] {
        bench.expect_each(Create, LOG, fault, [0, 0, 74]);
        bench.expect_each(Create, FILES, fault, [0, 0, 74]);
    }
    for fault in [Forbidden, Expired] {
        bench.expect_each(Create, LOG, fault, [77; 3]);
        bench.expect_each(Create, FILES, fault, [77; 3]);
        bench.expect_each(Get, DATA, fault, [77; 3]);
    }
    for fault in [CutShort, Truncated] {
        bench.expect_each(Get, FIRST, fault, [74; 3]);
        bench.expect_each(Get, FILES, fault, [74; 3]);
    }
}

#[test]
fn fault_43_a_conflict_is_decided_by_reading() {
    for bench in LAYOUTS.map(Bench::new) {
        for fault in [Conflict, Refused] {
            for (op, within) in [(Create, DATA), (Update, DATA)] {
                bench.expect_each(op, within, fault, [0, 0, 74]);
            }
            for (op, within) in [(Create, PROBE), (Update, PROBE)].into_iter().chain(BY_THE_WAY) {
                bench.expect_each(op, within, fault, [0; 3]);
            }
        }
        bench.expect_each(Update, DATA, NoSuchBucket, [0, 0, 74]);
    }
}

/// The same objects with answers that are this much newer.
fn fetched_later(objects: &Objects, by: TimeDelta) -> Objects {
    let later = |(path, bytes): &(Path, Bytes)| {
        let mut partitions = shelves::is_data(path.as_ref()).then(|| shelves::read(path.as_ref(), bytes))?;
        for sound in partitions.values_mut() {
            sound.footer.fetched_at += by;
        }
        Some((path.clone(), shelves::write(path.as_ref(), partitions)))
    };
    objects.iter().filter_map(later).collect()
}

#[test]
fn fault_44_another_run_writes_between_our_read_and_our_put() {
    for bench in LAYOUTS.map(Bench::new) {
        for base in [Vec::new(), bench.older.clone()] {
            for (by, theirs_stay) in [(TimeDelta::hours(1), true), (TimeDelta::zero(), false)] {
                let store = bench.store(&base);
                let theirs = fetched_later(&bench.older, by);
                store.let_others_write(theirs.clone());
                assert_eq!(bench.run(&store), 0);
                assert!(store.others_have_written());
                let expected = if theirs_stay { &bench.before } else { &bench.truth };
                assert_eq!(&contents(&bench.objects(&store)), expected);
            }
        }
    }
}

#[test]
fn fault_45_no_permission_no_bucket_no_session() {
    for bench in LAYOUTS.map(Bench::new) {
        for fault in [Forbidden, Expired, NoSuchBucket] {
            for (op, within) in
                [(Create, DATA), (Create, PROBE), (Update, PROBE), (List, DATA), (List, INTERNAL)]
            {
                bench.expect_each(op, within, fault, [77; 3]);
            }
            for (op, within) in BY_THE_WAY {
                bench.expect_each(op, within, fault, [0; 3]);
            }
        }
        for fault in [Forbidden, Expired] {
            for (op, within) in [(Get, DATA), (Update, DATA)] {
                bench.expect_each(op, within, fault, [77; 3]);
            }
            bench.expect(77, Rule { op: Get, fault, within: DATA, skip: 3, times: 1 });
        }
        // Once nothing can be written any more, nothing more is asked: two slices of the first unit.
        for fault in [Forbidden, Expired, NoSuchBucket] {
            assert_eq!(bench.asked_under(fault, 77), 2);
        }
    }
}

#[test]
fn fault_46_listings_and_files_that_come_in_part() {
    for bench in LAYOUTS.map(Bench::new) {
        for (op, within) in [(List, DATA), (List, INTERNAL), (Get, DATA)] {
            bench.expect_each(op, within, CutShort, [74; 3]);
        }
        bench.expect_each(Get, DATA, Truncated, [74; 3]);
        for fault in [CutShort, Truncated] {
            bench.expect(74, Rule { op: Get, fault, within: DATA, skip: 3, times: 1 });
        }
        // A listing without anything is not believed: what is there is found, and replaced as it is.
        bench.expect_each(List, DATA, Empty, [0; 3]);
        bench.expect_each(List, INTERNAL, Empty, [0; 3]);
    }
}

#[test]
fn fault_46_an_empty_listing_is_no_reason_to_ask_again() {
    for bench in LAYOUTS.map(Bench::new) {
        let store = bench.store(&[]);
        assert_eq!(bench.run(&store), 0);
        let (asked, before) = (bench.asked(), contents(&bench.objects(&store)));
        for times in [1, 2, ALWAYS] {
            store.obey(Some(Rule { op: List, fault: Empty, within: DATA, skip: 0, times }));
            assert_eq!(bench.run(&store), 0);
            assert!(store.obey(None) > 0);
        }
        assert_eq!(bench.asked(), asked, "final partitions were fetched again");
        assert_eq!(contents(&bench.objects(&store)), before);
    }
}

/// A run that is stopped does not wait for a put without end. The rest of it takes no time: the clock jumps
/// from the moment on at which nothing else is left to wait for.
#[test]
fn fault_48_a_put_that_never_ends_is_given_up() {
    for bench in LAYOUTS.map(Bench::new) {
        let (store, stop) = (bench.store(&[]), CancellationToken::new());
        store.obey(Some(Rule { op: Create, fault: Hangs, within: DATA, skip: 0, times: 1 }));
        let stopped = async {
            store.hung.notified().await;
            tokio::time::pause();
            stop.cancel();
        };
        let run = bench.stoppable(&store, stop.clone());
        let both = async { tokio::join!(run, stopped).0 };
        let half_a_minute = Duration::from_secs(30);
        let ended = bench.runtime.block_on(async { tokio::time::timeout(half_a_minute, both).await });
        assert_eq!(ended, Ok(143));
        let objects = bench.objects(&store);
        assert!(contents(&objects).is_empty());
        assert!(objects.iter().any(|(path, _)| path.as_ref().starts_with("_trendlake/runs/")));
    }
}

/// Not even an answer that is doubtful gets past the listing: it would replace what the run never read.
#[test]
fn fault_46_zeros_replace_nothing_that_only_a_conflict_brings_to_light() {
    for bench in LAYOUTS.map(Bench::new) {
        let store = bench.store(&[]);
        assert_eq!(bench.run(&store), 0);
        let theirs =
            bench.objects(&store).into_iter().filter(|(p, _)| !p.as_ref().starts_with(INTERNAL)).collect();
        let store = bench.store(&[]);
        store.let_others_write(theirs);
        bench.sandbox.simulator.set_faults(rules(&["all-zero"]));
        let ended = bench.run(&store);
        bench.sandbox.simulator.set_faults(Vec::new());
        let objects = bench.objects(&store);
        let after = contents(&objects);
        assert_eq!(ended, 65);
        // The unit ends with its first doubtful partition: nobody has written its summary.
        assert_eq!(after.len(), 2);
        assert!(after.iter().all(|(key, hash)| bench.truth[key] == *hash), "zeros have replaced figures");
        assert!(objects.iter().any(|(path, _)| path.as_ref().starts_with("_trendlake/parked/suspect/")));
    }
}
