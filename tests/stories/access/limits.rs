//! The limits of a system daemon: what users without a rule, or with one rule, can take from it.
//! Each story has at least two users, because a person may have many.

use std::{
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    path::Path,
    thread,
    time::Duration,
};

use e2e::{
    Action, Fault, GROUP, SystemDaemon, UPLOAD, UnixUser, decode_replies, hello_request, unix_time,
    upload_profile,
};
use rustix::io::ioctl_fionread;
use stsd_wire::{FailureKind, Message as _, Reply, Request};

/// Users without a rule.
const STRANGERS: [u32; 2] = [64_011, 64_012];

/// Users that a rule names.
pub(super) const MEMBERS: [u32; 3] = [64_021, 64_022, 64_023];

/// A user that a rule of its own names.
pub(super) const FRIEND: u32 = 64_031;

/// Maximum growth of the daemon's resident memory, in KiB.
const MAX_GROWTH_KIB: u64 = 16 * 1024;

/// The connections of each user in a story about memory.
const CONNECTIONS: usize = 1000;

/// The profile `oss-upload` for the friend.
fn friend_profile() -> String {
    upload_profile("oss-upload", &[format!("user:{FRIEND}")])
}

/// The profile `shared` for the members, and `oss-upload` for the friend.
pub(super) fn two_profiles() -> String {
    upload_profile("shared", &[format!("group:{GROUP}")]) + &friend_profile()
}

pub(super) fn member(uid: u32) -> UnixUser {
    UnixUser {
        group: Some(GROUP),
        ..UnixUser::new(uid)
    }
}

/// Connects to a socket as a user, and writes as much of the bytes as the daemon takes.
pub(super) fn connections(
    user: UnixUser,
    socket: &Path,
    count: usize,
    bytes: &[u8],
) -> Vec<UnixStream> {
    user.run(|| {
        let open = |_| {
            let mut stream = UnixStream::connect(socket).unwrap();
            stream.set_nonblocking(true).unwrap();
            // A refused connection is closed already.
            let _ = stream.write_all(bytes);
            stream
        };
        (0..count).map(open).collect()
    })
}

/// Has two users without a rule write the bytes on many connections, and asserts that the memory of
/// the daemon stays small and is returned afterwards.
fn check_memory(socket: &str, bytes: &[u8]) {
    let Some(machine) = SystemDaemon::start(&friend_profile()) else {
        return;
    };
    let _ = e2e::raise_file_limit();
    let (env, friend) = (&machine.env, UnixUser::new(FRIEND));
    machine.assert_shim(friend, "oss-upload", 0);
    let before = env.daemon().resident_kib();
    let open = |uid| connections(UnixUser::new(uid), &env.path(socket), CONNECTIONS, bytes);
    let all: Vec<_> = STRANGERS.iter().flat_map(|uid| open(*uid)).collect();
    machine.assert_shim(friend, "oss-upload", 0);
    let growth = env.daemon().peak_resident_kib().saturating_sub(before);
    assert!(growth < MAX_GROWTH_KIB, "{growth} KiB");
    drop(all);
    env.wait_until("the memory is returned", || {
        let left = env.daemon().resident_kib().saturating_sub(before);
        left <= 1024 + growth / 10
    });
}

#[test]
fn unfinished_requests_of_two_users_take_little_memory() {
    // 65,005 of 65,536 bytes.
    let begun = [&hello_request()[..], &[0, 1, 0, 0], &[2; 65_001]].concat();
    check_memory("run/stsd.sock", &begun);
}

#[test]
fn unfinished_lease_requests_of_two_users_take_little_memory() {
    let begun = [&hello_request()[..], &[0, 0, 32, 0], &[6; 8000]].concat();
    check_memory("run/stsd.sock", &begun);
}

#[test]
fn unfinished_http_heads_of_two_users_take_little_memory() {
    let begun = format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(16_000));
    check_memory("run/http.sock", begun.as_bytes());
}

#[test]
fn unread_replies_of_two_users_take_little_memory() {
    let Some(machine) = SystemDaemon::start(&friend_profile()) else {
        return;
    };
    let env = &machine.env;
    let status = Request::Status {
        after: String::new(),
    };
    let requests = status.frame().unwrap().repeat(5000);
    let bytes = [hello_request(), requests].concat();
    for uid in STRANGERS {
        let streams = connections(UnixUser::new(uid), &env.socket(), 1, &bytes);
        let unread = || ioctl_fionread(&streams[0]).unwrap();
        // The replies that the kernel holds do not become more.
        let mut last = 0;
        env.wait_until("the daemon stops writing", || {
            thread::sleep(Duration::from_millis(200));
            let now = unread();
            now > 0 && std::mem::replace(&mut last, now) == now
        });
        assert!(unread() < 8 * 1024, "{} bytes", unread());
    }
}

