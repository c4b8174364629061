//! A sandbox for one test: a folder, a simulator of the API on a free port, and the program itself.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use tokio_util::sync::CancellationToken;
use trendlake::clock::Clock;
use trendlake::model::{RESTATEMENTS, StreamId};
use trendlake::secret::Secret;
use trendlake::simulator::{Settings, SimulatedStream, Simulator, VerifyingKey};

pub(crate) use super::shelves::{asked, contents};

/// The client secret of every stream of the sandbox: a canary that must turn up nowhere.
pub(crate) const SECRET: &str = "c4n4ry-s3cr3t/+&\"\\=";

/// A folder with a configuration, and a simulator that serves its streams until the sandbox drops.
pub(crate) struct Sandbox {
    pub dir: tempfile::TempDir,
    pub simulator: Simulator,
    pub base_url: String,
    layout: &'static str,
    stop: CancellationToken,
    server: Option<std::thread::JoinHandle<()>>,
}

/// What the program did.
#[derive(Debug)]
pub(crate) struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    /// The standard output as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// Fails unless the program ended with this code.
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        // Whatever the test is about, what the program says holds no secret and no token.
        let text = |name, bytes: Vec<u8>| {
            super::canary::clean(name, &bytes);
            String::from_utf8(bytes).expect("output is UTF-8")
        };
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: text("stdout", output.stdout),
            stderr: text("stderr", output.stderr),
        }
    }
}

pub(crate) fn stream_id(number: usize) -> StreamId {
    format!("st-{number}").parse().unwrap()
}

/// A stream of a simulator, with the secret of the sandbox.
pub(crate) fn simulated(id: StreamId, client_id: &str) -> SimulatedStream {
    let key = VerifyingKey::Secret(Secret::from(SECRET.to_owned()));
    SimulatedStream { id, client_id: client_id.to_owned(), key }
}

impl Sandbox {
    /// `streams` streams named `s1`, `s2`, ... with ids `st-1`, ..., first date as given, and a
    /// simulator with the given settings (these streams come to its own).
    pub(crate) fn new(streams: usize, first_date: &str, settings: Settings) -> Self {
        away_from_the_full_hour();
        Self::at(&Clock::system(), streams, first_date, settings)
    }

    /// The same with a simulator that goes by this clock.
    pub(crate) fn at(clock: &Clock, streams: usize, first_date: &str, mut settings: Settings) -> Self {
        settings.streams.extend((1..=streams).map(|n| simulated(stream_id(n), &format!("cs-{n}"))));
        let simulator = Simulator::new(settings, clock.clone());
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let base_url = format!("http://{}", listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        let (served, stopped) = (simulator.clone(), stop.clone());
        let server = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                served.serve(listener, stopped).await.unwrap();
            });
        });
        let sandbox = Self {
            dir: tempfile::tempdir().unwrap(),
            simulator,
            base_url,
            layout: "stream",
            stop,
            server: Some(server),
        };
        std::fs::write(sandbox.path("secret"), SECRET).unwrap();
        sandbox.configure(streams, first_date, "");
        sandbox
    }

    /// The same with a lake in this layout: before anything was run.
    pub(crate) fn in_layout(mut self, layout: &'static str) -> Self {
        let text = std::fs::read_to_string(self.path("trendlake.toml")).unwrap();
        std::fs::write(self.path("trendlake.toml"), text.replace(&asked(self.layout), &asked(layout)))
            .unwrap();
        self.layout = layout;
        self
    }

    /// Writes the configuration anew, `more` at its end.
    pub(crate) fn configure(&self, streams: usize, first_date: &str, more: &str) {
        let mut text = format!(
            "[lake]\nurl = \"lake\"\n{}\n[defaults]\nbase_url = \"{}\"\nzone = \"UTC\"\nfirst_date = \"{first_date}\"\n\
             client_secret_file = \"secret\"\n\
             rate_limits = [{{ requests = 100000, per = \"1s\" }}]\n[retry]\nbase_delay = \"1ms\"\nmax_delay = \"5ms\"\nmax_rate_wait = \"1s\"\n",
            asked(self.layout),
            self.base_url
        );
        for n in 1..=streams {
            let _ = write!(text, "[streams.s{n}]\nid = \"st-{n}\"\nclient_id = \"cs-{n}\"\n");
        }
        std::fs::write(self.path("trendlake.toml"), text + more).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The program with these arguments, in the sandbox, not yet started.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = program();
        command.args(arguments).current_dir(self.dir.path());
        command
    }

    /// Runs the program to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        self.command(arguments).output().unwrap().into()
    }

    /// The files of all partitions with their bytes, by path relative to the lake, sorted.
    pub(crate) fn data_files(&self) -> Vec<(String, Vec<u8>)> {
        let lake = self.path("lake");
        let mut files: Vec<_> = walk(&lake)
            .into_iter()
            .map(|path| (path.strip_prefix(&lake).unwrap().to_str().unwrap().to_owned(), path))
            .filter(|(name, _)| !name.starts_with("_trendlake/") && !name.starts_with(RESTATEMENTS))
            .map(|(name, path)| (name, std::fs::read(path).unwrap()))
            .collect();
        files.sort();
        files
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(server) = self.server.take() {
            let _ = server.join();
        }
    }
}

/// Serves a router on a free port until the test's process ends.
pub(crate) fn serve(router: axum::Router) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let base_url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            axum::serve(tokio::net::TcpListener::from_std(listener).unwrap(), router).await.unwrap();
        });
    });
    base_url
}

/// The simulator behind a gateway, which is handed each call with its number, from 0, and answers it
/// itself or lets it pass.
pub(crate) fn gateway(
    simulator: &Simulator,
    answer: impl Fn(usize, &Request) -> Option<Response> + Clone + Send + Sync + 'static,
) -> String {
    let calls = Arc::new(AtomicUsize::new(0));
    let layer = axum::middleware::from_fn(move |request: Request, next: Next| {
        let answered = answer(calls.fetch_add(1, Ordering::Relaxed), &request);
        async move {
            match answered {
                Some(response) => response,
                None => next.run(request).await,
            }
        }
    });
    serve(simulator.router().layer(layer))
}

/// A new hour is a new row, so a test that compares two runs must not have one begin in between. The
/// program lives in real time: within the last seconds of an hour, the next one is waited for.
#[expect(clippy::disallowed_methods, reason = "the program under test lives in real time")]
fn away_from_the_full_hour() {
    let left = 3600 - chrono::Utc::now().timestamp().rem_euclid(3600);
    if left < 20 {
        std::thread::sleep(Duration::from_secs(u64::try_from(left).unwrap()));
    }
}

/// The program without anything of the environment that could change what it does.
pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trendlake"));
    command.stdin(Stdio::null()).env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command
}

/// Every file under a folder.
pub(crate) fn walk(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for entry in entries {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files
}

/// Simulator settings that answer without limits, with figures that no longer change.
pub(crate) fn settled() -> Settings {
    Settings { limits: Vec::new(), restate_days: 0, latency: Duration::ZERO, ..Settings::default() }
}
