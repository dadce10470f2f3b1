//! The shim's entry point and its allocator. It is the shim's only file with unsafe code.
//!
//! The standard library's own start costs twenty system calls and a tenth of the shim's time
//! (`cargo xtask bench`, docs/performance.md). Without that start, `SIGPIPE` ends the process, as
//! it does with C programs; closed standard streams are not opened, so a document for a closed
//! stream is a failure; a stack overflow prints no message.

#![no_main]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    ffi::{CStr, OsStr, OsString, c_char, c_int},
    os::unix::ffi::OsStrExt as _,
    ptr,
};

use static_alloc::Bump;

/// The size of the bump allocator, in bytes; a usual run takes 12 KB.
const FIRST: usize = 64 * 1024;

#[global_allocator]
static MEMORY: Memory = Memory(Bump::uninit());

/// A bump allocator in the program's own data, and the C library's allocator for what does not
/// fit. Most runs fit. The C library's allocator alone would take a third of the shim's system calls
/// and a quarter of its instructions.
struct Memory(Bump<[u8; FIRST]>);

impl Memory {
    fn is_of_the_first(&self, place: *const u8) -> bool {
        let start = ptr::from_ref(self).addr();
        (start..start + size_of_val(self)).contains(&place.addr())
    }
}

#[expect(
    unsafe_code,
    reason = "each allocation is passed on, as it is, to one of two allocators that keep the \
              promise; where it lies tells which of them has it back"
)]
// SAFETY: `Bump` returns each part of itself once, with the layout that was asked for, or `None`
// when it is full. No part is reused, so freeing it does nothing; all other memory is the system
// allocator's.
unsafe impl GlobalAlloc for Memory {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match self.0.alloc(layout) {
            Some(place) => place.as_ptr(),
            // SAFETY: the caller's promise about `layout` is the one that `System` needs.
            None => unsafe { System.alloc(layout) },
        }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        if !self.is_of_the_first(place) {
            // SAFETY: `place` was allocated above by `System`, with this layout.
            unsafe { System.dealloc(place, layout) }
        }
    }
}

#[expect(
    unsafe_code,
    reason = "the C library calls what has this name, and nothing else here has it"
)]
#[unsafe(no_mangle)]
extern "C" fn main(count: c_int, arguments: *const *const c_char) -> c_int {
    let count = usize::try_from(count).unwrap_or_default();
    // The first argument is the program's name.
    let typed = (1..count).map(|index| argument(arguments, index));
    c_int::from(sts_shim::run(typed))
}

fn argument(arguments: *const *const c_char, index: usize) -> OsString {
    #[expect(
        unsafe_code,
        reason = "C promises `main` as many arguments as it is told of, each a text that \
                  ends with a zero byte and lives as long as the process"
    )]
    let text = unsafe { CStr::from_ptr(*arguments.add(index)) };
    OsStr::from_bytes(text.to_bytes()).to_owned()
}
