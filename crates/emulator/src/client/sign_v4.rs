//! OSS signature version 4 in the header, as the vendor's page describes it. Written apart
//! from the verifier, so that each is a test of the other.

use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest as _, Sha256};

use super::Client;

/// Everything but letters, digits, `-_.~` and the slash is escaped in a path.
const PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~')
    .remove(b'/');

/// The path of an object, or of a bucket when the key is empty.
pub(super) fn path(bucket: &str, key: &str) -> String {
    format!("/{bucket}/{}", utf8_percent_encode(key, PATH))
}

/// The headers that make a request ours.
pub(super) fn headers(
    client: &Client,
    method: &str,
    bucket: &str,
    key: &str,
    now: Timestamp,
) -> Vec<(&'static str, String)> {
    let date = now.strftime("%Y%m%dT%H%M%SZ").to_string();
    let day = &date[..8];
    let credentials = &client.credentials;
    let token = &credentials.security_token;
    let canonical = format!(
        "{method}\n{}\n\nx-oss-content-sha256:UNSIGNED-PAYLOAD\nx-oss-date:{date}\n\
         x-oss-security-token:{token}\n\n\nUNSIGNED-PAYLOAD",
        path(bucket, key)
    );
    let scope = format!("{day}/{}/oss/aliyun_v4_request", client.region);
    let digest = lower_hex(&Sha256::digest(canonical));
    let text = format!("OSS4-HMAC-SHA256\n{date}\n{scope}\n{digest}");
    let first = format!("aliyun_v4{}", credentials.access_key_secret).into_bytes();
    let steps = [day, &client.region, "oss", "aliyun_v4_request"];
    let key = steps.iter().fold(first, |key, step| hmac(&key, step));
    let signature = lower_hex(&hmac(&key, &text));
    let id = &credentials.access_key_id;
    vec![
        ("x-oss-content-sha256", "UNSIGNED-PAYLOAD".to_owned()),
        ("x-oss-date", date),
        ("x-oss-security-token", token.clone()),
        (
            "authorization",
            format!("OSS4-HMAC-SHA256 Credential={id}/{scope},Signature={signature}"),
        ),
    ]
}

fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn lower_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
