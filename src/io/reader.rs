//! Reads Parquet files as Arrow record batches, for [`features`](super::features), [`columns`](super::columns) and
//! [`preview`](super::preview).

use std::collections::BTreeMap;
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Fields};
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::arrow::{ARROW_SCHEMA_META_KEY, ProjectionMask};
use parquet::file::metadata::ParquetMetaData;

use super::IoError;

/// A Parquet file whose footer has been read.
#[derive(Clone, Debug)]
pub(super) struct Reader {
    path: PathBuf,
    footer: ArrowReaderMetadata,
    error: ErrorKind,
}

/// Makes the error that names a file and the reason why it cannot be read.
pub(super) type ErrorKind = fn(PathBuf, String) -> IoError;

/// Part of a table.
#[derive(Debug)]
pub(super) struct Part {
    /// The row groups.
    pub(super) groups: Range<usize>,
    /// The indices of the columns.
    pub(super) columns: Vec<usize>,
    /// The most rows to read; None reads all.
    pub(super) rows: Option<usize>,
}

impl Reader {
    /// Opens `path` and reads its footer; `error` makes the errors about this file.
    pub(super) fn open(path: &Path, error: ErrorKind) -> Result<Self, IoError> {
        let file = File::open(path).map_err(IoError::read(path))?;
        let footer = ArrowReaderMetadata::load(&file, ArrowReaderOptions::new());
        let footer = footer.map_err(|reason| error(path.to_path_buf(), reason.to_string()))?;
        Ok(Self { path: path.to_path_buf(), footer, error })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn footer(&self) -> &ParquetMetaData {
        self.footer.metadata()
    }

    /// Number of rows.
    pub(super) fn rows(&self) -> usize {
        usize::try_from(self.footer().file_metadata().num_rows()).unwrap_or(0)
    }

    /// Number of row groups.
    pub(super) fn groups(&self) -> usize {
        self.footer().num_row_groups()
    }

    /// The columns' names and types.
    pub(super) fn fields(&self) -> &Fields {
        self.footer.schema().fields()
    }

    /// Returns the indices of the columns whose names are `wanted`.
    pub(super) fn columns(&self, wanted: impl Fn(&str) -> bool) -> Vec<usize> {
        let fields = self.fields().iter().enumerate();
        fields.filter(|(_, field)| wanted(field.name())).map(|(i, _)| i).collect()
    }

    /// The key-value metadata without the Arrow schema.
    pub(super) fn metadata(&self) -> BTreeMap<String, String> {
        let pairs = self.footer().file_metadata().key_value_metadata().into_iter().flatten();
        let pairs = pairs.filter(|pair| pair.key != ARROW_SCHEMA_META_KEY);
        pairs.map(|pair| (pair.key.clone(), pair.value.clone().unwrap_or_default())).collect()
    }

    /// Reads a part of the table.
    pub(super) fn read(&self, part: Part) -> Result<Vec<RecordBatch>, IoError> {
        let file = File::open(&self.path).map_err(IoError::read(&self.path))?;
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, self.footer.clone());
        let mask = ProjectionMask::roots(builder.parquet_schema(), part.columns);
        let mut builder = builder.with_row_groups(part.groups.collect()).with_projection(mask);
        if let Some(rows) = part.rows {
            builder = builder.with_limit(rows);
        }
        let reader = builder.build().map_err(|error| self.wrong(error))?;
        reader.map(|batch| batch.map_err(|error| self.wrong(error))).collect()
    }

    /// The column `name` of `batch`, cast to the type `kind`.
    pub(super) fn column(&self, batch: &RecordBatch, name: &str, kind: &DataType) -> Result<ArrayRef, IoError> {
        let column = batch.column_by_name(name).ok_or_else(|| self.wrong(format!("it has no column `{name}`")))?;
        cast(column, kind).map_err(|error| self.wrong(error))
    }

    /// The error of this file with `reason`.
    pub(super) fn wrong(&self, reason: impl ToString) -> IoError {
        (self.error)(self.path.clone(), reason.to_string())
    }
}
