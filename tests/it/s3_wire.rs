//! What S3 can do wrong on the wire: the program against a real S3 server behind a front that refuses,
//! cuts, delays and swallows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::front::{Act, Asked, Front, refusal, reply};
use super::s3::{self, Conditions, S3Server};
use super::spine::months_ago;
use super::support::{Ran, Sandbox, contents, settled};

const LAKE: &str = "s3://bucket/lake";

/// A sandbox of one stream and one settled month, an S3 server, and the front before it.
struct Rig {
    sandbox: Sandbox,
    server: S3Server,
    front: Front,
}

/// A put of a partition.
fn is_data_put(asked: &Asked) -> bool {
    asked.method == "PUT" && asked.target.contains("user_engagement_")
}

/// A listing of partitions.
/// Not what is looked for of other layouts, as long as the lake says nothing of itself.
fn is_data_list(asked: &Asked) -> bool {
    let is_of_others = asked.target.contains("packed") || asked.target.contains("_delta_log");
    asked.target.contains("list-type=2") && asked.target.contains("user_engagement_") && !is_of_others
}

/// Counts the requests that this holds for, from 0.
fn nth(is_meant: fn(&Asked) -> bool) -> impl Fn(&Asked) -> Option<usize> + Send + Sync {
    let count = AtomicUsize::new(0);
    move |asked| is_meant(asked).then(|| count.fetch_add(1, Ordering::SeqCst))
}

impl Rig {
    fn new(script: impl Fn(&Asked) -> Act + Send + Sync + 'static) -> Self {
        let server = S3Server::start(Conditions::Honoured);
        let front = Front::before(&server.endpoint, script);
        let sandbox = Sandbox::new(1, &months_ago(2), settled());
        let rig = Self { sandbox, server, front };
        rig.configure("");
        rig
    }

