use super::*;
use crate::config::Stream;
use crate::model::{Averages, Counts, DayPoint, HourPoint, Points, Slice, Summary, Trend, Window, windows};

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn window(from: &str, to: &str) -> Window {
    windows(from.parse().unwrap(), to.parse().unwrap()).next().unwrap()
}

/// A partition with these figures in each of two slices, as far as the clock had come.
fn built(
    dataset: Dataset,
    (zone, window): (Tz, Window),
    fetched_at: &str,
    users: impl Fn(NaiveDate, u8) -> Option<i64>,
) -> RecordBatch {
    let stream = Stream { zone, ..Stream::example() };
    let counts = |date, hour| Counts { unique: users(date, hour), new: Some(1), returning: None };
    let points = match dataset {
        Dataset::Hourly => {
            let hours = window.dates().flat_map(|date| (0..24).map(move |hour| (date, hour)));
            let point = |(date, hour)| HourPoint { date, hour, counts: counts(date, hour) };
            Points::Hourly(hours.map(point).collect())
        }
        _ => Points::Daily(window.dates().map(|date| DayPoint { date, counts: counts(date, 0) }).collect()),
    };
    let summary = Summary { counts: counts(window.start, 0), averages: Averages::default() };
    let trend = Trend { summary, points, missing: 0 };
    let answers = [(Slice::ALL, trend.clone()), (Slice::DASHBOARD, trend)];
    super::super::batch(dataset, &stream, window, &answers, at(fetched_at))
}

/// Each restated figure as `date hour metric old new`.
fn said(restated: Option<&RecordBatch>) -> Vec<String> {
    let Some(rows) = restated else { return Vec::new() };
    let date = column(rows, "date").as_primitive::<Date32Type>();
    let hour = column(rows, "hour").as_primitive::<Int8Type>();
    let metric = column(rows, "metric").as_string::<i32>();
    let figure = |name, row| value(column(rows, name).as_primitive(), row);
    let line = |row: usize| {
        format!(
            "{} {:?} {} {:?} {:?}",
            NaiveDate::from_epoch_days(date.value(row)).unwrap(),
            hour.is_valid(row).then(|| hour.value(row)),
            metric.value(row),
            figure("old_value", row).unwrap(),
            figure("new_value", row),
        )
    };
    (0..rows.num_rows()).map(line).collect()
}

#[test]
fn a_day_counts_once_it_was_over_when_it_was_fetched() {
    let place = (chrono_tz::Asia::Kolkata, window("2026-03-01", "2026-03-03"));
    let all = |fetched_at: &str, users: i64| built(Dataset::Daily, place, fetched_at, |_, _| Some(users));
    // In Kolkata, March 2 ends at 18:30 UTC.
    let (before, after) = (all("2026-03-02T18:29:59.999999Z", 5), all("2026-03-02T18:30:00Z", 5));
    let new = all("2026-03-09T00:00:00Z", 6);
    let first = ["2026-03-01 None unique_users 5 Some(6)"; 2];
    assert_eq!(said(restated(Dataset::Daily, &before, &new).as_ref()), first);
    let rows = restated(Dataset::Daily, &after, &new).unwrap();
    assert_eq!(said(Some(&rows)).len(), 2 * 2);
    let slices: Vec<_> = column(&rows, "conversation_type").as_string::<i32>().iter().flatten().collect();
    assert_eq!(slices, ["All", "All", "Interactive", "Interactive"]);
    let time = |name: &str| DateTime::from_timestamp_micros(instants(&rows, name).value(0)).unwrap();
    assert_eq!(
        (time("old_fetched_at"), time("restated_at")),
        (at("2026-03-02T18:30:00Z"), at("2026-03-09T00:00:00Z"))
    );
    assert!(restated(Dataset::Daily, &after, &after).is_none());
    assert!(
        restated(
            Dataset::Summary,
            &built(Dataset::Summary, place, "2026-05-01T00:00:00Z", |_, _| Some(5)),
            &built(Dataset::Summary, place, "2026-05-02T00:00:00Z", |_, _| Some(6))
        )
        .is_none()
    );
}

#[test]
fn a_figure_that_comes_late_restates_nothing_and_one_that_goes_does() {
    let place = (Tz::UTC, window("2026-03-01", "2026-03-01"));
    let built = |users: Option<i64>| built(Dataset::Daily, place, "2026-03-05T00:00:00Z", |_, _| users);
    assert!(restated(Dataset::Daily, &built(None), &built(Some(5))).is_none());
    let gone = restated(Dataset::Daily, &built(Some(5)), &built(None));
    assert_eq!(said(gone.as_ref()), ["2026-03-01 None unique_users 5 None"; 2]);
}

#[test]
fn days_cut_in_another_zone_are_other_days() {
    let window = window("2026-03-01", "2026-03-02");
    let built =
        |zone, users| built(Dataset::Daily, (zone, window), "2026-05-01T00:00:00Z", move |_, _| Some(users));
    let (utc, kolkata) = (built(Tz::UTC, 5), built(chrono_tz::Asia::Kolkata, 6));
    assert!(restated(Dataset::Daily, &utc, &kolkata).is_none());
}

