//! The layout of many streams: what a lake of streams holds, in fewer objects; and the way from one to the other.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path as FilePath;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use object_store::path::Path;
use trendlake::clock::Clock;
use trendlake::config::{LakeLayout, Settings};
use trendlake::lake::{Lake, parse_pack_key};
use trendlake::model::{Groups, Partition, StreamId};
use trendlake::shelf;
use trendlake::table::{self, Sound};

use super::front::{Act, Front, Gate};
use super::inside;
use super::moto::Moto;
use super::s3::{self, Conditions, S3Server};
use super::serve::{Daemon, SERVE};
use super::shelves::{contents, is_data, partitions};
use super::spine::{months_ago, requests};
use super::stores::{Fault, Faulty, Op, Rule};
use super::support::{Ran, Sandbox, settled, stream_id};

const PACKED: &str = "packed";

/// Every partition of a lake, whatever its layout.
fn shelved(sandbox: &Sandbox) -> BTreeMap<Partition, Sound> {
    let files = sandbox.data_files().into_iter();
    files.flat_map(|(key, bytes)| partitions(&key, &Bytes::from(bytes))).collect()
}

/// What the partitions say of themselves.
fn footers(sandbox: &Sandbox) -> BTreeMap<Partition, table::Footer> {
    shelved(sandbox).into_iter().map(|(partition, sound)| (partition, sound.footer)).collect()
}

/// Asks for another layout in the configuration.
fn ask_for(sandbox: Sandbox, layout: &'static str) -> Sandbox {
    sandbox.in_layout(layout)
}

fn replace_in_config(sandbox: &Sandbox, from: &str, to: &str) {
    let path = sandbox.path("trendlake.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{text}");
    std::fs::write(path, text.replace(from, to)).unwrap();
}

#[test]
fn a_packed_lake_says_what_a_lake_of_streams_says() {
    const STREAMS: usize = 12;
    let sandbox = Sandbox::new(STREAMS, &months_ago(3), settled());
    sandbox.run(&["run"]).expect(0);
    let truth = contents(sandbox.data_files());
    let said = |sandbox: &Sandbox, arguments: &[&str]| sandbox.run(arguments).expect(0).json();
    let status = said(&sandbox, &["status", "--output", "json"]);
    std::fs::remove_dir_all(sandbox.path("lake")).unwrap();

    let sandbox = ask_for(sandbox, PACKED);
    let report = said(&sandbox, &["run", "--output", "json"]);
    assert_eq!(contents(sandbox.data_files()), truth);
    // An object per dataset and month, put once for all streams; or twice on a machine so busy that some come late.
    let files: Vec<_> = sandbox.data_files().into_iter().map(|(key, _)| key).collect();
    let puts = report["totals"]["puts"].as_u64().unwrap();
    assert!(files.len() == 12 && (12..=24).contains(&puts), "{puts} puts: {files:?}");
    assert!(files.iter().all(|key| key.contains("/pack=0-of-1/")), "{files:?}");
    let bytes: u64 = sandbox.data_files().iter().map(|(_, bytes)| bytes.len() as u64).sum();
    let told = report["totals"]["bytes"].as_u64().unwrap();
    assert!(puts > 12 || told <= bytes && bytes - told < 12 * STREAMS as u64, "{told} of {bytes}");

    let before = sandbox.data_files();
    let again = said(&sandbox, &["run", "--output", "json"]);
    assert_eq!((again["totals"]["puts"].as_u64(), sandbox.data_files()), (Some(0), before));
    assert_eq!(said(&sandbox, &["status", "--output", "json"])["streams"], status["streams"]);
    let verdict = sandbox.run(&["verify"]).expect(0);
    assert!(
        verdict.stdout.contains("12 objects read") && verdict.stdout.contains("all is sound"),
        "{verdict:?}"
    );
    sandbox.run(&["doctor"]).expect(0);
}

