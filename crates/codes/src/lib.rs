//! The codes of the errors that a user can meet. A message ends with its code in brackets; docs/errors.md
//! has the cause and the fix of each, `stsctl explain CODE` prints them.

#![forbid(unsafe_code)]

use std::fmt;

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// The code of an error. A name is stable: it is never used for another error.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Code {
            $($(#[$doc])* $variant,)*
        }

        impl Code {
            /// All codes, in the order of the documents.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Returns the name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

codes! {
    // The configuration.
    /// A file of the configuration cannot be read.
    ConfigUnreadable = "config-unreadable",
    /// The configuration is not TOML.
    ConfigSyntax = "config-syntax",
    /// A key or a table is there twice.
    ConfigDuplicateKey = "config-duplicate-key",
    /// There is no key or table of the name.
    ConfigUnknownKey = "config-unknown-key",
    /// A required key is missing.
    ConfigMissingKey = "config-missing-key",
    /// A value has another type than its key.
    ConfigWrongType = "config-wrong-type",
    /// A value is outside of the allowed ones.
    ConfigInvalidValue = "config-invalid-value",
    /// A value names a source or a profile that does not exist.
    ConfigUnknownName = "config-unknown-name",
    /// Keys exclude each other, or a key has no effect.
    ConfigConflict = "config-conflict",
    /// A key file or a secret file does not have the content of one.
    ConfigKeyFile = "config-key-file",
    /// A program, or a path or variable of a program, cannot be used.
    ConfigProgram = "config-program",
    /// The identity of a source is not available.
    ConfigSource = "config-source",
    /// A file of the audit or of an export cannot be written.
    ConfigOutputFile = "config-output-file",
    /// A variable of the environment cannot be used.
    ConfigVariable = "config-variable",
    /// The variable of a proxy names none that can be used.
    UnusableProxy = "unusable-proxy",
    /// The machine has no certificate authorities.
    NoCertificates = "no-certificates",
    /// Another user can change a file that decides something.
    UntrustedFile = "untrusted-file",
    /// The configuration is valid and cannot be applied.
    ReloadFailed = "reload-failed",
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::Code;

    #[test]
    fn code_names_are_short_unique_and_of_lower_case() {
        let mut names: Vec<_> = Code::ALL.iter().map(|it| it.name()).collect();
        for name in &names {
            let is_plain = |c: char| c.is_ascii_lowercase() || c == '-';
            assert!(name.len() <= 24 && name.chars().all(is_plain), "{name}");
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Code::ALL.len());
    }
}
