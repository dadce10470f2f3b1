//! The rules of the configuration, `user:NAME`, `group:NAME` or `unit:NAME`. The names of users and
//! groups are resolved once.

use nix::{
    errno::Errno,
    unistd::{Group, User},
};

/// The overflow id: the kernel shows it for each user and group outside the daemon's user namespace.
const OVERFLOW_ID: u32 = 65_534;

/// A condition on a peer. A peer that meets one rule of a profile may have its credentials.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// All processes of a user.
    User(u32),
    /// All processes with a primary or supplementary group.
    Group(u32),
    /// All processes of a systemd unit.
    Unit(UnitName),
    /// All processes of a Kubernetes pod, by its UID.
    Pod(PodUid),
}

/// The name of a systemd unit in which programs run: `NAME.service` or `NAME.scope`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnitName(Box<str>);

/// The UID of a Kubernetes pod.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PodUid(Box<str>);

/// The reason why a text is no rule. No variant holds the text: it may be a misplaced secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// The text has not the shape of a rule.
    #[error("a rule is \"user:NAME\", \"group:NAME\", \"unit:NAME.service\" or \"pod:UID\"")]
    Shape,
    /// A rule by executable, which cannot be enforced.
    #[error("a rule by executable cannot be enforced")]
    Executable,
    /// There is no user or group of that name.
    #[error("there is no {kind} of that name on this machine")]
    Unknown {
        /// `user` or `group`.
        kind: &'static str,
    },
    /// getpwnam(3) or getgrnam(3) has failed.
    #[error("the {kind}s of this machine cannot be looked up: {error}")]
    Lookup {
        /// `user` or `group`.
        kind: &'static str,
        /// The error of the lookup.
        error: Errno,
    },
    /// The overflow id, or the id that means "unchanged" to the kernel.
    #[error("{OVERFLOW_ID} stands for each {kind} outside of the user namespace")]
    Overflow {
        /// `user` or `group`.
        kind: &'static str,
    },
    /// The name is not that of a unit that has processes.
    #[error("a unit is NAME.service or NAME.scope, of A-Z a-z 0-9 : _ . @ \\ -")]
    Unit,
    /// The text is not the UID of a pod.
    #[error("the UID of a pod has 32 hex digits and four -")]
    Pod,
    /// A template unit has no processes.
    #[error("a unit with an @ needs an instance name after the @")]
    Template,
}

impl RuleError {
    /// Returns what to do about the error.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Shape => "for example allow = [\"user:backup\", \"group:web\"]",
            Self::Executable => {
                "use unit:NAME.service. The daemon's sandbox hides the program of a peer, and an \
                 interpreter runs any script"
            }
            Self::Unknown { kind: "user" } => {
                "getent passwd lists the users; a number is accepted too"
            }
            Self::Unknown { .. } => "getent group lists the groups; a number is accepted too",
            Self::Lookup { .. } => "check that getent passwd works; a number is accepted too",
            Self::Overflow { .. } => "run the program as a user of its own, and allow that user",
            Self::Unit => "systemctl status PID shows the unit of a program",
            Self::Pod => "kubectl get pod NAME -o jsonpath='{.metadata.uid}' prints it",
            Self::Template => "write unit:NAME@INSTANCE.service, one rule per instance",
        }
    }
}

impl Rule {
    /// Parses a rule and resolves its name.
    ///
    /// # Errors
    /// [`RuleError`], with its hint.
    pub fn new(text: &str) -> Result<Self, RuleError> {
        Self::parse(
            text,
            |name| Ok(User::from_name(name)?.map(|user| user.uid.as_raw())),
            |name| Ok(Group::from_name(name)?.map(|group| group.gid.as_raw())),
        )
    }

    /// Checks a rule, and does not look up the name: another machine has the user or the group.
    ///
    /// # Errors
    /// [`RuleError`], with its hint.
    pub fn check_form(text: &str) -> Result<(), RuleError> {
        let any = |_: &str| Ok(Some(0));
        Self::parse(text, any, any).map(drop)
    }

    fn parse(
        text: &str,
        user: impl Fn(&str) -> nix::Result<Option<u32>>,
        group: impl Fn(&str) -> nix::Result<Option<u32>>,
    ) -> Result<Self, RuleError> {
        let (kind, name) = text.split_once(':').ok_or(RuleError::Shape)?;
        match kind {
            "user" => id("user", name, user).map(Self::User),
            "group" => id("group", name, group).map(Self::Group),
            "unit" => UnitName::new(name).map(Self::Unit),
            "pod" => PodUid::new(name).map(Self::Pod),
            "exe" => Err(RuleError::Executable),
            _ => Err(RuleError::Shape),
        }
    }
}

impl UnitName {
    /// Parses the name of a unit.
    ///
    /// # Errors
    /// [`RuleError`], with its hint.
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

impl PodUid {
    /// The number of digits of each part.
    const PARTS: [usize; 5] = [8, 4, 4, 4, 12];

    /// Parses a UID: hex digits in lower case, in five parts.
    ///
    /// # Errors
    /// [`RuleError`], with its hint.
    pub fn new(text: &str) -> Result<Self, RuleError> {
        let is_digit = |it: u8| it.is_ascii_digit() || (b'a'..=b'f').contains(&it);
        let lengths = text.split('-').map(str::len);
        let digits = text.bytes().filter(|it| *it != b'-');
        match lengths.eq(Self::PARTS) && digits.into_iter().all(is_digit) {
            true => Ok(Self(text.into())),
            false => Err(RuleError::Pod),
        }
    }

    /// Returns the UID.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Returns the id of a user or group, from a number or a name.
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
    if id == OVERFLOW_ID || id == u32::MAX {
        return Err(RuleError::Overflow { kind });
    }
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::{PodUid, Rule, RuleError, UnitName};

    #[test]
    fn rule_is_one_condition_with_its_name_resolved() {
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

        let uid = "3f2b1c4d-0a1b-4c5d-8e9f-001122334455";
        check(
            &format!("pod:{uid}"),
            Ok(Rule::Pod(PodUid::new(uid).unwrap())),
        );
        for text in [
            "pod:",
            "pod:web-0",
            "pod:3F2B1C4D-0a1b-4c5d-8e9f-001122334455",
        ] {
            check(text, Err(RuleError::Pod));
        }
        check("exe:/usr/bin/aliyun", Err(RuleError::Executable));
        check("user:nosuch-user", Err(RuleError::Unknown { kind: "user" }));
        check("user:4294967296", Err(RuleError::Unknown { kind: "user" }));
        check(
            "group:nosuch-group",
            Err(RuleError::Unknown { kind: "group" }),
        );
        check("user:65534", Err(RuleError::Overflow { kind: "user" }));
        check(
            "group:4294967295",
            Err(RuleError::Overflow { kind: "group" }),
        );
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
    fn refused_rule_is_not_quoted_and_has_a_hint() {
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
