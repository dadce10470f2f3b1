//! What every target has in common: an allocator that ends the target when foreign bytes
//! talk it into one large allocation, and a secret to look for.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    process, thread,
};

/// The secret that targets plant, and that nothing printed may hold.
pub const MARKED: &str = "MARKEDSECRET";

/// Far above what the largest input of a target needs, and above the 1 MiB that serde
/// reserves at most for a list before it has seen it.
const LARGEST_ALLOCATION: usize = 4 * 1024 * 1024;

struct Bounded;

#[global_allocator]
static ALLOCATOR: Bounded = Bounded;

// SAFETY: every call is the system allocator's own, or does not return.
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

/// Aborts, because an allocator must not unwind; libFuzzer shows where from. A panic is on
/// its way to an abort anyhow, and its backtrace reads the whole program.
fn check(size: usize) {
    if size > LARGEST_ALLOCATION && !thread::panicking() {
        eprintln!("an allocation of {size} bytes");
        process::abort();
    }
}
