//! Decides how a secret is held: one type, redacted when printed, wiped when dropped,
//! with one way out.
//!
//! Both the wire format and the signer need secrets and neither may know the other, so
//! the type lives alone. The audit of the whole project is `rg 'expose\(\)'`.

use std::fmt;

use zeroize::Zeroizing;

/// Text that must never be printed: an AccessKey secret or a security token.
///
/// There is no `Display` and no `Deref`; `Debug` prints `[redacted]`; the memory is
/// overwritten on drop. [`expose`](Self::expose) is the only door.
///
/// ```
/// let secret = stsd_secret::SecretText::from("made-up".to_owned());
/// assert_eq!(format!("{secret:?}"), "[redacted]");
/// assert_eq!(secret.expose(), "made-up");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct SecretText(Zeroizing<String>);

impl SecretText {
    /// Returns the secret itself, for signing with it or for handing it out.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Tells whether there is no secret here at all, without exposing it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<String> for SecretText {
    fn from(text: String) -> Self {
        Self(Zeroizing::new(text))
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl serde::Serialize for SecretText {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.expose())
    }
}

impl<'de> serde::Deserialize<'de> for SecretText {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::from)
    }
}

#[cfg(test)]
mod tests {
    use super::SecretText;

    #[test]
    fn debug_output_of_anything_that_holds_a_secret_is_redacted() {
        #[derive(Debug)]
        #[expect(dead_code, reason = "only its Debug output is of interest")]
        struct Holder {
            secret: Option<SecretText>,
        }
        let holder = Holder {
            secret: Some(SecretText::from("marker-secret".to_owned())),
        };
        assert_eq!(format!("{holder:?}"), "Holder { secret: Some([redacted]) }");
    }
}
