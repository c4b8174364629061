//! Raw answers: kept word for word but for tokens, and good for making the lake again without a request.

use std::collections::BTreeMap;
use std::path::PathBuf;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use chrono::TimeDelta;
use tower::ServiceExt as _;
use trendlake::clock::Clock;
use trendlake::model::Dataset;
use trendlake::simulator::Settings;
use trendlake::table::{self, FORMAT_VERSION};

use super::inside;
use super::spine::{months_ago, requests};
use super::support::{Sandbox, contents, serve, settled, walk};

/// A sandbox that keeps raw answers, with `more` among the defaults.
fn sandbox(months: u32, more: &str) -> Sandbox {
    let sandbox = Sandbox::new(1, &months_ago(months), settled());
    defaults(&sandbox, &format!("keep_raw = true\n{more}"));
    sandbox
}

fn defaults(sandbox: &Sandbox, more: &str) {
    let text = std::fs::read_to_string(sandbox.path("trendlake.toml")).unwrap();
    let text = text.replace("keep_raw = true\n", "").replace("[defaults]\n", &format!("[defaults]\n{more}"));
    std::fs::write(sandbox.path("trendlake.toml"), text).unwrap();
}

pub(crate) fn raw(sandbox: &Sandbox) -> Vec<PathBuf> {
    let mut files = walk(&sandbox.path("lake/_trendlake/raw"));
    files.sort();
    files
}

pub(crate) fn text(path: &PathBuf) -> String {
    String::from_utf8(zstd::decode_all(std::fs::File::open(path).unwrap()).unwrap()).unwrap()
}

pub(crate) fn files(sandbox: &Sandbox) -> BTreeMap<String, Vec<u8>> {
    sandbox.data_files().into_iter().collect()
}

fn lose_the_data(sandbox: &Sandbox) {
    for dataset in Dataset::ALL.map(|dataset| sandbox.path(&format!("lake/{dataset}"))) {
        // Nobody asks for periods here.
        if dataset.exists() {
            std::fs::remove_dir_all(dataset).unwrap();
        }
    }
}

/// A replay, which asks nothing.
#[track_caller]
pub(crate) fn replay(sandbox: &Sandbox, arguments: &[&str], code: i32) -> serde_json::Value {
    let asked = requests(sandbox);
    let arguments: Vec<_> =
        ["replay", "--output", "json"].into_iter().chain(arguments.iter().copied()).collect();
    let report = sandbox.run(&arguments).expect(code).json();
    assert_eq!(requests(sandbox), asked, "the API was asked");
    assert_eq!(report["totals"]["requests"], 0);
    report
}

#[test]
fn a_lake_that_is_lost_is_made_again_byte_for_byte() {
    for more in ["", "slices = [\"all\", \"dashboard\"]\n", "max_range_days = 10\n"] {
        let sandbox = sandbox(2, more);
        sandbox.run(&["run"]).expect(0);
        let before = files(&sandbox);
        assert_eq!((before.len(), raw(&sandbox).len()), (9, 6), "{more}");
        lose_the_data(&sandbox);
        let report = replay(&sandbox, &[], 0);
        assert_eq!(report["totals"]["committed"], 6, "{more}");
        assert!(files(&sandbox) == before, "{more}");
        // Nothing is left to do but what may still change.
        assert_eq!(replay(&sandbox, &[], 0)["totals"]["committed"], 0, "{more}");
        let plan = sandbox.run(&["plan", "--output", "json"]).expect(0).json();
        assert!(plan["units"].as_u64().unwrap() <= 4, "{more}: {plan}");
    }
}

#[test]
fn a_range_of_it_and_what_was_never_kept() {
    let sandbox = sandbox(2, "");
    defaults(&sandbox, "");
    sandbox.run(&["run"]).expect(0);
    assert!(!sandbox.path("lake/_trendlake/raw").exists(), "nobody asked for it");
    lose_the_data(&sandbox);
    let report = replay(&sandbox, &[], 0);
    assert!(report["warnings"][0].as_str().unwrap().contains("no raw answer is kept of 6 units"), "{report}");
    defaults(&sandbox, "keep_raw = true\n");
    sandbox.run(&["run"]).expect(0);
    let (before, month) = (files(&sandbox), &months_ago(1)[..7]);
    lose_the_data(&sandbox);
    replay(&sandbox, &["--from", month, "--to", month, "--stream", "s1"], 0);
    let there = files(&sandbox);
    assert_eq!(there.len(), 3);
    assert!(there.iter().all(|(key, bytes)| key.contains(month) && before[key] == *bytes));
}

