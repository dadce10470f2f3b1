//! What somebody on loopback sends who does not know the secret in the URLs: whatever it is,
//! it gets no credentials.
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
