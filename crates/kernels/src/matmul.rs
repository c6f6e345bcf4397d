//! Convolutions as a matrix product without copying patches: maps are channels last, weights are packed once, a tile of output positions ×
//! filters stays in registers while the window runs over the input.
//!
//! For each output position the values that one row of the kernel sees lie side by side in memory, kernel width × channels of them; the rows
//! of the kernel are a row of the padded map apart. So position p, kernel row y, value i is read at `start(p) + y · row + i`, and the whole
//! convolution is Σ over (y, i) of a broadcast input times a vector of packed weights. A 1 × 1 convolution and a dense layer are the same
//! with a kernel of one row. The sum of a position runs in one fixed order, whatever its neighbours: its bits depend on nothing else.

use super::added::Added;
use super::aligned::Aligned;
use super::share::{self, Part};
#[cfg(target_arch = "aarch64")]
use super::simd::Neon;
#[cfg(target_arch = "x86_64")]
use super::simd::{Avx2, Avx512};
use super::simd::{Isa, PREFETCH_EVERY, Portable, Simd, prefetch};
use crate::Activation;

/// Weights in the order in which the kernel reads them: panels of two vectors of filters; in a panel, for each kernel row and value, one
/// weight for each of its filters, zeros behind the last.
#[derive(Clone, Debug)]
pub struct Packed {
    isa: Isa,
    filters: usize,
    /// Kernel rows, and values in each.
    rows: usize,
    depth: usize,
    values: Aligned,
    /// A bias a filter, zeros behind the last.
    bias: Vec<f32>,
}

/// Where a product reads and writes, in elements.
#[derive(Clone, Copy, Debug)]
pub struct Places<'a> {
    /// For each output position where its window begins in the input.
    pub starts: &'a [u32],
    /// From one kernel row to the next in the input.
    pub row: usize,
    /// For each output position where its filters begin in the output.
    pub outs: &'a [u32],
    /// For each output position where the values to add begin.
    pub adds: Added<&'a [u32]>,
}

impl Packed {
    /// Packs weights `(filters, rows, depth)`, row-major, for the vectors of `isa`.
    pub fn new(isa: Isa, weight: &[f32], bias: &[f32], rows: usize, depth: usize) -> Self {
        let (filters, panel) = (bias.len(), 2 * isa.lanes());
        let panels = filters.div_ceil(panel);
        let mut values = Aligned::zeros(panels * panel * rows * depth);
        for (f, filter) in weight.chunks_exact(rows * depth).enumerate() {
            let target = &mut values[f / panel * panel * rows * depth..];
            filter.iter().enumerate().for_each(|(i, &w)| target[i * panel + f % panel] = w);
        }
        let mut padded = bias.to_vec();
        padded.resize(panels * panel, 0.0);
        Self { isa, filters, rows, depth, values, bias: padded }
    }

    /// Number of filters.
    pub fn filters(&self) -> usize {
        self.filters
    }

    /// `output[outs[p] + f] = activation(bias[f] + Σ weight[f, y, i] · input[starts[p] + y · row + i] + added[adds[p] + f])`, computed by
    /// `threads` of the pool that this is called on. What is added may lie at the output, see [`Added::Onto`]; then `added` is not read.
    ///
    /// Panics when a place lies outside its slice, or when several threads would write one output.
    pub fn run(
        &self,
        threads: usize,
        places: &Places,
        input: &[f32],
        added: &[f32],
        activation: Option<Activation>,
        output: &mut [f32],
    ) {
        let span = (self.rows - 1) * places.row + self.depth;
        places.check(threads, self.filters, span, [input.len(), added.len(), output.len()]);
        let (input, output) = (input.as_ptr(), output.as_mut_ptr());
        let (adds, added) = places.adds.read(added, places.outs, output);
        let work = Work { packed: self, places, input, adds, added, output, limits: super::limits(activation) };
        let tile = [self.isa.rows(), 2 * self.isa.lanes()];
        share::share(threads, |i| {
            // all of it: a closure takes what it names by field
            let work = &work;
            let part = Part::of(i, threads, [places.outs.len(), self.filters], tile);
            // SAFETY: the instruction set was detected; every window, output and addend lies within its slice, as asserted; the output is
            // borrowed alone, and no two parts write one value of it.
            unsafe {
                match self.isa {
                    #[cfg(target_arch = "x86_64")]
                    Isa::Avx512 => run_avx512(work, part),
                    #[cfg(target_arch = "x86_64")]
                    Isa::Avx2 => run_avx2(work, part),
                    #[cfg(target_arch = "aarch64")]
                    Isa::Neon => blocks::<Neon>(work, part),
                    Isa::Portable => blocks::<Portable>(work, part),
                }
            }
        });
    }
}

