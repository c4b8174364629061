//! Weeks, quarters and rolling periods, from the API's answers to the lake, over weeks of a clock that the
//! test sets.

use std::collections::BTreeSet;

use arrow::array::{Array, AsArray, RecordBatch};
use chrono::{DateTime, Datelike, Days, NaiveDate, TimeDelta, Utc, Weekday};
use chrono_tz::Tz;
use trendlake::clock::Clock;
use trendlake::config::Settings;
use trendlake::export::{self, Verdict};
use trendlake::lake::{Lake, parse_key};
use trendlake::model::{Dataset, Grain, Month, PeriodRow, Question, Slice, Window, local_now, settled_at};
use trendlake::plan::{Scope, requests as planned_requests};
use trendlake::report::Report;
use trendlake::shelf::Shelf;
use trendlake::simulator;
use trendlake::table::{self, period_rows};

use super::inside::{self, Nobody, partition, run, run_within};
use super::spine::{decode, months_ago, requests};
use super::support::{Sandbox, settled, stream_id};

fn at(text: &str) -> Clock {
    Clock::starting_at(text.parse().unwrap())
}

fn day(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

/// Every row of every partition of periods.
fn rows(sandbox: &Sandbox) -> Vec<PeriodRow> {
    let files = sandbox.data_files().into_iter().filter(|(name, _)| name.contains("_periods/"));
    files.flat_map(|(name, bytes)| period_rows(&decode(&name, &bytes).1)).collect()
}

/// The rows of one kind, by first and last day.
fn ends(rows: &[PeriodRow], period: &str) -> BTreeSet<(String, String)> {
    let of_kind = rows.iter().filter(|row| row.period.as_str() == period);
    of_kind.map(|row| (row.start.to_string(), row.end.to_string())).collect()
}

/// What the API says of a row's days when the row was fetched.
fn truth(sandbox: &Sandbox, row: &PeriodRow, zone: Tz) -> trendlake::model::Summary {
    let window = Window { month: Month::of(row.end), start: row.start, end: row.end };
    let slice = row.slice.clone();
    let question = Question { stream: stream_id(1), grain: Grain::Daily, slice, zone, window };
    sandbox.simulator.world().answer(&question, row.fetched_at).0
}

/// All periods that a run on `today` must have, by text, first day and last day, counted day by day and
/// without any of the calendar's own arithmetic.
fn expected(first: NaiveDate, today: NaiveDate) -> BTreeSet<(&'static str, NaiveDate, NaiveDate)> {
    let mut all = BTreeSet::new();
    for date in first.iter_days().take_while(|date| *date <= today) {
        if date.weekday() == Weekday::Mon {
            all.insert(("week", date, today.min(date + Days::new(6))));
        }
        if date.day() == 1 && [1, 4, 7, 10].contains(&date.month()) {
            let last = date.iter_days().skip(80).find(|d| [1, 4, 7, 10].contains(&d.month()) && d.day() == 1);
            all.insert(("quarter", date, today.min(last.unwrap() - Days::new(1))));
        }
        for (text, length) in [("rolling_7d", 7), ("rolling_28d", 28)] {
            let end = date + Days::new(length - 1);
            if end <= today {
                all.insert((text, date, end));
            }
        }
    }
    all
}

/// What a run would ask for now.
fn planned(clock: &Clock, sandbox: &Sandbox, scope: &Scope) -> u64 {
    within(async {
        let settings = inside::settings(sandbox);
        let shelf = Shelf::open(Lake::open(&settings.lake).unwrap(), &settings, clock).await.unwrap();
        let overview = export::overview(&shelf, &settings, &settings.streams, scope, clock.now()).await;
        overview.unwrap().streams.iter().map(|s| planned_requests(&s.units)).sum()
    })
}

pub(crate) fn verified(clock: &Clock, sandbox: &Sandbox) -> Verdict {
    within(async {
        let settings = inside::settings(sandbox);
        let shelf = Shelf::open(Lake::open(&settings.lake).unwrap(), &settings, clock).await.unwrap();
        export::verify(&shelf, &settings.streams, true, clock.now()).await.unwrap()
    })
}

fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

/// A run that must go well and cost what was planned; gives how many requests that were.
fn run_as_planned(clock: &Clock, sandbox: &Sandbox) -> (u64, Report) {
    let (plan, before) = (planned(clock, sandbox, &Scope::default()), requests(sandbox));
    let report = run(clock, sandbox);
    assert_eq!(report.exit_code, 0, "{report:#?}");
    let asked = requests(sandbox) - before;
    assert_eq!(asked, plan, "{report:#?}");
    (asked, report)
}

const ALL: &str = "summaries = [\"month\", \"week\", \"rolling_7d\", \"rolling_28d\", \"quarter\"]\n";

#[test]
fn every_period_is_there_once_with_its_true_users_and_costs_what_was_planned() {
    let zone = chrono_tz::America::New_York;
    let first = day("2025-12-10");
    let clock = at("2026-01-20T17:30:00Z");
    // Figures grow for two days, and settle after three.
    let sandbox =
        Sandbox::at(&clock, 1, "2025-12-10", simulator::Settings { limits: vec![], ..Default::default() });
    let config = format!("{ALL}zone = \"America/New_York\"\nslices = [\"all\", \"dashboard\"]\n");
    sandbox.configure(1, "2025-12-10", &config);
    let mut last_run: Option<DateTime<Utc>> = None;
    // Over changes of the clocks, edges of months and of a quarter, the same day twice, and two weeks of nothing.
    for hours in [0, 1, 24, 24, 23, 140, 24, 24, 400, 24, 350, 24, 24, 50, 24, 24, 24] {
        clock.step(TimeDelta::hours(hours));
        let now = clock.now();
        let today = local_now(now, zone).date();
        let calendar = expected(first, today);
        // Asked anew is what had not settled when the last run asked.
        let is_due = |end: NaiveDate| last_run.is_none_or(|then| settled_at(end, zone, 3) > then);
        let scheduled = |text: &str, start: NaiveDate, end: NaiveDate| match text {
            "week" => start + Days::new(6),
            "quarter" => end.max(start + Days::new(89)),
            _ => end,
        };
        let due = calendar.iter().filter(|(text, start, end)| is_due(scheduled(text, *start, *end))).count();
        let months: BTreeSet<Month> = first.iter_days().take_while(|d| *d <= today).map(Month::of).collect();
        let open = months.iter().filter(|month| is_due(month.last_day())).count();
        let (asked, _) = run_as_planned(&clock, &sandbox);
        assert_eq!(asked, 2 * (2 * open + due) as u64, "on {today}");
        last_run = Some(now);

        let rows = rows(&sandbox);
        for slice in [Slice::ALL, Slice::DASHBOARD] {
            let found: Vec<_> = rows.iter().filter(|row| row.slice == slice).collect();
            let distinct: BTreeSet<_> = found.iter().map(|r| (r.period.as_str(), r.start, r.end)).collect();
            assert_eq!(distinct, calendar, "on {today}");
            assert_eq!(found.len(), calendar.len(), "each once");
        }
        for row in &rows {
            assert_eq!(row.summary, Some(truth(&sandbox, row, zone)), "{row:?}");
            let scheduled = scheduled(row.period.as_str(), row.start, row.end);
            assert_eq!(row.is_final, settled_at(scheduled, zone, 3) <= row.fetched_at, "{row:?}");
            if !row.is_final {
                assert!(now - row.fetched_at < TimeDelta::minutes(5), "{row:?}");
            }
        }
        let verdict = verified(&clock, &sandbox);
        assert_eq!(verdict.findings, [], "on {today}");
        // Right after that, only what may still change is asked for, and nothing is written.
        let before = sandbox.data_files();
        let (_, again) = run_as_planned(&clock, &sandbox);
        assert_eq!((again.totals.puts, sandbox.data_files() == before), (0, true), "{again:#?}");
    }
    assert_eq!(day("2026-03-11"), local_now(clock.now(), zone).date(), "the steps above");
    // What is final costs nothing.
    let past = Scope { to: Some("2026-01".parse().unwrap()), ..Scope::default() };
    assert_eq!(planned(&clock, &sandbox, &past), 0);
    let forced = Scope { force: true, ..past };
    assert!(planned(&clock, &sandbox, &forced) > 2 * (31 + 31));
}

#[test]
fn a_clock_that_steps_back_leaves_sound_periods() {
    let clock = at("2026-03-30T12:30:00Z");
    let sandbox = Sandbox::at(&clock, 1, "2026-01-05", settled());
    sandbox.configure(1, "2026-01-05", ALL);
    for hours in [0, 36, -36, -24, 30, -200, 500, -48, 72, 240] {
        clock.step(TimeDelta::hours(hours));
        assert_eq!(run(&clock, &sandbox).exit_code, 0);
        assert_eq!(verified(&clock, &sandbox).findings, [], "after {hours} hours");
    }
    let today = clock.now().date_naive();
    let rows = rows(&sandbox);
    let found: BTreeSet<_> = rows.iter().map(|r| (r.period.as_str(), r.start, r.end)).collect();
    assert_eq!(found, expected(day("2026-01-05"), today));
    for row in rows.iter().filter(|row| row.end < today) {
        assert_eq!(row.summary, Some(truth(&sandbox, row, chrono_tz::UTC)), "{row:?}");
    }
}

#[test]
fn a_period_under_way_is_filed_where_it_will_end() {
    let clock = at("2026-04-01T12:30:00Z");
    let sandbox = Sandbox::at(&clock, 1, "2026-03-01", settled());
    sandbox.configure(1, "2026-03-01", ALL);
    run_as_planned(&clock, &sandbox);
    let period_of = |month: &str| {
        let (footer, batch) = partition(&sandbox, Dataset::Periods, month);
        (footer, period_rows(&batch))
    };
    let (footer, june) = period_of("2026-06");
    assert_eq!(ends(&june, "quarter"), [("2026-04-01".into(), "2026-04-01".into())].into());
    assert_eq!((june.len(), june[0].is_final, footer.is_final), (1, false, false));
    let (_, april) = period_of("2026-04");
    assert_eq!(ends(&april, "week"), [("2026-03-30".into(), "2026-04-01".into())].into());
    assert!(!sandbox.path("lake/user_engagement_periods/stream=st-1/month=2026-05").exists());
    // Nothing begins before the first date: no quarter that lacks January, no 28 days before the 28th.
    let (_, march) = period_of("2026-03");
    assert_eq!(ends(&march, "quarter"), BTreeSet::new());
    assert_eq!(ends(&march, "rolling_28d").first().unwrap().1, "2026-03-28");
    // Weeks from Sunday on are others, and days and hours are none of it.
    sandbox.configure(1, "2026-03-01", &format!("{ALL}week_start = \"sunday\"\n"));
    let before = requests(&sandbox);
    let report = run_as_planned(&clock, &sandbox).1;
    let reasons: BTreeSet<_> = report.units.iter().map(|u| (u.grain, u.reason)).collect();
    let all = [("daily", "provisional"), ("hourly", "provisional"), ("periods", "stale")];
    assert_eq!(reasons, all.map(|(grain, reason)| (grain.to_owned(), reason.to_owned())).into());
    let (_, april) = period_of("2026-04");
    assert_eq!(ends(&april, "week"), [("2026-03-29".into(), "2026-04-01".into())].into());
    // Two months in two grains; of each rolling kind four days and of quarters one; and every week anew.
    assert_eq!(requests(&sandbox) - before, 4 + 2 * 4 + 1 + 5);
}

#[test]
fn what_was_asked_alike_is_taken_over_when_the_list_changes() {
    let clock = at("2026-05-20T12:30:00Z");
    let sandbox = Sandbox::at(&clock, 1, "2026-01-01", settled());
    sandbox.configure(1, "2026-01-01", "grains = [\"hourly\"]\nsummaries = [\"week\"]\n");
    run_as_planned(&clock, &sandbox);
    let weeks = ends(&rows(&sandbox), "week");
    assert_eq!(weeks.len(), 20);
    let hourly = |sandbox: &Sandbox| -> Vec<_> {
        sandbox.data_files().into_iter().filter(|(name, _)| name.contains("hourly")).collect()
    };
    let before = hourly(&sandbox);
    sandbox.configure(1, "2026-01-01", "grains = [\"hourly\"]\nsummaries = [\"week\", \"quarter\"]\n");
    let (asked, report) = run_as_planned(&clock, &sandbox);
    // The hours of May, the week under way and the one before it, and two quarters.
    assert_eq!(asked, 1 + 2 + 2, "{report:#?}");
    assert_eq!(hourly(&sandbox), before);
    assert_eq!(ends(&rows(&sandbox), "week"), weeks);
    assert_eq!(ends(&rows(&sandbox), "quarter").len(), 2);
    // Without any, what is there stays, and costs nothing.
    sandbox.configure(1, "2026-01-01", "grains = [\"hourly\"]\n");
    assert_eq!(run_as_planned(&clock, &sandbox).0, 1);
    assert_eq!(rows(&sandbox).len(), 22);
    assert_eq!(verified(&clock, &sandbox).findings, []);
}

#[test]
fn an_earlier_first_date_brings_the_periods_that_it_allows() {
    let clock = at("2026-05-20T12:30:00Z");
    let sandbox = Sandbox::at(&clock, 1, "2026-02-10", settled());
    let config = "grains = [\"daily\"]\nsummaries = [\"quarter\", \"rolling_28d\"]\n";
    sandbox.configure(1, "2026-02-10", config);
    run_as_planned(&clock, &sandbox);
    assert_eq!(ends(&rows(&sandbox), "quarter").len(), 1, "only that under way");
    assert_eq!(ends(&rows(&sandbox), "rolling_28d").first().unwrap().0, "2026-02-10");
    sandbox.configure(1, "2026-01-01", config);
    let (asked, _) = run_as_planned(&clock, &sandbox);
    // January to February and May by day, 40 rolling periods more, the first quarter; four days and the quarter of now.
    assert_eq!(asked, 3 + 40 + 1 + 4 + 1);
    assert_eq!(ends(&rows(&sandbox), "quarter").len(), 2);
    let all = ends(&rows(&sandbox), "rolling_28d");
    assert_eq!((all.first().unwrap().0.as_str(), all.len()), ("2026-01-01", 140 - 27));
    // A later one takes nothing away.
    sandbox.configure(1, "2026-03-15", config);
    run_as_planned(&clock, &sandbox);
    assert_eq!(ends(&rows(&sandbox), "rolling_28d"), all);
    assert_eq!(verified(&clock, &sandbox).findings, []);
}

#[test]
fn a_quarter_that_the_api_takes_for_too_long_is_told_once_and_not_asked_again() {
    let clock = at("2026-05-20T12:30:00Z");
    let strict = simulator::Settings { max_days: Some(60), ..settled() };
    let sandbox = Sandbox::at(&clock, 1, "2026-01-01", strict);
    sandbox.configure(1, "2026-01-01", "grains = [\"daily\"]\nsummaries = [\"month\", \"quarter\"]\n");
    let quarter = |start: &str| rows(&sandbox).into_iter().find(|row| row.start == day(start)).unwrap();
    let refusals =
        |report: &Report| report.warnings.iter().filter(|w| w.contains("no whole quarter")).count();

    let report = run(&clock, &sandbox);
    assert_eq!((report.exit_code, refusals(&report), report.warnings.len()), (0, 1, 1), "{report:#?}");
    // Five months; a quarter under way; one refused, tried with its half, and refused again.
    assert_eq!(requests(&sandbox), 5 + 1 + 3);
    let refused = quarter("2026-01-01");
    assert_eq!((refused.end, refused.summary, refused.is_final), (day("2026-03-31"), None, true));
    assert!(quarter("2026-04-01").summary.is_some());
    let (_, batch) = partition(&sandbox, Dataset::Periods, "2026-03");
    let is = |batch: &RecordBatch, name: &str| batch.column_by_name(name).unwrap().as_boolean().value(0);
    assert!(!is(&batch, "is_available") && is(&batch, "is_final"));
    assert!(batch.column_by_name("unique_users").unwrap().is_null(0));
    // The months are as they were: a quarter's refusal says nothing of them.
    for month in ["2026-01", "2026-04"] {
        let (_, batch) = partition(&sandbox, Dataset::Summary, month);
        assert!(batch.column_by_name("unique_users").unwrap().is_valid(0));
    }
    let (asked, again) = run_as_planned(&clock, &sandbox);
    assert_eq!((asked, refusals(&again)), (2, 0), "the month and the quarter under way");

    // That one grows too long in its turn. Found out once, it is not asked for any more.
    clock.step(TimeDelta::days(25));
    let report = run(&clock, &sandbox);
    assert_eq!(refusals(&report), 1);
    let refused = quarter("2026-04-01");
    assert_eq!((refused.end, refused.summary, refused.is_final), (day("2026-06-30"), None, true));
    let before = requests(&sandbox);
    clock.step(TimeDelta::days(1));
    assert_eq!(refusals(&run(&clock, &sandbox)), 0);
    assert_eq!(requests(&sandbox) - before, 1, "the month under way");
    assert_eq!(verified(&clock, &sandbox).findings, []);
    clock.step(TimeDelta::days(30));
    assert_eq!(run(&clock, &sandbox).exit_code, 0);
    assert!(partition(&sandbox, Dataset::Periods, "2026-06").0.is_final);

    // A server that has become more generous gives them to whoever forces.
    let generous = Sandbox::at(&clock, 1, "2026-01-01", settled());
    let forced = Scope {
        from: Some("2026-03".parse().unwrap()),
        to: Some("2026-06".parse().unwrap()),
        force: true,
        ..Scope::default()
    };
    let report = run_within(&clock, &sandbox, &generous.base_url, Nobody, &forced);
    assert_eq!((report.exit_code, refusals(&report)), (0, 0), "{report:#?}");
    let given = [quarter("2026-01-01"), quarter("2026-04-01")];
    assert!(given.iter().all(|row| row.summary == Some(truth(&sandbox, row, chrono_tz::UTC))));
    // And one that has become strict again does not take them away.
    let report = run_within(&clock, &sandbox, &sandbox.base_url, Nobody, &forced);
    assert_eq!((report.exit_code, refusals(&report)), (0, 1));
    assert_eq!([quarter("2026-01-01"), quarter("2026-04-01")], given);
    assert_eq!(verified(&clock, &sandbox).findings, []);
}

#[test]
fn a_refusal_that_passes_marks_nothing() {
    let clock = at("2026-05-20T12:30:00Z");
    let sandbox = Sandbox::at(&clock, 1, "2026-01-01", settled());
    sandbox.configure(
        1,
        "2026-01-01",
        "grains = [\"hourly\"]\nsummaries = [\"quarter\"]\nfirst_date = \"2026-01-01\"\n",
    );
    // Whatever is longer than a month is refused the first time that it is asked for.
    let refused = std::sync::Arc::new(std::sync::Mutex::new(BTreeSet::new()));
    let gateway = super::support::gateway(&sandbox.simulator, move |_, call| {
        let query = call.uri().query().unwrap_or_default().to_owned();
        let is_first = query.contains("daily") && refused.lock().unwrap().insert(query);
        let body =
            axum::body::Body::from(r#"{"errors":[{"msg":"Validation errors","code":"ValidationError"}]}"#);
        is_first.then(|| axum::response::Response::builder().status(412).body(body).unwrap())
    });
    let report = run_within(&clock, &sandbox, &gateway, Nobody, &Scope::default());
    // All shorter ranges were refused as well, so it is no matter of length.
    assert_eq!(report.exit_code, 65, "{report:#?}");
    assert_eq!(rows(&sandbox), []);
    let report = run_within(&clock, &sandbox, &gateway, Nobody, &Scope::default());
    assert_eq!((report.exit_code, report.warnings.len()), (0, 0), "{report:#?}");
    assert!(rows(&sandbox).iter().all(|row| row.summary.is_some()));
}

#[test]
fn damaged_and_missing_periods_are_found_and_fetched_again() {
    let sandbox = Sandbox::new(1, &months_ago(4), settled());
    sandbox.configure(1, &months_ago(4), "summaries = [\"month\", \"week\", \"rolling_7d\"]\n");
    sandbox.run(&["run"]).expect(0);
    sandbox.run(&["verify"]).expect(0);
    let before = sandbox.data_files();
    let key = |ago: u32| {
        format!("user_engagement_periods/stream=st-1/month={}/data.parquet", &months_ago(ago)[..7])
    };
    let path = |ago: u32| sandbox.path("lake").join(key(ago));
    let bytes = std::fs::read(path(3)).unwrap();
    std::fs::write(path(3), &bytes[..bytes.len() - 9]).unwrap();
    std::fs::remove_file(path(2)).unwrap();
    let found = sandbox.run(&["verify", "--output", "json"]).expect(11).json();
    let flaws: BTreeSet<_> =
        found["findings"].as_array().unwrap().iter().map(|f| f["key"].as_str().unwrap()).collect();
    assert_eq!(flaws, [key(2), key(3)].iter().map(String::as_str).collect());
    sandbox.run(&["repair"]).expect(0);
    let after = sandbox.data_files();
    let contents = |files: Vec<(String, Vec<u8>)>| super::support::contents(files);
    let is_past = |name: &String| !name.contains(&months_ago(0)[..7]);
    let past = |files: Vec<(String, Vec<u8>)>| {
        contents(files.into_iter().filter(|(name, _)| is_past(name)).collect())
    };
    assert_eq!(past(before), past(after));
    // What the lake calls by the month stands in `status`, `plan` and the coverage beside the others.
    let status = sandbox.run(&["status"]).expect(0);
    assert!(status.stdout.contains("  periods  J F M"), "{status:?}");
    let plan = sandbox.run(&["plan"]).expect(0);
    let line = plan.stdout.lines().find(|line| line.trim_start().starts_with("periods")).unwrap();
    assert!(line.contains("provisional") && line.ends_with("requests"), "{plan:?}");
}

#[test]
fn rows_of_a_damaged_file_are_not_taken_over() {
    let clock = at("2026-03-28T12:30:00Z");
    let sandbox = Sandbox::at(&clock, 1, "2026-03-01", settled());
    sandbox.configure(1, "2026-03-01", "grains = [\"daily\"]\nsummaries = [\"rolling_7d\"]\n");
    run_as_planned(&clock, &sandbox);
    let path = sandbox.path("lake/user_engagement_periods/stream=st-1/month=2026-03/data.parquet");
    let (footer, batch) = partition(&sandbox, Dataset::Periods, "2026-03");
    let mut wrong = period_rows(&batch);
    wrong[0].summary.as_mut().unwrap().counts.unique = Some(1_000_000);
    let settings = inside::settings(&sandbox);
    // The footer is whole, and says what was there: only the rows are others.
    let bytes = table::encode(Dataset::Periods, &table::period_batch(&settings.streams[0], &wrong), &footer);
    std::fs::write(&path, bytes).unwrap();
    clock.step(TimeDelta::days(1));
    assert_eq!(run(&clock, &sandbox).exit_code, 0);
    for row in rows(&sandbox) {
        assert_eq!(row.summary, Some(truth(&sandbox, &row, chrono_tz::UTC)), "{row:?}");
    }
}

#[test]
fn periods_that_lose_all_users_are_parked_until_accepted() {
    let sandbox = Sandbox::new(1, &months_ago(2), settled());
    let config = "grains = [\"hourly\"]\nsummaries = [\"week\"]\n";
    sandbox.configure(1, &months_ago(2), config);
    sandbox.run(&["run"]).expect(0);
    let before = rows(&sandbox);
    // Another name: all is asked anew.
    let text = std::fs::read_to_string(sandbox.path("trendlake.toml")).unwrap();
    std::fs::write(sandbox.path("trendlake.toml"), text.replace("[streams.s1]", "[streams.renamed]"))
        .unwrap();
    sandbox.simulator.set_faults(vec!["all-zero".parse().unwrap()]);
    sandbox.run(&["run"]).expect(65);
    let month = &months_ago(2)[..7];
    let parked = format!("user_engagement_periods/stream=st-1/month={month}/data.parquet");
    assert!(sandbox.run(&["status"]).expect(0).stdout.contains(&format!("parked: {parked}")));
    assert_eq!(rows(&sandbox)[0], before[0]);
    sandbox.run(&["accept", &parked]).expect(0);
    assert_eq!(rows(&sandbox)[0].summary.unwrap().counts.unique, Some(0));
}

#[test]
fn mistakes_about_summaries_are_told_with_what_to_do() {
    let problems = |more: &str| {
        let text = format!(
            "[lake]\nurl = \"x\"\n[streams.s]\nid = \"st-1\"\nbase_url = \"http://localhost\"\nclient_id = \"c\"\n\
             client_secret_env = \"PATH\"\nzone = \"UTC\"\nfirst_date = \"2026-01-01\"\n{more}"
        );
        Settings::from_toml(&text).map(|_| ()).unwrap_err().to_string()
    };
    for (more, words) in [
        ("summaries = [\"year\"]", "`year`: expected one of `month`, `week`"),
        ("summaries = [\"Week\"]", "`Week`: expected one of"),
        ("summaries = [\"wee\\nk\"]", "`wee\\nk`: expected one of"),
        ("summaries = []", "the list is empty"),
        ("summaries = [\"week\", \"week\"]", "`week` stands there twice"),
        ("summaries = \"week\"", "expected a list of texts, found a text"),
        ("summaries = [7]", "expected a list of texts, found a list"),
        ("summaries = [\"month\"]\ngrains = [\"hourly\"]", "add `daily` to `grains`, or leave `month` out"),
        ("summaries = [\"quarter\"]\nmax_range_days = 31", "`quarter` is a question over 92 days"),
        ("summaries = [\"rolling_28d\"]\nmax_range_days = 7", "`max_range_days` allows 7"),
        ("week_start = \"mon\"", "there is no such weekday"),
        ("week_start = \"\"", "there is no such weekday"),
        ("week_start = 1", "expected a text in quotes, found a whole number"),
        ("week_starts = \"monday\"", "week_starts"),
    ] {
        let text = problems(more);
        assert!(text.contains(words), "{more}: {text}");
        assert!(text.contains("streams.s."), "{more}: {text}");
    }
}

#[test]
fn a_list_that_costs_too_much_is_warned_of() {
    let sandbox = Sandbox::new(1, "2026-01-01", settled());
    let validate = |more: &str| {
        sandbox.configure(1, "2026-01-01", more);
        sandbox.run(&["validate"]).expect(0).stdout
    };
    let limit = "rate_limits = [{ requests = 10, per = \"1h\" }]\n";
    // 4 requests for each of two rolling kinds and 2 for weeks and quarters: 12 an hour, where 10 are allowed.
    let text = validate(&format!("{ALL}{limit}"));
    assert!(text.contains("warning: stream s1: ") && text.contains("288 requests a day"), "{text}");
    assert!(text.contains("allow 240 in all"), "{text}");
    assert!(!validate(&format!("summaries = [\"month\", \"week\"]\n{limit}")).contains("warning"));
    assert!(!validate(ALL).contains("warning"));
}

#[test]
fn without_them_nothing_is_there_of_periods() {
    let sandbox = Sandbox::new(1, &months_ago(1), settled());
    sandbox.run(&["run"]).expect(0);
    assert!(
        sandbox.data_files().iter().all(|(name, _)| parse_key(name).unwrap().dataset != Dataset::Periods)
    );
    sandbox.configure(1, &months_ago(1), "summaries = [\"month\"]\n");
    let plan = sandbox.run(&["plan", "--output", "json"]).expect(0).json();
    let reasons: BTreeSet<_> = plan["streams"][0]["units"]
        .as_array()
        .unwrap()
        .iter()
        .map(|u| u["reason"].as_str().unwrap())
        .collect();
    assert_eq!(reasons, ["provisional"].into());
}
