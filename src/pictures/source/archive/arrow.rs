//! Pictures in a column of an Arrow IPC stream or file, as the `datasets` library saves them (`save_to_disk`: streams
//! named `.arrow`).
//!
//! Such a file is read message by message. Of every batch only the positions of the buffers and the offsets of
//! pictures, classes and names are read. A picture is then a part of the file with random access, like a member of a
//! tar. The format is the Arrow columnar format 1.5, "Serialization and Interprocess Communication".

use std::fs::{File, Metadata};
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayData, ArrayRef, make_array};
use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, Field, Schema};
use arrow_ipc::convert::try_schema_from_flatbuffer_bytes;
use arrow_ipc::{MessageHeader, root_as_message};

use super::columns::{Chosen, Columns, Rows, bytes_of, texts};
use super::parquet::EMPTY;
use super::{Archive, At, ListError, Member, Met, Reading, Reason, Tick};
use crate::stages::scan::Kind;

/// The first bytes of the file format; the stream format has none.
const MAGIC: &[u8] = b"ARROW1\0\0";
/// The marker before the length of a message.
const CONTINUES: u32 = 0xffff_ffff;
/// The longest metadata of a message: a schema contains the names of all classes.
const LONGEST: u64 = 256 << 20;

/// The error is a fault of the file as text.
type Fallible<T> = Result<T, String>;

/// Lists the rows.
pub(super) fn list(
    path: &Path,
    file: File,
    metadata: &Metadata,
    columns: &Columns,
    tick: Tick,
) -> Result<Vec<Met>, ListError> {
    let not_arrow = |text: String| {
        ListError::Archive(Reason::new(Kind::NotAnArchive, format!("it is no Arrow stream or file: {text}")))
    };
    let mut messages = Messages { file: BufReader::with_capacity(4096, file), position: 0, length: metadata.len() };
    messages.begin().map_err(not_arrow)?;
    let first = messages.next().map_err(not_arrow)?.ok_or_else(|| not_arrow("it is empty".into()))?;
    let schema = try_schema_from_flatbuffer_bytes(&first.head).map_err(|error| not_arrow(error.to_string()))?;
    messages.position = first.body + first.bytes;
    let chosen = Chosen::of(&schema, columns)?;
    // there may be ten thousand batches, so the rows are counted only at the end
    let mut listed = Rows::new(0, metadata.len());
    let archive = Arc::new(Archive::new(path, metadata, Reading::Random));
    let mut number = 0;
    let fault = loop {
        tick(listed.met.len())?;
        let message = match messages.next() {
            Ok(Some(message)) => message,
            Ok(None) => break None,
            Err(text) => break Some(text),
        };
        match messages.rows(&message, &schema, &chosen) {
            Ok(Some(batch)) => {
                let classes = match (batch.label, chosen.label) {
                    (Some(column), Some(_)) => listed.classes(&chosen, &column),
                    _ => Ok(Vec::new()),
                };
                let names = batch.names.map_or(Ok(Vec::new()), |column| texts(&column));
                let (classes, names) = match (classes, names) {
                    (Ok(classes), Ok(names)) => (classes, names),
                    (Err(text), _) | (_, Err(text)) => break Some(text),
                };
                for (row, place) in batch.pictures.into_iter().enumerate() {
                    let content = match place {
                        Some(Span { offset, bytes }) => {
                            Ok(Member { archive: archive.clone(), at: At::Offset(offset), bytes })
                        }
                        None => Err(Reason::new(Kind::Missing, EMPTY)),
                    };
                    let label = classes.get(row).cloned().flatten();
                    listed.take(number, content, label, names.get(row).and_then(Option::as_deref))?;
                    number += 1;
                }
            }
            Ok(None) => {}
            Err(text) => break Some(text),
        }
        messages.position = message.body + message.bytes;
    };
    // the pictures before the fault are listed
    let fault = fault.map(|text| Reason::new(Kind::Damaged, format!("from row {number} on it cannot be read: {text}")));
    Ok(listed.finish(fault))
}

/// A message: its metadata, and the offset of its body.
struct Message {
    head: Vec<u8>,
    body: u64,
    bytes: u64,
}

/// A range of bytes in the file.
#[derive(Clone, Copy, Debug)]
struct Span {
    offset: u64,
    bytes: u64,
}

/// The columns of a batch that are needed.
struct Batch {
    /// None for a row without a picture.
    pictures: Vec<Option<Span>>,
    label: Option<ArrayRef>,
    names: Option<ArrayRef>,
}

