//! Depthwise convolution, channels last: a vector of channels of several output positions stays in registers while the window runs over them;
//! then the next vector of the same positions, so that memory is read in order. A window of 3 × 3 keeps its weights in registers, too, and
//! reads each input once for all the outputs that it belongs to. The order of a sum is that of the window, however many are computed together.

#[cfg(target_arch = "x86_64")]
use super::bf16::lanes::Native;
use super::bf16::lanes::Widened;
use super::bf16::{Unit, bf16};
use super::elements::{Elements, Floats};
use super::share;
#[cfg(target_arch = "aarch64")]
use super::simd::Neon;
#[cfg(target_arch = "x86_64")]
use super::simd::{Avx2, Avx512};
use super::simd::{Isa, Portable, Simd};
use crate::Activation;

/// Output positions of a row computed together.
const TOGETHER: usize = 4;

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
        self.share(threads, places, input, activation, output, |work, places| {
            // SAFETY: the instruction set was detected; the work is as `share` checks and divides it.
            unsafe {
                match self.isa {
                    #[cfg(target_arch = "x86_64")]
                    Isa::Avx512 => run_avx512::<Floats<Avx512>>(work, places),
                    #[cfg(target_arch = "x86_64")]
                    Isa::Avx2 => run_avx2::<Floats<Avx2>>(work, places),
                    #[cfg(target_arch = "aarch64")]
                    Isa::Neon => rows_of::<Floats<Neon>>(work, places),
                    Isa::Portable => rows_of::<Floats<Portable>>(work, places),
                }
            }
        });
    }

    /// The same over bf16, in the vectors of `unit`: computed in f32 and rounded.
    pub fn run_bf16(
        &self,
        unit: Unit,
        threads: usize,
        places: &Places,
        input: &[bf16],
        activation: Option<Activation>,
        output: &mut [bf16],
    ) {
        self.share(threads, places, input, activation, output, |work, places| {
            // SAFETY: as above.
            unsafe {
                match unit {
                    #[cfg(target_arch = "x86_64")]
                    Unit::Tiles | Unit::Native => run_native(work, places),
                    #[cfg(target_arch = "x86_64")]
                    Unit::Widened(Isa::Avx512) => run_avx512::<Widened<Avx512>>(work, places),
                    #[cfg(target_arch = "x86_64")]
                    Unit::Widened(Isa::Avx2) => run_avx2::<Widened<Avx2>>(work, places),
                    #[cfg(target_arch = "aarch64")]
                    Unit::Widened(Isa::Neon) => rows_of::<Widened<Neon>>(work, places),
                    Unit::Widened(Isa::Portable) => rows_of::<Widened<Portable>>(work, places),
                }
            }
        });
    }

    /// Checks every place and lets `run` compute the rows of each thread.
    fn share<E: Copy + Sync>(
        &self,
        threads: usize,
        places: &Places,
        input: &[E],
        activation: Option<Activation>,
        output: &mut [E],
        run: impl Fn(&Work<E>, &Places) + Sync,
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
            // every window and output lies within its slice, as asserted; the output is borrowed alone, and every thread writes other rows of it
            run(work, &Places { start, out, output: [rows.len(), ow], ..*places });
        });
    }
}

/// What a run works on.
struct Work<'a, E> {
    packed: &'a Packed,
    input: *const E,
    limits: [f32; 2],
    output: *mut E,
}

