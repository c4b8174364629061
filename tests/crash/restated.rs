//! What a run that is struck restates: each figure once, if its data was replaced, and never otherwise.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{Date32Type, Int8Type, Int64Type};
use chrono::TimeDelta;
use trendlake::lake::parse_restatement_key;
use trendlake::model::{Partition, RESTATEMENTS};
use trendlake::table::{self, Sound};

use super::shelves;
use super::support::walk;

/// Restated figures, each as one line.
pub(super) type Lines = BTreeSet<String>;

/// How many figures of each file are altered.
const ALTERED: usize = 5;

/// Makes the lake hold other figures than the API gives, fetched a day ago.
pub(super) fn alter(lake: &Path) {
    for (key, mut partitions) in objects(lake, files(lake)) {
        for sound in partitions.values_mut() {
            alter_partition(sound);
        }
        std::fs::write(lake.join(&key), shelves::write(&key, partitions)).unwrap();
    }
}

fn alter_partition(Sound { footer, batch }: &mut Sound) {
    footer.fetched_at -= TimeDelta::days(1);
    let mut columns = batch.columns().to_vec();
    let schema = batch.schema();
    let index = schema.index_of("unique_users").unwrap();
    let users = columns[index].as_primitive::<Int64Type>().iter().enumerate();
    let altered: Int64Array = users.map(|(row, n)| n.map(|n| n + i64::from(row < ALTERED))).collect();
    columns[index] = Arc::new(altered);
    let index = schema.index_of("fetched_at").unwrap();
    let instant = arrow::array::TimestampMicrosecondArray::from_value(
        footer.fetched_at.timestamp_micros(),
        batch.num_rows(),
    );
    columns[index] = Arc::new(instant.with_timezone("UTC"));
    *batch = RecordBatch::try_new(schema, columns).unwrap();
    footer.content_hash = table::content_hash(batch);
}

pub(super) fn files(lake: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    walk(lake).into_iter().map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
}

/// Of a lake's files the data objects that count, by key, each with what is in it.
fn objects(lake: &Path, files: Vec<(PathBuf, Vec<u8>)>) -> Vec<(String, BTreeMap<Partition, Sound>)> {
    let key = |path: PathBuf| path.strip_prefix(lake).unwrap().to_str().unwrap().to_owned();
    let objects = shelves::counting(files.into_iter().map(|(path, bytes)| (key(path), bytes)));
    let object = |(key, bytes): (String, Vec<u8>)| {
        let partitions = shelves::is_data(&key).then(|| shelves::read(&key, &bytes.into()))?;
        Some((key, partitions))
    };
    objects.into_iter().filter_map(object).collect()
}

/// The same by partition.
fn partitions(lake: &Path, files: Vec<(PathBuf, Vec<u8>)>) -> BTreeMap<Partition, Sound> {
    objects(lake, files).into_iter().flat_map(|(_, partitions)| partitions).collect()
}

/// What is restated between these files and the lake as it is now.
pub(super) fn expected(lake: &Path, before: &[(PathBuf, Vec<u8>)]) -> Lines {
    let mut all = Lines::new();
    let old = partitions(lake, before.to_vec());
    for (partition, new) in partitions(lake, files(lake)) {
        let Some(old) = old.get(&partition) else { continue };
        all.extend(table::restated(partition.dataset, &old.batch, &new.batch).iter().flat_map(lines));
    }
    assert!(all.is_empty() || all.len() == 2 * ALTERED, "{all:?}");
    all
}

/// Each row without its two instants.
fn lines(rows: &RecordBatch) -> Vec<String> {
    let column = |name: &str| rows.column_by_name(name).unwrap();
    let text = |name: &str, row| column(name).as_string::<i32>().value(row).to_owned();
    let figure = |column: &ArrayRef, row| {
        let figures = column.as_primitive::<Int64Type>();
        figures.is_valid(row).then(|| figures.value(row))
    };
    let line = |row| {
        let hour = column("hour").as_primitive::<Int8Type>();
        format!(
            "{} {} {} {:?} {}: {:?} to {:?}",
            text("conversation_type", row),
            text("grain", row),
            column("date").as_primitive::<Date32Type>().value(row),
            hour.is_valid(row).then(|| hour.value(row)),
            text("metric", row),
            figure(column("old_value"), row),
            figure(column("new_value"), row),
        )
    };
    (0..rows.num_rows()).map(line).collect()
}

fn found(lake: &Path) -> Vec<String> {
    let mut all = Vec::new();
    for path in walk(&lake.join(RESTATEMENTS)) {
        let unit = parse_restatement_key(path.strip_prefix(lake).unwrap().to_str().unwrap()).unwrap();
        let bytes = std::fs::read(&path).unwrap().into();
        table::inspect_restatements(&unit, &bytes).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        all.extend(lines(&table::decode_restatements(&bytes).unwrap().rows));
    }
    all
}

/// Whatever a reader finds has happened.
#[track_caller]
pub(super) fn nothing_made_up(lake: &Path, expected: &Lines, case: &str) {
    // A figure is restated only once its data says something else.
    let now = partitions(lake, files(lake)).into_values();
    let now: Lines = now.flat_map(|sound| figures(&sound.batch)).collect();
    for line in found(lake) {
        assert!(expected.contains(&line), "{case}: {line}");
        let (figure, _) = line.split_once(" to ").unwrap();
        assert!(!now.contains(figure), "{case}: {line}, which is not so");
    }
}

/// What a partition says of unique users, as [`lines`] says it of the old value.
fn figures(batch: &RecordBatch) -> Vec<String> {
    let Some(date) = batch.column_by_name("date") else { return Vec::new() };
    let column = |name: &str| batch.column_by_name(name).unwrap();
    let hour = batch.column_by_name("hour").map(AsArray::as_primitive::<Int8Type>);
    let users = column("unique_users").as_primitive::<Int64Type>();
    let line = |row| {
        format!(
            "{} {} {} {:?} unique_users: {:?}",
            column("conversation_type").as_string::<i32>().value(row),
            if hour.is_some() { "hourly" } else { "daily" },
            date.as_primitive::<Date32Type>().value(row),
            hour.map(|hour| hour.value(row)),
            users.is_valid(row).then(|| users.value(row)),
        )
    };
    (0..batch.num_rows()).map(line).collect()
}

/// All is told, each once, and nothing is parked any more.
#[track_caller]
pub(super) fn published(lake: &Path, expected: &Lines) {
    let found = found(lake);
    assert_eq!((&found.iter().cloned().collect::<Lines>(), found.len()), (expected, expected.len()));
    assert_eq!(walk(&lake.join("_trendlake/parked")).len(), 0, "still parked");
}
