//! The floors under an export: what the same answers cost a client that only downloads them, and what only reading
//! and encoding them costs.
//!
//!     network CONFIG FROM TO    downloads every answer from the configuration's API, with the exporter's HTTP client
//!                               and tokens, and throws it away
//!     compute CONFIG FROM TO    takes the answers from a simulator within this process, and prints the CPU seconds
//!                               that decoding, building, hashing and encoding them took; and, apart from these,
//!                               those that it took to put the files durably into a folder beside CONFIG
//!
//! FROM and TO are months, inclusive.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use futures_util::StreamExt;
use reqwest::header::{CONTENT_LENGTH, HeaderValue};
use reqwest::{Method, Request};
use trendlake::chance::Chance;
use trendlake::clock::Clock;
use trendlake::config::{OnMissing, Settings, Sources, Stream};
use trendlake::kore::{Signer, check, http_client};
use trendlake::lake;
use trendlake::model::{Grain, Month, Partition, Slice, UnitKind};
use trendlake::table::{self, FORMAT_VERSION, Footer};

use super::common::{self, Replayed};

/// Carries out one of the modes above.
pub(crate) fn measure(mode: &str, config: &str, from: &str, to: &str) {
    let sources = Sources { file: config.into(), ..Sources::default() };
    let settings = Settings::load(&sources).unwrap_or_else(|problems| panic!("{problems}"));
    let months = std::iter::successors(Some(from.parse().unwrap()), |m: &Month| Some(m.next()));
    let to: Month = to.parse().unwrap();
    let months: Vec<Month> = months.take_while(|month| *month <= to).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    match mode {
        "network" => runtime.block_on(network(&settings, &months)),
        "compute" => {
            let folder = Path::new(config).parent().unwrap().join("floor");
            runtime.block_on(compute(&settings, &months, &folder));
        }
        other => panic!("`{other}` is no floor"),
    }
}

/// A stream's requests, each with a token of its own.
fn requests<'a>(stream: &'a Stream, months: &'a [Month]) -> impl Iterator<Item = Request> + use<'a> {
    let signer = Signer::new(&stream.credentials).unwrap();
    let (clock, chance) = (Clock::system(), Chance::from_os());
    months.iter().flat_map(|month| Grain::ALL.map(|grain| (month, grain))).map(move |(month, grain)| {
        let base = stream.base_url.as_str().trim_end_matches('/');
        let (id, zone) = (&stream.id, stream.zone.name().replace('/', "%2F"));
        let (first, last) = (month.first_day(), month.last_day());
        let url = format!(
            "{base}/api/public/bot/{id}/v2/userEngagementTrend?aggregation_type={grain}&start_date={first}\
             &end_date={last}&conversationType=All&conversationStatus=All&timeZoneOffset={zone}"
        );
        let mut request = Request::new(Method::POST, url.parse().unwrap());
        let token = signer.sign(&signer.claims(clock.now(), chance.id())).unwrap();
        request.headers_mut().insert("auth", HeaderValue::from_str(token.expose()).unwrap());
        request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        request
    })
}

async fn network(settings: &Settings, months: &[Month]) {
    let http = http_client(&settings.http, true).unwrap();
    let bytes = futures_util::stream::iter(&settings.streams).flat_map_unordered(
        settings.concurrency.streams,
        |stream| {
            let answers = requests(stream, months).map(|request| async {
                let answer = http.execute(request).await.unwrap();
                assert!(answer.status().is_success(), "{}", answer.status());
                answer.bytes().await.unwrap().len()
            });
            Box::pin(
                futures_util::stream::iter(answers).buffer_unordered(settings.concurrency.units_per_stream),
            )
        },
    );
    let bytes: Vec<usize> = bytes.collect().await;
    println!("{}", serde_json::json!({ "requests": bytes.len(), "bytes": bytes.iter().sum::<usize>() }));
}

async fn compute(settings: &Settings, months: &[Month], folder: &Path) {
    let clock = Clock::system();
    let api = Replayed::new(&settings.streams, &clock);
    let (mut computed, mut put, mut rows, mut written) = (0, 0, 0, 0);
    for stream in &settings.streams {
        // One stream's answers at a time, so that they take no memory to speak of.
        let mut bodies = Vec::new();
        for request in requests(stream, months) {
            bodies.push(api.ask(&request).await);
        }
        let mut files = Vec::new();
        let began = cpu_nanos();
        let asked = months.iter().flat_map(|month| Grain::ALL.map(|grain| (*month, grain)));
        for ((month, grain), body) in asked.zip(&bodies) {
            let window = common::whole(month);
            let late = (window.end + chrono::Days::new(1)).and_hms_opt(23, 59, 59).unwrap();
            let question = common::question(stream, grain, window);
            let answers = [(Slice::ALL, check(body, &question, late, OnMissing::Null).unwrap().trend)];
            for &dataset in UnitKind::from(grain).datasets() {
                let fetched_at = clock.now();
                let batch = table::batch(dataset, stream, window, &answers, fetched_at);
                let footer = Footer {
                    format_version: FORMAT_VERSION,
                    fingerprint: stream.fingerprint(grain.into()),
                    start: window.start,
                    end: window.end,
                    settle_days: stream.settle_days,
                    is_final: true,
                    content_hash: table::content_hash(&batch),
                    fetched_at,
                    restatement: None,
                };
                rows += batch.num_rows();
                files.push((dataset, month, table::encode(dataset, &batch, &footer)));
            }
        }
        computed += cpu_nanos() - began;
        let began = cpu_nanos();
        for (dataset, month, bytes) in files {
            let key = lake::key(&Partition { dataset, stream: stream.id.clone(), month });
            durably(folder, &key, &bytes).unwrap();
            written += bytes.len();
        }
        put += cpu_nanos() - began;
    }
    #[expect(clippy::cast_precision_loss, reason = "some seconds")]
    let secs = |nanos: u64| nanos as f64 / 1e9;
    let said = serde_json::json!({ "cpu_secs": secs(computed), "files_cpu_secs": secs(put), "rows": rows, "bytes": written });
    println!("{said}");
}

/// Puts a file into a folder that is not there yet, so that neither is lost with the power and nobody sees half of it.
fn durably(root: &Path, key: &str, bytes: &[u8]) -> std::io::Result<()> {
    let (place, staged) = (root.join(key), root.join("staged"));
    let folder = place.parent().unwrap();
    fs::create_dir_all(folder)?;
    File::open(folder.parent().unwrap())?.sync_all()?;
    let mut file = File::create(&staged)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&staged, &place)?;
    File::open(folder)?.sync_all()
}

/// CPU time of this program's one thread, as Linux counts it.
fn cpu_nanos() -> u64 {
    let text = std::fs::read_to_string("/proc/self/schedstat").unwrap();
    text.split(' ').next().unwrap().parse().unwrap()
}
