//! A hash of what a partition says, whatever the order of its rows.

use std::ops::Range;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray, RecordBatch};
use arrow::datatypes::{DataType, Date32Type, Float64Type, Int8Type, Int64Type, TimestampMicrosecondType};
use twox_hash::XxHash3_128;

use crate::text::only_text;

/// How many rows are written out side by side, column by column, so that a column's type is looked at once for all of
/// them: few enough to stay close to the processor.
const BLOCK: usize = 64;

/// Hashes every column but `fetched_at`: 32 hexadecimal digits.
///
/// The hash of a row is XXH3-128 over its values in an encoding of its own, which no library's
/// upgrade can change: for each a mark for null, then texts by length and bytes, the rest in fixed width. Those of all
/// rows are added up, so that order does not matter. It tells changes and damage; it is not meant to withstand forgery.
///
/// # Panics
/// When a column has a type that no dataset has.
#[must_use]
pub fn content_hash(batch: &RecordBatch) -> String {
    let fields = batch.schema_ref().fields().iter().zip(batch.columns());
    let columns: Vec<&ArrayRef> =
        fields.filter(|(field, _)| field.name() != "fetched_at").map(|(_, array)| array).collect();
    let only: Vec<&str> = columns.iter().map_while(|array| only_text(array.as_string_opt()?)).collect();
    let (_, others) = columns.split_at(only.len());
    let width = only.iter().map(|text| 9 + text.len()).sum::<usize>()
        + others.iter().map(|array| longest(array)).sum::<usize>();
    let block = BLOCK.min(batch.num_rows());
    let mut rows = Rows { bytes: vec![0; block * width], width, lengths: [0; BLOCK] };
    // What all rows begin with is written once: of a single slice, all its texts.
    for text in only {
        (0..block).for_each(|row| rows.put_text(row, false, text));
    }
    let begun = rows.lengths;
    let mut sum: u128 = 0;
    for start in (0..batch.num_rows()).step_by(BLOCK) {
        let block = start..batch.num_rows().min(start + BLOCK);
        rows.lengths = begun;
        for array in others {
            rows.append(array, block.clone());
        }
        for row in 0..block.len() {
            sum = sum.wrapping_add(XxHash3_128::oneshot(rows.get(row)));
        }
    }
    format!("{sum:032x}")
}

/// How many bytes a value takes at the most.
fn longest(array: &ArrayRef) -> usize {
    let texts = array.as_string_opt::<i32>();
    9 + texts.map_or(0, |texts| texts.iter().flatten().map(str::len).max().unwrap_or(0))
}

/// Rows as they are hashed, one every `width` bytes.
struct Rows {
    bytes: Vec<u8>,
    width: usize,
    lengths: [usize; BLOCK],
}

impl Rows {
    fn get(&self, row: usize) -> &[u8] {
        &self.bytes[row * self.width..][..self.lengths[row]]
    }

    /// Adds a column's values to the first rows.
    fn append(&mut self, array: &ArrayRef, rows: Range<usize>) {
        match array.data_type() {
            DataType::Utf8 => {
                let texts = array.as_string::<i32>();
                for (row, index) in rows.enumerate() {
                    self.put_text(row, texts.is_null(index), texts.value(index));
                }
            }
            DataType::Boolean => {
                let flags = array.as_boolean();
                for (row, index) in rows.enumerate() {
                    self.put(row, flags.is_null(index), [u8::from(flags.value(index))]);
                }
            }
            DataType::Date32 => self.append_values::<Date32Type, 4>(array, rows, i32::to_le_bytes),
            DataType::Int8 => self.append_values::<Int8Type, 1>(array, rows, i8::to_le_bytes),
            DataType::Int64 => self.append_values::<Int64Type, 8>(array, rows, i64::to_le_bytes),
            DataType::Float64 => self.append_values::<Float64Type, 8>(array, rows, f64::to_le_bytes),
            DataType::Timestamp(..) => {
                self.append_values::<TimestampMicrosecondType, 8>(array, rows, i64::to_le_bytes);
            }
            other => panic!("no dataset has a column of type {other}"),
        }
    }

    fn append_values<T: ArrowPrimitiveType, const WIDTH: usize>(
        &mut self,
        array: &ArrayRef,
        rows: Range<usize>,
        bytes: fn(T::Native) -> [u8; WIDTH],
    ) {
        let array: &PrimitiveArray<T> = array.as_primitive();
        let values = &array.values()[rows.clone()];
        if array.null_count() == 0 {
            for (row, value) in values.iter().enumerate() {
                self.put(row, false, bytes(*value));
            }
            return;
        }
        for (row, (index, value)) in rows.zip(values).enumerate() {
            // The value under a null is whatever the writer left there: it must not count.
            let is_null = array.is_null(index);
            self.put(row, is_null, bytes(if is_null { T::Native::default() } else { *value }));
        }
    }

    fn put_text(&mut self, row: usize, is_null: bool, text: &str) {
        self.put(row, is_null, (text.len() as u64).to_le_bytes());
        let at = row * self.width + self.lengths[row];
        self.bytes[at..at + text.len()].copy_from_slice(text.as_bytes());
        self.lengths[row] += text.len();
    }

    /// Values are of known widths: each is a move of its own, and no call to copy bytes.
    #[inline]
    fn put<const WIDTH: usize>(&mut self, row: usize, is_null: bool, bytes: [u8; WIDTH]) {
        let place = &mut self.bytes[row * self.width + self.lengths[row]..][..=WIDTH];
        place[0] = u8::from(is_null);
        place[1..].copy_from_slice(&bytes);
        self.lengths[row] += 1 + WIDTH;
    }
}
