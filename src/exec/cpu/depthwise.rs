//! Depthwise convolution, channels last: a vector of channels of several output positions stays in registers while the window runs over them.

use super::share;
#[cfg(target_arch = "aarch64")]
use super::simd::Neon;
#[cfg(target_arch = "x86_64")]
use super::simd::{Avx2, Avx512};
use super::simd::{Isa, Portable, Simd};
use crate::models::graph::Activation;

/// Output positions computed together.
const TOGETHER: usize = 8;

/// Weights as `(kernel rows, kernel columns, channels)`.
#[derive(Clone, Debug)]
pub struct Packed {
    isa: Isa,
    kernel: [usize; 2],
    channels: usize,
    values: Vec<f32>,
    bias: Vec<f32>,
}

/// Where a depthwise convolution reads and writes, in elements.
#[derive(Clone, Copy, Debug)]
pub struct Places {
    /// The first window in the input.
    pub start: usize,
    /// From one row of the input to the next.
    pub row: usize,
    pub stride: [usize; 2],
    /// The first output.
    pub out: usize,
    /// From one row of outputs to the next.
    pub out_row: usize,
    /// From one position of the output to the next.
    pub out_pixel: usize,
    /// Height and width of the output.
    pub output: [usize; 2],
}

impl Packed {
    /// Packs weights `(channels, kernel rows, kernel columns)`.
    pub fn new(isa: Isa, weight: &[f32], bias: &[f32], kernel: [usize; 2]) -> Self {
        let (channels, taps) = (bias.len(), kernel[0] * kernel[1]);
        let values = (0..taps).flat_map(|tap| (0..channels).map(move |c| weight[c * taps + tap])).collect();
        Self { isa, kernel, channels, values, bias: bias.to_vec() }
    }

    /// output = activation(bias + Σ weight · input) at every position, computed by `threads` of the pool that this is called on. Panics when a
    /// place lies outside its slice, or when several threads would write one output.
    pub fn run(
        &self,
        threads: usize,
        places: &Places,
        input: &[f32],
        activation: Option<Activation>,
        output: &mut [f32],
    ) {
        let [oh, ow] = places.output;
        if oh == 0 || ow == 0 {
            return;
        }
        let c = self.channels;
        let last = ((oh - 1) * places.stride[0] + self.kernel[0] - 1) * places.row;
        let last = places.start + last + ((ow - 1) * places.stride[1] + self.kernel[1]) * c;
        assert!(last <= input.len(), "a window lies outside the input");
        assert!(
            places.out + (oh - 1) * places.out_row + (ow - 1) * places.out_pixel + c <= output.len(),
            "a position lies outside the output"
        );
        let threads = threads.min(oh);
        if threads > 1 {
            assert!((ow - 1) * places.out_pixel + c <= places.out_row, "several threads would write one output");
        }
        let work = Work {
            packed: self,
            input: input.as_ptr(),
            limits: super::limits(activation),
            output: output.as_mut_ptr(),
        };
        share::share(threads, |i| {
            // all of it: a closure takes what it names by field
            let work = &work;
            let rows = share::range(oh, i, threads);
            let start = places.start + rows.start * places.stride[0] * places.row;
            let out = places.out + rows.start * places.out_row;
            let places = Places { start, out, output: [rows.len(), ow], ..*places };
            // SAFETY: the instruction set was detected; every window and output lies within its slice, as asserted; the output is borrowed
            // alone, and every thread writes other rows of it.
            unsafe {
                match self.isa {
                    #[cfg(target_arch = "x86_64")]
                    Isa::Avx512 => run_avx512(work, &places),
                    #[cfg(target_arch = "x86_64")]
                    Isa::Avx2 => run_avx2(work, &places),
                    #[cfg(target_arch = "aarch64")]
                    Isa::Neon => rows_of::<Neon>(work, &places),
                    Isa::Portable => rows_of::<Portable>(work, &places),
                }
            }
        });
    }
}

