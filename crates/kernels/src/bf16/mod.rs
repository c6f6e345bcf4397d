//! bf16: the upper half of an f32. Maps and weights stored so take half the memory traffic; sums are f32.
//!
//! The product of two bf16 is exact in f32, so only the additions of a dot product are rounded, as in f32, whatever
//! instruction computes it:
//!
//! * `VDPBF16PS` ([`Bf16Isa::Avx512Bf16`]) does two multiply-adds a lane.
//! * Elsewhere values are widened to f32 first ([`Bf16Isa::Widened`]), which is as fast as f32 at best. Both add the
//!   odd value of a pair before the even one and so give the same bits, except that `VDPBF16PS` takes numbers below
//!   1.2e-38 for zero.
//! * AMX ([`Bf16Isa::Amx`], three to ten times as fast as f32) adds in an order of its own, see [`crate::amx`].
//!
//! Arm's `BFDOT` rounds differently and is not used: with NEON, values are widened. Layers that are no matrix products
//! widen their values, compute in f32 and round the result.

mod gemm;
pub(crate) mod simd;
#[cfg(test)]
mod tests;

pub use half::bf16;

pub(crate) use self::gemm::Bf16DirectConv;

#[cfg(target_arch = "x86_64")]
use self::simd::Avx512Bf16;
use self::simd::{Bf16Kernel, Widened};
#[cfg(target_arch = "x86_64")]
use super::amx;
use super::matmul::{Columns, GemmOffsets};
#[cfg(target_arch = "aarch64")]
use super::simd::Neon;
#[cfg(target_arch = "x86_64")]
use super::simd::{Avx2, Avx512};
use super::simd::{Isa, Portable};
use crate::Activation;

/// The instructions that multiply bf16.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bf16Isa {
    /// AMX-BF16 for matrix products, AVX512-BF16 for the other layers.
    #[cfg(target_arch = "x86_64")]
    Amx,
    /// AVX512-BF16.
    #[cfg(target_arch = "x86_64")]
    Avx512Bf16,
    /// An instruction set for f32; values are widened first.
    Widened(Isa),
}

/// Whether the CPU has AVX512-BF16 and the vectors that it works on.
#[cfg(target_arch = "x86_64")]
fn has_avx512_bf16() -> bool {
    static HAS: std::sync::LazyLock<bool> = std::sync::LazyLock::new(|| {
        is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512bf16")
    });
    *HAS
}

impl Bf16Isa {
    /// Returns all ways in which this CPU can compute with bf16, the best first.
    pub fn available() -> Vec<Self> {
        let mut all = Vec::new();
        #[cfg(target_arch = "x86_64")]
        if has_avx512_bf16() {
            if amx::available() {
                all.push(Bf16Isa::Amx);
            }
            all.push(Bf16Isa::Avx512Bf16);
        }
        all.extend(Isa::available().into_iter().map(Bf16Isa::Widened));
        all
    }

    /// Returns the best way of this CPU.
    pub fn detect() -> Self {
        Self::available().first().copied().unwrap_or(Bf16Isa::Widened(Isa::Portable))
    }

    /// Whether bf16 is multiplied without widening, so that it is faster than f32.
    pub fn is_native(self) -> bool {
        !matches!(self, Bf16Isa::Widened(_))
    }

