//! What `trendlake sql` prints, carried out: every engine finds the same rows, to the last one.
//!
//! A lake is a folder, and a way of reading is a folder of scripts: what `tests/warehouse/` does with them
//! does not depend on how the lake is laid out.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use arrow::datatypes::Schema;
use chrono::{TimeDelta, Utc};
use serde_json::{Value, json};
use trendlake::clock::Clock;
use trendlake::model::{Dataset, RESTATEMENTS};
use trendlake::simulator::Settings;
use trendlake::table;

use super::cli::snapshot;
use super::moto::python;
use super::shelves::LAYOUTS;
use super::spine::months_ago;
use super::support::{Sandbox, settled, simulated};

/// What prints SQL, with a lake of each kind that it reads.
const ENGINES: [(&str, &[&str]); 10] = [
    ("duckdb", &["/srv/the lake's", "s3://bucket/some/lake", "gs://bucket", "az://box/lake"]),
    ("clickhouse", &["/srv/the lake's", "s3://bucket/some/lake", "gs://bucket"]),
    ("postgres", &["/srv/the lake's", "s3://bucket/some/lake", "gs://bucket", "az://box/lake"]),
    ("snowflake", &["s3://bucket/some/lake", "gs://bucket", AZURE]),
    ("bigquery", &["gs://bucket/some/lake"]),
    ("athena", &["s3://bucket/some/lake"]),
    ("trino", &["s3://bucket/some/lake", "gs://bucket", AZURE]),
    ("redshift", &["s3://bucket/some/lake"]),
    ("databricks", &["s3://bucket/some/lake", "gs://bucket", AZURE]),
    ("spark", &["/srv/the lake's", "s3://bucket/some/lake", "gs://bucket", AZURE]),
];

const AZURE: &str = "abfss://box@acme.dfs.core.windows.net/lake";

/// A program of `tests/warehouse/`, with lines in and lines out.
struct Talk {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Talk {
    fn start(program: &str, arguments: &[&Path], engines: &[&str]) -> Self {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/warehouse").join(program);
        let mut child = Command::new(python("python"))
            .arg("-B")
            .arg(program)
            .args(arguments)
            .args(engines)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (stdin, stdout) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        Self { child, stdin, stdout }
    }

    /// The next line, or all that the program has to say about why there is none.
    fn line(&mut self) -> String {
        let mut line = String::new();
        if self.stdout.read_line(&mut line).unwrap() == 0 {
            let mut why = String::new();
            self.child.stderr.take().unwrap().read_to_string(&mut why).unwrap();
            panic!("{why}");
        }
        line
    }

    fn ask(&mut self) -> Value {
        self.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
        serde_json::from_str(&self.line()).unwrap()
    }

    /// Ends the input, and gives the last line.
    fn end(mut self) -> Value {
        drop(self.stdin.take());
        let last = serde_json::from_str(&self.line()).unwrap();
        self.close();
        last
    }

