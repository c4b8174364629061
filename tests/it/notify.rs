//! Who is told of a run: the webhook of every one, the ping of good ones, and nobody of the addresses.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::Request;
use axum::http::StatusCode;
use serde_json::Value;

use super::spine::months_ago;
use super::support::{Sandbox, serve, settled};

/// What was heard: method, path, body.
type Heard = Arc<Mutex<Vec<(String, String, Vec<u8>)>>>;

/// A server that hears everything and answers with this status.
fn listener(status: StatusCode) -> (Heard, Router) {
    let heard = Heard::default();
    let log = heard.clone();
    let router = Router::new().fallback(async move |request: Request| {
        let (head, body) = request.into_parts();
        let body: Bytes = axum::body::to_bytes(body, 1 << 20).await.unwrap();
        log.lock().unwrap().push((head.method.to_string(), head.uri.path().to_owned(), body.to_vec()));
        status
    });
    (heard, router)
}

/// A sandbox that tells this server.
fn sandbox(address: &str) -> Sandbox {
    let sandbox = Sandbox::new(1, &months_ago(0), settled());
    std::fs::write(sandbox.path("webhook"), format!("{address}/hook/c4n4ry-1")).unwrap();
    std::fs::write(sandbox.path("ping"), format!("{address}/ping/c4n4ry-2\n")).unwrap();
    let notify = "[notify]\nwebhook_url_file = \"webhook\"\nping_url_file = \"ping\"\n";
    sandbox.configure(1, &months_ago(0), notify);
    sandbox
}

#[test]
fn the_webhook_hears_of_every_run_and_the_ping_of_good_ones() {
    let (heard, router) = listener(StatusCode::NO_CONTENT);
    let address = serve(router);
    let sandbox = sandbox(&address);
    sandbox.run(&["run"]).expect(0);
    let first = std::mem::take(&mut *heard.lock().unwrap());
    assert_eq!(first.len(), 2, "{first:?}");
    assert_eq!((first[0].0.as_str(), first[0].1.as_str()), ("POST", "/hook/c4n4ry-1"));
    let summary: Value = serde_json::from_slice(&first[0].2).unwrap();
    let keys: Vec<_> = sandbox.data_files().into_iter().map(|(name, _)| name).collect();
    let mut changed: Vec<String> = serde_json::from_value(summary["changed"].clone()).unwrap();
    changed.sort();
    assert_eq!((&changed, &summary["exit_code"]), (&keys, &Value::from(0)));
    assert_eq!((first[1].0.as_str(), first[1].1.as_str()), ("GET", "/ping/c4n4ry-2"));

    sandbox.simulator.set_faults(vec!["http-404".parse().unwrap()]);
    sandbox.run(&["run"]).expect(65);
    let second = std::mem::take(&mut *heard.lock().unwrap());
    assert_eq!(second.len(), 1, "no ping after a run that failed: {second:?}");
    let summary: Value = serde_json::from_slice(&second[0].2).unwrap();
    assert_eq!(
        (&summary["open"][0]["class"], &summary["changed"]),
        (&"refused".into(), &Value::Array(vec![]))
    );
}

#[test]
fn a_failure_to_tell_changes_nothing_and_names_no_address() {
    let (heard, router) = listener(StatusCode::INTERNAL_SERVER_ERROR);
    let address = serve(router);
    let sandbox = sandbox(&address);
    for nobody in [false, true] {
        if nobody {
            for file in ["webhook", "ping"] {
                std::fs::write(sandbox.path(file), "http://127.0.0.1:1/c4n4ry").unwrap();
            }
        }
        let ran = sandbox.run(&["run"]).expect(0);
        assert!(ran.stderr.contains("the webhook was not told: "), "{ran:?}");
        assert!(ran.stderr.contains("the ping was not told: "), "{ran:?}");
        assert!(!ran.stderr.contains("c4n4ry") && !ran.stdout.contains("c4n4ry"), "{ran:?}");
    }
    assert_eq!(heard.lock().unwrap().len(), 4, "each tried twice");
    // What is no address is refused before anything starts, and not told either.
    std::fs::write(sandbox.path("ping"), "c4n4ry is no address").unwrap();
    let ran = sandbox.run(&["run"]).expect(78);
    assert!(ran.stderr.contains("`notify.ping_url_file`: ") && !ran.stderr.contains("c4n4ry"), "{ran:?}");
}

#[test]
fn every_line_of_the_log_says_which_run_it_is_of() {
    let sandbox = Sandbox::new(2, &months_ago(1), settled());
    let mut command = sandbox.command(&["run", "--log-format", "json", "--output", "json"]);
    let ran: super::support::Ran = command.env("RUST_LOG", "trendlake=debug").output().unwrap().into();
    let id = ran.json()["run_id"].clone();
    let lines: Vec<Value> = ran.stderr.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.len() > 8, "{lines:?}");
    for line in lines {
        assert_eq!(line["spans"][0]["id"], id, "{line}");
    }
}
