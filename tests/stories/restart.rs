//! The daemon is replaced, loses its socket, or is killed: callers do not notice.

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::net::{UnixListener, UnixStream},
    path::PathBuf,
    process::Command,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::Duration,
};

use e2e::Kit;
use nix::{
    sys::{signal::Signal, stat::Mode},
    unistd::mkfifo,
};

use crate::{
    faults::log,
    hostile::{hello, with_few_files},
};

const PATIENCE: Duration = Duration::from_secs(60);

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
    let answers = under_load(&kit, || {
        for round in 1..=5 {
            kit.daemon().signal(Signal::SIGUSR2);
            kit.wait_until("the new program", || {
                log(&kit).matches("is ready").count() == round + 1
            });
            kit.wait_until("its answer", || kit.client().status().is_ok());
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
        log.contains("upgrade rejected") && log.contains("colour")
    });
    assert_eq!(kit.document(&["oss-upload"]), before);
}

#[test]
fn a_new_program_that_has_no_file_for_its_audit_does_not_take_the_place() {
    let mut kit = Kit::start();
    let before = kit.document(&["oss-upload"]);
    // Not there yet, not writable in the sandbox, or not private: the daemon would not start.
    fs::create_dir(kit.path("audit")).unwrap();
    kit.write("audit/loose.jsonl", "", 0o644);
    for (round, file) in ["none/a.jsonl", "audit/new.jsonl", "audit/loose.jsonl"]
        .iter()
        .enumerate()
    {
        let audit = format!("{}[audit]\nfile = \"{file}\"\n", e2e::UPLOAD);
        kit.write_config(&audit);
        kit.daemon().signal(Signal::SIGUSR2);
        kit.wait_until("a complaint", || {
            log(&kit).matches("config.toml:9: audit.file: ").count() > round
        });
        assert_eq!(kit.document(&["oss-upload"]), before, "{file}");
    }
    assert!(!kit.path("audit/new.jsonl").exists());
    // By hand it may be tried without a trace.
    kit.write_config(&format!(
        "{}[audit]\nfile = \"audit/new.jsonl\"\n",
        e2e::UPLOAD
    ));
    let tried = kit.daemon_command().arg("--check").output().unwrap();
    assert!(tried.status.success(), "{tried:?}");
    assert_eq!(fs::read_dir(kit.path("audit")).unwrap().count(), 1);
    kit.daemon().signal(Signal::SIGTERM);
    assert_eq!(kit.daemon_ends(), Some(0));
}

/// A daemon whose program is a copy, because another one is to stand at its path.
fn replaceable() -> Kit {
    let mut kit = Kit::without_daemon(&[]);
    kit.write_config(e2e::UPLOAD);
    let program = kit.path("stsd");
    fs::copy(e2e::program("stsd"), &program).unwrap();
    let mut command = Command::new(&program);
    command.env("STSD_CONFIG", kit.path("config.toml"));
    command.env("STSD_SOCKET", kit.socket());
    kit.adopt_daemon(command);
    kit
}

/// Puts a script there that is the real program in the end, when `rest` has been run.
fn replace(kit: &Kit, check: &str, rest: &str) {
    let _ = fs::remove_file(kit.path("stsd"));
    let real = e2e::program("stsd");
    let script = format!(
        "#!/bin/sh\nif [ \"$1\" = --check ]; then {check}; fi\n{rest}\nexec {} \"$@\"\n",
        real.display()
    );
    kit.write("stsd", &script, 0o700);
}