#[test]
fn only_the_streams_that_changed_are_replaced() {
    let sandbox = Sandbox::new(3, &months_ago(2), settled()).in_layout(PACKED);
    sandbox.run(&["run"]).expect(0);
    let before = shelved(&sandbox);
    sandbox.simulator.set_faults(vec!["wrong-count@st-3".parse().unwrap()]);
    replace_in_config(&sandbox, "client_id = \"cs-2\"\n", "client_id = \"cs-2\"\nslices = [\"dashboard\"]\n");
    replace_in_config(&sandbox, "client_id = \"cs-3\"\n", "client_id = \"cs-3\"\nslices = [\"dashboard\"]\n");
    // The third one fails, and keeps what it has.
    let ran = sandbox.run(&["run"]).expect(65);
    assert!(ran.stderr.contains("open: s3:") && !ran.stderr.contains("open: s2:"), "{ran:?}");
    let after = shelved(&sandbox);
    assert!(after.keys().eq(before.keys()));
    for (partition, sound) in &before {
        let now = &after[partition];
        let is_as_it_was = now.footer == sound.footer && now.batch == sound.batch;
        assert_eq!(is_as_it_was, partition.stream != stream_id(2), "{partition:?}");
    }
    sandbox.run(&["verify"]).expect(0);
}

/// What belongs to others is in the lake while one stream has not answered yet.
#[test]
#[expect(clippy::disallowed_methods, reason = "the program under test lives in real time")]
fn a_slow_stream_holds_up_no_other() {
    let sandbox = Sandbox::new(4, &months_ago(2), settled()).in_layout(PACKED);
    let gate = Gate::default();
    let held = gate.clone();
    let api = Front::before(&sandbox.base_url, move |asked| {
        if asked.target.contains("/st-2/") {
            held.pass();
        }
        Act::Pass
    });
    let mut command = sandbox.command(&["run", "--base-url", &api.endpoint]);
    let run = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    gate.await_arrival(1);
    let there = || {
        // A file may be replaced while it is looked for, so only whole looks count.
        let streams = |key: &String, of: &str| key.contains(of);
        let found = contents(sandbox.data_files());
        (1..=4)
            .map(|n| found.keys().filter(|k| streams(k, &format!("stream=st-{n}/"))).count())
            .collect::<Vec<_>>()
    };
    let mut looks = 0;
    while there() != [9, 0, 9, 9] {
        looks += 1;
        assert!(looks < 600, "{:?}", there());
        std::thread::sleep(Duration::from_millis(100));
    }
    gate.open();
    Ran::from(run.wait_with_output().unwrap()).expect(0);
    assert_eq!(there(), [9; 4]);
    sandbox.run(&["verify"]).expect(0);
}

#[test]
fn a_lake_has_one_layout() {
    let sandbox = Sandbox::new(2, &months_ago(1), settled());
    sandbox.run(&["run"]).expect(0);
    let (before, asked) = (sandbox.data_files(), requests(&sandbox));
    let sandbox = ask_for(sandbox, PACKED);
    let refused = |sandbox: &Sandbox, told: &str| {
        for subcommand in ["run", "plan", "status", "verify", "repair"] {
            let ran = sandbox.run(&[subcommand]).expect(78);
            let said = format!("{}{}", ran.stdout, ran.stderr);
            assert!(said.contains(told) && said.contains("trendlake migrate"), "{said}");
        }
    };
    refused(&sandbox, "the lake is kept in the layout `stream`");
    // Its objects tell as well.
    std::fs::remove_file(sandbox.path("lake/_trendlake/lake.json")).unwrap();
    refused(&sandbox, "the lake is kept in the layout `stream`");
    assert_eq!((sandbox.data_files(), requests(&sandbox)), (before, asked));

    std::fs::remove_dir_all(sandbox.path("lake")).unwrap();
    replace_in_config(&sandbox, "layout = \"packed\"\n", "layout = \"packed\"\ngroups = 3\n");
    sandbox.run(&["run"]).expect(0);
    assert!(sandbox.data_files().iter().all(|(key, _)| key.contains("-of-3/")));
    replace_in_config(&sandbox, "groups = 3", "groups = 4");
    refused(&sandbox, "divided into groups, 3 of them");
    // The lake's own number counts, also where its note is lost.
    replace_in_config(&sandbox, "groups = 4\n", "");
    let before = sandbox.data_files();
    sandbox.run(&["run"]).expect(0);
    std::fs::remove_file(sandbox.path("lake/_trendlake/lake.json")).unwrap();
    sandbox.run(&["run"]).expect(0);
    assert_eq!(sandbox.data_files(), before);
    let sandbox = ask_for(sandbox, "stream");
    refused(&sandbox, "the lake is kept in the layout `packed`");
    std::fs::remove_file(sandbox.path("lake/_trendlake/lake.json")).unwrap();
    refused(&sandbox, "the lake is kept in the layout `packed`");
    assert_eq!(sandbox.data_files(), before);
}