    fn configure(&self, more: &str) {
        s3::configure(&self.sandbox, 1, &months_ago(2), &self.front.endpoint);
        let path = self.sandbox.path("trendlake.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        let text = text
            .replace("[defaults]\n", &format!("retry_timeout = \"1s\"\n[defaults]\n{more}"))
            .replace("[lake.options]\n", "[lake.options]\ntimeout = \"1s\"\n");
        std::fs::write(path, text).unwrap();
    }

    /// Asks for two slices from now on, which makes every partition stale.
    fn ask_for_more(&self) {
        self.configure("slices = [\"all\", \"dashboard\"]\n");
    }

    /// Exports the month into this lake.
    fn export_to(&self, lake: &str) -> Ran {
        let month = &months_ago(2)[..7];
        s3::run(&self.sandbox, lake, &["backfill", "--from", month, "--to", month])
    }

    fn export(&self) -> Ran {
        self.export_to(LAKE)
    }

    /// What the lake in the bucket holds.
    fn contents(&self) -> BTreeMap<String, String> {
        s3::lake_of(self.server.objects())
    }

    /// What it should hold: what the program makes of the same answers on a disk.
    fn truth(&self) -> BTreeMap<String, String> {
        self.export_to("lake").expect(0);
        let truth = contents(self.sandbox.data_files());
        assert_eq!(truth.len(), 3);
        truth
    }

    fn questions(&self) -> u64 {
        self.sandbox.simulator.stats().streams.values().map(|s| s.requests).sum()
    }
}

#[test]
fn fault_41_slow_down_and_too_many_requests() {
    // Each operation is refused twice, then done.
    for (status, code) in [(503, "SlowDown"), (429, "TooManyRequests"), (500, "InternalError")] {
        let refused: Mutex<BTreeMap<String, u32>> = Mutex::default();
        let rig = Rig::new(move |asked| {
            let mut refused = refused.lock().unwrap();
            let times = refused.entry(format!("{} {}", asked.method, asked.target)).or_default();
            *times += 1;
            if *times <= 2 { Act::Instead(refusal(status, code)) } else { Act::Pass }
        });
        let mut command = s3::command(&rig.sandbox, LAKE, &["run"]);
        command.env("TRENDLAKE__LAKE__RETRY_TIMEOUT", "20s");
        Ran::from(command.output().unwrap()).expect(0);
        assert_eq!(rig.contents().len(), 9);
        let asked = rig.front.take();
        let puts = |is_meant: fn(&Asked) -> bool| asked.iter().filter(|a| is_meant(a)).count();
        assert_eq!((puts(is_data_put), puts(is_data_list)), (3 * 9, 3 * 3));
    }
}

#[test]
fn fault_41_a_storm_without_end() {
    for (status, code) in [(503, "SlowDown"), (429, "TooManyRequests")] {
        let rig = Rig::new(
            move |asked| {
                if is_data_put(asked) { Act::Instead(refusal(status, code)) } else { Act::Pass }
            },
        );
        let ran = rig.export().expect(74);
        assert!(ran.stderr.contains("storage: cannot write `user_engagement_"), "{ran:?}");
        assert!(rig.contents().is_empty());
        // Back-off: a put is tried again for a second, and after a tenth of it at the earliest.
        let mut puts = BTreeMap::<String, u32>::new();
        for asked in rig.front.take().into_iter().filter(is_data_put) {
            *puts.entry(asked.target).or_default() += 1;
        }
        assert!(puts.values().any(|tries| *tries > 1), "{puts:?}");
        assert!(puts.values().all(|tries| *tries <= 11), "{puts:?}");

        let rig = Rig::new(
            move |asked| {
                if is_data_list(asked) { Act::Instead(refusal(status, code)) } else { Act::Pass }
            },
        );
        rig.export().expect(74);
        assert_eq!(rig.questions(), 0);
    }
}

/// The first put of each partition lands, and `told` is what the program hears of it. Both for objects
/// that are created and for those that are replaced.
#[track_caller]
fn lands(told: fn() -> Act) {
    let (round, seen) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(BTreeSet::new())));
    let (current, targets) = (round.clone(), seen.clone());
    let rig = Rig::new(move |asked| {
        let put = (current.load(Ordering::SeqCst), asked.target.clone());
        if is_data_put(asked) && targets.lock().unwrap().insert(put) { told() } else { Act::Pass }
    });
    for requests in [2, 4] {
        let ran = rig.export().expect(0);
        assert!(ran.stdout.contains("2 units: 2 committed"), "{ran:?}");
        assert!(ran.stdout.contains(&format!("{requests} requests, ")), "{ran:?}");
        assert_eq!(rig.contents(), rig.truth());
        rig.ask_for_more();
        round.fetch_add(1, Ordering::SeqCst);
    }
    assert_eq!(seen.lock().unwrap().len(), 6);
}

#[test]
fn fault_42_the_put_lands_and_the_reply_is_500() {
    lands(|| Act::say_after(refusal(500, "InternalError")));
}

