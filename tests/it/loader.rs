//! A loader that takes over what has changed: nothing is left out, whoever wrote it and however the run ended.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use super::spine::months_ago;
use super::support::{Sandbox, settled, walk};

/// The keys that a loader is told of, and what it is to continue from.
#[track_caller]
fn changes(sandbox: &Sandbox, since: &str) -> (BTreeSet<String>, String) {
    let told = sandbox.run(&["changes", "--since", since, "--output", "json"]).expect(0).json();
    let keys: Vec<_> = told["changed"].as_array().unwrap().iter().map(|c| c["key"].clone()).collect();
    let set: BTreeSet<String> = keys.iter().map(|key| key.as_str().unwrap().to_owned()).collect();
    assert_eq!(keys.len(), set.len(), "told twice");
    (set, told["continue_from"].as_str().unwrap().to_owned())
}

fn all(sandbox: &Sandbox) -> BTreeSet<String> {
    sandbox.data_files().into_iter().map(|(name, _)| name).collect()
}

/// The run reports, the oldest first.
fn reports(sandbox: &Sandbox) -> Vec<PathBuf> {
    let mut files = walk(&sandbox.path("lake/_trendlake/runs"));
    files.sort();
    files
}

fn id(report: &std::path::Path) -> String {
    report.file_stem().unwrap().to_str().unwrap().to_owned()
}

/// Makes a file look as if it was written so many seconds after an instant.
fn written_at(path: &std::path::Path, start: SystemTime, secs: u64) {
    let file = std::fs::File::options().write(true).open(path).unwrap();
    file.set_modified(start + Duration::from_secs(secs)).unwrap();
}

fn none() -> BTreeSet<String> {
    BTreeSet::new()
}

/// A run whose report is later than its data by the file system's clock too, which goes by ticks: of one time, what the
/// run wrote would be told once more.
fn run(sandbox: &Sandbox) {
    sandbox.run(&["run"]).expect(0);
    let report = reports(sandbox).pop().unwrap();
    let file = std::fs::File::options().write(true).open(report).unwrap();
    let at = file.metadata().unwrap().modified().unwrap();
    file.set_modified(at + Duration::from_millis(20)).unwrap();
}

#[test]
fn a_loader_misses_nothing_and_is_told_nothing_twice() {
    let sandbox = Sandbox::new(2, &months_ago(1), settled());
    assert_eq!(changes(&sandbox, "2000-01-01"), (none(), "2000-01-01T00:00:00Z".into()));
    run(&sandbox);
    let (first, from) = changes(&sandbox, "2000-01-01");
    assert_eq!((&first, first.len()), (&all(&sandbox), 12));
    assert_eq!(from, id(&reports(&sandbox)[0]));
    assert_eq!(changes(&sandbox, &from), (none(), from.clone()));

    // A run that changes nothing, and one that changes the second stream.
    run(&sandbox);
    let (second, from) = changes(&sandbox, &from);
    assert_eq!((second, &from), (none(), &id(&reports(&sandbox)[1])));
    let text = std::fs::read_to_string(sandbox.path("trendlake.toml")).unwrap();
    std::fs::write(sandbox.path("trendlake.toml"), text.replace("[streams.s2]", "[streams.other]")).unwrap();
    run(&sandbox);
    let of_second: BTreeSet<_> =
        all(&sandbox).into_iter().filter(|key| key.contains("stream=st-2")).collect();
    let (third, after) = changes(&sandbox, &from);
    assert_eq!((&third, third.len()), (&of_second, 6));
    assert_eq!(changes(&sandbox, &after), (none(), after.clone()));
    // Who has missed a run is told of both.
    assert_eq!(changes(&sandbox, &id(&reports(&sandbox)[0])), (of_second, after.clone()));

    // What a run wrote that was killed: there is no report of it. It is told until a run has ended.
    let killed = &third.first().unwrap();
    let path = sandbox.path("lake").join(killed);
    std::fs::write(&path, std::fs::read(&path).unwrap()).unwrap();
    for _ in 0..2 {
        assert_eq!(changes(&sandbox, &after), (BTreeSet::from([(*killed).clone()]), after.clone()));
    }
    run(&sandbox);
    let (told, last) = changes(&sandbox, &after);
    assert_eq!((told, last == after), (BTreeSet::from([(*killed).clone()]), false));

    // As text: one key per line.
    let text = sandbox.run(&["changes", "--since", &after]).expect(0);
    assert!(text.stdout.starts_with(&format!("{killed}\n1 object, ")), "{text:?}");
    assert!(text.stdout.ends_with(&format!("continue with --since {last}\n")), "{text:?}");
}

