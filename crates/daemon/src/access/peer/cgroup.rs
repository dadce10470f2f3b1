//! Decides which systemd unit a control group belongs to: text of `/proc/PID/cgroup` in,
//! [`Units`] out.
//!
//! A path is trusted from its root on, and only as far as the system's manager made it:
//! slices, then one unit. What lies below a unit is that unit's own business. A user's
//! manager (`user@UID.service`) is such a unit: its user names what lies below as he likes,
//! so those names are kept apart.

/// The units a process belongs to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Units {
    /// The unit of the system's manager: only root makes these.
    pub system: Option<Box<str>>,
    /// The unit of a user's manager: that user makes these, with any name.
    pub user: Option<Box<str>>,
}

impl Units {
    /// Returns those of this very process.
    pub(crate) fn own() -> Self {
        let text = std::fs::read_to_string("/proc/self/cgroup");
        text.map(|text| Self::of(&text)).unwrap_or_default()
    }

    /// Reads `/proc/PID/cgroup`. The path of cgroup v2 counts; where nobody uses that (it
    /// is missing, or everybody is at its root), the one that systemd keeps in v1.
    pub(crate) fn of(text: &str) -> Self {
        let path = |controllers: &str| {
            text.lines().find_map(|line| {
                let (_, rest) = line.split_once(':')?;
                let (found, path) = rest.split_once(':')?;
                (found == controllers).then_some(path)
            })
        };
        let unified = path("").filter(|path| *path != "/");
        unified
            .or_else(|| path("name=systemd"))
            .map(Self::at)
            .unwrap_or_default()
    }

    fn at(path: &str) -> Self {
        let slice = |name: &&str| name.ends_with(".slice");
        let mut names = path.split('/').filter(|name| !name.is_empty()).map(shown);
        let system = names.find(|name| !slice(name)).filter(|it| is_unit(it));
        let manager = system.is_some_and(|it| it.starts_with("user@"));
        let user = if manager {
            names.find(|name| !slice(name)).filter(|it| is_unit(it))
        } else {
            None
        };
        Self {
            system: system.map(Box::from),
            user: user.map(Box::from),
        }
    }
}

/// Tells whether a name is that of a unit in which programs run.
pub(crate) fn is_unit(name: &str) -> bool {
    name.ends_with(".service") || name.ends_with(".scope")
}

/// systemd puts a `_` before a name that the kernel would take for one of its own files.
fn shown(name: &str) -> &str {
    name.strip_prefix('_').unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::Units;

    fn check(text: &str, system: Option<&str>, user: Option<&str>) {
        let units = Units::of(text);
        assert_eq!(units.system.as_deref(), system, "{text}");
        assert_eq!(units.user.as_deref(), user, "{text}");
    }

    /// Lines as they were seen on Debian 12 (systemd 252), on a hybrid and on a v1 machine.
    #[test]
    fn a_path_leads_to_the_unit_that_a_manager_made() {
        check(
            "0::/system.slice/nightly.service\n",
            Some("nightly.service"),
            None,
        );
        check(
            "0::/system.slice/system-worker.slice/worker@1.service\n",
            Some("worker@1.service"),
            None,
        );
        check(
            "0::/user.slice/user-1000.slice/session-3.scope\n",
            Some("session-3.scope"),
            None,
        );
        check(
            "0::/user.slice/user-1000.slice/user@1000.service/app.slice/backup.service\n",
            Some("user@1000.service"),
            Some("backup.service"),
        );
        check(
            "0::/user.slice/user-1000.slice/user@1000.service/init.scope\n",
            Some("user@1000.service"),
            Some("init.scope"),
        );
        check("0::/init.scope\n", Some("init.scope"), None);
        check("0::/_cpu.service\n", Some("cpu.service"), None);
        check(
            "9:name=systemd:/system.slice/a.service\n4:memory:/b.service\n\
             0::/system.slice/c.service\n",
            Some("c.service"),
            None,
        );
        check(
            "9:name=systemd:/system.slice/a.service\n4:memory:/b.service\n0::/\n",
            Some("a.service"),
            None,
        );
        check("9:name=systemd:/a.service\n", Some("a.service"), None);
    }

    #[test]
    fn a_name_that_the_peer_could_have_chosen_is_not_a_unit_of_the_system() {
        let manager = "0::/user.slice/user-1000.slice/user@1000.service";
        check(
            &format!("{manager}/system.slice/nightly.service\n"),
            Some("user@1000.service"),
            Some("nightly.service"),
        );
        check(
            &format!("{manager}/app.slice/run-1.scope/nightly.service\n"),
            Some("user@1000.service"),
            Some("run-1.scope"),
        );
        // A container, and a service that was given its part of the tree.
        check(
            "0::/machine.slice/box.scope/payload/system.slice/nightly.service\n",
            Some("box.scope"),
            None,
        );
        check(
            "0::/system.slice/docker.service/nightly.service\n",
            Some("docker.service"),
            None,
        );
        // No unit, so nothing below it is one.
        check("0::/mine/nightly.service\n", None, None);
        // Outside of our namespace, or on its way out.
        check("0::/../nightly.service\n", None, None);
        check("0::/system.slice/nightly.service (deleted)\n", None, None);
    }

    #[test]
    fn what_says_nothing_of_a_unit_gives_none() {
        for text in [
            "",
            "\n",
            "0::/\n",
            "0::\n",
            "0:\n",
            "::::\n",
            "4:memory:/a.service\n",
            "0::/system.slice\n",
            "0::/a.slice/b.slice/\n",
        ] {
            check(text, None, None);
        }
    }
}
