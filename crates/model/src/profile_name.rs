//! The name of a profile.

use std::{borrow::Borrow, fmt, sync::Arc};

use crate::Invalid;

/// The name of a profile: 1 to 64 of `[A-Za-z0-9._-]`, beginning with a letter or digit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProfileName(Arc<str>);

impl ProfileName {
    /// Maximum length of a name, in characters.
    pub const MAX_CHARS: usize = 64;

    /// Parses a profile name.
    ///
    /// # Errors
    /// [`Invalid`], with the allowed values.
    pub fn new(text: &str) -> Result<Self, Invalid> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let head = text.starts_with(|c: char| c.is_ascii_alphanumeric());
        if !head || text.len() > Self::MAX_CHARS || !text.chars().all(allowed) {
            return Err(Invalid::new(
                "a name is 1 to 64 of A-Z a-z 0-9 . _ - and begins with a letter or digit",
            ));
        }
        Ok(Self(text.into()))
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
