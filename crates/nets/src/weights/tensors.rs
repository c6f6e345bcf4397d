//! safetensors → f32 tensors, read on demand. Half precision is widened to f32.
//!
//! The header is parsed and checked against the length of the file at once; a tensor is then one positioned read. The
//! element types and the shared file are here, too, since other formats use them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use featurize_kernels::aligned::prefer_huge_pages;
use half::{bf16, f16};
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};

use super::{Tensor, WeightError};
use crate::files::regular;

/// Bytes that are read and widened at a time; a multiple of every element's size.
const CHUNK: usize = 1 << 16;
/// Bytes of the length that precedes the header.
const LENGTH: usize = 8;
/// The longest header that the format allows, in bytes.
const MAX_HEADER: u64 = 100_000_000;

/// The types of floating-point elements that are read, little endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Element {
    F16,
    BF16,
    F32,
    F64,
}

impl Element {
    /// Bytes of an element.
    pub(crate) fn size(self) -> usize {
        match self {
            Element::F16 | Element::BF16 => 2,
            Element::F32 => 4,
            Element::F64 => 8,
        }
    }

    /// Reads `count` elements and widens (or, for f64, rounds) them to f32, a chunk at a time. The caller has checked
    /// that they are in the file.
    pub(crate) fn read(self, reader: &mut dyn Read, count: usize) -> io::Result<Vec<f32>> {
        let mut values = Vec::with_capacity(count);
        prefer_huge_pages(&mut values);
        let mut chunk = vec![0; CHUNK.min(count.saturating_mul(self.size()))];
        while values.len() < count {
            let bytes = (count - values.len()).saturating_mul(self.size()).min(CHUNK);
            let chunk = &mut chunk[..bytes];
            reader.read_exact(chunk)?;
            self.widen(chunk, &mut values);
        }
        Ok(values)
    }

    fn widen(self, bytes: &[u8], values: &mut Vec<f32>) {
        match self {
            Element::F16 => values.extend(pieces(bytes).map(|&b| f16::from_le_bytes(b).to_f32())),
            Element::BF16 => values.extend(pieces(bytes).map(|&b| bf16::from_le_bytes(b).to_f32())),
            Element::F32 => values.extend(pieces(bytes).map(|&b| f32::from_le_bytes(b))),
            Element::F64 => values.extend(pieces(bytes).map(|&b| f64::from_le_bytes(b) as f32)),
        }
    }
}

/// `bytes` in pieces of `N`.
fn pieces<const N: usize>(bytes: &[u8]) -> impl Iterator<Item = &[u8; N]> {
    bytes.as_chunks().0.iter()
}

/// A weight file, shared by the tensors that read from it.
#[derive(Debug)]
pub(crate) struct SharedFile {
    path: PathBuf,
    /// Bytes of the file when it was opened.
    length: u64,
    file: File,
}

impl SharedFile {
    pub(crate) fn open(path: &Path) -> Result<Self, WeightError> {
        let file = regular::open(path).map_err(|error| WeightError::Read { path: path.to_path_buf(), error })?;
        Self::new(path, file)
    }

    pub(super) fn new(path: &Path, file: File) -> Result<Self, WeightError> {
        let path = path.to_path_buf();
        match file.metadata() {
            Ok(data) => Ok(Self { path, length: data.len(), file }),
            Err(error) => Err(WeightError::Read { path, error }),
        }
    }

    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Calls `read` with a reader that begins at byte `offset`.
    pub(crate) fn at<T>(&self, offset: u64, read: impl FnOnce(&mut ReadAt) -> io::Result<T>) -> Result<T, WeightError> {
        let mut reader = ReadAt { file: &self.file, offset };
        read(&mut reader).map_err(|error| WeightError::Read { path: self.path.clone(), error })
    }
}

/// A reader with its own position in a file, so that several threads can read one file.
#[derive(Debug)]
pub(crate) struct ReadAt<'a> {
    file: &'a File,
    offset: u64,
}

impl Read for ReadAt<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        #[cfg(unix)]
        let read = std::os::unix::fs::FileExt::read_at(self.file, to, self.offset)?;
        #[cfg(windows)]
        let read = std::os::windows::fs::FileExt::seek_read(self.file, to, self.offset)?;
        self.offset += read as u64;
        Ok(read)
    }
}

