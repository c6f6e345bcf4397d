//! A variable of a Keras file: its shape and type are known when the file is opened, its values are read on demand.
//!
//! A kernel is read in slabs, each of which is transposed into the graph's layout, so that reading needs little more
//! memory than the tensor.

use hdf5_reader::error::Error;
use hdf5_reader::{Dataset, Datatype, H5Type, SliceInfo, SliceInfoElem};

use crate::weights::WeightError;
use crate::weights::tensors::Element;

/// Bytes of f32 that are read at a time; more if one row of the first axis has more.
const SLAB: usize = 16 << 20;
/// Most bytes of f32 of a variable: five times the largest of any known network (VGG's first dense layer, 0.4 GB).
const LARGEST: usize = 2 << 30;
/// Deflate expands a byte to at most 1032.
const MOST_UNPACKED: u64 = 1032;

/// A variable and its dataset.
pub(super) struct Variable {
    /// Its name in its layer: `conv1_conv/kernel:0`, `0`.
    pub(super) name: String,
    pub(super) shape: Vec<usize>,
    dataset: Dataset,
    /// The type of its values, or the name of a type that is not read.
    kind: Result<Element, String>,
}

impl Variable {
    /// The variable in `dataset`; its values stay in the file, which has `file_length` bytes. A shape that does not fit
    /// into the file is an error: the file is damaged or malicious.
    pub(super) fn new(name: String, dataset: Dataset, file_length: u64) -> Result<Self, Error> {
        let kind = kind(&dataset)?;
        let size = dataset.raw_element_size()? as u64;
        let claimed = dataset.shape().iter().try_fold(size, |bytes, &size| bytes.checked_mul(size));
        let room = if dataset.chunks().is_some() { file_length.saturating_mul(MOST_UNPACKED) } else { file_length };
        if claimed.is_none_or(|bytes| bytes > room) {
            let shape = dataset.shape();
            return Err(Error::InvalidData(format!("variable `{name}`: {shape:?} is more than the file can hold")));
        }
        let sizes = dataset.shape().iter().map(|&size| usize::try_from(size).unwrap_or(usize::MAX));
        Ok(Self { name, shape: sizes.collect(), dataset, kind })
    }

    /// Whether it may be a weight: counters and the seeds of random layers are not.
    pub(super) fn is_weight(&self) -> bool {
        !self.shape.is_empty() && self.kind.is_ok()
    }

    /// Its values in f32, row-major with the axes in the order `axes`.
    pub(super) fn values(&self, axes: &[usize], place: &str) -> Result<Vec<f32>, WeightError> {
        let read = |reason: String| WeightError::Format { place: place.to_string(), reason };
        let read = |reason: String| read(format!("variable `{}`: {reason}", self.name));
        let failed = |error: Error| read(error.to_string());
        let into = Scatter::new(&self.shape, axes).ok_or_else(|| read(format!("{:?} is too large", self.shape)))?;
        match &self.kind {
            Ok(Element::F32) => self.scatter(&into, |value: f32| value).map_err(failed),
            Ok(Element::F64) => self.scatter(&into, |value: f64| value as f32).map_err(failed),
            Ok(Element::F16) => self.scatter(&into, |Bits(bits)| half::f16::from_bits(bits).to_f32()).map_err(failed),
            Ok(Element::BF16) => self.scatter(&into, |Bits(bits)| half::bf16::from_bits(bits).to_f32()).map_err(failed),
            Err(dtype) => Err(WeightError::Dtype { name: self.name.clone(), dtype: dtype.clone() }),
        }
    }

