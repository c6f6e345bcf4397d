//! Writing of feature tables: the key columns as polars encodes them, the features column by column.
//!
//! A frame of 100,352 columns costs more to build than to write, and a writer for every column of it gigabytes. Here blocks of columns are taken
//! out of the rows, encoded by all threads and appended one after the other, so that memory holds the rows and a few blocks.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use bytes::Bytes;
use half::f16;
use parquet::arrow::{ARROW_SCHEMA_META_KEY, ArrowSchemaConverter, encode_arrow_schema, parquet_to_arrow_schema};
use parquet::basic::{Compression, ZstdLevel};
use parquet::column::writer::ColumnCloseResult;
use parquet::data_type::{ByteArray, FixedLenByteArray, FixedLenByteArrayType, FloatType};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{KeyValue, ParquetMetaData, ParquetMetaDataReader};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::{Type, TypePtr};
use rayon::prelude::*;

use super::ARRAY;
use crate::io::table::Table;
use crate::io::{Digest, IoError, atomic};
use crate::table::Dtype;

/// Columns that a thread encodes at a time, at most.
const BLOCK: usize = 512;
/// Values that it encodes at a time, where there are so many rows that fewer columns do: 8 MB.
const BLOCK_VALUES: usize = 1 << 21;
/// Columns that are taken out of the rows at a time: a cache line of every row.
const TILE: usize = 16;
/// Values of a list column that are handed to its writer at a time.
const PIECE: usize = 1 << 16;

/// What of the features becomes a column.
#[derive(Clone, Copy, Debug)]
pub enum Layout<'a> {
    /// Each, under its name.
    Wide(&'a [String]),
    /// All, as one fixed-size list of so many.
    Array(usize),
}

/// Writes the key columns and the features of `rows`, one row each, to `path`, whole or not at all.
pub fn write(
    path: &Path,
    keys: Table,
    layout: Layout,
    dtype: Dtype,
    rows: &[&[f32]],
    metadata: &[(String, String)],
) -> std::result::Result<Digest, IoError> {
    write_noted(path, keys, (layout, dtype), rows, metadata, |_| Ok(()))
}

/// The same; `note` gets the hash of the table before it takes its name.
pub fn write_noted(
    path: &Path,
    keys: Table,
    (layout, dtype): (Layout, Dtype),
    rows: &[&[f32]],
    metadata: &[(String, String)],
    note: impl FnOnce(&Digest) -> std::result::Result<(), IoError>,
) -> std::result::Result<Digest, IoError> {
    let (mut encoded, failed) = (Vec::new(), failed(path));
    let count = keys.rows();
    keys.encode(path, &[], &mut encoded)?;
    let keys = Chunks::open(encoded).map_err(&failed)?;
    let fill = |file: &mut atomic::Sink| {
        let mut groups = Groups::begin(file, path, &keys, (layout, dtype), metadata)?;
        groups.append_encoded(&keys, count, rows)?;
        groups.finish()
    };
    atomic::write_noted(path, fill, note)
}

/// The same for a table that memory need not hold: `fill` hands over one row group after the other, keys and rows. `none` has the key columns
/// without a row.
pub fn write_groups<E: From<IoError>>(
    path: &Path,
    none: Table,
    layout: Layout,
    dtype: Dtype,
    metadata: &[(String, String)],
    fill: impl FnOnce(&mut Append) -> std::result::Result<(), E>,
) -> std::result::Result<Digest, E> {
    atomic::write(path, |file| groups_into(file, path, none, (layout, dtype), metadata, fill))
}

/// Takes a row group: keys and rows.
pub type Append<'a> = dyn FnMut(Table, &[&[f32]]) -> std::result::Result<(), IoError> + 'a;

/// The same into `to`; errors name `path`.
pub fn groups_into<E: From<IoError>>(
    to: impl std::io::Write + Send,
    path: &Path,
    none: Table,
    form: (Layout, Dtype),
    metadata: &[(String, String)],
    fill: impl FnOnce(&mut Append) -> std::result::Result<(), E>,
) -> std::result::Result<(), E> {
    let mut encoded = Vec::new();
    none.encode(path, &[], &mut encoded)?;
    let none = Chunks::open(encoded).map_err(failed(path))?;
    let mut groups = Groups::begin(to, path, &none, form, metadata)?;
    fill(&mut |keys, rows| groups.append(keys, rows))?;
    Ok(groups.finish()?)
}

fn failed(path: &Path) -> impl Fn(ParquetError) -> IoError + '_ {
    |error| IoError::WriteTable { path: path.to_path_buf(), reason: error.to_string() }
}

/// A table that is being written, row group after row group.
struct Groups<'a, W: std::io::Write + Send> {
    writer: SerializedFileWriter<W>,
    path: &'a Path,
    layout: Layout<'a>,
    dtype: Dtype,
    features: Vec<TypePtr>,
}

