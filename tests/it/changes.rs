//! The configuration changes, or the lake's own notes do: faults 51 and 52.

use std::collections::BTreeMap;
use std::path::PathBuf;

use arrow::array::{Array, AsArray};
use bytes::Bytes;
use serde_json::Value;
use trendlake::lake::parse_key;
use trendlake::table;

use super::spine::{decode, months_ago, requests};
use super::support::{Sandbox, settled, walk};

/// How many units of the stream are due, by reason.
fn reasons(plan: &Value, stream: &str) -> BTreeMap<String, usize> {
    let mut reasons = BTreeMap::new();
    let of_stream = plan["streams"].as_array().unwrap().iter().filter(|s| s["stream"] == stream);
    for unit in of_stream.flat_map(|s| s["units"].as_array().unwrap()) {
        *reasons.entry(unit["reason"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    reasons
}

fn plan(sandbox: &Sandbox) -> Value {
    let plan = sandbox.run(&["plan", "--output", "json"]).expect(0).json();
    assert_eq!(plan["foreign"].as_array().map(Vec::len), Some(0), "{plan}");
    plan
}

/// What a text column says in each file, checked to be one and the same in all rows.
fn says(sandbox: &Sandbox, stream: &str, column: &str) -> Vec<String> {
    let of_stream = format!("/stream={stream}/");
    let files = sandbox.data_files().into_iter().filter(|(name, _)| name.contains(&of_stream));
    let text = |(name, bytes): (String, Vec<u8>)| {
        let (_, batch) = decode(&name, &bytes);
        let texts = batch.column_by_name(column).unwrap().as_string::<i32>();
        assert!((0..texts.len()).all(|row| texts.value(row) == texts.value(0)));
        texts.value(0).to_owned()
    };
    files.map(text).collect()
}

/// A lake of two streams and five months, of which four are final.
fn lake() -> Sandbox {
    let sandbox = Sandbox::new(2, &months_ago(4), settled());
    sandbox.configure(2, &months_ago(4), "");
    settle_at_once(&sandbox);
    sandbox.run(&["run"]).expect(0);
    assert_eq!(sandbox.data_files().len(), 2 * 5 * 3);
    assert_eq!(reasons(&plan(&sandbox), "st-2"), BTreeMap::from([("provisional".into(), 2)]));
    sandbox
}

/// So that the figures of this test do not depend on the day of the month.
fn settle_at_once(sandbox: &Sandbox) {
    edit(sandbox, "[defaults]\n", "[defaults]\nsettle_days = 0\n");
}

fn edit(sandbox: &Sandbox, from: &str, to: &str) {
    let text = std::fs::read_to_string(sandbox.path("trendlake.toml")).unwrap();
    assert!(text.contains(from), "no `{from}` in {text}");
    std::fs::write(sandbox.path("trendlake.toml"), text.replace(from, to)).unwrap();
}

/// Runs after a change of the second stream's table: all of it is stale and replaced in its place,
/// and nothing else is touched.
#[track_caller]
fn replaces_the_second_stream(sandbox: &Sandbox) {
    let before: BTreeMap<_, _> = sandbox.data_files().into_iter().collect();
    let shown = plan(sandbox);
    assert_eq!(reasons(&shown, "st-1"), BTreeMap::from([("provisional".into(), 2)]), "{shown}");
    // The month under way is asked again in any case; its footer need not be read for that.
    let provisional = reasons(&shown, "st-2").get("provisional").copied().unwrap_or(0);
    assert!(provisional <= 2, "{shown}");
    assert_eq!(reasons(&shown, "st-2").get("stale"), Some(&(10 - provisional)), "{shown}");
    sandbox.run(&["run"]).expect(0);
    let after: BTreeMap<_, _> = sandbox.data_files().into_iter().collect();
    assert!(after.keys().eq(before.keys()), "{:?}", after.keys());
    for (name, bytes) in &after {
        let partition = parse_key(name).unwrap();
        assert_eq!(*bytes == before[name], partition.stream.as_str() == "st-1", "{name}");
    }
    let again = plan(sandbox);
    assert_eq!(reasons(&again, "st-2"), BTreeMap::from([("provisional".into(), 2)]), "{again}");
}

#[test]
fn fault_51_another_zone() {
    let sandbox = lake();
    edit(&sandbox, "id = \"st-2\"\n", "id = \"st-2\"\nzone = \"Asia/Kolkata\"\n");
    replaces_the_second_stream(&sandbox);
    assert!(says(&sandbox, "st-2", "time_zone").iter().all(|zone| zone == "Asia/Kolkata"));
    assert!(says(&sandbox, "st-1", "time_zone").iter().all(|zone| zone == "UTC"));
}

#[test]
fn fault_51_other_slices() {
    let sandbox = lake();
    edit(&sandbox, "id = \"st-2\"\n", "id = \"st-2\"\nslices = \"dashboard\"\n");
    replaces_the_second_stream(&sandbox);
    assert!(says(&sandbox, "st-2", "conversation_type").iter().all(|kind| kind == "Interactive"));
}

#[test]
fn fault_51_a_renamed_stream() {
    let sandbox = lake();
    edit(&sandbox, "[streams.s2]", "[streams.\"another name\"]");
    replaces_the_second_stream(&sandbox);
    assert!(says(&sandbox, "st-2", "stream_name").iter().all(|name| name == "another name"));
}

#[test]
fn fault_51_a_removed_stream_keeps_its_data() {
    let sandbox = lake();
    let of_second = |sandbox: &Sandbox| -> Vec<_> {
        sandbox.data_files().into_iter().filter(|(name, _)| name.contains("stream=st-2")).collect()
    };
    let before = of_second(&sandbox);
    sandbox.configure(1, &months_ago(4), "");
    settle_at_once(&sandbox);
    let shown = plan(&sandbox);
    assert_eq!((shown["streams"].as_array().unwrap().len(), shown["units"].as_u64()), (1, Some(2)));
    sandbox.run(&["run"]).expect(0);
    assert_eq!(of_second(&sandbox), before);
    // Back again, nothing of it is fetched that was final.
    sandbox.configure(2, &months_ago(4), "");
    settle_at_once(&sandbox);
    assert_eq!(reasons(&plan(&sandbox), "st-2"), BTreeMap::from([("provisional".into(), 2)]));
}

/// Runs over notes that are gone or broken: exit code 0, the same data, no more requests than for the
/// month under way, and notes as they were.
#[track_caller]
fn recovers(sandbox: &Sandbox, what: &str) {
    let (before, asked) = (sandbox.data_files(), requests(sandbox));
    let ran = sandbox.run(&["run"]).expect(0);
    assert!(!ran.stderr.contains("WARN"), "{what}: {}", ran.stderr);
    assert_eq!(requests(sandbox) - asked, 4, "{what}");
    assert!(sandbox.data_files() == before, "{what}: the data has changed");
    let note: Value = serde_json::from_slice(&std::fs::read(sandbox.path(NOTE)).unwrap()).unwrap();
    assert_eq!(note["verified"].as_object().unwrap().len(), 2, "{what}: {note}");
    sandbox.run(&["status"]).expect(0);
}

const NOTE: &str = "lake/_trendlake/lake.json";

#[test]
fn fault_52_notes_that_are_lost_or_damaged() {
    let sandbox = lake();
    std::fs::remove_dir_all(sandbox.path("lake/_trendlake")).unwrap();
    recovers(&sandbox, "no notes");
    for note in [
        "",
        "{",
        "\0\0\0",
        "[]",
        "7",
        r#"{"format_version":"one"}"#,
        r#"{"format_version":1,"verified":[1]}"#,
    ] {
        std::fs::write(sandbox.path(NOTE), note).unwrap();
        recovers(&sandbox, note);
    }
    for file in walk(&sandbox.path("lake/_trendlake/runs")) {
        std::fs::write(file, "{\"run_id\": 7").unwrap();
    }
    std::fs::write(sandbox.path("lake/_trendlake/runs/notes.txt"), "by hand").unwrap();
    recovers(&sandbox, "broken reports");
}

/// Puts what a later version would have written in place of the days of a month; the path and the bytes.
pub(crate) fn rewrite_as_later(sandbox: &Sandbox, months: u32) -> (PathBuf, Bytes) {
    let name = format!("user_engagement_daily/stream=st-1/month={}/data.parquet", &months_ago(months)[..7]);
    let path = sandbox.path("lake").join(&name);
    let bytes = std::fs::read(&path).unwrap();
    let (dataset, batch) = decode(&name, &bytes);
    let mut footer = table::read_footer(&bytes.into()).unwrap();
    footer.format_version += 1;
    let later = table::encode(dataset, &batch, &footer);
    std::fs::write(&path, &later).unwrap();
    (path, later)
}

#[test]
fn fault_52_a_newer_format_is_refused() {
    let sandbox = lake();
    let before = sandbox.data_files();
    let good = std::fs::read(sandbox.path(NOTE)).unwrap();
    let refused = |subcommands: &[&str]| {
        let asked = requests(&sandbox);
        for subcommand in subcommands {
            let ran = sandbox.run(&[subcommand]).expect(78);
            assert!(ran.stderr.contains("was written by a later version of trendlake"), "{ran:?}");
            assert!(ran.stderr.contains("hint: upgrade this"), "{ran:?}");
        }
        assert_eq!(requests(&sandbox), asked, "it was asked for what cannot be written");
    };
    for newer in [r#"{"format_version":2,"everything":"else"}"#, r#"{"format_version":18446744073709551615}"#]
    {
        std::fs::write(sandbox.path(NOTE), newer).unwrap();
        refused(&["run", "plan", "status"]);
        assert_eq!(std::fs::read_to_string(sandbox.path(NOTE)).unwrap(), newer);
    }
    assert!(sandbox.data_files() == before);
    std::fs::write(sandbox.path(NOTE), good).unwrap();

    // A partition of a month that is over, whose footer tells; then of the month under way, which is
    // read only when it is about to be replaced.
    let (path, newer_bytes) = rewrite_as_later(&sandbox, 0);
    let ran = sandbox.run(&["run"]).expect(78);
    assert!(ran.stderr.contains("was written by a later version of trendlake"), "{ran:?}");
    assert!(std::fs::read(path).unwrap() == newer_bytes);
    let (path, newer_bytes) = rewrite_as_later(&sandbox, 1);
    refused(&["run", "plan", "status"]);
    assert!(std::fs::read(path).unwrap() == newer_bytes);
}
