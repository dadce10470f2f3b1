//! Variables that keep a tool from using a profile in its file.

use std::{env, ffi::OsString};

/// A variable that overrides the profile or prevents its use.
pub(super) struct EnvOverride {
    pub(super) name: &'static str,
    /// The values with an effect; an empty list means any value that is not empty.
    pub(super) values: &'static [&'static str],
    pub(super) what: &'static str,
    /// `true` if the tool never works with the variable; otherwise it depends on options.
    pub(super) is_fatal: bool,
}

/// Returns a variable that makes a tool ignore the profiles in its file.
pub(super) const fn ignores(name: &'static str) -> EnvOverride {
    EnvOverride {
        name,
        values: &["TRUE"],
        what: "makes it ignore its file",
        is_fatal: true,
    }
}

/// Returns a variable with a key, which takes precedence unless an option selects the profile.
pub(super) const fn keys(name: &'static str) -> EnvOverride {
    EnvOverride {
        name,
        values: &[],
        what: "holds a key that it takes first, unless it is told the profile by an option",
        is_fatal: false,
    }
}

impl EnvOverride {
    /// Returns `true` if this process's environment has the variable with an effective value.
    pub(super) fn is_set(&self) -> bool {
        self.applies_to(env::var_os(self.name))
    }

    fn applies_to(&self, value: Option<OsString>) -> bool {
        let Some(value) = value.filter(|it| !it.is_empty()) else {
            return false;
        };
        self.values.is_empty() || self.values.iter().any(|it| value == *it)
    }
}
