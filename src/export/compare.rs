//! What a new answer changes in figures that the lake already holds.

use std::collections::HashMap;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use arrow::row::{OwnedRow, RowConverter, SortField};

use crate::model::Dataset;
use crate::table::{column, sort_columns};

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

/// Compares row by row. The running summary of a month or another period changes by its nature, so it has no
/// restatements until it has settled; those of the month are not counted then either.
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
    // Of periods, whether there are figures at all.
    let available = if dataset == Dataset::Periods { "is_available" } else { "is_final" };
    let [had, has] = [prior, new].map(|batch| column(batch, available).as_boolean());
    let counts = COUNTS.map(|name| (figures(prior, name), figures(new, name)));
    let old_slices = rows(prior, &keys[..3]).unwrap_or_default();
    // By slice: whether settled rows had users, and whether any of these rows still has.
    let mut users: HashMap<&OwnedRow, (bool, bool)> = HashMap::new();
    let mut restated = 0;
    for (old, key) in old_rows.iter().enumerate() {
        let Some(&new) = new_index.get(key) else { continue };
        if dataset == Dataset::Periods && !(was_final.value(old) && had.value(old) && has.value(new)) {
            continue;
        }
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
    fn restated_figures_are_counted() {
        let same = compare(Dataset::Daily, &days([5, 4]), &days([5, 4]));
        assert_eq!(same, Changes::default());
        let changed = compare(Dataset::Daily, &days([5, 4]), &days([6, 4]));
        assert_eq!(changed, Changes { restated: 2 * 10, vanished: false });
    }

    #[test]
    fn users_gone_from_settled_days_are_noticed_slice_by_slice() {
        assert!(compare(Dataset::Daily, &days([5, 4]), &days([0, 0])).vanished);
        assert!(compare(Dataset::Daily, &days([5, 4]), &days([5, 0])).vanished);
        assert!(!compare(Dataset::Daily, &days([5, 0]), &days([5, 0])).vanished, "there were none before");
        assert!(!compare(Dataset::Daily, &days([5, 0]), &days([1, 0])).vanished, "some are left");
    }
}
