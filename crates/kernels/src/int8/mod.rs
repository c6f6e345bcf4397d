//! Convolutions over maps of unsigned bytes with weights of signed bytes (post-training quantisation, as oneDNN's u8s8
//! and ONNX Runtime's QLinearConv).
//!
//! The sums are integers of 32 bits and exact, so their order does not matter. The epilogue multiplies them by the
//! scale of their filter, adds its bias and a scaled residual, and rounds to the nearest byte, ties to even: each a
//! single operation in f32, without fused multiply-adds. So every instruction set gives the same bits.
//!
//! | unit                       | instruction |
//! |----------------------------|-------------|
//! | [`Int8Isa::Amx`]           | `TDPBUSD` over tiles; layers without a matrix product as AVX512-VNNI |
//! | [`Int8Isa::Avx512Vnni`]    | `VPDPBUSD` over 512 bits |
//! | [`Int8Isa::AvxVnni`]       | `VPDPBUSD` over 256 bits |
//! | [`Int8Isa::Avx2`]          | `VPMADDWD` over widened values; `VPMADDUBSW` would saturate |
//! | `Int8Isa::NeonDot`         | `SDOT`, inputs less 128 |
//! | `Int8Isa::Neon`            | `SMULL` and pairwise sums, inputs less 128 |
//! | [`Int8Isa::Portable`]      | plain Rust |

mod depthwise;
mod gemm;
#[cfg(target_arch = "aarch64")]
mod neon;
pub(crate) mod simd;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod x86;

pub use self::depthwise::Int8Depthwise;
pub use self::gemm::Int8Conv;

use self::simd::{Int8Kernel, Int8Simd, PortableBytes};
#[cfg(target_arch = "x86_64")]
use self::x86::{Avx2Bytes, Avx512VnniBytes, AvxVnniBytes};
use super::simd::{Isa, Portable, Simd};
#[cfg(target_arch = "x86_64")]
use crate::amx;
use crate::{Activation, clamp_bounds};

/// The instructions that multiply bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Int8Isa {
    /// AMX, and AVX512-VNNI.
    #[cfg(target_arch = "x86_64")]
    Amx,
    /// AVX512-VNNI.
    #[cfg(target_arch = "x86_64")]
    Avx512Vnni,
    /// AVX-VNNI.
    #[cfg(target_arch = "x86_64")]
    AvxVnni,
    /// AVX2, which widens bytes to 16 bits first.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// NEON with dot products.
    #[cfg(target_arch = "aarch64")]
    NeonDot,
    /// NEON.
    #[cfg(target_arch = "aarch64")]
    Neon,
    /// Plain Rust.
    Portable,
}

impl Int8Isa {
    /// Returns all instructions of this CPU that multiply bytes, the best first.
    pub fn available() -> Vec<Self> {
        let all = [
            #[cfg(target_arch = "x86_64")]
            Int8Isa::Amx,
            #[cfg(target_arch = "x86_64")]
            Int8Isa::Avx512Vnni,
            #[cfg(target_arch = "x86_64")]
            Int8Isa::AvxVnni,
            #[cfg(target_arch = "x86_64")]
            Int8Isa::Avx2,
            #[cfg(target_arch = "aarch64")]
            Int8Isa::NeonDot,
            #[cfg(target_arch = "aarch64")]
            Int8Isa::Neon,
            Int8Isa::Portable,
        ];
        all.into_iter().filter(|isa| isa.is_available()).collect()
    }

    /// Returns the best instructions of this CPU.
    pub fn detect() -> Self {
        Self::available().first().copied().unwrap_or(Int8Isa::Portable)
    }

