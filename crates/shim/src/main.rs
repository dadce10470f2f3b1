//! Decides how the shim's process begins. Its one file with unsafe code.
//!
//! The standard library's own start costs twenty system calls and a tenth of the shim's time
//! (`cargo xtask bench`, docs/performance.md). What is left out with it: `SIGPIPE` ends the
//! process, as it does any other small program; closed standard streams are not opened, and
//! a document that has nowhere to go is a failure; an overflow of the stack says nothing.

#![no_main]

use std::{
    ffi::{CStr, OsStr, OsString, c_char, c_int},
    os::unix::ffi::OsStrExt as _,
};

use static_alloc::Bump;

/// All that this process allocates in its life, one after the other: nothing is given back
/// before its end. Only what is used of it is memory, some 8 KB; the longest answer that a
/// daemon can send takes a third of it in the longest format. Beyond it the process ends by
/// SIGABRT, which takes some hundred thousand arguments.
#[global_allocator]
static MEMORY: Bump<[u8; 4 * 1024 * 1024]> = Bump::uninit();

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
