//! Raw answers of periods, which lie in several objects: put together by a replay, and kept as long as one needs them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use chrono::TimeDelta;
use trendlake::clock::Clock;
use trendlake::export::{Finding, Flaw};
use trendlake::model::Dataset;
use trendlake::plan::Scope;
use trendlake::report::{Outcome, Report};
use trendlake::simulator::Settings;
use trendlake::table::{self, FORMAT_VERSION};

use super::inside::{self, Nobody};
use super::periods::verified;
use super::raw::{files, raw, replay, text};
use super::spine::requests;
use super::support::{Sandbox, settled};

const PERIODS: &str = "keep_raw = true\nsummaries = [\"week\", \"rolling_7d\", \"quarter\"]\n";

/// A sandbox of hours and periods on this clock, whose figures change for long after they have settled.
fn of_periods(clock: &Clock, first_date: &str, more: &str) -> Sandbox {
    let sandbox = Sandbox::at(clock, 1, first_date, Settings { restate_days: 30, ..settled() });
    sandbox.configure(1, first_date, &format!("grains = [\"hourly\"]\n{more}"));
    sandbox
}

fn periods(sandbox: &Sandbox) -> BTreeMap<String, Vec<u8>> {
    files(sandbox).into_iter().filter(|(name, _)| name.contains("_periods/")).collect()
}

fn lose_the_periods(sandbox: &Sandbox) {
    std::fs::remove_dir_all(sandbox.path("lake/user_engagement_periods")).unwrap();
}

/// The raw answers of periods, the oldest first.
fn raw_periods(sandbox: &Sandbox) -> Vec<PathBuf> {
    let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
    let mut paths: Vec<_> =
        raw(sandbox).into_iter().filter(|path| name(path).starts_with("periods-")).collect();
    paths.sort_by_key(name);
    paths
}

/// A replay on the sandbox's clock, which asks nothing.
#[track_caller]
fn replay_at(clock: &Clock, sandbox: &Sandbox) -> Report {
    let asked = requests(sandbox);
    let scope = Scope { kept: true, ..Scope::default() };
    let report = inside::run_within(clock, sandbox, &sandbox.base_url, Nobody, &scope);
    assert_eq!(requests(sandbox), asked, "the API was asked");
    report
}

/// Answers of before a month had settled, put long after: the time of their objects says nothing of them.
#[test]
fn what_a_replay_brings_back_unsettled_is_asked_for_again() {
    let clock = Clock::starting_at("2026-01-20T12:30:00Z".parse().unwrap());
    let sandbox = Sandbox::at(&clock, 1, "2026-01-01", settled());
    let keep = |more: &str| sandbox.configure(1, "2026-01-01", &format!("grains = [\"daily\"]\n{more}"));
    keep("keep_raw = true\n");
    assert_eq!(inside::run(&clock, &sandbox).exit_code, 0);
    // The file system has a clock of its own.
    for file in files(&sandbox).keys() {
        let file = std::fs::File::options().write(true).open(sandbox.path("lake").join(file)).unwrap();
        file.set_modified(clock.now().into()).unwrap();
    }
    keep("");
    clock.step(TimeDelta::days(120));
    assert_eq!(inside::run(&clock, &sandbox).exit_code, 0);
    let whole = files(&sandbox);
    for dataset in [Dataset::Daily, Dataset::Summary] {
        std::fs::remove_dir_all(sandbox.path(&format!("lake/{dataset}/stream=st-1/month=2026-01"))).unwrap();
    }
    assert_eq!(replay_at(&clock, &sandbox).totals.committed, 1);
    assert!(files(&sandbox) != whole);
    let report = inside::run(&clock, &sandbox);
    let asked: Vec<_> = report.units.iter().map(|unit| (unit.month, unit.reason)).collect();
    let (january, provisional) = (("2026-01".to_owned(), "provisional".to_owned()), "provisional");
    assert!(asked.contains(&january) && asked.iter().all(|(_, reason)| reason == provisional), "{asked:?}");
    assert_eq!(verified(&clock, &sandbox).findings, []);
    // Then nothing is left to do but the month under way.
    assert_eq!(inside::run(&clock, &sandbox).units.len(), 1);
}

