//! The limits of the sockets of leases: what the owner of leases, and root at the same sockets, can
//! take from a system daemon.

use std::{
    fs,
    os::unix::{
        fs::PermissionsExt as _,
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
};

use e2e::{SystemDaemon, UnixUser, hello_request};
use rustix::io::ioctl_fionread;
use stsd_client::Lease;
use stsd_wire::{Message as _, Request};
use tempfile::TempDir;

use super::{
    lease::{NARROW, PATIENCE},
    limits::{FRIEND, MEMBERS, connections, member, two_profiles},
};

/// The owner of the leases.
const OWNER: u32 = MEMBERS[0];

/// Leases of the owner, each with a socket.
struct OwnedLeases {
    directory: TempDir,
    _leases: Vec<(Lease, UnixListener)>,
}

impl OwnedLeases {
    fn open(machine: &SystemDaemon, count: usize) -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let client = machine.env.client();
        let open = |number| {
            let mut lease = client
                .lease("shared", Some(NARROW), PATIENCE, PATIENCE)
                .unwrap();
            let listener = UnixListener::bind(socket(directory.path(), number)).unwrap();
            lease.open(&listener).unwrap();
            (lease, listener)
        };
        let leases = member(OWNER).run(|| (0..count).map(open).collect());
        Self {
            directory,
            _leases: leases,
        }
    }

    /// Has the owner and root write the bytes on many connections to each lease.
    fn connections(&self, count: usize, bytes: &[u8]) -> Vec<UnixStream> {
        let users = [member(OWNER), UnixUser::new(0)];
        let sockets = (0..self._leases.len()).map(|number| socket(self.directory.path(), number));
        sockets
            .flat_map(|socket| users.map(|user| connections(user, &socket, count, bytes)))
            .flatten()
            .collect()
    }
}

fn socket(directory: &Path, number: usize) -> PathBuf {
    directory.join(format!("lease{number}.sock"))
}

#[test]
fn watches_at_a_lease_have_a_sixteenth_of_the_connections() {
    // 192 connections, of which a lease has 12.
    let Some(machine) = SystemDaemon::start_in_shell("ulimit -n 256;", &two_profiles()) else {
        return;
    };
    machine.assert_shim(UnixUser::new(FRIEND), "oss-upload", 0);
    let leases = OwnedLeases::open(&machine, 1);
    let watch = Request::Watch {
        profile: "shared".into(),
    };
    let bytes = [hello_request(), watch.frame().unwrap().to_vec()].concat();
    let watches = leases.connections(50, &bytes);
    let has_session = |stream: &&UnixStream| ioctl_fionread(*stream).is_ok_and(|it| it > 500);
    let held = || watches.iter().filter(has_session).count();
    machine.env.wait_until("the watches", || held() >= 12);
    for _ in 0..40 {
        machine.assert_shim(UnixUser::new(FRIEND), "oss-upload", 0);
        machine.assert_shim(member(OWNER), "shared", 0);
    }
    assert_eq!(held(), 12);
}

#[test]
fn unfinished_requests_at_leases_count_for_their_owner() {
    // 12,288 connections, of which a lease has 768.
    let Some(machine) = SystemDaemon::start_in_shell("ulimit -n 16384;", &two_profiles()) else {
        return;
    };
    let _ = e2e::raise_file_limit();
    let env = &machine.env;
    machine.assert_shim(UnixUser::new(FRIEND), "oss-upload", 0);
    let leases = OwnedLeases::open(&machine, 4);
    let before = env.daemon().resident_kib();
    let begun = [&hello_request()[..], &[0, 0, 32, 0], &[6; 8000]].concat();
    let all = leases.connections(200, &begun);
    machine.assert_shim(UnixUser::new(FRIEND), "oss-upload", 0);
    machine.assert_shim(member(OWNER), "shared", 0);
    let growth = env.daemon().peak_resident_kib().saturating_sub(before);
    // Without the bound, 1,600 requests take 12.8 MB.
    assert!(growth < 6 * 1024, "{growth} KiB");
    drop(all);
    env.wait_until("the memory is returned", || {
        let left = env.daemon().resident_kib().saturating_sub(before);
        left <= 1024 + growth / 10
    });
}
