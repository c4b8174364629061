//! Rate limits that the server speaks of, or that someone else has used up: faults 07 and 09.

use std::time::Duration;

use axum::body::Body;
use axum::http::StatusCode;
use axum::response::Response;
use trendlake::simulator::Settings;

use super::spine::{months_ago, requests};
use super::support::{Ran, Sandbox, gateway, settled};

/// Too many requests, with these headers.
fn refused(headers: &[(&'static str, String)]) -> Response {
    let mut response = Response::builder().status(StatusCode::TOO_MANY_REQUESTS);
    for (name, value) in headers {
        response = response.header(*name, value);
    }
    response
        .body(Body::from(r#"{"errors":[{"msg":"Rate limit for this API has been reached.","code":429}]}"#))
        .unwrap()
}

/// A run whose first call, or each, is refused with these headers; how long it waited, in milliseconds.
fn waited(headers: &[(&'static str, String)], calls: usize, most: &str) -> (Ran, Sandbox, u64) {
    let sandbox = Sandbox::new(1, &months_ago(0), settled());
    sandbox.configure(1, &months_ago(0), "grains = [\"daily\"]\n");
    let headers = headers.to_vec();
    let base_url = gateway(&sandbox.simulator, move |call, _| (call < calls).then(|| refused(&headers)));
    let mut command = sandbox.command(&["run", "--output", "json", "--base-url", &base_url]);
    let ran = Ran::from(command.env("TRENDLAKE__RETRY__MAX_RATE_WAIT", most).output().unwrap());
    let wait = ran.json()["totals"]["rate_wait_ms"].as_u64().unwrap();
    (ran, sandbox, wait)
}

#[test]
fn fault_07_a_hint_is_followed() {
    let date = |secs: u64| httpdate::fmt_http_date(std::time::UNIX_EPOCH + Duration::from_secs(secs));
    // By the server's own clock, whatever it shows.
    let dated = [("retry-after", date(1_000_000_001)), ("date", date(1_000_000_000))];
    for headers in [&[("retry-after", "1".to_owned())][..], &dated] {
        // Without a hint, it would be a minute.
        let (ran, sandbox, wait) = waited(headers, 1, "1h");
        assert_eq!(ran.expect(0).json()["totals"]["retries"], 1);
        // It is counted from where the next attempt begins to wait, a little after the refusal.
        assert!((500..60_000).contains(&wait), "{headers:?}: {wait} ms");
        assert_eq!(sandbox.data_files().len(), 2);
    }
}

#[test]
fn fault_07_a_hint_that_is_none_or_too_much_is_bounded() {
    for hint in [
        "0",
        "-5",
        "1000000000",
        "18446744073709551615",
        "99999999999999999999",
        "1.5",
        "soon",
        "",
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Fri, 31 Dec 9999 23:59:59 GMT",
    ] {
        let headers = [("retry-after", hint.to_owned())];
        let (ran, sandbox, wait) = waited(&headers, 1, "20ms");
        let totals = ran.expect(0).json()["totals"].clone();
        assert_eq!(totals["retries"], 1, "{hint:?}");
        assert!(wait < 60_000, "{hint:?}: {wait} ms");
        assert_eq!(sandbox.data_files().len(), 2, "{hint:?}");
        // One question waits only for so long, all in all.
        let (ran, sandbox, _) = waited(&headers, usize::MAX, "20ms");
        let report = ran.expect(75).json();
        assert_eq!(report["units"][0]["class"], "rate_limited", "{hint:?}");
        assert!(report["totals"]["requests"].as_u64().unwrap() <= 3, "{hint:?}: {report}");
        assert!(sandbox.data_files().is_empty(), "{hint:?}");
    }
}

#[test]
fn fault_09_another_client_eats_the_budget() {
    let hour = vec![(10, Duration::from_hours(1))];
    let sandbox = Sandbox::new(1, &months_ago(5), Settings { limits: hour, ..settled() });
    sandbox.configure(1, &months_ago(5), "[concurrency]\nunits_per_stream = 1\n");
    // Another lake is another client: neither knows what the other asks.
    let month = &months_ago(8)[..7];
    let to = &months_ago(6)[..7];
    sandbox.run(&["backfill", "--from", month, "--to", to, "--lake", "other"]).expect(0);
    assert_eq!(requests(&sandbox), 6);

    let run = |base_url: &str| {
        let mut command = sandbox.command(&["run", "--output", "json", "--base-url", base_url]);
        Ran::from(command.env("TRENDLAKE__RETRY__MAX_RATE_WAIT", "20ms").output().unwrap())
    };
    let report = run(&sandbox.base_url).expect(10).json();
    let of = |outcome: &str| {
        report["units"].as_array().unwrap().iter().filter(|u| u["outcome"] == outcome).count()
    };
    assert_eq!((of("committed"), of("failed")), (4, 8), "{report}");
    let classes = report["units"].as_array().unwrap().iter().filter_map(|u| u["class"].as_str());
    assert!(classes.into_iter().all(|class| class == "rate_limited"), "{report}");
    let before = sandbox.data_files();
    assert_eq!(before.len(), 6, "two months of both grains");

    // An hour later: a server with the same figures that nobody has asked anything.
    let later = Sandbox::new(1, &months_ago(5), settled());
    run(&later.base_url).expect(0);
    let after = sandbox.data_files();
    assert_eq!(after.len(), 18);
    // The rest, and what is provisional: the newest month, and the one before on its first days.
    assert!([8 + 2, 8 + 4].contains(&requests(&later)), "{}", requests(&later));
    for (name, bytes) in before.iter().filter(|(name, _)| name.contains("_daily/")) {
        let now = &after.iter().find(|(n, _)| n == name).unwrap().1;
        assert_eq!(now, bytes, "{name}");
    }
}