#[test]
fn hours_count_one_by_one_also_on_days_when_the_clocks_change() {
    // New York has no 2 o'clock on 2026-03-08, and 1 o'clock twice on 2026-11-01, from 05:00 to 07:00 UTC.
    let hours = |day: &str, fetched_at: &str| {
        let place = (chrono_tz::America::New_York, window(day, day));
        let old = built(Dataset::Hourly, place, fetched_at, |_, _| Some(5));
        let new = built(Dataset::Hourly, place, "2026-12-01T00:00:00Z", |_, _| Some(6));
        let rows = restated(Dataset::Hourly, &old, &new);
        rows.map(|rows| {
            column(&rows, "hour").as_primitive::<Int8Type>().values()[..rows.num_rows() / 2].to_vec()
        })
    };
    assert_eq!(hours("2026-03-08", "2026-03-08T07:59:59Z"), Some(vec![0, 1]));
    assert_eq!(hours("2026-03-08", "2026-03-08T08:00:00Z"), Some(vec![0, 1, 3]));
    assert_eq!(hours("2026-11-01", "2026-11-01T06:59:59Z"), Some(vec![0]));
    assert_eq!(hours("2026-11-01", "2026-11-01T07:00:00Z"), Some(vec![0, 1]));
    assert_eq!(hours("2026-11-01", "2026-11-02T04:59:59Z").unwrap().len(), 23);
    assert_eq!(hours("2026-11-01", "2026-11-02T05:00:00Z").unwrap().len(), 24);
    assert_eq!(hours("2026-11-01", "2026-11-01T04:00:00Z"), None);
}

fn changed() -> RecordBatch {
    let place = (Tz::UTC, window("2026-03-01", "2026-03-31"));
    let old = built(Dataset::Hourly, place, "2026-05-01T00:00:00Z", |_, hour| Some(i64::from(hour)));
    let new = built(Dataset::Hourly, place, "2026-05-02T00:00:00Z", |_, hour| (hour > 3).then_some(7));
    restated(Dataset::Hourly, &old, &new).unwrap()
}

fn unit() -> Unit {
    Unit { stream: "st-1".parse().unwrap(), kind: UnitKind::Hourly, month: "2026-03".parse().unwrap() }
}

#[test]
fn files_round_trip_and_a_union_holds_each_row_once() {
    let rows = changed();
    let halves = [rows.slice(0, 700), rows.slice(300, rows.num_rows() - 300)];
    assert_eq!(united(&halves[1], &halves[0]), rows);
    let footer = Footer {
        format_version: FORMAT_VERSION,
        fingerprint: "f".into(),
        start: "2026-03-01".parse().unwrap(),
        end: "2026-03-31".parse().unwrap(),
        settle_days: 3,
        is_final: true,
        content_hash: "0".repeat(32),
        fetched_at: at("2026-05-01T00:00:00Z"),
        restatement: None,
    };
    for replaces in [None, Some(Replaced::of(&footer))] {
        let bytes = encode_restatements(&Restatements { rows: rows.clone(), replaces: replaces.clone() });
        let back = decode_restatements(&bytes).unwrap();
        assert_eq!((back.rows, back.replaces), (rows.clone(), replaces));
        assert_eq!(inspect_restatements(&unit(), &bytes), Ok(rows.num_rows() as u64));
    }
    // To and fro under one time: each change has a name of its own.
    let b = Footer { content_hash: "1".repeat(32), ..footer.clone() };
    let first = change_id(&footer, &b);
    let b = Footer { restatement: Some(first.clone()), ..b };
    let back = change_id(&b, &footer);
    let a = Footer { restatement: Some(back.clone()), ..footer };
    let again = change_id(&a, &b);
    assert!(first != back && back != again && again != first);
    assert!(first.starts_with("20260501T000000.000000Z-"), "{first}");
}

#[test]
fn the_inspection_finds_each_flaw() {
    let rows = changed();
    let says = |unit: &Unit, rows: &RecordBatch| {
        let bytes = encode_restatements(&Restatements { rows: rows.clone(), replaces: None });
        inspect_restatements(unit, &bytes).unwrap_err().to_string()
    };
    let here = unit();
    let at = |unit: Unit| says(&unit, &rows);
    assert!(at(Unit { stream: "st-2".parse().unwrap(), ..here.clone() }).contains("another stream"));
    assert!(at(Unit { kind: UnitKind::Daily, ..here.clone() }).contains("another grain"));
    assert!(at(Unit { month: "2026-04".parse().unwrap(), ..here.clone() }).contains("another month"));
    let twice = concat_batches(&restatement_schema(), [&rows.slice(0, 2), &rows.slice(1, 3)]).unwrap();
    assert!(says(&here, &twice).contains("stand twice"));
    let turned = concat_batches(&restatement_schema(), [&rows.slice(5, 2), &rows.slice(0, 3)]).unwrap();
    assert!(says(&here, &turned).contains("out of order"));
    let mut columns = rows.columns().to_vec();
    columns[11] = columns[10].clone();
    let same = RecordBatch::try_new(restatement_schema(), columns).unwrap();
    assert!(says(&here, &same).contains("restate nothing"));
}

/// Whatever bit flips: it is noticed, or every row is as it was. Whatever the bytes: no panic.
#[test]
fn no_flipped_bit_changes_a_row_unnoticed() {
    let rows = changed();
    let bytes = encode_restatements(&Restatements { rows: rows.clone(), replaces: None });
    let mut noticed = 0;
    for place in (0..bytes.len()).step_by(7) {
        let mut bytes = bytes.to_vec();
        bytes[place] ^= 1 << (place % 8);
        match decode_restatements(&bytes.into()) {
            Ok(found) => assert_eq!(found.rows, rows, "byte {place}"),
            Err(_) => noticed += 1,
        }
    }
    assert!(noticed > 100, "only {noticed} were noticed");
}
