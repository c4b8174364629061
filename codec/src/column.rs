//! Columns of a Parquet file, and a memory of those that come again and again.
//!
//! Of a month's file only the figures are its own. The dates and hours are those of every other stream's
//! file of the month, the texts those of every other file of the stream. So a column that may come again
//! is encoded once, by itself, and spliced into each file that has it.

use std::borrow::Cow;
use std::io::Write;
use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, StringArray};
use arrow::datatypes::{
    self, ArrowNativeType, DataType, Date32Type, Float64Type, Int8Type, TimestampMicrosecondType,
};
use bytes::Bytes;
use parquet::column::writer::{
    ColumnCloseResult, ColumnWriter, get_column_writer, get_typed_column_writer_mut as typed,
};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DoubleType, Int32Type, Int64Type};
use parquet::errors::Result;
use parquet::file::properties::WriterPropertiesPtr;
use parquet::file::writer::{SerializedPageWriter, SerializedRowGroupWriter, TrackedWrite};
use parquet::schema::types::ColumnDescPtr;
use twox_hash::XxHash3_128;

use crate::memory::Memory;
use crate::text::only_text;

/// Columns that another file hardly ever has.
const OWN: [&str; 7] = [
    "unique_users",
    "new_users",
    "returning_users",
    "avg_unique_users_per_day",
    "avg_new_users_per_day",
    "avg_returning_users_per_day",
    "fetched_at",
];

/// Writes the next column of a row group.
pub(crate) fn append<W: Write + Send>(
    rows: &mut SerializedRowGroupWriter<'_, W>,
    descriptor: &ColumnDescPtr,
    array: &ArrayRef,
    properties: &'static WriterPropertiesPtr,
) -> Result<()> {
    if !OWN.contains(&descriptor.name()) {
        let column = recalled(descriptor, array, properties)?;
        return rows.append_column(&column.bytes, column.close.clone());
    }
    let mut writer = rows.next_column()?.expect("as many columns as the schema has");
    write(writer.untyped(), array, descriptor)?;
    writer.close()
}

/// Writes the whole of a column.
fn write(writer: &mut ColumnWriter<'_>, array: &ArrayRef, descriptor: &ColumnDescPtr) -> Result<()> {
    let levels = (descriptor.max_def_level() > 0).then(|| match array.nulls() {
        None => vec![1; array.len()],
        Some(nulls) => nulls.iter().map(i16::from).collect(),
    });
    let levels = levels.as_deref();
    match array.data_type() {
        DataType::Utf8 => {
            let texts = texts(array.as_string());
            typed::<ByteArrayType>(writer).write_batch(&texts, levels, None)
        }
        DataType::Boolean => {
            let flags: Vec<bool> = array.as_boolean().iter().flatten().collect();
            typed::<BoolType>(writer).write_batch(&flags, levels, None)
        }
        DataType::Date32 => {
            typed::<Int32Type>(writer).write_batch(&values::<Date32Type>(array), levels, None)
        }
        DataType::Int8 => {
            let small: Vec<i32> = values::<Int8Type>(array).iter().map(|&value| value.into()).collect();
            typed::<Int32Type>(writer).write_batch(&small, levels, None)
        }
        DataType::Int64 => {
            typed::<Int64Type>(writer).write_batch(&values::<datatypes::Int64Type>(array), levels, None)
        }
        DataType::Float64 => {
            typed::<DoubleType>(writer).write_batch(&values::<Float64Type>(array), levels, None)
        }
        _ => {
            let instants = values::<TimestampMicrosecondType>(array);
            typed::<Int64Type>(writer).write_batch(&instants, levels, None)
        }
    }
    .map(drop)
}

/// The values that are not null.
fn values<T: ArrowPrimitiveType>(array: &ArrayRef) -> Cow<'_, [T::Native]> {
    let array = array.as_primitive::<T>();
    match array.null_count() {
        0 => array.values().as_ref().into(),
        _ => array.iter().flatten().collect(),
    }
}

/// The texts, each that is the one before sharing its bytes.
fn texts(array: &StringArray) -> Vec<ByteArray> {
    let mut texts: Vec<ByteArray> = Vec::with_capacity(array.len());
    for text in array.iter().flatten() {
        match texts.last() {
            Some(last) if last.data() == text.as_bytes() => texts.push(last.clone()),
            _ => texts.push(text.into()),
        }
    }
    texts
}

/// A column in its encoded form.
struct Encoded {
    bytes: Bytes,
    /// Where in the bytes its parts are, and what is known of it.
    close: ColumnCloseResult,
}

/// The columns that were written last, a few kilobytes each.
static KNOWN: LazyLock<Memory<u128, Arc<Encoded>, 256>> = LazyLock::new(Memory::default);

/// The encoded form of a column, made only if it is not remembered.
fn recalled(
    descriptor: &ColumnDescPtr,
    array: &ArrayRef,
    properties: &'static WriterPropertiesPtr,
) -> Result<Arc<Encoded>> {
    let key = digest(descriptor, array, properties);
    if let Some(known) = KNOWN.get(&key) {
        return Ok(known);
    }
    let made = Arc::new(encode(descriptor, array, properties)?);
    KNOWN.put(key, made.clone());
    Ok(made)
}

fn encode(descriptor: &ColumnDescPtr, array: &ArrayRef, properties: &WriterPropertiesPtr) -> Result<Encoded> {
    let mut bytes = TrackedWrite::new(Vec::new());
    let pages = Box::new(SerializedPageWriter::new(&mut bytes));
    let mut writer = get_column_writer(descriptor.clone(), properties.clone(), pages);
    write(&mut writer, array, descriptor)?;
    let close = writer.close()?;
    Ok(Encoded { bytes: bytes.into_inner()?.into(), close })
}

/// What makes a column the same as another: its name, its form, its rows, and every value.
fn digest(descriptor: &ColumnDescPtr, array: &ArrayRef, properties: &'static WriterPropertiesPtr) -> u128 {
    let mut hash = XxHash3_128::new();
    hash.write(descriptor.name().as_bytes());
    // Of another kind of file, it may be encoded otherwise.
    hash.write(&std::ptr::from_ref(properties).addr().to_le_bytes());
    hash.write(&array.len().to_le_bytes());
    for row in array.nulls().into_iter().flatten() {
        hash.write(&[u8::from(row)]);
    }
    match array.data_type() {
        DataType::Utf8 => {
            let texts = array.as_string::<i32>();
            if let Some(text) = only_text(texts) {
                hash.write(b"only");
                hash.write(text.as_bytes());
                return hash.finish_128();
            }
            // Rows out of the middle of others are the same as if they stood alone.
            let (start, end) = (texts.offsets()[0], texts.offsets()[texts.len()]);
            if start == 0 {
                hash.write(texts.offsets().inner().inner());
            } else {
                texts.offsets().iter().for_each(|offset| hash.write(&(offset - start).to_le_bytes()));
            }
            hash.write(&texts.values()[start.as_usize()..end.as_usize()]);
        }
        DataType::Boolean => hash.write(&array.as_boolean().values().sliced()),
        DataType::Date32 => hash.write(array.as_primitive::<Date32Type>().values().inner()),
        DataType::Int8 => hash.write(array.as_primitive::<Int8Type>().values().inner()),
        _ => hash.write(array.as_primitive::<TimestampMicrosecondType>().values().inner()),
    }
    hash.finish_128()
}
