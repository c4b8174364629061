use std::time::Duration;

use chrono::{DateTime, Utc};
use object_store::memory::InMemory;

use super::super::gather::LINGER;
use super::*;
use crate::config::Stream;
use crate::model::{Averages, Counts, Dataset, DayPoint, Points, Slice, Summary, Trend, UnitKind, windows};
use crate::table::{FORMAT_VERSION, content_hash};

const STREAMS: usize = 3;

fn partition(n: usize) -> Partition {
    let stream = format!("st-{n}").parse().unwrap();
    Partition { dataset: Dataset::Daily, stream, month: "2026-03".parse().unwrap() }
}

/// A month of a stream with so many users on each day.
fn sound(n: usize, users: i64) -> Sound {
    let stream = Stream { id: partition(n).stream, slices: vec![Slice::ALL], ..Stream::example() };
    let window = windows("2026-03-01".parse().unwrap(), "2026-03-31".parse().unwrap()).next().unwrap();
    let counts = Counts { unique: Some(users), new: Some(users), returning: Some(0) };
    let points = Points::Daily(window.dates().map(|date| DayPoint { date, counts }).collect());
    let trend = Trend { summary: Summary { counts, averages: Averages::default() }, points, missing: 0 };
    let fetched_at: DateTime<Utc> = "2026-05-01T00:00:00Z".parse().unwrap();
    let batch = table::batch(Dataset::Daily, &stream, window, &[(Slice::ALL, trend)], fetched_at);
    let footer = Footer {
        format_version: FORMAT_VERSION,
        fingerprint: stream.fingerprint(UnitKind::Daily),
        start: window.start,
        end: window.end,
        settle_days: 3,
        is_final: true,
        content_hash: content_hash(&batch),
        fetched_at,
        restatement: None,
    };
    Sound { footer, batch }
}

fn desk() -> Arc<Desk> {
    let lake = Lake::on(Arc::new(InMemory::new()), "lake".into());
    Arc::new(Desk::new(lake, Groups::new(1).unwrap(), Clock::system()))
}

async fn put(desk: &Arc<Desk>, n: usize, sound: &Sound, prior: &Prior) -> Result<Commit, lake::Error> {
    let change = Change { partition: &partition(n), batch: &sound.batch, footer: &sound.footer };
    desk.put(change, prior).await.outcome
}

/// The streams in the object, each with its users.
async fn found(desk: &Desk) -> Vec<(String, Sound)> {
    let held = desk.held(desk.pack(&partition(0))).await.unwrap();
    let Held::There { bytes, .. } = &*held else { return Vec::new() };
    let packed = table::unpack(Dataset::Daily, bytes).unwrap();
    packed.into_iter().map(|(stream, sound)| (stream.to_string(), sound)).collect()
}

