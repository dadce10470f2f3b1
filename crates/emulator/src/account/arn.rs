//! Names of what RAM knows: `acs:ram::ACCOUNT:KIND/NAME`.

/// The account and the name of a role.
pub(crate) fn role(arn: &str) -> Option<(&str, &str)> {
    named(arn, "role", 64)
}

/// The account and the name in an ARN of that kind.
pub(crate) fn named<'a>(arn: &'a str, kind: &str, longest: usize) -> Option<(&'a str, &'a str)> {
    let (account, rest) = arn.strip_prefix("acs:ram::")?.split_once(':')?;
    let name = rest.strip_prefix(kind)?.strip_prefix('/')?;
    let good_account = !account.is_empty() && account.bytes().all(|byte| byte.is_ascii_digit());
    let good_name = (1..=longest).contains(&name.chars().count())
        && !name.contains(|c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control());
    (good_account && good_name).then_some((account, name))
}