#[test]
fn a_lake_of_streams_that_says_nothing_of_itself_is_told_from_others() {
    let sandbox = Sandbox::new(1, &months_ago(0), settled());
    let put = |key: &str, text: &str| {
        let path = sandbox.path("lake").join(key);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    put("user_engagement_hourly/_delta_log/00000000000000000000.json", "{}");
    let refused = sandbox.run(&["run"]).expect(78);
    assert!(refused.stderr.contains("kept as Delta tables"), "{refused:?}");
    std::fs::remove_dir_all(sandbox.path("lake/user_engagement_hourly")).unwrap();
    let pack = format!("packed/user_engagement_daily/month={}/pack=0-of-2/data.parquet", &months_ago(0)[..7]);
    put(&pack, "");
    let refused = sandbox.run(&["run"]).expect(78);
    assert!(refused.stderr.contains("kept in the layout `packed`"), "{refused:?}");
    // A note from before there were other layouts than this one settles it, and nothing is looked for.
    put("_trendlake/lake.json", r#"{"format_version":1,"verified":{}}"#);
    sandbox.run(&["run"]).expect(0);
    let sandbox = ask_for(sandbox, PACKED);
    let refused = sandbox.run(&["run"]).expect(78);
    assert!(refused.stderr.contains("kept in the layout `stream`"), "{refused:?}");
}

#[test]
fn a_lake_moves_from_one_layout_to_the_other_and_back() {
    let sandbox = Sandbox::new(5, &months_ago(3), settled());
    sandbox.run(&["run"]).expect(0);
    let before = shelved(&sandbox);
    let asked = requests(&sandbox);
    let roots = |sandbox: &Sandbox| -> BTreeSet<String> {
        let entries = std::fs::read_dir(sandbox.path("lake")).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    let at_first = roots(&sandbox);

    let sandbox = ask_for(sandbox, PACKED);
    let moved = sandbox.run(&["migrate", "--output", "json"]).expect(0).json();
    let expected = serde_json::json!({
        "from": "stream", "to": "packed", "groups": 1, "copied": 5 * 3 * 4, "removed": 5 * 3 * 4
    });
    assert_eq!(moved, expected);
    assert_eq!(roots(&sandbox), BTreeSet::from(["_trendlake".into(), "packed".into()]));
    assert!(shelved(&sandbox) == before, "what was copied is not what it was");
    let again = sandbox.run(&["migrate"]).expect(0);
    assert!(again.stdout.contains("in the layout `packed` already"), "{again:?}");
    let report = sandbox.run(&["run", "--output", "json"]).expect(0).json();
    assert_eq!(report["totals"]["puts"], 0, "{report}");
    sandbox.run(&["verify"]).expect(0);

    let sandbox = ask_for(sandbox, "stream");
    let moved = sandbox.run(&["migrate"]).expect(0);
    assert!(moved.stdout.contains("60 partitions copied, 12 old objects removed"), "{moved:?}");
    assert_eq!(roots(&sandbox), at_first);
    assert!(shelved(&sandbox) == before, "what was copied is not what it was");
    assert_eq!(sandbox.run(&["run", "--output", "json"]).expect(0).json()["totals"]["puts"], 0);
    assert!(requests(&sandbox) <= asked + 4 * 2 * 5, "final months were fetched again");
}

/// Settings that ask for a layout.
fn settings(sandbox: &Sandbox, layout: LakeLayout) -> Settings {
    let mut settings = inside::settings(sandbox);
    settings.lake.layout = layout;
    settings
}

/// The partitions that a reader of this layout's root finds.
fn under(objects: &[(Path, Bytes)], layout: LakeLayout) -> BTreeMap<String, String> {
    let is_packed = layout != LakeLayout::Stream;
    let wanted = |key: &str| is_data(key) && is_packed == parse_pack_key(key).is_ok();
    let objects = objects.iter().map(|(path, bytes)| (path.to_string(), bytes.clone()));
    contents(objects.filter(|(key, _)| wanted(key)))
}

/// Wherever a migration is cut short, a reader of the lake's layout finds each partition once, and the next try ends it.
#[test]
fn a_migration_that_is_cut_short_goes_on() {
    let sandbox = Sandbox::new(2, &months_ago(0), settled());
    sandbox.run(&["run"]).expect(0);
    let lake_of =
        |path: &FilePath| Path::from(path.strip_prefix(sandbox.path("lake")).unwrap().to_str().unwrap());
    let files = super::support::walk(&sandbox.path("lake"));
    let objects: Vec<_> =
        files.iter().map(|path| (lake_of(path), Bytes::from(std::fs::read(path).unwrap()))).collect();
    let truth = contents(sandbox.data_files());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut fell = 0;
    let (stream, packed) = (LakeLayout::Stream, LakeLayout::Packed { groups: None });
    let migrate = async |store: &Arc<Faulty>, layout: LakeLayout| {
        let lake = Lake::on(store.clone(), Path::default());
        shelf::migrate(&lake, &settings(&sandbox, layout), &Clock::system()).await
    };
    let moved = runtime.block_on(async {
        let store = Faulty::holding(&objects).await;
        migrate(&store, packed).await.unwrap();
        store.objects().await
    });
    for (before, from, to) in [(&objects, stream, packed), (&moved, packed, stream)] {
        for op in [Op::Create, Op::Update, Op::Overwrite, Op::Get, Op::List, Op::Delete] {
            for skip in 0.. {
                let store = runtime.block_on(Faulty::holding(before));
                store.obey(Some(Rule { op, fault: Fault::ServerError, within: "", skip, times: 1 }));
                let ended = runtime.block_on(migrate(&store, to));
                if store.obey(None) == 0 {
                    ended.unwrap();
                    break;
                }
                assert!(ended.is_err(), "{op:?} {skip}");
                fell += 1;
                let objects = runtime.block_on(store.objects());
                // The one that counts is whole; the other one never has anything twice, which `contents` sees to.
                let note = objects.iter().find(|(path, _)| path.as_ref() == "_trendlake/lake.json").unwrap();
                let is_moved = String::from_utf8_lossy(&note.1).contains("leaving");
                let found = [from, to].map(|layout| under(&objects, layout));
                assert_eq!(found[usize::from(is_moved)], truth, "{op:?} {skip}");
                runtime.block_on(migrate(&store, to)).unwrap();
                let objects = runtime.block_on(store.objects());
                assert_eq!((under(&objects, to), under(&objects, from).len()), (truth.clone(), 0));
            }
        }
    }
    assert!(fell > 50, "only {fell} tries were cut short");
}

/// What it has copied until then is not taken for the lake, though no note said in which layout that was.
#[test]
fn a_migration_of_a_lake_without_a_note_goes_on_as_well() {
    let sandbox = Sandbox::new(2, &months_ago(0), settled());
    sandbox.run(&["run"]).expect(0);
    let truth = contents(sandbox.data_files());
    let at =
        |key: &str| (Path::from(key), Bytes::from(std::fs::read(sandbox.path("lake").join(key)).unwrap()));
    let objects: Vec<_> = sandbox.data_files().iter().map(|(key, _)| at(key)).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = Faulty::holding(&objects).await;
        let lake = Lake::on(store.clone(), Path::default());
        let packed = LakeLayout::Packed { groups: None };
        let rule = Rule { op: Op::Create, fault: Fault::ServerError, within: "summary", skip: 0, times: 9 };
        store.obey(Some(rule));
        shelf::migrate(&lake, &settings(&sandbox, packed), &Clock::system()).await.unwrap_err();
        store.obey(None);
        assert!(!under(&store.objects().await, packed).is_empty());
        let in_streams = settings(&sandbox, LakeLayout::Stream);
        shelf::Shelf::open(lake.clone(), &in_streams, &Clock::system()).await.map(|_| ()).unwrap();
        shelf::migrate(&lake, &settings(&sandbox, packed), &Clock::system()).await.unwrap().unwrap();
        let objects = store.objects().await;
        assert_eq!((under(&objects, packed), under(&objects, LakeLayout::Stream).len()), (truth, 0));
    });
}

#[test]
fn a_migration_into_other_groups_leaves_no_copies_of_the_first() {
    let sandbox = Sandbox::new(6, &months_ago(1), settled());
    sandbox.run(&["run"]).expect(0);
    let truth = contents(sandbox.data_files());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let files = super::support::walk(&sandbox.path("lake"));
        let at = |path: &FilePath| path.strip_prefix(sandbox.path("lake")).unwrap().to_str().unwrap().into();
        let objects: Vec<_> =
            files.iter().map(|path| (at(path), Bytes::from(std::fs::read(path).unwrap()))).collect();
        let store = Faulty::holding(&objects).await;
        let lake = Lake::on(store.clone(), Path::default());
        let grouped = |n| settings(&sandbox, LakeLayout::Packed { groups: Groups::new(n) });
        let rule = Rule { op: Op::Create, fault: Fault::ServerError, within: "summary", skip: 0, times: 9 };
        store.obey(Some(rule));
        shelf::migrate(&lake, &grouped(2), &Clock::system()).await.unwrap_err();
        store.obey(None);
        assert!(!under(&store.objects().await, LakeLayout::Packed { groups: None }).is_empty());
        shelf::migrate(&lake, &grouped(4), &Clock::system()).await.unwrap();
        let found = under(&store.objects().await, LakeLayout::Packed { groups: None });
        assert_eq!(found, truth);
        let other = shelf::migrate(&lake, &grouped(2), &Clock::system()).await.unwrap_err();
        assert!(other.to_string().contains("divided into groups"), "{other}");
    });
}

