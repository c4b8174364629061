//! Partitions to keys and back: the one place that knows the layout of the tree.
//!
//! `user_engagement_daily/stream=<id>/month=2026-03/data.parquet`. Stream ids need no escape (see
//! [`StreamId`]), so a key is reversible as it stands and never leaves its folder.

use crate::config::LakeLayout;
use crate::model::{Dataset, Grain, Pack, Partition, RESTATEMENTS, StreamId, Unit};

const FILE: &str = "data.parquet";
/// The root of the packed layout. Each layout has a root of its own, so that no pattern by which one is read
/// matches an object of another.
const PACKED: &str = "packed";

/// A key that is no partition's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the key is no partition's")]
pub struct ForeignKeyError;

/// The folder of a dataset, or of one stream in it.
pub(super) fn folder(dataset: Dataset, stream: Option<&StreamId>) -> String {
    match stream {
        None => dataset.to_string(),
        Some(stream) => format!("{dataset}/stream={stream}"),
    }
}

/// The key of a partition's object, relative to the lake's root.
#[must_use]
pub fn key(partition: &Partition) -> String {
    format!("{}/month={}/{FILE}", folder(partition.dataset, Some(&partition.stream)), partition.month)
}

/// The partition whose key this is.
///
/// # Errors
/// When it is none's: a foreign file.
pub fn parse_key(text: &str) -> Result<Partition, ForeignKeyError> {
    let parts: Vec<_> = text.split('/').collect();
    let [dataset, stream, month, FILE] = parts[..] else { return Err(ForeignKeyError) };
    Ok(Partition {
        dataset: dataset_of(dataset)?,
        stream: value(stream, "stream=")?.parse().map_err(|_| ForeignKeyError)?,
        month: value(month, "month=")?.parse().map_err(|_| ForeignKeyError)?,
    })
}

/// The folder of the restatements, or of one stream's.
pub(super) fn restatement_folder(stream: Option<&StreamId>) -> String {
    stream.map_or_else(|| RESTATEMENTS.to_owned(), |stream| format!("{RESTATEMENTS}/stream={stream}"))
}

/// The key of the object with all restatements of a unit, relative to the lake's root.
#[must_use]
pub fn restatement_key(unit: &Unit) -> String {
    format!("{}/month={}/{}.parquet", restatement_folder(Some(&unit.stream)), unit.month, unit.kind)
}

/// The unit whose restatements have this key.
///
/// # Errors
/// When it is none's: a foreign file.
pub fn parse_restatement_key(text: &str) -> Result<Unit, ForeignKeyError> {
    let parts: Vec<_> = text.split('/').collect();
    let [RESTATEMENTS, stream, month, file] = parts[..] else { return Err(ForeignKeyError) };
    let grain = file.strip_suffix(".parquet").and_then(|grain| grain.parse::<Grain>().ok());
    Ok(Unit {
        stream: value(stream, "stream=")?.parse().map_err(|_| ForeignKeyError)?,
        kind: grain.ok_or(ForeignKeyError)?.into(),
        month: value(month, "month=")?.parse().map_err(|_| ForeignKeyError)?,
    })
}

/// The folder of a dataset in the packed layout.
pub(super) fn pack_folder(dataset: Dataset) -> String {
    format!("{PACKED}/{dataset}")
}

/// The key of an object of the packed layout, relative to the lake's root.
#[must_use]
pub fn pack_key(pack: &Pack) -> String {
    format!("{}/month={}/pack={}/{FILE}", pack_folder(pack.dataset), pack.month, pack.group)
}

/// The pack whose key this is.
///
/// # Errors
/// When it is none's: a foreign file.
pub fn parse_pack_key(text: &str) -> Result<Pack, ForeignKeyError> {
    let parts: Vec<_> = text.split('/').collect();
    let [PACKED, dataset, month, group, FILE] = parts[..] else { return Err(ForeignKeyError) };
    Ok(Pack {
        dataset: dataset_of(dataset)?,
        month: value(month, "month=")?.parse().map_err(|_| ForeignKeyError)?,
        group: value(group, "pack=")?.parse().map_err(|_| ForeignKeyError)?,
    })
}

/// The key of a file of a dataset kept as a Delta table, by the path that the table's log has, relative to the lake's root.
#[must_use]
pub fn table_key(dataset: Dataset, path: &str) -> String {
    format!("{}/{path}", folder(dataset, None))
}