    /// Whether one instruction multiplies bytes and adds the products, so that int8 is much faster than f32.
    pub fn is_native(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Int8Isa::Amx | Int8Isa::Avx512Vnni | Int8Isa::AvxVnni => true,
            #[cfg(target_arch = "aarch64")]
            Int8Isa::NeonDot => true,
            _ => false,
        }
    }

    /// Returns the instruction set of the layers that compute in f32.
    pub fn isa(self) -> Isa {
        match self {
            #[cfg(target_arch = "x86_64")]
            Int8Isa::Amx | Int8Isa::Avx512Vnni => Isa::Avx512,
            #[cfg(target_arch = "x86_64")]
            Int8Isa::AvxVnni | Int8Isa::Avx2 => Isa::Avx2,
            #[cfg(target_arch = "aarch64")]
            Int8Isa::NeonDot | Int8Isa::Neon => Isa::Neon,
            Int8Isa::Portable => Isa::Portable,
        }
    }

    /// Returns the vendor's name.
    pub fn name(self) -> &'static str {
        match self {
            #[cfg(target_arch = "x86_64")]
            Int8Isa::Amx => "AMX and AVX512-VNNI",
            #[cfg(target_arch = "x86_64")]
            Int8Isa::Avx512Vnni => "AVX512-VNNI",
            #[cfg(target_arch = "x86_64")]
            Int8Isa::AvxVnni => "AVX-VNNI",
            #[cfg(target_arch = "aarch64")]
            Int8Isa::NeonDot => "NEON with dot products",
            other => other.isa().name(),
        }
    }

    /// Returns the rows of a tile of the matrix product, and the number that is subtracted from each input.
    fn shape(self) -> (usize, i32) {
        fn of<B: Int8Simd>() -> (usize, i32) {
            (B::TILE_ROWS, B::MOVED_BY)
        }
        match self {
            #[cfg(target_arch = "x86_64")]
            Int8Isa::Amx | Int8Isa::Avx512Vnni => of::<Avx512VnniBytes>(),
            #[cfg(target_arch = "x86_64")]
            Int8Isa::AvxVnni => of::<AvxVnniBytes>(),
            #[cfg(target_arch = "x86_64")]
            Int8Isa::Avx2 => of::<Avx2Bytes>(),
            #[cfg(target_arch = "aarch64")]
            Int8Isa::NeonDot | Int8Isa::Neon => of::<neon::NeonBytes<true>>(),
            Int8Isa::Portable => of::<PortableBytes>(),
        }
    }

    /// Returns for each filter the value that its sums begin with, and zeros up to `len`.
    fn starts<'a>(self, filters: impl Iterator<Item = &'a [i8]>, len: usize) -> Vec<i32> {
        let sum = |filter: &[i8]| self.shape().1 * filter.iter().map(|&w| i32::from(w)).sum::<i32>();
        let mut starts: Vec<i32> = filters.map(sum).collect();
        starts.resize(len, 0);
        starts
    }

    fn is_available(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Int8Isa::Amx => amx::available() && x86::has_avx512_vnni(),
            #[cfg(target_arch = "x86_64")]
            Int8Isa::Avx512Vnni => x86::has_avx512_vnni(),
            #[cfg(target_arch = "x86_64")]
            Int8Isa::AvxVnni => is_x86_feature_detected!("avxvnni") && Isa::Avx2.is_available(),
            #[cfg(target_arch = "x86_64")]
            Int8Isa::Avx2 => Isa::Avx2.is_available(),
            #[cfg(target_arch = "aarch64")]
            Int8Isa::NeonDot => std::arch::is_aarch64_feature_detected!("dotprod"),
            #[cfg(target_arch = "aarch64")]
            Int8Isa::Neon => true,
            Int8Isa::Portable => true,
        }
    }

    /// Runs `kernel` in a function compiled for these instructions. Panics when the CPU does not have them.
    ///
    /// # Safety
    /// The arguments of the kernel are as its type demands.
    #[inline]
    pub(crate) unsafe fn run<K: Int8Kernel>(self, kernel: K) {
        assert!(self.is_available(), "this CPU has no {}", self.name());
        // SAFETY: the CPU has the instructions, as asserted; the caller is responsible for the arguments.
        unsafe {
            match self {
                #[cfg(target_arch = "x86_64")]
                Int8Isa::Amx | Int8Isa::Avx512Vnni => x86::run_avx512_vnni(kernel),
                #[cfg(target_arch = "x86_64")]
                Int8Isa::AvxVnni => x86::run_avx_vnni(kernel),
                #[cfg(target_arch = "x86_64")]
                Int8Isa::Avx2 => x86::run_avx2(kernel),
                #[cfg(target_arch = "aarch64")]
                Int8Isa::NeonDot => neon::run_dot(kernel),
                #[cfg(target_arch = "aarch64")]
                Int8Isa::Neon => kernel.run::<neon::NeonBytes<false>>(),
                Int8Isa::Portable => kernel.run::<PortableBytes>(),
            }
        }
    }

    /// Moves values to another scale, that of `to`: value i becomes `value · factor[j] + zero[j]`, where j is i modulo
    /// the number of factors.
    ///
    /// Panics when the slices are not as long as each other, or the factors are no multiple of sixteen.
    pub fn rescale(self, from: Int8Input, factor: &[f32], zero: &[f32], to: Int8Output) {
        assert!(from.len() == to.len() && factor.len() == zero.len(), "slices of the same length");
        assert!(!factor.is_empty() && factor.len().is_multiple_of(16), "factors for whole vectors");
        // SAFETY: the slices are as long as `Rescale` demands, as asserted; the output is borrowed mutably.
        unsafe { self.run(Rescale { len: from.len(), from: from.source(), factor, zero, to: to.target() }) }
    }
}

/// Moves `len` values of `from` to another scale and writes as many to `to`; `factor` and `zero` are as long as each
/// other, a multiple of sixteen.
struct Rescale<'a> {
    len: usize,
    from: Source,
    factor: &'a [f32],
    zero: &'a [f32],
    to: Target,
}

