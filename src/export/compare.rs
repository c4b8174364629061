//! What a new answer changes in figures that the lake already holds.

use std::collections::HashMap;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use arrow::row::{OwnedRow, RowConverter, SortField};

use crate::model::Dataset;
use crate::table::sort_columns;

/// The differences between what was there and what is new.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    /// Figures that were there and have another value now.
    pub restated: u64,
    /// Whether a slice has no users at all any more on days that had settled with users. Days past
    /// the vendor's retention come back as zeros.
    pub vanished: bool,
}

const COUNTS: [&str; 3] = ["unique_users", "new_users", "returning_users"];

/// Compares row by row. A month's running summary changes by its nature, so it has no restatements.
pub(super) fn compare(dataset: Dataset, prior: &RecordBatch, new: &RecordBatch) -> Changes {
    if dataset == Dataset::Summary {
        return Changes::default();
    }
    let keys = sort_columns(dataset);
    let (Some(old_rows), Some(new_rows)) = (rows(prior, keys), rows(new, keys)) else {
        return Changes::default();
    };
    let new_index: HashMap<&OwnedRow, usize> = new_rows.iter().enumerate().map(|(i, row)| (row, i)).collect();
    let was_final = column(prior, "is_final").as_boolean();
    let counts = COUNTS.map(|name| (figures(prior, name), figures(new, name)));
    let old_slices = rows(prior, &keys[..3]).unwrap_or_default();
    // By slice: whether settled rows had users, and whether any of these rows still has.
    let mut users: HashMap<&OwnedRow, (bool, bool)> = HashMap::new();
    let mut restated = 0;
    for (old, key) in old_rows.iter().enumerate() {
        let Some(&new) = new_index.get(key) else { continue };
        for (before, after) in &counts {
            restated += u64::from(value(before, old) != value(after, new));
        }
        if was_final.value(old) {
            let (before, after) = users.entry(&old_slices[old]).or_default();
            *before |= counts.iter().any(|(c, _)| value(c, old) > Some(0));
            *after |= counts.iter().any(|(_, c)| value(c, new) > Some(0));
        }
    }
    Changes { restated, vanished: users.values().any(|&(before, after)| before && !after) }
}

fn rows(batch: &RecordBatch, names: &[&str]) -> Option<Vec<OwnedRow>> {
    let columns: Vec<_> = names.iter().map(|name| column(batch, name).clone()).collect();
    let fields = columns.iter().map(|c| SortField::new(c.data_type().clone())).collect();
    let rows = RowConverter::new(fields).ok()?.convert_columns(&columns).ok()?;
    Some(rows.iter().map(|row| row.owned()).collect())
}

fn column<'a>(batch: &'a RecordBatch, name: &str) -> &'a arrow::array::ArrayRef {
    batch.column_by_name(name).expect("the schema was checked when the file was read")
}

fn figures(batch: &RecordBatch, name: &str) -> arrow::array::Int64Array {
    column(batch, name).as_primitive::<Int64Type>().clone()
}

fn value(column: &arrow::array::Int64Array, index: usize) -> Option<i64> {
    column.is_valid(index).then(|| column.value(index))
}
