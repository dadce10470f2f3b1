//! The name of a profile.

use std::{borrow::Borrow, fmt, sync::Arc};

use crate::Invalid;

/// The name of a profile: 1 to 64 of `[A-Za-z0-9._-]`, beginning with a letter or digit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProfileName(Arc<str>);

impl ProfileName {
    /// Maximum length of a name, in characters. The client's hint for a request that is too long
    /// states the same number.
    pub const MAX_CHARS: usize = 64;

    /// The allowed names, as the end of a sentence that begins with "a name is".
    pub const SYNTAX: &str = "1 to 64 of A-Z a-z 0-9 . _ - and begins with a letter or digit";

    /// Parses a profile name.
    ///
    /// # Errors
    /// [`Invalid`], with the allowed values.
    pub fn new(text: &str) -> Result<Self, Invalid> {
        if !Self::is_valid(text) {
            return Err(Invalid::new(&format!("a name is {}", Self::SYNTAX)));
        }
        Ok(Self(text.into()))
    }

    /// Returns `true` if a text is a profile name.
    #[must_use]
    pub fn is_valid(text: &str) -> bool {
        text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.len() <= Self::MAX_CHARS
            && text.chars().all(Self::is_allowed)
    }

    /// Returns `true` if a name may hold a character after its first one.
    #[must_use]
    pub fn is_allowed(c: char) -> bool {
        c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')
    }

    /// Returns the name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for ProfileName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ProfileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profile_name_begins_with_letter_or_digit() {
        let check = |text: &str, valid| assert_eq!(ProfileName::is_valid(text), valid, "{text}");
        check("oss-upload.2", true);
        check("0", true);
        check(&"a".repeat(ProfileName::MAX_CHARS), true);
        check(&"a".repeat(ProfileName::MAX_CHARS + 1), false);
        for text in ["", "-a", ".a", "a b", "a]", "a\n", "../a", "é"] {
            check(text, false);
        }
    }

    #[test]
    fn profile_name_error_states_the_maximum_length() {
        let error = ProfileName::new("").unwrap_err().to_string();
        let maximum = format!("a name is 1 to {} of ", ProfileName::MAX_CHARS);
        assert!(error.starts_with(&maximum), "{error}");
    }
}
