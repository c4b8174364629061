//! What the restatements must be: those of every content that has replaced another one, and no others,
//! whoever crashes, sleeps or meets whom in between.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use arrow::util::display::array_value_to_string;
use bytes::Bytes;
use trendlake::lake::{parse_key, parse_restatement_key};
use trendlake::model::{Dataset, Partition, Unit};
use trendlake::table;

use super::sea::Sea;

/// Where readers find them, and where they wait for their data.
pub(super) const PUBLISHED: &str = "lake/user_engagement_restatements/";
const PARKED: &str = "lake/_trendlake/parked/restated/";

/// Restated figures, each as one line.
type Lines = BTreeSet<String>;

/// What has been restated so far.
#[derive(Default)]
pub(super) struct Oracle {
    /// By what was committed.
    due: Mutex<BTreeMap<Unit, Lines>>,
    /// Of these, what a person has deleted, or the only trace of it.
    deleted: Mutex<BTreeMap<Unit, Lines>>,
}

fn lines(rows: &RecordBatch) -> Lines {
    // Instants as numbers: nothing here knows zones by name.
    let plain = |column: &ArrayRef| match column.data_type() {
        DataType::Timestamp(..) => cast(column, &DataType::Int64).unwrap(),
        _ => column.clone(),
    };
    let columns: Vec<_> = rows.columns().iter().map(plain).collect();
    let line = |row| {
        let columns = columns.iter();
        columns.map(|c| array_value_to_string(c, row).unwrap()).collect::<Vec<_>>().join(" ")
    };
    (0..rows.num_rows()).map(line).collect()
}

fn published(sea: &Sea, unit: &Unit) -> Lines {
    let key = format!("lake/{}", trendlake::lake::restatement_key(unit));
    let found = sea.under(&key).remove(&key);
    found.map(|bytes| lines(&table::decode_restatements(&bytes).unwrap().rows)).unwrap_or_default()
}

/// The unit and the change of what is parked under this key.
fn parked(key: &str) -> Option<(Unit, &str)> {
    let (unit, change) = key.strip_prefix(PARKED)?.strip_suffix(".parquet")?.rsplit_once('/')?;
    Some((parse_restatement_key(&format!("{unit}.parquet")).ok()?, change))
}

/// Whether there is data whose restatements are still parked.
pub(super) fn is_halfway(sea: &Sea) -> bool {
    sea.under(PARKED).keys().any(|key| {
        let (unit, change) = parked(key).unwrap();
        let data = format!("lake/{}", trendlake::lake::key(&unit.partitions().next().unwrap()));
        let there = sea.data().remove(&data);
        there.is_some_and(|b| table::read_footer(&b).unwrap().restatement.as_deref() == Some(change))
    })
}

impl Oracle {
    /// A content is about to replace another one. Says whether it restates anything.
    pub(super) fn committed(&self, partition: &Partition, there: &Bytes, bytes: &Bytes) -> bool {
        let decode = |bytes| table::decode(partition.dataset, bytes).unwrap();
        let restated = table::restated(partition.dataset, &decode(there), &decode(bytes));
        let footer = table::read_footer(bytes).unwrap();
        assert_eq!(footer.restatement.is_some(), restated.is_some(), "{partition:?}");
        let Some(rows) = restated else { return false };
        assert_ne!(partition.dataset, Dataset::Summary);
        self.due.lock().unwrap().entry(partition.unit()).or_default().extend(lines(&rows));
        true
    }

    /// A person is about to delete an object.
    pub(super) fn deleted(&self, key: &str, sea: &Sea) {
        let name = key.strip_prefix("lake/").unwrap();
        let is_published = parse_restatement_key(name).ok();
        let data = parse_key(name).ok().map(|partition| partition.unit());
        let parked = parked(key).map(|(unit, _)| unit);
        let Some(unit) = is_published.clone().or(data).or(parked) else { return };
        let due = self.due.lock().unwrap().get(&unit).cloned().unwrap_or_default();
        let there = published(sea, &unit);
        let lost = due.into_iter().filter(|line| there.contains(line) == is_published.is_some());
        self.deleted.lock().unwrap().entry(unit.clone()).or_default().extend(lost);
    }

    /// What readers find now has happened, and every row of it fits its place.
    pub(super) fn audit(&self, key: &str, bytes: &Bytes) {
        let unit = parse_restatement_key(key.strip_prefix("lake/").unwrap()).unwrap();
        let rows = table::inspect_restatements(&unit, bytes).unwrap_or_else(|e| panic!("{key}: {e}"));
        let found = lines(&table::decode_restatements(bytes).unwrap().rows);
        assert_eq!(found.len() as u64, rows, "{key}: a row stands twice");
        let due = self.due.lock().unwrap().get(&unit).cloned().unwrap_or_default();
        let never: Vec<_> = found.difference(&due).collect();
        assert!(never.is_empty(), "{key}: restatements that never happened: {never:?}");
    }

    /// When all has come to an end, nothing is missing.
    pub(super) fn compare(&self, sea: &Sea) {
        for (unit, due) in &*self.due.lock().unwrap() {
            let found = published(sea, unit);
            let deleted = self.deleted.lock().unwrap().get(unit).cloned().unwrap_or_default();
            let lost: Vec<_> = due.iter().filter(|l| !found.contains(*l) && !deleted.contains(*l)).collect();
            assert!(lost.is_empty(), "{unit}: restatements are lost: {lost:?}");
        }
    }
}
