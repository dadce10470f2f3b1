//! Signatures of OSS V4, made from what is about to be sent.

use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest as _, Sha256};

use crate::credentials::Credentials;

/// Everything but RFC 3986's unreserved characters.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// The same, but a path keeps its slashes.
const RESERVED_IN_PATH: &AsciiSet = &RESERVED.remove(b'/');

/// A request before it is signed.
pub struct UnsignedRequest<'a> {
    /// The method, in upper case.
    pub method: &'a str,
    /// The bucket.
    pub bucket: &'a str,
    /// The object's key; empty for a request about the bucket.
    pub key: &'a str,
    /// Names with their values, of which none is empty.
    pub query: &'a [(&'a str, &'a str)],
    /// The region of the bucket.
    pub region: &'a str,
}

/// The request line's target, and the headers with the signature among them.
pub struct SignedRequest {
    /// The path with the bucket as its first component, and the query.
    pub target: String,
    /// The headers to send.
    pub headers: Vec<(&'static str, String)>,
}

impl UnsignedRequest<'_> {
    /// Signs the request at the system's time.
    #[must_use]
    pub fn sign(&self, credentials: &Credentials) -> SignedRequest {
        #[expect(
            clippy::disallowed_methods,
            reason = "the daemon's clock is not in reach"
        )]
        let now = Timestamp::now();
        let date = now.strftime("%Y%m%dT%H%M%SZ").to_string();
        let day = &date[..8];
        let path = format!("/{}/{}", self.bucket, self.key);
        let path = utf8_percent_encode(&path, RESERVED_IN_PATH).to_string();
        let escape = |text| utf8_percent_encode(text, RESERVED);
        let query = self.query.iter();
        let query = query.map(|(name, value)| format!("{}={}", escape(name), escape(value)));
        let mut query: Vec<_> = query.collect();
        query.sort();
        let query = query.join("&");

        let mut headers = vec![
            ("x-oss-content-sha256", "UNSIGNED-PAYLOAD".to_owned()),
            ("x-oss-date", date.clone()),
        ];
        if !credentials.token.is_empty() {
            headers.push(("x-oss-security-token", credentials.token.clone()));
        }
        let signed = headers.iter();
        let signed: String = signed.map(|(name, it)| format!("{name}:{it}\n")).collect();
        let canonical = format!(
            "{}\n{path}\n{query}\n{signed}\n\nUNSIGNED-PAYLOAD",
            self.method
        );
        let scope = format!("{day}/{}/oss/aliyun_v4_request", self.region);
        let hash = hex(&Sha256::digest(canonical));
        let text = format!("OSS4-HMAC-SHA256\n{date}\n{scope}\n{hash}");
        let mut key = format!("aliyun_v4{}", credentials.secret).into_bytes();
        for part in scope.split('/') {
            key = hmac(&key, part);
        }
        let signature = hex(&hmac(&key, &text));
        let id = &credentials.id;
        let authorization =
            format!("OSS4-HMAC-SHA256 Credential={id}/{scope},Signature={signature}");
        headers.push(("authorization", authorization));
        let target = match query.as_str() {
            "" => path,
            query => format!("{path}?{query}"),
        };
        SignedRequest { target, headers }
    }
}

fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
