//! Credentials documents of other programs: the output of a command, the body of a URL's reply.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stsd::fuzzing::document;
use stsd_fuzz::MARKED;

fuzz_target!(|text: &str| {
    match document(text) {
        // The id and the times are printed, and no secret.
        Ok(obtained) => {
            let printed = format!("{obtained:?}");
            let mut secrets = printed.match_indices("access_key_secret: ");
            assert!(
                secrets.all(|(at, _)| printed[at..].starts_with("access_key_secret: [redacted]"))
            );
            assert!(!printed.contains(char::is_control), "{printed}");
        }
        Err(error) => {
            let printed = format!("{error} {error:?} {}", error.hint);
            assert!(!printed.contains(MARKED), "{printed}");
        }
    }
});