    /// Returns the name in measurements.
    pub fn name(self) -> &'static str {
        match self {
            #[cfg(target_arch = "x86_64")]
            Bf16Isa::Amx => "bf16 AMX",
            _ => "bf16",
        }
    }

    /// Rounds each value of `from` into `to`, to nearest with ties to even, by the instructions of the CPU.
    pub fn narrow(self, from: &[f32], to: &mut [bf16]) {
        match self {
            #[cfg(target_arch = "x86_64")]
            Bf16Isa::Amx | Bf16Isa::Avx512Bf16 => {
                assert!(has_avx512_bf16(), "this CPU has no AVX512-BF16");
                // SAFETY: the CPU has the features that the function is compiled for, as asserted; it demands nothing
                // else.
                unsafe { narrow_avx512(from, to) }
            }
            Bf16Isa::Widened(_) => narrow(from, to),
        }
    }

    /// Writes each value of `from` to `to`, by the instructions of the CPU.
    pub fn widen(self, from: &[bf16], to: &mut [f32]) {
        match self {
            #[cfg(target_arch = "x86_64")]
            Bf16Isa::Amx | Bf16Isa::Avx512Bf16 => {
                assert!(has_avx512_bf16(), "this CPU has no AVX512-BF16");
                // SAFETY: the CPU has the features that the function is compiled for, as asserted; it demands nothing
                // else.
                unsafe { widen_avx512(from, to) }
            }
            Bf16Isa::Widened(_) => widen(from, to),
        }
    }

    /// Returns the instruction set of the layers that compute in f32.
    pub fn isa(self) -> Isa {
        match self {
            #[cfg(target_arch = "x86_64")]
            Bf16Isa::Amx | Bf16Isa::Avx512Bf16 => Isa::Avx512,
            Bf16Isa::Widened(isa) => isa,
        }
    }

    /// Runs `kernel` in a function compiled for these instructions; for [`Bf16Isa::Amx`] these are AVX512-BF16. Panics
    /// when the CPU does not have them.
    ///
    /// # Safety
    /// The arguments of the kernel are as its type demands.
    #[inline]
    pub(crate) unsafe fn run<K: Bf16Kernel>(self, kernel: K) {
        let is_available = match self {
            #[cfg(target_arch = "x86_64")]
            Bf16Isa::Amx | Bf16Isa::Avx512Bf16 => has_avx512_bf16(),
            Bf16Isa::Widened(isa) => isa.is_available(),
        };
        assert!(is_available, "this CPU has no instructions for {self:?}");
        // SAFETY: the CPU has the instruction set, as asserted; the caller is responsible for the arguments.
        unsafe {
            match self {
                #[cfg(target_arch = "x86_64")]
                Bf16Isa::Amx | Bf16Isa::Avx512Bf16 => run_avx512_bf16(kernel),
                #[cfg(target_arch = "x86_64")]
                Bf16Isa::Widened(Isa::Avx512) => run_avx512(kernel),
                #[cfg(target_arch = "x86_64")]
                Bf16Isa::Widened(Isa::Avx2) => run_avx2(kernel),
                #[cfg(target_arch = "aarch64")]
                Bf16Isa::Widened(Isa::Neon) => kernel.run::<Widened<Neon>>(),
                Bf16Isa::Widened(Isa::Portable) => kernel.run::<Widened<Portable>>(),
            }
        }
    }
}

/// # Safety
/// The CPU has AVX512-BF16 with AVX-512F, BW and VL; the arguments of the kernel are as its type demands.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
unsafe fn run_avx512_bf16<K: Bf16Kernel>(kernel: K) {
    // SAFETY: this function may only be called where the CPU has these instructions, and with arguments that the kernel
    // accepts.
    unsafe { kernel.run::<Avx512Bf16>() }
}

/// # Safety
/// The CPU has AVX-512F; the arguments of the kernel are as its type demands.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
unsafe fn run_avx512<K: Bf16Kernel>(kernel: K) {
    // SAFETY: this function may only be called where the CPU has these instructions, and with arguments that the kernel
    // accepts.
    unsafe { kernel.run::<Widened<Avx512>>() }
}

/// # Safety
/// The CPU has AVX2 and FMA; the arguments of the kernel are as its type demands.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn run_avx2<K: Bf16Kernel>(kernel: K) {
    // SAFETY: this function may only be called where the CPU has these instructions, and with arguments that the kernel
    // accepts.
    unsafe { kernel.run::<Widened<Avx2>>() }
}

/// A direct convolution or a dense layer over bf16, with its weights packed for the instructions of a [`Bf16Isa`].
#[derive(Clone, Debug)]
pub enum Bf16Conv {
    Vectors(Bf16DirectConv),
    #[cfg(target_arch = "x86_64")]
    Amx(amx::AmxConv<amx::Bf16Pairs>),
}

