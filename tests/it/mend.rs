//! `verify`, `repair` and `accept`: damage is found, named and mended, and a person's word counts.

use std::collections::BTreeMap;
use std::fs;

use serde_json::Value;
use trendlake::table;

use super::spine::months_ago;
use super::support::{Sandbox, settled};

/// A lake of two streams over three months and the one under way, all fetched.
fn filled() -> Sandbox {
    let sandbox = Sandbox::new(2, &months_ago(3), settled());
    sandbox.run(&["run"]).expect(0);
    sandbox
}

/// What every data file says, whenever it was fetched.
fn contents(sandbox: &Sandbox) -> BTreeMap<String, String> {
    let content = |(name, bytes): (String, Vec<u8>)| {
        let hash = table::read_footer(&bytes.into()).map_or_else(|e| e.to_string(), |f| f.content_hash);
        (name, hash)
    };
    sandbox.data_files().into_iter().map(content).collect()
}

/// The keys that `verify` names, with what it calls them.
fn findings(sandbox: &Sandbox, code: i32) -> BTreeMap<String, String> {
    let verdict = sandbox.run(&["verify", "--output", "json"]).expect(code).json();
    let text = |f: &Value, name: &str| f[name].as_str().unwrap().to_owned();
    let findings = verdict["findings"].as_array().unwrap();
    findings.iter().map(|f| (text(f, "key"), text(f, "flaw"))).collect()
}

fn key(dataset: &str, stream: usize, month: u32) -> String {
    format!("user_engagement_{dataset}/stream=st-{stream}/month={}/data.parquet", &months_ago(month)[..7])
}

#[test]
fn a_sound_lake_is_called_sound() {
    let sandbox = filled();
    let ran = sandbox.run(&["verify"]).expect(0);
    assert!(ran.stdout.contains("24 objects read"), "{ran:?}");
    assert!(ran.stdout.contains("all is sound and complete"), "{ran:?}");
    let requests = sandbox.simulator.stats().streams.values().map(|s| s.requests).sum::<u64>();
    let repaired = sandbox.run(&["repair"]).expect(0);
    assert!(repaired.stdout.contains("all is sound and complete"), "{repaired:?}");
    assert_eq!(sandbox.simulator.stats().streams.values().map(|s| s.requests).sum::<u64>(), requests);
}

#[test]
fn fault_40_damage_is_named_and_repaired() {
    let sandbox = filled();
    let before = contents(&sandbox);
    let lake = sandbox.path("lake");
    let damage = |key: &str, change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = fs::read(lake.join(key)).unwrap();
        change(&mut bytes);
        fs::write(lake.join(key), bytes).unwrap();
    };
    // A bit of the figures, a cut footer, nothing but zeros, nothing at all.
    damage(&key("hourly", 1, 2), &|bytes| {
        let place = bytes.len() / 2;
        bytes[place] ^= 4;
    });
    damage(&key("daily", 1, 1), &|bytes| bytes.truncate(bytes.len() - 9));
    damage(&key("summary", 2, 2), &|bytes| bytes.fill(0));
    damage(&key("hourly", 2, 1), &Vec::clear);
    // Another partition's file, sound by itself.
    fs::copy(lake.join(key("daily", 1, 2)), lake.join(key("daily", 2, 1))).unwrap();
    // One that is gone.
    fs::remove_file(lake.join(key("hourly", 1, 3))).unwrap();
    let expected: BTreeMap<_, _> = [
        (key("hourly", 1, 2), "damaged"),
        (key("daily", 1, 1), "damaged"),
        (key("summary", 2, 2), "damaged"),
        (key("hourly", 2, 1), "damaged"),
        (key("daily", 2, 1), "damaged"),
        (key("hourly", 1, 3), "missing"),
    ]
    .map(|(key, flaw)| (key, flaw.to_owned()))
    .into();
    assert_eq!(findings(&sandbox, 11), expected);

    let requests = || sandbox.simulator.stats().streams.values().map(|s| s.requests).sum::<u64>();
    let asked = requests();
    let ran = sandbox.run(&["repair"]).expect(0);
    assert!(ran.stdout.contains("all is sound and complete"), "{ran:?}");
    assert_eq!(requests() - asked, expected.len() as u64, "one request per broken unit, and no other");
    assert_eq!(contents(&sandbox), before);
    assert!(findings(&sandbox, 0).is_empty());
    // What was replaced is kept.
    let kept = fs::read(lake.join("_trendlake/damaged").join(key("summary", 2, 2))).unwrap();
    assert!(kept.iter().all(|b| *b == 0));
}