#[test]
fn files_of_an_older_format_are_made_anew() {
    let sandbox = sandbox(1, "");
    sandbox.run(&["run"]).expect(0);
    let before = files(&sandbox);
    for (name, bytes) in &before {
        let (dataset, batch) = super::spine::decode(name, bytes);
        let mut footer = table::read_footer(&bytes.clone().into()).unwrap();
        footer.format_version = FORMAT_VERSION - 1;
        std::fs::write(sandbox.path("lake").join(name), table::encode(dataset, &batch, &footer)).unwrap();
    }
    replay(&sandbox, &[], 0);
    assert!(files(&sandbox) == before);
}

#[test]
fn an_older_answer_never_replaces_a_newer_one() {
    let clock = Clock::starting_at("2026-03-10T12:30:00Z".parse().unwrap());
    let sandbox = Sandbox::at(&clock, 1, "2026-03-01", Settings { restate_days: 30, ..settled() });
    defaults(&sandbox, "keep_raw = true\n");
    inside::run(&clock, &sandbox);
    assert_eq!(raw(&sandbox).len(), 2);
    clock.step(TimeDelta::days(2));
    defaults(&sandbox, "");
    inside::run(&clock, &sandbox);
    let before = files(&sandbox);
    // The program goes by the real time, long after; so it is to look at what the files say of themselves.
    std::fs::remove_file(sandbox.path("lake/_trendlake/lake.json")).unwrap();
    let report = replay(&sandbox, &["--from", "2026-03", "--to", "2026-03"], 0);
    assert_eq!(report["units"][0]["outcome"], "superseded", "{report}");
    assert!(files(&sandbox) == before);
    // The newest of several is taken, and what came before it can be removed.
    defaults(&sandbox, "keep_raw = true\n");
    clock.step(TimeDelta::days(2));
    inside::run(&clock, &sandbox);
    // What an answer has restated is not known of it once what it replaced is lost.
    let before = contents(sandbox.data_files());
    assert_eq!(raw(&sandbox).len(), 4);
    lose_the_data(&sandbox);
    replay(&sandbox, &["--from", "2026-03", "--to", "2026-03"], 0);
    assert_eq!(contents(sandbox.data_files()), before);
    let status = sandbox.run(&["status", "--output", "json"]).expect(0).json();
    assert_eq!(status["raw_answers"]["objects"], 4);
    let vacuum = sandbox.run(&["vacuum", "--output", "json"]).expect(0).json();
    assert_eq!((&vacuum["removed"], &vacuum["left"]), (&2.into(), &2.into()));
    lose_the_data(&sandbox);
    replay(&sandbox, &["--from", "2026-03", "--to", "2026-03"], 0);
    assert_eq!(contents(sandbox.data_files()), before);
}

#[test]
fn a_damaged_raw_answer_is_named_and_passed_over() {
    let sandbox = sandbox(0, "");
    sandbox.run(&["run"]).expect(0);
    sandbox.run(&["verify"]).expect(0);
    let before = files(&sandbox);
    let victim = &raw(&sandbox)[0];
    let mut bytes = std::fs::read(victim).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(victim, bytes).unwrap();
    let ran = sandbox.run(&["verify"]).expect(11);
    assert!(ran.stdout.contains("damaged: _trendlake/raw/stream=st-1/month="), "{ran:?}");
    lose_the_data(&sandbox);
    let report = replay(&sandbox, &[], 65);
    let classes: Vec<_> = report["units"].as_array().unwrap().iter().map(|u| u["class"].as_str()).collect();
    assert_eq!(classes.iter().filter(|class| **class == Some("not_kept")).count(), 1, "{report}");
    sandbox.run(&["run"]).expect(0);
    assert_eq!(files(&sandbox).keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>());
}

/// A server may repeat in a good answer what it was sent.
#[test]
fn no_token_is_kept() {
    let sandbox = sandbox(0, "");
    let router = sandbox.simulator.router();
    let echo = async move |request: Request| -> Response {
        let token = request.headers()["auth"].to_str().unwrap().to_owned();
        let (head, body) = router.clone().oneshot(request).await.unwrap().into_parts();
        let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        let mut answer: serde_json::Value = serde_json::from_slice(&body).unwrap();
        answer["you_sent"] = token.into();
        let mut response = Response::new(Body::from(answer.to_string()));
        *response.status_mut() = head.status;
        response
    };
    let base_url = serve(axum::Router::new().fallback(echo));
    sandbox.run(&["run", "--base-url", &base_url]).expect(0);
    assert_eq!(raw(&sandbox).len(), 2);
    for path in raw(&sandbox) {
        let text = text(&path);
        super::canary::clean("a raw answer", text.as_bytes());
        assert!(text.contains("you_sent") && text.contains("[token]"), "{text}");
        assert!(text.contains("uniqueUsersTrend"), "{text}");
    }
    lose_the_data(&sandbox);
    replay(&sandbox, &[], 0);
}
