//! The display name of a caller: the service and the program first, then the numbers from the
//! kernel.

use std::fmt::{self, Write as _};

/// The known attributes of a caller. The text has the service and the program, if known.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct CallerName<'a> {
    pub(crate) uid: Option<u64>,
    pub(crate) pid: Option<u64>,
    pub(crate) unit: Option<&'a str>,
    pub(crate) user_unit: Option<&'a str>,
    pub(crate) exe: Option<&'a str>,
}

impl fmt::Display for CallerName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The unit of a session or of a user's manager does not identify the program.
        let unit = self.user_unit.or(self.unit);
        let unit = unit.filter(|unit| unit.ends_with(".service") && !unit.starts_with("user@"));
        let names: Vec<_> = unit.into_iter().chain(self.exe).collect();
        let mut name = names.join(", ");
        let numbers: Vec<_> = [("uid", self.uid), ("pid", self.pid)]
            .into_iter()
            .filter_map(|(what, number)| Some(format!("{what} {}", number?)))
            .collect();
        let numbers = numbers.join(" ");
        let _ = match (name.is_empty(), numbers.is_empty()) {
            (_, true) => Ok(()),
            (true, false) => write!(name, "{numbers}"),
            (false, false) => write!(name, " ({numbers})"),
        };
        f.write_str(&name)
    }
}

#[cfg(test)]
mod tests {
    use super::CallerName;

    #[test]
    fn caller_name_prefers_service_unit_then_exe() {
        let check = |caller: CallerName, expected: &str| assert_eq!(caller.to_string(), expected);
        let numbers = CallerName {
            uid: Some(1000),
            pid: Some(7),
            ..CallerName::default()
        };
        check(numbers, "uid 1000 pid 7");
        check(
            CallerName {
                pid: None,
                ..numbers
            },
            "uid 1000",
        );
        let in_session = CallerName {
            unit: Some("session-3.scope"),
            exe: Some("/usr/bin/sts-shim"),
            ..numbers
        };
        check(in_session, "/usr/bin/sts-shim (uid 1000 pid 7)");
        let of_manager = CallerName {
            unit: Some("user@1000.service"),
            user_unit: Some("backup.service"),
            ..numbers
        };
        check(of_manager, "backup.service (uid 1000 pid 7)");
        let alone = CallerName {
            user_unit: None,
            ..of_manager
        };
        check(alone, "uid 1000 pid 7");
        check(CallerName::default(), "");
    }
}
