//! NEON, which every aarch64 CPU with an operating system has.

use super::Simd;
use std::arch::aarch64::*;

/// NEON: 32 registers of four lanes.
///
/// One register a vector and not two: the transforms of Winograd and the dense layers keep more than sixteen vectors, as much as fits. It does
/// not prefetch: the instruction for it is not in stable Rust, and nobody has measured yet whether it pays.
#[derive(Clone, Copy, Debug)]
pub struct Neon;

// SAFETY of every block below: the trait's callers answer for the instruction set and for the pointers.
impl Simd for Neon {
    const W: usize = 4;
    /// Eight rows by two vectors are sixteen sums, as many as four multiply-adds a cycle of four cycles each have under way. Eight vectors of
    /// weights, those of four steps, stay beside them, and eight registers for the inputs.
    const ROWS: usize = 8;
    type V = float32x4_t;
    type Half = Self;

    #[inline(always)]
    unsafe fn low(v: float32x4_t) -> float32x4_t {
        v
    }

    #[inline(always)]
    unsafe fn splat(value: f32) -> float32x4_t {
        unsafe { vdupq_n_f32(value) }
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> float32x4_t {
        unsafe { vld1q_f32(from) }
    }

    #[inline(always)]
    unsafe fn load_part(from: *const f32, n: usize) -> float32x4_t {
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
    unsafe fn store_part(to: *mut f32, n: usize, v: float32x4_t) {
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

    #[inline(always)]
    unsafe fn store(to: *mut f32, v: float32x4_t) {
        unsafe { vst1q_f32(to, v) }
    }

    #[inline(always)]
    unsafe fn mul_add(a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
        unsafe { vfmaq_f32(c, a, b) }
    }

    #[inline(always)]
    unsafe fn add(a: float32x4_t, b: float32x4_t) -> float32x4_t {
        unsafe { vaddq_f32(a, b) }
    }

    #[inline(always)]
    unsafe fn mul(a: float32x4_t, b: float32x4_t) -> float32x4_t {
        unsafe { vmulq_f32(a, b) }
    }

    #[inline(always)]
    unsafe fn sub(a: float32x4_t, b: float32x4_t) -> float32x4_t {
        unsafe { vsubq_f32(a, b) }
    }

    /// NaN where either is one.
    #[inline(always)]
    unsafe fn max(a: float32x4_t, b: float32x4_t) -> float32x4_t {
        unsafe { vmaxq_f32(a, b) }
    }

    /// NaN where either is one.
    #[inline(always)]
    unsafe fn min(a: float32x4_t, b: float32x4_t) -> float32x4_t {
        unsafe { vminq_f32(a, b) }
    }

    /// Four steps at a time: four inputs of a row are one load, and are multiplied by element. Alone each would need a load of its own, and
    /// some CPUs would have to broadcast it, which takes the place of a multiply-add.
    #[inline(always)]
    #[allow(clippy::needless_range_loop)]
    unsafe fn steps<const M: usize, const N: usize>(
        depth: usize,
        from: &[*const f32; M],
        weight: *const f32,
        sums: &mut [[float32x4_t; N]; M],
    ) -> usize {
        let whole = depth / 4 * 4;
        unsafe {
            let mut w = [[vdupq_n_f32(0.0); N]; 4];
            for k in (0..whole).step_by(4) {
                for step in 0..4 {
                    for j in 0..N {
                        w[step][j] = vld1q_f32(weight.add((k + step) * 2 * Self::W + j * Self::W));
                    }
                }
                for i in 0..M {
                    let x = vld1q_f32(from[i].add(k));
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
