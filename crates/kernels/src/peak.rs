//! The most multiply-adds that a core can do, measured: what the kernels are held against. And values to measure them with.

use std::time::Instant;

#[cfg(target_arch = "aarch64")]
use super::simd::Neon;
#[cfg(target_arch = "x86_64")]
use super::simd::{Avx2, Avx512};
use super::simd::{Isa, Portable, Simd};

/// Sums that do not wait for one another: more than a CPU has multiply-adds under way, and no more than it has registers.
const SUMS: usize = if cfg!(target_arch = "aarch64") { 24 } else { 12 };
/// Multiply-adds of each sum in one go.
const STEPS: usize = 20_000;

/// `n` values between -1 and 1 that look random, always the same for a seed: inputs and weights for measurements and tests.
pub fn noise(n: usize, seed: u32) -> Vec<f32> {
    let mut state = seed;
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..n).map(next).collect()
}

/// Floating-point operations a second of this thread, two for a multiply-add, over about `seconds`: the best go, since others may use the
/// core, too.
pub fn flops(isa: Isa, seconds: f64) -> f64 {
    let (begin, mut best) = (Instant::now(), f64::INFINITY);
    while begin.elapsed().as_secs_f64() < seconds {
        let start = Instant::now();
        // SAFETY: the instruction set was detected.
        let sum = unsafe {
            match isa {
                #[cfg(target_arch = "x86_64")]
                Isa::Avx512 => run_avx512(),
                #[cfg(target_arch = "x86_64")]
                Isa::Avx2 => run_avx2(),
                #[cfg(target_arch = "aarch64")]
                Isa::Neon => run::<Neon>(),
                Isa::Portable => run::<Portable>(),
            }
        };
        std::hint::black_box(sum);
        best = best.min(start.elapsed().as_secs_f64());
    }
    2.0 * (SUMS * STEPS * isa.lanes()) as f64 / best
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
unsafe fn run_avx512() -> f32 {
    // SAFETY: as the caller's.
    unsafe { run::<Avx512>() }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn run_avx2() -> f32 {
    // SAFETY: as the caller's.
    unsafe { run::<Avx2>() }
}

#[inline(always)]
#[allow(clippy::needless_range_loop)]
unsafe fn run<S: Simd>() -> f32 {
    // SAFETY: as the caller's; the array holds a vector of any instruction set.
    unsafe {
        let (a, b) = (S::splat(std::hint::black_box(0.999)), S::splat(std::hint::black_box(0.001)));
        let mut sums = [b; SUMS];
        for _ in 0..STEPS {
            for i in 0..SUMS {
                // the addend is what NEON overwrites: any other would be copied first
                sums[i] = S::mul_add(a, b, sums[i]);
            }
        }
        let mut total = S::splat(0.0);
        for i in 0..SUMS {
            total = S::add(total, sums[i]);
        }
        let mut lanes = [0.0f32; 16];
        S::store_part(lanes.as_mut_ptr(), S::W, total);
        lanes.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_instruction_set_computes_something() {
        for isa in Isa::available() {
            let found = flops(isa, 0.02);
            assert!(found.is_finite() && found > 1e8, "{isa:?}: {found:e}");
        }
    }
}
