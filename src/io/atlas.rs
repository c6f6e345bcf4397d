//! The table for Apple's Embedding Atlas: pictures with their coordinates, their neighbours and their thumbnails.
//!
//! Neighbours are a struct of two lists, and thumbnails a struct with bytes, as in Hugging Face's datasets. The table
//! is written by the parquet crate, since polars is compiled without structs.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, Float32Array, Int64Array, ListArray, RecordBatch, StringArray, StructArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, Fields, Schema};
use arrow::error::ArrowError;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;

use super::IoError;
use super::features::{KEYS, Key};

/// A picture of the atlas.
#[derive(Clone, Debug)]
pub(crate) struct Row<'a> {
    pub(crate) key: &'a Key,
    /// The predicted class and its probability.
    pub(crate) predicted: Option<&'a (Option<String>, f64)>,
    /// The first two components.
    pub(crate) at: [f32; 2],
    /// The rows of the nearest pictures, each with its distance; none where they were not searched.
    pub(crate) neighbours: Option<Vec<(usize, f32)>>,
    /// A small JPEG; none where the picture cannot be read any more.
    pub(crate) image: Option<Vec<u8>>,
}

/// An atlas that is being written, row group after row group.
pub(crate) struct AtlasWriter<W: Write + Send> {
    file: ArrowWriter<W>,
    schema: Arc<Schema>,
    path: PathBuf,
}

impl<W: Write + Send> AtlasWriter<W> {
    /// Starts an atlas in `to`. Errors name `path`.
    pub(crate) fn new(to: W, path: &Path, metadata: &[(String, String)]) -> Result<Self, IoError> {
        let noted = metadata.iter().map(|(key, value)| KeyValue::new(key.clone(), value.clone())).collect();
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_key_value_metadata(Some(noted))
            .build();
        let schema = Arc::new(schema());
        let file = ArrowWriter::try_new(to, Arc::clone(&schema), Some(properties)).map_err(failed(path))?;
        Ok(Self { file, schema, path: path.to_path_buf() })
    }

    /// Appends a row group.
    pub(crate) fn append(&mut self, rows: &[Row]) -> Result<(), IoError> {
        let batch = batch(&self.schema, rows).map_err(|error| failed(&self.path)(error.into()))?;
        self.file.write(&batch).and_then(|()| self.file.flush()).map_err(failed(&self.path))
    }

    /// Writes the footer, which completes the table.
    pub(crate) fn finish(self) -> Result<(), IoError> {
        self.file.close().map(|_| ()).map_err(failed(&self.path))
    }
}

fn failed(path: &Path) -> impl Fn(ParquetError) -> IoError + '_ {
    |error| IoError::WriteTable { path: path.to_path_buf(), reason: error.to_string() }
}

fn list(kind: DataType) -> DataType {
    DataType::List(Arc::new(Field::new("item", kind, false)))
}

fn neighbours() -> Fields {
    Fields::from(vec![
        Field::new("ids", list(DataType::Int64), false),
        Field::new("distances", list(DataType::Float32), false),
    ])
}

fn image() -> Fields {
    Fields::from(vec![Field::new("bytes", DataType::Binary, true), Field::new("path", DataType::Utf8, false)])
}

fn schema() -> Schema {
    let [path, label, split] = KEYS;
    let text = |name: &str| Field::new(name, DataType::Utf8, true);
    let number = |name: &str| Field::new(name, DataType::Float32, true);
    Schema::new(vec![
        text(path),
        text(label),
        text(split),
        text("predicted"),
        number("confidence"),
        number("x"),
        number("y"),
        Field::new("neighbors", DataType::Struct(neighbours()), true),
        Field::new("image", DataType::Struct(image()), false),
    ])
}

fn batch(schema: &Arc<Schema>, rows: &[Row]) -> Result<RecordBatch, ArrowError> {
    let texts =
        |of: &dyn Fn(&Row) -> Option<String>| -> ArrayRef { Arc::new(rows.iter().map(of).collect::<StringArray>()) };
    let numbers =
        |of: &dyn Fn(&Row) -> Option<f32>| -> ArrayRef { Arc::new(rows.iter().map(of).collect::<Float32Array>()) };
    let near = || rows.iter().flat_map(|row| row.neighbours.iter().flatten());
    let offsets = OffsetBuffer::from_lengths(rows.iter().map(|row| row.neighbours.as_ref().map_or(0, Vec::len)));
    let lists = |kind: DataType, values: ArrayRef| -> Result<ArrayRef, ArrowError> {
        let item = Arc::new(Field::new("item", kind, false));
        Ok(Arc::new(ListArray::try_new(item, offsets.clone(), values, None)?))
    };
    let ids: Int64Array = near().map(|near| near.0 as i64).collect::<Vec<_>>().into();
    let distances: Float32Array = near().map(|near| near.1).collect::<Vec<_>>().into();
    let columns = vec![lists(DataType::Int64, Arc::new(ids))?, lists(DataType::Float32, Arc::new(distances))?];
    let known = NullBuffer::from_iter(rows.iter().map(|row| row.neighbours.is_some()));
    let near = StructArray::try_new(neighbours(), columns, Some(known))?;
    let bytes: BinaryArray = rows.iter().map(|row| row.image.as_deref()).collect();
    let images = StructArray::try_new(image(), vec![Arc::new(bytes), texts(&|row| Some(row.key.path.clone()))], None)?;
    let columns: Vec<ArrayRef> = vec![
        texts(&|row| Some(row.key.path.clone())),
        texts(&|row| row.key.label.clone()),
        texts(&|row| row.key.split.clone()),
        texts(&|row| row.predicted?.0.clone()),
        numbers(&|row| Some(row.predicted?.1 as f32)),
        numbers(&|row| Some(row.at[0])),
        numbers(&|row| Some(row.at[1])),
        Arc::new(near),
        Arc::new(images),
    ];
    RecordBatch::try_new(Arc::clone(schema), columns)
}