/// The messages of a file, in order.
struct Messages {
    file: BufReader<File>,
    position: u64,
    length: u64,
}

impl Messages {
    /// Moves to the first message.
    fn begin(&mut self) -> Fallible<()> {
        if self.length >= MAGIC.len() as u64 && self.bytes(Span { offset: 0, bytes: MAGIC.len() as u64 })? == MAGIC {
            self.position = MAGIC.len() as u64;
        }
        Ok(())
    }

    /// Reads a range of bytes.
    fn bytes(&mut self, span: Span) -> Fallible<Vec<u8>> {
        if span.offset.checked_add(span.bytes).is_none_or(|end| end > self.length) {
            return Err("it ends too early: it was cut short".into());
        }
        let mut bytes = Vec::with_capacity(span.bytes as usize);
        let read = self.file.seek(SeekFrom::Start(span.offset));
        read.and_then(|_| self.file.by_ref().take(span.bytes).read_to_end(&mut bytes))
            .map_err(|error| error.to_string())?;
        if bytes.len() as u64 == span.bytes { Ok(bytes) } else { Err("it ends too early".into()) }
    }

    fn number(&mut self, offset: u64) -> Fallible<u32> {
        let bytes = self.bytes(Span { offset, bytes: 4 })?;
        Ok(bytes.iter().rev().fold(0, |number, &byte| number << 8 | u32::from(byte)))
    }

    /// The message at the current position, if there is one; the position does not change.
    fn next(&mut self) -> Fallible<Option<Message>> {
        let mut at = self.position;
        let mut length = self.number(at)?;
        at += 4;
        // files from before Arrow 0.15 have no marker before the length
        if length == CONTINUES {
            length = self.number(at)?;
            at += 4;
        }
        if length == 0 {
            return Ok(None);
        }
        let span = Span { offset: at, bytes: u64::from(length) };
        if span.bytes > LONGEST {
            return Err(format!("the description of a message has {length} bytes"));
        }
        let head = self.bytes(span)?;
        let message = root_as_message(&head).map_err(|error| error.to_string())?;
        let bytes = u64::try_from(message.bodyLength()).map_err(|_| "a message has a negative length")?;
        let body = span.offset + span.bytes;
        if body.checked_add(bytes).is_none_or(|end| end > self.length) {
            return Err("a message does not fit: it was cut short".into());
        }
        Ok(Some(Message { head, body, bytes }))
    }

    /// The rows of a message, if it is a record batch.
    fn rows(&mut self, message: &Message, schema: &Schema, chosen: &Chosen) -> Fallible<Option<Batch>> {
        let head = root_as_message(&message.head).map_err(|error| error.to_string())?;
        if head.header_type() != MessageHeader::RecordBatch {
            return Ok(None);
        }
        let batch = head.header_as_record_batch().ok_or("a batch without description")?;
        if batch.compression().is_some() {
            return Err("its buffers are compressed; save it without compression, or as Parquet".into());
        }
        let rows = usize::try_from(batch.length()).map_err(|_| "a batch has a negative number of rows")?;
        let spans = batch.buffers().into_iter().flatten().map(|buffer| {
            let part = || Some([u64::try_from(buffer.offset()).ok()?, u64::try_from(buffer.length()).ok()?]);
            let fits = |[offset, bytes]: &[u64; 2]| offset.checked_add(*bytes).is_some_and(|end| end <= message.bytes);
            let [offset, bytes] = part().filter(fits).ok_or("a buffer does not fit into its message")?;
            Ok(Span { offset: message.body + offset, bytes })
        });
        let spans: Vec<Span> = spans.collect::<Fallible<_>>()?;
        let mut of = |column: Option<usize>| {
            let Some(column) = column else { return Ok(None) };
            let own = buffers(schema, column)?;
            let spans = spans.get(own).ok_or("a batch has too few buffers")?;
            self.column(schema.field(column), rows, spans).map(Some)
        };
        let (label, names) = (of(chosen.label)?, of(chosen.path)?);
        let own = spans.get(buffers(schema, chosen.image)?).ok_or("a batch has too few buffers")?;
        let pictures = self.pictures(schema.field(chosen.image), rows, own)?;
        Ok(Some(Batch { pictures, label, names }))
    }

