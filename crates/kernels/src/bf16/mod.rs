//! bf16: the upper half of an f32. Maps and weights are stored so, which halves what has to be moved; sums are f32.
//!
//! A product of two bf16 is exact in f32, so that a sum of products is rounded where an f32 sum is, whatever instruction does it: `VDPBF16PS`
//! where the CPU has it ([`Unit::Native`], two multiply-adds a lane), else the values are widened first ([`Unit::Widened`], as fast as f32 at
//! best). Both take the odd value of a pair first, so that they give the same bits; only numbers below 1.2e-38 are zero to the instruction.
//! AMX ([`Unit::Tiles`], three to ten times as fast as f32) adds in an order of its own, see `exec::cpu::amx`.
//! Arm's `BFDOT` rounds otherwise and is not used: with NEON values are widened.
//! What is no matrix product widens its values and is computed in f32.

pub(super) mod lanes;
pub mod product;
#[cfg(test)]
mod tests;

pub use half::bf16;

#[cfg(target_arch = "x86_64")]
use super::amx;
use super::matmul::Places;
use super::simd::Isa;
use crate::Activation;

/// What computes products of bf16.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// AMX, and AVX-512 with BF16 for what is no product.
    #[cfg(target_arch = "x86_64")]
    Tiles,
    /// AVX-512 with BF16.
    #[cfg(target_arch = "x86_64")]
    Native,
    /// The vectors of f32.
    Widened(Isa),
}

impl Unit {
    /// All that this CPU has, the best first.
    pub fn available() -> Vec<Self> {
        let mut all = Vec::new();
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512bf16")
        {
            if amx::available() {
                all.push(Unit::Tiles);
            }
            all.push(Unit::Native);
        }
        all.extend(Isa::available().into_iter().map(Unit::Widened));
        all
    }

    /// The best that this CPU has.
    pub fn detect() -> Self {
        Self::available().first().copied().unwrap_or(Unit::Widened(Isa::Portable))
    }

    /// True when the CPU multiplies bf16 itself, so that it is faster than f32.
    pub fn is_native(self) -> bool {
        !matches!(self, Unit::Widened(_))
    }

    /// How it is called where it is measured.
    pub fn word(self) -> &'static str {
        match self {
            #[cfg(target_arch = "x86_64")]
            Unit::Tiles => "bf16 AMX",
            _ => "bf16",
        }
    }

    /// [`narrow`] with the vectors that there are.
    pub fn narrow(self, from: &[f32], to: &mut [bf16]) {
        match self {
            // SAFETY: the instruction set was detected.
            #[cfg(target_arch = "x86_64")]
            Unit::Tiles | Unit::Native => unsafe { narrow_native(from, to) },
            Unit::Widened(_) => narrow(from, to),
        }
    }

    /// [`widen`] with the vectors that there are.
    pub fn widen(self, from: &[bf16], to: &mut [f32]) {
        match self {
            // SAFETY: the instruction set was detected.
            #[cfg(target_arch = "x86_64")]
            Unit::Tiles | Unit::Native => unsafe { widen_native(from, to) },
            Unit::Widened(_) => widen(from, to),
        }
    }

    /// The instruction set of everything else.
    pub fn isa(self) -> Isa {
        match self {
            #[cfg(target_arch = "x86_64")]
            Unit::Tiles | Unit::Native => Isa::Avx512,
            Unit::Widened(isa) => isa,
        }
    }

    fn lanes(self) -> usize {
        self.isa().lanes()
    }
}

/// A convolution or a dense layer over bf16, its weights packed for a unit.
#[derive(Clone, Debug)]
pub enum Product {
    Pairs(product::Packed),
    #[cfg(target_arch = "x86_64")]
    Tiles(amx::Packed<amx::Halves>),
}

impl Product {
    /// Rounds and packs weights `(filters, rows, depth)`, row-major, for `unit`, which this CPU must have.
    ///
    /// Panics when there are not as many.
    pub fn new(unit: Unit, weight: &[f32], bias: &[f32], rows: usize, depth: usize) -> Self {
        match unit {
            #[cfg(target_arch = "x86_64")]
            Unit::Tiles => {
                let shape = amx::Shape { kernel: [rows, 1], channels: depth, stride: 1 };
                Product::Tiles(amx::Packed::new(weight, bias, shape))
            }
            unit => Product::Pairs(product::Packed::new(unit, weight, bias, rows, depth)),
        }
    }

    /// Floats of scratch that [`Product::run`] wants for `threads`.
    pub fn scratch_len(&self, threads: usize) -> usize {
        match self {
            Product::Pairs(_) => 0,
            #[cfg(target_arch = "x86_64")]
            Product::Tiles(packed) => packed.scratch_len(threads),
        }
    }

    /// What [`product::Packed::run`] computes; `scratch` may hold anything.
    ///
    /// Panics when a place lies outside its slice, when the scratch is too short, or when several threads would write one output.
    #[allow(clippy::too_many_arguments)]
    #[cfg_attr(not(target_arch = "x86_64"), allow(unused_variables))]
    pub fn run(
        &self,
        threads: usize,
        places: &Places,
        input: &[bf16],
        added: &[bf16],
        activation: Option<Activation>,
        output: &mut [bf16],
        scratch: &mut [f32],
    ) {
        match self {
            Product::Pairs(packed) => packed.run(threads, places, input, added, activation, output),
            #[cfg(target_arch = "x86_64")]
            Product::Tiles(packed) => {
                let map = [1, places.outs.len()];
                packed.run(threads, places, map, input, added, activation, output, scratch);
            }
        }
    }
}

/// Rounds to the nearest bf16, ties to the even one; a NaN stays one.
#[inline(always)]
fn rounded(value: f32) -> bf16 {
    let bits = value.to_bits();
    let near = ((bits.wrapping_add(0x7fff + (bits >> 16 & 1))) >> 16) as u16;
    bf16::from_bits(if value.is_nan() { (bits >> 16) as u16 | 0x40 } else { near })
}

/// Rounds each of `from` into `to`.
#[inline(always)]
pub fn narrow(from: &[f32], to: &mut [bf16]) {
    from.iter().zip(to).for_each(|(&value, to)| *to = rounded(value));
}

/// Writes the values of `from` to `to`.
#[inline(always)]
pub fn widen(from: &[bf16], to: &mut [f32]) {
    from.iter().zip(to).for_each(|(value, to)| *to = f32::from_bits(u32::from(value.to_bits()) << 16));
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
fn narrow_native(from: &[f32], to: &mut [bf16]) {
    narrow(from, to);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
fn widen_native(from: &[bf16], to: &mut [f32]) {
    widen(from, to);
}
