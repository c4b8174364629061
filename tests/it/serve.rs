//! The daemon as a process: it catches up at once, shows how it goes, takes up new configurations, and
//! leaves when it is asked to.

#![expect(clippy::disallowed_methods, reason = "the daemon under test lives in real time")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use super::s3;
use super::spine::months_ago;
use super::support::{Sandbox, settled};

/// A schedule that does not come due while a test runs.
pub(crate) const SERVE: &str = "[serve]\nschedule = [\"0 0 1 1 *\"]\nlisten = \"127.0.0.1:0\"\n";

/// A daemon that ends with the test.
pub(crate) struct Daemon {
    child: Child,
    pub address: String,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Daemon {
    pub(crate) fn start(sandbox: &Sandbox) -> Self {
        Self::by(sandbox.command(&["serve", "--output", "json"]))
    }

    fn by(mut command: std::process::Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = lines.find(|line| line.as_ref().is_ok_and(|l| l.contains("\"url\""))).unwrap().unwrap();
        let address = line.split("http://").nth(1).unwrap().trim_end_matches('"').to_owned();
        Self { child, address }
    }

    /// The status and the body of a path.
    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        let (head, body) = self.ask("GET", path);
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body)
    }

    /// The status line with the headers, in lower case, and the body.
    pub(crate) fn ask(&self, method: &str, path: &str) -> (String, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        write!(stream, "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.to_lowercase(), body.to_owned())
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let status = std::process::Command::new("kill").args(["-s", name, &pid]).status().unwrap();
        assert!(status.success());
    }

    /// Asks again and again until it is so.
    #[track_caller]
    pub(crate) fn until(&self, path: &str, is_so: impl Fn(u16, &str) -> bool) -> String {
        let began = Instant::now();
        loop {
            let (status, body) = self.get(path);
            if is_so(status, &body) {
                return body;
            }
            assert!(began.elapsed() < Duration::from_mins(2), "{path}: {status} {body}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    pub(crate) fn ready(&self) {
        self.until("/readyz", |status, _| status == 200);
    }

    /// The exit code after a signal, which must not take long.
    pub(crate) fn stop(mut self, signal: &str) -> i32 {
        self.signal(signal);
        let began = Instant::now();
        let status = self.child.wait().unwrap();
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        status.code().unwrap()
    }
}

fn metric(text: &str, name: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

#[test]
fn it_catches_up_shows_how_it_goes_and_leaves() {
    let sandbox = Sandbox::new(2, &months_ago(2), settled());
    sandbox.configure(2, &months_ago(2), SERVE);
    let daemon = Daemon::start(&sandbox);
    assert_eq!(daemon.get("/healthz"), (200, "ok\n".into()));
    daemon.ready();
    assert_eq!(sandbox.data_files().len(), 2 * 3 * 3);
    let (_, text) = daemon.get("/metrics");
    assert_eq!(metric(&text, "trendlake_requests_total{status=\"2xx\"}"), Some(12.0), "{text}");
    assert_eq!(metric(&text, "trendlake_units_total{outcome=\"committed\"}"), Some(12.0));
    assert_eq!(metric(&text, "trendlake_runs_total{exit_code=\"0\"}"), Some(1.0));
    let quota = metric(&text, "trendlake_stream_quota_used_ratio{stream=\"s1\"}").unwrap();
    assert!(0.0 < quota && quota < 0.001, "six requests of 100,000: {quota}");
    let fresh = metric(&text, "trendlake_stream_fresh_until_timestamp_seconds{stream=\"s1\"}").unwrap();
    let now = chrono::Utc::now().timestamp();
    #[expect(clippy::cast_precision_loss, reason = "exact for millions of years")]
    let age = now as f64 - fresh;
    assert!((0.0..86_400.0).contains(&age), "{age}");
    let (status, coverage) = daemon.get("/api/v1/coverage");
    let coverage: serde_json::Value = serde_json::from_str(&coverage).unwrap();
    assert_eq!((status, coverage[0]["units"].as_array().unwrap().len()), (200, 6));
    let (_, last) = daemon.get("/api/v1/runs/last");
    assert_eq!(serde_json::from_str::<serde_json::Value>(&last).unwrap()["exit_code"], 0);
    // A run beside it finds the lake free, since the daemon holds it only while it runs.
    sandbox.run(&["run"]).expect(0);
    assert_eq!(daemon.stop("TERM"), 0);
}

#[test]
fn a_new_configuration_is_taken_up_and_a_bad_one_refused() {
    let sandbox = Sandbox::new(1, &months_ago(0), settled());
    sandbox.configure(1, &months_ago(0), SERVE);
    let daemon = Daemon::start(&sandbox);
    daemon.ready();
    let reloads = |result: &str| format!("trendlake_config_reloads_total{{result=\"{result}\"}}");
    sandbox.configure(1, &months_ago(0), &SERVE.replace("0 0 1 1 *", "0 0 30 2 *"));
    daemon.signal("HUP");
    daemon.until("/metrics", |_, text| metric(text, &reloads("refused")) == Some(1.0));
    sandbox.configure(1, &months_ago(0), &SERVE.replace("0 0 1 1 *", "0 0 2 1 *"));
    // Without a signal: the file has changed.
    daemon.until("/metrics", |_, text| metric(text, &reloads("accepted")) == Some(1.0));
    assert_eq!(daemon.stop("INT"), 0);
}

#[test]
fn a_run_under_way_is_stopped_in_order() {
    let slow = trendlake::simulator::Settings { latency: Duration::from_mins(10), ..settled() };
    let sandbox = Sandbox::new(1, &months_ago(1), slow);
    sandbox.configure(1, &months_ago(1), SERVE);
    let daemon = Daemon::start(&sandbox);
    while sandbox.simulator.stats().streams.values().map(|s| s.requests).sum::<u64>() == 0 {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(daemon.get("/readyz").0, 503);
    assert_eq!(daemon.stop("TERM"), 143);
}

#[test]
fn two_daemons_on_one_bucket_do_the_work_once() {
    let server = s3::S3Server::start(s3::Conditions::Honoured);
    let sandbox = Sandbox::new(2, &months_ago(2), settled());
    s3::configure(&sandbox, 2, &months_ago(2), &server.endpoint);
    let path = sandbox.path("trendlake.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text + SERVE).unwrap();
    let lake = format!("s3://{}/lake", s3::BUCKET);
    let daemons = [(); 2].map(|()| Daemon::by(s3::command(&sandbox, &lake, &["serve", "--output", "json"])));
    daemons.iter().for_each(Daemon::ready);
    let requests: u64 = sandbox.simulator.stats().streams.values().map(|s| s.requests).sum();
    assert_eq!(requests, 12, "each month asked for once");
    for daemon in &daemons {
        let (_, coverage) = daemon.get("/api/v1/coverage");
        assert!(coverage.contains("final") && !coverage.contains("missing"), "{coverage}");
    }
    for daemon in daemons {
        assert_eq!(daemon.stop("TERM"), 0);
    }
}
