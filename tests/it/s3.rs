//! A lake in a bucket: the program against an S3 server in this process, signatures and all.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::Request;
use axum::http::Method;
use bytes::Bytes;
use chrono::{Datelike, Months, NaiveDate, Utc};
use object_store::ObjectStoreExt;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::SimpleAuth;
use s3s::dto::PutObjectInput;
use s3s::service::S3ServiceBuilder;
use s3s::{S3Request, S3Result, s3_error};
use tokio_util::sync::CancellationToken;
use trendlake::lake::{Lake, parse_key};
use trendlake::model::Dataset;
use trendlake::table;

use super::moto::block_on;
use super::support::{Ran, Sandbox, contents, settled, walk};

pub(crate) const BUCKET: &str = "bucket";
const ACCESS_KEY: &str = "AKIATRENDLAKE";
/// A canary, like the streams' client secret.
const SECRET_KEY: &str = "c4n4ry-s3-k3y/+=";

/// What the server makes of `If-Match` and `If-None-Match`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Conditions {
    Honoured,
    Ignored,
}

/// An S3 server with one bucket, which ends when this drops.
pub(crate) struct S3Server {
    folder: tempfile::TempDir,
    pub endpoint: String,
    /// The paths of all `PUT` requests so far, in their order.
    puts: Arc<Mutex<Vec<String>>>,
    stop: CancellationToken,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl S3Server {
    pub(crate) fn start(conditions: Conditions) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join(BUCKET)).unwrap();
        let mut service = S3ServiceBuilder::new(s3s_fs::FileSystem::new(folder.path()).unwrap());
        service.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
        service.set_access(Access { conditions });
        let puts = Arc::new(Mutex::new(Vec::new()));
        let app = router(service.build(), puts.clone());

        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                tokio::select! {
                    served = axum::serve(listener, app) => served.unwrap(),
                    () = stopped.cancelled() => {}
                }
            });
        });
        Self { folder, endpoint, puts, stop, thread: Some(thread) }
    }

    /// The objects of the bucket by key.
    pub(crate) fn objects(&self) -> BTreeMap<String, Vec<u8>> {
        let bucket = self.folder.path().join(BUCKET);
        let key = |path: &Path| path.strip_prefix(&bucket).unwrap().to_str().unwrap().to_owned();
        walk(&bucket).into_iter().map(|path| (key(&path), std::fs::read(&path).unwrap())).collect()
    }

    /// Makes every object a day older than it is.
    pub(crate) fn age(&self) {
        for path in walk(&self.folder.path().join(BUCKET)) {
            let file = std::fs::File::options().write(true).open(path).unwrap();
            let written = file.metadata().unwrap().modified().unwrap();
            file.set_modified(written - Duration::from_hours(24)).unwrap();
        }
    }

    /// The paths that were put since the last call.
    fn take_puts(&self) -> Vec<String> {
        std::mem::take(&mut self.puts.lock().unwrap())
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The service, one write at a time: s3s-fs looks at a condition before it takes the body in, so
/// two writers at once could both find it fulfilled.
fn router(service: s3s::service::S3Service, puts: Arc<Mutex<Vec<String>>>) -> axum::Router {
    let one_at_a_time = Arc::new(tokio::sync::Mutex::new(()));
    axum::Router::new().fallback(move |request: Request| {
        let (service, puts, one_at_a_time) = (service.clone(), puts.clone(), one_at_a_time.clone());
        async move {
            let _turn = match *request.method() {
                Method::PUT | Method::POST => Some(one_at_a_time.lock().await),
                _ => None,
            };
            if request.method() == Method::PUT {
                puts.lock().unwrap().push(request.uri().path().to_owned());
            }
            let response = service.call(request.map(s3s::Body::http_body_unsync)).await;
            response.expect("the service answers every request").map(axum::body::Body::new)
        }
    })
}

/// What comes between a signed request and the files.
struct Access {
    conditions: Conditions,
}

/// What `async_trait` makes of an asynchronous method.
type Checked<'a> = Pin<Box<dyn Future<Output = S3Result<()>> + Send + 'a>>;

impl S3Access for Access {
    fn check<'life0, 'life1, 'life2, 'async_trait>(
        &'life0 self,
        context: &'life1 mut S3AccessContext<'_>,
    ) -> Checked<'async_trait>
    where
        'life0: 'async_trait,
        'life1: 'async_trait,
        'life2: 'async_trait,
        Self: 'async_trait,
    {
        let checked = if context.credentials().is_none() {
            Err(s3_error!(AccessDenied, "Signature is required"))
        } else if context.s3_path().get_bucket_name() != Some(BUCKET) {
            // s3s-fs would make the bucket as it writes.
            Err(s3_error!(NoSuchBucket))
        } else {
            Ok(())
        };
        Box::pin(std::future::ready(checked))
    }

    fn put_object<'life0, 'life1, 'async_trait>(
        &'life0 self,
        request: &'life1 mut S3Request<PutObjectInput>,
    ) -> Checked<'async_trait>
    where
        'life0: 'async_trait,
        'life1: 'async_trait,
        Self: 'async_trait,
    {
        if self.conditions == Conditions::Ignored {
            request.input.if_match = None;
            request.input.if_none_match = None;
        }
        Box::pin(std::future::ready(Ok(())))
    }
}

