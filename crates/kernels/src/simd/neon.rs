//! NEON, which every aarch64 CPU with an operating system has.

use super::{Simd, by_intrinsics};
use std::arch::aarch64::*;

/// NEON: 32 registers of four lanes.
///
/// A vector is one register and not two: the transforms of Winograd and the dense layers keep more than sixteen
/// vectors, which fit into 32 registers. There is no prefetch: stable Rust lacks the instruction, and its benefit has
/// not been measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Neon;

impl Simd for Neon {
    const LANES: usize = 4;
    /// Eight rows by two vectors are sixteen sums, as many as four multiply-adds a cycle with a latency of four cycles
    /// keep busy. Eight vectors of weights, those of four values, stay beside them, and eight registers are left for
    /// the inputs.
    const TILE_ROWS: usize = 8;
    type Vector = float32x4_t;
    type Half = Self;

    #[inline(always)]
    unsafe fn low_half(v: float32x4_t) -> float32x4_t {
        v
    }

    // `max` and `min` give NaN where either argument is NaN
    by_intrinsics! {
        splat(value: f32) -> float32x4_t { vdupq_n_f32(value) }
        load(from: *const f32) -> float32x4_t { vld1q_f32(from) }
        store(to: *mut f32, v: float32x4_t) { vst1q_f32(to, v) }
        mul_add(a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t { vfmaq_f32(c, a, b) }
        add(a: float32x4_t, b: float32x4_t) -> float32x4_t { vaddq_f32(a, b) }
        mul(a: float32x4_t, b: float32x4_t) -> float32x4_t { vmulq_f32(a, b) }
        sub(a: float32x4_t, b: float32x4_t) -> float32x4_t { vsubq_f32(a, b) }
        div(a: float32x4_t, b: float32x4_t) -> float32x4_t { vdivq_f32(a, b) }
        max(a: float32x4_t, b: float32x4_t) -> float32x4_t { vmaxq_f32(a, b) }
        min(a: float32x4_t, b: float32x4_t) -> float32x4_t { vminq_f32(a, b) }
    }

    #[inline(always)]
    unsafe fn power_of_two(a: float32x4_t) -> float32x4_t {
        // SAFETY: NEON is part of aarch64.
        unsafe {
            let n = vshlq_n_u32::<23>(vreinterpretq_u32_f32(a));
            vreinterpretq_f32_u32(vaddq_u32(n, vreinterpretq_u32_f32(vdupq_n_f32(1.0))))
        }
    }

    #[inline(always)]
    unsafe fn load_partial(from: *const f32, n: usize) -> float32x4_t {
        // SAFETY: NEON is part of aarch64; the trait demands `n` readable f32, and each arm reads as many.
        unsafe {
            match n {
                0 => vdupq_n_f32(0.0),
                1 => vld1q_lane_f32::<0>(from, vdupq_n_f32(0.0)),
                2 => vcombine_f32(vld1_f32(from), vdup_n_f32(0.0)),
                3 => vcombine_f32(vld1_f32(from), vld1_lane_f32::<0>(from.add(2), vdup_n_f32(0.0))),
                _ => vld1q_f32(from),
            }
        }
    }

    #[inline(always)]
    unsafe fn store_partial(to: *mut f32, n: usize, v: float32x4_t) {
        // SAFETY: NEON is part of aarch64; the trait demands `n` writable f32, and each arm writes as many.
        unsafe {
            match n {
                0 => {}
                1 => vst1q_lane_f32::<0>(to, v),
                2 => vst1_f32(to, vget_low_f32(v)),
                3 => {
                    vst1_f32(to, vget_low_f32(v));
                    vst1q_lane_f32::<2>(to.add(2), v);
                }
                _ => vst1q_f32(to, v),
            }
        }
    }

    /// Four values at a time: four inputs of a row are one load, and `vfmaq_laneq_f32` multiplies by each of them.
    /// Taken one by one, each input would need a load of its own, and some CPUs would have to broadcast it, which takes
    /// the place of a multiply-add.
    #[inline(always)]
    #[allow(clippy::needless_range_loop)]
    unsafe fn dot_blocked<const M: usize, const N: usize>(
        depth: usize,
        inputs: &[*const f32; M],
        weights: *const f32,
        sums: &mut [[float32x4_t; N]; M],
    ) -> usize {
        let whole = depth / 4 * 4;
        // SAFETY: NEON is part of aarch64; k + 3 is below `depth`, so the trait's contract covers each input and each
        // pair of vectors of weights.
        unsafe {
            let mut w = [[vdupq_n_f32(0.0); N]; 4];
            for k in (0..whole).step_by(4) {
                for step in 0..4 {
                    for j in 0..N {
                        w[step][j] = vld1q_f32(weights.add((k + step) * 2 * Self::LANES + j * Self::LANES));
                    }
                }
                for i in 0..M {
                    let x = vld1q_f32(inputs[i].add(k));
                    for j in 0..N {
                        sums[i][j] = vfmaq_laneq_f32::<0>(sums[i][j], w[0][j], x);
                    }
                    for j in 0..N {
                        sums[i][j] = vfmaq_laneq_f32::<1>(sums[i][j], w[1][j], x);
                    }
                    for j in 0..N {
                        sums[i][j] = vfmaq_laneq_f32::<2>(sums[i][j], w[2][j], x);
                    }
                    for j in 0..N {
                        sums[i][j] = vfmaq_laneq_f32::<3>(sums[i][j], w[3][j], x);
                    }
                }
            }
        }
        whole
    }
}
