//! The text of a RAM user's key file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stsd::fuzzing::key_file;
use stsd_fuzz::MARKED;

fuzz_target!(|text: &str| {
    match key_file(text) {
        Ok(key) => {
            let id = &key.access_key_id;
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
            assert!(
                (1..=128).contains(&id.len()) && id.bytes().all(plain),
                "{id:?}"
            );
            assert!(!key.access_key_secret.is_empty());
            // The whole output, so that no part of it can be a secret.
            let printed = format!(
                "SourceCredentials {{ access_key_id: {id:?}, access_key_secret: [redacted], \
                 security_token: None }}"
            );
            assert_eq!(format!("{key:?}"), printed);
        }
        Err(error) => {
            let printed = format!("{error} {error:?} {}", error.hint());
            assert!(!printed.contains(MARKED), "{printed}");
        }
    }
});