/// The tensors of a safetensors file. Integer tensors have only a shape: reading their values is a
/// [`WeightError::Dtype`].
pub(super) fn read_file(path: &Path) -> Result<BTreeMap<String, Tensor>, WeightError> {
    let file = Arc::new(SharedFile::open(path)?);
    let place = path.display().to_string();
    let length = file.at(0, |file| {
        let mut length = Vec::with_capacity(LENGTH);
        file.take(LENGTH as u64).read_to_end(&mut length).map(|_| length)
    })?;
    let bytes = header_length(&length, file.length(), &place)?;
    let header = file.at(LENGTH as u64, |file| {
        let mut header = vec![0; bytes];
        file.read_exact(&mut header).map(|()| header)
    })?;
    let start = (LENGTH + bytes) as u64;
    let read = |info: &TensorInfo, element: Element, count: usize| {
        let (file, offset) = (Arc::clone(&file), start + info.data_offsets.0 as u64);
        Tensor::later(info.shape.clone(), move || file.at(offset, |file| element.read(file, count)))
    };
    tensors(&header, file.length() - start, &place, read)
}

/// The tensors of a safetensors file held in memory; `place` names it in messages.
pub(super) fn read_bytes(bytes: &'static [u8], place: &str) -> Result<BTreeMap<String, Tensor>, WeightError> {
    let header = header_length(&bytes[..LENGTH.min(bytes.len())], bytes.len() as u64, place)?;
    let (header, data) = bytes[LENGTH..].split_at(header);
    let path = PathBuf::from(place);
    let read = |info: &TensorInfo, element: Element, count: usize| {
        let (data, path) = (&data[info.data_offsets.0..info.data_offsets.1], path.clone());
        let read = move || element.read(&mut &data[..], count);
        Tensor::later(info.shape.clone(), move || {
            read().map_err(|error| WeightError::Read { path: path.clone(), error })
        })
    };
    tensors(header, data.len() as u64, place, read)
}

/// The length of the header: `bytes` are the first 8 bytes of a file of `total` bytes.
fn header_length(bytes: &[u8], total: u64, place: &str) -> Result<usize, WeightError> {
    let length = bytes.try_into().ok().map(u64::from_le_bytes);
    let room = total.saturating_sub(LENGTH as u64).min(MAX_HEADER);
    let fits = length.filter(|&length| length <= room).and_then(|length| usize::try_from(length).ok());
    fits.ok_or_else(|| {
        let reason = "it is not safetensors, or cut off: no header of the length that its first 8 bytes say".into();
        WeightError::Format { place: place.to_string(), reason }
    })
}

/// The tensors in a header that `data` bytes follow; `read` makes the tensors whose type can be read.
fn tensors(
    header: &[u8],
    data: u64,
    place: &str,
    read: impl Fn(&TensorInfo, Element, usize) -> Tensor,
) -> Result<BTreeMap<String, Tensor>, WeightError> {
    let unsound = |reason: String| WeightError::Format { place: place.to_string(), reason };
    // this also checks that offsets, shapes and types agree, and that the tensors are contiguous
    let metadata: Metadata = serde_json::from_slice(header)
        .map_err(|error| unsound(format!("its safetensors header cannot be read ({error})")))?;
    let listed = metadata.data_len() as u64;
    if listed != data {
        return Err(unsound(format!("its header lists {listed} bytes of tensors, {data} follow; is it cut off?")));
    }
    let tensor = |(name, info): (String, &TensorInfo)| {
        let element = match info.dtype {
            Dtype::F16 => Element::F16,
            Dtype::BF16 => Element::BF16,
            Dtype::F32 => Element::F32,
            Dtype::F64 => Element::F64,
            other => {
                let tensor = unreadable(&name, &format!("{other:?}").to_lowercase(), info.shape.clone());
                return (name, tensor);
            }
        };
        let count = (info.data_offsets.1 - info.data_offsets.0) / element.size();
        (name, read(info, element, count))
    };
    Ok(metadata.tensors().into_iter().map(tensor).collect())
}

