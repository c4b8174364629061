//! The command line as a person meets it: exit code, stdout and stderr, word for word.
//!
//! The texts lie in `snapshots/`. After a wanted change, `INSTA_UPDATE=always cargo test --test it cli::`
//! writes them anew, and the diff is read before it is kept.

use std::process::{Command, Stdio};

use chrono::{Datelike, Months, NaiveDate, Utc};
use figment::providers::{Format, Toml};
use serde_json::{Value, json};
use trendlake::simulator::Settings;

use super::moto::python;
use super::support::{Ran, SECRET, Sandbox, program, settled};

/// Stands wherever a user could put a secret by mistake.
const CANARY: &str = "c4n4ry-in-the-file";

/// A folder without a configuration and without a simulator.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.0.path().join(name), text).unwrap();
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        self.run_with(&[], arguments)
    }

    fn run_with(&self, variables: &[(&str, &str)], arguments: &[&str]) -> Ran {
        let mut command = program();
        command.args(arguments).envs(variables.iter().copied()).current_dir(self.0.path());
        command.output().unwrap().into()
    }
}

/// Compares all that a command did with the snapshot of this name.
#[track_caller]
pub(crate) fn snapshot(name: &str, ran: &Ran) {
    compare(name, ran, &[]);
}

/// The same for output that depends on when it is made.
#[track_caller]
fn dated_snapshot(name: &str, ran: &Ran) {
    // In this order: a date holds a month, an instant holds a date.
    compare(
        name,
        ran,
        &[
            (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "[time]"),
            (r"\d{4}-\d\d-\d\d", "[date]"),
            (r"\b\d{4}-\d\d\b", "[month]"),
            (r"(?m)in (\d+\.\d s|\d+\w+( \d+\w+)?)$", "in [duration]"),
            (r"\d+ ms\b", "[milliseconds]"),
            (r"\b[1-9][\d,]* rows", "[n] rows"),
            (r"[\d,]+ unique users", "[n] unique users"),
            (r"\([1-9]\d*(\.\d)? [kM]?B\)", "([size])"),
            (r"(?m)^  \d{4} .*$", "  [year]   [signs]"),
            (r"rows=\d+ bytes=\d+", "rows=[n] bytes=[n]"),
        ],
    );
}

#[track_caller]
fn compare(name: &str, ran: &Ran, more: &[(&str, &str)]) {
    for secret in [CANARY, SECRET] {
        assert!(!ran.stdout.contains(secret) && !ran.stderr.contains(secret), "{ran:?}");
    }
    let text = format!(
        "exit code: {}\n----- stdout -----\n{}----- stderr -----\n{}",
        ran.code, ran.stdout, ran.stderr
    );
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    for (pattern, replacement) in more {
        settings.add_filter(pattern, *replacement);
    }
    settings.add_filter(r"127\.0\.0\.1:\d+", "127.0.0.1:[port]");
    settings.add_filter(r"\b[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}\b", "[run id]");
    settings.add_filter(r"jti [0-9a-f-]{36}", "jti [uuid]");
    settings.add_filter(&format!(r"\b{}\b", env!("CARGO_PKG_VERSION").replace('.', r"\.")), "[version]");
    settings.bind(|| insta::assert_snapshot!(name, text));
}

#[expect(clippy::disallowed_methods, reason = "the program under test lives in real time")]
fn first_of_month(months_ago: u32) -> NaiveDate {
    Utc::now().date_naive().with_day(1).unwrap() - Months::new(months_ago)
}

/// One stream from so many months ago on. Every month but the one under way is final at once, so
/// that what is shown does not depend on the day; and one unit goes on at a time, in a fixed order.
fn calm(months_ago: u32) -> Sandbox {
    let sandbox = Sandbox::new(1, "2026-01-01", settled());
    sandbox.configure(
        1,
        &first_of_month(months_ago).to_string(),
        "settle_days = 0\n[concurrency]\nunits_per_stream = 1\n",
    );
    sandbox
}

#[test]
fn help_and_misuse() {
    let folder = Folder::new();
    for (name, arguments) in [
        ("no_arguments", &[][..]),
        ("help", &["--help"]),
        ("version", &["--version"]),
        ("unknown_subcommand", &["exprot"]),
        ("unknown_flag", &["run", "--dry-run"]),
        ("help_run", &["run", "--help"]),
        ("help_backfill", &["backfill", "--help"]),
        ("unknown_fault", &["simulate", "--fault", "earthquake"]),
    ] {
        snapshot(name, &folder.run(arguments));
    }
}