/// The path of a partition's data file within its Delta table. No part of it needs an escape.
#[must_use]
pub fn table_path(partition: &Partition, name: &str) -> String {
    format!("{}{name}.parquet", table_folder(partition))
}

/// The folder of a partition within its Delta table.
#[must_use]
pub fn table_folder(partition: &Partition) -> String {
    format!("stream_id={}/month={}/", partition.stream, partition.month.first_day())
}

/// The partition of a data file of a Delta table, whose name is a hash of what is in it; whether it counts, the table's
/// log tells.
///
/// # Errors
/// When the key is of no such file: a foreign one, or one of the log.
pub fn parse_table_key(text: &str) -> Result<Partition, ForeignKeyError> {
    let parts: Vec<_> = text.split('/').collect();
    let [dataset, stream, month, file] = parts[..] else { return Err(ForeignKeyError) };
    let partition = Partition {
        dataset: dataset_of(dataset)?,
        stream: value(stream, "stream_id=")?.parse().map_err(|_| ForeignKeyError)?,
        month: value(month, "month=")?
            .strip_suffix("-01")
            .unwrap_or_default()
            .parse()
            .map_err(|_| ForeignKeyError)?,
    };
    let name = file.strip_suffix(".parquet").ok_or(ForeignKeyError)?;
    let is_hash = name.len() == 32 && name.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if is_hash { Ok(partition) } else { Err(ForeignKeyError) }
}

fn dataset_of(text: &str) -> Result<Dataset, ForeignKeyError> {
    Dataset::ALL.into_iter().find(|d| d.as_str() == text).ok_or(ForeignKeyError)
}

fn value<'a>(part: &'a str, name: &str) -> Result<&'a str, ForeignKeyError> {
    part.strip_prefix(name).ok_or(ForeignKeyError)
}

/// How readers find the objects of a layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tree {
    /// The folder in which those of the datasets are, relative to the lake's root; empty for the root itself.
    pub root: &'static str,
    /// What the folders between a dataset's and its objects stand for, in their order: names, and what to say
    /// of them as columns.
    pub folders: [(&'static str, &'static str); 2],
}

/// The folder of a table's log, within the table.
pub const TABLE_LOG: &str = "_delta_log";

/// How readers find the objects of this layout; nothing where the log of a table alone tells which of them count.
#[must_use]
pub const fn tree(layout: LakeLayout) -> Option<Tree> {
    match layout {
        LakeLayout::Stream => Some(Tree::BY_STREAM),
        LakeLayout::Packed { .. } => {
            let pack = ("pack", "folder: the group of streams, such as 0-of-4");
            Some(Tree { root: PACKED, folders: [MONTH, pack] })
        }
        LakeLayout::Delta => None,
    }
}

/// What a month's folder stands for.
const MONTH: (&str, &str) = ("month", "folder: the month of the data, such as 2026-03");

impl Tree {
    /// How objects of single streams are found: those of [`LakeLayout::Stream`], and restatements in any lake.
    pub const BY_STREAM: Self =
        Self { root: "", folders: [("stream", "folder: the stream's id, as in stream_id"), MONTH] };

    /// The folder of a dataset, relative to the lake's root.
    #[must_use]
    pub fn folder(&self, dataset: Dataset) -> String {
        if self.root.is_empty() { dataset.to_string() } else { format!("{}/{dataset}", self.root) }
    }

    /// A pattern that matches every object of a dataset and nothing else, relative to the lake's root.
    #[must_use]
    pub fn glob(&self, dataset: Dataset) -> String {
        self.pattern(&self.folder(dataset), FILE)
    }

    /// The same for the objects of the restatements.
    #[must_use]
    pub fn restatement_glob() -> String {
        Self::BY_STREAM.pattern(RESTATEMENTS, "*.parquet")
    }

