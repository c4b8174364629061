//! What the log of a Delta table says of its files: a survey reads none of them, and finds what they say.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use object_store::path::Path;
use serde_json::{Map, Value};
use trendlake::clock::Clock;
use trendlake::lake::{self, Kind, Lake};
use trendlake::model::{Dataset, Partition};
use trendlake::shelf::{Found, Shelf};
use trendlake::table::read_footer;

use super::delta::{read, turn};
use super::inside;
use super::shelves::{contents, counting, partitions, table_of};
use super::spine::months_ago;
use super::stores::{Fault, Faulty, Op, Rule};
use super::support::{Sandbox, settled};

type Objects = BTreeMap<String, Bytes>;

/// The tables of a lake, without its note.
fn tables(sandbox: &Sandbox) -> Objects {
    sandbox.data_files().into_iter().map(|(key, bytes)| (key, bytes.into())).collect()
}

/// What the files that count say of themselves.
fn truth(tables: &Objects) -> BTreeMap<Partition, Found> {
    let found = |(key, bytes): (String, Bytes)| {
        let of_file = partitions(&key, &bytes).into_iter();
        of_file.map(|(partition, sound)| (partition, Found::Footer(sound.footer.into()))).collect::<Vec<_>>()
    };
    counting(tables.clone()).into_iter().flat_map(found).collect()
}

/// What a survey finds that believes no time of writing, and fails where it would read more data files than so many.
fn survey(
    sandbox: &Sandbox,
    tables: &Objects,
    reads: u32,
) -> Result<BTreeMap<Partition, Found>, lake::Error> {
    let objects: Vec<_> =
        tables.iter().map(|(key, bytes)| (Path::from(key.as_str()), bytes.clone())).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = Faulty::holding(&objects).await;
        let rule =
            Rule { op: Op::Get, fault: Fault::ServerError, within: "/month=", skip: reads, times: u32::MAX };
        store.obey(Some(rule));
        let lake = Lake::on(store.clone(), Path::default());
        let shelf = Shelf::open(lake, &inside::settings(sandbox), &Clock::system()).await.unwrap();
        Ok(shelf.survey(&Dataset::ALL, &[], &|_, _| true).await?.found.into_iter().collect())
    })
}

/// The tables with their logs changed, action by action.
fn edited(tables: &Objects, edit: impl Fn(&mut Map<String, Value>)) -> Objects {
    let mut tables = tables.clone();
    for (_, bytes) in tables.iter_mut().filter(|(key, _)| table_of(key).is_some()) {
        let actions = serde_json::Deserializer::from_slice(bytes).into_iter::<Map<String, Value>>();
        let text = actions.map(|action| {
            let mut action = action.unwrap();
            edit(&mut action);
            format!("{}\n", Value::from(action))
        });
        *bytes = text.collect::<String>().into();
    }
    tables
}

/// The same, for what is said of the files that are added, by path.
fn retagged(tables: &Objects, edit: impl Fn(&str, &mut Map<String, Value>)) -> Objects {
    edited(tables, |action| {
        if let Some(add) = action.get_mut("add") {
            let path = add["path"].as_str().unwrap().to_owned();
            edit(&path, add["tags"].as_object_mut().unwrap());
        }
    })
}

fn untagged(tables: &Objects) -> Objects {
    edited(tables, |action| _ = action.get_mut("add").map(|add| add.as_object_mut().unwrap().remove("tags")))
}

/// Puts the logs in place of the lake's own.
fn put_logs(sandbox: &Sandbox, tables: &Objects) {
    for (key, bytes) in tables.iter().filter(|(key, _)| table_of(key).is_some()) {
        std::fs::write(sandbox.path(&format!("lake/{key}")), bytes).unwrap();
    }
}

/// The plan, where the note of what was held against the settings is lost.
fn plan(sandbox: &Sandbox) -> String {
    let _ = std::fs::remove_file(sandbox.path("lake/_trendlake/lake.json"));
    sandbox.run(&["plan"]).expect(0).stdout
}

