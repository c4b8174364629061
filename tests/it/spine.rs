//! The main job, from the API's answers to the lake, by the program itself.

use std::collections::BTreeMap;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Date32Type, Int8Type, Int64Type};
use bytes::Bytes;
use chrono::{Datelike, Days, Months, NaiveDate, Utc};
use trendlake::lake::parse_key;
use trendlake::model::{Dataset, Grain, Points, Question, Slice, windows};
use trendlake::simulator::Settings;
use trendlake::table;

use super::support::{Sandbox, settled, stream_id};

/// The first day of the month that lies so many months back.
pub(crate) fn months_ago(months: u32) -> String {
    first_of_month(months).to_string()
}

#[expect(clippy::disallowed_methods, reason = "the program under test lives in real time")]
fn first_of_month(months: u32) -> NaiveDate {
    Utc::now().date_naive().with_day(1).unwrap() - Months::new(months)
}

pub(crate) fn requests(sandbox: &Sandbox) -> u64 {
    sandbox.simulator.stats().streams.values().map(|s| s.requests).sum()
}

pub(crate) fn decode(name: &str, bytes: &[u8]) -> (Dataset, RecordBatch) {
    let dataset = parse_key(name).unwrap().dataset;
    (dataset, table::decode(dataset, &Bytes::copy_from_slice(bytes)).unwrap())
}

#[test]
fn a_year_costs_24_requests_and_a_second_run_only_the_provisional_months() {
    let sandbox = Sandbox::new(1, &months_ago(11), settled());
    let plan = sandbox.run(&["plan", "--output", "json"]).expect(0).json();
    assert_eq!((plan["requests"].as_u64(), plan["units"].as_u64()), (Some(24), Some(24)));

    let report = sandbox.run(&["run", "--output", "json"]).expect(0).json();
    assert_eq!(requests(&sandbox), 24);
    assert_eq!(report["totals"]["puts"], 36);
    let before = sandbox.data_files();
    assert_eq!(before.len(), 36);

    // The month under way is provisional, and so is the one before it for its first days.
    let plan = sandbox.run(&["plan", "--output", "json"]).expect(0).json();
    let due = plan["requests"].as_u64().unwrap();
    assert!(due == 2 || due == 4, "{plan}");
    let again = sandbox.run(&["run", "--output", "json"]).expect(0).json();
    assert_eq!(requests(&sandbox), 24 + due);
    // An hour that has begun between the two runs is a new row.
    let hour = |report: &serde_json::Value| report["started_at"].as_str().unwrap()[..13].to_owned();
    if hour(&report) == hour(&again) {
        assert_eq!(again["totals"]["puts"], 0, "{again}");
        assert_eq!(sandbox.data_files(), before);
    } else {
        assert!(again["totals"]["puts"].as_u64().unwrap() <= 3, "{again}");
    }
}

#[test]
fn every_figure_of_the_source_is_in_the_lake_once() {
    let sandbox = Sandbox::new(2, &months_ago(2), settled());
    sandbox.configure(2, &months_ago(2), "slices = [\"all\", \"dashboard\", { channel = \"rtm\" }]\n");
    sandbox.run(&["run"]).expect(0);
    let world = sandbox.simulator.world();
    let mut rows = 0;
    for (name, bytes) in sandbox.data_files() {
        let partition = parse_key(&name).unwrap();
        let (dataset, batch) = decode(&name, &bytes);
        let slices: Vec<Slice> = if partition.stream == stream_id(2) {
            vec![Slice::ALL, Slice { channel: "rtm".parse().unwrap(), ..Slice::ALL }, Slice::DASHBOARD]
        } else {
            vec![Slice::ALL]
        };
        let date = |column: &str, row: usize| {
            let days = batch.column_by_name(column).unwrap().as_primitive::<Date32Type>().value(row);
            NaiveDate::from_epoch_days(days).unwrap()
        };
        let text = |column: &str, row: usize| {
            batch.column_by_name(column).unwrap().as_string::<i32>().value(row).to_owned()
        };
        let count = |column: &str, row: usize| {
            let column = batch.column_by_name(column).unwrap().as_primitive::<Int64Type>();
            column.is_valid(row).then(|| column.value(row))
        };
        let mut row = 0;
        for slice in slices {
            let end = match dataset {
                Dataset::Summary => date("period_end", row),
                _ => date("date", batch.num_rows() - 1),
            };
            let question = Question {
                stream: partition.stream.clone(),
                grain: dataset.grain(),
                slice: slice.clone(),
                zone: chrono_tz::UTC,
                window: windows(partition.month.first_day(), end).next().unwrap(),
            };
            // The figures have settled, so the time of asking does not matter, but for today.
            let (summary, points) = world.answer(&question, fetched_at(&batch, row));
            let expected: Vec<(NaiveDate, Option<u8>, [Option<i64>; 3])> = match (dataset, points) {
                (Dataset::Summary, _) => vec![(question.window.start, None, summary.counts.as_array())],
                (_, Points::Daily(points)) => {
                    points.iter().map(|p| (p.date, None, p.counts.as_array())).collect()
                }
                (_, Points::Hourly(points)) => {
                    let now = fetched_at(&batch, row).naive_utc();
                    points
                        .iter()
                        .filter(|p| p.date.and_hms_opt(p.hour.into(), 0, 0).unwrap() <= now)
                        .map(|p| (p.date, Some(p.hour), p.counts.as_array()))
                        .collect()
                }
            };
            for (day, hour, figures) in expected {
                assert_eq!(text("conversation_type", row), slice.conversation_type.as_str());
                assert_eq!(text("channel", row), slice.channel.as_str());
                let column = if dataset == Dataset::Summary { "period_start" } else { "date" };
                assert_eq!(date(column, row), day, "{name} row {row}");
                if let Some(hour) = hour {
                    let hours = batch.column_by_name("hour").unwrap().as_primitive::<Int8Type>();
                    assert_eq!(hours.value(row), hour.cast_signed());
                }
                let found = ["unique_users", "new_users", "returning_users"].map(|c| count(c, row));
                assert_eq!(found, figures, "{name} row {row}");
                row += 1;
            }
        }
        assert_eq!(row, batch.num_rows(), "{name}");
        rows += row;
    }
    assert!(rows > 2 * 60 * 25, "only {rows} rows");
}