    fn scatter<T: H5Type>(&self, into: &Scatter, widen: impl Fn(T) -> f32) -> Result<Vec<f32>, Error> {
        let wrong = |reason: &str| Error::InvalidData(reason.to_string());
        let mut out = Vec::new();
        out.try_reserve_exact(into.len).map_err(|_| wrong("there is not enough memory for its values"))?;
        out.resize(into.len, 0.0);
        let rows = self.rows_at_a_time(into);
        let mut first = 0;
        while into.len > 0 && first < into.rows {
            let last = (first + rows).min(into.rows);
            let mut selections = SliceInfo::all(self.shape.len()).selections;
            if let Some(axis) = selections.first_mut() {
                *axis = SliceInfoElem::Slice { start: first as u64, end: last as u64, step: 1 };
            }
            let slab = self.dataset.read_slice::<T>(&SliceInfo { selections })?;
            let slab = slab.as_slice().ok_or_else(|| wrong("its values are not in order"))?;
            if slab.len() != (last - first) * into.row {
                return Err(wrong("fewer values than its shape says"));
            }
            into.place(slab, first, &widen, &mut out);
            first = last;
        }
        Ok(out)
    }

    /// Rows of a slab: whole chunks, so that none is decompressed twice.
    fn rows_at_a_time(&self, into: &Scatter) -> usize {
        let rows = (SLAB / 4 / into.row.max(1)).max(1);
        let chunk = self.dataset.chunks().and_then(|chunk| chunk.first().copied()).unwrap_or(1).max(1) as usize;
        rows.div_ceil(chunk).saturating_mul(chunk)
    }
}

/// The places of an array's values after its axes are permuted.
struct Scatter {
    /// Number of values, rows of the first axis, values in a row.
    len: usize,
    rows: usize,
    row: usize,
    shape: Vec<usize>,
    /// The stride of each axis of the source in the result.
    steps: Vec<usize>,
}

impl Scatter {
    /// None if the array is too large, or `axes` is not a permutation.
    fn new(shape: &[usize], axes: &[usize]) -> Option<Self> {
        let len = shape.iter().try_fold(1_usize, |len, &size| len.checked_mul(size))?;
        let mut sorted = axes.to_vec();
        sorted.sort_unstable();
        if len > LARGEST / 4 || !sorted.into_iter().eq(0..shape.len()) {
            return None;
        }
        let mut steps = vec![0; shape.len()];
        let mut step = 1;
        for &axis in axes.iter().rev() {
            steps[axis] = step;
            step *= shape[axis];
        }
        let rows = shape.first().copied().unwrap_or(1);
        Some(Self { len, rows, row: len.checked_div(rows).unwrap_or(0), shape: shape.to_vec(), steps })
    }

    /// Writes the rows of `slab`, from `first` on, to the result; in tiles, since reads or writes of a transposition
    /// are strided.
    fn place<T: Clone>(&self, slab: &[T], first: usize, widen: impl Fn(T) -> f32, out: &mut [f32]) {
        const TILE: usize = 16;
        // the array as planes of h × w; with two axes, a slab is a part of the only plane
        let [.., h, w] = self.shape[..] else {
            let step = self.steps.first().copied().unwrap_or(1);
            slab.iter().enumerate().for_each(|(i, value)| out[(first + i) * step] = widen(value.clone()));
            return;
        };
        let outer = self.shape.len() - 2;
        let (h_step, w_step) = (self.steps[outer], self.steps[outer + 1]);
        let (h, first_plane, start) =
            if outer == 0 { (slab.len() / w, 0, first * h_step) } else { (h, first * self.row / (h * w), 0) };
        for (plane, values) in slab.chunks_exact(h * w).enumerate() {
            let start = start + self.start_of(first_plane + plane, outer);
            for y in (0..h).step_by(TILE) {
                for x in (0..w).step_by(TILE) {
                    for y in y..(y + TILE).min(h) {
                        for x in x..(x + TILE).min(w) {
                            out[start + y * h_step + x * w_step] = widen(values[y * w + x].clone());
                        }
                    }
                }
            }
        }
    }

    /// The offset in the result of a plane of the last two axes.
    fn start_of(&self, mut plane: usize, outer: usize) -> usize {
        let mut start = 0;
        for axis in (0..outer).rev() {
            start += plane % self.shape[axis] * self.steps[axis];
            plane /= self.shape[axis];
        }
        start
    }
}

