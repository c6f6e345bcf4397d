//! The matrix product of [`matmul`](super::super::matmul) over bf16: the same tiles of positions × filters, but two values of a window at a time.
//!
//! A row of a window with an odd number of values ends with one by itself: it is read alone, so that nothing outside the window is.

#[cfg(target_arch = "x86_64")]
use super::lanes::Native;
use super::lanes::{Pairs, V, Widened};
use super::{Unit, bf16, rounded};
use crate::Activation;
use crate::limits;
use crate::matmul::{Places, block};
use crate::share::{self, Part};
#[cfg(target_arch = "aarch64")]
use crate::simd::Neon;
#[cfg(target_arch = "x86_64")]
use crate::simd::{Avx2, Avx512};
use crate::simd::{Isa, Portable, Simd};

/// Weights in the order in which the kernel reads them: panels of two vectors of filters; in a panel, for each kernel row and pair of values, a
/// pair of weights for each of its filters, zeros behind the last.
#[derive(Clone, Debug)]
pub struct Packed {
    unit: Unit,
    filters: usize,
    /// Kernel rows, and values in each.
    rows: usize,
    depth: usize,
    values: Vec<u32>,
    /// A bias a filter, zeros behind the last.
    bias: Vec<f32>,
}

impl Packed {
    /// Rounds and packs weights `(filters, rows, depth)`, row-major.
    ///
    /// Panics when there are not as many.
    pub fn new(unit: Unit, weight: &[f32], bias: &[f32], rows: usize, depth: usize) -> Self {
        assert!(
            rows > 0 && depth > 0 && weight.len() == bias.len() * rows * depth,
            "weights are (filters, rows, depth)"
        );
        let (filters, panel, pairs) = (bias.len(), 2 * unit.lanes(), depth.div_ceil(2));
        let padded = filters.next_multiple_of(panel);
        let mut values = vec![0; padded * rows * pairs];
        for (f, filter) in weight.chunks_exact(rows * depth).enumerate() {
            let target = &mut values[f / panel * panel * rows * pairs..];
            for (i, pair) in filter.chunks_exact(depth).flat_map(|row| row.chunks(2)).enumerate() {
                let bits = |w: &f32| u32::from(rounded(*w).to_bits());
                target[i * panel + f % panel] = bits(&pair[0]) | pair.get(1).map_or(0, bits) << 16;
            }
        }
        let mut padded_bias = bias.to_vec();
        padded_bias.resize(padded, 0.0);
        Self { unit, filters, rows, depth, values, bias: padded_bias }
    }

    /// `output[outs[p] + f] = activation(bias[f] + Σ weight[f, y, i] · input[starts[p] + y · row + i] + added[adds[p] + f])`, rounded to bf16,
    /// computed by `threads` of the pool that this is called on. What is added may lie at the output; then `added` is not read.
    ///
    /// Panics when a place lies outside its slice, or when several threads would write one output.
    pub fn run(
        &self,
        threads: usize,
        places: &Places,
        input: &[bf16],
        added: &[bf16],
        activation: Option<Activation>,
        output: &mut [bf16],
    ) {
        let span = (self.rows - 1) * places.row + self.depth;
        places.check(threads, self.filters, span, [input.len(), added.len(), output.len()]);
        let (input, output) = (input.as_ptr(), output.as_mut_ptr());
        let (adds, added) = places.adds.read(added, places.outs, output);
        let work = Work { packed: self, places, input, adds, added, output, limits: limits(activation) };
        let tile = [self.unit.isa().rows(), 2 * self.unit.lanes()];
        share::share(threads, |i| {
            // all of it: a closure takes what it names by field
            let work = &work;
            let part = Part::of(i, threads, [places.outs.len(), self.filters], tile);
            // SAFETY: the instruction set was detected; every window, output and addend lies within its slice, as asserted; the output is
            // borrowed alone, and no two parts write one value of it.
            unsafe {
                match self.unit {
                    #[cfg(target_arch = "x86_64")]
                    Unit::Tiles | Unit::Native => run_native(work, part),
                    #[cfg(target_arch = "x86_64")]
                    Unit::Widened(Isa::Avx512) => run_avx512(work, part),
                    #[cfg(target_arch = "x86_64")]
                    Unit::Widened(Isa::Avx2) => run_avx2(work, part),
                    #[cfg(target_arch = "aarch64")]
                    Unit::Widened(Isa::Neon) => blocks::<Widened<Neon>>(work, part),
                    Unit::Widened(Isa::Portable) => blocks::<Widened<Portable>>(work, part),
                }
            }
        });
    }
}

/// What a run works on.
struct Work<'a> {
    packed: &'a Packed,
    places: &'a Places<'a>,
    input: *const bf16,
    /// Where the values to add lie, of `added`, which may be the output.
    adds: Option<&'a [u32]>,
    added: *const bf16,
    output: *mut bf16,
    limits: [f32; 2],
}

