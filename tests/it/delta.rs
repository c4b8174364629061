//! Lakes of Delta tables: what a lake of Parquet files holds, as versions; read by another implementation of the format.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use trendlake::clock::Clock;
use trendlake::simulator::Settings;

use super::inside;
use super::moto::{Moto, python};
use super::s3;
use super::shelves::counting;
use super::spine::{months_ago, requests};
use super::support::{Ran, Sandbox, contents, settled, walk};

const DAILY: &str = "user_engagement_daily";

fn reader(lake: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(python("python"));
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/engines/read_tables.py"));
    command.arg(lake).args(arguments);
    command
}

/// What the other implementation finds of the tables of a lake.
#[track_caller]
pub(crate) fn read(lake: &Path, arguments: &[&str]) -> Value {
    let output = reader(lake, arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Every row of the tables is one of the files, and the other way round.
#[track_caller]
fn holds_the_same(lake: &Path, files: &Path, version: Option<u64>) {
    let version = version.map(|v| v.to_string());
    let mut arguments = vec!["--like", files.to_str().unwrap()];
    arguments.extend(version.iter().flat_map(|v| ["--version", v]));
    for (table, found) in read(lake, &arguments).as_object().unwrap() {
        assert!(found["rows"].as_u64().unwrap() > 0, "{table}: {found}");
        assert_eq!(found["partitions"], json!(["stream_id", "month"]), "{table}");
        assert_eq!(found["more columns"], json!(["month"]), "{table}");
        assert_eq!(found["types differ"], json!([]), "{table}");
        for what in ["same rows", "months fit", "of one stream"] {
            assert_eq!(found[what], true, "{table}: {what}: {found}");
        }
    }
}

fn edit(sandbox: &Sandbox, from: &str, to: &str) {
    let path = sandbox.path("trendlake.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{text}");
    std::fs::write(path, text.replace(from, to)).unwrap();
}

/// Asks other questions than before, so that every partition is replaced.
pub(crate) fn turn(sandbox: &Sandbox, dashboard: bool) {
    let (one, two) = ("slices = [\"all\"]\n", "slices = [\"all\", \"dashboard\"]\n");
    let text = std::fs::read_to_string(sandbox.path("trendlake.toml")).unwrap();
    let text = text.replace(one, "").replace(two, "");
    let slices = if dashboard { two } else { one };
    let text = text.replace("[defaults]\n", &format!("[defaults]\n{slices}"));
    std::fs::write(sandbox.path("trendlake.toml"), text).unwrap();
}

/// The names of a table's versions, and of its checkpoints.
fn log(sandbox: &Sandbox, table: &str) -> BTreeSet<String> {
    let folder = sandbox.path(&format!("lake/{table}/_delta_log"));
    let names = walk(&folder).into_iter().map(|path| path.file_name().unwrap().to_str().unwrap().to_owned());
    names.collect()
}

#[test]
fn tables_say_what_files_say() {
    let sandbox = Sandbox::new(3, &months_ago(2), settled());
    sandbox.run(&["run"]).expect(0);
    let truth = contents(sandbox.data_files());
    std::fs::rename(sandbox.path("lake"), sandbox.path("files")).unwrap();

    let sandbox = sandbox.in_layout("delta");
    let report = sandbox.run(&["run", "--output", "json"]).expect(0).json();
    assert_eq!(contents(sandbox.data_files()), truth);
    assert_eq!(report["totals"]["committed"], 18, "{report}");
    let versions: usize = ["daily", "hourly", "summary"]
        .map(|name| log(&sandbox, &format!("user_engagement_{name}")).len() - 1)
        .iter()
        .sum();
    // The first version of each is the table itself. Of 27 partitions, many come together.
    assert_eq!(report["totals"]["puts"], versions, "{report}");
    assert!((3..18).contains(&versions), "{versions}");
    holds_the_same(&sandbox.path("lake"), &sandbox.path("files"), None);

    let before = sandbox.data_files();
    let again = sandbox.run(&["run", "--output", "json"]).expect(0).json();
    assert_eq!((again["totals"]["puts"].as_u64(), sandbox.data_files() == before), (Some(0), true));
    let verdict = sandbox.run(&["verify"]).expect(0);
    assert!(
        verdict.stdout.contains("27 objects read") && verdict.stdout.contains("all is sound"),
        "{verdict:?}"
    );
    let doctor = sandbox.run(&["doctor"]).expect(0);
    assert!(doctor.stdout.contains("Delta"), "{doctor:?}");
    // The note is lost: the tables tell.
    std::fs::remove_file(sandbox.path("lake/_trendlake/lake.json")).unwrap();
    sandbox.run(&["run"]).expect(0);
    assert!(sandbox.data_files() == before);
}

#[test]
fn a_restated_week_is_a_version_and_the_one_before_can_still_be_read() {
    let start = "2026-03-20T10:30:00Z".parse::<DateTime<Utc>>().unwrap();
    let clock = Clock::starting_at(start);
    let restated = Settings { restate_days: 5, ..settled() };
    let sandbox = Sandbox::at(&clock, 2, "2026-02-01", restated);
    let path = |name: &str| sandbox.path(name);
    let rename = |from: &str, to: &str| std::fs::rename(path(from), path(to)).unwrap();
    let in_files = |then: &str| {
        assert_eq!(inside::run(&clock, &sandbox).exit_code, 0);
        let copied = Command::new("cp").arg("-r").args([path("lake"), path(then)]).status().unwrap();
        assert!(copied.success());
    };
    let format = |from: &str, to: &str| edit(&sandbox, from, to);
    in_files("files-before");
    rename("lake", "files");
    format("layout = \"stream\"", "format = \"delta\"");
    assert_eq!(inside::run(&clock, &sandbox).exit_code, 0);
    let versions = read(&path("lake"), &[]);
    holds_the_same(&path("lake"), &path("files-before"), None);
    rename("lake", "tables");

    clock.step(TimeDelta::days(3));
    format("format = \"delta\"", "layout = \"stream\"");
    rename("files", "lake");
    in_files("files-after");
    rename("lake", "files");
    format("layout = \"stream\"", "format = \"delta\"");
    rename("tables", "lake");
    let report = inside::run(&clock, &sandbox);
    assert!(report.totals.restated > 0 && report.exit_code == 0, "{report:?}");
    holds_the_same(&path("lake"), &path("files-after"), None);
    // Every table as it was.
    let version = versions[DAILY]["version"].as_u64().unwrap();
    let same = ["daily", "hourly", "summary"]
        .iter()
        .all(|name| versions[format!("user_engagement_{name}")]["version"].as_u64() == Some(version));
    assert!(same, "{versions}");
    holds_the_same(&path("lake"), &path("files-before"), Some(version));
}

#[test]
fn checkpoints_spare_readers_the_versions_before() {
    let sandbox = Sandbox::new(1, &months_ago(1), settled()).in_layout("delta");
    let month = &months_ago(1)[..7];
    for round in 0..12 {
        turn(&sandbox, round % 2 == 1);
        sandbox.run(&["backfill", "--from", month, "--to", month]).expect(0);
    }
    let names = log(&sandbox, DAILY);
    let checkpoint = format!("{:020}.checkpoint.parquet", 10);
    assert!(names.contains(&checkpoint) && names.contains("_last_checkpoint"), "{names:?}");
    assert!(names.contains(&format!("{:020}.json", 12)), "{names:?}");
    let rows = read(&sandbox.path("lake"), &[]);
    // Others clean up what a checkpoint covers; and what points to it may be lost besides.
    for name in names.iter().filter(|name| **name < checkpoint) {
        std::fs::remove_file(sandbox.path(&format!("lake/{DAILY}/_delta_log/{name}"))).unwrap();
    }
    for lost in [false, true] {
        if lost {
            std::fs::remove_file(sandbox.path(&format!("lake/{DAILY}/_delta_log/_last_checkpoint"))).unwrap();
        }
        let asked = requests(&sandbox);
        sandbox.run(&["backfill", "--from", month, "--to", month]).expect(0);
        assert_eq!(requests(&sandbox), asked, "what is final was asked for again");
        sandbox.run(&["verify"]).expect(0);
        assert_eq!(read(&sandbox.path("lake"), &[]), rows);
    }
}

/// Sets the time of writing of these files back.
fn age(paths: impl IntoIterator<Item = PathBuf>, by: Duration) {
    for path in paths {
        let file = std::fs::File::options().write(true).open(path).unwrap();
        let written_at = file.metadata().unwrap().modified().unwrap();
        file.set_modified(written_at - by).unwrap();
    }
}

#[test]
fn vacuum_removes_what_has_not_counted_for_a_while_and_nothing_else() {
    const DAYS_8: Duration = Duration::from_hours(8 * 24);
    let sandbox = Sandbox::new(2, &months_ago(1), settled()).in_layout("delta");
    sandbox.run(&["run"]).expect(0);
    turn(&sandbox, true);
    sandbox.run(&["run"]).expect(0);
    let truth = contents(sandbox.data_files());
    let files = |sandbox: &Sandbox| -> BTreeSet<String> {
        let keys = sandbox.data_files().into_iter().map(|(key, _)| key);
        keys.filter(|key| !key.contains("_delta_log")).collect()
    };
    let all = files(&sandbox);
    let live: BTreeSet<_> = counting(sandbox.data_files()).into_iter().map(|(key, _)| key).collect();
    let dead: BTreeSet<_> = all.difference(&live).cloned().collect();
    assert_eq!((all.len(), dead.len()), (24, 12));
    let vacuum = |arguments: &[&str]| {
        let arguments = [&["vacuum", "--output", "json"], arguments].concat();
        let ran = &sandbox.run(&arguments).expect(0).json()["tables"];
        let files = ran["files"].as_array().unwrap().iter().map(|file| file.as_str().unwrap().to_owned());
        (files.collect::<BTreeSet<_>>(), ran["kept"].as_u64().unwrap())
    };
    assert_eq!(vacuum(&[]), (BTreeSet::new(), 12));
    // Old files that counted until lately are still read by those who began before.
    age(all.iter().map(|key| sandbox.path(&format!("lake/{key}"))), DAYS_8);
    assert_eq!(vacuum(&[]), (BTreeSet::new(), 12));
    age(
        walk(&sandbox.path("lake")).into_iter().filter(|p| p.extension().is_some_and(|e| e == "json")),
        DAYS_8,
    );
    assert_eq!(vacuum(&["--retention", "10d"]), (BTreeSet::new(), 12));
    // What others have laid there is theirs, and so is what a run has put and not yet named.
    let theirs = format!("{DAILY}/stream_id=st-1/month=2026-01-01/part-0.parquet");
    let ours = format!("{DAILY}/stream_id=st-1/month=2026-01-01/{:032x}.parquet", 7);
    for (key, days) in [(&theirs, 8), (&ours, 6)] {
        let path = sandbox.path(&format!("lake/{key}"));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, "something").unwrap();
        age([path], Duration::from_hours(days * 24));
    }
    assert_eq!(vacuum(&["--dry-run"]), (dead.clone(), 1));
    assert_eq!(files(&sandbox).len(), 26, "a dry run has removed something");
    assert_eq!(vacuum(&[]), (dead, 1));
    let mut expected = live.clone();
    expected.extend([theirs.clone(), ours]);
    assert_eq!(files(&sandbox), expected);
    let without_theirs = sandbox.data_files().into_iter().filter(|(key, _)| *key != theirs);
    assert_eq!(contents(without_theirs), truth);
    sandbox.run(&["verify"]).expect(0);
    let refused = sandbox.run(&["vacuum", "--retention", "59m"]).expect(2);
    assert!(refused.stderr.contains("too short"), "{refused:?}");
    let sandbox = sandbox.in_layout("stream");
    sandbox.run(&["vacuum"]).expect(78);
}

#[test]
fn a_lake_has_one_format() {
    const ALL: &[&str] = &["run", "plan", "status", "verify", "repair", "migrate"];
    let refused = |sandbox: &Sandbox, told: &str, subcommands: &[&str]| {
        for subcommand in subcommands {
            let ran = sandbox.run(&[subcommand]).expect(78);
            let said = format!("{}{}", ran.stdout, ran.stderr);
            assert!(said.contains(told) && said.contains("lake.format"), "{said}");
        }
    };
    let sandbox = Sandbox::new(1, &months_ago(1), settled());
    sandbox.run(&["run"]).expect(0);
    let sandbox = sandbox.in_layout("delta");
    refused(&sandbox, "the lake is kept in Parquet files", ALL);
    std::fs::remove_dir_all(sandbox.path("lake")).unwrap();
    sandbox.run(&["run"]).expect(0);
    let before = sandbox.data_files();
    for layout in ["stream", "packed"] {
        let asked = format!("layout = \"{layout}\"");
        edit(&sandbox, "format = \"delta\"", &asked);
        refused(&sandbox, "the lake is kept as Delta tables", ALL);
        edit(&sandbox, &asked, "format = \"delta\"");
    }
    assert!(sandbox.data_files() == before);
    let sql = sandbox.run(&["sql", "redshift"]).expect(2);
    assert!(sql.stderr.contains("Delta tables"), "{sql:?}");
    edit(
        &sandbox,
        "format = \"delta\"",
        "format = \"delta\"\nlayout = \"packed\"\ngroups = 2\nsingle_writer = true",
    );
    let mistakes = sandbox.run(&["validate"]).expect(78);
    let said = format!("{}{}", mistakes.stdout, mistakes.stderr);
    for key in ["lake.layout", "lake.groups", "lake.single_writer"] {
        assert!(said.contains(key), "{key}: {said}");
    }
}

/// Processes that write the same tables at once lose nothing: whoever comes second makes the next version.
#[test]
fn fault_49_processes_that_share_tables() {
    const STREAMS: usize = 6;
    const LAKE: &str = "s3://bucket/lake";
    let (sandbox, moto) = (Sandbox::new(STREAMS, "2026-01-01", settled()).in_layout("delta"), Moto::start());
    moto.create_bucket("bucket");
    s3::configure(&sandbox, STREAMS, &months_ago(2), &moto.endpoint);
    let month = &months_ago(2)[..7];
    for round in 0..3 {
        turn(&sandbox, round % 2 == 1);
        let run = |arguments: &[&str]| {
            let shared = ["backfill", "--from", month, "--to", month];
            let mut command = s3::command(&sandbox, LAKE, &[&shared, arguments].concat());
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        };
        // One for each stream, and two for all of them.
        let mut runs: Vec<_> = (1..=STREAMS).map(|n| run(&["--stream", &format!("s{n}")])).collect();
        runs.extend([run(&["--force"]), run(&["--force"])]);
        for run in runs {
            Ran::from(run.wait_with_output().unwrap()).expect(0);
        }
        let found = s3::lake_of(moto.objects("bucket"));
        assert_eq!(found.len(), 3 * STREAMS, "round {round}: {:?}", found.keys());
        s3::run(&sandbox, LAKE, &["verify", "--stream", "s1"]);
        let again = s3::run(&sandbox, LAKE, &["backfill", "--from", month, "--to", month]).expect(0);
        assert!(!again.stdout.contains("committed"), "{again:?}");
    }
}

/// Whoever reads while runs come and are killed finds each row once.
#[test]
#[expect(clippy::disallowed_methods, reason = "the program under test lives in real time")]
fn readers_never_find_a_row_twice() {
    let sandbox = Sandbox::new(3, &months_ago(2), settled()).in_layout("delta");
    let stop = sandbox.path("stop");
    let arguments = ["--until", stop.to_str().unwrap()];
    let watch = reader(&sandbox.path("lake"), &arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut killed = 0;
    for round in 0..16u64 {
        turn(&sandbox, round % 2 == 1);
        let mut run = sandbox.command(&["run"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(100 + 60 * round));
        killed += u32::from(run.try_wait().unwrap().is_none());
        let _ = run.kill();
        run.wait().unwrap();
    }
    sandbox.run(&["run"]).expect(0);
    let truth = contents(sandbox.data_files());
    assert_eq!(truth.len(), 27);
    sandbox.run(&["verify"]).expect(0);
    std::thread::sleep(Duration::from_secs(2));
    std::fs::write(&stop, "").unwrap();
    let output = watch.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(killed >= 4, "only {killed} were killed");
    assert!(told["reads"].as_u64() > Some(5) && told["versions"].as_u64() > Some(3), "{told}");
}

/// A file that counts and is gone, or damaged, or that another program has written: `verify` names it, `repair` fetches it.
#[test]
fn fault_40_a_tables_file_that_is_gone_damaged_or_rewritten() {
    let sandbox = Sandbox::new(1, &months_ago(2), settled()).in_layout("delta");
    sandbox.run(&["run"]).expect(0);
    let truth = contents(sandbox.data_files());
    let live: Vec<_> =
        counting(sandbox.data_files()).into_iter().filter(|(key, _)| key.contains(DAILY)).collect();
    let path = |n: usize| sandbox.path(&format!("lake/{}", live[n].0));
    std::fs::remove_file(path(0)).unwrap();
    let mut torn = live[1].1.clone();
    let middle = torn.len() / 2;
    torn[middle] ^= 0xff;
    std::fs::write(path(1), torn).unwrap();
    let verdict = sandbox.run(&["verify"]).expect(11);
    for (key, _) in &live[..2] {
        assert!(verdict.stdout.contains(key.as_str()), "{key}: {verdict:?}");
    }
    sandbox.run(&["repair"]).expect(0);
    sandbox.run(&["verify"]).expect(0);
    assert_eq!(contents(sandbox.data_files()), truth);
    // What was unsound is kept.
    let kept = walk(&sandbox.path("lake/_trendlake/damaged"));
    assert_eq!(kept.len(), 1, "{kept:?}");
    holds_the_same_rows_twice(&sandbox);
}

/// The tables as the other implementation reads them before and after it has compacted them, and after a repair.
#[track_caller]
fn holds_the_same_rows_twice(sandbox: &Sandbox) {
    let lake = sandbox.path("lake");
    let rows = |found: &Value| -> BTreeMap<String, Value> {
        found.as_object().unwrap().iter().map(|(name, told)| (name.clone(), told["rows"].clone())).collect()
    };
    let before = rows(&read(&lake, &[]));
    assert_eq!(rows(&read(&lake, &["--rewrite"])), before);
    let ran = sandbox.run(&["run"]);
    assert_eq!(ran.code, 11, "{ran:?}");
    assert!(format!("{}{}", ran.stdout, ran.stderr).contains("another program has written it"), "{ran:?}");
    sandbox.run(&["repair"]).expect(0);
    sandbox.run(&["run"]).expect(0);
    assert_eq!(rows(&read(&lake, &[])), before);
}