#[test]
fn init_keeps_what_is_there() {
    let folder = Folder::new();
    snapshot("init", &folder.run(&["init"]));
    let path = folder.0.path().join("trendlake.toml");
    let starter = std::fs::read_to_string(&path).unwrap();
    assert_eq!(starter, include_str!("../../config/trendlake.toml"));

    std::fs::write(&path, "# mine\n").unwrap();
    snapshot("init_again", &folder.run(&["init"]));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "# mine\n");
    snapshot("init_force", &folder.run(&["init", "--force"]));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), starter);
    snapshot("init_without_folder", &folder.run(&["init", "no/such/folder/trendlake.toml"]));
}

#[test]
fn the_starter_lacks_only_its_secret() {
    let folder = Folder::new();
    folder.run(&["init"]).expect(0);
    snapshot("validate_starter", &folder.run(&["validate"]));
    std::fs::create_dir(folder.0.path().join("secrets")).unwrap();
    folder.write("secrets/support", CANARY);
    snapshot("validate_starter_with_secret", &folder.run(&["validate"]));
    folder.write("secrets/support", "\n");
    snapshot("validate_starter_with_empty_secret", &folder.run(&["validate"]));
}

/// Mistakes that stand in nobody's way, each with the key by which it must be reported.
const MISTAKES: &str = r#"
surprise = true
[lake]
url = "s3://bucket/prefix"
single_writter = true
retry_timeout = "soon"
[lake.options]
aws_secret_access_key = "c4n4ry-in-the-file"
aws_regoin = "eu-central-1"
[defaults]
zome = "UTC"
base_url = "https://platform.kore.ai"
zone = "UTC"
first_date = "2026-01-01"
client_id = "cs-1"
client_secret_file = "secret"
[streams.bad-date]
id = "st-1"
first_date = "2026-02-30"
[streams.bad-zone]
id = "st-2"
zone = "Mars/Olympus"
[streams.grains]
id = "st-3"
grains = ["weekly"]
[streams.in-the-open]
id = "st-4"
base_url = "http://platform.kore.ai"
[streams.secret-in-file]
id = "st-5"
client_secret = "c4n4ry-in-the-file"
[streams.secret-missing]
id = "st-6"
client_secret_file = "no/such/file"
[streams.slices]
id = "st-7"
slices = ["everything"]
[streams.twin-a]
id = "st-8"
[streams.twin-b]
id = "ST-8"
[streams.types]
id = "st-9"
settle_days = "three"
subject = 5
[streams.user-info]
id = "st-10"
base_url = "https://me:c4n4ry-in-the-file@platform.kore.ai"
[http]
timeout = 60
[retry]
attempts = 0
[serve]
schedule = ["17 * * * *", "0 3 30 2 *"]
zone = "Mars/Olympus"
listen = "here"
"#;

#[test]
fn fault_35_every_mistake_of_a_file_is_told_at_once() {
    let folder = Folder::new();
    folder.write("secret", "s");
    folder.write("trendlake.toml", MISTAKES);
    let ran = folder.run(&["validate"]);
    for key in [
        "surprise",
        "lake.single_writter",
        "lake.retry_timeout",
        "lake.options.aws_secret_access_key",
        "lake.options.aws_regoin",
        "defaults.zome",
        "streams.bad-date.first_date",
        "streams.bad-zone.zone",
        "streams.grains.grains",
        "streams.in-the-open.base_url",
        "streams.secret-in-file.client_secret",
        "streams.secret-missing.client_secret_file",
        "streams.slices.slices.0",
        "streams.twin-b.id",
        "streams.types.settle_days",
        "streams.types.subject",
        "streams.user-info.base_url",
        "http.timeout",
        "retry.attempts",
        "serve.listen",
        "serve.schedule",
        "serve.zone",
    ] {
        assert!(ran.stderr.contains(&format!("`{key}`: ")), "{key} is not told:\n{}", ran.stderr);
    }
    snapshot("validate_mistakes", &ran);
    // Nothing starts with it.
    let run = folder.run(&["run"]).expect(78);
    assert_eq!(run.stderr, ran.stderr);
    assert!(!folder.0.path().join("lake").exists());
}

