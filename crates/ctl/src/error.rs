//! Errors of the command itself, with a hint and an exit code.

use std::{borrow::Cow, fmt};

use anyhow::{Result, bail};

/// An error with a hint.
#[derive(Debug)]
pub(crate) struct CliError {
    pub(crate) text: String,
    pub(crate) hint: Cow<'static, str>,
    pub(crate) exit_code: u8,
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for CliError {}

/// A wrong or incomplete command line, with exit code 2.
#[derive(Debug)]
pub(crate) struct UsageError(pub(crate) String);

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UsageError {}

/// Returns a [`UsageError`].
pub(crate) fn usage<T>(text: impl Into<String>) -> Result<T> {
    bail!(UsageError(text.into()))
}

#[cfg(test)]
mod tests {
    use stsd_client::Error;
    use stsd_model::{ProfileName, SessionPolicy};

    /// The client library has no dependency on the model, and therefore states the limits itself.
    #[test]
    fn client_hint_states_the_limits_of_the_model() {
        let hint = Error::TooLong.hint().replace(',', "");
        for limit in [ProfileName::MAX_CHARS, SessionPolicy::MAX_BYTES] {
            assert!(hint.contains(&format!(" {limit}")), "{limit}: {hint}");
        }
    }
}
