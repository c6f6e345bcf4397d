//! Reads feature columns into a row-major matrix. Only the selected columns are read, in windows of a few megabytes
//! that are decoded by all threads.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use half::f16;
use parquet::basic::Type as Physical;
use parquet::column::reader::{ColumnReader, get_column_reader};
use parquet::data_type::{AsBytes, FixedLenByteArray};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::reader::{ChunkReader, Length};
use parquet::file::serialized_reader::SerializedPageReader;
use rayon::prelude::*;

use crate::table::FeatureMatrix;

/// Bytes of a file that a thread decodes at a time; a longer column is a window of its own.
const WINDOW: u64 = 4 << 20;
/// Values of a list column that are decoded at a time.
const PIECE: usize = 1 << 18;

/// Part of a file, in memory.
struct Window {
    start: u64,
    bytes: Bytes,
}

impl Window {
    fn read(file: &mut File, range: Range<u64>) -> Result<Self> {
        let length = usize::try_from(range.end - range.start).map_err(general)?;
        let mut bytes = vec![0; length];
        file.seek(SeekFrom::Start(range.start))?;
        file.read_exact(&mut bytes)?;
        Ok(Self { start: range.start, bytes: bytes.into() })
    }
}

impl Length for Window {
    fn len(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }
}

impl ChunkReader for Window {
    type T = bytes::buf::Reader<Bytes>;

