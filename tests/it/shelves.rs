//! What is in the objects of a lake, whatever its layout: so one test holds for all of them.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use trendlake::lake::{self, parse_key, parse_pack_key, parse_table_key};
use trendlake::model::{Partition, RESTATEMENTS};
use trendlake::table::{self, Sound};

/// The layouts, by the word in the configuration.
pub(crate) const LAYOUTS: [&str; 2] = ["stream", "packed"];

/// All ways to keep a lake: the layouts, and what is none.
pub(crate) const KEPT: &[&str] =
    if cfg!(feature = "delta") { &["stream", "packed", "delta"] } else { &LAYOUTS };

/// How one of them is asked for.
pub(crate) fn asked(layout: &str) -> String {
    let key = if layout == "delta" { "format" } else { "layout" };
    format!("{key} = \"{layout}\"")
}

/// Whether this is the key of an object with partitions.
pub(crate) fn is_data(key: &str) -> bool {
    parse_key(key).is_ok() || parse_pack_key(key).is_ok() || parse_table_key(key).is_ok()
}

/// The table of which this is the key of a version.
pub(crate) fn table_of(key: &str) -> Option<&str> {
    let (table, name) = key.split_once("/_delta_log/")?;
    (name.rsplit('.').next() == Some("json")).then_some(table)
}

/// The paths that a version of a table adds, and those that it removes: read line by line, as the protocol says, and by
/// no library.
pub(crate) fn changes(version: &Bytes) -> (Vec<String>, Vec<String>) {
    let lines = serde_json::Deserializer::from_slice(version).into_iter::<serde_json::Value>();
    let lines: Vec<_> = lines.map(Result::unwrap).collect();
    let of = |action: &str| -> Vec<String> {
        lines.iter().filter_map(|line| Some(line.get(action)?["path"].as_str()?.to_owned())).collect()
    };
    (of("add"), of("remove"))
}

/// Of all objects of a lake those that hold what counts: of tables, the files that their logs name, read from the first
/// version on.
#[track_caller]
pub(crate) fn counting<B: Clone + Into<Bytes>>(
    objects: impl IntoIterator<Item = (String, B)>,
) -> Vec<(String, B)> {
    let objects: BTreeMap<String, B> = objects.into_iter().collect();
    let mut live = BTreeSet::new();
    // By name, and so by version.
    for (key, bytes) in &objects {
        let Some(table) = table_of(key) else { continue };
        let (added, removed) = changes(&bytes.clone().into());
        for path in removed {
            assert!(live.remove(&format!("{table}/{path}")), "{key} removes what does not count: {path}");
        }
        for path in added {
            assert!(live.insert(format!("{table}/{path}")), "{key} adds what counts already: {path}");
        }
    }
    let counts =
        |key: &str| !key.contains("/_delta_log/") && (parse_table_key(key).is_err() || live.contains(key));
    objects.into_iter().filter(|(key, _)| counts(key)).collect()
}

/// The partitions in an object, each held against everything that it must be.
#[track_caller]
pub(crate) fn partitions(key: &str, bytes: &Bytes) -> BTreeMap<Partition, Sound> {
    if let Ok(partition) = parse_key(key) {
        let sound = table::inspect(&partition, bytes).unwrap_or_else(|e| panic!("{key}: {e}"));
        return BTreeMap::from([(partition, sound)]);
    }
    if let Ok(partition) = parse_table_key(key) {
        let sound = table::inspect_bare(&partition, bytes).unwrap_or_else(|e| panic!("{key}: {e}"));
        return BTreeMap::from([(partition, sound)]);
    }
    let pack = parse_pack_key(key).unwrap_or_else(|e| panic!("{key}: {e}"));
    let (packed, flaws) = table::inspect_pack(&pack, bytes).unwrap_or_else(|e| panic!("{key}: {e}"));
    for (stream, flaw) in flaws {
        assert_eq!(flaw, None, "{key}: {stream}");
    }
    packed.into_iter().map(|(stream, sound)| (pack.partition(stream), sound)).collect()
}

/// The partitions in an object, as they say of themselves.
#[track_caller]
pub(crate) fn read(key: &str, bytes: &Bytes) -> BTreeMap<Partition, Sound> {
    if let Ok(partition) = parse_key(key).or_else(|_| parse_table_key(key)) {
        let batch = table::decode(partition.dataset, bytes).unwrap_or_else(|e| panic!("{key} is torn: {e}"));
        return BTreeMap::from([(partition, Sound { footer: table::read_footer(bytes).unwrap(), batch })]);
    }
    let pack = parse_pack_key(key).unwrap_or_else(|e| panic!("{key}: {e}"));
    let packed = table::unpack(pack.dataset, bytes).unwrap_or_else(|e| panic!("{key} is torn: {e}"));
    packed.into_iter().map(|(stream, sound)| (pack.partition(stream), sound)).collect()
}

/// The bytes of an object with these partitions.
pub(crate) fn write(key: &str, partitions: BTreeMap<Partition, Sound>) -> Bytes {
    if let Ok(pack) = parse_pack_key(key) {
        let packed = partitions.into_iter().map(|(partition, sound)| (partition.stream, sound)).collect();
        return table::pack(pack.dataset, &packed);
    }
    let (partition, sound) = partitions.first_key_value().unwrap();
    if parse_table_key(key).is_ok() {
        return table::encode_bare(partition, &sound.batch, &sound.footer);
    }
    table::encode(partition.dataset, &sound.batch, &sound.footer)
}

/// These objects as those of a lake with an object per partition, their keys below `root`. Each partition of a packed
/// one, and of a table, is held against everything that it must be, and all else stays as it is.
#[track_caller]
pub(crate) fn unpacked(root: &str, objects: BTreeMap<String, Bytes>) -> BTreeMap<String, Bytes> {
    let mut all = BTreeMap::new();
    let relative = |(name, bytes): (String, Bytes)| (name.strip_prefix(root).unwrap().to_owned(), bytes);
    for (key, bytes) in counting(objects.into_iter().map(relative)) {
        if parse_pack_key(&key).is_err() && parse_table_key(&key).is_err() {
            all.insert(format!("{root}{key}"), bytes);
            continue;
        }
        for (partition, sound) in partitions(&key, &bytes) {
            let bytes = table::encode(partition.dataset, &sound.batch, &sound.footer);
            let twice = all.insert(format!("{root}{}", lake::key(&partition)), bytes);
            assert_eq!(twice, None, "{key}: {partition:?} stands twice");
        }
    }
    all
}

/// The content hash of every partition among these objects, by the key that it has in an object of its own. Each is
/// read whole, and must say of itself what is in it.
#[track_caller]
pub(crate) fn contents<B: Clone + Into<Bytes>>(
    objects: impl IntoIterator<Item = (String, B)>,
) -> BTreeMap<String, String> {
    let mut contents = BTreeMap::new();
    for (key, bytes) in counting(objects) {
        if key.starts_with("_trendlake/") || key.starts_with(RESTATEMENTS) {
            continue;
        }
        for (partition, Sound { footer, batch }) in read(&key, &bytes.into()) {
            assert_eq!(table::content_hash(&batch), footer.content_hash, "{key}: {partition:?}");
            let twice = contents.insert(lake::key(&partition), footer.content_hash);
            assert_eq!(twice, None, "{key}: {partition:?} stands twice");
        }
    }
    contents
}
