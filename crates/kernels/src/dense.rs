//! Dense layers. Reading the weights limits their speed, so each weight is read once for up to four pictures. The
//! weights are not packed, they stay `(outputs, inputs)` row-major: a packed copy of the first dense layer of VGG would
//! take another 400 MB.
//!
//! A dot product is summed lane by lane in short runs of vectors, and the sums of the runs are summed (pairwise
//! summation, cut off after one level): this rounds less than one long sum. The order depends on the length alone.

use rayon::iter::{IntoParallelIterator, ParallelIterator};

use super::simd::{Isa, MOST_LANES, Simd, SimdKernel};
use crate::{Activation, activation, clamp_bounds};

/// Rows of weights (outputs) that are computed together.
const ROWS: usize = 4;
/// Pictures that are computed together.
const PICTURES: usize = 4;
/// Vectors that are summed before their sum is added to those of the other runs.
const RUN: usize = 32;

/// The sums of a block, by picture and row.
type BlockSums = [[f32; ROWS]; PICTURES];

/// A dense layer.
#[derive(Clone, Debug)]
pub struct Dense {
    isa: Isa,
    inputs: usize,
    weight: Vec<f32>,
    bias: Vec<f32>,
}

impl Dense {
    /// `weight` is `(outputs, inputs)`, row-major, with one bias for each output.
    pub fn new(isa: Isa, weight: Vec<f32>, bias: Vec<f32>) -> Self {
        let inputs = weight.len() / bias.len().max(1);
        Self { isa, inputs, weight, bias }
    }

    /// Computes `output = activation(weight · input + bias)` for each of `pictures` pictures, by `threads` threads of
    /// the pool that it is called on. The vectors of a picture begin `strides` (input, output) elements after those of
    /// the picture before.
    ///
    /// Panics when a vector lies outside its slice.
    pub fn run(
        &self,
        threads: usize,
        pictures: usize,
        strides: [usize; 2],
        input: &[f32],
        activation: Option<Activation>,
        output: &mut [f32],
    ) {
        if pictures == 0 || self.bias.is_empty() {
            return;
        }
        assert!((pictures - 1) * strides[0] + self.inputs <= input.len(), "a vector lies outside the input");
        assert!((pictures - 1) * strides[1] + self.bias.len() <= output.len(), "a vector lies outside the output");
        assert!(self.weight.len() == self.inputs * self.bias.len(), "a weight for each input and output");
        let [low, high] = clamp_bounds(activation);
        let blocks = self.bias.len().div_ceil(ROWS);
        for picture in (0..pictures).step_by(PICTURES) {
            let n = PICTURES.min(pictures - picture);
            let compute = |block: usize| self.block(block * ROWS, n, strides[0], &input[picture * strides[0]..]);
            let mut write = |block: usize, sums: BlockSums| {
                let rows = block * ROWS..self.bias.len().min((block + 1) * ROWS);
                for (p, sums) in sums.iter().enumerate().take(n) {
                    for (row, sum) in rows.clone().zip(sums) {
                        let value = sum + self.bias[row];
                        // Comparisons with NaN are false, so NaN stays NaN.
                        let value = if value < low { low } else { value };
                        let value = if value > high { high } else { value };
                        output[(picture + p) * strides[1] + row] = value;
                    }
                }
            };
            if threads > 1 {
                let all: Vec<BlockSums> = (0..blocks).into_par_iter().map(compute).collect();
                all.into_iter().enumerate().for_each(|(block, sums)| write(block, sums));
            } else {
                (0..blocks).for_each(|block| write(block, compute(block)));
            }
            if let Some(activation) = activation.filter(|activation| activation.limits().is_none()) {
                let rows = output[picture * strides[1]..].chunks_mut(strides[1]).take(n);
                rows.for_each(|row| activation::run(self.isa, activation, &mut row[..self.bias.len()]));
            }
        }
    }

    /// Returns the products of `n` pictures with the `ROWS` rows of weights from `first` on. Behind the end of the
    /// weights the last row is repeated.
    fn block(&self, first: usize, n: usize, stride: usize, input: &[f32]) -> BlockSums {
        let last = self.bias.len() - 1;
        let rows = std::array::from_fn(|i| self.weight[(first + i).min(last) * self.inputs..].as_ptr());
        let block = Block { rows, len: self.inputs, input: input.as_ptr(), stride, pictures: n };
        // SAFETY: `run` asserted that there are `inputs` weights for each row, the last of which is `last`, and that
        // each of the `n` pictures has as many values within `input`.
        unsafe { self.isa.run(block) }
    }
}

/// A block of dot products: each of `ROWS` rows with each of `pictures` pictures.
///
/// Each of `rows` must point to `len` readable weights, and `input` to `len` readable values at each multiple of
/// `stride` below `pictures · stride`.
struct Block {
    rows: [*const f32; ROWS],
    len: usize,
    input: *const f32,
    stride: usize,
    /// 1 to `PICTURES`.
    pictures: usize,
}

impl SimdKernel for Block {
    type Output = BlockSums;

    #[inline(always)]
    unsafe fn run<S: Simd>(self) -> BlockSums {
        let mut sums = [[0.0; ROWS]; PICTURES];
        // SAFETY: the caller of `SimdKernel::run` checked the instruction set, and the block is as `Block` demands;
        // each arm takes as many pictures as there are.
        unsafe {
            match self.pictures {
                1 => self.dot::<S, 1>(&mut sums),
                2 => self.dot::<S, 2>(&mut sums),
                3 => self.dot::<S, 3>(&mut sums),
                _ => self.dot::<S, PICTURES>(&mut sums),
            }
        }
        sums
    }
}

impl Block {
    /// The dot products of `ROWS` rows with `N` pictures.
    ///
    /// # Safety
    /// The CPU has the instruction set of `S`; the block is as [`Block`] demands, with at least `N` pictures.
    #[inline(always)]
    #[allow(clippy::needless_range_loop)]
    unsafe fn dot<S: Simd, const N: usize>(&self, sums: &mut BlockSums) {
        let Block { rows, len, input, stride, .. } = *self;
        // SAFETY: by this function's contract: `at + lanes` is at most `len`; no vector has more lanes than
        // `MOST_LANES`.
        unsafe {
            let mut all = [[S::splat(0.0); ROWS]; N];
            let mut at = 0;
            while at < len {
                let end = len.min(at + RUN * S::LANES);
                let mut run = [[S::splat(0.0); ROWS]; N];
                while at < end {
                    let lanes = S::LANES.min(len - at);
                    let mut row = [S::splat(0.0); ROWS];
                    for i in 0..ROWS {
                        row[i] = S::load_partial(rows[i].add(at), lanes);
                    }
                    for p in 0..N {
                        let v = S::load_partial(input.add(p * stride + at), lanes);
                        for i in 0..ROWS {
                            run[p][i] = S::mul_add(v, row[i], run[p][i]);
                        }
                    }
                    at += S::LANES;
                }
                for p in 0..N {
                    for i in 0..ROWS {
                        all[p][i] = S::add(all[p][i], run[p][i]);
                    }
                }
            }
            for p in 0..N {
                for i in 0..ROWS {
                    let mut lanes = [0.0f32; MOST_LANES];
                    S::store_partial(lanes.as_mut_ptr(), S::LANES, all[p][i]);
                    sums[p][i] = lanes.iter().sum();
                }
            }
        }
    }
}