impl<'a, W: std::io::Write + Send> Groups<'a, W> {
    /// Of key columns like `keys`.
    fn begin(
        out: W,
        path: &'a Path,
        keys: &Chunks,
        (layout, dtype): (Layout<'a>, Dtype),
        metadata: &[(String, String)],
    ) -> std::result::Result<Self, IoError> {
        let failed = failed(path);
        let types = Types::new(keys, layout, dtype).map_err(&failed)?;
        let mut pairs = vec![KeyValue::new(ARROW_SCHEMA_META_KEY.to_string(), types.arrow)];
        pairs.extend(metadata.iter().map(|(key, value)| KeyValue::new(key.clone(), value.clone())));
        let properties = Arc::new(properties().set_key_value_metadata(Some(pairs)).build());
        let writer = SerializedFileWriter::new(out, types.all, properties).map_err(&failed)?;
        Ok(Self { writer, path, layout, dtype, features: types.features })
    }

    fn append(&mut self, keys: Table, rows: &[&[f32]]) -> std::result::Result<(), IoError> {
        let (mut encoded, count) = (Vec::new(), keys.rows());
        keys.encode(self.path, &[], &mut encoded)?;
        self.append_encoded(&Chunks::open(encoded).map_err(failed(self.path))?, count, rows)
    }

    /// One row group of `count` rows; none where there are none.
    fn append_encoded(&mut self, keys: &Chunks, count: usize, rows: &[&[f32]]) -> std::result::Result<(), IoError> {
        let width = match self.layout {
            Layout::Wide(names) => names.len(),
            Layout::Array(width) => width,
        };
        if count != rows.len() || rows.iter().any(|row| row.len() != width) {
            let reason = format!("{} rows of features for {count} rows of keys, {width} wide", rows.len());
            return Err(IoError::WriteTable { path: self.path.to_path_buf(), reason });
        }
        if rows.is_empty() {
            return Ok(());
        }
        self.put(keys, rows).map_err(failed(self.path))
    }

    fn put(&mut self, keys: &Chunks, rows: &[&[f32]]) -> Result<()> {
        let mut group = self.writer.next_row_group()?;
        keys.append_to(&mut group)?;
        match self.layout {
            Layout::Wide(_) => wide(&self.features, self.dtype, rows, &mut group)?,
            Layout::Array(_) => array(self.dtype, rows, &mut group)?,
        }
        group.close().map(|_| ())
    }

    fn finish(self) -> std::result::Result<(), IoError> {
        self.writer.close().map(|_| ()).map_err(failed(self.path))
    }
}

/// zstd as everywhere; no dictionaries, which features do not gain by, and nothing in the footer that is not needed.
fn properties() -> parquet::file::properties::WriterPropertiesBuilder {
    WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_dictionary_enabled(false)
        .set_statistics_enabled(EnabledStatistics::None)
        .set_offset_index_disabled(true)
        .set_created_by(format!("featurize {}", env!("CARGO_PKG_VERSION")))
}

/// The types of a file's columns.
struct Types {
    all: TypePtr,
    features: Vec<TypePtr>,
    /// The same for readers that speak Arrow, as the footer holds it.
    arrow: String,
}

impl Types {
    fn new(keys: &Chunks, layout: Layout, dtype: Dtype) -> Result<Self> {
        let value = match dtype {
            Dtype::F32 => DataType::Float32,
            Dtype::F16 => DataType::Float16,
        };
        let fields: Vec<Field> = match layout {
            Layout::Wide(names) => names.iter().map(|name| Field::new(name, value.clone(), false)).collect(),
            Layout::Array(width) => {
                let width = i32::try_from(width).map_err(|error| ParquetError::General(error.to_string()))?;
                let element = Arc::new(Field::new("element", value, false));
                vec![Field::new(ARRAY, DataType::FixedSizeList(element, width), false)]
            }
        };
        let features = ArrowSchemaConverter::new().convert(&Schema::new(fields.clone()))?;
        let features = features.root_schema().get_fields().to_vec();
        let footer = keys.footer.file_metadata();
        let known = parquet_to_arrow_schema(footer.schema_descr(), footer.key_value_metadata())?;
        let every = known.fields().iter().map(|field| field.as_ref().clone()).chain(fields);
        let arrow = encode_arrow_schema(&Schema::new(every.collect::<Vec<_>>()));
        let all = footer.schema_descr().root_schema().get_fields().iter().chain(&features).cloned();
        let all = Arc::new(Type::group_type_builder("schema").with_fields(all.collect()).build()?);
        Ok(Self { all, features, arrow })
    }
}

/// A Parquet file of one row group at most, in memory.
struct Chunks {
    bytes: Bytes,
    footer: ParquetMetaData,
}

impl Chunks {
    fn open(bytes: Vec<u8>) -> Result<Self> {
        let bytes = Bytes::from(bytes);
        let footer = ParquetMetaDataReader::new().parse_and_finish(&bytes)?;
        Ok(Self { bytes, footer })
    }