fn fetched_at(batch: &RecordBatch, row: usize) -> chrono::DateTime<Utc> {
    let column = batch.column_by_name("fetched_at").unwrap();
    let micros = column.as_primitive::<arrow::datatypes::TimestampMicrosecondType>().value(row);
    chrono::DateTime::from_timestamp_micros(micros).unwrap()
}

#[test]
fn a_deleted_partition_comes_back_and_nothing_else_is_asked() {
    let sandbox = Sandbox::new(1, &months_ago(6), settled());
    sandbox.run(&["run"]).expect(0);
    let before: BTreeMap<_, _> = sandbox.data_files().into_iter().collect();
    let month = &months_ago(4)[..7];
    let key = format!("user_engagement_hourly/stream=st-1/month={month}/data.parquet");
    std::fs::remove_file(sandbox.path("lake").join(&key)).unwrap();
    let asked = requests(&sandbox);
    let plan = sandbox.run(&["plan", "--output", "json"]).expect(0).json();
    sandbox.run(&["run"]).expect(0);
    assert_eq!(requests(&sandbox) - asked, plan["requests"].as_u64().unwrap());
    let units = plan["streams"][0]["units"].as_array().unwrap();
    let missing: Vec<_> = units.iter().filter(|u| u["reason"] == "missing").collect();
    assert_eq!(missing.len(), 1);
    assert_eq!((missing[0]["grain"].as_str(), missing[0]["month"].as_str()), (Some("hourly"), Some(month)));
    let after: BTreeMap<_, _> = sandbox.data_files().into_iter().collect();
    let (_, old) = decode(&key, &before[&key]);
    let (_, new) = decode(&key, &after[&key]);
    assert_eq!(table::content_hash(&old), table::content_hash(&new));
}

#[test]
fn changed_slices_make_partitions_stale_and_the_plan_says_so() {
    let sandbox = Sandbox::new(1, &months_ago(5), settled());
    sandbox.run(&["run"]).expect(0);
    sandbox.configure(1, &months_ago(5), "slices = [\"all\", \"dashboard\"]\n");
    let plan = sandbox.run(&["plan", "--output", "json"]).expect(0).json();
    let units = plan["streams"][0]["units"].as_array().unwrap();
    assert_eq!(plan["requests"], 2 * 12);
    assert!(units.iter().filter(|u| u["reason"] == "stale").count() >= 8, "{plan}");
    sandbox.run(&["run"]).expect(0);
    for (name, bytes) in sandbox.data_files() {
        let (_, batch) = decode(&name, &bytes);
        let types = batch.column_by_name("conversation_type").unwrap().as_string::<i32>();
        assert_eq!((types.value(0), types.value(batch.num_rows() - 1)), ("All", "Interactive"), "{name}");
    }
}

