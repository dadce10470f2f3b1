//! Requests to the HTTP endpoint without the secret of the URLs, which get no credentials.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stsd::fuzzing::http;
// For its allocator, which rejects a large allocation.
use stsd_fuzz as _;

fuzz_target!(|bytes: &[u8]| {
    let (said, secret) = http(bytes);
    let holds = said.windows(secret.len()).any(|it| it == secret.as_bytes());
    assert!(!holds, "credentials for nothing");
});
