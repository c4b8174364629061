//! The daemon's pages and its API over HTTP: what they show, what they refuse, and that nothing that comes from
//! elsewhere is taken for markup.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use axum::body::Body;
use axum::response::Response;
use chrono::{TimeDelta, Utc};
use serde_json::{Value, json};
use trendlake::clock::Clock;
use trendlake::config::{Settings, Sources};
use trendlake::lake::Lake;
use trendlake::model::{Dataset, Month};

use super::moto::{block_on, python};
use super::serve::{Daemon, SERVE};
use super::spine::{decode, months_ago};
use super::support::{SECRET, Sandbox, gateway, settled};

/// A daemon on a lake of two streams and three months, of which the second stream is refused.
fn with_a_failure() -> (Sandbox, Daemon) {
    let sandbox = Sandbox::new(2, &months_ago(2), settled());
    sandbox.configure(2, &months_ago(2), SERVE);
    sandbox.simulator.set_faults(vec!["http-412@st-2".parse().unwrap()]);
    let daemon = Daemon::start(&sandbox);
    daemon.ready();
    (sandbox, daemon)
}

/// The body of a path that must be there.
#[track_caller]
fn page(daemon: &Daemon, path: &str) -> String {
    let (status, body) = daemon.get(path);
    assert_eq!(status, 200, "{path}: {body}");
    assert!(!body.contains(SECRET) && !body.contains("eyJ"), "{path}: a secret got out: {body}");
    body
}

#[track_caller]
fn json_of(daemon: &Daemon, path: &str) -> Value {
    serde_json::from_str(&page(daemon, path)).unwrap()
}

fn last_run(daemon: &Daemon) -> String {
    json_of(daemon, "/api/v1/runs")[0]["run_id"].as_str().unwrap().to_owned()
}

#[test]
fn an_empty_lake_has_pages_before_the_first_round_has_ended() {
    let slow = trendlake::simulator::Settings { latency: Duration::from_mins(10), ..settled() };
    let sandbox = Sandbox::new(1, &months_ago(1), slow);
    sandbox.configure(1, &months_ago(1), SERVE);
    let daemon = Daemon::start(&sandbox);
    let overview = daemon.until("/", |_, body| body.contains("/streams/st-1"));
    for text in ["There was no run yet", "4 missing", "not yet", "Run under way"] {
        assert!(overview.contains(text), "{text}: {overview}");
    }
    let stream = page(&daemon, "/streams/st-1");
    assert!(stream.contains("The lake holds no day of this range"), "{stream}");
    assert!(page(&daemon, "/runs").contains("There was no run yet"));
    assert!(page(&daemon, "/config").contains("key from the file"));
    assert_eq!(json_of(&daemon, "/api/v1/runs"), json!([]));
    assert_eq!(daemon.get("/api/v1/runs/last").0, 404);
    assert_eq!(json_of(&daemon, "/api/v1/streams/st-1/trends")["points"], json!([]));
}

#[test]
fn a_stream_with_a_failure_comes_first_with_what_to_do() {
    let (_sandbox, daemon) = with_a_failure();
    let overview = page(&daemon, "/");
    let place = |id: &str| overview.find(&format!("/streams/{id}")).unwrap();
    assert!(place("st-2") < place("st-1"), "{overview}");
    assert!(overview.contains("6 failed") && overview.contains("exit code 65"), "{overview}");
    let only = page(&daemon, "/?condition=failed");
    assert!(only.contains("/streams/st-2") && !only.contains("/streams/st-1"), "{only}");
    let only = page(&daemon, "/?q=S1");
    assert!(only.contains("/streams/st-1") && !only.contains("/streams/st-2"), "{only}");
    assert!(page(&daemon, "/?q=nobody").contains("No stream is like that"));
    assert!(page(&daemon, "/runs").contains("refused"));
    let run = page(&daemon, &format!("/runs/{}", last_run(&daemon)));
    for text in ["What to do: ", "/streams/st-2#coverage", &format!("{} to ", &months_ago(2)[..7])] {
        assert!(run.contains(text), "{text}: {run}");
    }
    let config = page(&daemon, "/config");
    for text in ["cs-1", "secret", "0 0 1 1 *", "HS256"] {
        assert!(config.contains(text), "{text}: {config}");
    }
}

