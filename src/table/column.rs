//! Columns of a Parquet file, and a memory of those that come again and again.
//!
//! Of a month's file only the figures are its own. The dates and hours are those of every other stream's
//! file of the month, the texts those of every other file of the stream. So a column that may come again
//! is encoded once, as a file of its own, and spliced into each file that has it.

use std::collections::HashMap;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{
    ArrowNativeType, DataType, Date32Type, Field, Float64Type, Int8Type, Int64Type, Schema,
    TimestampMicrosecondType,
};
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::column::writer::ColumnCloseResult;
use parquet::data_type::{DoubleType as ParquetDouble, Int64Type as ParquetInt64};
use parquet::errors::Result;
use parquet::file::properties::WriterPropertiesPtr;
use parquet::file::writer::SerializedRowGroupWriter;
use twox_hash::XxHash3_128;

use super::hash::only_text;

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
pub(super) fn append<W: Write + Send>(
    rows: &mut SerializedRowGroupWriter<'_, W>,
    field: &Arc<Field>,
    array: &ArrayRef,
    properties: &'static WriterPropertiesPtr,
) -> Result<()> {
    if !OWN.contains(&field.name().as_str()) {
        let column = recalled(field, array, properties)?;
        return rows.append_column(&column.file, column.close.clone());
    }
    let mut writer = rows.next_column()?.expect("as many columns as the schema has");
    let levels: Option<Vec<i16>> =
        field.is_nullable().then(|| (0..array.len()).map(|row| i16::from(array.is_valid(row))).collect());
    let levels = levels.as_deref();
    match field.data_type() {
        DataType::Int64 => {
            let figures: Vec<i64> = array.as_primitive::<Int64Type>().iter().flatten().collect();
            writer.typed::<ParquetInt64>().write_batch(&figures, levels, None)?;
        }
        DataType::Float64 => {
            let figures: Vec<f64> = array.as_primitive::<Float64Type>().iter().flatten().collect();
            writer.typed::<ParquetDouble>().write_batch(&figures, levels, None)?;
        }
        _ => {
            let instants = array.as_primitive::<TimestampMicrosecondType>().values();
            writer.typed::<ParquetInt64>().write_batch(instants, levels, None)?;
        }
    }
    writer.close()
}

/// A column in its encoded form.
struct Encoded {
    /// A file with this column alone.
    file: Bytes,
    /// Where in the file the column is, and what is known of it.
    close: ColumnCloseResult,
}

/// Beyond this many columns, all are forgotten: a few kilobytes each.
const REMEMBERED: usize = 512;

/// The encoded form of a column, made only if it is not remembered.
fn recalled(
    field: &Arc<Field>,
    array: &ArrayRef,
    properties: &'static WriterPropertiesPtr,
) -> Result<Arc<Encoded>> {
    static MEMORY: Mutex<Option<HashMap<u128, Arc<Encoded>>>> = Mutex::new(None);
    let key = digest(field, array, properties);
    let memory = || MEMORY.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = memory().get_or_insert_default().get(&key) {
        return Ok(known.clone());
    }
    let made = Arc::new(encode(field, array, properties)?);
    let mut memory = memory();
    let memory = memory.get_or_insert_default();
    if memory.len() >= REMEMBERED {
        memory.clear();
    }
    memory.insert(key, made.clone());
    Ok(made)
}

fn encode(field: &Arc<Field>, array: &ArrayRef, properties: &WriterPropertiesPtr) -> Result<Encoded> {
    let batch = RecordBatch::try_new(Arc::new(Schema::new(vec![field.clone()])), vec![array.clone()])?;
    let mut file = Vec::new();
    let options =
        ArrowWriterOptions::new().with_properties(properties.as_ref().clone()).with_skip_arrow_metadata(true);
    let mut writer = ArrowWriter::try_new_with_options(&mut file, batch.schema(), options)?;
    writer.write(&batch)?;
    let metadata = writer.close()?;
    let column = metadata.row_group(0).column(0).clone();
    let pages = metadata.page_index_for_row_group(0);
    let close = ColumnCloseResult {
        bytes_written: column.compressed_size().unsigned_abs(),
        rows_written: batch.num_rows() as u64,
        metadata: column,
        bloom_filter: None,
        column_index: pages.column_index(0).cloned(),
        offset_index: pages.offset_index(0).cloned(),
    };
    Ok(Encoded { file: file.into(), close })
}

/// What makes a column the same as another: its name, its form, its rows, and every value.
fn digest(field: &Field, array: &ArrayRef, properties: &'static WriterPropertiesPtr) -> u128 {
    let mut hash = XxHash3_128::new();
    hash.write(field.name().as_bytes());
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