#[test]
fn runs_side_by_side_of_which_the_first_ends_last() {
    let sandbox = Sandbox::new(1, &months_ago(0), settled());
    for _ in 0..2 {
        sandbox.run(&["run"]).expect(0);
    }
    let [early, late] = <[PathBuf; 2]>::try_from(reports(&sandbox)).unwrap();
    let keys = all(&sandbox);
    let [a, b, c] = <[String; 3]>::try_from(keys.iter().cloned().collect::<Vec<_>>()).unwrap();
    let report = |path: &PathBuf, written: &[&String]| {
        let mut report: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        report["units"] = serde_json::json!([{
            "stream": "st-1", "stream_name": "s1", "grain": "daily", "month": "2026-01", "reason": "missing",
            "outcome": "committed", "written": written, "rows": 1, "bytes": 1,
        }]);
        std::fs::write(path, report.to_string()).unwrap();
    };
    // The later run writes b and ends; the earlier one writes a before that, and c after.
    report(&late, &[&b]);
    report(&early, &[&a, &c]);
    let start = std::fs::metadata(&early).unwrap().modified().unwrap() - Duration::from_hours(2);
    let lake = sandbox.path("lake");
    for (path, secs) in [(lake.join(&a), 10), (lake.join(&b), 11), (late.clone(), 12)] {
        written_at(&path, start, secs);
    }
    written_at(&lake.join(&c), start, 13);
    written_at(&early, start, 14);
    // Who has seen the later one goes on with c, and is told of a once more, since both overlapped.
    assert_eq!(changes(&sandbox, &id(&late)), (BTreeSet::from([a, c.clone()]), id(&early)));
    assert_eq!(changes(&sandbox, &id(&early)), (none(), id(&early)));
    // The clock of a file system that tells whole seconds: rather twice than never.
    written_at(&lake.join(&c), start, 14);
    assert_eq!(changes(&sandbox, &id(&early)).0, BTreeSet::from([c]));
}

#[test]
fn reports_that_are_gone_and_words_that_are_none() {
    let sandbox = Sandbox::new(1, &months_ago(0), settled());
    sandbox.run(&["run"]).expect(0);
    let gone = id(&reports(&sandbox)[0]);
    std::fs::remove_file(&reports(&sandbox)[0]).unwrap();
    let ran = sandbox.run(&["changes", "--since", &gone, "--output", "json"]).expect(0);
    let told = ran.json();
    assert_eq!(
        (told["report_found"].clone(), told["changed"].as_array().unwrap().len()),
        (Value::Bool(false), 3)
    );
    assert!(ran.stderr.contains("no report of run "), "{ran:?}");
    // Without a report, a time is what to continue from.
    let from = told["continue_from"].as_str().unwrap().to_owned();
    assert!(from.ends_with('Z') && changes(&sandbox, &from).1 == from, "{told}");
    for bad in ["yesterday", "0b6d3f0e-6a44-4b3a-9d5f-000000000000", ""] {
        let ran = sandbox.run(&["changes", "--since", bad]).expect(2);
        assert!(ran.stderr.contains("hint: "), "{ran:?}");
    }
}

#[test]
fn what_was_written_before_a_unit_failed_is_told() {
    let sandbox = Sandbox::new(1, &months_ago(0), settled());
    let summary = format!("lake/user_engagement_summary/stream=st-1/month={}", &months_ago(0)[..7]);
    std::fs::create_dir_all(sandbox.path(&summary).join("data.parquet")).unwrap();
    let report = sandbox.run(&["run", "--output", "json"]).expect(11).json();
    let units = report["units"].as_array().unwrap();
    let failed = units.iter().find(|unit| unit["outcome"] == "failed").unwrap();
    let daily = format!("user_engagement_daily/stream=st-1/month={}/data.parquet", &months_ago(0)[..7]);
    assert_eq!(failed["partly"], serde_json::json!([daily]), "{failed}");
    assert_eq!(report["totals"]["puts"], 2);
    assert!(changes(&sandbox, "2000-01-01").0.contains(&daily));
}

#[test]
fn a_marker_says_which_run_left_nothing_open() {
    let sandbox = Sandbox::new(2, &months_ago(0), settled());
    let marker = || std::fs::read_to_string(sandbox.path("lake/_SUCCESS")).ok();
    sandbox.run(&["run"]).expect(0);
    assert_eq!(marker(), None, "nobody asked for it");
    let text = std::fs::read_to_string(sandbox.path("trendlake.toml")).unwrap();
    let text = text.replace("[lake]\n", "[lake]\nsuccess_marker = true\n");
    std::fs::write(sandbox.path("trendlake.toml"), text).unwrap();
    // A part of it is not the whole.
    sandbox.run(&["run", "--stream", "s1"]).expect(0);
    sandbox.run(&["backfill", "--from", &months_ago(0)[..7]]).expect(0);
    assert_eq!(marker(), None);
    let report = sandbox.run(&["run", "--output", "json"]).expect(0).json();
    let run_id = format!("{}\n", report["run_id"].as_str().unwrap());
    assert_eq!(marker().as_ref(), Some(&run_id));
    sandbox.simulator.set_faults(vec!["http-404@st-1".parse().unwrap()]);
    sandbox.run(&["run"]).expect(65);
    assert_eq!(marker(), Some(run_id), "that of the last run which left nothing open");
    // It is no file of a table.
    sandbox.run(&["verify"]).expect(0);
}
