//! The program as a process among others: stopped by signals, frozen, and eight at once.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::front::{Act, Asked, Front, Gate};
use super::moto::Moto;
use super::s3::{self, Conditions, S3Server};
use super::spine::months_ago;
use super::support::{Ran, Sandbox, contents, settled};

/// A process under way, whose output is being read.
struct Running {
    child: Child,
    stdout: std::thread::JoinHandle<String>,
    stderr: BufReader<std::process::ChildStderr>,
    said: String,
}

impl Running {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdout = child.stdout.take().unwrap();
        let stdout = std::thread::spawn(move || {
            let mut text = String::new();
            stdout.read_to_string(&mut text).unwrap();
            text
        });
        let stderr = BufReader::new(child.stderr.take().unwrap());
        Self { child, stdout, stderr, said: String::new() }
    }

    /// Sends a signal by its short name.
    fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    /// Reads on until a line holds these words.
    fn await_words(&mut self, words: &str) {
        loop {
            let start = self.said.len();
            assert!(self.stderr.read_line(&mut self.said).unwrap() > 0, "no `{words}` in {}", self.said);
            if self.said[start..].contains(words) {
                return;
            }
        }
    }

    fn end(mut self) -> Ran {
        self.stderr.read_to_string(&mut self.said).unwrap();
        let code = self.child.wait().unwrap().code().unwrap_or(-1);
        Ran { code, stdout: self.stdout.join().unwrap(), stderr: self.said }
    }

    /// Ends it within the time that a stopped run may take.
    #[expect(clippy::disallowed_methods, reason = "the program under test lives in real time")]
    fn end_soon(self) -> Ran {
        let began = Instant::now();
        let ran = self.end();
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}: {ran:?}", began.elapsed());
        ran
    }
}

const LAKE: &str = "s3://bucket/lake";

/// One stream and one settled month, one unit after the other.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new(1, &months_ago(2), settled());
    sandbox.configure(1, &months_ago(2), "[concurrency]\nunits_per_stream = 1\n");
    sandbox
}

/// Exports the month, as arguments.
fn backfill(more: &[&str]) -> Vec<String> {
    let month = &months_ago(2)[..7];
    [&["backfill", "--from", month, "--to", month], more].concat().iter().map(|s| (*s).to_owned()).collect()
}

fn export(sandbox: &Sandbox, more: &[&str]) -> Command {
    let mut command = sandbox.command(&[]);
    command.args(backfill(more));
    command
}

/// The same into the bucket behind this endpoint.
fn export_to_s3(sandbox: &Sandbox, endpoint: &str, more: &[&str]) -> Command {
    s3::configure(sandbox, 1, &months_ago(2), endpoint);
    let path = sandbox.path("trendlake.toml");
    let text = std::fs::read_to_string(&path).unwrap() + "[concurrency]\nunits_per_stream = 1\n";
    std::fs::write(path, text).unwrap();
    let arguments = backfill(more);
    s3::command(sandbox, LAKE, &arguments.iter().map(String::as_str).collect::<Vec<_>>())
}

/// What the lake should hold: what an undisturbed run makes of the answers.
fn truth() -> BTreeMap<String, String> {
    let sandbox = sandbox();
    Ran::from(export(&sandbox, &[]).output().unwrap()).expect(0);
    let truth = contents(sandbox.data_files());
    assert_eq!(truth.len(), 3);
    truth
}

fn in_bucket(server: &S3Server) -> BTreeMap<String, String> {
    s3::lake_of(server.objects())
}

fn is_data_put(asked: &Asked) -> bool {
    asked.method == "PUT" && asked.target.contains("user_engagement_")
}

/// A front that lets no request through before the gate opens.
fn gated(endpoint: &str, is_held: fn(&Asked) -> bool) -> (Front, Gate) {
    let gate = Gate::default();
    let held = gate.clone();
    let front = Front::before(endpoint, move |asked| {
        if is_held(asked) {
            held.pass();
        }
        Act::Pass
    });
    (front, gate)
}

