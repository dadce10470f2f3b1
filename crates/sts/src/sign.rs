//! The signature of a request: RPC signature version 1, HMAC-SHA1.
//!
//! The string to sign is built from every parameter of the query and the form together,
//! each percent-encoded twice (vendor page "Signature mechanism" of the RPC style).

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha1::Sha1;
use zeroize::Zeroizing;

use crate::SecretText;

/// RFC 3986: everything but letters, digits and `-_.~` is escaped.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// The parameters of one request, and their signature once signed.
///
/// Ordered by name as bytes, which is the order the signature needs. A value may be a
/// security token, so the type prints nothing and its encodings are wiped on drop.
pub struct SignedForm(BTreeMap<String, Zeroizing<String>>);

impl SignedForm {
    /// Signs the parameters of a request as they will be sent by `method`.
    #[must_use]
    pub fn new<'a>(
        method: &str,
        parameters: impl IntoIterator<Item = (&'a str, &'a str)>,
        access_key_secret: &SecretText,
    ) -> Self {
        let mut form: BTreeMap<String, Zeroizing<String>> = parameters
            .into_iter()
            .map(|(name, value)| (name.to_owned(), Zeroizing::new(value.to_owned())))
            .collect();
        let text = string_to_sign(method, &form);
        let key = Zeroizing::new(format!("{}&", access_key_secret.expose()));
        let mut mac =
            Hmac::<Sha1>::new_from_slice(key.as_bytes()).expect("HMAC takes a key of any length");
        mac.update(text.as_bytes());
        let signature = STANDARD.encode(mac.finalize().into_bytes());
        form.insert("Signature".to_owned(), Zeroizing::new(signature));
        Self(form)
    }

    /// Returns the signature, base64.
    #[must_use]
    pub fn signature(&self) -> &str {
        &self.0["Signature"]
    }

    /// Returns the body of a form POST.
    #[must_use]
    pub fn body(&self) -> Zeroizing<String> {
        form(&self.0)
    }
}

/// Returns the text that is signed. It holds the security token if there is one, twice
/// escaped, so it is as secret as that.
#[must_use]
pub fn string_to_sign(
    method: &str,
    parameters: &BTreeMap<String, Zeroizing<String>>,
) -> Zeroizing<String> {
    let canonical = form(parameters);
    Zeroizing::new(format!(
        "{method}&%2F&{}",
        utf8_percent_encode(&canonical, ESCAPED)
    ))
}

/// Returns a value as a form encodes it.
pub(crate) fn escaped(value: &str) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(3 * value.len()));
    text.extend(utf8_percent_encode(value, ESCAPED));
    text
}

/// Returns parameters as a form encodes them, ordered by name.
pub(crate) fn form(parameters: &BTreeMap<String, Zeroizing<String>>) -> Zeroizing<String> {
    // An escaped byte takes three, so this never grows and leaves no copy behind.
    let capacity = parameters
        .iter()
        .map(|(name, value)| 3 * (name.len() + value.len()) + 2)
        .sum();
    let mut text = Zeroizing::new(String::with_capacity(capacity));
    for (name, value) in parameters {
        if !text.is_empty() {
            text.push('&');
        }
        text.extend(utf8_percent_encode(name, ESCAPED));
        text.push('=');
        text.extend(utf8_percent_encode(value, ESCAPED));
    }
    text
}
