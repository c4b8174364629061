//! Whether a new answer has lost what the lake already holds.

use std::collections::HashMap;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use arrow::row::{OwnedRow, RowConverter, SortField};

use crate::model::Dataset;
use crate::table::{column, sort_columns};

const COUNTS: [&str; 3] = ["unique_users", "new_users", "returning_users"];

/// Whether a slice has no users at all any more on days that had settled with users. Days past the vendor's
/// retention come back as zeros.
pub(super) fn vanished(dataset: Dataset, prior: &RecordBatch, new: &RecordBatch) -> bool {
    if dataset == Dataset::Summary {
        return false;
    }
    let keys = sort_columns(dataset);
    let (Some(old_rows), Some(new_rows)) = (rows(prior, keys), rows(new, keys)) else { return false };
    let new_index: HashMap<&OwnedRow, usize> = new_rows.iter().enumerate().map(|(i, row)| (row, i)).collect();
    let was_final = column(prior, "is_final").as_boolean();
    // Of periods, whether there are figures at all.
    let available = if dataset == Dataset::Periods { "is_available" } else { "is_final" };
    let [had, has] = [prior, new].map(|batch| column(batch, available).as_boolean());
    let counts = COUNTS.map(|name| (figures(prior, name), figures(new, name)));
    let old_slices = rows(prior, &keys[..3]).unwrap_or_default();
    // By slice: whether settled rows had users, and whether any of these rows still has.
    let mut users: HashMap<&OwnedRow, (bool, bool)> = HashMap::new();
    for (old, key) in old_rows.iter().enumerate().filter(|(old, _)| was_final.value(*old)) {
        let Some(&new) = new_index.get(key) else { continue };
        if dataset == Dataset::Periods && !(had.value(old) && has.value(new)) {
            continue;
        }
        let (before, after) = users.entry(&old_slices[old]).or_default();
        *before |= counts.iter().any(|(c, _)| value(c, old) > Some(0));
        *after |= counts.iter().any(|(_, c)| value(c, new) > Some(0));
    }
    users.values().any(|&(before, after)| before && !after)
}

fn rows(batch: &RecordBatch, names: &[&str]) -> Option<Vec<OwnedRow>> {
    let columns: Vec<_> = names.iter().map(|name| column(batch, name).clone()).collect();
    let fields = columns.iter().map(|c| SortField::new(c.data_type().clone())).collect();
    let rows = RowConverter::new(fields).ok()?.convert_columns(&columns).ok()?;
    Some(rows.iter().map(|row| row.owned()).collect())
}

fn figures(batch: &RecordBatch, name: &str) -> arrow::array::Int64Array {
    column(batch, name).as_primitive::<Int64Type>().clone()
}

fn value(column: &arrow::array::Int64Array, index: usize) -> Option<i64> {
    column.is_valid(index).then(|| column.value(index))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Stream;
    use crate::model::{Averages, Counts, DayPoint, Points, Slice, Summary, Trend, windows};
    use crate::table::batch;

    /// Ten days of March for two slices, fetched when the first five had settled; the given number of
    /// users on each day of each slice.
    fn days(users: [i64; 2]) -> RecordBatch {
        let window = windows("2026-03-01".parse().unwrap(), "2026-03-10".parse().unwrap()).next().unwrap();
        let answer = |(slice, users): (Slice, i64)| {
            let counts = Counts { unique: Some(users), new: Some(users), returning: Some(0) };
            let points = Points::Daily(window.dates().map(|date| DayPoint { date, counts }).collect());
            let summary = Summary { counts, averages: Averages::default() };
            (slice, Trend { summary, points, missing: 0 })
        };
        let answers: Vec<_> = [Slice::ALL, Slice::DASHBOARD].into_iter().zip(users).map(answer).collect();
        batch(Dataset::Daily, &Stream::example(), window, &answers, "2026-03-09T12:00:00Z".parse().unwrap())
    }

    #[test]
    fn users_gone_from_settled_days_are_noticed_slice_by_slice() {
        assert!(vanished(Dataset::Daily, &days([5, 4]), &days([0, 0])));
        assert!(vanished(Dataset::Daily, &days([5, 4]), &days([5, 0])));
        assert!(!vanished(Dataset::Daily, &days([5, 0]), &days([5, 0])), "there were none before");
        assert!(!vanished(Dataset::Daily, &days([5, 0]), &days([1, 0])), "some are left");
    }
}
