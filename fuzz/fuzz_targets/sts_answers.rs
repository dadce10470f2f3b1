//! The body of an answer of STS, parsed as a success and as an error. No output contains a secret
//! of the request or of the answer.
#![no_main]

use std::{collections::BTreeMap, sync::LazyLock};

use libfuzzer_sys::fuzz_target;
use stsd_fuzz::MARKED;
use stsd_sts::{RoleSession, SecretText, StsError, fuzzing, string_to_sign};

/// A secret with the length of a RAM user's real one.
const KEY_SECRET: &str = "KeyMARKEDSECRET000000000000001";

/// A token with characters that are escaped in the form, and twice in the string to sign.
const TOKEN: &str = "CAISMARKEDSECRET/+token==";
const TOKEN_IN_THE_FORM: &str = "CAISMARKEDSECRET%2F%2Btoken%3D%3D";
const TOKEN_SIGNED: &str = "CAISMARKEDSECRET%252F%252Btoken%253D%253D";

struct Sent {
    signed: String,
    secrets: [SecretText; 2],
}

static SENT: LazyLock<Sent> = LazyLock::new(|| {
    let parameters = [("Action", "AssumeRole"), ("SecurityToken", TOKEN)];
    let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned().into());
    let parameters = BTreeMap::from(parameters.map(owned));
    let signed = string_to_sign("POST", &parameters).to_string();
    assert!(signed.contains(TOKEN_SIGNED));
    Sent {
        signed,
        secrets: [KEY_SECRET, TOKEN].map(|text| SecretText::from(text.to_owned())),
    }
});

fuzz_target!(|body: &[u8]| {
    match fuzzing::session(body) {
        Ok(session) => session_is_printed_without_secrets(&session),
        // The reasons are texts of this project, and none quotes the body.
        Err(StsError::Unreadable { reason }) => assert!(!reason.contains(MARKED), "{reason}"),
        Err(other) => panic!("a success cannot be refused: {other}"),
    }
    for http_status in [400, 503] {
        refusal_is_printed_without_secrets(body, http_status);
    }
});

fn session_is_printed_without_secrets(session: &RoleSession) {
    let RoleSession {
        access_key_id,
        expiration,
        request_id,
        ..
    } = session;
    let printed = format!(
        "RoleSession {{ access_key_id: {access_key_id:?}, access_key_secret: [redacted], \
         security_token: [redacted], expiration: {expiration:?}, server_date: None, \
         request_id: {request_id:?} }}"
    );
    assert_eq!(format!("{session:?}"), printed);
    assert!(!access_key_id.is_empty() && access_key_id.len() <= 128);
    assert!(!request_id.contains(char::is_control), "{request_id:?}");
}

fn refusal_is_printed_without_secrets(body: &[u8], http_status: u16) {
    let Sent { signed, secrets } = &*SENT;
    let [key_secret, token] = secrets;
    let error = fuzzing::refusal(body, http_status, None, signed, &[key_secret, token]);
    assert!(StsError::KINDS.contains(&error.kind()));
    let shown = error.to_string();
    assert!(!shown.contains(char::is_control), "{shown:?}");
    let printed = format!("{shown} {error:?}");
    for secret in [KEY_SECRET, TOKEN, TOKEN_IN_THE_FORM, TOKEN_SIGNED] {
        assert!(!printed.contains(secret), "{printed}");
    }
}
