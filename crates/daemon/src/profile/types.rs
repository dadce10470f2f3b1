//! The parameters of a profile, as types that hold only values that STS accepts.
//!
//! The limits are those of the public API metadata of STS 2015-04-01.

use std::{borrow::Borrow, fmt, sync::Arc, time::Duration};

use jiff::SignedDuration;

/// Minimum lifetime of a session of STS.
const SHORTEST: Duration = Duration::from_secs(15 * 60);

/// The allowed values, as the error of another value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(pub(crate) String);

/// The name of a profile: 1 to 64 of `[A-Za-z0-9._-]`, beginning with a letter or digit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProfileName(Arc<str>);

/// The ARN of a role: `acs:ram::<account>:role/<name>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleArn(Box<str>);

/// The session name in ActionTrail: 2 to 64 of `[A-Za-z0-9.@_-]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleSessionName(Box<str>);

/// The requested lifetime of a session: 15 minutes to 12 hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionDuration(Duration);

/// A session policy, minified: at most 2,048 bytes of JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionPolicy(Box<str>);

/// The values of the placeholders in a session name.
#[derive(Debug, Clone)]
pub struct NameParts {
    /// The name of the daemon's user.
    pub user: String,
    /// The host's name, without its domain.
    pub host: String,
    /// The process id of the daemon.
    pub pid: u32,
}

impl ProfileName {
    /// Parses a profile name.
    ///
    /// # Errors
    /// [`Invalid`], with the allowed values.
    pub fn new(text: &str) -> Result<Self, Invalid> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let head = text.starts_with(|c: char| c.is_ascii_alphanumeric());
        if !head || text.len() > 64 || !text.chars().all(allowed) {
            return invalid(
                "a name is 1 to 64 of A-Z a-z 0-9 . _ - and begins with a letter or digit",
            );
        }
        Ok(Self(text.into()))
    }

    /// Returns the name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl RoleArn {
    /// Parses the ARN of a role.
    ///
    /// # Errors
    /// [`Invalid`], with the allowed values.
    pub fn new(text: &str) -> Result<Self, Invalid> {
        let parts = text
            .strip_prefix("acs:ram::")
            .and_then(|rest| rest.split_once(":role/"));
        let allowed = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '@');
        let valid = parts.is_some_and(|(account, name)| {
            (1..=32).contains(&account.len())
                && account.bytes().all(|byte| byte.is_ascii_digit())
                && (1..=64).contains(&name.chars().count())
                && name.chars().all(allowed)
        });
        if !valid {
            return invalid("a role is acs:ram::<account number>:role/<role name>");
        }
        Ok(Self(text.into()))
    }

    /// Returns the ARN.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl RoleSessionName {
    /// Expands the placeholders `{user}`, `{host}`, `{profile}` and `{pid}` of a template. In their
    /// values, characters that STS refuses become hyphens. The name is cut at 64 characters.
    ///
    /// # Errors
    /// [`Invalid`], if the text outside of the placeholders holds characters that STS refuses.
    pub fn expand(
        template: &str,
        parts: &NameParts,
        profile: &ProfileName,
    ) -> Result<Self, Invalid> {
        let mut name = String::new();
        let mut rest = template;
        while let Some((literal, tail)) = rest.split_once('{') {
            let Some((placeholder, tail)) = tail.split_once('}') else {
                return invalid("a { has no } after it");
            };
            push_literal(&mut name, literal)?;
            let value = match placeholder {
                "user" => parts.user.clone(),
                "host" => parts.host.clone(),
                "profile" => profile.as_str().to_owned(),
                "pid" => parts.pid.to_string(),
                _ => return invalid("a placeholder is {user}, {host}, {profile} or {pid}"),
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
            return invalid("a session name is 2 to 64 characters");
        }
        Ok(Self(name.into()))
    }

    /// Returns the name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl SessionDuration {
    /// The maximum lifetime of a session.
    pub const LONGEST: Duration = Duration::from_secs(12 * 60 * 60);

    /// The default of STS.
    pub const DEFAULT: Self = Self(Duration::from_secs(3600));

    /// Parses a duration with its unit: `15m`, `1h`, `1h30m`.
    ///
    /// # Errors
    /// [`Invalid`], with the allowed values.
    pub fn new(text: &str) -> Result<Self, Invalid> {
        const SHAPE: &str = "a duration is 15m to 12h, with its unit: 15m, 1h, 1h30m";
        let parsed: Option<SignedDuration> = text.parse().ok();
        let seconds = parsed.and_then(|it| u64::try_from(it.as_secs()).ok());
        match seconds {
            Some(seconds @ 900..=43_200) => Ok(Self(Duration::from_secs(seconds))),
            _ => invalid(SHAPE),
        }
    }

    /// Returns the duration of a session that is needed for `rest`: a minute more, for the time that
    /// a call loses; at least the minimum of STS, and at most this duration.
    #[must_use]
    pub fn for_remaining(self, rest: Duration) -> Self {
        let wanted = Duration::from_secs(rest.as_secs().saturating_add(60));
        Self(wanted.max(SHORTEST).min(self.0))
    }

    /// Returns the duration.
    #[must_use]
    pub fn get(self) -> Duration {
        self.0
    }
}