/// Nothing comes of a replay over what is there; and once that is lost, a replay brings it back byte for byte.
#[track_caller]
fn is_made_again(clock: &Clock, sandbox: &Sandbox) {
    let before = files(sandbox);
    let report = replay_at(clock, sandbox);
    assert_eq!((report.exit_code, report.totals.puts), (0, 0), "{report:#?}");
    assert!(files(sandbox) == before, "a replay has changed what was there");
    lose_the_periods(sandbox);
    let report = replay_at(clock, sandbox);
    assert_eq!(report.exit_code, 0, "{report:#?}");
    assert!(files(sandbox) == before, "{:?} for {:?}", files(sandbox).keys(), before.keys());
    assert_eq!(verified(clock, sandbox).findings, []);
}

/// Over edges of months and of a quarter, the same day twice, and times of nothing.
#[test]
fn periods_of_many_runs_are_made_again_byte_for_byte() {
    let clock = Clock::starting_at("2026-03-17T17:30:00Z".parse().unwrap());
    let more = format!("{PERIODS}zone = \"America/New_York\"\nslices = [\"all\", \"dashboard\"]\n");
    let sandbox = of_periods(&clock, "2026-01-01", &more);
    for hours in [0, 1, 24, 24, 90, 24, 24, 24, 24, 24, 24, 24, 240, 2000, 24, 30] {
        clock.step(TimeDelta::hours(hours));
        assert_eq!(inside::run(&clock, &sandbox).exit_code, 0);
        is_made_again(&clock, &sandbox);
    }
    assert_eq!(periods(&sandbox).len(), 8, "January to July, and the quarter that ends in September");
    // By the program, which goes by a time long after; and as a part.
    let before = periods(&sandbox);
    lose_the_periods(&sandbox);
    replay(&sandbox, &["--from", "2026-03", "--to", "2026-04"], 0);
    let there = periods(&sandbox);
    assert_eq!(there.len(), 2);
    assert!(there.iter().all(|(key, bytes)| before[key] == *bytes));
    replay(&sandbox, &[], 0);
    assert!(periods(&sandbox) == before);
    // What was asked says so; objects of days and hours are what they always were.
    for path in raw(&sandbox) {
        let kept: serde_json::Value = serde_json::from_str(&text(&path)).unwrap();
        assert_eq!(kept["version"], 1);
        for answer in kept["answers"].as_array().unwrap() {
            let (period, piece) = (&answer["period"], &answer["pieces"][0]);
            assert_eq!(period.is_null(), kept["grain"] == "hourly", "{kept}");
            let days = if period.is_null() {
                [&kept["start"], &kept["end"]]
            } else {
                [&period["start"], &period["asked_to"]]
            };
            assert_eq!(days, [&piece["start"], &piece["end"]], "{kept}");
        }
    }
}

/// Each object that is left holds something that no other one does.
#[test]
fn of_periods_the_newest_answers_are_left_and_nothing_else() {
    let clock = Clock::starting_at("2026-03-05T12:30:00Z".parse().unwrap());
    let sandbox = of_periods(&clock, "2026-02-20", PERIODS);
    for hours in [0, 5, 19, 24, 24, 24, 24, 24, 200, 24, 24] {
        clock.step(TimeDelta::hours(hours));
        inside::run(&clock, &sandbox);
    }
    let (before, all) = (periods(&sandbox), raw(&sandbox).len() as u64);
    let vacuum = |arguments: &[&str]| {
        let arguments: Vec<_> = ["vacuum", "--output", "json"].iter().chain(arguments).copied().collect();
        let told = sandbox.run(&arguments).expect(0).json();
        assert_eq!(told["removed"].as_u64().unwrap() + told["left"].as_u64().unwrap(), all);
        told["removed"].as_u64().unwrap()
    };
    let spare = vacuum(&["--dry-run"]);
    assert_eq!((raw(&sandbox).len() as u64, vacuum(&[])), (all, spare));
    assert_eq!(raw(&sandbox).len() as u64, all - spare);
    let left = raw_periods(&sandbox);
    assert!(left.len() > 5, "{left:?}");
    is_made_again(&clock, &sandbox);
    let aside = sandbox.path("aside");
    for path in left {
        std::fs::rename(&path, &aside).unwrap();
        lose_the_periods(&sandbox);
        replay_at(&clock, &sandbox);
        assert!(periods(&sandbox) != before, "{path:?} is of no use");
        std::fs::rename(&aside, &path).unwrap();
    }
    replay_at(&clock, &sandbox);
    assert!(periods(&sandbox) == before);
}

