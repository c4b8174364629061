//! Parquet files, written whole in memory.

use arrow::array::RecordBatch;
use bytes::Bytes;
use parquet::errors::Result;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterPropertiesPtr;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::SchemaDescriptor;

use crate::column;

/// The bytes of a file with these columns and these entries in its footer: a row group per batch, in their order, but
/// none for a batch without rows. What is the same in the next file with the same `properties` is encoded once.
///
/// # Errors
/// When a batch has not as many columns as the schema.
///
/// # Panics
/// When a column of a batch has a type that the schema's in its place does not stand for.
pub fn write(
    schema: &SchemaDescriptor,
    properties: &'static WriterPropertiesPtr,
    entries: Vec<KeyValue>,
    groups: &[RecordBatch],
) -> Result<Bytes> {
    let mut bytes = Vec::with_capacity(16 * 1024);
    let mut file = SerializedFileWriter::new(&mut bytes, schema.root_schema_ptr(), properties.clone())?;
    for entry in entries {
        file.append_key_value_metadata(entry);
    }
    for batch in groups.iter().filter(|batch| batch.num_rows() > 0) {
        let mut rows = file.next_row_group()?;
        for (descriptor, array) in schema.columns().iter().zip(batch.columns()) {
            column::append(&mut rows, descriptor, array, properties)?;
        }
        rows.close()?;
    }
    file.close()?;
    Ok(bytes.into())
}