/// The bits of a 16-bit float, for any HDF5 type of two bytes.
#[derive(Clone, Copy)]
struct Bits(u16);

impl H5Type for Bits {
    fn hdf5_type() -> Datatype {
        u16::hdf5_type()
    }

    fn from_bytes(bytes: &[u8], dtype: &Datatype) -> Result<Self, Error> {
        let [a, b] = bytes.get(..2).and_then(|bytes| bytes.try_into().ok()).unwrap_or_default();
        let big = matches!(dtype, Datatype::FloatingPoint { byte_order: hdf5_reader::ByteOrder::BigEndian, .. });
        Ok(Self(if big { u16::from_be_bytes([a, b]) } else { u16::from_le_bytes([a, b]) }))
    }

    fn element_size(_: &Datatype) -> usize {
        2
    }
}

fn kind(dataset: &Dataset) -> Result<Result<Element, String>, Error> {
    // Keras marks bfloat16 by an attribute: h5py has no such type and stores two opaque bytes
    let marked = || dataset.attribute("dtype").and_then(|dtype| dtype.read_string()).is_ok_and(|it| it == "bfloat16");
    Ok(match dataset.dtype() {
        Datatype::FloatingPoint { size: 4, .. } => Ok(Element::F32),
        Datatype::FloatingPoint { size: 8, .. } => Ok(Element::F64),
        // byte 13 of the type's message is the size of the exponent
        Datatype::FloatingPoint { size: 2, .. } => match dataset.raw_datatype()?.get(13) {
            Some(5) => Ok(Element::F16),
            Some(8) => Ok(Element::BF16),
            _ => Err("a 16-bit float of no known kind".into()),
        },
        Datatype::Opaque { size: 2, .. } | Datatype::FixedPoint { size: 2, .. } if marked() => Ok(Element::BF16),
        Datatype::FixedPoint { size, signed: true, .. } => Err(format!("i{}", u32::from(*size) * 8)),
        Datatype::FixedPoint { size, .. } => Err(format!("u{}", u32::from(*size) * 8)),
        other => Err(format!("{other:?}").chars().take(40).collect()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_go_where_the_new_order_of_axes_has_them() {
        let shape = [3, 2, 20, 33];
        let source: Vec<u32> = (0..shape.iter().product::<usize>() as u32).collect();
        for axes in [[3, 2, 0, 1], [2, 3, 0, 1], [0, 1, 2, 3], [1, 3, 2, 0]] {
            let into = Scatter::new(&shape, &axes).expect("small");
            let mut out = vec![0.0; into.len];
            // one slab for each row
            for (first, slab) in source.chunks(into.row).enumerate() {
                into.place(slab, first, |value| value as f32, &mut out);
            }
            let size = axes.map(|axis| shape[axis]);
            for (at, value) in out.iter().enumerate() {
                let (mut rest, mut index) = (at, [0; 4]);
                for axis in (0..4).rev() {
                    index[axes[axis]] = rest % size[axis];
                    rest /= size[axis];
                }
                let from = index.iter().zip(shape).fold(0, |from, (&i, size)| from * size + i);
                assert_eq!(*value, source[from] as f32);
            }
        }
    }

    #[test]
    fn a_matrix_is_transposed_in_slabs_of_any_height() {
        let (h, w) = (50, 37);
        let source: Vec<u32> = (0..(h * w) as u32).collect();
        let into = Scatter::new(&[h, w], &[1, 0]).expect("small");
        for rows in [1, 7, 16, 50] {
            let mut out = vec![0.0; h * w];
            for (slab, values) in source.chunks(rows * w).enumerate() {
                into.place(values, slab * rows, |value| value as f32, &mut out);
            }
            assert!((0..h * w).all(|at| out[at] == source[at % h * w + at / h] as f32));
        }
        assert!(Scatter::new(&[1 << 40, 1 << 40], &[1, 0]).is_none());
        assert!(Scatter::new(&[4, 4], &[1, 1]).is_none());
    }
}
