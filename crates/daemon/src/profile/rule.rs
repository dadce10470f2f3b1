//! Decides what a rule of the configuration means: `user:NAME`, `group:NAME` or
//! `unit:NAME`, with names turned into numbers once.

use nix::{
    errno::Errno,
    unistd::{Group, User},
};

/// What the kernel shows for every user and group that it cannot name in our namespace.
const NOBODY: u32 = 65_534;

/// Whom a profile is for. One condition; a peer that fulfils it fits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rule {
    /// Every process of a user.
    User(u32),
    /// Every process that had a group, its own or a supplementary one.
    Group(u32),
    /// Every process of a systemd unit.
    Unit(UnitName),
}

/// The name of a systemd unit in which programs run: `NAME.service` or `NAME.scope`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitName(Box<str>);

/// Why a text is not a rule. The text is not quoted: it may be a misplaced secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// Not a rule at all.
    #[error("a rule is \"user:NAME\", \"group:NAME\" or \"unit:NAME.service\"")]
    Shape,
    /// A kind of rule that could not hold.
    #[error("a rule by executable would not hold")]
    Executable,
    /// Nobody has that name.
    #[error("there is no {kind} of that name on this machine")]
    Unknown {
        /// `user` or `group`.
        kind: &'static str,
    },
    /// The machine could not be asked.
    #[error("the {kind}s of this machine cannot be looked up: {error}")]
    Lookup {
        /// `user` or `group`.
        kind: &'static str,
        /// What the system said.
        error: Errno,
    },
    /// The one number that does not stand for one user or group.
    #[error("{NOBODY} stands for every {kind} that a name space hides")]
    Nobody {
        /// `user` or `group`.
        kind: &'static str,
    },
    /// Not the name of a unit that programs run in.
    #[error("a unit is NAME.service or NAME.scope, of A-Z a-z 0-9 : _ . @ \\ -")]
    Unit,
    /// A template is nothing that runs.
    #[error("a unit with an @ needs the instance behind it")]
    Template,
}

impl RuleError {
    /// What a human can do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Shape => "write one condition a rule; a profile may have several rules",
            Self::Executable => {
                "use unit:NAME.service. The daemon's sandbox cannot see which program a peer \
                 runs, and an interpreter runs anybody's script"
            }
            Self::Unknown { kind: "user" } => "getent passwd shows the users; a number will do",
            Self::Unknown { .. } => "getent group shows the groups; a number will do",
            Self::Lookup { .. } => "look whether getent passwd works; a number will do",
            Self::Nobody { .. } => "run the program as a user of its own, and allow that one",
            Self::Unit => "systemctl status PID shows the unit of a program",
            Self::Template => "write unit:NAME@INSTANCE.service, one rule an instance",
        }
    }
}

impl Rule {
    /// Reads a rule and looks its name up.
    ///
    /// # Errors
    /// [`RuleError`], with its hint.
    pub fn new(text: &str) -> Result<Self, RuleError> {
        let (kind, name) = text.split_once(':').ok_or(RuleError::Shape)?;
        match kind {
            "user" => id("user", name, |name| {
                Ok(User::from_name(name)?.map(|user| user.uid.as_raw()))
            })
            .map(Self::User),
            "group" => id("group", name, |name| {
                Ok(Group::from_name(name)?.map(|group| group.gid.as_raw()))
            })
            .map(Self::Group),
            "unit" => UnitName::new(name).map(Self::Unit),
            "exe" => Err(RuleError::Executable),
            _ => Err(RuleError::Shape),
        }
    }
}

impl UnitName {
    /// Reads the name of a unit.
    ///
    /// # Errors
    /// [`RuleError`] says what is allowed.
    pub fn new(text: &str) -> Result<Self, RuleError> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || ":_.@\\-".contains(c);
        let stem = text
            .strip_suffix(".service")
            .or_else(|| text.strip_suffix(".scope"));
        let stem = stem.ok_or(RuleError::Unit)?;
        if stem.is_empty() || text.len() > 255 || !text.chars().all(allowed) {
            return Err(RuleError::Unit);
        }
        if stem.ends_with('@') {
            return Err(RuleError::Template);
        }
        Ok(Self(text.into()))
    }

    /// Returns the name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Returns the number of a user or group, given as such or by a name.
fn id(
    kind: &'static str,
    name: &str,
    find: impl Fn(&str) -> nix::Result<Option<u32>>,
) -> Result<u32, RuleError> {
    let numeric = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit());
    let id = if numeric {
        name.parse().map_err(|_| RuleError::Unknown { kind })?
    } else if name.is_empty() || name.contains([' ', ':', '\0']) {
        return Err(RuleError::Shape);
    } else {
        find(name)
            .map_err(|error| RuleError::Lookup { kind, error })?
            .ok_or(RuleError::Unknown { kind })?
    };
    if id == NOBODY || id == u32::MAX {
        return Err(RuleError::Nobody { kind });
    }
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::{Rule, RuleError, UnitName};

    #[test]
    fn a_rule_is_one_condition_with_its_name_looked_up() {
        let check = |text: &str, expected: Result<Rule, RuleError>| {
            assert_eq!(Rule::new(text), expected, "{text}");
        };
        let unit = |name: &str| Ok(Rule::Unit(UnitName::new(name).unwrap()));
        check("user:root", Ok(Rule::User(0)));
        check("user:1000", Ok(Rule::User(1000)));
        check("group:root", Ok(Rule::Group(0)));
        check("group:007", Ok(Rule::Group(7)));
        check("unit:nightly.service", unit("nightly.service"));
        check(
            "unit:worker@a\\x2db.service",
            unit("worker@a\\x2db.service"),
        );
        check("unit:session-3.scope", unit("session-3.scope"));

        check("exe:/usr/bin/aliyun", Err(RuleError::Executable));
        check("user:nosuch-user", Err(RuleError::Unknown { kind: "user" }));
        check("user:4294967296", Err(RuleError::Unknown { kind: "user" }));
        check(
            "group:nosuch-group",
            Err(RuleError::Unknown { kind: "group" }),
        );
        check("user:65534", Err(RuleError::Nobody { kind: "user" }));
        check("group:4294967295", Err(RuleError::Nobody { kind: "group" }));
        for text in [
            "",
            "root",
            "user:",
            "group:",
            "uid:0",
            "User:root",
            " user:root",
            "user:root unit:a.service",
            "user:root\0",
        ] {
            check(text, Err(RuleError::Shape));
        }
        for text in [
            "unit:",
            "unit:a",
            "unit:.service",
            "unit:a.slice",
            "unit:a/b.service",
        ] {
            check(text, Err(RuleError::Unit));
        }
        check("unit:*.service", Err(RuleError::Unit));
        check("unit:nightly.service unit:b.service", Err(RuleError::Unit));
        check(
            &format!("unit:{}.service", "x".repeat(250)),
            Err(RuleError::Unit),
        );
        check("unit:worker@.service", Err(RuleError::Template));
    }

    #[test]
    fn a_refused_rule_is_not_quoted_and_says_what_to_do() {
        for text in [
            "s3cret",
            "user:s3cret",
            "group:s3cret",
            "unit:s3cret",
            "exe:s3cret",
        ] {
            let error = Rule::new(text).unwrap_err();
            assert!(!error.to_string().contains("s3cret"), "{error}");
            assert!(!error.hint().is_empty());
        }
    }
}
