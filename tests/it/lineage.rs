//! Events of `OpenLineage`: what a receiver and a file get of runs, held against the published schemas.

use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::canary::clean;
use super::changes::rewrite_as_later;
use super::moto::python;
use super::serve::{Daemon, SERVE};
use super::spine::months_ago;
use super::support::{Ran, Sandbox, serve, settled};

const TOKEN: &str = "c4n4ry-of-the-receiver";

/// What the receiver has got: authorizations and events.
type Got = Arc<Mutex<Vec<(String, Value)>>>;

fn receiver(status: StatusCode) -> (Got, String) {
    let got = Got::default();
    let kept = got.clone();
    let router = Router::new().route(
        "/api/v1/lineage",
        axum::routing::post(async move |request: Request| {
            let (head, body) = request.into_parts();
            let body = axum::body::to_bytes(body, 1 << 24).await.unwrap();
            clean("an event", &body);
            let token = head.headers["authorization"].to_str().unwrap().to_owned();
            kept.lock().unwrap().push((token.clone(), serde_json::from_slice(&body).unwrap()));
            // As some do, it says what it was told.
            (status, token)
        }),
    );
    (got, serve(router))
}

fn told(address: &str) -> String {
    format!(
        "[lineage]\nurl = \"{address}/api/v1/lineage\"\ntoken_file = \"token\"\nfile = \"events.ndjson\"\n\
         namespace = \"analytics\"\njob = \"kore\"\n"
    )
}

fn sandbox(streams: usize, first: &str, more: &str) -> Sandbox {
    let sandbox = Sandbox::new(streams, first, settled());
    std::fs::write(sandbox.path("token"), TOKEN).unwrap();
    sandbox.configure(streams, first, more);
    sandbox
}

/// Runs with everything logged, and looks for the token.
fn run(sandbox: &Sandbox, code: i32) -> Ran {
    let ran: Ran =
        sandbox.command(&["run", "--output", "json"]).env("RUST_LOG", "trace").output().unwrap().into();
    assert!(!ran.stderr.contains(TOKEN) && !ran.stdout.contains(TOKEN), "{ran:?}");
    ran.expect(code)
}

/// The events in the file, which hold no secret.
fn events(sandbox: &Sandbox) -> Vec<Value> {
    let text = std::fs::read_to_string(sandbox.path("events.ndjson")).unwrap_or_default();
    clean("the events", text.as_bytes());
    assert!(!text.contains(TOKEN), "{text}");
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What the published schemas say against these events.
fn against(sandbox: &Sandbox, events: &[Value]) -> Result<(), String> {
    let file = sandbox.path("checked.ndjson");
    let lines: Vec<_> = events.iter().map(Value::to_string).collect();
    std::fs::write(&file, lines.join("\n")).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lineage/validate.py");
    let output = Command::new(python("python")).arg("-B").arg(script).arg(file).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(said.into_owned()) }
}

fn kinds(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["eventType"].as_str().unwrap()).collect()
}