/// Lets the sandbox's configuration reach S3 at this endpoint.
pub(crate) fn configure(sandbox: &Sandbox, streams: usize, first_date: &str, endpoint: &str) {
    let options = format!(
        "[lake.options]\naws_endpoint = \"{endpoint}\"\naws_region = \"eu-central-1\"\n\
         aws_virtual_hosted_style_request = false\nallow_http = true\n"
    );
    sandbox.configure(streams, first_date, &options);
}

/// The program on a lake in a bucket, with the server's credentials.
pub(crate) fn command(sandbox: &Sandbox, lake: &str, arguments: &[&str]) -> Command {
    let mut command = sandbox.command(arguments);
    command
        .args(["--lake", lake])
        .env("AWS_ACCESS_KEY_ID", ACCESS_KEY)
        .env("AWS_SECRET_ACCESS_KEY", SECRET_KEY);
    command
}

pub(crate) fn run(sandbox: &Sandbox, lake: &str, arguments: &[&str]) -> Ran {
    let ran = Ran::from(command(sandbox, lake, arguments).output().unwrap());
    for secret in [SECRET_KEY, super::support::SECRET] {
        assert!(!ran.stdout.contains(secret) && !ran.stderr.contains(secret), "{ran:?}");
    }
    ran
}

/// Puts an object past everything that a front may do.
pub(crate) fn put(endpoint: &str, key: &str, bytes: Vec<u8>) {
    block_on(store(endpoint).put(&key.into(), bytes.into())).unwrap();
}

/// The server's bucket, past everything that a front may do.
fn store(endpoint: &str) -> AmazonS3 {
    AmazonS3Builder::new()
        .with_endpoint(endpoint)
        .with_allow_http(true)
        .with_region("eu-central-1")
        .with_bucket_name(BUCKET)
        .with_access_key_id(ACCESS_KEY)
        .with_secret_access_key(SECRET_KEY)
        .build()
        .unwrap()
}

/// The first day of the month that lies so many months back.
#[expect(clippy::disallowed_methods, reason = "the program under test lives in real time")]
pub(crate) fn first_of_month(months_ago: u32) -> NaiveDate {
    Utc::now().date_naive().with_day(1).unwrap() - Months::new(months_ago)
}

/// The keys of all partitions of these streams, relative to the lake.
pub(crate) fn expected_keys(streams: usize, months_ago: std::ops::RangeInclusive<u32>) -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    for dataset in [Dataset::Daily, Dataset::Hourly, Dataset::Summary] {
        for stream in 1..=streams {
            for months_ago in months_ago.clone() {
                let month = &first_of_month(months_ago).to_string()[..7];
                keys.insert(format!("{dataset}/stream=st-{stream}/month={month}/data.parquet"));
            }
        }
    }
    keys
}

