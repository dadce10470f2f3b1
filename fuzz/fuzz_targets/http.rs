//! Requests to the HTTP endpoint from a process that does not know the secret in the URLs: none
//! of them gets credentials.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stsd::fuzzing::http;
// For its allocator: foreign bytes choose no large allocation.
use stsd_fuzz as _;

fuzz_target!(|bytes: &[u8]| {
    let (said, secret) = http(bytes);
    let holds = said.windows(secret.len()).any(|it| it == secret.as_bytes());
    assert!(!holds, "credentials for nothing");
});
