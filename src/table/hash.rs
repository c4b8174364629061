//! A hash of what a partition says, whatever the order of its rows.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Date32Type, Float64Type, Int8Type, Int64Type, TimestampMicrosecondType};
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
    let mut row = Vec::with_capacity(256);
    for index in 0..batch.num_rows() {
        row.clear();
        for column in &columns {
            column.write(index, &mut row);
        }
        sum = sum.wrapping_add(XxHash3_128::oneshot(&row));
    }
    format!("{sum:032x}")
}

/// A column by its type, so that the type is looked at once and not in every row.
enum Column<'a> {
    Text(&'a arrow::array::StringArray),
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

    /// Appends a mark for null, or the value: texts by length and bytes, the rest in fixed width.
    fn write(&self, index: usize, row: &mut Vec<u8>) {
        let mut put = |is_null: bool, bytes: &[u8]| {
            row.push(u8::from(is_null));
            row.extend_from_slice(bytes);
        };
        match self {
            Self::Text(a) => {
                let text = a.value(index);
                put(a.is_null(index), &(text.len() as u64).to_le_bytes());
                row.extend_from_slice(text.as_bytes());
            }
            Self::Bool(a) => put(a.is_null(index), &[u8::from(a.value(index))]),
            Self::Date(a) => put(a.is_null(index), &a.value(index).to_le_bytes()),
            Self::Hour(a) => put(a.is_null(index), &a.value(index).to_le_bytes()),
            Self::Count(a) => put(a.is_null(index), &nullable(*a, index, a.value(index)).to_le_bytes()),
            Self::Average(a) => put(a.is_null(index), &nullable(*a, index, a.value(index)).to_le_bytes()),
            Self::Instant(a) => put(a.is_null(index), &nullable(*a, index, a.value(index)).to_le_bytes()),
        }
    }
}

/// The value under a null is whatever the writer left there: it must not count.
fn nullable<T: Default>(array: &dyn Array, index: usize, value: T) -> T {
    if array.is_null(index) { T::default() } else { value }
}