#[test]
fn a_streams_page_shows_what_the_lake_holds() {
    let (sandbox, daemon) = with_a_failure();
    let month = &months_ago(1)[..7];
    let stream = page(&daemon, &format!("/streams/st-1?month={month}"));
    for text in
        ["Users by day", "Unique users of each month", "Hours of the week", "Restated figures", "Days of "]
    {
        assert!(stream.contains(text), "{text}: {stream}");
    }
    // The month's true unique users stand beside the days'.
    let files = sandbox.data_files();
    let summary = |(name, _): &&(String, Vec<u8>)| name.contains("summary") && name.contains(month);
    let (name, bytes) = files.iter().find(summary).unwrap();
    let (_, batch) = decode(name, bytes);
    let unique = batch.column_by_name("unique_users").unwrap().as_primitive::<Int64Type>().value(0);
    assert!(unique < 1000 || stream.contains(','), "a thousand is `1,000`");
    let figure =
        if unique < 1000 { unique.to_string() } else { format!("{},{:03}", unique / 1000, unique % 1000) };
    assert!(stream.contains(&format!(": {figure} unique users")), "{figure}: {stream}");
    let days = month.parse::<Month>().unwrap().days();
    assert_eq!(stream.matches("class=\"day ").count(), days as usize);
    // Other choices.
    let short = page(&daemon, &format!("/streams/st-1?from={month}-01&to={month}-02&slice=dashboard"));
    assert!(short.contains("The lake holds no day of this range"), "the dashboard's slice is not exported");
    for bad in ["from=x", "from=2026-01-02&to=2026-01-01", "slice=x", "month=2026-13", "from=1999-01-01"] {
        assert_eq!(daemon.get(&format!("/streams/st-1?{bad}")).0, 400, "{bad}");
    }
    assert_eq!(daemon.get("/streams/st-1?from=&to=&month=").0, 200, "empty fields of the form");
}