/// A tensor whose values cannot be read: counters, masks, quantised numbers.
pub(super) fn unreadable(name: &str, dtype: &str, shape: Vec<usize>) -> Tensor {
    let (name, dtype) = (name.to_string(), dtype.to_string());
    Tensor::later(shape, move || Err(WeightError::Dtype { name: name.clone(), dtype: dtype.clone() }))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use safetensors::tensor::TensorView;

    fn file(dtype: Dtype, shape: Vec<usize>, data: &[u8]) -> &'static [u8] {
        let view = TensorView::new(dtype, shape, data).expect("as many bytes as the shape says");
        safetensors::serialize([("x", view)], None).expect("serialised").leak()
    }

    fn on_disk(bytes: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        file.write_all(bytes).expect("written");
        file
    }

    #[test]
    fn every_float_type_becomes_f32_from_memory_and_from_a_file() {
        let expected = [0.5f32, -2.0];
        let f16s: Vec<u8> = expected.iter().flat_map(|&x| f16::from_f32(x).to_le_bytes()).collect();
        let bf16s: Vec<u8> = expected.iter().flat_map(|&x| bf16::from_f32(x).to_le_bytes()).collect();
        let f32s: Vec<u8> = expected.iter().flat_map(|x| x.to_le_bytes()).collect();
        let f64s: Vec<u8> = expected.iter().flat_map(|&x| f64::from(x).to_le_bytes()).collect();
        for (dtype, data) in [(Dtype::F16, f16s), (Dtype::BF16, bf16s), (Dtype::F32, f32s), (Dtype::F64, f64s)] {
            let bytes = file(dtype, vec![2], &data);
            let disk = on_disk(bytes);
            for set in [read_bytes(bytes, "test").expect("read"), read_file(disk.path()).expect("read")] {
                assert_eq!(set["x"].shape(), [2]);
                assert_eq!(set["x"].values().expect("x"), expected, "{dtype:?}");
            }
        }
    }

    #[test]
    fn tensors_of_several_chunks_and_of_none_come_whole() {
        let values: Vec<f32> = (0..50_001).map(|i| i as f32 * 0.37 - 1000.0).collect();
        let bytes: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        let many = TensorView::new(Dtype::F32, vec![3, 16667], &bytes).expect("as long as its shape");
        let none = TensorView::new(Dtype::F16, vec![0, 7], &[]).expect("empty");
        let after = TensorView::new(Dtype::F32, vec![], &bytes[4..8]).expect("one value");
        let file = safetensors::serialize([("a", many), ("b", none), ("c", after)], None).expect("serialised");
        let set = read_file(on_disk(&file).path()).expect("read");
        assert_eq!(set["a"].values().expect("a"), values);
        assert_eq!((set["b"].shape(), set["b"].values().expect("b")), (&[0, 7][..], vec![]));
        assert_eq!((set["c"].shape(), set["c"].values().expect("c")), (&[][..], vec![values[1]]));
    }

    #[test]
    fn integers_are_refused_when_their_values_are_asked_for() {
        let set = read_bytes(file(Dtype::I64, vec![], &[0; 8]), "t").expect("opened");
        assert_eq!(set["x"].shape(), [0; 0]);
        let error = set["x"].values().expect_err("no float");
        assert_eq!(error.to_string(), "tensor `x` is of type i64; f16, bf16, f32 and f64 can be read");
    }

    #[test]
    fn files_that_are_cut_off_too_long_or_at_odds_with_themselves_are_refused() {
        let bytes = file(Dtype::F32, vec![2], &[0; 8]);
        for end in 0..bytes.len() {
            assert!(matches!(read_bytes(&bytes[..end], "t"), Err(WeightError::Format { .. })), "cut at {end}");
            let disk = on_disk(&bytes[..end]);
            assert!(matches!(read_file(disk.path()), Err(WeightError::Format { .. })), "cut at {end}");
        }
        let long = [bytes, &[0]].concat().leak();
        assert!(matches!(read_bytes(long, "t"), Err(WeightError::Format { .. })));
        let header = br#"{"x":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}"#;
        let odd = [&(header.len() as u64).to_le_bytes()[..], header, &[0; 8]].concat().leak();
        assert!(matches!(read_bytes(odd, "t"), Err(WeightError::Format { .. })));
    }

    #[test]
    fn a_file_that_shrank_after_it_was_opened_is_an_error() {
        let disk = on_disk(file(Dtype::F32, vec![2], &[0; 8]));
        let set = read_file(disk.path()).expect("opened");
        disk.as_file().set_len(20).expect("shortened");
        assert!(matches!(set["x"].values(), Err(WeightError::Read { .. })));
        assert!(matches!(read_file(Path::new("/nowhere/x")), Err(WeightError::Read { .. })));
    }
}