impl Bf16Conv {
    /// Rounds and packs weights `(filters, kernel_rows, depth)`, row-major, for `isa`, which this CPU must have.
    ///
    /// Panics when the number of weights is wrong.
    pub fn new(isa: Bf16Isa, weight: &[f32], bias: &[f32], kernel_rows: usize, depth: usize) -> Self {
        match isa {
            #[cfg(target_arch = "x86_64")]
            Bf16Isa::Amx => {
                let shape = amx::ConvShape { kernel: [kernel_rows, 1], channels: depth, stride: 1 };
                Bf16Conv::Amx(amx::AmxConv::new(weight, bias, shape))
            }
            isa => Self::of_group(isa, weight, bias, kernel_rows, Columns::ADJACENT, depth),
        }
    }

    /// Rounds and packs weights `(filters, kernel_rows, columns, depth)`, row-major, of a kernel whose columns lie
    /// apart, for the vectors of `isa`.
    ///
    /// Panics when the number of weights is wrong.
    pub fn of_group(
        isa: Bf16Isa,
        weight: &[f32],
        bias: &[f32],
        kernel_rows: usize,
        columns: Columns,
        depth: usize,
    ) -> Self {
        Bf16Conv::Vectors(Bf16DirectConv::new(isa, weight, bias, kernel_rows, columns, depth))
    }

    /// Returns the floats of scratch that [`Bf16Conv::run`] needs for `threads`.
    pub fn scratch_len(&self, threads: usize) -> usize {
        match self {
            Bf16Conv::Vectors(_) => 0,
            #[cfg(target_arch = "x86_64")]
            Bf16Conv::Amx(conv) => conv.scratch_len(threads),
        }
    }

    /// Computes the sums of [`DirectConv::run`](crate::matmul::DirectConv::run) and rounds them to bf16. The contents
    /// of `scratch` do not matter.
    ///
    /// Panics when a window, an output or a residual lies outside its slice, when the scratch is too short, or when
    /// outputs overlap that several threads would write.
    #[allow(clippy::too_many_arguments)]
    #[cfg_attr(not(target_arch = "x86_64"), allow(unused_variables))]
    pub fn run(
        &self,
        threads: usize,
        offsets: &GemmOffsets,
        input: &[bf16],
        residual: &[bf16],
        activation: Option<Activation>,
        output: &mut [bf16],
        scratch: &mut [f32],
    ) {
        match self {
            Bf16Conv::Vectors(conv) => conv.run(threads, offsets, input, residual, activation, output),
            #[cfg(target_arch = "x86_64")]
            Bf16Conv::Amx(conv) => {
                let map = [1, offsets.output_starts.len()];
                conv.run(threads, offsets, map, input, residual, activation, output, scratch);
            }
        }
    }
}

/// Rounds to the nearest bf16, ties to even; NaN stays NaN.
#[inline(always)]
fn rounded(value: f32) -> bf16 {
    let bits = value.to_bits();
    let near = ((bits.wrapping_add(0x7fff + (bits >> 16 & 1))) >> 16) as u16;
    bf16::from_bits(if value.is_nan() { (bits >> 16) as u16 | 0x40 } else { near })
}

/// Rounds each value of `from` into `to`.
#[inline(always)]
pub(crate) fn narrow(from: &[f32], to: &mut [bf16]) {
    from.iter().zip(to).for_each(|(&value, to)| *to = rounded(value));
}

/// Writes the values of `from` to `to`.
#[inline(always)]
pub(crate) fn widen(from: &[bf16], to: &mut [f32]) {
    from.iter().zip(to).for_each(|(value, to)| *to = f32::from_bits(u32::from(value.to_bits()) << 16));
}

/// [`narrow`], which the compiler vectorises for AVX512-BF16.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
fn narrow_avx512(from: &[f32], to: &mut [bf16]) {
    narrow(from, to);
}

/// [`widen`], which the compiler vectorises for AVX-512.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
fn widen_avx512(from: &[bf16], to: &mut [f32]) {
    widen(from, to);
}
