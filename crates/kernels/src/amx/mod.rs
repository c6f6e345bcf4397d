//! Convolutions by AMX, Intel's matrix unit. An instruction multiplies a tile of 16 positions × 64 bytes of values by a
//! tile of 64 bytes × 16 filters and adds the products to a tile of 256 sums: 8,192 products of bf16 summed in f32, or
//! 16,384 of int8 summed in int32.
//!
//! [`AmxConv`] is the direct convolution of [`matmul`](crate::matmul) over such tiles. A [`TileFormat`] says how maps
//! become tiles: [`Bf16Pairs`] are maps of bf16; [`Int8Slices`] are maps of f32, each value of which becomes three
//! slices of 8 bits; the bytes of [`int8`](crate::int8) are multiplied as they are. The sum of a position and a filter
//! runs in one fixed order, so its bits do not depend on the positions around it.

mod bytes;
mod conv;
mod format;
mod gemm;
mod pairs;
mod slices;
#[cfg(test)]
pub(crate) mod tests;

pub(crate) use bytes::Bytes;
pub use conv::AmxConv;
pub use format::{FloatFormat, TileFormat};
pub use gemm::ConvShape;
pub(crate) use gemm::{Epilogue, PANEL, TileProduct, WindowGroup};
pub use pairs::Bf16Pairs;
pub use slices::Int8Slices;

use std::arch::asm;
use std::arch::x86_64::{__cpuid, __cpuid_count};

/// Rows of a tile: 16 positions, or 16 groups of four bytes of the weights; and the filters of a tile.
pub(crate) const TILE_ROWS: usize = 16;
/// Bytes of a row of a tile, a cache line.
pub(crate) const ROW_BYTES: usize = 64;
/// Bytes of a tile.
const TILE_BYTES: usize = TILE_ROWS * ROW_BYTES;

/// Whether the CPU has the tile instructions for bf16 and int8, and the system lets this process use them. The first
/// call asks the system.
pub fn available() -> bool {
    static ASKED: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    *ASKED.get_or_init(|| has_instructions() && is_permitted())
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

/// Linux gives the tile registers to a process that asks for them (`Documentation/arch/x86/xstate.rst`).
#[cfg(target_os = "linux")]
fn is_permitted() -> bool {
    const ARCH_REQ_XCOMP_PERM: libc::c_long = 0x1023;
    const XFEATURE_XTILEDATA: libc::c_long = 18;
    // SAFETY: the call touches no memory of the process; a kernel that does not know it returns an error.
    unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0 }
}

#[cfg(not(target_os = "linux"))]
fn is_permitted() -> bool {
    false
}

/// Configures the eight tiles of this thread: 16 rows of 64 bytes each.
///
/// # Safety
/// AMX is [`available`].
unsafe fn configure_tiles() {
    #[repr(C, align(64))]
    struct Config([u8; 64]);
    let mut config = Config([0; 64]);
    // palette 1
    config.0[0] = 1;
    for tile in 0..8 {
        config.0[16 + 2 * tile] = ROW_BYTES as u8;
        config.0[48 + tile] = TILE_ROWS as u8;
    }
    // SAFETY: the CPU has AMX-TILE, by this function's contract; the instruction reads the 64 bytes of `config`, and
    // palette 1 has eight tiles of this size.
    unsafe { asm!("ldtilecfg [{}]", in(reg) config.0.as_ptr(), options(nostack, readonly)) };
}

/// Frees the tiles of this thread, which the system would otherwise save at each switch to another thread.
///
/// # Safety
/// AMX is [`available`].
unsafe fn release_tiles() {
    // SAFETY: the CPU has AMX-TILE, by this function's contract; the instruction changes tile registers alone.
    unsafe { asm!("tilerelease", options(nostack, nomem)) };
}
