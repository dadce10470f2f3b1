//! The names of a session in ActionTrail.

use crate::{Invalid, ProfileName};

/// The session name in ActionTrail: 2 to 64 of `[A-Za-z0-9.@_-]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleSessionName(Box<str>);

/// The values of the placeholders in a session name.
#[derive(Debug, Clone)]
pub struct NameParts {
    /// The name of the daemon's user.
    pub user: String,
    /// The host's name, without its domain.
    pub host: String,
    /// The process id of the daemon.
    pub pid: u32,
    /// Returns the id of the cloud's instance; `None` where it is not known.
    pub instance_id: fn() -> Option<String>,
}

impl RoleSessionName {
    /// Checks a name without placeholders.
    ///
    /// # Errors
    /// [`Invalid`], with the allowed values.
    pub fn new(text: &str) -> Result<Self, Invalid> {
        if !(2..=64).contains(&text.len()) || !text.chars().all(in_session_name) {
            return Err(Invalid::new(
                "a session name is 2 to 64 of A-Z a-z 0-9 . @ _ -",
            ));
        }
        Ok(Self(text.into()))
    }

    /// Expands the placeholders `{user}`, `{host}`, `{instance_id}`, `{profile}` and `{pid}` of a
    /// template. In their values, characters that STS refuses become hyphens. The name is cut at 64
    /// characters.
    ///
    /// # Errors
    /// [`Invalid`], if the text outside of the placeholders holds characters that STS refuses, or if the
    /// id of the instance is not known.
    pub fn expand(
        template: &str,
        parts: &NameParts,
        profile: &ProfileName,
    ) -> Result<Self, Invalid> {
        let mut name = String::new();
        let mut rest = template;
        while let Some((literal, tail)) = rest.split_once('{') {
            let Some((placeholder, tail)) = tail.split_once('}') else {
                return Err(Invalid::new("a { has no } after it"));
            };
            push_literal(&mut name, literal)?;
            let value = match placeholder {
                "user" => parts.user.clone(),
                "host" => parts.host.clone(),
                "profile" => profile.as_str().to_owned(),
                "pid" => parts.pid.to_string(),
                "instance_id" => (parts.instance_id)().ok_or_else(unknown_instance)?,
                _ => {
                    return Err(Invalid::new(
                        "a placeholder is {user}, {host}, {instance_id}, {profile} or {pid}",
                    ));
                }
            };
            name.extend(
                value
                    .chars()
                    .map(|c| if in_session_name(c) { c } else { '-' }),
            );
            rest = tail;
        }
        push_literal(&mut name, rest)?;
        name.truncate(64);
        if name.len() < 2 {
            return Err(Invalid::new("a session name is 2 to 64 characters"));
        }
        Ok(Self(name.into()))
    }

    /// Returns the name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn unknown_instance() -> Invalid {
    Invalid::new(
        "the id of this instance is not known: cloud-init has left none in \
         /run/cloud-init/.instance-id or /var/lib/cloud/data/instance-id; use {host}, or the id itself",
    )
}

/// Checks a source identity: 2 to 64 of `[A-Za-z0-9_+=,.@-]`, without a reserved beginning.
///
/// # Errors
/// [`Invalid`], with the allowed values.
pub fn source_identity(text: &str) -> Result<Box<str>, Invalid> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_+=,.@-".contains(c);
    let reserved = ["acs:", "aliyun:", "alibabacloud:"];
    let taken = reserved.iter().any(|prefix| text.starts_with(prefix));
    if taken || !(2..=64).contains(&text.len()) || !text.chars().all(allowed) {
        return Err(Invalid::new(
            "a source identity is 2 to 64 of A-Z a-z 0-9 _ + = , . @ -",
        ));
    }
    Ok(text.into())
}

fn in_session_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '@' | '_' | '-')
}

fn push_literal(name: &mut String, literal: &str) -> Result<(), Invalid> {
    if !literal.chars().all(in_session_name) {
        return Err(Invalid::new(
            "a session name is 2 to 64 of A-Z a-z 0-9 . @ _ - and {placeholders}",
        ));
    }
    name.push_str(literal);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expanded_session_name_is_valid_for_sts() {
        let parts = NameParts {
            user: "jo é/x".into(),
            host: "h".repeat(80),
            pid: 7,
            instance_id: || Some("i-j6c 1".into()),
        };
        let profile = ProfileName::new("oss").unwrap();
        let check = |template: &str, expected: Option<&str>| {
            let name = RoleSessionName::expand(template, &parts, &profile).ok();
            assert_eq!(
                name.as_ref().map(RoleSessionName::as_str),
                expected,
                "{template}"
            );
        };
        check("{user}-{profile}.{pid}", Some("jo---x-oss.7"));
        check("a@b", Some("a@b"));
        check("{instance_id}.{profile}", Some("i-j6c-1.oss"));
        check("{host}", Some(&"h".repeat(64)));
        for template in ["", "x", "a b", "{unknown}", "{user", "a/b"] {
            check(template, None);
        }
        let parts = NameParts {
            instance_id: || None,
            ..parts
        };
        let expand = |template| RoleSessionName::expand(template, &parts, &profile);
        assert!(expand("{user}").is_ok());
        let error = expand("{instance_id}").unwrap_err().to_string();
        assert!(error.contains("/run/cloud-init"), "{error}");
    }
}