    /// Waits until it has ended, and with it whatever it has started.
    fn close(mut self) {
        drop(self.stdin.take());
        assert!(self.child.wait().unwrap().success());
    }
}

/// What `sql` prints for these, as text and as JSON, in a folder.
fn scripts(sandbox: &Sandbox, engines: &[&str]) -> PathBuf {
    let folder = sandbox.path("scripts");
    std::fs::create_dir(&folder).unwrap();
    for engine in engines {
        let text = sandbox.run(&["sql", engine, "--restatements"]).expect(0).stdout;
        std::fs::write(folder.join(format!("{engine}.sql")), text).unwrap();
        let json = sandbox.run(&["sql", engine, "--restatements", "--output", "json"]).expect(0).stdout;
        std::fs::write(folder.join(format!("{engine}.json")), json).unwrap();
    }
    folder
}

/// Streams whose folders look like numbers, of two zones and two slices, and a simulator whose clock can be
/// moved, in which figures grow for two months: they have been restated once. One stream lacks figures, and has a name full of quotes.
fn restating(layout: &'static str, first_date: &str) -> (Clock, Sandbox) {
    const STREAMS: [(&str, &str, &str); 3] =
        [("\"it's, \\\"so\\\" \\\\ $1\"", "7", "UTC"), ("b", "8", "America/New_York"), ("c", "42", "UTC")];
    #[expect(clippy::disallowed_methods, reason = "the program under test lives in real time")]
    let clock = Clock::starting_at(Utc::now());
    let stream = |(_, id, _): (&str, &str, &str)| simulated(id.parse().unwrap(), id);
    let settings = Settings { restate_days: 60, streams: STREAMS.map(stream).into(), ..settled() };
    let sandbox = Sandbox::at(&clock, 0, first_date, settings).in_layout(layout);
    sandbox.simulator.set_faults(vec!["missing-day@7".parse().unwrap()]);
    let table = |(name, id, zone)| {
        format!(
            "[streams.{name}]\nid = \"{id}\"\nclient_id = \"{id}\"\nzone = \"{zone}\"\nslices = [\"all\", \"dashboard\"]\n\
             summaries = [\"month\", \"week\"]\n"
        )
    };
    sandbox.configure(0, first_date, &STREAMS.map(table).concat());
    sandbox.run(&["run"]).expect(0);
    clock.step(TimeDelta::days(3));
    sandbox.run(&["run"]).expect(0);
    (clock, sandbox)
}

/// Fills a lake with all that is peculiar, reads it, has figures restated, and reads it again.
fn every_engine_finds_every_row(layout: &'static str, engines: &[&str]) {
    // A year has both changes of the clocks.
    let (clock, sandbox) = restating(layout, &months_ago(12));
    // What is no data must not be read as such.
    for (name, bytes) in sandbox.data_files().into_iter().step_by(10) {
        let parked = sandbox.path("lake/_trendlake/parked/suspect").join(name);
        std::fs::create_dir_all(parked.parent().unwrap()).unwrap();
        std::fs::write(parked, bytes).unwrap();
    }

    let printed: Vec<_> =
        engines.iter().copied().filter(|engine| ENGINES.iter().any(|(name, _)| name == engine)).collect();
    let scripts = scripts(&sandbox, &printed);
    let mut readers = Talk::start("compare.py", &[&sandbox.path("lake"), &scripts], engines);
    let before = readers.ask();
    for dataset in Dataset::ALL {
        let found = &before["datasets"][dataset.as_str()];
        let count = |what: &str| found[what].as_u64().unwrap();
        assert_eq!(found["streams"], json!(["42", "7", "8"]));
        assert!(count("final") > 0 && count("final") < count("rows"), "{found}");
        assert_eq!(count("nulls") > 0, matches!(dataset, Dataset::Daily | Dataset::Hourly), "{found}");
    }
    let comments = before["comments"].as_object().unwrap();
    assert_eq!(comments.len(), printed.len());
    let comment =
        |schema: &Schema, name: &str| schema.field_with_name(name).unwrap().metadata()["comment"].clone();
    let expected = json!([
        comment(&table::schema(Dataset::Daily), "unique_users"),
        comment(&table::restatement_schema(), "old_value")
    ]);
    assert!(comments.values().all(|found| *found == expected), "{comments:?}");
    // The restatements have figures of days, whose hour is null, and of hours, and none of them is settled or not.
    let restated = |found: &Value, what: &str| found["datasets"][RESTATEMENTS][what].as_u64().unwrap();
    assert!(restated(&before, "nulls") > 0, "{before}");
    assert!(restated(&before, "nulls") < restated(&before, "rows"), "{before}");
    assert_eq!(restated(&before, "final"), 0);

    clock.step(TimeDelta::days(3));
    sandbox.run(&["run"]).expect(0);
    let after = readers.ask();
    for dataset in Dataset::ALL {
        let of = |found: &Value| found["datasets"][dataset.as_str()].clone();
        assert_eq!(of(&before)["rows"], of(&after)["rows"]);
        assert_ne!(of(&before)["digest"], of(&after)["digest"], "{dataset}: nothing was restated");
    }
    assert!(restated(&after, "rows") > restated(&before, "rows"), "{after}");
    readers.close();
}

#[test]
fn engines_read_the_same_rows_before_and_after_a_restatement() {
    for layout in LAYOUTS {
        every_engine_finds_every_row(
            layout,
            &["duckdb", "clickhouse", "postgres", "polars", "datafusion", "pyarrow"],
        );
    }
}

#[cfg(feature = "delta")]
#[test]
fn engines_read_the_same_rows_of_tables() {
    every_engine_finds_every_row(
        "delta",
        &["duckdb", "clickhouse", "postgres", "polars", "datafusion", "pyarrow"],
    );
}

#[test]
#[ignore = "Spark is large: `make warehouse` installs it"]
fn spark_reads_them_too() {
    for layout in LAYOUTS {
        every_engine_finds_every_row(layout, &["spark", "duckdb"]);
    }
}

/// Reads a lake over and over with these engines, while runs restate it, every other one of which is killed.
#[expect(clippy::disallowed_methods, reason = "the program under test lives in real time")]
fn no_row_is_found_twice(layout: &'static str, engines: &[&str]) {
    let (clock, sandbox) = restating(layout, &months_ago(3));
    let scripts = scripts(&sandbox, &[engines, &["dbt"]].concat());
    let mut reader = Talk::start("follow.py", &[&sandbox.path("lake"), &scripts], engines);
    assert_eq!(reader.line(), "reading\n");
    let month = &months_ago(3)[..7];
    let mut killed = 0;
    for patience in [40, 80, 120, 160, 240] {
        clock.step(TimeDelta::days(2));
        let mut run = sandbox.command(&["backfill", "--from", month, "--force"]);
        let mut run = run.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(patience));
        run.kill().unwrap();
        killed += usize::from(!run.wait().unwrap().success());
        sandbox.run(&["backfill", "--from", month, "--force"]).expect(0);
    }
    assert!(killed > 0, "every run had ended before it was killed");
    let found = reader.end();
    assert!(found["rounds"].as_u64().unwrap() > 10, "{found}");
    for dataset in Dataset::ALL {
        assert!(found["states"][dataset.as_str()].as_u64().unwrap() > 3, "the reader saw little: {found}");
    }
}