#[test]
fn a_lake_in_a_bucket() {
    const LAKE: &str = "s3://bucket/some/prefix";
    let server = S3Server::start(Conditions::Honoured);
    let sandbox = Sandbox::new(2, "2026-01-01", settled());
    configure(&sandbox, 2, &first_of_month(2).to_string(), &server.endpoint);

    let findings = run(&sandbox, LAKE, &["doctor", "--output", "json"]).expect(0).json();
    let findings = findings.as_array().unwrap();
    assert!(findings.iter().all(|f| f["ok"] == true), "{findings:?}");
    let said: Vec<_> = findings.iter().filter(|f| f["subject"] == "lake").map(|f| &f["message"]).collect();
    assert!(said.iter().any(|m| m.as_str().unwrap().ends_with("only if it is unchanged")), "{said:?}");
    // The doctor takes away what it has tried with, all but the probe of conditions.
    assert_eq!(server.objects().keys().collect::<Vec<_>>(), ["some/prefix/_trendlake/probe"]);

    let plan = run(&sandbox, LAKE, &["plan", "--output", "json"]).expect(0).json();
    assert_eq!((plan["units"].as_u64(), plan["requests"].as_u64()), (Some(12), Some(12)));
    server.take_puts();
    let report = run(&sandbox, LAKE, &["run", "--output", "json"]).expect(0).json();
    assert_eq!(report["totals"]["puts"], 18, "{report}");

    let before = server.objects();
    let mut found = BTreeSet::new();
    for (key, bytes) in &before {
        let key = key.strip_prefix("some/prefix/").expect("everything is under the prefix");
        if key.starts_with("_trendlake/") {
            continue;
        }
        let dataset = parse_key(key).unwrap().dataset;
        let bytes = Bytes::copy_from_slice(bytes);
        assert!(table::decode(dataset, &bytes).unwrap().num_rows() > 0, "{key}");
        table::read_footer(&bytes).unwrap();
        found.insert(key.to_owned());
    }
    assert_eq!(found, expected_keys(2, 0..=2));
    let data_puts =
        |puts: Vec<String>| puts.into_iter().filter(|path| path.contains("/user_engagement_")).count();
    assert_eq!(data_puts(server.take_puts()), 18);

    let report = run(&sandbox, LAKE, &["run", "--output", "json"]).expect(0).json();
    assert!(report["totals"]["unchanged"].as_u64() >= Some(4), "{report}");
    assert_eq!(data_puts(server.take_puts()), 0);
    let data = |objects: BTreeMap<String, Vec<u8>>| -> Vec<_> {
        objects.into_iter().filter(|(key, _)| key.contains("user_engagement_")).collect()
    };
    assert_eq!(data(server.objects()), data(before));

    let status = run(&sandbox, LAKE, &["status", "--output", "json"]).expect(0).json();
    assert_eq!(status["last_run"]["run_id"], report["run_id"]);
    for stream in status["streams"].as_array().unwrap() {
        let units = stream["units"].as_array().unwrap();
        assert_eq!(units.len(), 6);
        let oldest: Vec<_> = units
            .iter()
            .filter(|u| u["month"] == first_of_month(2).to_string()[..7])
            .map(|u| &u["state"])
            .collect();
        assert_eq!(oldest, ["final", "final"]);
    }
    let plan = run(&sandbox, LAKE, &["plan", "--output", "json"]).expect(0).json();
    assert!([4, 8].contains(&plan["units"].as_u64().unwrap()), "{plan}");
    assert_eq!(plan["foreign"].as_array().map(Vec::len), Some(0));
}

#[test]
fn a_lake_at_the_root_of_a_bucket() {
    let server = S3Server::start(Conditions::Honoured);
    let sandbox = Sandbox::new(1, "2026-01-01", settled());
    configure(&sandbox, 1, &first_of_month(1).to_string(), &server.endpoint);
    run(&sandbox, "s3://bucket", &["run"]).expect(0);
    let keys: BTreeSet<_> =
        server.objects().into_keys().filter(|key| !key.starts_with("_trendlake/")).collect();
    assert_eq!(keys, expected_keys(1, 0..=1));
    let status = run(&sandbox, "s3://bucket", &["status", "--output", "json"]).expect(0).json();
    assert_eq!(status["streams"][0]["units"].as_array().unwrap().len(), 4);
    assert!(status["streams"][0]["units"].as_array().unwrap().iter().all(|u| u["state"] != "missing"));
}

/// One put where it is small, and parts where it is large: the report of a run of thousands of streams.
#[test]
fn an_object_that_comes_piece_by_piece_is_put_whole() {
    let server = S3Server::start(Conditions::Honoured);
    let lake = Lake::on(Arc::new(store(&server.endpoint)), "lake".into());
    for (count, puts) in [(0, 1), (1, 1), (20, 3)] {
        let pieces: Vec<Bytes> = (0..count).map(|piece| vec![piece; 1_000_000].into()).collect();
        server.take_puts();
        block_on(lake.put_pieces("runs/x.json", pieces.iter().cloned())).unwrap();
        assert_eq!(server.take_puts().len(), puts, "{count} pieces");
        assert!(server.objects()["lake/_trendlake/runs/x.json"] == pieces.concat(), "{count} pieces");
        let start = block_on(lake.read_start_internal("runs/x.json", 100));
        assert!(count == 0 || start.unwrap().unwrap() == vec![0; 100], "{count} pieces");
    }
}