    /// Appends its columns as they are.
    fn append_to<W: std::io::Write + Send>(&self, group: &mut SerializedRowGroupWriter<'_, W>) -> Result<()> {
        for chunks in self.footer.row_groups() {
            let rows_written = u64::try_from(chunks.num_rows()).unwrap_or(0);
            for chunk in chunks.columns() {
                let bytes_written = u64::try_from(chunk.compressed_size()).unwrap_or(0);
                let (bloom_filter, column_index, offset_index) = (None, None, None);
                let metadata = chunk.clone();
                let close = ColumnCloseResult {
                    bytes_written,
                    rows_written,
                    metadata,
                    bloom_filter,
                    column_index,
                    offset_index,
                };
                group.append_column(&self.bytes, close)?;
            }
        }
        Ok(())
    }
}

/// Writes every feature as a column, as many blocks at a time as there are threads.
fn wide<W: std::io::Write + Send>(
    types: &[TypePtr],
    dtype: Dtype,
    rows: &[&[f32]],
    group: &mut SerializedRowGroupWriter<'_, W>,
) -> Result<()> {
    let most = (BLOCK_VALUES / rows.len().max(1)).clamp(TILE, BLOCK);
    let blocks: Vec<Range<usize>> =
        (0..types.len()).step_by(most).map(|first| first..types.len().min(first + most)).collect();
    for blocks in blocks.chunks(rayon::current_num_threads()) {
        let encode = |columns: &Range<usize>| block(&types[columns.clone()], columns.start, dtype, rows);
        let encoded: Vec<Chunks> = blocks.par_iter().map(encode).collect::<Result<_>>()?;
        encoded.iter().try_for_each(|block| block.append_to(group))?;
    }
    Ok(())
}

/// Encodes the columns of `types`, which are those of the rows from `first` on.
fn block(types: &[TypePtr], first: usize, dtype: Dtype, rows: &[&[f32]]) -> Result<Chunks> {
    let schema = Arc::new(Type::group_type_builder("schema").with_fields(types.to_vec()).build()?);
    let mut bytes = Vec::new();
    let mut writer = SerializedFileWriter::new(&mut bytes, schema, Arc::new(properties().build()))?;
    let mut group = writer.next_row_group()?;
    let mut tile = vec![0.0; rows.len() * TILE];
    for start in (0..types.len()).step_by(TILE) {
        let columns = first + start..first + types.len().min(start + TILE);
        let count = columns.len();
        for (i, row) in rows.iter().enumerate() {
            let cells = tile[i..].iter_mut().step_by(rows.len());
            cells.zip(&row[columns.clone()]).for_each(|(cell, &value)| *cell = value);
        }
        for values in tile.chunks_exact(rows.len()).take(count) {
            let mut column = next_column(&mut group)?;
            put(&mut column, dtype, values, None)?;
            column.close()?;
        }
    }
    group.close()?;
    let footer = writer.close()?;
    Ok(Chunks { bytes: bytes.into(), footer })
}

/// Writes every row as one list.
fn array<W: std::io::Write + Send>(
    dtype: Dtype,
    rows: &[&[f32]],
    group: &mut SerializedRowGroupWriter<'_, W>,
) -> Result<()> {
    let width = rows.first().map_or(0, |row| row.len());
    let together = (PIECE / width.max(1)).max(1);
    let mut column = next_column(group)?;
    let (mut values, present) = (Vec::new(), vec![1; together * width]);
    // 0 where a list begins
    let begins: Vec<i16> = (0..together * width).map(|i| i16::from(i % width != 0)).collect();
    for rows in rows.chunks(together) {
        values.clear();
        rows.iter().for_each(|row| values.extend_from_slice(row));
        put(&mut column, dtype, &values, Some((&present[..values.len()], &begins[..values.len()])))?;
    }
    column.close()
}

fn next_column<'a, W: std::io::Write + Send>(
    group: &'a mut SerializedRowGroupWriter<'_, W>,
) -> Result<SerializedColumnWriter<'a>> {
    let none = || ParquetError::General("there are more features than columns".to_string());
    group.next_column()?.ok_or_else(none)
}

/// Hands values to their column, with definition and repetition levels for those of lists.
fn put(
    column: &mut SerializedColumnWriter<'_>,
    dtype: Dtype,
    values: &[f32],
    levels: Option<(&[i16], &[i16])>,
) -> Result<()> {
    let (definition, repetition) = levels.unzip();
    match dtype {
        Dtype::F32 => column.typed::<FloatType>().write_batch(values, definition, repetition)?,
        Dtype::F16 => {
            if let Some(value) = values.iter().find(|value| value.is_finite() && !f16::from_f32(**value).is_finite()) {
                let text = format!("the feature {value} does not fit into f16; set `output.dtype: f32`");
                return Err(ParquetError::General(text));
            }
            let bytes: Vec<u8> = values.iter().flat_map(|&value| f16::from_f32(value).to_le_bytes()).collect();
            let bytes = Bytes::from(bytes);
            let value = |i: usize| FixedLenByteArray::from(ByteArray::from(bytes.slice(2 * i..2 * i + 2)));
            let values: Vec<FixedLenByteArray> = (0..values.len()).map(value).collect();
            column.typed::<FixedLenByteArrayType>().write_batch(&values, definition, repetition)?
        }
    };
    Ok(())
}