#[test]
fn fault_42_the_put_lands_and_the_reply_is_cut() {
    lands(Act::cut_after);
    lands(|| Act::After(Box::new(|reply| reply[..reply.len() / 3].to_vec())));
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the program under test lives in real time")]
fn fault_42_the_put_lands_and_the_reply_is_late() {
    // Twice the time that the program waits.
    lands(|| {
        Act::After(Box::new(|reply| {
            std::thread::sleep(Duration::from_secs(2));
            reply
        }))
    });
}

#[test]
fn fault_43_a_conflict_on_a_conditional_put() {
    let nth_put = nth(is_data_put);
    let rig = Rig::new(move |asked| match nth_put(asked) {
        Some(0..3 | 6..9) => Act::Instead(refusal(409, "ConditionalRequestConflict")),
        _ => Act::Pass,
    });
    rig.export().expect(0);
    assert_eq!(rig.contents(), rig.truth());
    rig.ask_for_more();
    rig.export().expect(0);
    assert_eq!(rig.contents(), rig.truth());

    let rig = Rig::new(|asked| {
        if is_data_put(asked) { Act::Instead(refusal(409, "ConditionalRequestConflict")) } else { Act::Pass }
    });
    rig.export().expect(74);
    assert!(rig.contents().is_empty());
}

#[test]
fn fault_44_another_run_wrote_a_newer_answer() {
    /// The other run's sandbox, and where it writes: on the server itself, past the front.
    type Other = Option<(Sandbox, String)>;
    let other: Arc<Mutex<Other>> = Arc::default();
    let (theirs, nth_put) = (other.clone(), nth(is_data_put));
    let month = &months_ago(2)[..7];
    let backfill = ["backfill", "--from", month, "--to", month, "--force"];
    let command = backfill.map(ToOwned::to_owned);
    let rig = Rig::new(move |asked| {
        if nth_put(asked) == Some(0) {
            let (sandbox, endpoint) = theirs.lock().unwrap().take().unwrap();
            // What was missing when the first run asked is there now.
            sandbox.simulator.set_faults(Vec::new());
            s3::configure(&sandbox, 1, &months_ago(2), &endpoint);
            s3::run(&sandbox, LAKE, &command.each_ref().map(String::as_str)).expect(0);
        }
        Act::Pass
    });
    let truth = rig.truth();
    // Both ask the simulator that the other run brings along.
    let sandbox = Sandbox::new(1, &months_ago(2), settled());
    let base_url = sandbox.base_url.clone();
    sandbox.simulator.set_faults(["missing-day:first=2", "missing-hour"].map(|f| f.parse().unwrap()).into());
    *other.lock().unwrap() = Some((sandbox, rig.server.endpoint.clone()));
    let ran = s3::run(&rig.sandbox, LAKE, &[&backfill[..], &["--base-url", &base_url]].concat()).expect(0);
    assert!(other.lock().unwrap().is_none());
    assert!(ran.stderr.contains("another run committed a newer answer"), "{ran:?}");
    assert!(ran.stdout.contains("days or hours without figures"), "both had the same answer: {ran:?}");
    assert_eq!(rig.contents(), truth, "{ran:?}");
}

#[test]
fn fault_44_another_run_wrote_an_older_answer() {
    type Files = Vec<(String, Vec<u8>)>;
    let older: Arc<Mutex<Files>> = Arc::default();
    let (theirs, endpoint) = (older.clone(), Arc::new(Mutex::new(String::new())));
    let server = endpoint.clone();
    let rig = Rig::new(move |asked| {
        // The older answer takes its place right before the newer one is put there.
        let mut theirs = theirs.lock().unwrap();
        let at = |key: &str| asked.target.replace("%3D", "=").ends_with(key);
        if let Some(index) = theirs.iter().position(|(key, _)| is_data_put(asked) && at(key)) {
            let (key, bytes) = theirs.swap_remove(index);
            s3::put(&server.lock().unwrap(), &format!("lake/{key}"), bytes);
        }
        Act::Pass
    });
    endpoint.lock().unwrap().clone_from(&rig.server.endpoint);
    rig.truth();
    let files = rig.sandbox.data_files();
    rig.ask_for_more();
    *older.lock().unwrap() = files;
    let ran = rig.export().expect(0);
    assert!(older.lock().unwrap().is_empty());
    assert!(ran.stdout.contains("2 units: 2 committed"), "{ran:?}");
    assert_eq!(rig.contents(), rig.truth());
    let puts = rig.front.take().iter().filter(|a| is_data_put(a)).count();
    assert_eq!(puts, 6, "each was refused once, and then replaced what it had read");
}

#[test]
fn fault_45_permission_or_the_session_ends_during_the_run() {
    let refusals = [
        (403, "AccessDenied", "check the credentials"),
        (404, "NoSuchBucket", "check that the bucket"),
        (400, "ExpiredToken", "have expired: renew them"),
        (403, "InvalidAccessKeyId", "check the credentials"),
    ];
    for (status, code, hint) in refusals {
        // Over an old lake, from the second put on.
        let (nth_put, over) = (nth(is_data_put), Arc::new(AtomicUsize::new(0)));
        let ended = over.clone();
        let rig = Rig::new(move |asked| {
            if nth_put(asked) >= Some(4) {
                ended.store(1, Ordering::SeqCst);
            }
            match ended.load(Ordering::SeqCst) {
                1 => Act::Instead(refusal(status, code)),
                _ => Act::Pass,
            }
        });
        rig.export().expect(0);
        let before = rig.contents();
        rig.ask_for_more();
        let ran = rig.export().expect(77);
        assert!(ran.stderr.contains(hint), "{code}: {ran:?}");
        assert!(ran.stderr.contains("storage_permission: "), "{code}: {ran:?}");
        over.store(2, Ordering::SeqCst);
        let (after, truth) = (rig.contents(), rig.truth());
        let new = after.iter().filter(|(key, hash)| truth[*key] == **hash).count();
        let old = after.iter().filter(|(key, hash)| before[*key] == **hash).count();
        assert_eq!((new, old), (1, 2), "{code}");
    }
}

#[test]
fn fault_46_a_listing_that_breaks_off_on_its_second_page() {
    for broken in [false, true] {
        let rig = Rig::new(move |asked| {
            if !is_data_list(asked) {
                Act::Pass
            } else if asked.target.contains("continuation-token=") {
                Act::Instead(if broken { Vec::new() } else { refusal(500, "InternalError") })
            } else {
                // The first page says that there is another one.
                Act::After(Box::new(|page| {
                    let page = String::from_utf8(page).unwrap();
                    let (_, body) = page.split_once("\r\n\r\n").unwrap();
                    let more =
                        "<IsTruncated>true</IsTruncated><NextContinuationToken>2</NextContinuationToken>";
                    let more = body.replace("<IsTruncated>false</IsTruncated>", more);
                    assert!(more != body, "{body}");
                    reply(200, &more)
                }))
            }
        });
        rig.export().expect(74);
        assert_eq!(rig.questions(), 0);
        assert!(rig.contents().is_empty());
        let asked = rig.front.take();
        assert!(asked.iter().any(|a| a.target.contains("continuation-token=")));
        assert!(!asked.iter().any(|a| a.method == "DELETE"));
    }
}

#[test]
fn fault_46_a_listing_that_comes_back_empty_once() {
    const NOTHING: &str = "<?xml version=\"1.0\"?><ListBucketResult><IsTruncated>false</IsTruncated>\
                           <KeyCount>0</KeyCount></ListBucketResult>";
    let is_empty = Arc::new(AtomicUsize::new(0));
    let empty = is_empty.clone();
    let rig = Rig::new(move |asked| match empty.load(Ordering::SeqCst) {
        1 if asked.target.contains("list-type=2") => Act::Instead(reply(200, NOTHING)),
        _ => Act::Pass,
    });
    s3::run(&rig.sandbox, LAKE, &["run"]).expect(0);
    rig.server.age();
    let (before, questions) = (rig.contents(), rig.questions());
    rig.front.take();

    is_empty.store(1, Ordering::SeqCst);
    let ran = s3::run(&rig.sandbox, LAKE, &["run"]).expect(74);
    assert!(ran.stderr.contains("the listing of the lake leaves out `user_engagement_"), "{ran:?}");
    // A month that no run has ever filled is not the only one looked at: the lake has been complete once.
    rig.export().expect(74);
    assert_eq!(rig.questions(), questions, "final months were asked for again");
    assert!(!rig.front.take().iter().any(|a| is_data_put(a) || a.method == "DELETE"));

    is_empty.store(0, Ordering::SeqCst);
    rig.export().expect(0);
    assert_eq!(rig.questions(), questions);
    assert_eq!(rig.contents(), before);
}
