//! A hash of what a partition says, whatever the order of its rows.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::datatypes::{
    ArrowNativeType, DataType, Date32Type, Float64Type, Int8Type, Int64Type, TimestampMicrosecondType,
};
use twox_hash::XxHash3_128;

/// Hashes every column but `fetched_at`: 32 hexadecimal digits.
///
/// The hash of a row is XXH3-128 over its values in an encoding of its own, which no library's
/// upgrade can change; those of all rows are added up, so that order does not matter. It tells
/// changes and damage; it is not meant to withstand forgery.
///
/// # Panics
/// When a column has a type that no dataset has.
#[must_use]
pub fn content_hash(batch: &RecordBatch) -> String {
    let columns: Vec<Column<'_>> = batch
        .schema_ref()
        .fields()
        .iter()
        .zip(batch.columns())
        .filter(|(field, _)| field.name() != "fetched_at")
        .map(|(_, array)| Column::of(array))
        .collect();
    let mut sum: u128 = 0;
    let mut row = vec![0; columns.iter().map(Column::longest).sum()];
    // What all rows begin with is written once: of a single slice, all its texts.
    let same = columns.iter().take_while(|column| column.is_same()).count();
    let (same, others) = columns.split_at(same);
    let write = |columns: &[Column<'_>], index, row: &mut [u8], at| {
        columns.iter().fold(at, |at, column| at + column.write(index, &mut row[at..]))
    };
    let mut begun = 0;
    for index in 0..batch.num_rows() {
        if index == 0 {
            begun = write(same, index, &mut row, 0);
        }
        let length = write(others, index, &mut row, begun);
        sum = sum.wrapping_add(XxHash3_128::oneshot(&row[..length]));
    }
    format!("{sum:032x}")
}

/// The text that stands in every row.
pub(super) fn only_text(texts: &StringArray) -> Option<&str> {
    let first = (!texts.is_empty() && texts.null_count() == 0).then(|| texts.value(0))?;
    let (offsets, step) = (texts.offsets(), i32::try_from(first.len()).ok()?);
    let bytes = &texts.values()[offsets[0].as_usize()..offsets[texts.len()].as_usize()];
    // Texts of one length, each of which is the one before.
    let is_only = offsets.windows(2).all(|ends| ends[1] - ends[0] == step)
        && bytes[first.len()..] == bytes[..bytes.len() - first.len()];
    is_only.then_some(first)
}

/// A column by its type, so that the type is looked at once and not in every row.
enum Column<'a> {
    Text(&'a StringArray),
    Bool(&'a arrow::array::BooleanArray),
    Date(&'a arrow::array::Date32Array),
    Hour(&'a arrow::array::Int8Array),
    Count(&'a arrow::array::Int64Array),
    Average(&'a arrow::array::Float64Array),
    Instant(&'a arrow::array::TimestampMicrosecondArray),
}

impl<'a> Column<'a> {
    fn of(array: &'a ArrayRef) -> Self {
        match array.data_type() {
            DataType::Utf8 => Self::Text(array.as_string()),
            DataType::Boolean => Self::Bool(array.as_boolean()),
            DataType::Date32 => Self::Date(array.as_primitive::<Date32Type>()),
            DataType::Int8 => Self::Hour(array.as_primitive::<Int8Type>()),
            DataType::Int64 => Self::Count(array.as_primitive::<Int64Type>()),
            DataType::Float64 => Self::Average(array.as_primitive::<Float64Type>()),
            DataType::Timestamp(..) => Self::Instant(array.as_primitive::<TimestampMicrosecondType>()),
            other => panic!("no dataset has a column of type {other}"),
        }
    }

    /// How many bytes a value takes at the most.
    fn longest(&self) -> usize {
        match self {
            Self::Text(a) => 9 + (0..a.len()).map(|index| a.value(index).len()).max().unwrap_or(0),
            _ => 9,
        }
    }

    /// Whether it is a column of one text, as far as that is quickly told.
    fn is_same(&self) -> bool {
        matches!(self, Self::Text(texts) if only_text(texts).is_some())
    }

    /// Writes a mark for null, then the value: texts by length and bytes, the rest in fixed width. Gives how many
    /// bytes that are.
    fn write(&self, index: usize, row: &mut [u8]) -> usize {
        match self {
            Self::Text(a) => {
                let text = a.value(index).as_bytes();
                let at = put(row, a.is_null(index), (text.len() as u64).to_le_bytes());
                row[at..at + text.len()].copy_from_slice(text);
                at + text.len()
            }
            Self::Bool(a) => put(row, a.is_null(index), [u8::from(a.value(index))]),
            Self::Date(a) => put(row, a.is_null(index), a.value(index).to_le_bytes()),
            Self::Hour(a) => put(row, a.is_null(index), a.value(index).to_le_bytes()),
            Self::Count(a) => put(row, a.is_null(index), nullable(*a, index, a.value(index)).to_le_bytes()),
            Self::Average(a) => put(row, a.is_null(index), nullable(*a, index, a.value(index)).to_le_bytes()),
            Self::Instant(a) => put(row, a.is_null(index), nullable(*a, index, a.value(index)).to_le_bytes()),
        }
    }
}

/// Values are of known widths: each is a move of its own, and no call to copy bytes.
fn put<const WIDTH: usize>(row: &mut [u8], is_null: bool, bytes: [u8; WIDTH]) -> usize {
    row[0] = u8::from(is_null);
    row[1..=WIDTH].copy_from_slice(&bytes);
    1 + WIDTH
}

/// The value under a null is whatever the writer left there: it must not count.
fn nullable<T: Default>(array: &dyn Array, index: usize, value: T) -> T {
    if array.is_null(index) { T::default() } else { value }
}
