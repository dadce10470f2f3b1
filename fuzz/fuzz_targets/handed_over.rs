//! The memfd of a handover: its bytes, or the bytes that its digest covers.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stsd::fuzzing::handed_over;
// For its allocator, which rejects a large allocation.
use stsd_fuzz as _;

fuzz_target!(|bytes: &[u8]| {
    let _ = handed_over(bytes);
});