impl SessionPolicy {
    /// Parses a policy document and removes its white space. The rest stays byte for byte, because a
    /// rewritten document could grant other rights.
    ///
    /// # Errors
    /// [`Invalid`], which never quotes the document.
    pub fn new(text: &str) -> Result<Self, Invalid> {
        let Ok(policy) = serde_json::from_str::<serde_json::Value>(text) else {
            return invalid("a policy is a JSON document");
        };
        if policy.get("Version").and_then(|it| it.as_str()) != Some("1")
            || policy.get("Statement").is_none()
        {
            return invalid("a policy holds \"Version\": \"1\" and a \"Statement\"");
        }
        let statements = match &policy["Statement"] {
            serde_json::Value::Array(list) => list.as_slice(),
            one => std::slice::from_ref(one),
        };
        if !statements.iter().all(is_statement) {
            return invalid(
                "a policy's Statement is one or a list of them; each has Effect (Allow or Deny), Action or \
                 NotAction, and Resource or NotResource: a text or a list of texts",
            );
        }
        let minified = without_white_space(text);
        let length = minified.len();
        if length > 2048 {
            return invalid(&format!(
                "a policy is at most 2048 bytes; this one has {length} without its white space"
            ));
        }
        Ok(Self(minified.into()))
    }

    /// Returns the policy as the daemon sends the policy to STS.
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

/// Checks an external id: 2 to 1,224 of `[A-Za-z0-9_+=,.@:/-]`.
///
/// # Errors
/// [`Invalid`], with the allowed values.
pub fn external_id(text: &str) -> Result<Box<str>, Invalid> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_+=,.@:/-".contains(c);
    if !(2..=1224).contains(&text.len()) || !text.chars().all(allowed) {
        return invalid("an external id is 2 to 1224 of A-Z a-z 0-9 _ + = , . @ : / -");
    }
    Ok(text.into())
}

/// Checks the name of an identity provider: `acs:ram::<account>:<sort>/<name>`.
///
/// # Errors
/// [`Invalid`], with the allowed values.
pub fn provider_arn(text: &str, sort: &str) -> Result<String, Invalid> {
    let parts = text
        .strip_prefix("acs:ram::")
        .and_then(|rest| rest.split_once(':'));
    let allowed = |c: char| c.is_alphanumeric() || "._@-".contains(c);
    let valid = parts.is_some_and(|(account, rest)| {
        let name = rest.strip_prefix(sort).and_then(|it| it.strip_prefix('/'));
        (1..=32).contains(&account.len())
            && account.bytes().all(|byte| byte.is_ascii_digit())
            && name.is_some_and(|it| (1..=128).contains(&it.len()) && it.chars().all(allowed))
    });
    if !valid {
        return invalid(&format!(
            "a provider is acs:ram::<account number>:{sort}/<name>"
        ));
    }
    Ok(text.into())
}

/// Checks the name of a role, without the account: 1 to 64 of `[A-Za-z0-9._-]`. The name becomes a
/// part of a URL's path.
///
/// # Errors
/// [`Invalid`], with the allowed values.
pub fn role_name(text: &str) -> Result<String, Invalid> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let dots = text.bytes().all(|byte| byte == b'.');
    if dots || text.len() > 64 || !text.chars().all(allowed) {
        return invalid("a role's name is 1 to 64 of A-Z a-z 0-9 . _ -");
    }
    Ok(text.into())
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
        return invalid("a source identity is 2 to 64 of A-Z a-z 0-9 _ + = , . @ -");
    }
    Ok(text.into())
}

fn in_session_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '@' | '_' | '-')
}

fn push_literal(name: &mut String, literal: &str) -> Result<(), Invalid> {
    if !literal.chars().all(in_session_name) {
        return invalid("a session name is 2 to 64 of A-Z a-z 0-9 . @ _ - and {placeholders}");
    }
    name.push_str(literal);
    Ok(())
}

/// Returns `true` if a statement has the grammar that all services share.
fn is_statement(statement: &serde_json::Value) -> bool {
    let texts = |it: &serde_json::Value| match it {
        serde_json::Value::String(text) => !text.is_empty(),
        serde_json::Value::Array(list) => !list.is_empty() && list.iter().all(|it| it.is_string()),
        _ => false,
    };
    let one_of = |keys: [&str; 2]| {
        let there: Vec<_> = keys.iter().filter_map(|key| statement.get(key)).collect();
        matches!(there[..], [it] if texts(it))
    };
    let effect = statement.get("Effect").and_then(|it| it.as_str());
    matches!(effect, Some("Allow" | "Deny"))
        && one_of(["Action", "NotAction"])
        && one_of(["Resource", "NotResource"])
}

