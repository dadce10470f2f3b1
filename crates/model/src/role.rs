//! Names of roles and identity providers, and the external id of a role.

use crate::Invalid;

/// The ARN of a role: `acs:ram::<account>:role/<name>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleArn(Box<str>);

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
            return Err(Invalid::new(
                "a role is acs:ram::<account number>:role/<role name>",
            ));
        }
        Ok(Self(text.into()))
    }

    /// Returns the ARN.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
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
        return Err(Invalid::new(&format!(
            "a provider is acs:ram::<account number>:{sort}/<name>"
        )));
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
        return Err(Invalid::new(
            "a role's name is 1 to 64 of A-Z a-z 0-9 . _ -",
        ));
    }
    Ok(text.into())
}

/// Checks an external id: 2 to 1,224 of `[A-Za-z0-9_+=,.@:/-]`.
///
/// # Errors
/// [`Invalid`], with the allowed values.
pub fn external_id(text: &str) -> Result<Box<str>, Invalid> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_+=,.@:/-".contains(c);
    if !(2..=1224).contains(&text.len()) || !text.chars().all(allowed) {
        return Err(Invalid::new(
            "an external id is 2 to 1224 of A-Z a-z 0-9 _ + = , . @ : / -",
        ));
    }
    Ok(text.into())
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
}
