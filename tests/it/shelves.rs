//! What is in the objects of a lake, whatever its layout: so one test holds for all of them.

use std::collections::BTreeMap;

use bytes::Bytes;
use trendlake::lake::{self, parse_key, parse_pack_key};
use trendlake::model::{Partition, RESTATEMENTS};
use trendlake::table::{self, Sound};

/// The layouts, by the word in the configuration.
pub(crate) const LAYOUTS: [&str; 2] = ["stream", "packed"];

/// Whether this is the key of an object with partitions.
pub(crate) fn is_data(key: &str) -> bool {
    parse_key(key).is_ok() || parse_pack_key(key).is_ok()
}

/// The partitions in an object, each held against everything that it must be.
#[track_caller]
pub(crate) fn partitions(key: &str, bytes: &Bytes) -> BTreeMap<Partition, Sound> {
    if let Ok(partition) = parse_key(key) {
        let sound = table::inspect(&partition, bytes).unwrap_or_else(|e| panic!("{key}: {e}"));
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
    if let Ok(partition) = parse_key(key) {
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
    table::encode(partition.dataset, &sound.batch, &sound.footer)
}

/// These objects as those of a lake with an object per partition, their keys below `root`. Each partition of a packed
/// one is held against everything that it must be, and all else stays as it is.
#[track_caller]
pub(crate) fn unpacked(root: &str, objects: BTreeMap<String, Bytes>) -> BTreeMap<String, Bytes> {
    let mut all = BTreeMap::new();
    for (name, bytes) in objects {
        let key = name.strip_prefix(root).unwrap();
        if parse_pack_key(key).is_err() {
            all.insert(name, bytes);
            continue;
        }
        for (partition, sound) in partitions(key, &bytes) {
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
pub(crate) fn contents<B: Into<Bytes>>(
    objects: impl IntoIterator<Item = (String, B)>,
) -> BTreeMap<String, String> {
    let mut contents = BTreeMap::new();
    for (key, bytes) in objects {
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