impl Places<'_> {
    /// Panics when a place lies outside its slice: windows of `span` values in the input, `filters` values at each output and addend; and when
    /// `threads` would write one output.
    pub(super) fn check(&self, threads: usize, filters: usize, span: usize, [input, added, output]: [usize; 3]) {
        let within = |all: &[u32], span: usize, len: usize| all.iter().all(|&at| at as usize + span <= len);
        assert!(within(self.starts, span, input), "a window lies outside the input");
        assert!(within(self.outs, filters, output), "a position lies outside the output");
        assert!(self.outs.len() == self.starts.len(), "as many outputs as windows");
        if let Added::At(adds) = self.adds {
            assert!(adds.len() == self.outs.len() && within(adds, filters, added), "nothing to add");
        }
        if threads > 1 {
            share::assert_apart(self.outs, filters);
        }
    }
}

/// What a run works on.
struct Work<'a> {
    packed: &'a Packed,
    places: &'a Places<'a>,
    input: *const f32,
    /// Where the values to add lie, of `added`, which may be the output.
    adds: Option<&'a [u32]>,
    added: *const f32,
    output: *mut f32,
    limits: [f32; 2],
}

// SAFETY: what is only read nobody writes; what is written, and what is added where it lies, is divided among the threads, see `run`.
unsafe impl Sync for Work<'_> {}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
unsafe fn run_avx512(work: &Work, part: Part) {
    // SAFETY: as the caller's.
    unsafe { blocks::<Avx512>(work, part) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn run_avx2(work: &Work, part: Part) {
    // SAFETY: as the caller's.
    unsafe { blocks::<Avx2>(work, part) }
}

/// Positions in the block that begins with `starts`, of values of `size` bytes: whole tiles of `rows`, as many as see an input that stays in the
/// second cache, but enough of them to use each weight a few times.
pub(super) fn block(starts: &[u32], rows: usize, size: usize) -> usize {
    const ENOUGH: usize = 4;
    let most = ((512 << 10) / size) as u32;
    let near = |tile: &usize| starts[rows * tile].abs_diff(starts[0]) <= most;
    let tiles = (1..starts.len().div_ceil(rows)).take_while(|tile| *tile < ENOUGH || near(tile)).count() + 1;
    starts.len().min(tiles * rows)
}

/// Block after block of positions; in a block panel after panel of filters, whose weights stay in the cache; in a panel tile after tile.
#[inline(always)]
unsafe fn blocks<S: Simd>(work: &Work, part: Part) {
    let Work { packed, places, input, adds, added, output, limits } = *work;
    let Part { positions, filters } = part;
    let mut begin = positions.start;
    while begin < positions.end {
        let end = begin + block(&places.starts[begin..positions.end], S::ROWS, size_of::<f32>());
        for first in filters.clone().step_by(2 * S::W) {
            let tile = Tile {
                rows: packed.rows,
                depth: packed.depth,
                step: places.row,
                weight: packed.values[first * packed.rows * packed.depth..].as_ptr(),
                bias: packed.bias[first..].as_ptr(),
                filters: (2 * S::W).min(packed.filters - first),
                limits,
            };
            let mut at = begin;
            while at < end {
                let n = S::ROWS.min(end - at);
                let spot = Spot {
                    input,
                    starts: &places.starts[at..at + n],
                    output: output.wrapping_add(first),
                    outs: &places.outs[at..at + n],
                    added: added.wrapping_add(first),
                    adds: adds.map(|adds| &adds[at..at + n]),
                };
                // SAFETY: as the caller's; `n` is at most `ROWS`.
                unsafe { dispatch::<S>(&tile, &spot, n) };
                at += n;
            }
        }
        begin = end;
    }
}

/// The weights of a tile.
struct Tile {
    rows: usize,
    depth: usize,
    step: usize,
    weight: *const f32,
    bias: *const f32,
    filters: usize,
    limits: [f32; 2],
}

/// The positions of a tile.
struct Spot<'a> {
    input: *const f32,
    starts: &'a [u32],
    output: *mut f32,
    outs: &'a [u32],
    added: *const f32,
    adds: Option<&'a [u32]>,
}

/// The kernel for `n` positions and as many vectors of filters as there are: two, one and a half, or one.
#[inline(always)]
unsafe fn dispatch<S: Simd>(tile: &Tile, spot: &Spot, n: usize) {
    macro_rules! rows {
        ($($n:literal)*) => {
            match (n, width::<S>(tile.filters)) {
                // SAFETY: as the caller's; `n` positions are there.
                $(($n, 4) => unsafe { kernel::<S, $n, 2, 0>(tile, spot) },
                  ($n, 3) if S::HALVES => unsafe { kernel::<S, $n, 1, 1>(tile, spot) },
                  ($n, 2) => unsafe { kernel::<S, $n, 1, 0>(tile, spot) },)*
                _ => {}
            }
        };
    }
    rows!(1 2 3 4 5 6 7 8 9 10 11 12 13 14);
}

/// Halves of a vector that `filters` take, of up to two vectors. A half alone gains nothing: its inputs take as long to load.
#[inline(always)]
fn width<S: Simd>(filters: usize) -> usize {
    if S::HALVES && filters > S::W { filters.div_ceil(S::W / 2) } else { 2 * filters.div_ceil(S::W) }
}

/// `M` positions × `N` vectors of filters and `H` halves behind them, all sums in registers.
///
/// Plain loops and no closures: those are functions of their own, without the vector features, and keep the sums from staying in registers.
#[inline(always)]
#[allow(clippy::needless_range_loop)]
unsafe fn kernel<S: Simd, const M: usize, const N: usize, const H: usize>(tile: &Tile, spot: &Spot) {
    // SAFETY: the caller answers for every address below: windows, weights (packed with zeros behind the last filter), outputs.
    unsafe {
        let mut sums = [[S::splat(0.0); N]; M];
        let mut halves = [[S::Half::splat(0.0); H]; M];
        for i in 0..M {
            for j in 0..N {
                sums[i][j] = S::load(tile.bias.add(j * S::W));
            }
            for j in 0..H {
                halves[i][j] = S::Half::load(tile.bias.add(N * S::W));
            }
        }
        let mut weight = tile.weight;
        let mut from = [spot.input; M];
        for i in 0..M {
            from[i] = spot.input.add(*spot.starts.get_unchecked(i) as usize);
        }
        // rows of results whose lines were asked for
        let mut asked = 0;
        for _ in 0..tile.rows {
            let mut k = if H == 0 { S::steps(tile.depth, &from, weight, &mut sums) } else { 0 };
            weight = weight.add(k * 2 * S::W);
            while k < tile.depth {
                let end = tile.depth.min(k + PREFETCH_EVERY);
                while k < end {
                    value::<S, M, N, H>(&from, k, weight, &mut sums, &mut halves);
                    weight = weight.add(2 * S::W);
                    k += 1;
                }
                if asked < M {
                    prefetch::<S, N, H>(spot.output.wrapping_add(*spot.outs.get_unchecked(asked) as usize));
                    if let Some(adds) = spot.adds {
                        prefetch::<S, N, H>(spot.added.wrapping_add(*adds.get_unchecked(asked) as usize));
                    }
                    asked += 1;
                }
            }
            for i in 0..M {
                from[i] = from[i].wrapping_add(tile.step);
            }
        }
        give::<S, M, N>(tile, spot, 0, &sums);
        give::<S::Half, M, H>(tile, spot, N * S::W, &halves);
    }
}

/// One value of the windows by its weights.
#[inline(always)]
#[allow(clippy::needless_range_loop)]
unsafe fn value<S: Simd, const M: usize, const N: usize, const H: usize>(
    from: &[*const f32; M],
    k: usize,
    weight: *const f32,
    sums: &mut [[S::V; N]; M],
    halves: &mut [[<S::Half as Simd>::V; H]; M],
) {
    // SAFETY: as of the kernel.
    unsafe {
        let (mut w, mut half) = ([S::splat(0.0); N], [S::Half::splat(0.0); H]);
        for j in 0..N {
            w[j] = S::load(weight.add(j * S::W));
        }
        for j in 0..H {
            half[j] = S::Half::load(weight.add(N * S::W));
        }
        for i in 0..M {
            let x = S::splat(*from[i].add(k));
            for j in 0..N {
                sums[i][j] = S::mul_add(x, w[j], sums[i][j]);
            }
            for j in 0..H {
                halves[i][j] = S::Half::mul_add(S::low(x), half[j], halves[i][j]);
            }
        }
    }
}

/// Adds what is to be added to the sums of filters from `first` on, and writes them.
#[inline(always)]
#[allow(clippy::needless_range_loop)]
unsafe fn give<S: Simd, const M: usize, const N: usize>(tile: &Tile, spot: &Spot, first: usize, sums: &[[S::V; N]; M]) {
    // SAFETY: as of the kernel.
    unsafe {
        // a copy for the loop below, which indexes at run time: the sums themselves must never need an address
        let mut done = [[S::splat(0.0); N]; M];
        for i in 0..M {
            for j in 0..N {
                done[i][j] = sums[i][j];
            }
        }
        let (low, high) = (S::splat(tile.limits[0]), S::splat(tile.limits[1]));
        for i in 0..M {
            for j in 0..N {
                let (sum, at) = (done[i][j], first + j * S::W);
                let lanes = S::W.min(tile.filters - at);
                let sum = match spot.adds {
                    Some(adds) => {
                        let from = spot.added.add(*adds.get_unchecked(i) as usize + at);
                        S::add(sum, S::load_part(from, lanes))
                    }
                    None => sum,
                };
                let out = spot.output.add(*spot.outs.get_unchecked(i) as usize + at);
                // in this order a NaN stays one
                S::store_part(out, lanes, S::min(high, S::max(low, sum)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Blocks of the positions of maps of `n` × `n`, `pixel` floats from one to the next.
    fn blocks(n: usize, pixel: u32) -> Vec<usize> {
        let starts: Vec<u32> = (0..(n * n) as u32).map(|i| i * pixel).collect();
        let mut left = starts.as_slice();
        let mut all = Vec::new();
        while !left.is_empty() {
            let n = block(left, 14, size_of::<f32>());
            all.push(n);
            left = &left[n..];
        }
        all
    }

    #[test]
    fn a_block_is_whole_tiles_that_stay_in_the_cache() {
        assert_eq!(blocks(1, 64), [1]);
        assert_eq!(blocks(7, 2048), [49]);
        // 512 KiB are 128 positions of 1024 channels: ten tiles begin there
        assert_eq!(blocks(14, 1024), [140, 56]);
        // four tiles at least
        assert_eq!(blocks(12, 8192), [56, 56, 32]);
    }
}