#[test]
fn a_reader_never_finds_a_row_twice() {
    for layout in LAYOUTS {
        no_row_is_found_twice(layout, &["duckdb"]);
    }
}

#[cfg(feature = "delta")]
#[test]
fn a_reader_of_tables_never_finds_a_row_twice() {
    no_row_is_found_twice("delta", &["duckdb", "clickhouse"]);
}

#[test]
fn every_statement_is_read_by_a_parser_of_its_dialect() {
    let folder = tempfile::tempdir().unwrap();
    let mut files = Vec::new();
    for (engine, places) in ENGINES {
        let layouts = [&[][..], &["--packed"], &["--delta"]];
        let cases = places.iter().flat_map(|place| layouts.map(|layout| (place, layout)));
        let cases = cases.filter(|(_, layout)| (engine, *layout) != ("redshift", &["--delta"]));
        for (number, (place, layout)) in cases.enumerate() {
            let mut program = super::support::program();
            program
                .args(["sql", engine, "--location", place, "--restatements", "--output", "json"])
                .args(layout);
            let output = program.output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            let file = folder.path().join(format!("{engine}-{number}.json"));
            std::fs::write(&file, output.stdout).unwrap();
            files.push(file);
        }
    }
    let files: Vec<_> = files.iter().map(PathBuf::as_path).collect();
    let found = Talk::start("parse.py", &files, &[]).end();
    for (name, found) in found.as_object().unwrap() {
        let unread = found["unread"].as_array().unwrap();
        // What the parser has no words for. Of these, DuckDB, ClickHouse and psql read their own in another test.
        let known = match name.split('-').next().unwrap() {
            "postgres" => &["\\"][..],
            "snowflake" => &["ALTER EXTERNAL TABLE", "ALTER ICEBERG TABLE", "CREATE CATALOG INTEGRATION"],
            "duckdb" => &["LOAD"],
            "clickhouse" | "bigquery" => &["CREATE OR REPLACE"],
            "redshift" => &["CREATE EXTERNAL SCHEMA"],
            "trino" => &["CALL"],
            _ => &[],
        };
        let is_known = |words: &Value| known.iter().any(|known| words.as_str().unwrap().starts_with(known));
        assert!(unread.iter().all(is_known), "{name}: {unread:?}");
        let statements = usize::try_from(found["statements"].as_u64().unwrap()).unwrap();
        assert!(statements > 6 && unread.len() < statements, "{name}: {found}");
    }
}

