//! A second opinion on S3: the main job against moto, which implements it independently of s3s.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use bytes::Bytes;
use futures_util::TryStreamExt;
use object_store::aws::AmazonS3Builder;
use object_store::{ObjectStore, ObjectStoreExt};

use super::s3::{configure, expected_keys, first_of_month, run};
use super::support::{Sandbox, settled};

/// A program of the Python environment that the tests use.
///
/// # Panics
/// When it is not there: a test that cannot judge must not pass.
pub(crate) fn python(program: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/venv/bin").join(program);
    assert!(path.exists(), "`{}` is missing: `make setup` installs it", path.display());
    path
}

/// A moto server on a free port, which ends when this drops.
pub(crate) struct Moto {
    child: Child,
    pub endpoint: String,
}

impl Moto {
    pub(crate) fn start() -> Self {
        let mut child = Command::new(python("moto_server"))
            .args(["--host", "127.0.0.1", "--port", "0"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        // The server takes a free port itself and tells it: a port chosen here could be gone by then.
        let mut said = String::new();
        let endpoint = loop {
            let start = said.len();
            if log.read_line(&mut said).unwrap() == 0 {
                let _ = child.wait();
                panic!("moto did not start:\n{said}");
            }
            if let Some((_, url)) = said[start..].split_once("Running on http://") {
                break format!("http://{}", url.trim());
            }
        };
        // Whoever does not read on stops the server once the pipe is full.
        std::thread::spawn(move || log.read_to_end(&mut Vec::new()));
        Self { child, endpoint }
    }

    pub(crate) fn create_bucket(&self, name: &str) {
        let url = format!("{}/{name}", self.endpoint);
        block_on(async { reqwest::Client::new().put(url).send().await?.error_for_status() }).unwrap();
    }

    /// The objects of a bucket by key, as a client of its own sees them.
    pub(crate) fn objects(&self, bucket: &str) -> BTreeMap<String, Bytes> {
        let store = AmazonS3Builder::new()
            .with_endpoint(&self.endpoint)
            .with_allow_http(true)
            .with_region("eu-central-1")
            .with_bucket_name(bucket)
            .with_access_key_id("any")
            .with_secret_access_key("any")
            .build()
            .unwrap();
        block_on(async {
            let metas: Vec<_> = store.list(None).try_collect().await.unwrap();
            let mut objects = BTreeMap::new();
            for meta in metas {
                let bytes = store.get(&meta.location).await.unwrap().bytes().await.unwrap();
                objects.insert(meta.location.to_string(), bytes);
            }
            objects
        })
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

#[test]
fn a_lake_in_a_bucket_of_moto() {
    const LAKE: &str = "s3://lakes/some/prefix";
    let moto = Moto::start();
    moto.create_bucket("lakes");
    let sandbox = Sandbox::new(2, "2026-01-01", settled());
    configure(&sandbox, 2, &first_of_month(2).to_string(), &moto.endpoint);

    run(&sandbox, LAKE, &["doctor"]).expect(0);
    let report = run(&sandbox, LAKE, &["run", "--output", "json"]).expect(0).json();
    assert_eq!(report["totals"]["puts"], 18, "{report}");
    let objects = moto.objects("lakes");
    let keys: BTreeSet<_> = objects.keys().map(|key| key.strip_prefix("some/prefix/").unwrap()).collect();
    let data: BTreeSet<_> =
        keys.into_iter().filter(|key| !key.starts_with("_trendlake/")).map(ToOwned::to_owned).collect();
    assert_eq!(data, expected_keys(2, 0..=2));

    let report = run(&sandbox, LAKE, &["run", "--output", "json"]).expect(0).json();
    assert_eq!(report["totals"]["puts"], 0, "{report}");
    assert!(report["totals"]["unchanged"].as_u64() >= Some(4), "{report}");

    // Another slice makes every partition stale, so that each object is replaced on condition.
    let config = std::fs::read_to_string(sandbox.path("trendlake.toml")).unwrap();
    let config = config.replace("[defaults]\n", "[defaults]\nslices = [\"all\", \"dashboard\"]\n");
    std::fs::write(sandbox.path("trendlake.toml"), config).unwrap();
    let report = run(&sandbox, LAKE, &["run", "--output", "json"]).expect(0).json();
    assert_eq!(report["totals"]["puts"], 18, "{report}");

    run(&sandbox, "s3://another/lake", &["run"]).expect(77);
}