impl Int8Kernel for Rescale<'_> {
    #[inline(always)]
    unsafe fn run<B: Int8Simd>(self) {
        let mut at = 0;
        for i in (0..self.len).step_by(B::Simd::LANES) {
            let n = B::Simd::LANES.min(self.len - i);
            // SAFETY: the caller of `Int8Kernel::run` checked the instruction set; `n` values are left behind `i`, and
            // a vector begins at `at`, a multiple of its lanes, which divide sixteen.
            unsafe {
                let v = B::Simd::mul(self.from.load::<B>(i, n), B::Simd::load(self.factor.as_ptr().add(at)));
                let v = B::Simd::add(v, B::Simd::load(self.zero.as_ptr().add(at)));
                self.to.store::<B>(i, n, v);
            }
            at = if at + B::Simd::LANES == self.factor.len() { 0 } else { at + B::Simd::LANES };
        }
    }
}

/// Returns the nearest byte, ties to even.
#[inline(always)]
fn to_byte(value: f32) -> u8 {
    // NaN becomes zero
    value.round_ties_even() as u8
}

/// Values that are read as f32: the residual of a layer over bytes, or a map that moves to another scale.
#[derive(Clone, Copy, Debug)]
pub enum Int8Input<'a> {
    Bytes(&'a [u8]),
    Floats(&'a [f32]),
}

impl Int8Input<'_> {
    fn len(&self) -> usize {
        match self {
            Int8Input::Bytes(values) => values.len(),
            Int8Input::Floats(values) => values.len(),
        }
    }

    fn source(self) -> Source {
        match self {
            Int8Input::Bytes(values) => Source::Bytes(values.as_ptr()),
            Int8Input::Floats(values) => Source::Floats(values.as_ptr()),
        }
    }
}

/// The pointer to values that are read as f32.
#[derive(Clone, Copy)]
enum Source {
    Bytes(*const u8),
    Floats(*const f32),
}

impl Source {
    /// Loads `n` values from element `at` on; the other lanes are zero.
    ///
    /// # Safety
    /// The CPU has the instruction set of `B`; `n` elements from `at` on are readable; there are at least `n` lanes.
    #[inline(always)]
    unsafe fn load<B: Int8Simd>(self, at: usize, n: usize) -> simd::Vector<B> {
        // SAFETY: by this function's contract.
        unsafe {
            match self {
                Source::Bytes(from) => B::widen(from.add(at), n),
                Source::Floats(from) => B::Simd::load_partial(from.add(at), n),
            }
        }
    }
}

/// The outputs of a layer over bytes.
#[derive(Debug)]
pub enum Int8Output<'a> {
    /// Bytes: rounding to a byte also clamps.
    Bytes(&'a mut [u8]),
    /// Floats, clamped to the bounds of the activation.
    Floats(&'a mut [f32], Option<Activation>),
}

impl Int8Output<'_> {
    fn len(&self) -> usize {
        match self {
            Int8Output::Bytes(values) => values.len(),
            Int8Output::Floats(values, _) => values.len(),
        }
    }

    fn target(self) -> Target {
        match self {
            Int8Output::Bytes(values) => Target::Bytes(values.as_mut_ptr()),
            Int8Output::Floats(values, activation) => Target::Floats(values.as_mut_ptr(), clamp_bounds(activation)),
        }
    }
}

/// The pointer to the outputs; the bounds to which those of f32 are clamped.
#[derive(Clone, Copy)]
enum Target {
    Bytes(*mut u8),
    Floats(*mut f32, [f32; 2]),
}

impl Target {
    /// The same memory as a source: outputs that are also read.
    fn source(self) -> Source {
        match self {
            Target::Bytes(to) => Source::Bytes(to.cast_const()),
            Target::Floats(to, _) => Source::Floats(to.cast_const()),
        }
    }

    /// Writes the first `n` of a vector of outputs from element `at` on.
    ///
    /// # Safety
    /// The CPU has the instruction set of `B`; `n` elements from `at` on are writable; there are at least `n` lanes.
    #[inline(always)]
    unsafe fn store<B: Int8Simd>(self, at: usize, n: usize, v: simd::Vector<B>) {
        // SAFETY: by this function's contract.
        unsafe {
            match self {
                Target::Bytes(to) => B::narrow(to.add(at), n, v),
                Target::Floats(to, [low, high]) => {
                    let v = B::Simd::min(B::Simd::splat(high), B::Simd::max(B::Simd::splat(low), v));
                    B::Simd::store_partial(to.add(at), n, v);
                }
            }
        }
    }
}

/// The epilogue of a layer: for each filter its scale, its bias and the scale of its residual, in steps of the output.
#[derive(Clone, Debug, Default)]
pub struct Requant {
    /// Multiplies the integer sum.
    pub scale: Vec<f32>,
    pub bias: Vec<f32>,
    /// Multiplies the residual; empty where there is none.
    pub residual: Vec<f32>,
}

impl Requant {
    /// Appends zeros behind the last filter up to `len`.
    fn padded(mut self, len: usize) -> Self {
        let filters = self.scale.len();
        assert!(self.bias.len() == filters, "as many biases as scales");
        assert!(self.residual.is_empty() || self.residual.len() == filters, "as many scales of residuals as filters");
        [&mut self.scale, &mut self.bias, &mut self.residual].into_iter().for_each(|values| values.resize(len, 0.0));
        self
    }
}