/// A configuration with this text in place of the stream's table.
fn with_stream(table: &str) -> String {
    format!(
        "[lake]\nurl = \"lake\"\n[defaults]\nbase_url = \"https://platform.kore.ai\"\nzone = \"UTC\"\n\
         first_date = \"2026-01-01\"\nclient_id = \"cs-1\"\nclient_secret_file = \"secret\"\n{table}"
    )
}

/// What `validate` says of a file that it must refuse.
#[track_caller]
fn refused(text: &str) -> String {
    let folder = Folder::new();
    folder.write("secret", "s");
    folder.write("trendlake.toml", text);
    let ran = folder.run(&["validate"]).expect(78);
    assert!(!ran.stderr.contains(CANARY), "{}", ran.stderr);
    ran.stderr
}

#[test]
fn fault_53_hostile_stream_ids() {
    let long = "x".repeat(300);
    let ids = [
        r"../../etc",
        r"a/b",
        r"a\\..\\b",
        r"%2e%2e",
        r"x=y",
        r"a\u0000b",
        r"a\u202eb",
        r"a\u200fb",
        r"..",
        r".",
        r"",
        r"-a",
        r"a\nb",
        &long,
    ];
    for id in ids {
        let said = refused(&with_stream(&format!("[streams.s]\nid = \"{id}\"\n")));
        assert!(said.contains("`streams.s.id`: "), "{id}: {said}");
        assert!(!said.contains(['\0', '\u{202e}', '\u{200f}']), "{said:?}");
    }
}

#[test]
fn fault_54_urls_that_say_too_much_or_the_wrong_thing() {
    for url in [
        "https://me@platform.kore.ai",
        "https://:c4n4ry-in-the-file@platform.kore.ai",
        "https://platform.kore.ai/?key=c4n4ry-in-the-file",
        "https://platform.kore.ai/#c4n4ry-in-the-file",
        "ftp://platform.kore.ai",
        "file:///etc/passwd",
        "platform.kore.ai",
        "https://",
        "http://platform.kore.ai",
        "http://127.0.0.1.example",
        "http://localhost.example",
        "http://10.0.0.1",
        "",
    ] {
        let said = refused(&with_stream(&format!("[streams.s]\nid = \"st-1\"\nbase_url = \"{url}\"\n")));
        assert!(said.contains("`streams.s.base_url`: "), "{url}: {said}");
    }
    for url in [
        "s3://me:c4n4ry-in-the-file@bucket/x",
        "s3://bucket/x?token=c4n4ry-in-the-file",
        "s3://",
        "ftp://x/y",
        "",
    ] {
        let said =
            refused(&with_stream("[streams.s]\nid = \"st-1\"\n").replace("\"lake\"", &format!("{url:?}")));
        assert!(said.contains("`lake.url`: "), "{url}: {said}");
    }
}

#[test]
fn a_section_of_the_wrong_type_hides_no_other_problem() {
    for section in ["retry = 3", "streams = []", "http = \"c4n4ry-in-the-file\"", "lake = \"./lake\""] {
        let (key, _) = section.split_once(" = ").unwrap();
        let mut text = with_stream("[streams.s]\nid = \"a/b\"\nzone = \"Mars/Olympus\"\n");
        if key == "streams" {
            text = text.replace("[streams.s]", "[defaults.s]");
        }
        if key == "lake" {
            text = text.replace("[lake]\nurl = \"lake\"\n", "");
        }
        let said = refused(&format!("{section}\n{text}"));
        assert!(said.contains(&format!("`{key}`: expected a table")), "{said}");
        if key != "streams" {
            assert!(
                said.contains("`streams.s.id`: ") && said.contains("`streams.s.zone`: "),
                "{key}: {said}"
            );
        }
    }
}

#[test]
fn a_bad_lake_hides_no_bad_option() {
    let options = "[lake.options]\naws_secret_access_key = \"c4n4ry-in-the-file\"\n";
    for url in ["ftp://x/y", "s3://", ""] {
        let text = with_stream(&format!("[streams.s]\nid = \"st-1\"\n{options}"));
        let said = refused(&text.replace("\"lake\"", &format!("{url:?}")));
        assert!(said.contains("`lake.url`: "), "{said}");
        assert!(said.contains("`lake.options.aws_secret_access_key`: credentials"), "{said}");
    }
}

#[test]
fn another_problem_of_a_stream_hides_no_twin() {
    let said = refused(&with_stream(
        "[streams.a]\nid = \"st-1\"\nzone = \"x\"\n[streams.b]\nid = \"st-1\"\nzone = \"y\"\n",
    ));
    assert!(said.contains("`streams.b.id`: `streams.a` has the same id"), "{said}");
}