#[test]
fn a_later_first_date_takes_no_rows_away() {
    let sandbox = Sandbox::new(1, &months_ago(0), settled());
    sandbox.run(&["run"]).expect(0);
    let rows = |sandbox: &Sandbox| -> usize {
        sandbox.data_files().iter().map(|(name, bytes)| decode(name, bytes).1.num_rows()).sum()
    };
    let before = rows(&sandbox);
    let later = first_of_month(0) + Days::new(1);
    sandbox.configure(1, &later.to_string(), "");
    sandbox.run(&["run"]).expect(0);
    assert!(rows(&sandbox) >= before);
}

#[test]
fn a_backfill_reaches_before_the_first_date_and_can_be_forced() {
    let sandbox = Sandbox::new(2, &months_ago(0), settled());
    let (from, to) = (&months_ago(8)[..7], &months_ago(6)[..7]);
    let backfill = ["backfill", "--from", from, "--to", to, "--stream", "s2", "--output", "json"];
    let report = sandbox.run(&backfill).expect(0).json();
    assert_eq!(
        (report["totals"]["requests"].as_u64(), report["totals"]["puts"].as_u64()),
        (Some(6), Some(9))
    );
    assert_eq!(sandbox.run(&backfill).expect(0).json()["totals"]["requests"], 0);
    let forced = [&backfill[..], &["--force"]].concat();
    let report = sandbox.run(&forced).expect(0).json();
    assert_eq!(
        (report["totals"]["requests"].as_u64(), report["totals"]["puts"].as_u64()),
        (Some(6), Some(0))
    );
    assert!(sandbox.data_files().iter().all(|(name, _)| name.contains("stream=st-2")));
}

#[test]
fn the_hour_by_hour_grain_follows_the_zone() {
    // Kolkata has no changes of the clocks: 24 hours, half an hour off UTC.
    let sandbox = Sandbox::new(1, &months_ago(3), settled());
    sandbox.configure(1, &months_ago(3), "zone = \"Asia/Kolkata\"\ngrains = [\"hourly\"]\n");
    sandbox.run(&["run"]).expect(0);
    let files = sandbox.data_files();
    assert!(files.iter().all(|(name, _)| parse_key(name).unwrap().dataset.grain() == Grain::Hourly));
    let (_, batch) = decode(&files[0].0, &files[0].1);
    let starts = batch.column_by_name("hour_start").unwrap();
    let starts = starts.as_primitive::<arrow::datatypes::TimestampMicrosecondType>();
    let first = chrono::DateTime::from_timestamp_micros(starts.value(0)).unwrap();
    assert_eq!(first, (first_of_month(3) - Days::new(1)).and_hms_opt(18, 30, 0).unwrap().and_utc());
}

/// The unique users in the month summaries, by key.
fn summaries(sandbox: &Sandbox) -> BTreeMap<String, Option<i64>> {
    let files = sandbox.data_files().into_iter().filter(|(name, _)| name.contains("_summary/"));
    files
        .map(|(name, bytes)| {
            let (_, batch) = decode(&name, &bytes);
            let column = batch.column_by_name("unique_users").unwrap().as_primitive::<Int64Type>();
            (name, column.is_valid(0).then(|| column.value(0)))
        })
        .collect()
}

#[test]
fn a_server_that_takes_no_whole_month_is_asked_in_pieces() {
    let sandbox = Sandbox::new(1, &months_ago(2), Settings { max_days: Some(7), ..settled() });
    let report = sandbox.run(&["run", "--output", "json"]).expect(0).json();
    let warnings = report["warnings"].to_string();
    assert!(warnings.contains("takes no whole month"), "{warnings}");
    assert!(summaries(&sandbox).values().any(Option::is_none));
    // The days are as if they had been asked for in one piece.
    let whole = Sandbox::new(1, &months_ago(2), settled());
    whole.run(&["run"]).expect(0);
    let month = &months_ago(2)[..7];
    let days = |sandbox: &Sandbox| {
        let key = format!("user_engagement_hourly/stream=st-1/month={month}/data.parquet");
        let files: BTreeMap<_, _> = sandbox.data_files().into_iter().collect();
        table::content_hash(&decode(&key, &files[&key]).1)
    };
    assert_eq!(days(&sandbox), days(&whole));
    // A summary that is there is not lost to a server that has become stricter.
    let before = summaries(&whole);
    whole.configure(1, &months_ago(2), "max_range_days = 7\n");
    whole.run(&["backfill", "--from", month, "--force"]).expect(0);
    assert_eq!(summaries(&whole), before);
}