// SAFETY: what is only read nobody writes; what is written, and what is added where it lies, is divided among the threads, see `run`.
unsafe impl Sync for Work<'_> {}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
unsafe fn run_native(work: &Work, part: Part) {
    // SAFETY: as the caller's.
    unsafe { blocks::<Native>(work, part) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
unsafe fn run_avx512(work: &Work, part: Part) {
    // SAFETY: as the caller's.
    unsafe { blocks::<Widened<Avx512>>(work, part) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn run_avx2(work: &Work, part: Part) {
    // SAFETY: as the caller's.
    unsafe { blocks::<Widened<Avx2>>(work, part) }
}

/// Block after block of positions; in a block panel after panel of filters, whose weights stay in the cache; in a panel tile after tile.
#[inline(always)]
unsafe fn blocks<D: Pairs>(work: &Work, part: Part) {
    let Part { positions, filters } = part;
    let mut begin = positions.start;
    while begin < positions.end {
        let end = begin + block(&work.places.starts[begin..positions.end], D::S::ROWS, size_of::<bf16>());
        for first in filters.clone().step_by(2 * D::S::W) {
            let mut at = begin;
            while at < end {
                let n = D::S::ROWS.min(end - at);
                // SAFETY: as the caller's; `n` positions from `at` on are there, and at most `ROWS`.
                unsafe { dispatch::<D>(work, first, at, n) };
                at += n;
            }
        }
        begin = end;
    }
}

/// The kernel for `n` positions, one or two vectors of filters.
#[inline(always)]
unsafe fn dispatch<D: Pairs>(work: &Work, first: usize, at: usize, n: usize) {
    let two = work.packed.filters - first > D::S::W;
    macro_rules! rows {
        ($($n:literal)*) => {
            match (n, two) {
                // SAFETY: as the caller's.
                $(($n, true) => unsafe { kernel::<D, $n, 2>(work, first, at) },
                  ($n, false) => unsafe { kernel::<D, $n, 1>(work, first, at) },)*
                _ => {}
            }
        };
    }
    rows!(1 2 3 4 5 6 7 8 9 10 11 12 13 14);
}

/// `M` positions from `at` on × `N` vectors of filters from `first` on, all sums in registers. Plain loops, as in
/// [`matmul`](super::super::matmul).
#[inline(always)]
#[allow(clippy::needless_range_loop)]
unsafe fn kernel<D: Pairs, const M: usize, const N: usize>(work: &Work, first: usize, at: usize) {
    let packed = work.packed;
    let (places, pairs, lanes) = (work.places, packed.depth.div_ceil(2), D::S::W);
    // SAFETY: the caller answers for every address below: windows, weights (packed with zeros behind the last filter), outputs.
    unsafe {
        let mut sums = [[D::S::splat(0.0); N]; M];
        for i in 0..M {
            for j in 0..N {
                sums[i][j] = D::S::load(packed.bias.as_ptr().add(first + j * lanes));
                let out = work.output.wrapping_add(*places.outs.get_unchecked(at + i) as usize + first + j * lanes);
                D::S::prefetch(out.cast());
                if let Some(adds) = work.adds {
                    let added = work.added.wrapping_add(*adds.get_unchecked(at + i) as usize + first + j * lanes);
                    D::S::prefetch(added.cast());
                }
            }
        }
        let mut weight = packed.values.as_ptr().add(first * packed.rows * pairs);
        let mut from = [work.input; M];
        for i in 0..M {
            from[i] = work.input.add(*places.starts.get_unchecked(at + i) as usize);
        }
        for _ in 0..packed.rows {
            for k in 0..packed.depth / 2 {
                let mut w = [D::load(weight); N];
                for j in 1..N {
                    w[j] = D::load(weight.add(j * lanes));
                }
                for i in 0..M {
                    let x = D::splat(from[i].add(2 * k).cast::<u32>().read_unaligned());
                    for j in 0..N {
                        sums[i][j] = D::dot(sums[i][j], x, w[j]);
                    }
                }
                weight = weight.add(2 * lanes);
            }
            if packed.depth % 2 == 1 {
                for i in 0..M {
                    let x = D::splat(u32::from((*from[i].add(packed.depth - 1)).to_bits()));
                    for j in 0..N {
                        sums[i][j] = D::dot(sums[i][j], x, D::load(weight.add(j * lanes)));
                    }
                }
                weight = weight.add(2 * lanes);
            }
            for i in 0..M {
                from[i] = from[i].wrapping_add(places.row);
            }
        }
        finish::<D, M, N>(work, first, at, &sums);
    }
}

/// Addend, activation, rounding.
#[inline(always)]
#[allow(clippy::needless_range_loop)]
unsafe fn finish<D: Pairs, const M: usize, const N: usize>(
    work: &Work,
    first: usize,
    at: usize,
    sums: &[[V<D>; N]; M],
) {
    let places = work.places;
    // SAFETY: as the caller's.
    unsafe {
        // a copy: the sums themselves must never need an address
        let mut done = [[D::S::splat(0.0); N]; M];
        for i in 0..M {
            for j in 0..N {
                done[i][j] = sums[i][j];
            }
        }
        let (low, high) = (D::S::splat(work.limits[0]), D::S::splat(work.limits[1]));
        for i in 0..M {
            for j in 0..N {
                let filter = first + j * D::S::W;
                let lanes = D::S::W.min(work.packed.filters - filter);
                let mut sum = done[i][j];
                if let Some(adds) = work.adds {
                    let added = work.added.add(*adds.get_unchecked(at + i) as usize + filter);
                    sum = D::S::add(sum, D::widen(added, lanes));
                }
                let out = work.output.add(*places.outs.get_unchecked(at + i) as usize + filter);
                // in this order a NaN stays one
                D::narrow(out, lanes, D::S::min(high, D::S::max(low, sum)));
            }
        }
    }
}
