//! The systemd unit and the pod of a control group: text of `/proc/PID/cgroup` in, [`Units`] out.
//!
//! A path is trusted from its root on, and only as far as the system's manager created it:
//! slices, then one unit. A unit manages the groups below it by itself. A user's manager
//! (`user@UID.service`) is such a unit: its user chooses the names below it, therefore those
//! names are kept in a field of their own.

use super::pod;
use crate::profile::PodUid;

/// The units that a process belongs to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Units {
    /// The unit of the system's manager: only root creates such units.
    pub system: Option<Box<str>>,
    /// The unit of a user's manager: that user creates such units, with any name.
    pub user: Option<Box<str>>,
    /// The UID of the Kubernetes pod.
    pub pod: Option<PodUid>,
}

impl Units {
    /// Returns the units of the daemon itself.
    pub(crate) fn own() -> Self {
        let text = std::fs::read_to_string("/proc/self/cgroup");
        text.map(|text| Self::of(&text)).unwrap_or_default()
    }

    /// Parses `/proc/PID/cgroup`. The path of cgroup v2 counts; if v2 is unused (the line is
    /// missing, or the path is the root), systemd's path of v1 counts.
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
            .map(Self::of_path)
            .unwrap_or_default()
    }

    fn of_path(path: &str) -> Self {
        let is_slice = |name: &&str| name.ends_with(".slice");
        let mut names = path
            .split('/')
            .filter(|name| !name.is_empty())
            .map(unescape);
        let system = names.find(|name| !is_slice(name)).filter(|it| is_unit(it));
        let is_user_manager = system.is_some_and(|it| it.starts_with("user@"));
        let user = if is_user_manager {
            names.find(|name| !is_slice(name)).filter(|it| is_unit(it))
        } else {
            None
        };
        Self {
            system: system.map(Box::from),
            user: user.map(Box::from),
            pod: pod::of_path(path),
        }
    }
}

/// Returns `true` if a name is that of a unit in which programs run.
pub(crate) fn is_unit(name: &str) -> bool {
    name.ends_with(".service") || name.ends_with(".scope")
}

/// Returns the name of a unit without the `_` that systemd puts before a name that the kernel
/// reserves for its own files.
fn unescape(name: &str) -> &str {
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

    /// Lines from Debian 12 (systemd 252), from a hybrid and from a v1 machine.
    #[test]
    fn cgroup_path_of_a_unit_names_its_units() {
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
    fn cgroup_name_that_a_peer_can_choose_is_no_system_unit() {
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
        // A container, and a service to which a part of the tree is delegated.
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
        // `mine` is no unit, therefore no name below it counts.
        check("0::/mine/nightly.service\n", None, None);
        // Outside of the daemon's namespace, or already removed.
        check("0::/../nightly.service\n", None, None);
        check("0::/system.slice/nightly.service (deleted)\n", None, None);
    }

    #[test]
    fn cgroup_without_a_unit_gives_no_units() {
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
