//! The ARNs of RAM: `acs:ram::ACCOUNT:KIND/NAME`.

/// Maximum length of a role's name.
const MAX_ROLE_NAME_CHARS: usize = 64;

/// Returns the account and the name in the ARN of a role; `None` for any other text.
pub(crate) fn parse_role(arn: &str) -> Option<(&str, &str)> {
    parse(arn, "role", MAX_ROLE_NAME_CHARS)
}

/// Returns the account and the name in an ARN of that kind; `None` for any other text.
pub(crate) fn parse<'a>(
    arn: &'a str,
    kind: &str,
    max_name_chars: usize,
) -> Option<(&'a str, &'a str)> {
    let (account, rest) = arn.strip_prefix("acs:ram::")?.split_once(':')?;
    let name = rest.strip_prefix(kind)?.strip_prefix('/')?;
    let valid_account = !account.is_empty() && account.bytes().all(|byte| byte.is_ascii_digit());
    let valid_name = (1..=max_name_chars).contains(&name.chars().count())
        && !name.contains(|c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control());
    (valid_account && valid_name).then_some((account, name))
}
