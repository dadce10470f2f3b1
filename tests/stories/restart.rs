//! The daemon is replaced, loses its socket, or is killed: callers do not notice.

use std::{
    fs,
    os::unix::net::UnixListener,
    process::Command,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::Duration,
};

use e2e::Kit;
use nix::sys::signal::Signal;

const PATIENCE: Duration = Duration::from_secs(10);

fn uptime(kit: &Kit) -> u64 {
    kit.client()
        .status()
        .map_or(u64::MAX, |it| it.uptime_seconds)
}

/// Clients ask for as long as `disturb` takes; returns how often they were answered.
fn under_load(kit: &Kit, disturb: impl FnOnce()) -> u64 {
    let (over, answers) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let answer = kit
                        .client()
                        .credentials("oss-upload", Duration::ZERO, PATIENCE);
                    assert!(!answer.expect("nobody is turned away").short);
                    answers.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        disturb();
        over.store(true, Ordering::Relaxed);
    });
    answers.into_inner()
}

#[test]
fn a_new_program_takes_the_place_and_nobody_notices() {
    let mut kit = Kit::start();
    let before = kit.document(&["oss-upload"]);
    let pid = kit.client().status().unwrap().pid;
    let log = || fs::read_to_string(kit.path("daemon.log")).unwrap();
    let answers = under_load(&kit, || {
        for round in 1..=5 {
            kit.daemon().signal(Signal::SIGUSR2);
            kit.wait_until("the new program", || {
                log().matches("is ready").count() == round + 1
            });
            kit.wait_until("its answer", || uptime(&kit) < 5);
        }
    });
    assert!(answers > 10, "there was some load: {answers}");
    assert_eq!(kit.document(&["oss-upload"]), before);
    assert_eq!(kit.calls("AssumeRole"), 1, "the session came along");
    assert_eq!(
        kit.client().status().unwrap().pid,
        pid,
        "it is the same process"
    );
    // The socket is still its own, and goes with it.
    kit.daemon().signal(Signal::SIGTERM);
    assert_eq!(kit.daemon_ends(), Some(0));
    assert!(!kit.socket().exists());
}

#[test]
fn a_new_program_that_would_fail_does_not_take_the_place() {
    let kit = Kit::start();
    let before = kit.document(&["oss-upload"]);
    kit.write_config("colour = 1\n");
    kit.daemon().signal(Signal::SIGUSR2);
    kit.wait_until("a complaint", || {
        let log = fs::read_to_string(kit.path("daemon.log")).unwrap();
        log.contains("this program goes on") && log.contains("colour")
    });
    assert_eq!(kit.document(&["oss-upload"]), before);
}

#[test]
fn a_new_program_that_hangs_keeps_nobody_waiting() {
    let mut kit = Kit::without_daemon(&[]);
    kit.write_config(e2e::UPLOAD);
    // A copy, because another program is to stand at its path.
    let program = kit.path("stsd");
    fs::copy(e2e::program("stsd"), &program).unwrap();
    let mut command = Command::new(&program);
    command.env("STSD_CONFIG", kit.path("config.toml"));
    command.env("STSD_SOCKET", kit.socket());
    kit.adopt_daemon(command);
    let before = kit.document(&["oss-upload"]);
    fs::remove_file(&program).unwrap();
    kit.write("stsd", "#!/bin/sh\nexec sleep 600\n", 0o700);
    kit.daemon().signal(Signal::SIGUSR2);
    let complained = || {
        let log = fs::read_to_string(kit.path("daemon.log")).unwrap();
        log.contains("this program goes on")
    };
    for _ in 0..20 {
        let patience = ["--patience", "2s", "oss-upload"];
        assert_eq!(kit.document(&patience), before);
    }
    assert!(!complained(), "it was served while the new one was tried");
    kit.wait_within(Duration::from_secs(30), "a complaint", complained);
    assert_eq!(kit.document(&["oss-upload"]), before);
}

#[test]
fn a_replaced_program_forgets_sessions_of_profiles_that_changed_meanwhile() {
    let kit = Kit::start();
    let before = kit.document(&["oss-upload"]);
    kit.write_config(&format!("{}source_identity = \"me\"\n", e2e::UPLOAD));
    kit.daemon().signal(Signal::SIGUSR2);
    kit.wait_until("another session", || {
        kit.document(&["oss-upload"]) != before
    });
}

#[test]
fn a_socket_that_was_taken_away_is_made_again() {
    let kit = Kit::start();
    let before = kit.document(&["oss-upload"]);
    fs::remove_file(kit.socket()).unwrap();
    kit.wait_within(Duration::from_secs(40), "the socket", || {
        kit.socket().exists()
    });
    assert_eq!(kit.document(&["oss-upload"]), before);
}

#[test]
fn a_dead_socket_in_its_place_is_replaced_and_a_live_one_is_not() {
    let kit = Kit::start();
    let before = kit.document(&["oss-upload"]);
    fs::remove_file(kit.socket()).unwrap();
    drop(UnixListener::bind(kit.socket()).unwrap());
    kit.wait_within(Duration::from_secs(40), "its own socket", || {
        kit.client().status().is_ok()
    });
    assert_eq!(kit.document(&["oss-upload"]), before);

    fs::remove_file(kit.socket()).unwrap();
    let _foreign = UnixListener::bind(kit.socket()).unwrap();
    kit.wait_within(Duration::from_secs(40), "a complaint", || {
        let log = fs::read_to_string(kit.path("daemon.log")).unwrap();
        log.contains("another daemon has taken")
    });
}