#[test]
fn an_outage_that_passes_costs_no_summary() {
    for failures in [3, 5, 6, 8, 20] {
        let sandbox = Sandbox::new(1, &months_ago(3), settled());
        sandbox.simulator.set_faults(vec![format!("http-503:first={failures}").parse().unwrap()]);
        let ran = sandbox.run(&["run"]);
        assert!([0, 10, 75].contains(&ran.code), "{ran:?}");
        sandbox.run(&["run"]).expect(0);
        let found = summaries(&sandbox);
        assert_eq!(found.len(), 4);
        assert!(found.values().all(Option::is_some), "after {failures} failures: {found:?}");
    }
}

#[test]
fn a_changed_settling_time_is_followed_both_ways() {
    let sandbox = Sandbox::new(1, &months_ago(3), settled());
    let finals = |sandbox: &Sandbox| -> usize {
        let files = sandbox.data_files();
        let batches = files.iter().map(|(name, bytes)| decode(name, bytes).1);
        batches.map(|b| b.column_by_name("is_final").unwrap().as_boolean().true_count()).sum()
    };
    let settle = |days: u16| sandbox.configure(1, &months_ago(3), &format!("settle_days = {days}\n"));
    let due = |sandbox: &Sandbox| {
        sandbox.run(&["plan", "--output", "json"]).expect(0).json()["requests"].as_u64().unwrap()
    };
    settle(45);
    sandbox.run(&["run"]).expect(0);
    let late = finals(&sandbox);
    settle(0);
    assert!(due(&sandbox) > 2);
    sandbox.run(&["run"]).expect(0);
    assert!(finals(&sandbox) > late);
    assert_eq!(due(&sandbox), 2, "only the month under way");
    settle(45);
    assert!(due(&sandbox) > 2, "the last month was fetched too early for the longer time");
}

#[test]
fn the_demo_leaves_a_configuration_of_ones_own_alone() {
    let sandbox = Sandbox::new(1, &months_ago(0), settled());
    let before = std::fs::read(sandbox.path("trendlake.toml")).unwrap();
    sandbox.run(&["demo", "."]).expect(2);
    assert_eq!(std::fs::read(sandbox.path("trendlake.toml")).unwrap(), before);
    let demo = sandbox.run(&["demo"]).expect(0);
    assert!(demo.stdout.contains("72 units: 72 committed"), "{}", demo.stdout);
    sandbox.run(&["demo"]).expect(0);
}

#[test]
fn a_simulator_is_reached_past_any_proxy() {
    let sandbox = Sandbox::new(1, &months_ago(0), settled());
    let output = sandbox
        .command(&["run"])
        .env("HTTP_PROXY", "http://127.0.0.1:1")
        .env("http_proxy", "http://127.0.0.1:1")
        .output()
        .unwrap();
    super::support::Ran::from(output).expect(0);
}

