//! Dense layers: every row of weights is read once for all pictures of a micro-batch, since reading them is what costs. Weights stay as they
//! are, `(out, in)`: there is no second copy of the 400 MB of VGG's first dense layer.

use rayon::iter::{IntoParallelIterator, ParallelIterator};

#[cfg(target_arch = "aarch64")]
use super::simd::Neon;
#[cfg(target_arch = "x86_64")]
use super::simd::{Avx2, Avx512};
use super::simd::{Isa, Portable, Simd};
use crate::Activation;

/// Rows of weights that are read together.
const ROWS: usize = 4;
/// Pictures that are computed together.
const PICTURES: usize = 4;
/// Vectors that are summed before their sum is added to the others.
const RUN: usize = 32;
/// Lanes of the widest vector.
const LANES: usize = 16;

/// The weights of a dense layer.
#[derive(Clone, Debug)]
pub struct Dense {
    isa: Isa,
    inputs: usize,
    weight: Vec<f32>,
    bias: Vec<f32>,
}

impl Dense {
    /// `weight` is `(out, in)`, row-major, with a bias a row.
    pub fn new(isa: Isa, weight: Vec<f32>, bias: Vec<f32>) -> Self {
        let inputs = weight.len() / bias.len().max(1);
        Self { isa, inputs, weight, bias }
    }

    /// For each of `pictures` pictures `output = activation(weight · input + bias)`; the vectors of a picture begin `strides` (input, output)
    /// after those of the one before. Computed by `threads` of the pool that this is called on. Panics when a vector lies outside its slice.
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
        let limits = super::limits(activation);
        let blocks = self.bias.len().div_ceil(ROWS);
        for picture in (0..pictures).step_by(PICTURES) {
            let n = PICTURES.min(pictures - picture);
            let of = |block: usize| self.block(block * ROWS, n, strides[0], &input[picture * strides[0]..]);
            let mut put = |(block, sums): (usize, Sums)| {
                let rows = block * ROWS..self.bias.len().min((block + 1) * ROWS);
                for (p, sums) in sums.iter().enumerate().take(n) {
                    for (row, sum) in rows.clone().zip(sums) {
                        let value = sum + self.bias[row];
                        // in this order a NaN stays one
                        let value = if value < limits[0] { limits[0] } else { value };
                        let value = if value > limits[1] { limits[1] } else { value };
                        output[(picture + p) * strides[1] + row] = value;
                    }
                }
            };
            if threads > 1 {
                let all: Vec<Sums> = (0..blocks).into_par_iter().map(of).collect();
                all.into_iter().enumerate().for_each(put);
            } else {
                (0..blocks).for_each(|block| put((block, of(block))));
            }
        }
    }

    /// Products of up to `ROWS` rows with `n` pictures; of rows behind the last the last one's.
    fn block(&self, first: usize, n: usize, stride: usize, input: &[f32]) -> [[f32; ROWS]; PICTURES] {
        let last = self.bias.len() - 1;
        let rows: [*const f32; ROWS] =
            std::array::from_fn(|i| self.weight[(first + i).min(last) * self.inputs..].as_ptr());
        let mut sums = [[0.0; ROWS]; PICTURES];
        // SAFETY: the instruction set was detected; each row has `inputs` weights and each of the `n` pictures as many values, as `run`
        // asserted.
        unsafe {
            match self.isa {
                #[cfg(target_arch = "x86_64")]
                Isa::Avx512 => run_avx512(rows, self.inputs, input.as_ptr(), stride, n, &mut sums),
                #[cfg(target_arch = "x86_64")]
                Isa::Avx2 => run_avx2(rows, self.inputs, input.as_ptr(), stride, n, &mut sums),
                #[cfg(target_arch = "aarch64")]
                Isa::Neon => dispatch::<Neon>(rows, self.inputs, input.as_ptr(), stride, n, &mut sums),
                Isa::Portable => dispatch::<Portable>(rows, self.inputs, input.as_ptr(), stride, n, &mut sums),
            }
        }
        sums
    }
}

type Sums = [[f32; ROWS]; PICTURES];

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
unsafe fn run_avx512(w: [*const f32; ROWS], len: usize, x: *const f32, stride: usize, n: usize, sums: &mut Sums) {
    // SAFETY: as the caller's.
    unsafe { dispatch::<Avx512>(w, len, x, stride, n, sums) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn run_avx2(w: [*const f32; ROWS], len: usize, x: *const f32, stride: usize, n: usize, sums: &mut Sums) {
    // SAFETY: as the caller's.
    unsafe { dispatch::<Avx2>(w, len, x, stride, n, sums) }
}

#[inline(always)]
unsafe fn dispatch<S: Simd>(
    w: [*const f32; ROWS],
    len: usize,
    x: *const f32,
    stride: usize,
    n: usize,
    sums: &mut Sums,
) {
    // SAFETY: as the caller's.
    unsafe {
        match n {
            1 => dot::<S, 1>(w, len, x, stride, sums),
            2 => dot::<S, 2>(w, len, x, stride, sums),
            3 => dot::<S, 3>(w, len, x, stride, sums),
            _ => dot::<S, PICTURES>(w, len, x, stride, sums),
        }
    }
}

/// `ROWS` rows × `N` pictures. A product is summed lane by lane in short runs, then over the lanes: its order depends on nothing but the length.
#[inline(always)]
#[allow(clippy::needless_range_loop)]
unsafe fn dot<S: Simd, const N: usize>(
    w: [*const f32; ROWS],
    len: usize,
    x: *const f32,
    stride: usize,
    sums: &mut Sums,
) {
    // SAFETY: as the caller's; the last load takes what is left.
    unsafe {
        let mut all = [[S::splat(0.0); ROWS]; N];
        let mut at = 0;
        while at < len {
            // a sum of sums of short runs rounds less than one long sum
            let end = len.min(at + RUN * S::W);
            let mut run = [[S::splat(0.0); ROWS]; N];
            while at < end {
                let lanes = S::W.min(len - at);
                let mut row = [S::splat(0.0); ROWS];
                for i in 0..ROWS {
                    row[i] = S::load_part(w[i].add(at), lanes);
                }
                for p in 0..N {
                    let v = S::load_part(x.add(p * stride + at), lanes);
                    for i in 0..ROWS {
                        run[p][i] = S::mul_add(v, row[i], run[p][i]);
                    }
                }
                at += S::W;
            }
            for p in 0..N {
                for i in 0..ROWS {
                    all[p][i] = S::add(all[p][i], run[p][i]);
                }
            }
        }
        for p in 0..N {
            for i in 0..ROWS {
                let mut lanes = [0.0f32; LANES];
                S::store_part(lanes.as_mut_ptr(), S::W, all[p][i]);
                sums[p][i] = lanes.iter().sum();
            }
        }
    }
}