    fn pattern(&self, folder: &str, file: &str) -> String {
        let folders = self.folders.map(|(name, _)| format!("{name}=*"));
        format!("{folder}/{}/{file}", folders.join("/"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Groups;
    use proptest::prelude::*;

    prop_compose! {
        fn partition()(
            dataset in 0usize..4,
            stream in "[A-Za-z0-9][A-Za-z0-9_-]{0,5}(\\.[A-Za-z0-9_-]{1,5}){0,3}",
            year in 2000u32..3000,
            month in 1u32..13,
        ) -> Partition {
            Partition {
                dataset: Dataset::ALL[dataset],
                stream: stream.parse().unwrap(),
                month: format!("{year}-{month:02}").parse().unwrap(),
            }
        }
    }

    proptest! {
        #[test]
        fn keys_are_reversible_and_stay_under_the_root(p in partition()) {
            let key = key(&p);
            prop_assert_eq!(parse_key(&key), Ok(p.clone()));
            prop_assert!(key.starts_with(p.dataset.as_str()));
            prop_assert_eq!(object_store::path::Path::parse(&key).unwrap().to_string(), key.clone());
            prop_assert!(std::path::Path::new(&key).components().all(|c| matches!(c, std::path::Component::Normal(_))));
        }

        /// What the pattern's stars stand for makes the key, and no star reaches over a slash.
        #[test]
        fn the_pattern_finds_every_key(p in partition()) {
            let month = p.month.to_string();
            let found = |tree: Tree, first: &str, second: &str| {
                tree.glob(p.dataset).replacen('*', first, 1).replacen('*', second, 1)
            };
            prop_assert_eq!(key(&p), found(tree(LakeLayout::Stream).unwrap(), p.stream.as_str(), &month));
            let pack = Pack::of(&p, Groups::new(7).unwrap());
            let packed = found(tree(LakeLayout::Packed { groups: None }).unwrap(), &month, &pack.group.to_string());
            prop_assert_eq!(pack_key(&pack), packed);
            prop_assert_eq!(parse_pack_key(&pack_key(&pack)), Ok(pack));
        }

        #[test]
        fn keys_are_injective(a in partition(), b in partition()) {
            prop_assert_eq!(key(&a) == key(&b), a == b);
        }

        /// Reading arbitrary text never accepts a second spelling of a key.
        #[test]
        fn a_key_has_one_spelling(text in "(user_engagement_daily|x)/(stream=)?[a./%=]{0,4}/(month=)?[0-9-]{5,8}/data.parquet") {
            if let Ok(partition) = parse_key(&text) {
                prop_assert_eq!(key(&partition), text);
            }
        }
    }

    proptest! {
        #[test]
        fn keys_of_restatements_are_reversible(p in partition()) {
            prop_assume!(p.dataset != Dataset::Periods);
            let unit = p.unit();
            let key = restatement_key(&unit);
            prop_assert_eq!(parse_restatement_key(&key), Ok(unit));
            let pattern =
                Tree::restatement_glob().replacen('*', p.stream.as_str(), 1).replacen('*', &p.month.to_string(), 1);
            prop_assert_eq!(pattern.replace('*', p.unit().kind.as_str()), key.clone());
            prop_assert_eq!(parse_key(&key), Err(ForeignKeyError));
            prop_assert_eq!(parse_restatement_key(&super::key(&p)), Err(ForeignKeyError));
        }
    }

    #[test]
    fn the_keys_of_a_table_have_one_spelling() {
        let partition = Partition {
            dataset: Dataset::Daily,
            stream: "st-1".parse().unwrap(),
            month: "2026-03".parse().unwrap(),
        };
        let name = "0123456789abcdef0123456789abcdef";
        let key = table_key(Dataset::Daily, &table_path(&partition, name));
        assert_eq!(key, format!("user_engagement_daily/stream_id=st-1/month=2026-03-01/{name}.parquet"));
        assert_eq!(parse_table_key(&key), Ok(partition));
        for other in [
            key.replace("month=", "month=/"),
            key.replace("2026-03-01", "2026-03-02"),
            key.replace("2026-03-01", "2026-03"),
            key.replace("2026-03-01", "2026-3-01"),
            key.replace("abcdef.", "ABCDEF."),
            key.replace("abcdef.", "abcde."),
            key.replace("st-1", "../x"),
            key.replace("daily", "weekly"),
            format!("{key}/"),
            "user_engagement_daily/_delta_log/00000000000000000000.json".into(),
            format!("user_engagement_daily/part-00000-{name}.parquet"),
        ] {
            assert_eq!(parse_table_key(&other), Err(ForeignKeyError), "{other}");
        }
    }

    #[test]
    fn foreign_keys() {
        for text in [
            "",
            "user_engagement_daily/stream=a/month=2026-03/other.parquet",
            "user_engagement_daily/stream=a/month=2026-3/data.parquet",
            "user_engagement_daily/stream=../month=2026-03/data.parquet",
            "user_engagement_weekly/stream=a/month=2026-03/data.parquet",
            "/user_engagement_daily/stream=a/month=2026-03/data.parquet",
            "user_engagement_daily/stream=a/month=2026-03/data.parquet/",
        ] {
            assert_eq!(parse_key(text), Err(ForeignKeyError), "{text}");
        }
    }
}