#[test]
fn damage_is_named_by_stream_and_repaired() {
    let sandbox = Sandbox::new(3, &months_ago(3), settled()).in_layout(PACKED);
    sandbox.run(&["run"]).expect(0);
    let before = contents(sandbox.data_files());
    let key = |dataset: &str, month: u32| {
        let month = &months_ago(month)[..7];
        format!("packed/user_engagement_{dataset}/month={month}/pack=0-of-1/data.parquet")
    };
    let change = |key: &str, change: &dyn Fn(Bytes) -> Bytes| {
        let path = sandbox.path("lake").join(key);
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(path, change(bytes.into())).unwrap();
    };
    // The rows of one stream are not what its entry says; one stream is gone; a footer is cut; an object is gone.
    let pack = |key: &str| parse_pack_key(key).unwrap();
    let edit = |key: &str, edit: &dyn Fn(&mut table::Packed)| {
        change(key, &|bytes| {
            let mut packed = table::unpack(pack(key).dataset, &bytes).unwrap();
            edit(&mut packed);
            table::pack(pack(key).dataset, &packed)
        });
    };
    let second: StreamId = stream_id(2);
    edit(&key("hourly", 2), &|packed| packed.get_mut(&second).unwrap().footer.content_hash = "0".repeat(32));
    edit(&key("summary", 3), &|packed| _ = packed.remove(&second));
    change(&key("daily", 2), &|bytes| bytes.slice(..bytes.len() - 9));
    std::fs::remove_file(sandbox.path("lake").join(key("hourly", 3))).unwrap();
    let findings = |code: i32| {
        let verdict = sandbox.run(&["verify", "--output", "json"]).expect(code).json();
        let text = |f: &serde_json::Value, name: &str| f[name].as_str().unwrap().to_owned();
        let findings = verdict["findings"].as_array().unwrap();
        findings.iter().map(|f| (text(f, "key"), text(f, "stream"), text(f, "flaw"))).collect::<BTreeSet<_>>()
    };
    let mut expected = BTreeSet::from([
        (key("hourly", 2), "st-2".to_owned(), "damaged".to_owned()),
        (key("summary", 3), "st-2".to_owned(), "missing".to_owned()),
    ]);
    for stream in ["st-1", "st-2", "st-3"] {
        expected.insert((key("daily", 2), stream.to_owned(), "damaged".to_owned()));
        expected.insert((key("hourly", 3), stream.to_owned(), "missing".to_owned()));
    }
    assert_eq!(findings(11), expected);
    let intact = shelved_but(&sandbox, &key("daily", 2));

    let asked = requests(&sandbox);
    let ran = sandbox.run(&["repair"]).expect(0);
    assert!(ran.stdout.contains("all is sound and complete"), "{ran:?}");
    assert_eq!(requests(&sandbox) - asked, 8, "one request per broken unit");
    assert_eq!(contents(sandbox.data_files()), before);
    // Whatever was sound is as it was, the time of fetching included.
    let after = shelved(&sandbox);
    for (partition, footer) in intact {
        assert_eq!(after[&partition].footer, footer, "{partition:?}");
    }
    assert!(findings(0).is_empty());
    let kept = super::support::walk(&sandbox.path("lake/_trendlake/damaged"));
    assert!(kept.len() >= 2, "{kept:?}");
}