#[test]
fn links_in_a_lake_are_not_followed() {
    let sandbox = Sandbox::new(1, &months_ago(0), settled());
    sandbox.run(&["run"]).expect(0);
    let outside = sandbox.path("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("data.parquet"), "theirs").unwrap();
    let stream = sandbox.path("lake/user_engagement_daily/stream=st-1");
    std::os::unix::fs::symlink(&outside, stream.join("month=2020-01")).unwrap();
    let plan = sandbox.run(&["plan", "--output", "json"]).expect(0).json();
    assert_eq!(plan["foreign"], serde_json::json!(["user_engagement_daily/stream=st-1/month=2020-01"]));
}

#[test]
fn a_lake_in_use_is_left_to_its_user() {
    let sandbox = Sandbox::new(1, &months_ago(0), settled());
    sandbox.run(&["run"]).expect(0);
    let lock = std::fs::File::open(sandbox.path("lake/_trendlake/lock")).unwrap();
    lock.lock().unwrap();
    sandbox.run(&["run"]).expect(12);
    sandbox.run(&["plan"]).expect(0);
    sandbox.run(&["status"]).expect(0);
}

/// Serves the two sample answers, whatever the question, until the test ends.
fn sample_server() -> String {
    let answer = async |request: axum::extract::Request| {
        let query = request.uri().query().unwrap();
        let grain = if query.contains("aggregation_type=hourly") { "hourly" } else { "daily" };
        std::fs::read(format!("tests/data/{grain}.json")).unwrap()
    };
    let path = "/api/public/bot/{stream}/v2/userEngagementTrend";
    super::support::serve(axum::Router::new().route(path, axum::routing::post(answer)))
}

#[test]
fn the_samples_arrive_in_parquet_figure_by_figure() {
    let sandbox = Sandbox::new(1, "2026-03-27", settled());
    let base_url = sample_server();
    // Its answers are right for the end of March only; all other months are refused, and stay open.
    let ran = sandbox.run(&["run", "--base-url", &base_url]).expect(65);
    assert!(ran.stderr.contains("was not asked for"), "{}", ran.stderr);
    let sample = |grain: &str| -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(format!("tests/data/{grain}.json")).unwrap()).unwrap()
    };
    let (daily, hourly) = (sample("daily"), sample("hourly"));
    let trends = ["uniqueUsersTrend", "newUsersTrend", "returningUsersTrend"];
    let columns = ["unique_users", "new_users", "returning_users"];
    let files: BTreeMap<_, _> = sandbox.data_files().into_iter().collect();
    assert_eq!(files.len(), 3);
    let mut compared = 0;
    for (name, bytes) in files {
        let (dataset, batch) = decode(&name, &bytes);
        let figure = |column: &str, row: usize| {
            batch.column_by_name(column).unwrap().as_primitive::<Int64Type>().value(row)
        };
        for (trend, column) in trends.iter().zip(columns) {
            let rows: Vec<i64> = match dataset {
                Dataset::Daily => {
                    let points = daily[trend]["dataPoints"].as_array().unwrap();
                    points.iter().map(|p| p["users"].as_i64().unwrap()).collect()
                }
                Dataset::Hourly => {
                    let points = hourly[trend]["dataPoints"].as_array().unwrap();
                    let hours = |p: &serde_json::Value| -> Vec<i64> {
                        (0..24).map(|h| p[format!("{h} - {}", (h + 1) % 24)].as_i64().unwrap()).collect()
                    };
                    points.iter().flat_map(hours).collect()
                }
                Dataset::Summary => {
                    vec![daily["summary"][trend.replace("Trend", "")].as_i64().unwrap()]
                }
                Dataset::Periods => panic!("no periods were asked for"),
            };
            assert_eq!(batch.num_rows(), rows.len(), "{name}");
            for (row, expected) in rows.into_iter().enumerate() {
                assert_eq!(figure(column, row), expected, "{name}: {column} in row {row}");
                compared += 1;
            }
        }
    }
    assert_eq!(compared, 3 * (5 + 5 * 24 + 1));
}

#[test]
fn a_run_right_after_another_keeps_the_rate_limit() {
    use std::time::Duration;
    let limits = vec![(4, Duration::from_secs(1)), (8, Duration::from_millis(1500))];
    let sandbox = Sandbox::new(1, &months_ago(2), Settings { limits, ..settled() });
    let rules = "rate_limits = [{ requests = 4, per = \"1s\" }, { requests = 8, per = \"1500ms\" }]\n";
    sandbox.configure(1, &months_ago(2), rules);
    for _ in 0..3 {
        sandbox.run(&["backfill", "--from", &months_ago(2)[..7], "--force"]).expect(0);
    }
    let stats = sandbox.simulator.stats();
    let stream = &stats.streams[&stream_id(1)];
    assert_eq!((stream.requests, stream.refused), (18, 0));
}

#[test]
fn fault_26_zeros_where_settled_days_held_users_are_parked() {
    let sandbox = Sandbox::new(2, &months_ago(2), settled());
    // Months stay provisional for long enough to be asked again, with days that have settled. On one
    // day of each month a stream has no such month; two streams have different such days.
    let second = "settle_days = 25\n[streams.s2]\nid = \"st-2\"\nclient_id = \"cs-2\"\nsettle_days = 10\n";
    sandbox.configure(1, &months_ago(2), second);
    sandbox.run(&["run"]).expect(0);
    let before = sandbox.data_files();
    sandbox.simulator.set_faults(vec!["all-zero".parse().unwrap()]);
    let report = sandbox.run(&["run", "--output", "json"]).expect(65).json();
    let suspects: Vec<_> =
        report["units"].as_array().unwrap().iter().filter(|u| u["class"] == "suspect").collect();
    assert!(!suspects.is_empty(), "{report}");
    let after: BTreeMap<_, _> = sandbox.data_files().into_iter().collect();
    for suspect in &suspects {
        let part = format!(
            "{}/stream={}/month={}/",
            suspect["grain"].as_str().unwrap(),
            suspect["stream"].as_str().unwrap(),
            suspect["month"].as_str().unwrap()
        );
        for (name, bytes) in before.iter().filter(|(name, _)| name.contains(&part)) {
            assert_eq!(&after[name], bytes, "{name} was replaced");
        }
    }
    assert!(sandbox.run(&["status"]).expect(0).stdout.contains("suspect"));
    // A good answer later settles it, and nothing stays parked.
    sandbox.simulator.set_faults(vec![]);
    sandbox.run(&["run"]).expect(0);
    assert!(!sandbox.run(&["status"]).expect(0).stdout.contains("suspect"));
}
