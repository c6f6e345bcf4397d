//! An allocator for tests that puts a page without access behind each slice of f32 or bf16, so that an access beyond
//! its end ends the program. It finds accesses that AddressSanitizer does not see: those of inline assembly and those
//! under an emulator. `.ci/kernels-check` compiles it, with `--cfg guard`; nothing else does.

use std::alloc::{GlobalAlloc, Layout, System};
use std::ffi::{c_int, c_void};

unsafe extern "C" {
    fn mmap(at: *mut c_void, len: usize, protection: c_int, flags: c_int, file: c_int, offset: i64) -> *mut c_void;
    fn mprotect(at: *mut c_void, len: usize, protection: c_int) -> c_int;
    fn munmap(at: *mut c_void, len: usize) -> c_int;
}

/// The largest page of aarch64, a multiple of every smaller one.
const PAGE: usize = 64 << 10;
/// Of `<sys/mman.h>` on Linux: `PROT_READ | PROT_WRITE`, `PROT_NONE`, `MAP_PRIVATE | MAP_ANONYMOUS`.
const READ_WRITE: c_int = 3;
const NO_ACCESS: c_int = 0;
const PRIVATE_ANONYMOUS: c_int = 0x22;

struct Guard;

#[global_allocator]
static GUARD: Guard = Guard;

/// Whether an allocation is a slice of bf16 or f32, by its alignment.
fn is_guarded(layout: Layout) -> bool {
    matches!(layout.align(), 2 | 4)
}

/// Returns the bytes of the pages of the allocation.
fn page_bytes(layout: Layout) -> usize {
    layout.size().next_multiple_of(PAGE)
}

// SAFETY: `alloc` gives `layout.size()` bytes at the end of pages of its own, or null; an address `page_bytes - size`
// above a page has the alignment of the layout, since the size of a slice is a multiple of it; `dealloc` gives the same
// pages back.
unsafe impl GlobalAlloc for Guard {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if !is_guarded(layout) {
            // SAFETY: the caller keeps the contract of `GlobalAlloc::alloc`, which is the same for `System`.
            return unsafe { System.alloc(layout) };
        }
        let len = page_bytes(layout);
        // SAFETY: a fresh private mapping touches no memory of the program.
        let at = unsafe { mmap(std::ptr::null_mut(), len + PAGE, READ_WRITE, PRIVATE_ANONYMOUS, -1, 0) };
        if at.addr() == usize::MAX {
            return std::ptr::null_mut();
        }
        // SAFETY: the mapping is `len + PAGE` bytes long and nobody else's: its last page and `size` bytes before it
        // lie within.
        unsafe {
            if mprotect(at.byte_add(len), PAGE, NO_ACCESS) != 0 {
                return std::ptr::null_mut();
            }
            at.byte_add(len - layout.size()).cast()
        }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        if !is_guarded(layout) {
            // SAFETY: `alloc` took this block from `System`, with the same layout.
            return unsafe { System.dealloc(at, layout) };
        }
        let len = page_bytes(layout);
        // SAFETY: `alloc` put the block at the end of `len` bytes of a mapping with one more page, which nobody uses
        // any more.
        unsafe { munmap(at.byte_sub(len - layout.size()).cast(), len + PAGE) };
    }
}
