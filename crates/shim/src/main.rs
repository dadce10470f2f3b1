//! Decides how the shim's process begins and what its memory is. Its one file with unsafe code.
//!
//! The standard library's own start costs twenty system calls and a tenth of the shim's time
//! (`cargo xtask bench`, docs/performance.md). What is left out with it: `SIGPIPE` ends the
//! process, as it does any other small program; closed standard streams are not opened, and
//! a document that has nowhere to go is a failure; an overflow of the stack says nothing.

#![no_main]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    ffi::{CStr, OsStr, OsString, c_char, c_int},
    os::unix::ffi::OsStrExt as _,
    ptr,
};

use static_alloc::Bump;

/// How much is allocated of the program's own memory, in bytes; a usual life takes 12 KB of it.
const FIRST: usize = 64 * 1024;

#[global_allocator]
static MEMORY: Memory = Memory(Bump::uninit());

/// Memory of which the first part is there already and is never given back: most lives are over
/// before it is used up. The C library's allocator is for what is long, or goes on for long; for
/// the rest it costs a third of the shim's system calls and a quarter of its instructions.
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
// SAFETY: `Bump` gives each part of itself once, aligned and as long as was asked, and gives
// nothing where it has no more. What it gave is never given again, so there is nothing to do
// when that comes back; everything else is the system's.
unsafe impl GlobalAlloc for Memory {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match self.0.alloc(layout) {
            Some(place) => place.as_ptr(),
            // SAFETY: what our caller promises of `layout` is what is wanted here.
            None => unsafe { System.alloc(layout) },
        }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        if !self.is_of_the_first(place) {
            // SAFETY: it was allocated above, with this layout, and not of the first.
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
    // The first one is our own name.
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