    /// Reads a small column as an array and validates it.
    fn column(&mut self, field: &Field, rows: usize, spans: &[Span]) -> Fallible<ArrayRef> {
        let kind = field.data_type();
        if !(kind.is_integer() || matches!(kind, DataType::Boolean | DataType::Utf8 | DataType::LargeUtf8)) {
            return Err(format!("its column `{}` is stored as {kind}; save the table as Parquet", field.name()));
        }
        let (nulls, values) = spans.split_first().ok_or("a column without buffers")?;
        let mut builder = ArrayData::builder(kind.clone()).len(rows);
        if nulls.bytes > 0 {
            builder = builder.null_bit_buffer(Some(Buffer::from_vec(self.bytes(*nulls)?)));
        }
        for span in values {
            builder = builder.add_buffer(Buffer::from_vec(self.bytes(*span)?));
        }
        Ok(make_array(builder.align_buffers(true).build().map_err(|error| error.to_string())?))
    }

    /// Returns the byte ranges of the pictures in a column; only their offsets are read.
    fn pictures(&mut self, field: &Field, rows: usize, spans: &[Span]) -> Fallible<Vec<Option<Span>>> {
        let (above, kind, spans) = match field.data_type() {
            DataType::Struct(fields) => {
                let (at, inner) = bytes_of(fields).ok_or("its struct has no field `bytes`")?;
                let before = fields.iter().take(at).map(|field| count(field.data_type())).sum::<Fallible<usize>>()?;
                let inner_spans = spans.get(1 + before..).ok_or("a batch has too few buffers")?;
                (spans.first().copied(), inner.data_type(), inner_spans)
            }
            kind => (None, kind, spans),
        };
        let [own, offsets, values, ..] = *spans else { return Err("a batch has too few buffers".into()) };
        let size = match kind {
            DataType::Binary => 4,
            DataType::LargeBinary => 8,
            kind => {
                return Err(format!("its column `{}` is stored as {kind}; save the table as Parquet", field.name()));
            }
        };
        if rows == 0 {
            return Ok(Vec::new());
        }
        let needed = (rows as u64).saturating_add(1).saturating_mul(size);
        if offsets.bytes < needed {
            return Err("a buffer of offsets is too short".into());
        }
        let mut valid = vec![true; rows];
        for nulls in above.into_iter().chain([own]).filter(|nulls| nulls.bytes > 0) {
            let bits = self.bytes(nulls)?;
            for (row, valid) in valid.iter_mut().enumerate() {
                *valid &= bits.get(row / 8).ok_or("a bitmap is too short")? >> (row % 8) & 1 == 1;
            }
        }
        let bytes = self.bytes(Span { bytes: needed, ..offsets })?;
        let number = |bytes: &[u8]| bytes.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte));
        let ends: Vec<u64> = bytes.chunks_exact(size as usize).map(number).collect();
        let place = |(ends, valid): (&[u64], bool)| {
            if ends[0] > ends[1] || ends[1] > values.bytes {
                return Err("the offsets of its pictures are wrong".to_string());
            }
            Ok(valid.then_some(Span { offset: values.offset + ends[0], bytes: ends[1] - ends[0] }))
        };
        ends.windows(2).zip(valid).map(place).collect()
    }
}

/// Returns the buffers of a batch that belong to a column.
fn buffers(schema: &Schema, column: usize) -> Fallible<std::ops::Range<usize>> {
    let before = schema.fields.iter().take(column).map(|field| count(field.data_type())).sum::<Fallible<usize>>()?;
    Ok(before..before + count(schema.field(column).data_type())?)
}

/// Counts the buffers of a column of this type.
fn count(kind: &DataType) -> Fallible<usize> {
    Ok(match kind {
        DataType::Null => 0,
        DataType::Struct(fields) => 1 + fields.iter().map(|field| count(field.data_type())).sum::<Fallible<usize>>()?,
        DataType::List(inner) | DataType::LargeList(inner) | DataType::Map(inner, _) => 2 + count(inner.data_type())?,
        DataType::FixedSizeList(inner, _) => 1 + count(inner.data_type())?,
        DataType::Binary | DataType::LargeBinary | DataType::Utf8 | DataType::LargeUtf8 => 3,
        DataType::BinaryView
        | DataType::Utf8View
        | DataType::ListView(_)
        | DataType::LargeListView(_)
        | DataType::Union(..)
        | DataType::RunEndEncoded(..) => {
            return Err(format!("it has a column that is stored as {kind}; save the table as Parquet"));
        }
        _ => 2,
    })
}

#[cfg(test)]
mod tests;