#[test]
fn the_log_of_tables_says_what_their_files_say() {
    let sandbox = Sandbox::new(2, &months_ago(2), settled()).in_layout("delta");
    sandbox.run(&["run"]).expect(0);
    let young = tables(&sandbox);
    let found = truth(&young);
    assert_eq!(found.len(), 18);
    assert_eq!(survey(&sandbox, &young, 0).unwrap(), found);
    // Where an older version of trendlake has written the log, each file that counts is read, once.
    let older = untagged(&young);
    assert_eq!(survey(&sandbox, &older, 18).unwrap(), found);
    survey(&sandbox, &older, 17).unwrap_err();
    let planned = plan(&sandbox);
    put_logs(&sandbox, &older);
    assert_eq!(plan(&sandbox), planned);
    put_logs(&sandbox, &young);

    let month = &months_ago(1)[..7];
    for round in 0..12 {
        turn(&sandbox, round % 2 == 0);
        sandbox.run(&["backfill", "--from", month, "--to", month]).expect(0);
    }
    let mut old = tables(&sandbox);
    let found = truth(&old);
    let removed = AtomicU32::new(0);
    edited(&old, |action| {
        if let Some(remove) = action.get("remove") {
            removed.fetch_add(1, Ordering::Relaxed);
            assert_eq!(remove.get("tags"), None, "what counts no more says nothing");
        }
    });
    assert!(removed.into_inner() > 30, "nothing was replaced");
    assert_eq!(survey(&sandbox, &old, 0).unwrap(), found);
    // What a checkpoint covers may be gone: most of what counts stands nowhere else then.
    let [covered, checkpoint] = ["json", "checkpoint.parquet"].map(|kind| format!("{:020}.{kind}", 10));
    assert_eq!(old.keys().filter(|key| key.ends_with(&checkpoint)).count(), 3);
    old.retain(|key, _| table_of(key).is_none() || key.rsplit('/').next() > Some(&covered));
    assert_eq!(survey(&sandbox, &old, 0).unwrap(), found);
    // Another implementation's checkpoint may cover all.
    for told in read(&sandbox.path("lake"), &["--checkpoint"]).as_object().unwrap().values() {
        assert!(told["tagged"] == true && told["rows"].as_u64() > Some(0), "{told}");
    }
    let mut theirs = tables(&sandbox);
    theirs.retain(|key, _| table_of(key).is_none());
    assert_eq!(survey(&sandbox, &theirs, 0).unwrap(), found);
}

#[test]
fn a_file_of_which_the_log_of_tables_does_not_say_all_is_read() {
    let sandbox = Sandbox::new(1, &months_ago(1), settled()).in_layout("delta");
    sandbox.run(&["run"]).expect(0);
    let tables = tables(&sandbox);
    let found = truth(&tables);
    let (key, _) = counting(tables.clone()).into_iter().find(|(key, _)| key.contains("hourly")).unwrap();
    let of_one = |edit: &dyn Fn(&mut Map<String, Value>)| {
        retagged(&tables, |path, tags| {
            if key.ends_with(path) {
                edit(tags);
            }
        })
    };
    let says =
        |key: &'static str, value: Value| of_one(&move |tags| _ = tags.insert(key.into(), value.clone()));
    for less in [
        of_one(&|tags| _ = tags.remove("trendlake.fingerprint")),
        of_one(&|tags| tags.retain(|key, _| key == "trendlake.format_version")),
        says("trendlake.fetched_at", "yesterday".into()),
        says("trendlake.final", Value::Null),
    ] {
        assert_eq!(survey(&sandbox, &less, 1).unwrap(), found);
        survey(&sandbox, &less, 0).unwrap_err();
    }
    // What others add to it changes nothing.
    assert_eq!(survey(&sandbox, &says("OPTIMIZE_TARGET_SIZE", "268435456".into()), 0).unwrap(), found);
    let newer = survey(&sandbox, &says("trendlake.format_version", "99".into()), 0).unwrap_err();
    assert!(newer.kind() == Kind::Settings && newer.to_string().contains("format 99"), "{newer}");
    assert!(newer.to_string().contains(&key), "{newer}");
}

#[test]
fn a_log_of_tables_that_says_otherwise_is_found_and_repaired() {
    let sandbox = Sandbox::new(1, &months_ago(1), settled()).in_layout("delta");
    sandbox.run(&["run"]).expect(0);
    let before = tables(&sandbox);
    let rows = contents(before.clone());
    let (key, bytes) = counting(before.clone()).into_iter().find(|(key, _)| key.contains("hourly")).unwrap();
    let footer = read_footer(&bytes).unwrap();
    let other = (!footer.is_final).to_string();
    let changed = retagged(&before, |path, tags| {
        if key.ends_with(path) {
            tags["trendlake.final"] = other.clone().into();
        }
    });
    put_logs(&sandbox, &changed);
    let verdict = sandbox.run(&["verify"]).expect(11);
    assert!(verdict.stdout.contains(&key) && verdict.stdout.contains("the table's log says"), "{verdict:?}");
    sandbox.run(&["repair"]).expect(0);
    sandbox.run(&["verify"]).expect(0);
    let after = tables(&sandbox);
    assert_eq!(contents(after.clone()), rows);
    assert_eq!(survey(&sandbox, &after, 0).unwrap(), truth(&after));
}