/// What the sound partitions say of themselves, those of one object left out.
fn shelved_but(sandbox: &Sandbox, key: &str) -> BTreeMap<Partition, table::Footer> {
    let mut all = BTreeMap::new();
    for (name, bytes) in sandbox.data_files().into_iter().filter(|(name, _)| name != key) {
        let pack = parse_pack_key(&name).unwrap();
        let (packed, flaws) = table::inspect_pack(&pack, &bytes.into()).unwrap();
        let sound = packed.into_iter().filter(|(stream, _)| flaws[stream].is_none());
        all.extend(sound.map(|(stream, sound)| (pack.partition(stream), sound.footer)));
    }
    all
}

#[test]
fn an_answer_is_parked_and_accepted() {
    let sandbox = Sandbox::new(2, &months_ago(2), settled()).in_layout(PACKED);
    replace_in_config(&sandbox, "zone = \"UTC\"\n", "zone = \"UTC\"\nsettle_days = 10\n");
    sandbox.run(&["run"]).expect(0);
    let before = footers(&sandbox);
    sandbox.simulator.set_faults(vec!["all-zero@st-1".parse().unwrap()]);
    let ran = sandbox.run(&["run"]).expect(65);
    let hint = ran.stderr.lines().find_map(|l| l.split_once("`trendlake accept ")).unwrap().1;
    let partition = hint.trim_end_matches('`');
    assert!(partition.contains("/stream=st-1/"), "{partition}");
    let of = |footers: &BTreeMap<Partition, table::Footer>| {
        footers[&trendlake::lake::parse_key(partition).unwrap()].clone()
    };
    assert_eq!(of(&footers(&sandbox)), of(&before), "the lake is as it was");
    let accepted = sandbox.run(&["accept", partition]).expect(0);
    assert!(accepted.stdout.contains(&format!("{partition}: accepted")), "{accepted:?}");
    let after = footers(&sandbox);
    assert_ne!(of(&after), of(&before));
    assert!(after.iter().filter(|(p, _)| p.stream == stream_id(2)).all(|(p, f)| before[p] == *f));
    sandbox.run(&["verify"]).expect(0);
}