/// Puts a program there that begins slowly: it waits until the gate is opened. The shell
/// starts nothing meanwhile, because some would unblock signals then.
fn replace_by_a_slow_one(kit: &Kit) -> (tempfile::TempDir, PathBuf) {
    // Not among the kit's own files: those are read in the end.
    let directory = tempfile::tempdir().unwrap();
    let gate = directory.path().join("gate");
    mkfifo(&gate, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
    let wait = format!("echo begun >&2; read line <{}", gate.display());
    replace(kit, "exit 0", &wait);
    (directory, gate)
}

#[test]
fn signals_wait_for_a_new_program_that_is_slow_to_begin() {
    let kit = replaceable();
    let before = kit.document(&["oss-upload"]);
    let (_directory, gate) = replace_by_a_slow_one(&kit);
    kit.daemon().signal(Signal::SIGUSR2);
    kit.wait_until("it begins", || log(&kit).contains("begun"));
    kit.daemon().signal(Signal::SIGUSR2);
    kit.daemon().signal(Signal::SIGHUP);
    fs::write(&gate, "go\n").unwrap();
    // Both are heard when there is somebody to hear them.
    kit.wait_until("the third program", || {
        log(&kit).matches("is ready").count() == 3
    });
    assert_eq!(kit.document(&["oss-upload"]), before);
    // Nothing stays blocked, for it and what it starts; all is for the moment in which the C
    // library starts a thread.
    let status = format!("/proc/{}/status", kit.daemon().id());
    kit.wait_until("nothing is blocked", || {
        let status = fs::read_to_string(&status).unwrap();
        status.contains("SigBlk:\t0000000000000000\n")
    });
}

#[test]
fn an_end_waits_for_a_new_program_that_is_slow_to_begin() {
    let mut kit = replaceable();
    let (_directory, gate) = replace_by_a_slow_one(&kit);
    kit.daemon().signal(Signal::SIGUSR2);
    kit.wait_until("it begins", || log(&kit).contains("begun"));
    kit.daemon().signal(Signal::SIGTERM);
    fs::write(&gate, "go\n").unwrap();
    assert_eq!(kit.daemon_ends(), Some(0), "it ends as it should");
    assert!(!kit.socket().exists());
}

#[test]
fn whoever_wants_an_end_while_a_new_program_comes_gets_it() {
    let mut kit = replaceable();
    let _ = kit.document(&["oss-upload"]);
    replace(&kit, "exit 0", "");
    let mut idle = UnixStream::connect(kit.socket()).unwrap();
    idle.write_all(&hello()).unwrap();
    // A connection that has begun a frame holds up the end of the old program.
    let mut begun = UnixStream::connect(kit.socket()).unwrap();
    begun.write_all(&[0]).unwrap();
    kit.daemon().signal(Signal::SIGUSR2);
    // The others end at once.
    let mut rest = Vec::new();
    idle.read_to_end(&mut rest).unwrap();
    kit.daemon().signal(Signal::SIGTERM);
    assert_eq!(kit.daemon_ends(), Some(0));
}

#[test]
fn what_a_new_program_leaves_running_keeps_nobody_waiting() {
    let kit = replaceable();
    let before = kit.document(&["oss-upload"]);
    replace(&kit, "sleep 30 & echo no more >&2; exit 1", "");
    kit.daemon().signal(Signal::SIGUSR2);
    kit.wait_until("a complaint", || {
        log(&kit).contains("upgrade rejected, keeping the running program: no more")
    });
    assert_eq!(kit.document(&["oss-upload"]), before);
}

#[test]
fn a_new_program_that_hangs_keeps_nobody_waiting() {
    let kit = replaceable();
    let before = kit.document(&["oss-upload"]);
    let directory = tempfile::tempdir().unwrap();
    let gate = directory.path().join("gate");
    mkfifo(&gate, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
    replace(&kit, &format!("read line <{}", gate.display()), "");
    kit.daemon().signal(Signal::SIGUSR2);
    // It is being tried from when it has the gate open, which stays shut.
    let gate = fs::File::options().write(true).open(&gate).unwrap();
    let complained = || {
        let log = fs::read_to_string(kit.path("daemon.log")).unwrap();
        log.contains("upgrade rejected")
    };
    assert_eq!(kit.document(&["oss-upload"]), before);
    assert!(!complained(), "it was served while the new one was tried");
    kit.wait_within(Duration::from_secs(60), "a complaint", || {
        assert_eq!(kit.document(&["oss-upload"]), before);
        complained()
    });
    drop(gate);
    assert_eq!(kit.document(&["oss-upload"]), before);
}

#[test]
fn a_new_program_takes_the_place_where_few_files_may_be_open() {
    let kit = with_few_files(64, e2e::UPLOAD);
    let before = kit.document(&["oss-upload"]);
    kit.daemon().signal(Signal::SIGUSR2);
    kit.wait_until("the new program", || log(&kit).contains("inherited socket"));
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
        UnixStream::connect(kit.socket()).is_ok()
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
        log.contains("another daemon now owns")
    });
}

#[test]
fn sockets_that_are_lent_are_left_where_they_stand() {
    let activate = "systemd-socket-activate";
    if Command::new(activate).arg("--version").output().is_err() {
        e2e::not_run("systemd-socket-activate does not start; it comes with systemd");
        return;
    }
    let mut kit = Kit::without_daemon(&[]);
    kit.write_config(e2e::UPLOAD);
    let http = kit.path("run/http.sock");
    let mut command = Command::new(activate);
    command.args(["--fdname=stsd:stsd", "-l"]).arg(kit.socket());
    command.arg("-l").arg(&http);
    command.arg(format!(
        "--setenv=STSD_CONFIG={}",
        kit.path("config.toml").display()
    ));
    command.arg(e2e::program("stsd"));
    // The first question starts it.
    kit.start_unasked(command);
    kit.wait_until("the sockets", || {
        e2e::is_listened_at(&kit.socket()) && e2e::is_listened_at(&http)
    });
    for _ in 0..3 {
        let _ = kit.document(&["--patience", "60s", "oss-upload"]);
        assert!(kit.socket().exists() && http.exists());
    }
    kit.daemon().signal(Signal::SIGTERM);
    assert_eq!(kit.daemon_ends(), Some(0));
    assert!(kit.socket().exists() && http.exists());
}