#[test]
fn fault_55_markup_in_names_and_in_the_servers_words_is_no_markup_in_pages() {
    const NAME: &str = "<script>alert(1)</script>\"'&<b>";
    let sandbox = Sandbox::new(1, &months_ago(0), settled());
    let base_url = gateway(&sandbox.simulator, |_, _| {
        let words = r#"{"errors":[{"msg":"</p><img src=x onerror=alert(2)> `<i>x</i>`","code":"<u>"}]}"#;
        Some(Response::builder().status(412).body(Body::from(words)).unwrap())
    });
    sandbox.configure(1, &months_ago(0), SERVE);
    let config = sandbox.path("trendlake.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    let text = text.replace("streams.s1", &format!("streams.{}", Value::from(NAME)));
    std::fs::write(&config, text.replace(&sandbox.base_url, &base_url)).unwrap();
    let daemon = Daemon::start(&sandbox);
    daemon.ready();
    let run = format!("/runs/{}", last_run(&daemon));
    let filter = "/?q=%3Cscript%3Ealert(1)&condition=%22%3E%3Cb%3E";
    for path in ["/", "/streams/st-1", "/runs", "/config", &run, filter, "/%3Cscript%3E"] {
        let (_, body) = daemon.get(path);
        for markup in ["<script>", "<img", "'&<b>", "<i>x", "<u>", "\"><b>"] {
            assert!(!body.contains(markup), "{path}: {markup}: {body}");
        }
        for text in body.split('<').skip(1) {
            let element = text.split('>').next().unwrap();
            assert!(!element.contains(" on") && !element.contains("style="), "{path}: <{element}>");
        }
    }
    assert!(page(&daemon, "/").contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
    assert!(page(&daemon, &run).contains("&lt;img src=x onerror=alert(2)&gt;"));
}

#[test]
fn every_answer_says_what_a_browser_may_do_with_it() {
    let (_sandbox, daemon) = with_a_failure();
    let document = json_of(&daemon, "/api/v1/openapi.json");
    let run = last_run(&daemon);
    let paths: Vec<_> =
        document["paths"]
            .as_object()
            .unwrap()
            .keys()
            .map(|path| {
                if path.contains("streams") {
                    path.replace("{id}", "st-1")
                } else {
                    path.replace("{id}", &run)
                }
            })
            .collect();
    assert!(paths.len() > 12);
    let asked = paths.iter().map(|path| ("GET", path.as_str(), "200"));
    let refused = [
        ("GET", "/nope", "404"),
        ("GET", "/streams/nobody", "404"),
        ("GET", "/runs/nobody", "404"),
        ("GET", "/runs/..%2f..%2flake.json", "404"),
        ("GET", "/streams/st-1?slice=x", "400"),
        ("GET", "/api/v1/nope", "404"),
        ("GET", "/api/v1/streams/nobody/trends", "404"),
        ("GET", "/api/v1/streams/st-1/trends?from=x", "400"),
        ("POST", "/", "405"),
    ];
    for (method, path, status) in asked.chain(refused) {
        let (head, body) = daemon.ask(method, path);
        assert!(head.starts_with(&format!("http/1.1 {status}")), "{path}: {head}");
        for header in [
            "content-security-policy: default-src 'none';",
            "x-content-type-options: nosniff",
            "referrer-policy: no-referrer",
            "frame-ancestors 'none'",
        ] {
            assert!(head.contains(header), "{path}: {header}: {head}");
        }
        assert!(!head.contains("unsafe"), "{path}: {head}");
        let json = path.starts_with("/api/");
        assert!(json == head.contains("content-type: application/json"), "{path}: {head}");
        if status == "404" && !json {
            assert!(body.contains("<h1>Not found</h1>"), "{path}: {body}");
        }
    }
}

#[test]
fn answers_are_as_the_document_says() {
    let (sandbox, daemon) = with_a_failure();
    let run = last_run(&daemon);
    let month = &months_ago(1)[..7];
    let paths = [
        "/api/v1/coverage".to_owned(),
        "/api/v1/runs".into(),
        "/api/v1/runs/last".into(),
        format!("/api/v1/runs/{run}"),
        "/api/v1/runs/nobody".into(),
        "/api/v1/openapi.json".into(),
        format!("/api/v1/streams/st-1/trends?from={month}-03&to={month}-05"),
        format!("/api/v1/streams/st-1/trends?grain=hourly&from={month}-03&to={month}-05"),
        "/api/v1/streams/st-1/trends?grain=month&slice=All%20/%20All%20/%20All".into(),
        "/api/v1/streams/st-1/trends?grain=yearly".into(),
        "/api/v1/streams/nobody/trends".into(),
        "/api/v1/streams/st-1/trends?grain=rolling_7d&slice=all".into(),
        "/api/v1/streams/st-1/trends?grain=week".into(),
    ];
    let answer = |path: &String| {
        let (status, body) = daemon.get(path);
        json!({ "path": path, "status": status, "body": serde_json::from_str::<Value>(&body).unwrap() })
    };
    let answers: Vec<_> = paths.iter().map(answer).collect();
    let points = |index: usize| answers[index]["body"]["points"].as_array().unwrap().clone();
    assert_eq!((points(6).len(), points(7).len(), points(8).len()), (3, 72, 3));
    assert_eq!((&answers[9]["status"], &answers[10]["status"]), (&json!(400), &json!(404)));
    // The figures are the lake's.
    let files = sandbox.data_files();
    let daily = |(name, _): &&(String, Vec<u8>)| name.contains("daily") && name.contains(month);
    let (name, bytes) = files.iter().find(daily).unwrap();
    let (dataset, batch) = decode(name, bytes);
    assert_eq!(dataset, Dataset::Daily);
    for (index, name) in ["unique_users", "new_users", "returning_users"].into_iter().enumerate() {
        let figures = batch.column_by_name(name).unwrap().as_primitive::<Int64Type>();
        for (row, point) in (2..5).zip(points(6)) {
            assert_eq!(point[name], figures.value(row), "{index} {point}");
        }
    }
    let said =
        held_against(&json!({ "document": json_of(&daemon, "/api/v1/openapi.json"), "answers": answers }));
    assert_eq!(said.trim(), paths.len().to_string());
}

#[test]
fn periods_are_served_beside_the_months() {
    let sandbox = Sandbox::new(1, &months_ago(2), settled());
    let config = format!("summaries = [\"month\", \"week\", \"rolling_7d\"]\n{SERVE}");
    sandbox.configure(1, &months_ago(2), &config);
    let daemon = Daemon::start(&sandbox);
    daemon.ready();
    let (first, last) = (&months_ago(1)[..7], &months_ago(0));
    let of = |grain: &str| {
        let path = format!("/api/v1/streams/st-1/trends?grain={grain}&from={first}-10&to={first}-20");
        json_of(&daemon, &path)["points"].as_array().unwrap().clone()
    };
    // Whatever touches these eleven days: 2 or 3 weeks, and periods that end from the 10th to the 26th.
    let (weeks, rolling) = (of("week"), of("rolling_7d"));
    assert!((2..=3).contains(&weeks.len()), "{weeks:?}");
    assert_eq!((rolling.len(), of("quarter").len()), (17, 0));
    let text = |point: &Value, key: &str| point[key].as_str().unwrap().to_owned();
    assert_eq!(text(&rolling[0], "end"), format!("{first}-10"));
    assert!(rolling.iter().all(|p| p["unique_users"].as_i64().unwrap() > 0 && p["averages"].is_object()));
    let same = |week: &&Value| {
        rolling.iter().any(|r| r["end"] == week["end"] && r["unique_users"] == week["unique_users"])
    };
    assert!(weeks.iter().all(|week| same(&week)), "a week is the seven days up to its last: {weeks:?}");
    let coverage = json_of(&daemon, "/api/v1/coverage");
    let units = coverage[0]["units"].as_array().unwrap();
    let is_this = |u: &&Value| u["grain"] == "periods" && u["month"] == last[..7];
    assert_eq!(units.iter().find(is_this).unwrap()["condition"], "provisional");
    let stream = page(&daemon, "/streams/st-1");
    assert!(stream.contains("<caption>periods</caption>"), "{stream}");
}

#[test]
fn restated_figures_are_told_by_month() {
    #[expect(clippy::disallowed_methods, reason = "the program under test lives in real time")]
    let clock = Clock::starting_at(Utc::now());
    let settings = trendlake::simulator::Settings { restate_days: 60, ..settled() };
    let sandbox = Sandbox::at(&clock, 2, &months_ago(2), settings);
    // They are the last stream's.
    let slices = "slices = [\"all\", \"dashboard\"]\n";
    sandbox.configure(2, &months_ago(2), &format!("{slices}{SERVE}"));
    sandbox.run(&["run"]).expect(0);
    clock.step(TimeDelta::days(3));
    sandbox.run(&["run"]).expect(0);
    let told = sandbox.run(&["status", "--restatements", "--output", "json"]).expect(0).json();
    let daemon = Daemon::start(&sandbox);
    daemon.ready();
    // Month by month: the figures of both slices together are those that `status` counts.
    let path = |slice: &str| format!("/streams/st-2?slice={slice}");
    let number = |text: &str| text.replace(',', "").parse::<u64>().unwrap();
    let figures = |page: &str| {
        let table = page.split("id=\"restated-months\"").nth(1).unwrap().split("</table>").next().unwrap();
        let cells = |row: &str| -> Vec<_> {
            row.split("<td class=\"num\">")
                .skip(1)
                .take(2)
                .map(|c| number(c.split('<').next().unwrap()))
                .collect()
        };
        let rows: Vec<_> = table.split("<tr>").skip(2).map(cells).collect();
        [0, 1].map(|grain| rows.iter().map(|row| row[grain]).sum::<u64>())
    };
    let (all, dashboard) = (page(&daemon, &path("all")), page(&daemon, &path("dashboard")));
    let expected = told[1]["grains"].as_array().unwrap();
    for (grain, sum) in expected.iter().enumerate() {
        let found = [figures(&all), figures(&dashboard)].map(|figures| figures[grain]);
        assert!(found.iter().all(|n| *n > 0), "{found:?}");
        assert_eq!(found.iter().sum::<u64>(), sum["figures"].as_u64().unwrap(), "{told}");
    }
    let most = expected.iter().map(|grain| grain["max_days"].as_u64().unwrap()).max().unwrap();
    assert!(
        [&all, &dashboard].iter().any(|page| page.contains(&format!("came {most} days after its own"))),
        "{all}"
    );
    // Of a range without any, nothing; and an object that is none is told with what to do, and hides no page.
    let month = &months_ago(0)[..7];
    let key = format!("lake/user_engagement_restatements/stream=st-2/month={month}/daily.parquet");
    let bytes = std::fs::read(sandbox.path(&key));
    for grain in ["daily", "hourly"] {
        std::fs::remove_file(sandbox.path(&key.replace("daily.parquet", &format!("{grain}.parquet"))))
            .unwrap();
    }
    let none = page(&daemon, &format!("/streams/st-2?from={month}-01"));
    assert!(none.contains("No figure of these months has changed"), "{none}");
    std::fs::write(sandbox.path(&key), &bytes.unwrap()[1..]).unwrap();
    let damaged = page(&daemon, &format!("/streams/st-2?from={month}-01"));
    assert!(damaged.contains("holds no sound restatements") && damaged.contains("What to do: "), "{damaged}");
}

fn held_against(asked: &Value) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pages/check_api.py");
    let mut child = Command::new(python("python"))
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(asked.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_damaged_object_is_named_and_a_lake_that_fails_is_told() {
    let (sandbox, daemon) = with_a_failure();
    let month = &months_ago(1)[..7];
    let path = sandbox.path(&format!("lake/user_engagement_daily/stream=st-1/month={month}/data.parquet"));
    let question = format!("/api/v1/streams/st-1/trends?from={month}-01&to={month}-02");
    std::fs::write(&path, "no Parquet at all").unwrap();
    let damaged = json_of(&daemon, &question);
    assert!(damaged["damaged"][0].as_str().unwrap().contains(month), "{damaged}");
    assert_eq!(damaged["points"], json!([]));
    let stream = page(&daemon, "/streams/st-1");
    assert!(stream.contains("1 object of the lake cannot be read"), "{stream}");
    // A link to itself cannot be opened, by whomever.
    std::fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink(&path, &path).unwrap();
    for path in [question.as_str(), "/streams/st-1"] {
        let (status, body) = daemon.get(path);
        assert_eq!(status, 503, "{body}");
        assert!(body.contains("cannot read"), "{body}");
    }
}

#[test]
fn what_went_wrong_with_a_round_or_a_configuration_is_told_on_every_page() {
    let sandbox = Sandbox::new(1, &months_ago(0), settled());
    sandbox.configure(1, &months_ago(0), SERVE);
    let settings = Settings::load(&Sources {
        file: sandbox.path("trendlake.toml"),
        lake: Some(sandbox.path("lake").display().to_string()),
        base_url: None,
    });
    let mut lake = Lake::open(&settings.unwrap().lake).unwrap();
    let lock = block_on(lake.lock()).unwrap();
    let daemon = Daemon::start(&sandbox);
    daemon.until("/", |_, body| body.contains("The last round came to nothing"));
    sandbox.configure(1, &months_ago(0), &SERVE.replace("0 0 1 1 *", "<i>never</i>"));
    daemon.signal("HUP");
    for path in ["/runs", "/config", "/nope"] {
        let body = daemon.until(path, |_, body| body.contains("A new configuration was refused"));
        assert!(body.contains("&lt;i&gt;never&lt;/i&gt;") && !body.contains("<i>"), "{path}: {body}");
    }
    drop(lock);
}

#[test]
fn a_thousand_streams_of_three_years_are_one_page() {
    let slow = trendlake::simulator::Settings { latency: Duration::from_mins(10), ..settled() };
    let sandbox = Sandbox::new(1, &months_ago(35), slow);
    let mut more = SERVE.to_owned();
    for n in 2..=1000 {
        let _ = write!(more, "[streams.s{n}]\nid = \"st-{n}\"\nclient_id = \"cs-{n}\"\n");
    }
    sandbox.configure(1, &months_ago(35), &more);
    let daemon = Daemon::start(&sandbox);
    let overview = daemon.until("/", |_, body| body.contains("/streams/st-1000\""));
    assert_eq!(overview.matches("72 missing").count(), 1000);
    assert!(overview.contains("1,000 streams with 72,000 months"));
    assert!(overview.len() < 1_500_000, "{}", overview.len());
    let found = page(&daemon, "/?q=st-1000");
    assert_eq!(found.matches("<th scope=\"row\">").count(), 1);
}