/// What a run works on.
struct Work<'a> {
    packed: &'a Packed,
    input: *const f32,
    limits: [f32; 2],
    output: *mut f32,
}

// SAFETY: the input is only read; what is written is divided among the threads, see `run`.
unsafe impl Sync for Work<'_> {}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
unsafe fn run_avx512(work: &Work, places: &Places) {
    // SAFETY: as the caller's.
    unsafe { rows_of::<Avx512>(work, places) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn run_avx2(work: &Work, places: &Places) {
    // SAFETY: as the caller's.
    unsafe { rows_of::<Avx2>(work, places) }
}

#[inline(always)]
unsafe fn rows_of<S: Simd>(work: &Work, places: &Places) {
    let Work { packed: w, input, limits, output } = *work;
    let [oh, ow] = places.output;
    for y in 0..oh {
        for first in (0..w.channels).step_by(S::W) {
            let mut x = 0;
            while x < ow {
                let n = TOGETHER.min(ow - x);
                let start =
                    places.start + y * places.stride[0] * places.row + x * places.stride[1] * w.channels + first;
                let out = places.out + y * places.out_row + x * places.out_pixel + first;
                // SAFETY: as the caller's; `n` positions are left in this row.
                unsafe { dispatch::<S>(w, places, input.add(start), first, n, limits, output.add(out)) };
                x += n;
            }
        }
    }
}

#[inline(always)]
unsafe fn dispatch<S: Simd>(
    w: &Packed,
    places: &Places,
    input: *const f32,
    first: usize,
    n: usize,
    limits: [f32; 2],
    output: *mut f32,
) {
    let lanes = S::W.min(w.channels - first);
    macro_rules! positions {
        ($($n:literal)*) => {
            match (n, lanes == S::W) {
                // SAFETY: as the caller's.
                $(($n, true) => unsafe { kernel::<S, $n, true>(w, places, input, first, lanes, limits, output) },
                  ($n, false) => unsafe { kernel::<S, $n, false>(w, places, input, first, lanes, limits, output) },)*
                _ => {}
            }
        };
    }
    positions!(1 2 3 4 5 6 7 8);
}

/// `N` positions of one row, one vector of channels; `FULL` when all its lanes are channels.
#[inline(always)]
#[allow(clippy::needless_range_loop)]
unsafe fn kernel<S: Simd, const N: usize, const FULL: bool>(
    w: &Packed,
    places: &Places,
    input: *const f32,
    first: usize,
    lanes: usize,
    limits: [f32; 2],
    output: *mut f32,
) {
    let (c, step) = (w.channels, places.stride[1] * w.channels);
    // SAFETY: the caller answers for every address: `lanes` channels at each tap of `N` windows and at each weight.
    unsafe {
        let mut sums = [load::<S, FULL>(w.bias.as_ptr().add(first), lanes); N];
        let mut weight = w.values.as_ptr().add(first);
        for ky in 0..w.kernel[0] {
            let mut line = input.add(ky * places.row);
            for _ in 0..w.kernel[1] {
                let tap = load::<S, FULL>(weight, lanes);
                for i in 0..N {
                    sums[i] = S::mul_add(load::<S, FULL>(line.add(i * step), lanes), tap, sums[i]);
                }
                line = line.add(c);
                weight = weight.wrapping_add(c);
            }
        }
        let (low, high) = (S::splat(limits[0]), S::splat(limits[1]));
        for i in 0..N {
            S::store_part(output.add(i * places.out_pixel), lanes, S::min(high, S::max(low, sums[i])));
        }
    }
}

#[inline(always)]
unsafe fn load<S: Simd, const FULL: bool>(from: *const f32, lanes: usize) -> S::V {
    // SAFETY: as the caller's.
    unsafe { if FULL { S::load(from) } else { S::load_part(from, lanes) } }
}