/// No week ends within the last days of the month, so nothing is asked any more when it becomes final.
#[test]
fn a_month_that_became_final_without_a_question_is_so_again() {
    let clock = Clock::starting_at("2026-05-20T12:30:00Z".parse().unwrap());
    let sandbox = of_periods(
        &clock,
        "2026-04-01",
        "keep_raw = true\nsummaries = [\"week\"]\nweek_start = \"saturday\"\n",
    );
    for days in [0, 14, 1, 1, 30] {
        clock.step(TimeDelta::days(days));
        inside::run(&clock, &sandbox);
        is_made_again(&clock, &sandbox);
    }
    let (footer, _) = inside::partition(&sandbox, Dataset::Periods, "2026-05");
    assert!(footer.is_final);
    sandbox.run(&["vacuum"]).expect(0);
    is_made_again(&clock, &sandbox);
}

#[test]
fn a_quarter_that_was_refused_is_refused_again() {
    let clock = Clock::starting_at("2026-05-20T12:30:00Z".parse().unwrap());
    // The weeks change with every answer.
    let changing = || Settings { restate_days: 200, ..settled() };
    let sandbox = Sandbox::at(&clock, 1, "2026-01-01", Settings { max_days: Some(60), ..changing() });
    let generous = Sandbox::at(&clock, 1, "2026-01-01", changing());
    let config = "grains = [\"hourly\"]\nkeep_raw = true\nsummaries = [\"quarter\", \"week\"]\n";
    sandbox.configure(1, "2026-01-01", config);
    let is_available = |month: &str| {
        let (_, batch) = inside::partition(&sandbox, Dataset::Periods, month);
        let column = batch.column_by_name("is_available").unwrap();
        arrow::array::AsArray::as_boolean(column).value(0)
    };
    // That under way grows too long in its turn.
    for days in [0, 25, 1, 30] {
        clock.step(TimeDelta::days(days));
        assert_eq!(inside::run(&clock, &sandbox).exit_code, 0);
        is_made_again(&clock, &sandbox);
    }
    assert_eq!(["2026-03", "2026-06"].map(is_available), [false, false]);
    // Given once, it stays given, though it is refused again.
    let forced = Scope { force: true, ..Scope::default() };
    for base_url in [&generous.base_url, &sandbox.base_url] {
        let before = raw_periods(&sandbox).len();
        clock.step(TimeDelta::days(1));
        assert_eq!(inside::run_within(&clock, &sandbox, base_url, Nobody, &forced).exit_code, 0);
        assert_eq!(["2026-03", "2026-06"].map(is_available), [true, true]);
        assert!(raw_periods(&sandbox).len() > before + 2);
        is_made_again(&clock, &sandbox);
    }
    sandbox.run(&["vacuum"]).expect(0);
    is_made_again(&clock, &sandbox);
}

#[test]
fn periods_without_an_answer_are_no_holes() {
    let clock = Clock::starting_at("2026-03-20T12:30:00Z".parse().unwrap());
    let sandbox = of_periods(&clock, "2026-03-01", PERIODS);
    let off = |is_off: bool| {
        let text = std::fs::read_to_string(sandbox.path("trendlake.toml")).unwrap();
        let (from, to) = if is_off { ("true", "false") } else { ("false", "true") };
        let text = text.replace(&format!("keep_raw = {from}"), &format!("keep_raw = {to}"));
        std::fs::write(sandbox.path("trendlake.toml"), text).unwrap();
    };
    off(true);
    inside::run(&clock, &sandbox);
    off(false);
    clock.step(TimeDelta::days(1));
    inside::run(&clock, &sandbox);
    // What had settled before is there, and its answers are not: it stands as long as the partition does.
    let before = files(&sandbox);
    let report = replay_at(&clock, &sandbox);
    assert_eq!((report.exit_code, report.totals.puts), (0, 0), "{report:#?}");
    lose_the_periods(&sandbox);
    let report = replay_at(&clock, &sandbox);
    let failed = |report: &Report| -> Vec<_> {
        let of_periods = report.units.iter().filter(|unit| unit.grain == "periods");
        let failures = of_periods.filter_map(|unit| match &unit.outcome {
            Outcome::Failed(failure) => {
                Some((unit.month.clone(), failure.class.clone(), failure.message.clone()))
            }
            _ => None,
        });
        failures.collect()
    };
    let [(month, class, message)] = &failed(&report)[..] else { panic!("{report:#?}") };
    assert_eq!((report.exit_code, month.as_str(), class.as_str()), (65, "2026-03", "not_kept"));
    assert!(message.contains("is kept of 12 of 18 periods"), "{message}");
    assert!(!sandbox.path("lake/user_engagement_periods/stream=st-1/month=2026-03").exists());
    // A run asks for all of them, and from then on they are kept.
    inside::run(&clock, &sandbox);
    assert!(files(&sandbox).keys().eq(before.keys()));
    is_made_again(&clock, &sandbox);

    // What was fetched anew while nothing was kept is newer than the answer that had been kept before, though answers
    // of other periods have been kept since.
    let forced = Scope { force: true, ..Scope::default() };
    off(true);
    clock.step(TimeDelta::hours(1));
    inside::run_within(&clock, &sandbox, &sandbox.base_url, Nobody, &forced);
    off(false);
    clock.step(TimeDelta::hours(1));
    inside::run(&clock, &sandbox);
    let path = sandbox.path("lake/user_engagement_periods/stream=st-1/month=2026-03/data.parquet");
    let (mut footer, batch) = inside::partition(&sandbox, Dataset::Periods, "2026-03");
    footer.format_version = FORMAT_VERSION - 1;
    std::fs::write(&path, table::encode(Dataset::Periods, &batch, &footer)).unwrap();
    let before = files(&sandbox);
    let report = replay_at(&clock, &sandbox);
    let unit = report.units.iter().find(|unit| unit.grain == "periods" && unit.month == "2026-03").unwrap();
    assert_eq!((unit.reason.as_str(), &unit.outcome), ("stale", &Outcome::Superseded), "{report:#?}");
    assert!(files(&sandbox) == before);

    // Of what settled while nothing was kept, there are answers from before that only.
    inside::run(&clock, &sandbox);
    off(true);
    clock.step(TimeDelta::days(4));
    inside::run(&clock, &sandbox);
    off(false);
    clock.step(TimeDelta::days(1));
    inside::run(&clock, &sandbox);
    lose_the_periods(&sandbox);
    assert_eq!(failed(&replay_at(&clock, &sandbox)).len(), 1);
    assert!(!path.exists());
}

