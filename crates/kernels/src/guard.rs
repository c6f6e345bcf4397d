//! Slices of f32 and bf16 end where a page begins that may not be touched: for assembly and for an emulator, which
//! AddressSanitizer does not see. Compiled by `.ci/kernels-check` only, with `--cfg guard`.

use std::alloc::{GlobalAlloc, Layout, System};
use std::ffi::{c_int, c_void};

unsafe extern "C" {
    fn mmap(at: *mut c_void, len: usize, protection: c_int, flags: c_int, file: c_int, offset: i64) -> *mut c_void;
    fn mprotect(at: *mut c_void, len: usize, protection: c_int) -> c_int;
    fn munmap(at: *mut c_void, len: usize) -> c_int;
}

/// The largest page of aarch64.
const PAGE: usize = 64 << 10;

struct Guard;

#[global_allocator]
static GUARD: Guard = Guard;

fn guarded(layout: Layout) -> bool {
    matches!(layout.align(), 2 | 4)
}

fn whole(layout: Layout) -> usize {
    layout.size().next_multiple_of(PAGE)
}

unsafe impl GlobalAlloc for Guard {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if !guarded(layout) {
            return unsafe { System.alloc(layout) };
        }
        let len = whole(layout);
        // readable and writable, private and of no file; the last page is neither
        let at = unsafe { mmap(std::ptr::null_mut(), len + PAGE, 3, 0x22, -1, 0) };
        if at.addr() == usize::MAX || unsafe { mprotect(at.byte_add(len), PAGE, 0) } != 0 {
            return std::ptr::null_mut();
        }
        unsafe { at.byte_add(len - layout.size()).cast() }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        if !guarded(layout) {
            return unsafe { System.dealloc(at, layout) };
        }
        let len = whole(layout);
        unsafe { munmap(at.byte_sub(len - layout.size()).cast(), len + PAGE) };
    }
}
