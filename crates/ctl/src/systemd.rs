//! The units of this version, the version of systemd, and the versions that units and settings need.

use std::process::Command;

use crate::subprocess;

/// The units of a user, and those of the machine.
pub(crate) const USER_UNITS: [(&str, &str); 2] = [
    (
        "stsd.socket",
        include_str!("../../../systemd/user/stsd.socket"),
    ),
    (
        "stsd.service",
        include_str!("../../../systemd/user/stsd.service"),
    ),
];
pub(crate) const SYSTEM_UNITS: [(&str, &str); 2] = [
    (
        "stsd.socket",
        include_str!("../../../systemd/system/stsd.socket"),
    ),
    (
        "stsd.service",
        include_str!("../../../systemd/system/stsd.service"),
    ),
];

/// The first version for which the units are made.
pub(crate) const MINIMUM: u32 = 239;

/// The first version whose user managers start the user's unit as it is; earlier ones end with 217/USER
/// and need `no-user-namespaces.conf`. Source: systemd pull request 13823, tried with 239 and 247.
pub(crate) const USER_NAMESPACES: u32 = 247;

/// The first version with `LoadCredential=`. Source: systemd.exec(5).
pub(crate) const LOAD_CREDENTIAL: u32 = 247;

/// The first version whose user managers decrypt what `systemd-creds encrypt --user` has encrypted, which
/// 256 introduced. Source: systemd issues 33796, 35913 and 37598.
pub(crate) const USER_CREDENTIALS: u32 = 258;

/// The drop-in for user managers without user namespaces.
pub(crate) const DROP_IN: &str = "no-user-namespaces.conf";

/// Returns the version of the system's manager or of the user's manager, or else that of `systemctl`;
/// `None` without systemd.
pub(crate) fn version(is_system: bool) -> Option<u32> {
    let scope: &[&str] = if is_system { &[] } else { &["--user"] };
    let of_manager = [scope, &["show", "--property=Version", "--value"]].concat();
    let text = output(&of_manager).unwrap_or_default();
    parse(&text).or_else(|| parse(output(&["--version"])?.split_whitespace().nth(1)?))
}

/// Returns the number of a version such as `247`, `247.3-7+deb11u6` or `v258-rc1`.
pub(crate) fn parse(text: &str) -> Option<u32> {
    let text = text.trim().trim_start_matches('v');
    let digits = text.split(|it: char| !it.is_ascii_digit()).next()?;
    digits.parse().ok()
}

fn output(arguments: &[&str]) -> Option<String> {
    let mut command = Command::new(subprocess::find("systemctl")?);
    command.args(arguments);
    subprocess::stdout(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_is_the_first_number() {
        let check = |text, expected| assert_eq!(parse(text), expected, "{text}");
        check("239\n", Some(239));
        check("239-82.el8_10.3", Some(239));
        check("247.3-7+deb11u6\n", Some(247));
        check("257.9-1~deb13u1", Some(257));
        check("v258-rc1", Some(258));
        check("", None);
        check("unknown", None);
    }
}
