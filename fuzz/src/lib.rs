//! The common parts of the targets: an allocator that aborts at a large allocation, and a marked
//! secret.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    process, thread,
};

/// The marked secret in the input of a target; no output may contain it.
pub const MARKED: &str = "MARKEDSECRET";

/// Maximum size of an allocation, in bytes: more than the largest input of a target needs, and more
/// than the 1 MiB that serde reserves for a list before its elements.
const MAX_ALLOCATION_BYTES: usize = 4 * 1024 * 1024;

struct Bounded;

#[global_allocator]
static ALLOCATOR: Bounded = Bounded;

// SAFETY: every call is passed to the system allocator, or does not return.
unsafe impl GlobalAlloc for Bounded {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        check(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        check(size);
        unsafe { System.realloc(memory, layout, size) }
    }
}

/// Aborts at a large allocation, because an allocator must not unwind; libFuzzer prints the
/// backtrace. A panic aborts anyhow, and its own backtrace allocates more, so it is excepted.
fn check(size: usize) {
    if size > MAX_ALLOCATION_BYTES && !thread::panicking() {
        eprintln!("an allocation of {size} bytes");
        process::abort();
    }
}
