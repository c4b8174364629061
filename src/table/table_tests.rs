use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::take_record_batch;
use arrow::datatypes::TimestampMicrosecondType;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use proptest::prelude::*;

use super::*;
use crate::config::Stream;
use crate::model::{
    Averages, Counts, Dataset, DayPoint, Grain, HourPoint, Partition, Period, PeriodRow, Points, Question,
    Slice, Span, Summary, Trend, Window, windows,
};
use crate::simulator::{Future, World};

fn stream(zone: chrono_tz::Tz) -> Stream {
    Stream { zone, ..Stream::example() }
}

fn march() -> Window {
    windows("2026-03-01".parse().unwrap(), "2026-03-31".parse().unwrap()).next().unwrap()
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// A month of figures that are all different, with some missing.
fn trend(grain: Grain, offset: i64) -> Trend {
    let counts =
        |n: i64| Counts { unique: Some(n + offset), new: (n % 7 != 0).then_some(n), returning: Some(n / 2) };
    let points = match grain {
        Grain::Daily => Points::Daily(
            march().dates().zip(1..).map(|(date, n)| DayPoint { date, counts: counts(n) }).collect(),
        ),
        Grain::Hourly => Points::Hourly(
            march()
                .dates()
                .flat_map(|date| (0..24).map(move |hour| (date, hour)))
                .zip(1..)
                .map(|((date, hour), n)| HourPoint { date, hour, counts: counts(n) })
                .collect(),
        ),
    };
    let averages = Averages { unique: Some(34.4), new: None, returning: Some(0.0) };
    Trend { summary: Summary { counts: counts(8), averages }, points, missing: 0 }
}

/// Weeks and rolling periods of March for two slices, one week not to be had.
fn period_rows_of(zone: chrono_tz::Tz, fetched_at: &str) -> (Stream, Vec<PeriodRow>) {
    let periods = vec![Period::Rolling28d, Period::Rolling7d, Period::Week];
    let stream = Stream { periods, ..stream(zone) };
    let spans = stream.spans(march().month, march().start);
    let rows = [Slice::ALL, Slice::DASHBOARD].into_iter().flat_map(|slice| {
        let row = |(index, span): (usize, &Span)| PeriodRow {
            slice: slice.clone(),
            period: span.period,
            start: span.start,
            end: span.end,
            summary: (index != 30).then(|| trend(Grain::Daily, i64::try_from(index).unwrap()).summary),
            is_final: true,
            fetched_at: at(fetched_at),
        };
        spans.iter().enumerate().map(row).collect::<Vec<_>>()
    });
    let rows = rows.collect();
    (stream, rows)
}

pub(super) fn built(dataset: Dataset, zone: chrono_tz::Tz, fetched_at: &str) -> RecordBatch {
    if dataset == Dataset::Periods {
        let (stream, rows) = period_rows_of(zone, fetched_at);
        return period_batch(&stream, &rows);
    }
    let grain = dataset.grain();
    let answers = [(Slice::ALL, trend(grain, 0)), (Slice::DASHBOARD, trend(grain, 1000))];
    batch(dataset, &stream(zone), march(), &answers, at(fetched_at))
}

pub(super) fn footer(batch: &RecordBatch) -> Footer {
    Footer {
        format_version: FORMAT_VERSION,
        fingerprint: "f".into(),
        start: march().start,
        end: march().end,
        settle_days: 3,
        is_final: true,
        content_hash: content_hash(batch),
        fetched_at: at("2026-05-01T00:00:00.123456Z"),
        restatement: Some("20260501T000000.123456Z-0123456789abcdef".into()),
    }
}

#[test]
fn the_schemas_are_the_public_contract() {
    use std::fmt::Write;
    let mut text = format!("format version {FORMAT_VERSION}\n");
    let datasets = Dataset::ALL.map(|d| (d.as_str(), schema(d), sort_columns(d)));
    let restatements = (crate::model::RESTATEMENTS, restatement_schema(), &RESTATEMENT_SORT[..]);
    for (name, schema, sorted_by) in datasets.into_iter().chain([restatements]) {
        let _ = writeln!(text, "\n{name}, sorted by {}", sorted_by.join(", "));
        for field in schema.fields() {
            let null = if field.is_nullable() { "null" } else { "not null" };
            let additive =
                if field.metadata().get("trendlake.additive").is_some() { ", not additive" } else { "" };
            let _ = writeln!(text, "  {} {} {null}{additive}", field.name(), field.data_type());
        }
    }
    let golden = std::fs::read_to_string("tests/data/schema.txt").unwrap_or_default();
    assert_eq!(
        text, golden,
        "the columns are a public contract: a change needs a new FORMAT_VERSION and tests/data/schema.txt"
    );
}

#[test]
fn files_round_trip_byte_for_byte() {
    for dataset in Dataset::ALL {
        let batch = built(dataset, chrono_tz::UTC, "2026-05-01T00:00:00.123456Z");
        let bytes = encode(dataset, &batch, &footer(&batch));
        assert_eq!(bytes, encode(dataset, &batch, &footer(&batch)), "{dataset}");
        let back = decode(dataset, &bytes).unwrap();
        assert_eq!(back.columns(), batch.columns(), "{dataset}");
        assert_eq!(read_footer(&bytes).unwrap(), footer(&batch), "{dataset}");
        let other = if dataset == Dataset::Daily { Dataset::Hourly } else { Dataset::Daily };
        assert!(decode(other, &bytes).is_err());
    }
}

/// What a stream's month of hours takes in the lake: most streams have few users in an hour.
#[test]
fn a_month_of_hours_with_few_users_takes_4_kib() {
    let id = "st-00000000-0000-5000-8000-000000000002".parse().unwrap();
    let stream = Stream { id, name: "customer support".into(), ..stream(chrono_tz::America::New_York) };
    let question = Question {
        stream: stream.id.clone(),
        grain: Grain::Hourly,
        slice: Slice::ALL,
        zone: stream.zone,
        window: march(),
    };
    let fetched_at = at("2026-05-01T00:00:00.123456Z");
    let (_, points) = World::new(2, Future::Zeros).answer(&question, fetched_at);
    let Points::Hourly(hours) = &points else { panic!("hours were asked for") };
    let most = hours.iter().filter_map(|h| h.counts.unique).max().unwrap();
    assert!((10..20).contains(&most), "{most}");
    let answers = [(Slice::ALL, Trend { points, ..trend(Grain::Hourly, 0) })];
    let batch = batch(Dataset::Hourly, &stream, march(), &answers, fetched_at);
    let footer = Footer { fingerprint: stream.fingerprint(crate::model::UnitKind::Hourly), ..footer(&batch) };
    let bytes = encode(Dataset::Hourly, &batch, &footer);
    assert!(bytes.len() <= 4096, "{} bytes", bytes.len());
    assert_eq!(decode(Dataset::Hourly, &bytes).unwrap().columns(), batch.columns());
}

/// A file that is small and has a page index all the same, as earlier versions wrote, or which is large.
#[test]
fn files_with_a_page_index_are_sound_and_its_flaws_are_found() {
    let batch = built(Dataset::Hourly, chrono_tz::UTC, "2026-05-01T00:00:00Z");
    let good = Footer { fetched_at: at("2026-05-01T00:00:00Z"), ..footer(&batch) };
    let indexes =
        |bytes: &Bytes| super::decode::statistics(bytes).unwrap().iter().filter(|(_, i)| i.is_some()).count();
    let small = super::parquet::encode_as(Dataset::Hourly, &batch, &good, true);
    assert_eq!((indexes(&small), indexes(&encode(Dataset::Hourly, &batch, &good))), (12, 0));
    assert_eq!(inspect(&place(Dataset::Hourly), &small).unwrap().batch.columns(), batch.columns());

    let answers: Vec<_> = (10..40)
        .map(|n| (Slice { channel: format!("c{n}").parse().unwrap(), ..Slice::ALL }, trend(Grain::Hourly, n)))
        .collect();
    let stream = stream(chrono_tz::UTC);
    let batch = super::batch(Dataset::Hourly, &stream, march(), &answers, good.fetched_at);
    assert_eq!(batch.num_rows(), 30 * 744);
    let footer = Footer { content_hash: content_hash(&batch), ..good };
    let large = encode(Dataset::Hourly, &batch, &footer);
    assert_eq!(indexes(&large), 12);
    assert_eq!(inspect(&place(Dataset::Hourly), &large).unwrap().batch.columns(), batch.columns());
}

#[test]
fn rows_are_final_day_by_day_and_a_summary_as_a_whole() {
    // On April 2, days up to March 29 have been over for three whole days.
    let fetched_at = "2026-04-02T12:00:00Z";
    let finals = |dataset| {
        let batch = built(dataset, chrono_tz::UTC, fetched_at);
        batch.column_by_name("is_final").unwrap().as_boolean().values().iter().filter(|v| *v).count()
    };
    assert_eq!(finals(Dataset::Daily), 2 * 29);
    assert_eq!(finals(Dataset::Hourly), 2 * 29 * 24);
    assert_eq!(finals(Dataset::Summary), 0);
    let later = built(Dataset::Summary, chrono_tz::UTC, "2026-04-04T00:00:00Z");
    assert!(later.column_by_name("is_final").unwrap().as_boolean().value(0));
}

#[test]
fn the_hours_of_days_with_23_and_25_hours() {
    let starts = |zone, row: usize| {
        let batch = built(Dataset::Hourly, zone, "2026-05-01T00:00:00Z");
        let column =
            batch.column_by_name("hour_start").unwrap().as_primitive::<TimestampMicrosecondType>().clone();
        column.is_valid(row).then(|| DateTime::from_timestamp_micros(column.value(row)).unwrap())
    };
    let new_york = chrono_tz::America::New_York;
    let row = |day: usize, hour: usize| (day - 1) * 24 + hour;
    assert_eq!(starts(new_york, row(8, 1)), Some(at("2026-03-08T06:00:00Z")));
    assert_eq!(starts(new_york, row(8, 2)), None);
    assert_eq!(starts(new_york, row(8, 3)), Some(at("2026-03-08T07:00:00Z")));
    assert_eq!(starts(new_york, row(9, 0)), Some(at("2026-03-09T04:00:00Z")));
    // Gaza goes forward on 2026-03-28; Troll is two hours off in summer. Whatever the zone, a row
    // either has no instant or one at which its wall clock shows its hour.
    for zone in [chrono_tz::Asia::Gaza, chrono_tz::Antarctica::Troll, chrono_tz::Asia::Kathmandu] {
        let batch = built(Dataset::Hourly, zone, "2026-05-01T00:00:00Z");
        let starts =
            batch.column_by_name("hour_start").unwrap().as_primitive::<TimestampMicrosecondType>().clone();
        let hours =
            batch.column_by_name("hour").unwrap().as_primitive::<arrow::datatypes::Int8Type>().clone();
        for row in (0..batch.num_rows()).filter(|row| starts.is_valid(*row)) {
            let local = DateTime::from_timestamp_micros(starts.value(row)).unwrap().with_timezone(&zone);
            assert_eq!(
                chrono::Timelike::hour(&local),
                u32::from(hours.value(row).cast_unsigned()),
                "{zone} {local}"
            );
        }
    }
}

/// Lakes hold these hashes: they stay what they are, however they are reckoned.
#[test]
fn the_hash_is_the_same_for_good() {
    let zone = chrono_tz::America::New_York;
    let hashes = Dataset::ALL.map(|dataset| content_hash(&built(dataset, zone, "2026-05-01T00:00:00Z")));
    assert_eq!(
        hashes,
        [
            "a6fb6afbcf7dcdb2722cbd9317cb616f",
            "aa492cd9bf760f68601cc46ed46e58d3",
            "ab1a9a17418417f034e20ff53681679a",
            "48382a13b5dadcee2408cbf07e2312a9",
        ]
    );
}

#[test]
fn the_hash_sees_every_column_but_the_time_of_fetching() {
    for dataset in Dataset::ALL {
        let batch = built(dataset, chrono_tz::UTC, "2026-05-01T00:00:00Z");
        assert_eq!(
            content_hash(&batch),
            content_hash(&built(dataset, chrono_tz::UTC, "2026-06-01T00:00:00Z"))
        );
        let mut hashes = std::collections::BTreeSet::from([content_hash(&batch)]);
        let names: Vec<_> = batch.schema().fields().iter().map(|f| f.name().clone()).collect();
        for (index, name) in names.iter().enumerate().filter(|(_, name)| *name != "fetched_at") {
            // Every column takes the values of other rows, or of another month, in turn.
            let mut columns = batch.columns().to_vec();
            let rows = batch.num_rows();
            columns[index] = match columns[index].data_type() {
                arrow::datatypes::DataType::Utf8 => {
                    std::sync::Arc::new(arrow::array::StringArray::new_repeated("other", rows))
                }
                arrow::datatypes::DataType::Boolean => {
                    std::sync::Arc::new(arrow::array::BooleanArray::from(vec![false; rows]))
                }
                other => arrow::compute::cast(&arrow::array::Int64Array::from_value(17, rows), other)
                    .or_else(|_| arrow::compute::cast(&arrow::array::Int32Array::from_value(17, rows), other))
                    .unwrap(),
            };
            let changed = RecordBatch::try_new(batch.schema(), columns).unwrap();
            assert!(hashes.insert(content_hash(&changed)), "{dataset}: `{name}` does not count");
        }
    }
}

fn place(dataset: Dataset) -> Partition {
    Partition { dataset, stream: Stream::example().id, month: march().month }
}

#[test]
fn sound_files_pass_the_inspection_in_every_zone() {
    for dataset in Dataset::ALL {
        for zone in [chrono_tz::UTC, chrono_tz::America::New_York, chrono_tz::Asia::Gaza] {
            let batch = built(dataset, zone, "2026-05-01T00:00:00Z");
            let footer = Footer { fetched_at: at("2026-05-01T00:00:00Z"), ..footer(&batch) };
            let bytes = encode(dataset, &batch, &footer);
            let sound = inspect(&place(dataset), &bytes).unwrap();
            assert_eq!(sound.batch.columns(), batch.columns());
        }
    }
}

/// Rows are sorted by the texts of their slices, as readers and the file's own word have it.
#[test]
fn every_slice_has_its_place_in_the_order() {
    use crate::model::{Channel, ConversationStatus, ConversationType};
    let mut slices = Vec::new();
    for &conversation_type in ConversationType::ALL {
        for &conversation_status in ConversationStatus::ALL {
            for channel in [Channel::All, "rtm".parse().unwrap(), "Alexa".parse().unwrap()] {
                slices.push(Slice { conversation_type, conversation_status, channel });
            }
        }
    }
    slices.sort();
    for dataset in [Dataset::Daily, Dataset::Hourly, Dataset::Summary] {
        let answers: Vec<_> = slices.iter().cloned().map(|s| (s, trend(dataset.grain(), 0))).collect();
        let fetched_at = at("2026-05-01T00:00:00Z");
        let batch = batch(dataset, &stream(chrono_tz::UTC), march(), &answers, fetched_at);
        let bytes = encode(dataset, &batch, &Footer { fetched_at, ..footer(&batch) });
        inspect(&place(dataset), &bytes).unwrap();
    }
}

/// Whatever bit flips: it is noticed, or every row is as it was.
#[test]
fn no_flipped_bit_changes_a_row_unnoticed() {
    let mut noticed = 0;
    for dataset in Dataset::ALL {
        let batch = built(dataset, chrono_tz::America::New_York, "2026-05-01T00:00:00Z");
        let footer = Footer { fetched_at: at("2026-05-01T00:00:00Z"), ..footer(&batch) };
        let bytes = encode(dataset, &batch, &footer);
        for place_in_file in (0..bytes.len()).step_by(7) {
            let mut bytes = bytes.to_vec();
            bytes[place_in_file] ^= 1 << (place_in_file % 8);
            match inspect(&place(dataset), &bytes.into()) {
                Ok(sound) => assert_eq!(sound.batch.columns(), batch.columns(), "byte {place_in_file}"),
                Err(_) => noticed += 1,
            }
        }
    }
    assert!(noticed > 800, "only {noticed} were noticed");
}

#[test]
fn the_inspection_finds_each_flaw() {
    let dataset = Dataset::Hourly;
    let batch = built(dataset, chrono_tz::UTC, "2026-05-01T00:00:00Z");
    let good = Footer { fetched_at: at("2026-05-01T00:00:00Z"), ..footer(&batch) };
    let says = |partition: &Partition, batch: &RecordBatch, footer: &Footer| {
        let footer = Footer { content_hash: content_hash(batch), ..footer.clone() };
        inspect(partition, &encode(dataset, batch, &footer)).map(|_| ()).unwrap_err().to_string()
    };
    let here = place(dataset);
    let elsewhere = Partition { stream: "st-other".parse().unwrap(), ..here.clone() };
    assert!(says(&elsewhere, &batch, &good).contains("another stream"));
    let later = Partition { month: "2026-04".parse().unwrap(), ..here.clone() };
    assert!(says(&later, &batch, &good).contains("not within the month"));
    let unsettled = Footer { is_final: false, ..good.clone() };
    assert!(says(&here, &batch, &unsettled).contains("what is final"));
    let newer = Footer { fetched_at: at("2026-05-02T00:00:00Z"), ..good.clone() };
    assert!(says(&here, &batch, &newer).contains("`fetched_at`"));
    let rows = |rows: Vec<u32>| take_record_batch(&batch, &arrow::array::UInt32Array::from(rows)).unwrap();
    let all = || (0..2 * 744).collect::<Vec<_>>();
    let mut twice = all();
    twice.insert(7, 7);
    assert!(says(&here, &rows(twice), &good).contains("row 8 stands twice"));
    let mut swapped = all();
    swapped.swap(7, 8);
    assert!(says(&here, &rows(swapped), &good).contains("row 8 is out of order"));
    for gap in [7, 743, 744, 1000] {
        let some = all().into_iter().filter(|row| *row != gap).collect();
        let text = says(&here, &rows(some), &good);
        assert!(text.contains("every time") || text.contains("the same times"), "{gap}: {text}");
    }
    let without_last_day = all().into_iter().filter(|row| row % 744 < 720).collect();
    assert!(says(&here, &rows(without_last_day), &good).contains("every time"));
    let other_zone = built(dataset, chrono_tz::Asia::Gaza, "2026-05-01T00:00:00Z");
    let mut columns = batch.columns().to_vec();
    columns[5] = other_zone.column(5).clone();
    let wrong_zone = RecordBatch::try_new(batch.schema(), columns).unwrap();
    assert!(says(&here, &wrong_zone, &good).contains("`hour_start`"));
    let forged = Footer { content_hash: "0".repeat(32), ..good };
    assert!(
        inspect(&here, &encode(dataset, &batch, &forged)).unwrap_err().to_string().contains("content hash")
    );
}

#[test]
fn rows_of_periods_come_back_as_they_were() {
    let (stream, rows) = period_rows_of(chrono_tz::UTC, "2026-05-01T00:00:00Z");
    assert_eq!(rows.len(), 2 * (4 + 25 + 4));
    assert_eq!(period_rows(&period_batch(&stream, &rows)), rows);
}

#[test]
fn the_inspection_finds_each_flaw_of_periods() {
    let fetched_at = "2026-05-01T00:00:00Z";
    let (stream, rows) = period_rows_of(chrono_tz::UTC, fetched_at);
    let whole = footer(&period_batch(&stream, &rows));
    let whole = Footer { fetched_at: at(fetched_at), ..whole };
    let look = |rows: &[PeriodRow], footer: &Footer| {
        let batch = period_batch(&stream, rows);
        let footer = Footer { content_hash: content_hash(&batch), ..footer.clone() };
        let found = inspect(&place(Dataset::Periods), &encode(Dataset::Periods, &batch, &footer));
        found.map(|_| ()).map_err(|error| error.to_string())
    };
    let changed = |index: usize, change: fn(&mut PeriodRow)| {
        let mut rows = rows.clone();
        change(&mut rows[index]);
        look(&rows, &whole).expect_err("it passed")
    };
    look(&rows, &whole).unwrap();
    assert!(changed(5, |row| row.is_final = false).contains("not as final"));
    assert!(changed(5, |row| row.end = row.end.pred_opt().unwrap()).contains("another end"));
    assert!(changed(5, |row| row.fetched_at = at("2026-05-02T00:00:00Z")).contains("`fetched_at`"));
    assert!(changed(5, |row| row.fetched_at = at("2026-03-09T00:00:00Z")).contains("not as final"));
    assert!(
        changed(30, |row| row.is_final = false).contains("not as final"),
        "what is not to be had is final"
    );
    // Some rows have been taken over from the file before.
    let mut older = rows.clone();
    older[5].fetched_at = at("2026-04-20T00:00:00Z");
    look(&older, &whole).unwrap();
    for gap in [0, 4, 20, 29, 32, 40] {
        let mut some = rows.clone();
        some.remove(gap);
        let text = look(&some, &whole).unwrap_err();
        assert!(text.contains("every period"), "{gap}: {text}");
    }
    let mut twice = rows.clone();
    twice.insert(7, rows[7].clone());
    assert!(look(&twice, &whole).unwrap_err().contains("row 8 stands twice"));
    let unsettled = Footer { is_final: false, ..whole.clone() };
    assert!(look(&rows, &unsettled).unwrap_err().contains("what is final"));
    let longer = Footer { start: at("2026-02-20T00:00:00Z").date_naive(), ..whole.clone() };
    assert!(
        look(&rows, &longer).unwrap_err().contains("every period"),
        "one that ends in March began on the 20th"
    );
    assert!(look(&[], &whole).unwrap_err().contains("none at all"));
    let later = Footer { end: at("2026-04-02T00:00:00Z").date_naive(), ..whole };
    assert!(look(&rows, &later).unwrap_err().contains("not within the month"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn the_hash_does_not_depend_on_the_order_of_rows(order in Just((0u32..62).collect::<Vec<_>>()).prop_shuffle()) {
        let batch = built(Dataset::Daily, chrono_tz::UTC, "2026-05-01T00:00:00Z");
        let shuffled = take_record_batch(&batch, &arrow::array::UInt32Array::from(order)).unwrap();
        prop_assert_eq!(content_hash(&batch), content_hash(&shuffled));
    }

    /// A damaged file is an error, or by chance still readable; it never ends the program.
    #[test]
    fn damage_does_not_panic(flips in prop::collection::vec((any::<prop::sample::Index>(), 1u8..), 1..8), cut in any::<prop::sample::Index>(), is_cut in any::<bool>()) {
        let batch = built(Dataset::Hourly, chrono_tz::UTC, "2026-05-01T00:00:00Z");
        let mut bytes = encode(Dataset::Hourly, &batch, &footer(&batch)).to_vec();
        for (index, mask) in flips {
            let at = index.index(bytes.len());
            bytes[at] ^= mask;
        }
        if is_cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        let bytes = Bytes::from(bytes);
        if let Ok(found) = decode(Dataset::Hourly, &bytes) {
            prop_assert!(read_footer(&bytes).is_err() || content_hash(&found).len() == 32);
        }
    }
}