async fn prior(desk: &Desk, n: usize) -> Prior {
    super::super::packed::read(desk, &partition(n), false).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn what_is_expected_is_put_at_once() {
    let desk = desk();
    for n in 0..STREAMS {
        desk.expect(&partition(n));
    }
    let began = desk.gather.clock().instant();
    let sounds = [0, 1, 2].map(|n| sound(n, 5));
    let one = |n: usize| put(&desk, n, &sounds[n], &Prior::Absent);
    let (a, b, c) = tokio::join!(one(0), one(1), one(2));
    assert!([a, b, c].iter().all(|outcome| matches!(outcome, Ok(Commit::Done))));
    assert_eq!((desk.puts(), desk.gather.clock().instant() - began), (1, Duration::ZERO));
    assert_eq!(found(&desk).await.len(), STREAMS);
    assert!(desk.gather.is_idle(), "nothing is kept of an object that is done");
}

#[tokio::test(start_paused = true)]
async fn a_straggler_is_waited_for_a_little_and_one_that_will_not_come_not_at_all() {
    let desk = desk();
    for n in 0..STREAMS {
        desk.expect(&partition(n));
    }
    let sounds = [0, 1, 2].map(|n| sound(n, 5));
    let one = |n: usize| put(&desk, n, &sounds[n], &Prior::Absent);
    let began = desk.gather.clock().instant();
    let late = async {
        desk.gather.clock().sleep(Duration::from_mins(1)).await;
        desk.no_more(&partition(1));
        one(2).await
    };
    let early = async {
        let outcome = one(0).await;
        (outcome, desk.gather.clock().instant() - began)
    };
    let ((early, waited), late) = tokio::join!(early, late);
    assert!(matches!((early, late), (Ok(Commit::Done), Ok(Commit::Done))));
    assert_eq!((desk.puts(), waited), (2, LINGER));
    assert_eq!(desk.gather.clock().instant() - began, Duration::from_mins(1), "nobody is left to wait for");
    let streams: Vec<_> = found(&desk).await.into_iter().map(|(stream, _)| stream).collect();
    assert_eq!(streams, ["st-0", "st-2"]);
}

#[tokio::test(start_paused = true)]
async fn a_change_of_what_is_not_there_any_more_holds_up_no_other() {
    let desk = desk();
    let olds = [0, 1].map(|n| sound(n, 5));
    for (n, old) in olds.iter().enumerate() {
        put(&desk, n, old, &Prior::Absent).await.unwrap();
    }
    let stale = prior(&desk, 0).await;
    put(&desk, 0, &sound(0, 6), &stale).await.unwrap();
    // Both were read before that; only the second one's is still as it was.
    let (other, news) = (prior(&desk, 1).await, [sound(0, 7), sound(1, 7)]);
    for n in [0, 1] {
        desk.expect(&partition(n));
    }
    let (first, second) = tokio::join!(put(&desk, 0, &news[0], &stale), put(&desk, 1, &news[1], &other));
    assert!(matches!((first, second), (Ok(Commit::Conflict), Ok(Commit::Done))));
    let expected = [("st-0".to_owned(), sound(0, 6)), ("st-1".to_owned(), sound(1, 7))];
    for ((stream, found), (expected, sound)) in found(&desk).await.into_iter().zip(expected) {
        assert_eq!((stream, found.footer), (expected, sound.footer));
    }
}

#[tokio::test(start_paused = true)]
async fn another_process_that_replaces_a_neighbour_is_no_conflict() {
    let ours = desk();
    let theirs = Arc::new(Desk::new(ours.lake.clone(), ours.groups, ours.gather.clock().clone()));
    for n in [0, 1] {
        put(&ours, n, &sound(n, 5), &Prior::Absent).await.unwrap();
    }
    // What is read is kept as long as changes are expected.
    for n in [0, 2] {
        ours.expect(&partition(n));
    }
    let read = prior(&ours, 0).await;
    put(&theirs, 1, &sound(1, 9), &prior(&theirs, 1).await).await.unwrap();
    assert!(matches!(put(&ours, 0, &sound(0, 8), &read).await, Ok(Commit::Done)));
    let hashes: Vec<_> =
        found(&theirs).await.into_iter().map(|(_, sound)| sound.footer.content_hash).collect();
    assert_eq!(hashes, [sound(0, 8).footer.content_hash, sound(1, 9).footer.content_hash]);
}

#[tokio::test(start_paused = true)]
async fn a_bug_ends_what_it_is_in_and_nothing_else() {
    let desk = desk();
    let good = sound(0, 5);
    // Rows of another dataset cannot be packed.
    let schema = table::schema(Dataset::Summary);
    let bad = Sound { batch: arrow::array::RecordBatch::new_empty(schema), ..good.clone() };
    let task = desk.clone();
    let ended = tokio::spawn(async move { put(&task, 1, &bad, &Prior::Absent).await.map(drop) }).await;
    assert!(ended.unwrap_err().is_panic());
    assert!(matches!(put(&desk, 0, &good, &Prior::Absent).await, Ok(Commit::Done)));
    assert_eq!(found(&desk).await.len(), 1);
}