#[test]
fn processes_get_whole_groups() {
    const STREAMS: usize = 12;
    const LAKE: &str = "s3://bucket/lake";
    let server = S3Server::start(Conditions::Honoured);
    let sandbox = Sandbox::new(STREAMS, "2026-01-01", settled()).in_layout(PACKED);
    s3::configure(&sandbox, STREAMS, &s3::first_of_month(1).to_string(), &server.endpoint);
    replace_in_config(&sandbox, "layout = \"packed\"\n", "layout = \"packed\"\ngroups = 4\n");
    let mut asked_by: BTreeMap<String, usize> = BTreeMap::new();
    let mut told = String::new();
    for index in 0..5 {
        let shard = format!("{index}/5");
        let ran = s3::run(&sandbox, LAKE, &["run", "--output", "json", "--shard", &shard]).expect(0);
        told += &ran.stderr;
        for stream in ran.json()["requests"].as_object().unwrap().keys() {
            assert_eq!(asked_by.insert(stream.clone(), index), None, "{stream} was asked by two");
        }
    }
    assert_eq!(asked_by.len(), STREAMS);
    assert!(told.contains("more shards than groups of streams"), "{told}");
    let groups = Groups::new(4).unwrap();
    let mut by_group = BTreeMap::new();
    for (stream, index) in &asked_by {
        let group = groups.of(&stream.parse().unwrap());
        assert_eq!(*by_group.entry(group).or_insert(*index), *index, "{group} was worked on by two");
    }
    assert!(by_group.len() > 2, "{by_group:?}");
    s3::run(&sandbox, LAKE, &["verify"]).expect(0);
}

