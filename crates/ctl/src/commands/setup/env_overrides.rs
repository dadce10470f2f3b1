//! Decides what of an environment keeps a tool from a profile that it was set up for.

use std::{env, ffi::OsString};

/// A variable that wins, or stands in the way.
pub(super) struct EnvOverride {
    pub(super) name: &'static str,
    /// The values that matter; any that is not empty, where there are none.
    pub(super) values: &'static [&'static str],
    pub(super) what: &'static str,
    /// Nothing works with it; else it depends on how the tool is called.
    pub(super) is_fatal: bool,
}

/// A tool ignores the profiles in its file.
pub(super) const fn ignores(name: &'static str) -> EnvOverride {
    EnvOverride {
        name,
        values: &["TRUE"],
        what: "makes it ignore its file",
        is_fatal: true,
    }
}

/// Keys come first, unless the tool is told the profile's name by an option.
pub(super) const fn keys(name: &'static str) -> EnvOverride {
    EnvOverride {
        name,
        values: &[],
        what: "holds a key that it takes first, unless it is told the profile by an option",
        is_fatal: false,
    }
}

impl EnvOverride {
    /// Tells whether this one is there, in this process's environment.
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