// SAFETY: the input is only read; what is written is divided among the threads, see `run`.
unsafe impl<E: Sync> Sync for Work<'_, E> {}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
unsafe fn run_avx512<M: Elements>(work: &Work<M::E>, places: &Places) {
    // SAFETY: as the caller's.
    unsafe { rows_of::<M>(work, places) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
unsafe fn run_native(work: &Work<bf16>, places: &Places) {
    // SAFETY: as the caller's.
    unsafe { rows_of::<Native>(work, places) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn run_avx2<M: Elements>(work: &Work<M::E>, places: &Places) {
    // SAFETY: as the caller's.
    unsafe { rows_of::<M>(work, places) }
}

#[inline(always)]
unsafe fn rows_of<M: Elements>(work: &Work<M::E>, places: &Places) {
    // SAFETY: as the caller's.
    unsafe {
        match (work.packed.kernel, places.stride) {
            // with sixteen registers two rows would not stay in them
            ([3, 3], [1, 1]) if M::S::W == 16 => blocks::<M, 2>(work, places, Block3::<1>),
            ([3, 3], [1, 1]) => blocks::<M, 1>(work, places, Block3::<1>),
            ([3, 3], [2, 2]) => blocks::<M, 1>(work, places, Block3::<2>),
            ([5, 5], [1, 1]) => blocks::<M, 1>(work, places, Block5::<1>),
            ([5, 5], [2, 2]) => blocks::<M, 1>(work, places, Block5::<2>),
            _ => blocks::<M, 1>(work, places, AnyBlock),
        }
    }
}

/// The positions of a block, one vector of channels.
struct Spot<'a, E> {
    packed: &'a Packed,
    places: &'a Places,
    /// The first window and the first output, and the channel that both begin with.
    input: *const E,
    output: *mut E,
    first: usize,
    limits: [f32; 2],
}

/// A way to compute `R` × `N` positions.
trait Block: Copy {
    /// `FULL` when all `lanes` of a vector are channels.
    ///
    /// # Safety
    /// The CPU has the instruction set; every window and output of the block is there.
    unsafe fn run<M: Elements, const R: usize, const N: usize, const FULL: bool>(spot: &Spot<M::E>, lanes: usize);
}

/// Block after block of `R` rows and a few columns, each through all channels.
#[inline(always)]
unsafe fn blocks<M: Elements, const R: usize>(work: &Work<M::E>, places: &Places, block: impl Block) {
    let Work { packed, input, limits, output } = *work;
    let [oh, ow] = places.output;
    let mut y = 0;
    while y < oh {
        let rows = if oh - y < R { 1 } else { R };
        let mut x = 0;
        while x < ow {
            let n = TOGETHER.min(ow - x);
            let start = places.start + y * places.stride[0] * places.row + x * places.stride[1] * packed.channels;
            let out = places.out + y * places.out_row + x * places.out_pixel;
            // SAFETY: as the caller's; `rows` rows are left, and `n` positions in each.
            unsafe {
                let spot = Spot { packed, places, input: input.add(start), output: output.add(out), first: 0, limits };
                match (rows, n) {
                    (1, 1) => channels::<M, 1, 1>(spot, block),
                    (1, 2) => channels::<M, 1, 2>(spot, block),
                    (1, 3) => channels::<M, 1, 3>(spot, block),
                    (1, _) => channels::<M, 1, 4>(spot, block),
                    (_, 1) => channels::<M, R, 1>(spot, block),
                    (_, 2) => channels::<M, R, 2>(spot, block),
                    (_, 3) => channels::<M, R, 3>(spot, block),
                    _ => channels::<M, R, 4>(spot, block),
                }
            }
            x += n;
        }
        y += rows;
    }
}

#[inline(always)]
unsafe fn channels<M: Elements, const R: usize, const N: usize>(spot: Spot<M::E>, block: impl Block) {
    /// Only names the type.
    #[inline(always)]
    unsafe fn run<B: Block, M: Elements, const R: usize, const N: usize, const FULL: bool>(
        _: B,
        spot: &Spot<M::E>,
        lanes: usize,
    ) {
        // SAFETY: as the caller's.
        unsafe { B::run::<M, R, N, FULL>(spot, lanes) }
    }
    let (all, mut spot) = (spot.packed.channels, spot);
    // SAFETY: as the caller's.
    unsafe {
        while spot.first + M::S::W <= all {
            run::<_, M, R, N, true>(block, &spot, M::S::W);
            spot.first += M::S::W;
            (spot.input, spot.output) = (spot.input.add(M::S::W), spot.output.add(M::S::W));
        }
        if spot.first < all {
            run::<_, M, R, N, false>(block, &spot, all - spot.first);
        }
    }
}

/// Windows of 3 × 3 with a stride of `STRIDE` both ways.
#[derive(Clone, Copy)]
struct Block3<const STRIDE: usize>;

impl<const STRIDE: usize> Block for Block3<STRIDE> {
    #[inline(always)]
    #[allow(clippy::needless_range_loop)]
    unsafe fn run<M: Elements, const R: usize, const N: usize, const FULL: bool>(spot: &Spot<M::E>, lanes: usize) {
        let Spot { packed, places, .. } = *spot;
        // SAFETY: the caller answers for every address: `lanes` channels at each input of the windows and at each weight.
        unsafe {
            let mut sums = [[load::<M::S, FULL>(packed.bias.as_ptr().add(spot.first), lanes); N]; R];
            let mut taps = [[sums[0][0]; 3]; 3];
            for ky in 0..3 {
                for kx in 0..3 {
                    let tap = packed.values.as_ptr().add((ky * 3 + kx) * packed.channels + spot.first);
                    taps[ky][kx] = load::<M::S, FULL>(tap, lanes);
                }
            }
            // inputs in the order of the window, so that each sum is in that order
            for y in 0..(R - 1) * STRIDE + 3 {
                for x in 0..(N - 1) * STRIDE + 3 {
                    let v = value::<M, FULL>(spot.input.add(y * places.row + x * packed.channels), lanes);
                    for r in 0..R {
                        for i in 0..N {
                            let (ky, kx) = (y.wrapping_sub(r * STRIDE), x.wrapping_sub(i * STRIDE));
                            if ky < 3 && kx < 3 {
                                sums[r][i] = M::S::mul_add(v, taps[ky][kx], sums[r][i]);
                            }
                        }
                    }
                }
            }
            finish::<M, R, N>(spot, lanes, sums);
        }
    }
}

/// Windows of 5 × 5 with a stride of `STRIDE` both ways; the registers hold one row of their weights.
#[derive(Clone, Copy)]
struct Block5<const STRIDE: usize>;

impl<const STRIDE: usize> Block for Block5<STRIDE> {
    #[inline(always)]
    #[allow(clippy::needless_range_loop)]
    unsafe fn run<M: Elements, const R: usize, const N: usize, const FULL: bool>(spot: &Spot<M::E>, lanes: usize) {
        let Spot { packed, places, .. } = *spot;
        // SAFETY: the caller answers for every address: `lanes` channels at each input of the windows and at each weight.
        unsafe {
            let mut sums = [[load::<M::S, FULL>(packed.bias.as_ptr().add(spot.first), lanes); N]; R];
            for ky in 0..5 {
                let mut taps = [sums[0][0]; 5];
                for kx in 0..5 {
                    let tap = packed.values.as_ptr().add((ky * 5 + kx) * packed.channels + spot.first);
                    taps[kx] = load::<M::S, FULL>(tap, lanes);
                }
                for r in 0..R {
                    let line = spot.input.add((r * STRIDE + ky) * places.row);
                    for x in 0..(N - 1) * STRIDE + 5 {
                        let v = value::<M, FULL>(line.add(x * packed.channels), lanes);
                        for i in 0..N {
                            let kx = x.wrapping_sub(i * STRIDE);
                            if kx < 5 {
                                sums[r][i] = M::S::mul_add(v, taps[kx], sums[r][i]);
                            }
                        }
                    }
                }
            }
            finish::<M, R, N>(spot, lanes, sums);
        }
    }
}

/// Windows of any size and stride.
#[derive(Clone, Copy)]
struct AnyBlock;

impl Block for AnyBlock {
    #[inline(always)]
    #[allow(clippy::needless_range_loop)]
    unsafe fn run<M: Elements, const R: usize, const N: usize, const FULL: bool>(spot: &Spot<M::E>, lanes: usize) {
        let Spot { packed, places, .. } = *spot;
        let (c, [down, across]) = (packed.channels, places.stride);
        // SAFETY: the caller answers for every address: `lanes` channels at each input of the windows and at each weight.
        unsafe {
            let mut sums = [[load::<M::S, FULL>(packed.bias.as_ptr().add(spot.first), lanes); N]; R];
            let mut weight = packed.values.as_ptr().add(spot.first);
            for ky in 0..packed.kernel[0] {
                for kx in 0..packed.kernel[1] {
                    let tap = load::<M::S, FULL>(weight, lanes);
                    for r in 0..R {
                        let line = spot.input.add((r * down + ky) * places.row + kx * c);
                        for i in 0..N {
                            sums[r][i] =
                                M::S::mul_add(value::<M, FULL>(line.add(i * across * c), lanes), tap, sums[r][i]);
                        }
                    }
                    weight = weight.wrapping_add(c);
                }
            }
            finish::<M, R, N>(spot, lanes, sums);
        }
    }
}

/// Writes the sums of a block.
#[inline(always)]
#[allow(clippy::needless_range_loop)]
unsafe fn finish<M: Elements, const R: usize, const N: usize>(
    spot: &Spot<M::E>,
    lanes: usize,
    sums: [[<M::S as Simd>::V; N]; R],
) {
    // SAFETY: the caller answers for every output.
    unsafe {
        let (low, high) = (M::S::splat(spot.limits[0]), M::S::splat(spot.limits[1]));
        for r in 0..R {
            for i in 0..N {
                let to = spot.output.add(r * spot.places.out_row + i * spot.places.out_pixel);
                M::store_part(to, lanes, M::S::min(high, M::S::max(low, sums[r][i])));
            }
        }
    }
}

#[inline(always)]
unsafe fn load<S: Simd, const FULL: bool>(from: *const f32, lanes: usize) -> S::V {
    // SAFETY: as the caller's.
    unsafe { if FULL { S::load(from) } else { S::load_part(from, lanes) } }
}

/// The same of a map.
#[inline(always)]
unsafe fn value<M: Elements, const FULL: bool>(from: *const M::E, lanes: usize) -> <M::S as Simd>::V {
    // SAFETY: as the caller's.
    unsafe { if FULL { M::load(from) } else { M::load_part(from, lanes) } }
}