#[test]
fn a_run_tells_what_it_reads_and_writes() {
    let (got, address) = receiver(StatusCode::CREATED);
    let sandbox = sandbox(2, &months_ago(1), &told(&address));
    let report = run(&sandbox, 0).json();
    let events = events(&sandbox);
    assert_eq!(kinds(&events), ["START", "COMPLETE"]);
    let posted = std::mem::take(&mut *got.lock().unwrap());
    assert!(posted.iter().all(|(token, _)| *token == format!("Bearer {TOKEN}")));
    assert_eq!(posted.into_iter().map(|(_, event)| event).collect::<Vec<_>>(), events);
    against(&sandbox, &events).unwrap();

    let end = &events[1];
    for event in &events {
        assert_eq!(event["run"]["runId"], report["run_id"]);
        assert_eq!(event["run"]["facets"]["nominalTime"]["nominalStartTime"], events[0]["eventTime"]);
        assert_eq!(event["job"], json!({ "namespace": "analytics", "name": "kore" }));
    }
    let input = json!({ "namespace": sandbox.base_url, "name": "st-1/userEngagementTrend" });
    assert_eq!((&end["inputs"][0], end["inputs"].as_array().unwrap().len()), (&input, 2));
    let outputs = end["outputs"].as_array().unwrap();
    let names: Vec<_> = outputs.iter().map(|output| output["name"].as_str().unwrap()).collect();
    let lake = sandbox.path("lake").canonicalize().unwrap();
    let expected = ["user_engagement_daily", "user_engagement_hourly", "user_engagement_summary"];
    assert_eq!(names, expected.map(|name| lake.join(name).display().to_string()));
    let (mut rows, mut bytes) = (0, 0);
    for (output, name) in outputs.iter().zip(expected) {
        assert_eq!(output["namespace"], "file");
        let fields = output["facets"]["schema"]["fields"].as_array().unwrap();
        assert!(fields.len() > 10 && fields.iter().all(|f| !f["description"].as_str().unwrap().is_empty()));
        let statistics = &output["outputFacets"]["outputStatistics"];
        let files: Vec<_> =
            sandbox.data_files().into_iter().filter(|(key, _)| key.starts_with(name)).collect();
        assert_eq!(statistics["fileCount"], files.len());
        assert_eq!(statistics["size"], files.iter().map(|(_, bytes)| bytes.len()).sum::<usize>());
        let partitions = &output["outputFacets"]["trendlake_partitions"];
        assert_eq!(partitions["count"], 4);
        let months = partitions["partitions"].as_array().unwrap();
        let first = json!({ "stream": "st-1", "month": &months_ago(0)[..7] });
        assert!(months.len() == 4 && months.contains(&first), "{partitions}");
        rows += statistics["rowCount"].as_u64().unwrap();
        bytes += statistics["size"].as_u64().unwrap();
    }
    assert_eq!(
        (&report["totals"]["rows"], &report["totals"]["bytes"]),
        (&Value::from(rows), &Value::from(bytes))
    );

    // The check finds what is wrong.
    let spoilt = |spoil: fn(&mut Value)| {
        let mut event = end.clone();
        spoil(&mut event);
        against(&sandbox, &[event]).unwrap_err()
    };
    assert!(spoilt(|e| e["eventTime"] = "soon".into()).contains("$.eventTime"));
    assert!(spoilt(|e| _ = e["run"].as_object_mut().unwrap().remove("runId")).contains("runId"));
    let of_output =
        |e: &mut Value| e["outputs"][0]["outputFacets"]["outputStatistics"]["size"] = "big".into();
    assert!(spoilt(of_output).contains("outputStatistics"));
    let of_ours =
        |e: &mut Value| e["outputs"][0]["outputFacets"]["trendlake_partitions"]["count"] = (-1).into();
    assert!(spoilt(of_ours).contains("trendlake_partitions"));
}

#[test]
fn a_run_that_fails_tells_why_and_one_that_is_not_heard_goes_on() {
    let (got, address) = receiver(StatusCode::UNAUTHORIZED);
    let sandbox = sandbox(1, &months_ago(1), &told(&address));
    sandbox.simulator.set_faults(vec!["http-404".parse().unwrap()]);
    let ran = run(&sandbox, 65);
    assert!(ran.stderr.contains("the lineage was not told: it answered 401"), "{ran:?}");
    assert_eq!(got.lock().unwrap().len(), 4, "each tried twice");
    let told = events(&sandbox);
    assert_eq!(kinds(&told), ["START", "FAIL"]);
    let message = told[1]["run"]["facets"]["errorMessage"]["message"].as_str().unwrap();
    assert!(message.starts_with("exit code 65: 4 of 4 units are open; st-1 "), "{message}");
    assert!(message.contains(": refused: "), "{message}");
    against(&sandbox, &told).unwrap();

    std::fs::remove_file(sandbox.path("events.ndjson")).unwrap();
    std::fs::create_dir(sandbox.path("events.ndjson")).unwrap();
    sandbox.simulator.set_faults(Vec::new());
    let ran = run(&sandbox, 0);
    assert!(ran.stderr.contains("events.ndjson` was not told: "), "{ran:?}");
    std::fs::remove_dir(sandbox.path("events.ndjson")).unwrap();

    // A run that comes to no report.
    rewrite_as_later(&sandbox, 1);
    run(&sandbox, 78);
    let told = events(&sandbox);
    assert_eq!(kinds(&told), ["START", "FAIL"]);
    against(&sandbox, &told).unwrap();
}