/// Asserts that the friend is served on each of 40 calls.
fn check_friend(machine: &SystemDaemon) {
    for _ in 0..40 {
        machine.assert_shim(UnixUser::new(FRIEND), "oss-upload", 0);
    }
}

#[test]
fn watches_of_three_users_of_one_rule_refuse_no_other_user() {
    let Some(machine) = SystemDaemon::start_in_shell("ulimit -n 256;", &two_profiles()) else {
        return;
    };
    machine.assert_shim(member(MEMBERS[0]), "shared", 0);
    machine.assert_shim(UnixUser::new(FRIEND), "oss-upload", 0);
    let watch = Request::Watch {
        profile: "shared".into(),
    };
    let bytes = [hello_request(), watch.frame().unwrap().to_vec()].concat();
    let watches = MEMBERS.map(|uid| {
        let socket = machine.env.socket();
        connections(member(uid), &socket, 200, &bytes)
    });
    check_friend(&machine);
    // A user of the same rule is served as well.
    machine.assert_shim(member(64_024), "shared", 0);
    let answered = |stream: &&UnixStream| ioctl_fionread(*stream).is_ok_and(|it| it > 500);
    let held = watches.iter().flatten().filter(answered).count();
    assert!(held >= 64, "{held} watches were granted");
}

#[test]
fn waiting_requests_of_three_users_refuse_no_other_user() {
    let Some(machine) = SystemDaemon::start_in_shell("ulimit -n 256;", &two_profiles()) else {
        return;
    };
    let env = &machine.env;
    machine.assert_shim(UnixUser::new(FRIEND), "oss-upload", 0);
    env.emulator().inject_fault(Action::AssumeRole, Fault::Hang);
    let request = Request::Credentials {
        profile: "shared".into(),
        minimum_life_millis: 0,
        patience_millis: 600_000,
    };
    let bytes = [hello_request(), request.frame().unwrap().to_vec()].concat();
    let _waiting = MEMBERS.map(|uid| connections(member(uid), &env.socket(), 200, &bytes));
    check_friend(&machine);
    env.emulator().clear_faults();
}

#[test]
fn processes_of_two_users_without_a_rule_cause_few_audit_events() {
    let profiles = format!("{UPLOAD}[audit]\nfile = \"audit.jsonl\"\n");
    let Some(machine) = SystemDaemon::start(&profiles) else {
        return;
    };
    let began = unix_time();
    let shim = machine.program("sts-shim");
    let socket = machine.env.socket();
    let line = format!(
        "i=0; while [ $i -lt 200 ]; do {} --socket {} oss-upload 2>/dev/null; i=$((i+1)); done",
        shim.display(),
        socket.display()
    );
    for uid in STRANGERS {
        let mut command = UnixUser::new(uid).command("/bin/sh".into());
        assert!(
            command
                .args(["-c", &line])
                .status()
                .unwrap()
                .code()
                .is_some()
        );
    }
    let seconds = usize::try_from(unix_time() - began).unwrap();
    let text = std::fs::read_to_string(machine.env.path("audit.jsonl")).unwrap();
    let most = 2 * (100 + 2 + seconds) + 32;
    assert!(
        (200..=most).contains(&text.lines().count()),
        "{}",
        text.lines().count()
    );
}

#[test]
fn replies_after_a_limit_name_the_reason() {
    let Some(machine) = SystemDaemon::start(&two_profiles()) else {
        return;
    };
    let env = &machine.env;
    let _ = e2e::raise_file_limit();
    // 8,000 bytes on each of 200 connections are more than one user may have.
    let begun = [&hello_request()[..], &[0, 0, 32, 0], &[6; 8000]].concat();
    let stranger = UnixUser::new(STRANGERS[0]);
    let mut all = connections(stranger, &env.socket(), 200, &begun);
    let first = &mut all[0];
    first.set_nonblocking(false).unwrap();
    let mut bytes = Vec::new();
    // The daemon has not read all of the bytes: the reply is followed by a reset.
    let _ = first.read_to_end(&mut bytes);
    match decode_replies(&bytes).last() {
        Some(Reply::Failure(failure)) => assert_eq!(failure.kind, FailureKind::Busy),
        other => panic!("{other:?}"),
    }
}