/// A process may be killed when the answers are kept and the data is not yet put.
#[test]
fn answers_of_periods_that_came_to_nothing_do_no_harm() {
    let clock = Clock::starting_at("2026-03-20T12:30:00Z".parse().unwrap());
    let sandbox = of_periods(&clock, "2026-03-01", PERIODS);
    inside::run(&clock, &sandbox);
    let old = periods(&sandbox);
    clock.step(TimeDelta::days(1));
    let forced = Scope { force: true, ..Scope::default() };
    inside::run_within(&clock, &sandbox, &sandbox.base_url, Nobody, &forced);
    let new = periods(&sandbox);
    let restore = |files: &BTreeMap<String, Vec<u8>>| {
        lose_the_periods(&sandbox);
        for (name, bytes) in files {
            let path = sandbox.path("lake").join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
    };
    restore(&old);
    // They had been accepted, so a replay takes them.
    assert_eq!(replay_at(&clock, &sandbox).exit_code, 0);
    assert!(periods(&sandbox) == new);
    restore(&old);
    clock.step(TimeDelta::hours(1));
    assert_eq!(inside::run(&clock, &sandbox).exit_code, 0);
    assert!(periods(&sandbox) != old && periods(&sandbox) != new, "figures have changed since");
    assert_eq!(verified(&clock, &sandbox).findings, []);
    // What had settled was left as it was by that run, and so it is by a replay.
    assert_eq!(replay_at(&clock, &sandbox).totals.puts, 0);
    // One that is damaged is named, and left to whoever looks into it.
    let victim = raw_periods(&sandbox).remove(0);
    std::fs::write(&victim, "no answer").unwrap();
    let findings = verified(&clock, &sandbox).findings;
    let [Finding { key, flaw: Flaw::Damaged, .. }] = &findings[..] else { panic!("{findings:?}") };
    assert!(victim.ends_with(key), "{key}");
    sandbox.run(&["vacuum"]).expect(0);
    assert!(victim.exists());
}

/// The clock steps back, so that newer answers would seem to be older, or as old as those before.
#[test]
fn on_a_clock_that_steps_back_the_newest_answers_are_still_told_apart() {
    let clock = Clock::starting_at("2026-03-20T12:30:00Z".parse().unwrap());
    let sandbox = of_periods(&clock, "2026-01-01", PERIODS);
    for hours in [0, 36, -36, -24, -200, 400, -48, -1, 72] {
        clock.step(TimeDelta::hours(hours));
        assert_eq!(inside::run(&clock, &sandbox).exit_code, 0);
        is_made_again(&clock, &sandbox);
    }
}
