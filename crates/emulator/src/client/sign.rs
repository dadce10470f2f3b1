//! Signs a request with OSS V4, from what is about to be sent.

use jiff::Timestamp;

use crate::{
    client::credentials::Credentials,
    clock::Clock,
    encoding::{escape, escape_path, hex, hex_sha256, hmac_sha256},
};

/// A request before it is signed.
pub(crate) struct Unsigned<'a> {
    pub(crate) method: &'a str,
    pub(crate) bucket: &'a str,
    pub(crate) key: &'a str,
    pub(crate) query: &'a [(&'a str, &'a str)],
    pub(crate) region: &'a str,
}

/// The request line's target and the headers that sign it.
pub(crate) struct Signed {
    pub(crate) target: String,
    pub(crate) headers: Vec<(&'static str, String)>,
}

impl Unsigned<'_> {
    pub(crate) fn sign(&self, credentials: &Credentials, clock: &Clock) -> Signed {
        let now: Timestamp = clock.now();
        let date = now.strftime("%Y%m%dT%H%M%SZ").to_string();
        let day = &date[..8];
        let mut query: Vec<String> = self
            .query
            .iter()
            .map(|(name, value)| match *value {
                // V4 signs an empty value as its bare name.
                "" => escape(name),
                value => format!("{}={}", escape(name), escape(value)),
            })
            .collect();
        query.sort();
        let query = query.join("&");
        let path = escape_path(&format!("/{}/{}", self.bucket, self.key));

        let mut headers = vec![
            ("x-oss-content-sha256", "UNSIGNED-PAYLOAD".to_owned()),
            ("x-oss-date", date.clone()),
        ];
        if !credentials.token.is_empty() {
            headers.push(("x-oss-security-token", credentials.token.clone()));
        }
        let signed: String = headers
            .iter()
            .map(|(name, value)| format!("{name}:{value}\n"))
            .collect();
        let canonical = format!(
            "{}\n{path}\n{query}\n{signed}\n\nUNSIGNED-PAYLOAD",
            self.method
        );
        let scope = format!("{day}/{}/oss/aliyun_v4_request", self.region);
        let text = format!(
            "OSS4-HMAC-SHA256\n{date}\n{scope}\n{}",
            hex_sha256(canonical.as_bytes())
        );
        let mut key = format!("aliyun_v4{}", credentials.secret).into_bytes();
        for part in scope.split('/') {
            key = hmac_sha256(&key, part.as_bytes());
        }
        let signature = hex(&hmac_sha256(&key, text.as_bytes()));
        headers.push((
            "authorization",
            format!(
                "OSS4-HMAC-SHA256 Credential={}/{scope},Signature={signature}",
                credentials.id
            ),
        ));
        let target = if query.is_empty() {
            path
        } else {
            format!("{path}?{query}")
        };
        Signed { target, headers }
    }
}