    fn get_read(&self, start: u64) -> Result<Self::T> {
        Ok(self.get_bytes(start, usize::try_from(self.len().saturating_sub(start)).map_err(general)?)?.reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        let first = start.checked_sub(self.start).and_then(|first| usize::try_from(first).ok());
        let range = first.and_then(|first| Some(first..first.checked_add(length)?));
        let range = range.filter(|range| range.end <= self.bytes.len());
        range.map(|range| self.bytes.slice(range)).ok_or_else(|| general("a column ends outside of its place"))
    }
}

fn general(reason: impl std::fmt::Display) -> ParquetError {
    ParquetError::General(reason.to_string())
}

/// The byte range of a column in a file of `length` bytes.
fn place(group: &RowGroupMetaData, leaf: usize, length: u64) -> Result<Range<u64>> {
    let (start, bytes) = group.column(leaf).byte_range();
    let end = start.checked_add(bytes).filter(|&end| end <= length);
    Ok(start..end.ok_or_else(|| general("a column ends behind the end of the file"))?)
}

/// Reads the columns `leaves` of every row of `groups` into `out`, which has their numbers of rows and columns.
pub fn columns(mut file: File, groups: &[RowGroupMetaData], leaves: &[usize], out: &mut FeatureMatrix) -> Result<()> {
    let mut first = 0;
    let width = leaves.len();
    let length = file.metadata()?.len();
    for group in groups {
        let rows = usize::try_from(group.num_rows()).map_err(general)?;
        if rows == 0 || width == 0 {
            continue;
        }
        let windows = windows(group, leaves, length)?;
        for windows in windows.chunks(rayon::current_num_threads()) {
            let read = |(columns, range): &(Range<usize>, Range<u64>)| {
                Ok((columns.clone(), Arc::new(Window::read(&mut file, range.clone())?)))
            };
            let read: Vec<(Range<usize>, Arc<Window>)> = windows.iter().map(read).collect::<Result<_>>()?;
            let decode = |(columns, window): (Range<usize>, Arc<Window>)| {
                let mut values = Vec::with_capacity(columns.len() * rows);
                for &leaf in &leaves[columns.clone()] {
                    column(&window, group, leaf, rows, &mut values)?;
                }
                Ok((columns, values))
            };
            let decoded: Vec<(Range<usize>, Vec<f32>)> = read.into_par_iter().map(decode).collect::<Result<_>>()?;
            for (columns, values) in decoded {
                for (i, row) in out.as_mut_slice()[first * width..].chunks_exact_mut(width).take(rows).enumerate() {
                    let cells = row[columns.clone()].iter_mut();
                    cells.zip(values[i..].iter().step_by(rows)).for_each(|(cell, &value)| *cell = value);
                }
            }
        }
        first += rows;
    }
    Ok(())
}

/// Cuts the columns `leaves` into windows of contiguous bytes: indices into `leaves`, and the byte range of these
/// columns.
fn windows(group: &RowGroupMetaData, leaves: &[usize], length: u64) -> Result<Vec<(Range<usize>, Range<u64>)>> {
    let mut windows: Vec<(Range<usize>, Range<u64>)> = Vec::new();
    for (at, &leaf) in leaves.iter().enumerate() {
        let place = place(group, leaf, length)?;
        match windows.last_mut() {
            Some((columns, range)) if place.start == range.end && place.end - range.start <= WINDOW => {
                (columns.end, range.end) = (at + 1, place.end);
            }
            _ => windows.push((at..at + 1, place)),
        }
    }
    Ok(windows)
}

/// Appends the values of a flat column to `values`.
fn column(
    window: &Arc<Window>,
    group: &RowGroupMetaData,
    leaf: usize,
    rows: usize,
    values: &mut Vec<f32>,
) -> Result<()> {
    let before = values.len();
    let mut reader = open(window.clone(), group, leaf, rows)?;
    while values.len() - before < rows {
        let wanted = rows - (values.len() - before);
        if read_some(&mut reader, wanted, &mut Levels::default(), values)? == 0 {
            break;
        }
    }
    if values.len() - before != rows {
        let found = values.len() - before;
        return Err(general(format!("column {} has {found} values in {rows} rows", group.column(leaf).column_path())));
    }
    Ok(())
}

/// Reads the list column `leaf` of `groups` into `out`, whose width is that of the lists.
pub fn lists(mut file: File, groups: &[RowGroupMetaData], leaf: usize, out: &mut FeatureMatrix) -> Result<()> {
    let width = out.cols();
    let together = (PIECE / width.max(1)).max(1);
    let length = file.metadata()?.len();
    let (mut levels, mut values, mut filled) = (Levels::default(), Vec::new(), 0);
    for group in groups {
        let rows = usize::try_from(group.num_rows()).map_err(general)?;
        let window = Arc::new(Window::read(&mut file, place(group, leaf, length)?)?);
        let mut reader = open(window, group, leaf, rows)?;
        let mut left = rows;
        while left > 0 {
            values.clear();
            let lists = read_some(&mut reader, left.min(together), &mut levels, &mut values)?;
            let room = out.as_mut_slice().get_mut(filled..filled + values.len());
            let (Some(room), true) = (room, lists > 0 && values.len() == lists * width) else {
                return Err(general(format!("{lists} lists of {width} have {} values", values.len())));
            };
            room.copy_from_slice(&values);
            filled += values.len();
            left -= lists;
        }
    }
    Ok(())
}

/// Buffers of a column reader: the levels, and the f16 values before their conversion.
#[derive(Default)]
struct Levels {
    definition: Vec<i16>,
    repetition: Vec<i16>,
    halves: Vec<FixedLenByteArray>,
}

fn open(window: Arc<Window>, group: &RowGroupMetaData, leaf: usize, rows: usize) -> Result<ColumnReader> {
    let chunk = group.column(leaf);
    let known = match chunk.column_descr().physical_type() {
        Physical::FLOAT => true,
        Physical::FIXED_LEN_BYTE_ARRAY => chunk.column_descr().type_length() == 2,
        _ => false,
    };
    if !known {
        return Err(general(format!("column {} is neither of f32 nor of f16", chunk.column_path())));
    }
    let pages = SerializedPageReader::new(window, chunk, rows, None)?;
    Ok(get_column_reader(chunk.column_descr_ptr(), Box::new(pages)))
}

/// Appends up to `most` records to `values` and returns the number of records.
fn read_some(reader: &mut ColumnReader, most: usize, levels: &mut Levels, values: &mut Vec<f32>) -> Result<usize> {
    let Levels { definition, repetition, halves } = levels;
    definition.clear();
    repetition.clear();
    match reader {
        ColumnReader::FloatColumnReader(reader) => {
            Ok(reader.read_records(most, Some(definition), Some(repetition), values)?.0)
        }
        ColumnReader::FixedLenByteArrayColumnReader(reader) => {
            halves.clear();
            let records = reader.read_records(most, Some(definition), Some(repetition), halves)?.0;
            let bits = halves.iter().map(|half| <[u8; 2]>::try_from(half.as_bytes()));
            for bits in bits {
                values.push(f16::from_le_bytes(bits.map_err(general)?).to_f32());
            }
            Ok(records)
        }
        _ => Err(general("neither of f32 nor of f16")),
    }
}