#[test]
fn several_bad_slices_are_all_told() {
    let said = refused(&with_stream("[streams.s]\nid = \"st-1\"\nslices = [\"one\", \"two\"]\n"));
    assert!(said.contains("`streams.s.slices.0`: ") && said.contains("`streams.s.slices.1`: "), "{said}");
}

#[test]
fn a_value_of_the_wrong_type_is_not_also_missing() {
    for (key, value) in [("id", "12"), ("client_id", "12"), ("zone", "5"), ("first_date", "2026")] {
        let table = if key == "id" { String::new() } else { "id = \"st-1\"\n".into() };
        let said = refused(&with_stream(&format!("[streams.s]\n{table}{key} = {value}\n")));
        assert!(said.contains("has 1 problem\n"), "{key}: {said}");
        assert!(said.contains(&format!("`streams.s.{key}`: expected a text")), "{key}: {said}");
    }
}

#[test]
fn a_file_that_cannot_be_read() {
    let folder = Folder::new();
    snapshot("no_file", &folder.run(&["validate"]));
    snapshot("no_file_json", &folder.run(&["validate", "--output", "json"]));
    folder.write("empty.toml", "");
    snapshot("empty_file", &folder.run(&["validate", "--config", "empty.toml"]));
    // A missing quote turns the secret's line into the one that the parser shows.
    folder.write("quote.toml", &format!("[defaults]\nclient_secret = \"{CANARY}\nzone = \"UTC\"\n"));
    snapshot("syntax_error", &folder.run(&["validate", "--config", "quote.toml"]));
    folder.write("bare.toml", &format!("[defaults]\nclient_secret = {CANARY}\n"));
    snapshot("syntax_error_bare_value", &folder.run(&["validate", "--config", "bare.toml"]));
    folder.write("twice.toml", &format!("[defaults]\nzone = \"UTC\"\nzone = \"{CANARY}\"\n"));
    snapshot("syntax_error_key_twice", &folder.run(&["validate", "--config", "twice.toml"]));
}

#[test]
fn the_environment_overrides_the_file_and_flags_override_both() {
    let folder = Folder::new();
    folder.write("secret", "s");
    folder.write("trendlake.toml", &with_stream("[streams.s]\nid = \"st-1\"\n"));
    let lake = |variables: &[(&str, &str)], arguments: &[&str]| {
        let arguments = [&["validate", "--output", "json"], arguments].concat();
        folder.run_with(variables, &arguments).expect(0).json()["lake"].clone()
    };
    assert_eq!(lake(&[], &[]), "lake");
    let variable = ("TRENDLAKE__LAKE__URL", "s3://from/environment");
    assert_eq!(lake(&[variable], &[]), "s3://from/environment");
    assert_eq!(lake(&[variable], &["--lake", "s3://from/flag"]), "s3://from/flag");
    // What Kubernetes sets for a service of our name has one underscore and means nothing.
    assert_eq!(lake(&[("TRENDLAKE_PORT", "tcp://10.0.0.1:80"), ("TRENDLAKE_LAKE_URL", "x")], &[]), "lake");

    let typo = folder.run_with(&[("TRENDLAKE__LAKE__ULR", CANARY)], &["validate"]);
    snapshot("environment_typo", &typo);
    let number = folder.run_with(&[("TRENDLAKE__LAKE__URL", "12345")], &["validate"]);
    snapshot("environment_wrong_type", &number);
    let config = folder.run_with(&[("TRENDLAKE_CONFIG", "elsewhere.toml")], &["validate"]);
    snapshot("environment_config", &config);
}

#[test]
fn ranges_and_streams_that_make_no_sense() {
    let sandbox = calm(0);
    for (name, arguments) in [
        ("backfill_bad_month", &["backfill", "--from", "2025-13"][..]),
        ("backfill_without_from", &["backfill"]),
        ("backfill_backwards", &["backfill", "--from", "2026-03", "--to", "2026-01"]),
        ("unknown_stream", &["run", "--stream", "nope"]),
        ("unknown_stream_json", &["plan", "--stream", "nope", "--output", "json"]),
    ] {
        snapshot(name, &sandbox.run(arguments));
    }
    dated_snapshot("backfill_future", &sandbox.run(&["backfill", "--from", "2990-01"]));
    assert!(sandbox.data_files().is_empty());
}