/// Processes that do not divide the streams by groups still lose nothing: each carries over what others have put.
#[test]
fn fault_49_processes_whose_streams_share_objects() {
    const STREAMS: usize = 5;
    const LAKE: &str = "s3://bucket/lake";
    let (sandbox, moto) = (Sandbox::new(STREAMS, "2026-01-01", settled()).in_layout(PACKED), Moto::start());
    moto.create_bucket("bucket");
    s3::configure(&sandbox, STREAMS, &months_ago(2), &moto.endpoint);
    let month = &months_ago(2)[..7];
    for round in 0..2 {
        let runs: Vec<_> = (1..=STREAMS)
            .map(|n| {
                let stream = format!("s{n}");
                let arguments = ["backfill", "--from", month, "--to", month, "--force", "--stream", &stream];
                let mut command = s3::command(&sandbox, LAKE, &arguments);
                command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
            })
            .collect();
        for run in runs {
            Ran::from(run.wait_with_output().unwrap()).expect(0);
        }
        let found = s3::lake_of(moto.objects("bucket"));
        assert_eq!(found.len(), 3 * STREAMS, "round {round}: {:?}", found.keys());
        if round == 0 {
            replace_in_config(&sandbox, "[defaults]\n", "[defaults]\nslices = [\"all\", \"dashboard\"]\n");
        }
    }
}

#[test]
fn the_pages_show_a_packed_lake() {
    let sandbox = Sandbox::new(2, &months_ago(2), settled());
    let shown = |sandbox: &Sandbox| {
        sandbox.run(&["run"]).expect(0);
        let daemon = Daemon::start(sandbox);
        daemon.ready();
        let path = format!("/api/v1/streams/st-2/trends?grain=daily&from={}", months_ago(2));
        let (status, body) = daemon.get(&path);
        assert_eq!(status, 200, "{body}");
        let mut body: serde_json::Value = serde_json::from_str(&body).unwrap();
        for row in body["points"].as_array_mut().unwrap() {
            row.as_object_mut().unwrap().remove("fetched_at");
        }
        body
    };
    replace_in_config(&sandbox, "[retry]\n", &format!("{SERVE}[retry]\n"));
    let streams = shown(&sandbox);
    assert!(streams["points"].as_array().unwrap().len() > 50, "{streams}");
    std::fs::remove_dir_all(sandbox.path("lake")).unwrap();
    assert_eq!(shown(&ask_for(sandbox, PACKED)), streams);
}
