//! Writes Parquet with polars, row group after row group; every table is written here. Everything is compressed by zstd
//! and has no statistics, which would double the footer of a wide table.
//!
//! `polars::prelude::ParquetWriter` takes a data frame. A frame of 100,352 features needs 1 GB besides its rows, looks
//! for a dictionary in each column, makes every column nullable, and has no f16 without the feature `dtype-f16`, which
//! would be compiled into all of polars. The lower-level writer (`polars_parquet::write::FileWriter`) takes an iterator
//! of columns instead, so that memory holds the rows and the few columns that are being encoded.
//! [`features`](super::features) has the measurements.
//!
//! polars would store text with the Arrow type string view, which pyarrow before 15 and other readers do not support.
//! The bytes are the same, so the Arrow schema in the file says plain text; categories keep the metadata from which
//! polars reads them.

use std::io::Write;
use std::path::Path;

use arrow::datatypes::Schema;
use parquet::arrow::{ARROW_SCHEMA_META_KEY, encode_arrow_schema};
use polars::prelude::{CompatLevel, PolarsError, PolarsResult, Series};
use polars_arrow::array::Array;
use polars_arrow::datatypes::{ArrowSchema, Field};
use polars_parquet::write::{
    CompressedPage, CompressionOptions, DynIter, DynStreamingIterator, Encoding, FallibleStreamingIterator, FileWriter,
    KeyValue, StatisticsOptions, Version, WriteOptions, array_to_columns, compress, get_dtype_encoding,
    to_parquet_type,
};

use super::IoError;
use super::features::Format;
use super::table::Table;

/// A table that is being written, row group after row group.
pub(crate) struct Writer<'a, W: Write> {
    file: FileWriter<W>,
    path: &'a Path,
    /// The number of columns before the features.
    columns: usize,
    features: Option<Format<'a>>,
    metadata: Vec<KeyValue>,
}

/// A column chunk: its pages, compressed one by one while they are written.
pub(super) type Column<'a> = DynStreamingIterator<'a, CompressedPage, PolarsError>;

impl<'a, W: Write> Writer<'a, W> {
    /// Starts a table in `to` with the columns of `table` (without its rows), followed by `features`. Errors name
    /// `path`.
    pub(crate) fn new(
        to: W,
        path: &'a Path,
        table: &Table,
        features: Option<Format<'a>>,
        metadata: &[(String, String)],
    ) -> Result<Self, IoError> {
        let failed = failed(path);
        let noted = table.fields().iter().cloned().chain(features.iter().flat_map(|features| features.noted()));
        let noted = encode_arrow_schema(&Schema::new(noted.collect::<Vec<_>>()));
        let pairs = [(ARROW_SCHEMA_META_KEY.to_string(), noted)].into_iter().chain(metadata.iter().cloned());
        let metadata = pairs.map(|(key, value)| KeyValue { key, value: Some(value) }).collect();
        let fields = table.columns().iter().map(field).chain(features.iter().flat_map(|features| features.fields()));
        let schema: ArrowSchema = fields.map(|field| (field.name.clone(), field)).collect();
        let file = FileWriter::try_new(to, schema, options(CompressionOptions::Zstd(None))).map_err(failed)?;
        Ok(Self { file, path, columns: table.columns().len(), features, metadata })
    }

    /// Appends a row group of these columns and, in a table with features, these features; does nothing if there are no
    /// rows.
    pub(crate) fn append(&mut self, table: Table, rows: &[&[f32]]) -> Result<(), IoError> {
        let (count, failed) = (table.rows(), failed(self.path));
        let width = self.features.map(|features| features.layout.width());
        if let Some(width) = width
            && (count != rows.len() || rows.iter().any(|row| row.len() != width))
        {
            let reason = format!("{} rows of features for {count} rows of keys, {width} wide", rows.len());
            return Err(IoError::WriteTable { path: self.path.to_path_buf(), reason });
        }
        let columns = table.into_columns().map_err(&failed)?;
        // polars would drop columns without values
        if columns.len() != self.columns {
            let reason = format!("{} columns for the {} of the table", columns.len(), self.columns);
            return Err(IoError::WriteTable { path: self.path.to_path_buf(), reason });
        }
        if count == 0 {
            return Ok(());
        }
        let columns = columns.into_iter().map(|column| {
            let column = column.rechunk();
            let array = column.to_arrow(0, CompatLevel::newest());
            let encoding = get_dtype_encoding(array.dtype()).first().copied().unwrap_or(Encoding::Plain);
            pages(array, &field(&column), encoding, CompressionOptions::Zstd(None)).map(chunk)
        });
        let features = self.features.into_iter().flat_map(|features| features.columns(rows));
        self.file.write(count as u64, DynIter::new(columns.chain(features))).map_err(failed)
    }

    /// Adds an entry to the metadata that was not known at the start.
    pub(crate) fn note(&mut self, key: &str, value: String) {
        self.metadata.push(KeyValue { key: key.to_string(), value: Some(value) });
    }

    /// Writes the footer, which completes the table.
    pub(crate) fn finish(mut self) -> Result<(), IoError> {
        self.file.end(Some(self.metadata)).map(|_| ()).map_err(failed(self.path))
    }
}

fn failed(path: &Path) -> impl Fn(PolarsError) -> IoError + '_ {
    |error| IoError::WriteTable { path: path.to_path_buf(), reason: error.to_string() }
}

fn options(compression: CompressionOptions) -> WriteOptions {
    WriteOptions { statistics: StatisticsOptions::empty(), version: Version::V1, compression, data_page_size: None }
}

fn field(column: &Series) -> Field {
    column.field().to_arrow(CompatLevel::newest())
}

/// Encodes and compresses the pages of an array; `field` is the field of its column.
pub(super) fn pages(
    array: Box<dyn Array>,
    field: &Field,
    encoding: Encoding,
    compression: CompressionOptions,
) -> PolarsResult<Vec<CompressedPage>> {
    // a single leaf, since no column is a struct
    let leaves = array_to_columns(array, to_parquet_type(field)?, options(compression), &[encoding])?;
    leaves.into_iter().flatten().map(|page| Ok(compress(page?, Vec::new(), compression)?)).collect()
}

/// A column chunk of finished pages.
pub(super) fn chunk<'a>(pages: Vec<CompressedPage>) -> Column<'a> {
    stream(pages.into_iter().map(Ok))
}

/// A column chunk of pages that are made while they are written.
pub(super) fn stream<'a>(pages: impl Iterator<Item = PolarsResult<CompressedPage>> + Send + Sync + 'a) -> Column<'a> {
    DynStreamingIterator::new(Stream { pages, current: None })
}

/// Lends one page after the other, as polars requires.
struct Stream<I> {
    pages: I,
    current: Option<CompressedPage>,
}

impl<I: Iterator<Item = PolarsResult<CompressedPage>>> FallibleStreamingIterator for Stream<I> {
    type Item = CompressedPage;
    type Error = PolarsError;

    fn advance(&mut self) -> PolarsResult<()> {
        self.current = self.pages.next().transpose()?;
        Ok(())
    }

    fn get(&self) -> Option<&CompressedPage> {
        self.current.as_ref()
    }
}