#[test]
fn a_daemon_tells_of_each_round_and_of_one_that_is_stopped() {
    let (_, address) = receiver(StatusCode::CREATED);
    let slow = trendlake::simulator::Settings { latency: std::time::Duration::from_mins(10), ..settled() };
    let sandbox = Sandbox::new(1, &months_ago(0), slow);
    std::fs::write(sandbox.path("token"), TOKEN).unwrap();
    sandbox.configure(1, &months_ago(0), &(told(&address) + SERVE));
    let daemon = Daemon::start(&sandbox);
    while sandbox.simulator.stats().streams.values().map(|s| s.requests).sum::<u64>() == 0 {
        daemon.until("/healthz", |status, _| status == 200);
    }
    let (_, page) = daemon.get("/config");
    assert!(
        page.contains("lineage, to ") && page.contains("events.ndjson") && !page.contains(TOKEN),
        "{page}"
    );
    assert_eq!(daemon.stop("TERM"), 143);
    let events = events(&sandbox);
    assert_eq!(kinds(&events), ["START", "ABORT"]);
    let times = &events[1]["run"]["facets"]["nominalTime"];
    assert!(times["nominalEndTime"].as_str().unwrap().ends_with("-01-01T00:00:00.000Z"), "{times}");
    against(&sandbox, &events).unwrap();
}

#[test]
fn mistakes_in_the_table() {
    let sandbox = Sandbox::new(1, &months_ago(0), settled());
    std::fs::write(sandbox.path("token"), TOKEN).unwrap();
    std::fs::write(sandbox.path("lines"), "two\nlines").unwrap();
    for (table, told) in [
        ("job = \"x\"", "`lineage.url`: missing"),
        ("file = \"f\"\ntoken_file = \"token\"", "`lineage.url`: missing"),
        ("url = \"ftp://host/\"", "`lineage.url`: the scheme `ftp` is not supported"),
        ("url = \"https://me:c4n4ry@host/\"", "`lineage.url`: credentials do not belong"),
        ("url = \"http://host/\"\ntoken_file = \"token\"", "`lineage.url`: without TLS the token travels"),
        ("url = \"https://host/\"\ntoken_file = \"none\"", "`lineage.token_file`: "),
        ("url = \"https://host/\"\ntoken_file = \"lines\"", "`lineage.token_file`: "),
        (
            "url = \"https://host/\"\ntoken_file = \"token\"\ntoken_env = \"X\"",
            "`lineage.token_file` is given too",
        ),
        ("file = \"f\"\njob = \"\"", "`lineage.job`: "),
        ("file = \"f\"\nnamespace = \"a\\nb\"", "`lineage.namespace`: "),
    ] {
        sandbox.configure(1, &months_ago(0), &format!("[lineage]\n{table}\n"));
        let ran = sandbox.run(&["validate"]).expect(78);
        assert!(ran.stderr.contains(told) && !ran.stderr.contains("c4n4ry"), "{table}: {ran:?}");
    }
    for table in
        ["", "file = \"f\"", "url = \"http://host/\"", "url = \"https://host/\"\ntoken_file = \"token\""]
    {
        sandbox.configure(1, &months_ago(0), &format!("[lineage]\n{table}\n"));
        sandbox.run(&["validate"]).expect(0);
    }
}