/// Removes the white space between the tokens of a valid JSON document.
fn without_white_space(document: &str) -> String {
    let (mut quoted, mut escaped) = (false, false);
    let kept = |c: &char| {
        let quote = *c == '"' && !escaped;
        escaped = quoted && *c == '\\' && !escaped;
        quoted ^= quote;
        quoted || !matches!(c, ' ' | '\t' | '\n' | '\r')
    };
    document.chars().filter(kept).collect()
}

fn invalid<T>(message: &str) -> Result<T, Invalid> {
    Err(Invalid(message.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn role_arn_has_account_and_role_name() {
        let check = |text: &str, valid| assert_eq!(RoleArn::new(text).is_ok(), valid, "{text}");
        check("acs:ram::123456789012:role/oss-upload", true);
        check("acs:ram::123456789012:role/", false);
        check("acs:ram::12345x:role/a", false);
        check("acs:ram::123456789012:user/a", false);
        check("arn:aws:iam::123456789012:role/a", false);
        check("acs:ram::123456789012:role/a/b", false);
        check("acs:ram::123456789012:role/a b", false);
        check(&format!("acs:ram::1:role/{}", "x".repeat(64)), true);
        check(&format!("acs:ram::1:role/{}", "x".repeat(65)), false);
    }

    #[test]
    fn duration_has_a_unit_and_is_within_the_limits() {
        let check = |text: &str, seconds: Option<u64>| {
            let duration = SessionDuration::new(text).ok().map(|it| it.get().as_secs());
            assert_eq!(duration, seconds, "{text}");
        };
        check("15m", Some(900));
        check("1h", Some(3600));
        check("1h30m", Some(5400));
        check("12h", Some(43_200));
        for text in ["14m", "899s", "12h1s", "3600", "", "1x", "-1h", "13h"] {
            check(text, None);
        }
    }

    #[test]
    fn expanded_session_name_is_valid_for_sts() {
        let parts = NameParts {
            user: "jo é/x".into(),
            host: "h".repeat(80),
            pid: 7,
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
        check("{host}", Some(&"h".repeat(64)));
        for template in ["", "x", "a b", "{unknown}", "{user", "a/b"] {
            check(template, None);
        }
    }

    #[test]
    fn policy_statement_has_effect_action_and_resource() {
        let check = |statement: &str, valid| {
            let policy = format!(r#"{{"Version":"1","Statement":{statement}}}"#);
            assert_eq!(SessionPolicy::new(&policy).is_ok(), valid, "{statement}");
        };
        let good = r#"{"Effect":"Allow","Action":["oss:Get*","oss:List*"],"Resource":"*"}"#;
        check(&format!("[{good}]"), true);
        check(good, true);
        check(
            &format!(
                r#"[{good},{{"Effect":"Deny","NotAction":"oss:GetObject","NotResource":["a"]}}]"#
            ),
            true,
        );
        for bad in [
            format!("[{good},1]"),
            format!("[{}]", good.replace("Allow", "Maybe")),
            format!("[{}]", good.replace("\"Effect\":\"Allow\",", "")),
            format!("[{}]", good.replace("Action", "Actions")),
            format!("[{}]", good.replace("[\"oss:Get*\",\"oss:List*\"]", "[]")),
            format!("[{}]", good.replace("\"*\"", "7")),
            format!("[{}]", good.replace("}", ",\"NotAction\":\"b\"}")),
            "\"all\"".to_owned(),
        ] {
            check(&bad, false);
        }
    }

    #[test]
    fn policy_is_minified_and_bounded() {
        let policy = SessionPolicy::new("{ \"Version\": \"1\",\n \"Statement\": [ ] }").unwrap();
        assert!(!policy.as_str().contains([' ', '\n']));
        let exact = r#"{"Version":"1","Statement":[{"Effect":"Allow","Action":"oss:*","Resource":"*","x":"\" a\\","x":[0.10,1E+2, 1e-400]}],"y":12345678901234567890123}"#;
        let sent = SessionPolicy::new(exact).unwrap();
        assert_eq!(sent.as_str(), exact.replace(", ", ","));
        let padded = |length: usize| {
            let rest = r#"{"Statement":[],"Version":"1","x":""}"#.len();
            format!(
                r#"{{"Statement":[],"Version":"1","x":"{}"}}"#,
                "y".repeat(length - rest)
            )
        };
        assert!(SessionPolicy::new(&padded(2048)).is_ok());
        assert!(SessionPolicy::new(&padded(2049)).is_err());
        for text in ["", "[]", "{}", r#"{"Version":"2","Statement":[]}"#, "{"] {
            assert!(SessionPolicy::new(text).is_err(), "{text}");
        }
    }
}
