//! The user and the groups of the process whose files are judged.

use std::{fs, io};

use rustix::process::{getegid, geteuid, getgroups};

/// The uid that stat(2) returns for each owner outside of the user namespace.
const OVERFLOW_UID: u32 = 65_534;

/// The user and the groups of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessIds {
    /// The effective user.
    pub uid: u32,
    /// The effective group and the supplementary groups.
    pub gids: Vec<u32>,
    /// The uid that stands for root: 0, but the overflow uid in a user namespace without root.
    pub(crate) root: u32,
}

impl ProcessIds {
    /// Returns a process with a user and groups, in a user namespace with root.
    #[must_use]
    pub fn new(uid: u32, gids: Vec<u32>) -> Self {
        Self { uid, gids, root: 0 }
    }

    /// Returns this process.
    #[must_use]
    pub fn own() -> Self {
        let groups = getgroups().unwrap_or_default();
        let groups = [getegid()].into_iter().chain(groups);
        let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
        let root = if has_root(&map) { 0 } else { OVERFLOW_UID };
        let gids = groups.map(|it| it.as_raw()).collect();
        Self {
            uid: geteuid().as_raw(),
            gids,
            root,
        }
    }

    /// Returns another process by its number, as this process's user namespace sees it.
    ///
    /// # Errors
    /// There is no such process, or its data are hidden (`hidepid` in proc(5)).
    pub fn of(pid: u32) -> io::Result<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        parse(&status).ok_or_else(|| io::Error::other("/proc has no user of that process"))
    }
}

/// Returns `true` if a user namespace has a user 0. A missing `/proc` counts as the first namespace.
fn has_root(uid_map: &str) -> bool {
    let mut firsts = uid_map.lines().map(|it| it.split_whitespace().next());
    uid_map.is_empty() || firsts.any(|it| it == Some("0"))
}

/// Parses `/proc/PID/status`: the second number of `Uid:` and of `Gid:` is the effective one.
fn parse(status: &str) -> Option<ProcessIds> {
    let numbers = |key: &str| {
        let line = status.lines().find_map(|it| it.strip_prefix(key))?;
        let numbers = line.split_whitespace().map(str::parse);
        numbers.collect::<Result<Vec<u32>, _>>().ok()
    };
    let uid = *numbers("Uid:")?.get(1)?;
    let mut gids = vec![*numbers("Gid:")?.get(1)?];
    gids.extend(numbers("Groups:")?);
    Some(ProcessIds::new(uid, gids))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn effective_ids_and_groups_are_read_from_proc_status() {
        let status =
            "Name:\tstsd\nUid:\t1000\t1002\t1000\t1000\nGid:\t7\t8\t7\t7\nGroups:\t8 27 \n";
        assert_eq!(parse(status), Some(ProcessIds::new(1002, vec![8, 8, 27])));
        assert_eq!(parse("Name:\tstsd\n"), None);
        let own = ProcessIds::of(std::process::id()).unwrap();
        assert_eq!(own.uid, ProcessIds::own().uid);
    }

    #[test]
    fn user_namespace_without_root_is_recognized() {
        for (map, expected) in [
            ("         0          0 4294967295\n", true),
            ("1000 1000 1\n", false),
            ("0 1000 1\n1 100000 65536\n", true),
            ("1000 1000 1\n0 100000 1\n", true),
            ("", true),
        ] {
            assert_eq!(has_root(map), expected, "{map}");
        }
    }
}
