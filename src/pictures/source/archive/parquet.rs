//! Pictures in a column of a Parquet file: bytes, or Hugging Face's `struct<bytes, path>`. Only the needed columns are
//! read, a few rows at a time, in the order of the row groups; memory holds one page.

use std::fs::{File, Metadata};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryViewArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder, RowSelection,
    RowSelector,
};
use parquet::errors::ParquetError;
use parquet::file::metadata::PageIndexPolicy;
use parquet::schema::types::SchemaDescriptor;
use serde::{Deserialize, Serialize};

use super::columns::{BYTES, Chosen, Columns, Rows, bytes_of, texts};
use super::stored::Order;
use super::window::{Ordered, Sequence, Window, guarded};
use super::{Archive, At, ListError, Member, Met, Reading, Reason, Tick, damaged};
use crate::pictures::source::Failure;
use crate::stages::scan::Kind;

/// Bytes of pictures that are read together, if several pictures fit.
const TOGETHER: u64 = 4 << 20;
/// Most rows that are read at a time.
const ROWS: u64 = 1024;

/// Lists the rows; the sizes of pictures are known only after their pages are decompressed.
pub(super) fn list(
    path: &Path,
    file: File,
    metadata: &Metadata,
    columns: &Columns,
    tick: Tick,
) -> Result<Vec<Met>, ListError> {
    let opened = guarded(|| ArrowReaderMetadata::load(&file, options()).map_err(failure));
    let plain = opened.map_err(|failure| {
        let text = format!("it is no Parquet file that can be read: {}", failure.reason);
        ListError::Archive(Reason::new(Kind::NotAnArchive, text))
    })?;
    let chosen = Chosen::of(plain.schema(), columns)?;
    let Some(leaf) = leaf(plain.parquet_schema(), plain.schema(), chosen.image) else {
        let text = "its column of pictures does not lie where its schema says".to_string();
        return Err(ListError::Column("input.parquet.image", text));
    };
    let table = Table { image: chosen.image, leaf };
    let rows: i64 = plain.metadata().row_groups().iter().map(|group| group.num_rows()).sum();
    let archive = Arc::new(Archive::new(path, metadata, Reading::Ordered(Window::new(Box::new(table)))));
    let others = [chosen.label, chosen.path].into_iter().flatten();
    let leaves = (0..plain.parquet_schema().num_columns())
        .filter(|&i| i == leaf || others.clone().any(|other| plain.parquet_schema().get_column_root_idx(i) == other));
    let mask = ProjectionMask::leaves(plain.parquet_schema(), leaves);
    let mut listed = Rows::new(rows.unsigned_abs(), metadata.len());
    let mut number = 0;
    let reader = guarded(|| table.reader(file, plain, mask, 0));
    let fault = |failure: Failure| Reason::new(Kind::Damaged, failure.reason);
    let mut reader = reader.map_err(|failure| ListError::Archive(fault(failure)))?;
    loop {
        tick(listed.met.len())?;
        let batch = match guarded(|| reader.next().transpose().map_err(|error| damaged(error.to_string()))) {
            Ok(Some(batch)) => batch,
            Ok(None) => return Ok(listed.finish(None)),
            // the pictures before the fault are listed
            Err(failure) => {
                let text = format!("from row {number} on it cannot be read: {}", failure.reason);
                return Ok(listed.finish(Some(Reason::new(Kind::Damaged, text))));
            }
        };
        number = take(&batch, &chosen, &archive, &mut listed, number)?;
    }
}

/// Lists the rows of a batch; returns the number of the next row.
fn take(
    batch: &RecordBatch,
    chosen: &Chosen,
    archive: &Arc<Archive>,
    listed: &mut Rows,
    first: u64,
) -> Result<u64, ListError> {
    let fault = |text: String| ListError::Archive(Reason::new(Kind::Damaged, text));
    // the batch has the columns in the order of the file
    let column = |wanted: usize| {
        let all = [Some(chosen.image), chosen.label, chosen.path];
        let mut before: Vec<usize> = all.into_iter().flatten().filter(|&other| other < wanted).collect();
        before.sort_unstable();
        before.dedup();
        batch.columns().get(before.len()).ok_or_else(|| fault("a column is missing".into()))
    };
    let images = pictures(column(chosen.image)?).map_err(fault)?;
    let labels = match chosen.label {
        Some(label) => listed.classes(chosen, column(label)?).map_err(fault)?,
        None => Vec::new(),
    };
    let names = match chosen.path {
        Some(path) => texts(column(path)?).map_err(fault)?,
        None => Vec::new(),
    };
    for row in 0..batch.num_rows() {
        let number = first + row as u64;
        let content = match images.is_valid(row) {
            true => {
                Ok(Member { archive: archive.clone(), at: At::Number(number), bytes: images.value(row).len() as u64 })
            }
            false => Err(Reason::new(Kind::Missing, EMPTY)),
        };
        let label = labels.get(row).cloned().flatten();
        listed.take(number, content, label, names.get(row).and_then(Option::as_deref))?;
    }
    Ok(first + batch.num_rows() as u64)
}

/// The reason for a row without bytes. `datasets` can write such rows, with a path on the machine that wrote them.
pub(super) const EMPTY: &str = "the row holds no bytes of a picture; save the dataset with its pictures inside";

