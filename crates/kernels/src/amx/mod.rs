//! Matrix products by AMX: an instruction multiplies a tile of 16 positions × 64 bytes of values by one of 64 bytes × 16 filters and adds the
//! products to a tile of 256 sums: 8,192 products of bf16 in f32, or 16,384 of 8-bit integers in 32-bit ones.
//!
//! [`product`] is the convolution of [`matmul`](super::matmul) over such tiles; [`values`] is what it asks of what the maps hold: bf16
//! ([`halves`]), or f32, each of them three digits of 8 bits ([`digits`]). The sum of a position and a filter runs in one fixed order, whatever its
//! neighbours: its bits depend on nothing else.

pub mod digits;
pub mod halves;
pub mod product;
#[cfg(test)]
mod tests;
pub mod values;

pub use digits::Digits;
pub use halves::Halves;
pub use product::{Packed, Shape};

use std::arch::asm;
use std::arch::x86_64::{__cpuid, __cpuid_count};

/// Rows of a tile: positions, or fours of bytes; and its filters.
const ROWS: usize = 16;
/// Bytes of a row of a tile.
const LINE: usize = 64;
/// Bytes of a tile.
const TILE: usize = ROWS * LINE;

/// Whether this CPU and its system let a program use tiles of bf16 and of integers; asks the system for them, once for all threads.
pub fn available() -> bool {
    static ASKED: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    *ASKED.get_or_init(|| has_instructions() && permitted())
}

fn has_instructions() -> bool {
    // leaf 7: AMX-BF16 is bit 22 of edx, AMX-TILE bit 24, AMX-INT8 bit 25
    let amx = 1 << 22 | 1 << 24 | 1 << 25;
    let vectors = is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512vbmi")
        && is_x86_feature_detected!("avx512bf16");
    vectors && __cpuid(0).eax >= 7 && __cpuid_count(7, 0).edx & amx == amx
}

/// Linux gives the registers to a program that asks for them (`Documentation/arch/x86/xstate.rst`).
#[cfg(target_os = "linux")]
fn permitted() -> bool {
    const ARCH_REQ_XCOMP_PERM: libc::c_long = 0x1023;
    const XFEATURE_XTILEDATA: libc::c_long = 18;
    // SAFETY: the call touches no memory of the program; a kernel that does not know it says so.
    unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0 }
}

#[cfg(not(target_os = "linux"))]
fn permitted() -> bool {
    false
}

/// Makes this thread's eight tiles 16 rows of 64 bytes.
///
/// # Safety
/// Tiles are [`available`].
unsafe fn configure() {
    #[repr(C, align(64))]
    struct Config([u8; 64]);
    let mut config = Config([0; 64]);
    config.0[0] = 1;
    for tile in 0..8 {
        config.0[16 + 2 * tile] = LINE as u8;
        config.0[48 + tile] = ROWS as u8;
    }
    // SAFETY: as the caller's; palette 1 has eight such tiles.
    unsafe { asm!("ldtilecfg [{}]", in(reg) config.0.as_ptr(), options(nostack, readonly)) };
}

/// Gives the tiles back, which the system would have to keep whenever it takes the core for another thread.
///
/// # Safety
/// Tiles are [`available`].
unsafe fn release() {
    // SAFETY: as the caller's.
    unsafe { asm!("tilerelease", options(nostack, nomem)) };
}