#[test]
fn a_replaced_object_is_replaced_on_condition() {
    const LAKE: &str = "s3://bucket/lake";
    let server = S3Server::start(Conditions::Honoured);
    let sandbox = Sandbox::new(1, "2026-01-01", settled());
    configure(&sandbox, 1, &first_of_month(2).to_string(), &server.endpoint);
    run(&sandbox, LAKE, &["run"]).expect(0);
    // Another slice makes every partition stale, so that all are replaced.
    let config = std::fs::read_to_string(sandbox.path("trendlake.toml")).unwrap();
    let config = config.replace("[lake.options]", "slices = [\"all\", \"dashboard\"]\n[lake.options]");
    std::fs::write(sandbox.path("trendlake.toml"), config).unwrap();
    let before = server.objects();
    let report = run(&sandbox, LAKE, &["run", "--output", "json"]).expect(0).json();
    assert_eq!(report["totals"]["puts"], 9, "{report}");
    let after = server.objects();
    for key in expected_keys(1, 0..=2) {
        let key = format!("lake/{key}");
        assert!(after[&key] != before[&key], "{key}");
    }
}

#[test]
fn wrong_credentials_and_unknown_buckets_are_a_matter_of_permission() {
    let server = S3Server::start(Conditions::Honoured);
    let sandbox = Sandbox::new(1, "2026-01-01", settled());
    configure(&sandbox, 1, &first_of_month(0).to_string(), &server.endpoint);
    let wrong = "wr0ng-c4n4ry";
    for name in ["AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID"] {
        for subcommand in ["run", "plan", "status", "doctor"] {
            let mut command = command(&sandbox, "s3://bucket/lake", &[subcommand]);
            let ran = Ran::from(command.env(name, wrong).output().unwrap()).expect(77);
            let said = format!("{}{}", ran.stdout, ran.stderr);
            assert!(said.contains("check the credentials in the environment"), "{said}");
            if name == "AWS_SECRET_ACCESS_KEY" {
                assert!(!said.contains(wrong) && !said.contains(SECRET_KEY), "{said}");
            }
        }
    }
    for single_writer in ["false", "true"] {
        for subcommand in ["run", "plan", "status", "doctor"] {
            let mut command = command(&sandbox, "s3://another/lake", &[subcommand]);
            command.env("TRENDLAKE__LAKE__SINGLE_WRITER", single_writer);
            let ran = Ran::from(command.output().unwrap()).expect(77);
            let said = format!("{}{}", ran.stdout, ran.stderr);
            assert!(said.contains("check that the bucket or container exists"), "{said}");
        }
    }
    assert!(server.objects().is_empty());
    // Not one question was asked for a lake that cannot be written, but by the doctor.
    let requests: u64 = sandbox.simulator.stats().streams.values().map(|s| s.requests).sum();
    assert_eq!(requests, 4);
}

#[test]
fn fault_47_a_store_that_ignores_conditions_is_refused_unless_there_is_one_writer() {
    const LAKE: &str = "s3://bucket/lake";
    let server = S3Server::start(Conditions::Ignored);
    let sandbox = Sandbox::new(1, "2026-01-01", settled());
    configure(&sandbox, 1, &first_of_month(1).to_string(), &server.endpoint);
    for subcommand in ["run", "doctor"] {
        let ran = run(&sandbox, LAKE, &[subcommand]).expect(78);
        let said = format!("{}{}", ran.stdout, ran.stderr);
        assert!(said.contains("lake.single_writer = true"), "{said}");
    }
    assert!(server.objects().keys().all(|key| key.starts_with("lake/_trendlake/")));

    let alone = |arguments: &[&str]| {
        let mut command = command(&sandbox, LAKE, arguments);
        Ran::from(command.env("TRENDLAKE__LAKE__SINGLE_WRITER", "true").output().unwrap())
    };
    let doctor = alone(&["doctor"]).expect(0);
    let report = alone(&["run", "--output", "json"]).expect(0).json();
    assert_eq!(report["totals"]["puts"], 6);
    assert_eq!(alone(&["run", "--output", "json"]).expect(0).json()["totals"]["puts"], 0);
    // What the store does not do is not to be praised.
    assert!(!doctor.stdout.contains("only if it is unchanged"), "{}", doctor.stdout);
}

/// What the lake at `lake/` in a bucket holds, of whose objects these are all.
#[track_caller]
pub(crate) fn lake_of<B: Clone + Into<Bytes>>(
    objects: impl IntoIterator<Item = (String, B)>,
) -> BTreeMap<String, String> {
    let below = |(key, bytes): (String, B)| Some((key.strip_prefix("lake/")?.to_owned(), bytes));
    contents(objects.into_iter().filter_map(below))
}
