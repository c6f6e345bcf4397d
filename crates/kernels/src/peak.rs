//! The measured peak rate of a core's multiply-adds, with which the kernels are compared, and the pseudo-random values
//! with which they are measured.

use std::hint::black_box;
use std::time::Instant;

use super::simd::{Isa, MOST_LANES, Simd, SimdKernel};

/// Independent sums: more than a CPU has multiply-adds in flight, and no more than it has registers.
const SUMS: usize = if cfg!(target_arch = "aarch64") { 24 } else { 12 };
/// Multiply-adds of each sum in one run.
const STEPS: usize = 20_000;

/// Returns `n` pseudo-random values between -1 and 1, always the same for a seed: inputs and weights for measurements
/// and tests.
pub fn noise(n: usize, seed: u32) -> Vec<f32> {
    let mut state = seed;
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..n).map(next).collect()
}

/// Measures the floating-point operations a second of this thread, two for a multiply-add. It runs for about `seconds`,
/// and the fastest run counts, since other programs may use the core, too.
pub fn flops(isa: Isa, seconds: f64) -> f64 {
    let (begin, mut best) = (Instant::now(), f64::INFINITY);
    while begin.elapsed().as_secs_f64() < seconds {
        let start = Instant::now();
        // SAFETY: `MultiplyAdds` has no arguments.
        let sum = unsafe { isa.run(MultiplyAdds) };
        black_box(sum);
        best = best.min(start.elapsed().as_secs_f64());
    }
    2.0 * (SUMS * STEPS * isa.lanes()) as f64 / best
}

/// `SUMS · STEPS` multiply-adds in registers.
struct MultiplyAdds;

impl SimdKernel for MultiplyAdds {
    type Output = f32;

    #[inline(always)]
    #[allow(clippy::needless_range_loop)]
    unsafe fn run<S: Simd>(self) -> f32 {
        // SAFETY: the CPU has the instruction set of `S`, as `SimdKernel::run` demands; no vector has more lanes than
        // `lanes` has values.
        unsafe {
            let (a, b) = (S::splat(black_box(0.999)), S::splat(black_box(0.001)));
            let mut sums = [b; SUMS];
            for _ in 0..STEPS {
                for i in 0..SUMS {
                    // The sum is the addend: NEON's instruction overwrites it, and any other operand would have to be
                    // copied first.
                    sums[i] = S::mul_add(a, b, sums[i]);
                }
            }
            let mut total = S::splat(0.0);
            for i in 0..SUMS {
                total = S::add(total, sums[i]);
            }
            let mut lanes = [0.0f32; MOST_LANES];
            S::store_partial(lanes.as_mut_ptr(), S::LANES, total);
            lanes.iter().sum()
        }
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