#[test]
fn foreign_files_are_named_and_left_alone() {
    let sandbox = filled();
    let lake = sandbox.path("lake");
    let notes = "user_engagement_daily/notes.txt";
    fs::write(lake.join(notes), "mine").unwrap();
    // A Parquet file of another program, where one of ours should be.
    let theirs = key("daily", 1, 2);
    let script = format!(
        "import pyarrow as pa, pyarrow.parquet as pq; pq.write_table(pa.table({{'a': [1]}}), {:?})",
        lake.join(&theirs)
    );
    let written =
        std::process::Command::new(super::moto::python("python")).arg("-c").arg(script).status().unwrap();
    assert!(written.success());
    let bytes = fs::read(lake.join(&theirs)).unwrap();
    let expected =
        BTreeMap::from([(notes.to_owned(), "foreign".to_owned()), (theirs.clone(), "foreign".to_owned())]);
    assert_eq!(findings(&sandbox, 11), expected);
    sandbox.run(&["repair"]).expect(11);
    assert_eq!(findings(&sandbox, 11), expected);
    assert_eq!(fs::read(lake.join(&theirs)).unwrap(), bytes);
}

#[test]
fn a_parked_answer_is_accepted() {
    let sandbox = Sandbox::new(1, &months_ago(2), settled());
    // Some months stay provisional for long enough to be asked again.
    sandbox.configure(1, &months_ago(2), "settle_days = 10\n");
    sandbox.run(&["run"]).expect(0);
    let good = contents(&sandbox);
    sandbox.simulator.set_faults(vec!["all-zero".parse().unwrap()]);
    let ran = sandbox.run(&["run"]).expect(65);
    let hint = ran.stderr.lines().find_map(|l| l.split_once("`trendlake accept ")).unwrap().1;
    let partition = hint.trim_end_matches('`');
    assert_eq!(contents(&sandbox).get(partition), good.get(partition), "the lake is as it was");
    let status = sandbox.run(&["status"]).expect(0);
    assert!(status.stdout.contains(&format!("parked: {partition}")), "{status:?}");

    let accepted = sandbox.run(&["accept", partition]).expect(0);
    assert!(accepted.stdout.contains(&format!("{partition}: accepted")), "{accepted:?}");
    assert_ne!(contents(&sandbox).get(partition), good.get(partition));
    assert!(!sandbox.run(&["status"]).expect(0).stdout.contains(&format!("parked: {partition}")));
    sandbox.run(&["verify"]).expect(0);
    // It is no longer odd: the next run takes the same answer without a word.
    let again = sandbox.run(&["run"]);
    assert!(!again.stderr.contains(&format!("accept {partition}")), "{again:?}");
    sandbox.run(&["accept", partition]).expect(2);
    sandbox.run(&["accept", "user_engagement_daily/../x"]).expect(2);
}

#[test]
fn a_rejected_answer_is_kept_until_a_good_one_comes() {
    let sandbox = Sandbox::new(1, &months_ago(1), settled());
    sandbox.simulator.set_faults(vec!["wrong-count".parse().unwrap()]);
    sandbox.run(&["run"]).expect(65);
    let kept = key("daily", 1, 1);
    let path = sandbox.path(&format!("lake/_trendlake/parked/rejected/{kept}.json"));
    let body: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    assert!(body["filters"]["dataPointsCount"].is_u64(), "{body}");
    let status = sandbox.run(&["status"]).expect(0);
    assert!(status.stdout.contains(&format!("_trendlake/parked/rejected/{kept}.json")), "{status:?}");
    // It is no answer that could be accepted.
    sandbox.run(&["accept", &kept]).expect(2);
    sandbox.simulator.set_faults(vec![]);
    sandbox.run(&["run"]).expect(0);
    assert!(!path.exists());
    assert!(!sandbox.run(&["status"]).expect(0).stdout.contains("rejected"));
}
