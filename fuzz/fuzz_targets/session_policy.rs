//! A session policy: STS receives the policy of the file without a byte order mark and white space, within
//! the size limit.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stsd::profile::SessionPolicy;
use stsd_fuzz::MARKED;

fuzz_target!(|text: &str| {
    match SessionPolicy::new(text) {
        Ok(policy) => {
            let sent = policy.as_str();
            assert!(sent.len() <= 2048, "{} bytes", sent.len());
            let body = text.strip_prefix('\u{feff}').unwrap_or(text);
            assert_eq!(sent, without_white_space(body));
            assert_eq!(SessionPolicy::new(sent).as_ref(), Ok(&policy));
        }
        Err(error) => assert!(!error.to_string().contains(MARKED), "{error}"),
    }
});

/// Removes white space independently of the tested code: text behind an odd number of quotes is kept.
fn without_white_space(document: &str) -> String {
    let mut parts = Vec::new();
    let mut rest = document;
    while let Some((outside, tail)) = rest.split_once('"') {
        let mut end = 0;
        while !tail[end..].starts_with('"') {
            end += if tail[end..].starts_with('\\') { 2 } else { 1 };
            while !tail.is_char_boundary(end) {
                end += 1;
            }
        }
        parts.push(outside.replace([' ', '\t', '\r', '\n'], ""));
        parts.push(format!("\"{}\"", &tail[..end]));
        rest = &tail[end + 1..];
    }
    parts.push(rest.replace([' ', '\t', '\r', '\n'], ""));
    parts.concat()
}