#[test]
fn fault_48_stopped_while_fetching() {
    for (signal, code) in [("TERM", 143), ("INT", 130)] {
        let sandbox = sandbox();
        let (api, gate) = gated(&sandbox.base_url, |_| true);
        let mut run = Running::start(&mut export(&sandbox, &["--base-url", &api.endpoint]));
        gate.await_arrival(1);
        run.signal(signal);
        let ran = run.end_soon().expect(code);
        let month = &months_ago(2)[..7];
        let open = format!("open: s1: hourly {month}, daily {month}: not reached before the run was stopped");
        let turned =
            format!("open: s1: daily {month}, hourly {month}: not reached before the run was stopped");
        assert!(ran.stderr.contains(&open) || ran.stderr.contains(&turned), "{ran:?}");
        assert!(
            ran.stderr.trim_end().lines().last().unwrap().contains(&format!("exit code {code}")),
            "{ran:?}"
        );
        assert!(contents(sandbox.data_files()).is_empty());

        // For programs, the open units stand in the result.
        run = Running::start(&mut export(&sandbox, &["--base-url", &api.endpoint, "--output", "json"]));
        gate.await_arrival(2);
        run.signal(signal);
        let report = run.end_soon().expect(code).json();
        assert_eq!(
            (report["totals"]["open"].as_u64(), report["exit_code"].as_i64()),
            (Some(2), Some(code.into()))
        );
        let units = report["units"].as_array().unwrap();
        assert!(units.iter().all(|unit| unit["outcome"] == "open"), "{report}");
        // The report is in the lake, too.
        let id = report["run_id"].as_str().unwrap();
        assert!(sandbox.path(&format!("lake/_trendlake/runs/{id}.json")).exists());
    }
}

#[test]
fn fault_48_stopped_while_the_lake_is_looked_at() {
    let (sandbox, server) = (sandbox(), S3Server::start(Conditions::Honoured));
    for is_held in [|a: &Asked| a.target.contains("list-type=2"), |a: &Asked| a.target.contains("/probe")] {
        let (store, gate) = gated(&server.endpoint, is_held);
        let run = Running::start(&mut export_to_s3(&sandbox, &store.endpoint, &[]));
        gate.await_arrival(1);
        run.signal("TERM");
        let ran = run.end_soon().expect(143);
        assert!(ran.stderr.contains("stopped before it was known what is due"), "{ran:?}");
    }
    assert!(in_bucket(&server).is_empty());
    assert_eq!(sandbox.simulator.stats().streams.values().map(|s| s.requests).sum::<u64>(), 0);
}

#[test]
fn fault_48_stopped_while_committing() {
    let (sandbox, server) = (sandbox(), S3Server::start(Conditions::Honoured));
    let (store, gate) = gated(&server.endpoint, is_data_put);
    let mut run = Running::start(&mut export_to_s3(&sandbox, &store.endpoint, &[]));
    gate.await_arrival(1);
    run.signal("TERM");
    run.await_words("stopping: ");
    gate.open();
    let ran = run.end_soon().expect(143);
    // The put under way has ended, and no other began: its unit is not done, and neither is the next.
    assert_eq!(store.take().iter().filter(|a| is_data_put(a)).count(), 1);
    let (landed, truth) = (in_bucket(&server), truth());
    assert!(landed.len() == 1 && landed.iter().all(|(key, hash)| truth[key] == *hash), "{landed:?}");
    let open = ran.stderr.lines().find(|line| line.contains("open: s1: ")).unwrap();
    assert!(open.contains("daily") && open.contains("hourly"), "{ran:?}");

    Ran::from(export_to_s3(&sandbox, &store.endpoint, &[]).output().unwrap()).expect(0);
    assert_eq!(in_bucket(&server), truth);
}

#[test]
fn fault_48_a_second_signal_leaves_at_once() {
    for (second, code) in [("TERM", 143), ("INT", 130)] {
        let (sandbox, server) = (sandbox(), S3Server::start(Conditions::Honoured));
        // The put never ends.
        let (store, gate) = gated(&server.endpoint, is_data_put);
        let mut run = Running::start(&mut export_to_s3(&sandbox, &store.endpoint, &[]));
        gate.await_arrival(1);
        run.signal("TERM");
        run.await_words("stopping: ");
        run.signal(second);
        let ran = run.end_soon().expect(code);
        assert!(ran.stderr.contains("left at once"), "{ran:?}");
        gate.open();
    }
}

/// As PID 1, as in a container, a process without a handler of its own would not even notice.
#[test]
fn fault_48_both_signals_are_caught() {
    let sandbox = sandbox();
    let (api, gate) = gated(&sandbox.base_url, |_| true);
    let run = Running::start(&mut export(&sandbox, &["--base-url", &api.endpoint]));
    gate.await_arrival(1);
    let status = std::fs::read_to_string(format!("/proc/{}/status", run.child.id())).unwrap();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap().trim();
    let caught = u64::from_str_radix(caught, 16).unwrap();
    for signal in [2, 15] {
        assert_eq!(caught >> (signal - 1) & 1, 1, "signal {signal}");
    }
    run.signal("TERM");
    run.end_soon().expect(143);
}