#[test]
fn a_life_of_a_lake() {
    let sandbox = calm(3);
    snapshot("validate", &{
        let ran = sandbox.run(&["validate"]);
        Ran { stdout: ran.stdout.replace(&first_of_month(3).to_string(), "[date]"), ..ran }
    });
    dated_snapshot("plan_empty_lake", &sandbox.run(&["plan"]));
    dated_snapshot("run_first", &sandbox.run(&["run"]));
    dated_snapshot("plan_after_run", &sandbox.run(&["plan"]));
    dated_snapshot("run_again", &sandbox.run(&["run"]));
    dated_snapshot("doctor", &sandbox.run(&["doctor"]));
    let (from, to) = (first_of_month(5).to_string(), first_of_month(4).to_string());
    let range = ["--from", &from[..7], "--to", &to[..7]];
    dated_snapshot("plan_backfill", &sandbox.run(&[&["plan"][..], &range].concat()));
    dated_snapshot("backfill", &sandbox.run(&[&["backfill"][..], &range].concat()));
    dated_snapshot("backfill_again", &sandbox.run(&[&["backfill"][..], &range].concat()));

    let foreign = sandbox.path("lake/user_engagement_daily/stream=st-1/notes.txt");
    std::fs::write(foreign, "by hand").unwrap();
    let oldest = &first_of_month(3).to_string()[..7];
    let damaged = format!("lake/user_engagement_hourly/stream=st-1/month={oldest}/data.parquet");
    std::fs::remove_file(sandbox.path(&damaged)).unwrap();
    dated_snapshot("plan_with_gap_and_foreign_file", &sandbox.run(&["plan"]));
}

#[test]
fn a_run_that_fails() {
    let sandbox = calm(1);
    std::fs::write(sandbox.path("secret"), "another secret").unwrap();
    dated_snapshot("run_wrong_credentials", &sandbox.run(&["run"]));
    dated_snapshot("doctor_wrong_credentials", &sandbox.run(&["doctor"]));

    // A free port could become another test's; nobody listens on the first one.
    let closed = "http://127.0.0.1:1";
    dated_snapshot("run_nobody_there", &sandbox.run(&["run", "--base-url", closed]));
}

#[test]
fn a_run_with_faults() {
    let faults = vec!["http-500:first=1".parse().unwrap()];
    let sandbox = Sandbox::new(1, "2026-01-01", Settings { faults, ..settled() });
    sandbox.configure(
        1,
        &first_of_month(0).to_string(),
        "settle_days = 0\n[concurrency]\nunits_per_stream = 1\n",
    );
    dated_snapshot("run_with_a_repeated_request", &sandbox.run(&["run"]));
}

#[test]
fn status_of_one_month() {
    let sandbox = calm(0);
    dated_snapshot("status_empty_lake", &sandbox.run(&["status"]));
    sandbox.run(&["run"]).expect(0);
    dated_snapshot("status", &sandbox.run(&["status"]));
}

#[test]
fn the_calendar_of_status() {
    let sandbox = calm(13);
    let signs = |sandbox: &Sandbox| {
        let ran = sandbox.run(&["status"]).expect(0);
        assert_eq!(ran.stderr, "");
        ran.stdout
    };
    let missing = signs(&sandbox);
    assert!(missing.ends_with("· missing\nno run yet\n"), "{missing}");
    assert_eq!(calendar(&missing), ["daily", "hourly"].map(|_| expected_calendar(13, |_| '·')).concat());

    sandbox.run(&["run"]).expect(0);
    let oldest = &first_of_month(13).to_string()[..7];
    let damaged = format!("lake/user_engagement_daily/stream=st-1/month={oldest}/data.parquet");
    std::fs::remove_file(sandbox.path(&damaged)).unwrap();
    let after = signs(&sandbox);
    assert!(after.contains("● final   ◐ provisional   · missing\n"), "{after}");
    assert!(after.lines().last().unwrap().ends_with(" with exit code 0"), "{after}");
    let sign = |grain: &str, months_ago| match (grain, months_ago) {
        (_, 0) => '◐',
        ("daily", 13) => '·',
        _ => '●',
    };
    let expected = ["daily", "hourly"].map(|grain| expected_calendar(13, |ago| sign(grain, ago)));
    assert_eq!(calendar(&after), expected.concat());
}

/// The lines of a calendar that begin with a year.
fn calendar(text: &str) -> Vec<String> {
    let is_year = |line: &&str| line.trim_start().starts_with('2') && line.starts_with("  ");
    text.lines().filter(is_year).map(ToOwned::to_owned).collect()
}

