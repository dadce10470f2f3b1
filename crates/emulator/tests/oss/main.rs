//! The emulated OSS through raw bytes over TCP: rights, errors, objects, lists.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod buckets;
mod errors;
#[path = "../kit/mod.rs"]
mod kit;
mod multipart;
mod objects;
mod policy;

use base64::Engine as _;
use kit::{Answer, Credentials, KEY, SECRET};

/// Returns the code of an error, from the body or, for `HEAD`, from the header.
fn code(answer: &Answer) -> String {
    document(answer).element("Code")
}

fn document(answer: &Answer) -> Answer {
    let body = match answer.header("x-oss-err") {
        Some(text) => base64::engine::general_purpose::STANDARD
            .decode(text)
            .unwrap(),
        None => answer.body.clone(),
    };
    Answer {
        status: answer.status,
        headers: Vec::new(),
        body,
    }
}

fn expect(answer: &Answer, status: u16, code: &str, ec: &str) {
    let document = document(answer);
    assert_eq!(document.element("Code"), code, "{}", document.text());
    assert_eq!(answer.status, status, "{}", document.text());
    assert_eq!(document.element("EC"), ec);
    assert_eq!(answer.header("x-oss-ec"), Some(ec));
    assert_eq!(
        answer.header("x-oss-request-id"),
        Some(document.element("RequestId").as_str())
    );
    assert_eq!(answer.header("date"), Some("Thu, 01 Jan 2026 00:00:00 GMT"));
}

fn long_lived_key() -> Credentials {
    Credentials {
        id: KEY.to_owned(),
        secret: SECRET.to_owned(),
        token: None,
    }
}
