//! NEON, with and without dot products. Its products are signed, so 128 is subtracted from the inputs, and the sums
//! begin with the product of 128 and the weights.

use super::simd::{Int8Kernel, Int8Simd};
use crate::simd::{Neon, by_intrinsics};
use std::arch::aarch64::*;
use std::arch::asm;

/// # Safety
/// The CPU has dot products; the arguments of the kernel are as its type demands.
#[target_feature(enable = "neon,dotprod")]
pub(super) unsafe fn run_dot<K: Int8Kernel>(kernel: K) {
    // SAFETY: this function may only be called where the CPU has these instructions, and with arguments that the kernel
    // accepts.
    unsafe { kernel.run::<NeonBytes<true>>() }
}

/// NEON; with `DOT` it multiplies by `SDOT`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NeonBytes<const DOT: bool>;

/// The bytes 0, 4, 8 and 12, then 1, 5, 9 and 13, and so on.
const TRANSPOSED: [u8; 16] = [0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15];

/// Adds to each sum four products of signed bytes.
///
/// # Safety
/// The CPU has dot products.
#[inline(always)]
unsafe fn sdot(sums: int32x4_t, x: int8x16_t, w: int8x16_t) -> int32x4_t {
    let mut sums = sums;
    // SAFETY: by this function's contract; the instruction touches no memory. Stable Rust has no intrinsic for it.
    unsafe {
        asm!(
            ".arch_extension dotprod",
            "sdot {sums:v}.4s, {x:v}.16b, {w:v}.16b",
            sums = inout(vreg) sums, x = in(vreg) x, w = in(vreg) w,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    sums
}

/// The same by products of 16 bits: the sum of two fits into 16 bits, since weights are at least −127.
///
/// # Safety
/// The CPU has NEON.
#[inline(always)]
unsafe fn by_words(sums: int32x4_t, x: int8x16_t, w: int8x16_t) -> int32x4_t {
    // SAFETY: by this function's contract; the intrinsics touch no memory.
    unsafe {
        let low = vmull_s8(vget_low_s8(x), vget_low_s8(w));
        let high = vmull_high_s8(x, w);
        vpadalq_s16(sums, vpaddq_s16(low, high))
    }
}

impl<const DOT: bool> Int8Simd for NeonBytes<DOT> {
    type Simd = Neon;
    const TILE_ROWS: usize = 8;
    const MOVED_BY: i32 = 128;
    type Sums = int32x4_t;
    type Weights = int8x16_t;
    type Inputs = int8x16_t;

    by_intrinsics! {
        load_sums(from: *const i32) -> int32x4_t { vld1q_s32(from) }
        load(from: *const i8) -> int8x16_t { vld1q_s8(from) }
        splat(from: *const u8) -> int8x16_t {
            moved(vreinterpretq_u8_u32(vdupq_n_u32(from.cast::<u32>().read_unaligned())))
        }
        dot(sums: int32x4_t, x: int8x16_t, w: int8x16_t) -> int32x4_t {
            if DOT { sdot(sums, x, w) } else { by_words(sums, x, w) }
        }
        to_f32(sums: int32x4_t) -> float32x4_t { vcvtq_f32_s32(sums) }
        widen(from: *const u8, n: usize) -> float32x4_t {
            vcvtq_f32_u32(vmovl_u16(vget_low_u16(vmovl_u8(vcreate_u8(u64::from(load_4(from, n)))))))
        }
    }

    #[inline(always)]
    unsafe fn gather(from: [*const u8; 4], n: usize) -> int8x16_t {
        // SAFETY: NEON is part of aarch64; the trait demands `n` ≤ 4 readable bytes at each position; the array holds a
        // vector.
        unsafe {
            let bytes = [load_4(from[0], n), load_4(from[1], n), load_4(from[2], n), load_4(from[3], n)];
            let all = vreinterpretq_u8_u32(vld1q_u32(bytes.as_ptr()));
            moved(vqtbl1q_u8(all, vld1q_u8(TRANSPOSED.as_ptr())))
        }
    }

    #[inline(always)]
    unsafe fn narrow(to: *mut u8, n: usize, v: float32x4_t) {
        // SAFETY: NEON is part of aarch64; the trait demands `n` ≤ 4 writable bytes, which are copied from four.
        unsafe {
            // the conversion rounds ties to even and makes zero of NaN; both narrowings saturate
            let words = vqmovun_s32(vcvtnq_s32_f32(v));
            let bytes = vqmovn_u16(vcombine_u16(words, words));
            let bytes = vget_lane_u32::<0>(vreinterpret_u32_u8(bytes)).to_le_bytes();
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, n);
        }
    }
}

/// Returns unsigned bytes less 128.
///
/// # Safety
/// The CPU has NEON.
#[inline(always)]
unsafe fn moved(x: uint8x16_t) -> int8x16_t {
    // SAFETY: by this function's contract; the intrinsics touch no memory.
    unsafe { vreinterpretq_s8_u8(veorq_u8(x, vdupq_n_u8(0x80))) }
}

/// Loads `n` bytes, then zeros, the first one the lowest.
///
/// # Safety
/// `from` points to `n` readable bytes; `n` ≤ 4.
#[inline(always)]
unsafe fn load_4(from: *const u8, n: usize) -> u32 {
    let mut bytes = [0; 4];
    // SAFETY: by this function's contract; the array holds four bytes.
    unsafe { std::ptr::copy_nonoverlapping(from, bytes.as_mut_ptr(), n) };
    u32::from_le_bytes(bytes)
}
