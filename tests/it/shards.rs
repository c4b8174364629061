//! Several processes that divide the streams of one lake between them, as the pods of an indexed job do.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Stdio;

use super::s3::{Conditions, S3Server, command, configure, expected_keys, first_of_month, lake_of, run};
use super::support::{Ran, Sandbox, settled};

const LAKE: &str = "s3://bucket/lake";

/// How often each stream was asked so far.
fn requests(sandbox: &Sandbox) -> BTreeMap<String, u64> {
    let stats = sandbox.simulator.stats();
    stats.streams.into_iter().map(|(id, stats)| (id.to_string(), stats.requests)).collect()
}

#[test]
fn three_processes_export_each_stream_once() {
    const STREAMS: usize = 12;
    let server = S3Server::start(Conditions::Honoured);
    let sandbox = Sandbox::new(STREAMS, "2026-01-01", settled());
    configure(&sandbox, STREAMS, &first_of_month(1).to_string(), &server.endpoint);
    // Two months in two grains.
    let planned = run(&sandbox, LAKE, &["plan", "--output", "json"]).expect(0).json();
    assert_eq!(planned["requests"], 4 * STREAMS as u64);

    let started: Vec<_> = (0..3)
        .map(|index| {
            let shard = format!("{index}/3");
            let mut command = command(&sandbox, LAKE, &["run", "--output", "json", "--shard", &shard]);
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    let mut asked_by = BTreeMap::new();
    for (index, process) in started.into_iter().enumerate() {
        let report = Ran::from(process.wait_with_output().unwrap()).expect(0).json();
        let requests = report["requests"].as_object().unwrap();
        assert!(!requests.is_empty(), "process {index} had nothing to do");
        for stream in requests.keys() {
            assert_eq!(asked_by.insert(stream.clone(), index), None, "{stream} was asked by two");
        }
    }
    assert_eq!(asked_by.len(), STREAMS);
    assert!(requests(&sandbox).values().all(|&n| n == 4), "{:?}", requests(&sandbox));
    let found = lake_of(server.objects());
    assert!(found.keys().eq(&expected_keys(STREAMS, 0..=1)), "{:?}", found.keys());

    // What one process plans is what it has exported.
    let plan = ["plan", "--shard", "1/3", "--from", "2020-01", "--force", "--output", "json"];
    let plan = run(&sandbox, LAKE, &plan).expect(0).json();
    for stream in plan["streams"].as_array().unwrap() {
        assert_eq!(asked_by.remove(stream["stream"].as_str().unwrap()), Some(1));
    }
    assert!(asked_by.values().all(|&index| index != 1), "{asked_by:?}");
}

#[test]
fn a_share_without_a_stream_is_done_at_once() {
    let sandbox = Sandbox::new(1, &first_of_month(1).to_string(), settled());
    let month = &first_of_month(1).to_string()[..7];
    let mut wrote = 0;
    for shard in ["0/3", "1/3", "2/3"] {
        let report = sandbox
            .run(&["backfill", "--from", month, "--to", month, "--shard", shard, "--output", "json"])
            .expect(0)
            .json();
        wrote += u64::from(report["totals"]["puts"] != 0);
    }
    assert_eq!(wrote, 1);
    assert_eq!(requests(&sandbox), BTreeMap::from([("st-1".to_owned(), 2)]));
}

/// The first process fails, the last one does not: what the lake is said to lack is not only what the last one knows.
#[test]
fn the_status_knows_the_failures_of_every_shard() {
    const STREAMS: usize = 12;
    let first = first_of_month(0).to_string();
    let sandbox = Sandbox::new(STREAMS, &first, settled());
    let run =
        |shard: &str, code| sandbox.run(&["run", "--output", "json", "--shard", shard]).expect(code).json();
    sandbox.simulator.set_faults(vec!["http-404".parse().unwrap()]);
    let failed = run("0/2", 65);
    sandbox.simulator.set_faults(Vec::new());
    let good = run("1/2", 0);
    let streams = |report: &serde_json::Value| -> BTreeSet<String> {
        let units = report["units"].as_array().unwrap();
        units.iter().map(|unit| unit["stream"].as_str().unwrap().to_owned()).collect()
    };
    assert!(!streams(&good).is_empty() && !streams(&failed).is_empty());
    let status = sandbox.run(&["status", "--output", "json"]).expect(0).json();
    assert_eq!(status["last_run"]["run_id"], good["run_id"]);
    let is_failed = |stream: &serde_json::Value| {
        stream["units"].as_array().unwrap().iter().all(|unit| unit["state"] == "failed")
    };
    let said = status["streams"].as_array().unwrap().iter().filter(|stream| is_failed(stream));
    let said: BTreeSet<_> = said.map(|stream| stream["stream"].as_str().unwrap().to_owned()).collect();
    assert_eq!(said, streams(&failed));
    // What was made good since is no longer failed.
    run("0/2", 0);
    let status = sandbox.run(&["status", "--output", "json"]).expect(0).stdout;
    assert!(!status.contains("failed"), "{status}");
}

#[test]
fn shards_that_do_not_exist() {
    let sandbox = Sandbox::new(1, &first_of_month(0).to_string(), settled());
    for (shard, told) in [
        ("3/3", "the last one is `2/3`"),
        ("0/0", "there are 1 to 1000 shards"),
        ("1", "a shard is written as `0/3`"),
        // What is left where nothing puts the index in its place.
        ("$(JOB_COMPLETION_INDEX)/3", "a shard is written as `0/3`"),
    ] {
        for subcommand in [&["run"][..], &["plan"], &["backfill", "--from", "2026-01"]] {
            let ran = sandbox.run(&[subcommand, &["--shard", shard]].concat()).expect(2);
            assert!(ran.stderr.contains(told) && ran.stdout.is_empty(), "{ran:?}");
        }
    }
    assert!(!sandbox.path("lake").exists());
}