#[test]
fn what_is_printed() {
    let sandbox = Sandbox::new(2, "2025-04-15", settled());
    for (engine, lake) in [
        ("duckdb", "gs://bucket/lake"),
        ("clickhouse", "s3://bucket/lake"),
        ("snowflake", "s3://bucket/lake"),
        ("bigquery", "gs://bucket/lake"),
        ("athena", "s3://bucket/lake"),
        ("trino", "s3://bucket/lake"),
        ("redshift", "s3://bucket/lake"),
        ("databricks", "s3://bucket/lake"),
        ("spark", "s3://bucket/lake"),
        ("dbt", "s3://bucket/lake"),
    ] {
        let printed = sandbox.run(&["sql", engine, "--lake", lake, "--restatements"]);
        snapshot(&format!("sql_{engine}"), &printed);
    }
    let postgres = ["sql", "postgres", "--location", "/srv/lake", "--restatements"];
    snapshot("sql_postgres", &sandbox.run(&postgres));
    snapshot("sql_without_configuration", &sandbox.run(&["sql", "athena", "--location", "s3://bucket/lake"]));
    snapshot("sql_json", &sandbox.run(&["sql", "spark", "--location", "/srv/lake", "--output", "json"]));
    let packed = ["sql", "athena", "--location", "s3://bucket/lake", "--packed", "--restatements"];
    snapshot("sql_packed", &sandbox.run(&packed));
    for (engine, place) in [
        ("snowflake", "s3://bucket/lake"),
        ("bigquery", "gs://bucket/lake"),
        ("athena", "s3://bucket/lake"),
        ("trino", "s3://bucket/lake"),
        ("spark", "s3://bucket/lake"),
        ("redshift", "s3://bucket/lake"),
    ] {
        let printed = sandbox.run(&["sql", engine, "--location", place, "--delta"]);
        snapshot(&format!("sql_tables_{engine}"), &printed);
    }
    snapshot("sql_out_of_reach", &sandbox.run(&["sql", "snowflake"]));
    snapshot("sql_bad_location", &sandbox.run(&["sql", "duckdb", "--location", "ftp://user:pass@host/lake"]));
    snapshot("sql_unknown_engine", &sandbox.run(&["sql", "oracle"]));
}

#[test]
fn a_dataset_that_no_stream_fills_has_no_table() {
    let sandbox = Sandbox::new(1, "2026-01-01", settled());
    sandbox.configure(1, "2026-01-01", "grains = [\"daily\"]\n");
    let text = sandbox.run(&["sql", "duckdb"]).expect(0).stdout;
    for dataset in Dataset::ALL {
        let is_there = text.contains(&format!("CREATE OR REPLACE VIEW trendlake.{dataset} AS"));
        assert_eq!(is_there, dataset.unit_kind() == trendlake::model::UnitKind::Daily, "{dataset}");
    }
    assert!(!text.contains(RESTATEMENTS), "DuckDB would fail until there are any");
}