/// The pictures of a column; null if the struct or its bytes are null.
fn pictures(column: &ArrayRef) -> Result<BinaryViewArray, String> {
    let bytes = match column.data_type() {
        DataType::Struct(_) => {
            let table = column.as_struct();
            let bytes = table.column_by_name(BYTES).ok_or("its struct has no field `bytes`")?;
            let nulls = arrow::buffer::NullBuffer::union(table.nulls(), bytes.nulls());
            let data = bytes.to_data().into_builder().nulls(nulls).build().map_err(|error| error.to_string())?;
            arrow::array::make_array(data)
        }
        _ => column.clone(),
    };
    let bytes = arrow::compute::cast(&bytes, &DataType::BinaryView).map_err(|error| error.to_string())?;
    Ok(bytes.as_binary_view().clone())
}

fn options() -> ArrowReaderOptions {
    ArrowReaderOptions::new().with_offset_index_policy(PageIndexPolicy::Optional)
}

fn failure(error: ParquetError) -> Failure {
    damaged(error.to_string())
}

/// The column of the file that has the bytes of pictures.
fn leaf(file: &SchemaDescriptor, schema: &Schema, image: usize) -> Option<usize> {
    let field = schema.field(image);
    let path = match field.data_type() {
        DataType::Struct(_) => vec![field.name().as_str(), BYTES],
        _ => vec![field.name().as_str()],
    };
    let is_it = |&i: &usize| file.get_column_root_idx(i) == image && file.column(i).path().parts() == path;
    (0..file.num_columns()).find(is_it)
}

/// The schema with pictures as views into their pages, so that they are not copied.
fn viewing(schema: &Schema, image: usize) -> SchemaRef {
    let as_view = |field: &Field| Arc::new(field.clone().with_data_type(DataType::BinaryView));
    let mut fields: Vec<Arc<Field>> = schema.fields.iter().cloned().collect();
    fields[image] = match fields[image].data_type() {
        DataType::Struct(inner) => {
            let at = bytes_of(inner).map_or(0, |(at, _)| at);
            let mut inner: Vec<Arc<Field>> = inner.iter().cloned().collect();
            inner[at] = as_view(&inner[at]);
            Arc::new(fields[image].as_ref().clone().with_data_type(DataType::Struct(inner.into())))
        }
        _ => as_view(&fields[image]),
    };
    Arc::new(Schema::new_with_metadata(fields, schema.metadata.clone()))
}

/// The column of the pictures in a file. The metadata of the file are read again whenever it is opened, and not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Table {
    /// The index of the column, and of its leaf with the bytes.
    image: usize,
    leaf: usize,
}

impl Table {
    /// A reader of the columns in `mask`, starting at the row `start`.
    fn reader(
        self,
        file: File,
        plain: ArrowReaderMetadata,
        mask: ProjectionMask,
        start: u64,
    ) -> Result<ParquetRecordBatchReader, Failure> {
        let schema = viewing(plain.schema(), self.image);
        let metadata = ArrowReaderMetadata::try_new(plain.metadata().clone(), options().with_schema(schema));
        let metadata = metadata.map_err(failure)?;
        let groups = metadata.metadata().row_groups();
        let (mut first, mut left) = (0, start);
        while let Some(group) = groups.get(first)
            && left >= group.num_rows().unsigned_abs()
        {
            (first, left) = (first + 1, left - group.num_rows().unsigned_abs());
        }
        let all: Vec<usize> = (first..groups.len()).collect();
        let rows: u64 = groups[first..].iter().map(|group| group.num_rows().unsigned_abs()).sum();
        let bytes: u64 = groups.iter().map(|group| group.column(self.leaf).uncompressed_size().unsigned_abs()).sum();
        let of_all: u64 = groups.iter().map(|group| group.num_rows().unsigned_abs()).sum();
        let together = (TOGETHER * of_all.max(1) / bytes.max(1)).clamp(1, ROWS) as usize;
        let [skipped, taken] = [left, rows - left].map(|rows| usize::try_from(rows).unwrap_or(usize::MAX));
        let selection = [RowSelector::skip(skipped), RowSelector::select(taken)];
        let mut builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata)
            .with_projection(mask)
            .with_row_groups(all)
            .with_batch_size(together);
        if skipped > 0 {
            builder = builder.with_row_selection(RowSelection::from(selection.to_vec()));
        }
        builder.build().map_err(failure)
    }
}

impl Ordered for Table {
    fn start(&self, number: u64) -> u64 {
        number
    }

    fn open(&self, archive: &Archive, start: u64) -> Result<Box<dyn Sequence>, Failure> {
        let file = archive.open()?;
        let plain = ArrowReaderMetadata::load(&file, options()).map_err(failure)?;
        let mask = ProjectionMask::leaves(plain.parquet_schema(), [self.leaf]);
        let reader = self.reader(file, plain, mask, start)?;
        Ok(Box::new(Pictures { reader, batch: None, row: 0 }))
    }

    fn order(&self) -> Order {
        Order::Rows(*self)
    }
}

struct Pictures {
    reader: ParquetRecordBatchReader,
    batch: Option<BinaryViewArray>,
    row: usize,
}

impl Sequence for Pictures {
    fn next(&mut self, most: u64) -> Result<Option<Vec<u8>>, Failure> {
        loop {
            if let Some(batch) = self.batch.as_ref().filter(|batch| self.row < batch.len()) {
                self.row += 1;
                let value = batch.value(self.row - 1);
                return Ok((value.len() as u64 <= most).then(|| value.to_vec()));
            }
            let batch = self.reader.next().ok_or_else(|| damaged("the table has no such row"))?;
            let batch = batch.map_err(|error| damaged(error.to_string()))?;
            let column = batch.columns().first().ok_or_else(|| damaged("the table has no such column"))?;
            (self.batch, self.row) = (Some(pictures(column).map_err(damaged)?), 0);
        }
    }
}

#[cfg(test)]
mod tests;
