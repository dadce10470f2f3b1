//! Decides what of an environment keeps a tool from a profile that it was set up for.

use std::{env, ffi::OsString};

/// A variable that wins, or stands in the way.
pub(super) struct Shadow {
    pub(super) name: &'static str,
    /// The values that matter; any that is not empty, where there are none.
    pub(super) values: &'static [&'static str],
    pub(super) what: &'static str,
    /// Nothing works with it; else it depends on how the tool is called.
    pub(super) fatal: bool,
}

/// A tool ignores the profiles in its file.
pub(super) const fn ignores(name: &'static str) -> Shadow {
    Shadow {
        name,
        values: &["TRUE"],
        what: "makes it ignore its file",
        fatal: true,
    }
}

/// Keys come first, unless the tool is told the profile's name by an option.
pub(super) const fn keys(name: &'static str) -> Shadow {
    Shadow {
        name,
        values: &[],
        what: "holds a key that it takes first, unless it is told the profile by an option",
        fatal: false,
    }
}

impl Shadow {
    /// Tells whether this one is there, in this process's environment.
    pub(super) fn is_there(&self) -> bool {
        self.is_in(env::var_os(self.name))
    }

    fn is_in(&self, value: Option<OsString>) -> bool {
        let Some(value) = value.filter(|it| !it.is_empty()) else {
            return false;
        };
        self.values.is_empty() || self.values.iter().any(|it| value == *it)
    }
}