#[test]
fn fault_49_eight_processes_on_one_folder() {
    let sandbox = sandbox();
    let runs: Vec<_> = (0..8).map(|_| Running::start(&mut export(&sandbox, &[]))).collect();
    let ran: Vec<_> = runs.into_iter().map(Running::end).collect();
    assert!(ran.iter().all(|ran| [0, 12].contains(&ran.code)), "{ran:?}");
    assert!(ran.iter().any(|ran| ran.code == 0), "{ran:?}");
    assert_eq!(contents(sandbox.data_files()), truth());
    let written = sandbox.simulator.stats().streams.values().map(|s| s.requests).sum::<u64>();
    assert_eq!(written, 2, "what is final was asked for again");
}

#[test]
fn fault_49_a_process_that_is_frozen_holds_its_lake() {
    let sandbox = sandbox();
    let (api, gate) = gated(&sandbox.base_url, |_| true);
    let run = Running::start(&mut export(&sandbox, &["--base-url", &api.endpoint]));
    gate.await_arrival(1);
    run.signal("STOP");
    gate.open();
    let ran = Ran::from(export(&sandbox, &[]).output().unwrap()).expect(12);
    assert!(ran.stderr.contains("another process is writing to the lake"), "{ran:?}");
    assert!(contents(sandbox.data_files()).is_empty());
    run.signal("CONT");
    run.end().expect(0);
    assert_eq!(contents(sandbox.data_files()), truth());
}

#[test]
fn fault_49_eight_processes_on_one_bucket() {
    let (sandbox, moto) = (sandbox(), Moto::start());
    moto.create_bucket("bucket");
    let in_moto = || s3::lake_of(moto.objects("bucket"));
    let mut command = export_to_s3(&sandbox, &moto.endpoint, &["--force"]);
    // First where there is nothing, then over answers that have all become stale.
    for round in 0..2 {
        let runs: Vec<_> = (0..8).map(|_| Running::start(&mut command)).collect();
        let ran: Vec<_> = runs.into_iter().map(Running::end).collect();
        assert!(ran.iter().all(|ran| ran.code == 0), "{ran:?}");
        let (found, truth) = (in_moto(), truth());
        assert_eq!(found.len(), truth.len());
        if round == 0 {
            assert_eq!(found, truth);
            let path = sandbox.path("trendlake.toml");
            let text = std::fs::read_to_string(&path).unwrap();
            let text = text.replace("[defaults]\n", "[defaults]\nslices = [\"all\", \"dashboard\"]\n");
            std::fs::write(path, text).unwrap();
        } else {
            assert!(found.iter().all(|(key, hash)| truth[key] != *hash), "nothing was replaced");
        }
    }
}

#[test]
fn fault_49_a_frozen_process_wakes_after_a_newer_answer() {
    for over_something in [false, true] {
        let (sandbox, server) = (sandbox(), S3Server::start(Conditions::Honoured));
        if over_something {
            // Another answer than both that follow.
            sandbox.simulator.set_faults(vec!["all-zero".parse().unwrap()]);
            Ran::from(export_to_s3(&sandbox, &server.endpoint, &[]).output().unwrap()).expect(0);
        }
        // The old answer has left the server, and the process freezes before it can do anything with it.
        sandbox.simulator.set_faults(vec!["missing-day:first=1".parse().unwrap()]);
        let gate = Gate::default();
        let held = gate.clone();
        let api = Front::before(&sandbox.base_url, move |_| {
            let held = held.clone();
            Act::After(Box::new(move |answer| {
                held.pass();
                answer
            }))
        });
        let arguments = ["--base-url", &api.endpoint, "--force"];
        let run = Running::start(&mut export_to_s3(&sandbox, &server.endpoint, &arguments));
        gate.await_arrival(1);
        run.signal("STOP");
        // Another one asks later, and commits what the vendor has restated meanwhile.
        sandbox.simulator.set_faults(Vec::new());
        Ran::from(export_to_s3(&sandbox, &server.endpoint, &["--force"]).output().unwrap()).expect(0);
        let theirs = in_bucket(&server);
        assert_eq!(theirs, truth());
        gate.open();
        run.signal("CONT");
        let ran = run.end().expect(0);
        assert!(ran.stderr.contains("another run committed a newer answer"), "{ran:?}");
        assert!(ran.stdout.contains("days or hours without figures: "), "{ran:?}");
        assert_eq!(in_bucket(&server), theirs);
    }
}
