//! Time goes by, goes wrong, or is cut oddly: faults 27, 30 and 32.

use std::sync::{Arc, Mutex};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Date32Type, Int8Type, Int64Type, TimestampMicrosecondType};
use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use trendlake::clock::Clock;
use trendlake::export::Observer;
use trendlake::model::{Counts, Dataset, Grain, Points, Question, RESTATEMENTS, Slice, windows};
use trendlake::report::{Outcome, Report, UnitReport};
use trendlake::simulator::Settings;
use trendlake::table;

use super::inside::{Nobody, partition, run, run_at};
use super::spine::months_ago;
use super::support::{Sandbox, gateway, settled, stream_id};

const COUNTS: [&str; 3] = ["unique_users", "new_users", "returning_users"];

fn at(text: &str) -> Clock {
    Clock::starting_at(text.parse().unwrap())
}

fn day(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

/// The three figures of each row.
fn figures(batch: &RecordBatch) -> Vec<[Option<i64>; 3]> {
    let columns = COUNTS.map(|name| batch.column_by_name(name).unwrap().as_primitive::<Int64Type>());
    (0..batch.num_rows())
        .map(|row| columns.map(|column| column.is_valid(row).then(|| column.value(row))))
        .collect()
}

/// What the simulator says at `now` of these days, up to and with `now`.
fn truth(sandbox: &Sandbox, grain: Grain, ends: (&str, &str), now: DateTime<Utc>) -> Vec<[Option<i64>; 3]> {
    let question = Question {
        stream: stream_id(1),
        grain,
        slice: Slice::ALL,
        zone: chrono_tz::UTC,
        window: windows(day(ends.0), day(ends.1)).next().unwrap(),
    };
    match sandbox.simulator.world().answer(&question, now).1 {
        Points::Daily(points) => points.iter().map(|p| Counts::as_array(p.counts)).collect(),
        Points::Hourly(points) => {
            let begun =
                points.iter().filter(|p| p.date.and_hms_opt(p.hour.into(), 0, 0).unwrap() <= now.naive_utc());
            begun.map(|p| p.counts.as_array()).collect()
        }
    }
}

#[track_caller]
fn all_done(report: &Report) {
    let done = |u: UnitReport| matches!(u.outcome, Outcome::Committed { .. } | Outcome::Unchanged);
    assert!(report.exit_code == 0 && report.units.iter().all(done), "{report:#?}");
}

#[test]
fn fault_27_the_vendor_restates_an_old_day() {
    let clock = at("2026-03-20T12:30:00Z");
    // Figures grow for a month, though after three days they count as settled.
    let sandbox = Sandbox::at(&clock, 1, "2026-03-01", Settings { restate_days: 30, ..settled() });
    all_done(&run(&clock, &sandbox));
    let datasets = [(Dataset::Daily, Grain::Daily), (Dataset::Hourly, Grain::Hourly)];
    let before = datasets.map(|(dataset, _)| partition(&sandbox, dataset, "2026-03").1);
    assert!(before[0].column_by_name("is_final").unwrap().as_boolean().value(0), "the first has settled");

    clock.step(TimeDelta::days(3));
    let report = run(&clock, &sandbox);
    all_done(&report);
    let mut restated = 0;
    for ((dataset, grain), before) in datasets.into_iter().zip(before) {
        let after = partition(&sandbox, dataset, "2026-03").1;
        assert_eq!(figures(&after), truth(&sandbox, grain, ("2026-03-01", "2026-03-23"), clock.now()));
        let rows = if grain == Grain::Daily { 1 } else { 24 };
        assert_ne!(
            figures(&after)[..rows],
            figures(&before)[..rows],
            "{dataset}: the first day is as it was"
        );
        // With one slice, what was there is the beginning of what is there now. What was not over at half past
        // twelve has grown, and was not restated.
        let over = if grain == Grain::Daily { 19 } else { 19 * 24 + 12 };
        let mut expected = Vec::new();
        for (row, (before, after)) in figures(&before).into_iter().zip(figures(&after)).take(over).enumerate()
        {
            for (metric, (before, after)) in COUNTS.into_iter().zip(before.into_iter().zip(after)) {
                if before != after {
                    expected.push((row, metric.to_owned(), before, after));
                }
            }
        }
        expected.sort();
        let told = restatements(&sandbox, grain, "2026-03");
        assert_eq!(told, expected, "{grain}");
        restated += told.len();
    }
    assert!(restated > 100, "{restated}");
    assert_eq!(report.totals.restated, restated as u64);
    assert!(sandbox.run(&["verify"]).stdout.contains("5 objects read"));

    // The first day was restated on the 23rd, when it was 22 days old.
    let told = sandbox.run(&["status", "--restatements", "--output", "json"]).expect(0).json();
    let (stream, daily) = (&told[0], &told[0]["grains"][0]);
    assert_eq!((&daily["grain"], &daily["max_days"]), (&"daily".into(), &22.into()), "{told}");
    assert_eq!((&stream["settle_days"], &stream["settle_days_all"]), (&3.into(), &22.into()), "{told}");
    let figures = told[0]["grains"].as_array().unwrap().iter().map(|g| g["figures"].as_u64().unwrap());
    assert_eq!(figures.sum::<u64>(), report.totals.restated);
    let text = sandbox.run(&["status", "--restatements"]).expect(0).stdout;
    assert!(text.contains("  settle_days = 22 would cover all of this"), "{text}");

    // An answer that changes nothing restates nothing.
    let before = super::support::walk(&sandbox.path(&format!("lake/{RESTATEMENTS}")));
    let before: Vec<_> = before.into_iter().map(|path| std::fs::read(path).unwrap()).collect();
    let report = run(&clock, &sandbox);
    assert_eq!((before.len(), report.totals.restated), (2, 0));
    assert!(super::support::walk(&sandbox.path("lake/_trendlake/parked")).is_empty());
}

/// The restated figures of the first stream: the row, counted from the month's beginning, the metric, the old
/// value and the new one. Sorted.
fn restatements(
    sandbox: &Sandbox,
    grain: Grain,
    month: &str,
) -> Vec<(usize, String, Option<i64>, Option<i64>)> {
    let path = format!("lake/{RESTATEMENTS}/stream=st-1/month={month}/{grain}.parquet");
    let bytes = std::fs::read(sandbox.path(&path)).unwrap().into();
    let rows = table::decode_restatements(&bytes).unwrap().rows;
    let column = |name: &str| rows.column_by_name(name).unwrap();
    let figure = |name: &str, row: usize| {
        let column = column(name).as_primitive::<Int64Type>();
        column.is_valid(row).then(|| column.value(row))
    };
    let first = day(&format!("{month}-01")).to_epoch_days();
    let line = |row: usize| {
        let days = column("date").as_primitive::<Date32Type>().value(row) - first;
        let hour = column("hour").as_primitive::<Int8Type>();
        let place = if hour.is_valid(row) { days * 24 + i32::from(hour.value(row)) } else { days };
        let metric = column("metric").as_string::<i32>().value(row).to_owned();
        (usize::try_from(place).unwrap(), metric, figure("old_value", row), figure("new_value", row))
    };
    let mut lines: Vec<_> = (0..rows.num_rows()).map(line).collect();
    lines.sort();
    lines
}

#[test]
fn fault_30_a_clock_ten_minutes_off() {
    for (secs, minutes) in [(630, "10 min"), (-630, "-10 min")] {
        #[expect(clippy::disallowed_methods, reason = "the program under test lives in real time")]
        let server = Clock::starting_at(Utc::now() + TimeDelta::seconds(secs));
        let sandbox = Sandbox::at(&server, 1, &months_ago(1), settled());
        let ran = sandbox.run(&["run"]).expect(0);
        assert!(ran.stdout.contains(&format!("the API's clock is {minutes} away")), "{}", ran.stdout);
        assert_eq!(sandbox.data_files().len(), 6);
        // Where the credentials are refused for another reason, the hint still names the clock.
        std::fs::write(sandbox.path("secret"), "another secret").unwrap();
        let ran = sandbox.run(&["run"]).expect(77);
        assert!(ran.stderr.contains("hint: the server's clock is "), "{}", ran.stderr);
    }
}

/// Steps the clock once, when the first unit is done.
struct Step(Clock, Mutex<Option<TimeDelta>>);

impl Observer for Step {
    fn unit_done(&self, _: &UnitReport) {
        if let Some(by) = self.1.lock().unwrap().take() {
            self.0.step(by);
        }
    }
}

#[test]
fn fault_30_a_clock_that_steps_during_a_run() {
    // The second begins on the first day of a month: a day earlier, that month has not begun.
    for (start, step) in [
        ("2026-03-20T12:30:00Z", TimeDelta::hours(1)),
        ("2026-03-20T12:30:00Z", TimeDelta::hours(-1)),
        ("2026-03-20T12:30:00Z", TimeDelta::days(-1)),
        ("2026-03-01T12:30:00Z", TimeDelta::days(-1)),
    ] {
        let (ours, servers) = (at(start), at(start));
        let sandbox = Sandbox::at(&servers, 1, "2026-01-01", settled());
        sandbox.configure(1, "2026-01-01", "[concurrency]\nunits_per_stream = 1\n");
        let first = run(&ours, &sandbox);
        all_done(&first);
        assert_eq!(first.units.len(), 6);
        let before = sandbox.data_files();
        // What is provisional is asked again, and the clock steps when the first of it is done.
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (log, clock) = (asked.clone(), ours.clone());
        let base_url = gateway(&sandbox.simulator, move |_, request| {
            let query = request.uri().query().unwrap();
            let end = query.split('&').find_map(|pair| pair.strip_prefix("end_date=")).unwrap();
            log.lock().unwrap().push((day(end), clock.now().date_naive()));
            None
        });
        let report = run_at(&ours, &sandbox, &base_url, Step(ours.clone(), Mutex::new(Some(step))));
        all_done(&report);
        let asked = asked.lock().unwrap();
        assert!(!asked.is_empty());
        assert!(asked.iter().all(|(end, today)| end <= today), "{start} {step}: {asked:?}");
        never_back(&before, &sandbox.data_files());
    }
}

#[track_caller]
fn never_back(before: &[(String, Vec<u8>)], after: &[(String, Vec<u8>)]) {
    let fetched_at = |files: &[(String, Vec<u8>)]| -> Vec<DateTime<Utc>> {
        let footer = |(_, bytes): &(String, Vec<u8>)| {
            trendlake::table::read_footer(&bytes.clone().into()).unwrap().fetched_at
        };
        files.iter().map(footer).collect()
    };
    assert_eq!(before.len(), after.len());
    let pairs: Vec<_> = fetched_at(before).into_iter().zip(fetched_at(after)).collect();
    assert!(pairs.iter().all(|(before, after)| before <= after), "{pairs:?}");
}

#[test]
fn fault_30_a_clock_that_steps_back_a_day_between_runs() {
    let clock = at("2026-03-20T12:30:00Z");
    // The server goes by the same clock: what lies ahead has not happened for it either.
    let sandbox = Sandbox::at(&clock, 1, "2026-03-01", settled());
    all_done(&run(&clock, &sandbox));
    let first = sandbox.data_files();
    clock.step(TimeDelta::days(-1));
    all_done(&run_at(&clock, &sandbox, &sandbox.base_url, Nobody));
    let second = sandbox.data_files();
    never_back(&first, &second);
    let (_, batch) = partition(&sandbox, Dataset::Daily, "2026-03");
    let dates = batch.column_by_name("date").unwrap().as_primitive::<Date32Type>();
    let last = NaiveDate::from_epoch_days(dates.value(batch.num_rows() - 1)).unwrap();
    assert_eq!(last, day("2026-03-19"), "a day to come is no row");

    clock.step(TimeDelta::days(2));
    all_done(&run(&clock, &sandbox));
    never_back(&second, &sandbox.data_files());
    for (dataset, grain) in [(Dataset::Daily, Grain::Daily), (Dataset::Hourly, Grain::Hourly)] {
        let (_, batch) = partition(&sandbox, dataset, "2026-03");
        assert_eq!(figures(&batch), truth(&sandbox, grain, ("2026-03-01", "2026-03-21"), clock.now()));
    }
}

/// Hours of a day, and when they begin; never, where a change of the clocks skips them.
type Starts = [(usize, Option<&'static str>)];

#[test]
fn fault_32_days_of_23_and_25_hours() {
    // By zone: a day, and when some of its hours begin.
    let cases: [(&str, &str, &Starts); 4] = [
        (
            "America/New_York",
            "2026-03-08",
            &[(1, Some("2026-03-08T06:00:00Z")), (2, None), (3, Some("2026-03-08T07:00:00Z"))],
        ),
        (
            "America/New_York",
            "2026-11-01",
            &[
                (0, Some("2026-11-01T04:00:00Z")),
                (1, Some("2026-11-01T05:00:00Z")),
                (2, Some("2026-11-01T07:00:00Z")),
            ],
        ),
        // These clocks change by half an hour.
        (
            "Australia/Lord_Howe",
            "2026-04-05",
            &[(1, Some("2026-04-04T14:00:00Z")), (2, Some("2026-04-04T15:30:00Z"))],
        ),
        (
            "Australia/Lord_Howe",
            "2026-10-04",
            &[
                (1, Some("2026-10-03T14:30:00Z")),
                (2, Some("2026-10-03T15:30:00Z")),
                (3, Some("2026-10-03T16:00:00Z")),
            ],
        ),
    ];
    for (zone, date, hours) in cases {
        let month = &date[..7];
        let clock = at("2026-12-10T12:00:00Z");
        let sandbox = Sandbox::at(&clock, 1, date, settled());
        sandbox.configure(1, date, &format!("zone = \"{zone}\"\ngrains = [\"hourly\"]\n"));
        let report = run(&clock, &sandbox);
        all_done(&report);
        assert_eq!(report.totals.missing, 0);
        let (_, batch) = partition(&sandbox, Dataset::Hourly, month);
        // The day is the first of the file.
        let dates = batch.column_by_name("date").unwrap().as_primitive::<Date32Type>();
        let of_day = (0..batch.num_rows()).filter(|&row| dates.value(row) == dates.value(0)).count();
        assert_eq!(of_day, 24, "{zone} {date}");
        let numbers = batch.column_by_name("hour").unwrap().as_primitive::<Int8Type>();
        assert!((0..24).all(|row| numbers.value(row) == i8::try_from(row).unwrap()));
        let starts = batch.column_by_name("hour_start").unwrap();
        let starts = starts.as_primitive::<TimestampMicrosecondType>();
        for &(hour, start) in hours {
            let found = starts.is_valid(hour).then(|| starts.value(hour));
            let expected = start.map(|s| s.parse::<DateTime<Utc>>().unwrap().timestamp_micros());
            assert_eq!(found, expected, "{zone} {date} hour {hour}");
        }
        let skipped = hours.iter().filter(|(_, start)| start.is_none()).count();
        assert_eq!(starts.slice(0, 24).null_count(), skipped);
    }
}
