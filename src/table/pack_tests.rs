use arrow::array::{ArrayRef, StringArray};
use chrono::{DateTime, Utc};
use std::sync::Arc;

use super::super::tests::{built, footer};
use super::super::{decode_rows, encode, read_footer};
use super::*;
use crate::model::Groups;

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// A month of so many streams.
fn packed(dataset: Dataset, streams: usize) -> Packed {
    let of_stream = |n: usize| {
        let batch = built(dataset, chrono_tz::America::New_York, "2026-05-01T00:00:00Z");
        let id = format!("st-{n:03}");
        let mut columns = batch.columns().to_vec();
        columns[0] = Arc::new(StringArray::new_repeated(id.as_str(), batch.num_rows())) as ArrayRef;
        let batch = RecordBatch::try_new(batch.schema(), columns).unwrap();
        let footer = Footer { fetched_at: at("2026-05-01T00:00:00Z"), ..footer(&batch) };
        (id.parse().unwrap(), Sound { footer, batch })
    };
    (0..streams).map(of_stream).collect()
}

fn place(dataset: Dataset) -> Pack {
    let group = Groups::new(1).unwrap().of(&"st-000".parse().unwrap());
    Pack { dataset, month: "2026-03".parse().unwrap(), group }
}

#[test]
fn what_is_packed_is_unpacked_as_it_was() {
    for dataset in Dataset::ALL {
        let before = packed(dataset, 20);
        let bytes = pack(dataset, &before);
        let after = unpack(dataset, &bytes).unwrap();
        let parts = read_parts(&bytes, bytes.len() as u64).unwrap().unwrap();
        assert!(after.keys().eq(before.keys()) && parts.keys().eq(before.keys()));
        for (stream, Sound { footer, batch }) in &before {
            assert_eq!((&after[stream].footer, &parts[stream].footer), (footer, footer));
            assert_eq!(after[stream].batch.columns(), batch.columns());
            let alone = decode_rows(dataset, &bytes, parts[stream].rows.clone()).unwrap();
            assert_eq!(alone.columns(), batch.columns(), "{stream}");
        }
        // Carried over once more, nothing changes any more.
        assert_eq!(pack(dataset, &after), bytes);
        let (sound, flaws) = inspect_pack(&place(dataset), &bytes).unwrap();
        assert_eq!((sound.len(), flaws.values().flatten().count()), (20, 0));
    }
}

#[test]
fn a_row_group_holds_whole_streams() {
    // Two slices of 744 hours: the sixth stream fills a group.
    let bytes = pack(Dataset::Hourly, &packed(Dataset::Hourly, 20));
    let metadata = metadata(&bytes, bytes.len() as u64).unwrap().unwrap();
    let rows: Vec<_> = metadata.row_groups().iter().map(|group| group.num_rows() / 1488).collect();
    assert_eq!(rows, [6, 6, 6, 2]);
    let few = pack(Dataset::Daily, &packed(Dataset::Daily, 20));
    assert_eq!(super::metadata(&few, few.len() as u64).unwrap().unwrap().num_row_groups(), 1);
}

#[test]
fn the_end_of_a_file_tells_of_its_streams() {
    let bytes = pack(Dataset::Hourly, &packed(Dataset::Hourly, 20));
    let (length, whole) = (bytes.len() as u64, read_parts(&bytes, bytes.len() as u64).unwrap());
    let end = |most: usize| read_parts(&bytes.slice(bytes.len() - most..), length);
    assert_eq!(end(bytes.len() / 2), Ok(whole));
    assert_eq!(end(1000), Ok(None));
    assert_eq!(end(4), Ok(None));
}

#[test]
fn files_of_one_stream_and_of_several_are_told_apart() {
    let several = pack(Dataset::Daily, &packed(Dataset::Daily, 2));
    assert_eq!(read_footer(&several), Err(DamagedError::Foreign));
    let one = packed(Dataset::Daily, 1).into_values().next().unwrap();
    let one = encode(Dataset::Daily, &one.batch, &one.footer);
    assert_eq!(read_parts(&one, one.len() as u64), Err(DamagedError::Foreign));
}

#[test]
fn the_inspection_finds_the_flaw_of_one_stream() {
    let dataset = Dataset::Daily;
    let says = |change: &dyn Fn(&mut Packed)| {
        let mut packed = packed(dataset, 3);
        change(&mut packed);
        let (_, flaws) = inspect_pack(&place(dataset), &pack(dataset, &packed)).unwrap();
        flaws.into_iter().filter_map(|(id, flaw)| Some(format!("{id}: {}", flaw?))).collect::<Vec<_>>()
    };
    assert!(says(&|_| {}).is_empty());
    let second: StreamId = "st-001".parse().unwrap();
    let forged = says(&|packed| packed.get_mut(&second).unwrap().footer.content_hash = "0".repeat(32));
    assert!(
        matches!(&forged[..], [flaw] if flaw.starts_with("st-001: ") && flaw.contains("hash")),
        "{forged:?}"
    );
    let swapped = says(&|packed| {
        let first = packed.values().next().unwrap().clone();
        packed.insert(second.clone(), first);
    });
    assert!(matches!(&swapped[..], [flaw] if flaw.contains("another stream")), "{swapped:?}");
    let groups = Groups::new(1000).unwrap();
    let elsewhere = Pack { group: groups.of(&second), ..place(dataset) };
    let (_, flaws) = inspect_pack(&elsewhere, &pack(dataset, &packed(dataset, 3))).unwrap();
    assert_eq!(flaws.values().flatten().count(), 2, "the others belong elsewhere");
}

#[test]
fn rows_that_the_footer_does_not_tell_of_are_damage() {
    let dataset = Dataset::Daily;
    let packed = packed(dataset, 2);
    let one: Vec<_> = packed.values().map(|part| part.batch.clone()).collect();
    let entries = || {
        let version = (format!("{PREFIX}format_version"), FORMAT_VERSION.to_string());
        let parts = packed.iter().map(|(id, part)| (format!("{STREAM}{id}"), entry(part)));
        [version].into_iter().chain(parts)
    };
    let more = encode_packed(dataset, entries(), &[one.clone(), one.clone()].concat());
    assert!(matches!(unpack(dataset, &more), Err(DamagedError::Damaged(_))));
    let newer = entries().map(|(key, value)| {
        let is_version = key.ends_with("format_version");
        (key, if is_version { "999".to_owned() } else { value })
    });
    let newer = encode_packed(dataset, newer, &one);
    assert!(matches!(unpack(dataset, &newer), Err(DamagedError::Newer(999))));
}

/// Whatever bit flips: it is noticed, or every row is as it was.
#[test]
fn no_flipped_bit_changes_a_row_unnoticed() {
    let mut noticed = 0;
    let dataset = Dataset::Daily;
    let before = packed(dataset, 4);
    let bytes = pack(dataset, &before);
    for place_in_file in (0..bytes.len()).step_by(13) {
        let mut bytes = bytes.to_vec();
        bytes[place_in_file] ^= 1 << (place_in_file % 8);
        match inspect_pack(&place(dataset), &bytes.into()) {
            Ok((after, flaws)) if flaws.values().all(Option::is_none) => {
                let lost = before.len() - after.len();
                for (stream, sound) in &after {
                    let rows = before.get(stream).map(|before| before.batch.columns());
                    assert_eq!(Some(sound.batch.columns()), rows, "byte {place_in_file}");
                }
                assert_eq!(lost, 0, "byte {place_in_file}");
            }
            _ => noticed += 1,
        }
    }
    assert!(noticed > 200, "only {noticed} were noticed");
}
