//! What a restart hands over: the bytes of a memfd, or of what its digest covers.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stsd::fuzzing::handed_over;
// For its allocator: foreign bytes choose no large allocation.
use stsd_fuzz as _;

fuzz_target!(|bytes: &[u8]| {
    let _ = handed_over(bytes);
});