/// The calendar of one grain, from so many months ago up to now.
fn expected_calendar(months_ago: u32, sign: impl Fn(u32) -> char) -> Vec<String> {
    let mut lines: Vec<(i32, [char; 12])> = Vec::new();
    for ago in (0..=months_ago).rev() {
        let month = first_of_month(ago);
        if lines.last().is_none_or(|(year, _)| *year != month.year()) {
            lines.push((month.year(), [' '; 12]));
        }
        lines.last_mut().unwrap().1[month.month0() as usize] = sign(ago);
    }
    let line = |(year, signs): &(i32, [char; 12])| {
        let signs: Vec<String> = signs.iter().map(ToString::to_string).collect();
        format!("  {year:<8} {}", signs.join(" ").trim_end())
    };
    lines.iter().map(line).collect()
}

#[test]
fn the_completions_of_bash() {
    let ran = Folder::new().run(&["completions", "bash"]).expect(0);
    let head: String = ran.stdout.split_inclusive('\n').take(5).collect();
    snapshot("completions_bash", &Ran { code: ran.code, stdout: head, stderr: ran.stderr.clone() });
    for subcommand in
        ["init", "validate", "doctor", "plan", "run", "backfill", "status", "schema", "simulate"]
    {
        assert!(ran.stdout.contains(&format!("trendlake__subcmd__{subcommand}")), "{subcommand}");
    }
    let path = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(path.path(), &ran.stdout).unwrap();
    assert!(Command::new("bash").arg("-n").arg(path.path()).status().unwrap().success());
    snapshot("completions_unknown_shell", &Folder::new().run(&["completions", "tcsh"]));
}

/// Validates each value against the schema and prints the list of the verdicts.
const JUDGE: &str = "
import json, sys, jsonschema
given = json.load(sys.stdin)
kind = jsonschema.validators.validator_for(given['schema'])
kind.check_schema(given['schema'])
print(json.dumps([kind(given['schema']).is_valid(value) for value in given['values']]))
";

#[test]
fn the_schema_knows_what_the_program_knows() {
    let schema = Folder::new().run(&["schema"]).expect(0).json();
    let mut tables = 0;
    every_table(&schema, &mut |table| {
        tables += 1;
        assert_eq!(table["additionalProperties"], json!(false), "{table}");
    });
    assert!(tables >= 7, "only {tables} tables in {schema}");

    let read = |text: &str| figment::Figment::from(Toml::string(text)).extract::<Value>().unwrap();
    let good = with_stream("[streams.s]\nid = \"st-1\"\n");
    // Each with whether it is valid.
    let cases = [
        (read(include_str!("../../config/trendlake.toml")), true),
        (read(&good), true),
        (read(&format!("{good}slices = \"dashboard\"\n")), true),
        (read(&format!("{good}slices = [\"all\", {{ channel = \"rtm\" }}]\n")), true),
        (read(&format!("{good}rate_limits = [{{ requests = 60, per = \"1m\" }}]\n")), true),
        (read(&format!("{good}slices = [{{ chanel = \"rtm\" }}]\n")), false),
        (read(&format!("{good}rate_limits = [{{ requests = 60, per = \"1m\", burst = 2 }}]\n")), false),
        (read(&format!("{good}zome = \"UTC\"\n")), false),
        (read(&format!("{good}zone = 5\n")), false),
        (read(&format!("surprise = true\n{good}")), false),
        (read(&format!("{good}[http]\nproxxy = \"x\"\n")), false),
    ];
    let (values, expected): (Vec<_>, Vec<_>) = cases.into_iter().unzip();
    let mut judge = Command::new(python("python"))
        .args(["-c", JUDGE])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    serde_json::to_writer(judge.stdin.take().unwrap(), &json!({ "schema": schema, "values": values }))
        .unwrap();
    let output = judge.wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(serde_json::from_slice::<Vec<bool>>(&output.stdout).unwrap(), expected);
}

/// Visits every schema of a table with named keys.
fn every_table(node: &Value, visit: &mut impl FnMut(&Value)) {
    match node {
        Value::Object(map) => {
            if map.get("properties").is_some_and(Value::is_object) && map.contains_key("type") {
                visit(node);
            }
            map.values().for_each(|value| every_table(value, visit));
        }
        Value::Array(list) => list.iter().for_each(|value| every_table(value, visit)),
        _ => {}
    }
}
