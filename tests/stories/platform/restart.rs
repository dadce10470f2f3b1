//! Upgrades and restarts of the daemon, and the loss of its socket.

use std::{
    fs,
    io::{ErrorKind, Read as _, Write as _},
    os::unix::net::{UnixListener, UnixStream},
    path::PathBuf,
    process::Command,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::Duration,
};

use e2e::{Action, TestEnv, UPLOAD, hello_request};
use nix::{
    sys::{signal::Signal, stat::Mode},
    unistd::{geteuid, mkfifo},
};

const PATIENCE: Duration = Duration::from_secs(60);

/// Sends requests in four threads while `disturb` runs; returns the number of answers.
fn under_load(env: &TestEnv, disturb: impl FnOnce()) -> u64 {
    let (over, answers) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let answer = env
                        .client()
                        .credentials("oss-upload", Duration::ZERO, PATIENCE);
                    assert!(!answer.expect("a request was refused").short);
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
fn upgrade_under_load_causes_no_failure() {
    let mut env = TestEnv::start();
    let before = env.document(&["oss-upload"]);
    let pid = env.client().status().unwrap().pid;
    let answers = under_load(&env, || {
        for round in 1..=20 {
            env.daemon().signal(Signal::SIGUSR2);
            env.wait_until("the new program", || {
                env.daemon_log().matches("is ready config=").count() == round + 1
            });
            env.wait_until("its answer", || env.client().status().is_ok());
        }
    });
    assert!(answers > 10, "answers: {answers}");
    assert_eq!(env.document(&["oss-upload"]), before);
    assert_eq!(
        env.emulator().calls(Action::AssumeRole),
        1,
        "calls: the upgrade keeps the session"
    );
    assert_eq!(
        env.client().status().unwrap().pid,
        pid,
        "the process id after upgrades"
    );
    // The daemon still removes its socket at the end.
    env.daemon().signal(Signal::SIGTERM);
    assert_eq!(env.wait_for_daemon_exit(), Some(0));
    assert!(!env.socket().exists());
}

#[test]
fn upgrade_with_an_invalid_config_is_rejected() {
    let env = TestEnv::start();
    let before = env.document(&["oss-upload"]);
    env.write_config("colour = 1\n");
    env.daemon().signal(Signal::SIGUSR2);
    env.wait_until("a complaint", || {
        let log = env.daemon_log();
        log.contains("upgrade rejected") && log.contains("colour")
    });
    assert_eq!(env.document(&["oss-upload"]), before);
}

#[test]
fn upgrade_without_a_usable_audit_file_is_rejected() {
    let mut env = TestEnv::start();
    let before = env.document(&["oss-upload"]);
    // Missing directory, not writable in the sandbox, not private: the daemon would not start.
    fs::create_dir(env.path("audit")).unwrap();
    env.write("audit/loose.jsonl", "", 0o644);
    for (round, file) in ["none/a.jsonl", "audit/new.jsonl", "audit/loose.jsonl"]
        .iter()
        .enumerate()
    {
        let audit = format!("{}[audit]\nfile = \"{file}\"\n", UPLOAD);
        env.write_config(&audit);
        env.daemon().signal(Signal::SIGUSR2);
        env.wait_until("a complaint", || {
            env.daemon_log()
                .matches("config.toml:9: audit.file: ")
                .count()
                > round
        });
        assert_eq!(env.document(&["oss-upload"]), before, "{file}");
    }
    assert!(!env.path("audit/new.jsonl").exists());
    // `--check` leaves no file.
    env.write_config(&format!("{}[audit]\nfile = \"audit/new.jsonl\"\n", UPLOAD));
    let tried = env.daemon_command().arg("--check").output().unwrap();
    assert!(tried.status.success(), "{tried:?}");
    assert_eq!(fs::read_dir(env.path("audit")).unwrap().count(), 1);
    env.daemon().signal(Signal::SIGTERM);
    assert_eq!(env.wait_for_daemon_exit(), Some(0));
}

/// Starts a daemon from a copy of the program, which a story replaces.
fn replaceable() -> TestEnv {
    let mut env = TestEnv::without_daemon(&[]);
    env.write_config(UPLOAD);
    let program = env.path("stsd");
    fs::copy(e2e::program("stsd"), &program).unwrap();
    env.start_daemon_with(env.daemon_command_at(&program));
    env
}

/// Replaces the program by a script that runs `rest` and then executes the real program.
fn replace(env: &TestEnv, check: &str, rest: &str) {
    let _ = fs::remove_file(env.path("stsd"));
    let real = e2e::program("stsd");
    let script = format!(
        "#!/bin/sh\nif [ \"$1\" = --check ]; then {check}; fi\n{rest}\nexec {} \"$@\"\n",
        real.display()
    );
    env.write("stsd", &script, 0o700);
}

/// Replaces the program by a script that first waits for a line in a FIFO. The shell starts no process
/// meanwhile: some shells unblock signals then.
fn replace_by_a_slow_one(env: &TestEnv) -> (tempfile::TempDir, PathBuf) {
    // Not in the directory of the environment, whose files are read at the end.
    let directory = tempfile::tempdir().unwrap();
    let gate = directory.path().join("gate");
    mkfifo(&gate, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
    let wait = format!("echo begun >&2; read line <{}", gate.display());
    replace(env, "exit 0", &wait);
    (directory, gate)
}

#[test]
fn signals_are_pending_until_a_slow_upgrade_starts() {
    let env = replaceable();
    let before = env.document(&["oss-upload"]);
    let (_directory, gate) = replace_by_a_slow_one(&env);
    env.daemon().signal(Signal::SIGUSR2);
    env.wait_until("it begins", || env.daemon_log().contains("begun"));
    env.daemon().signal(Signal::SIGUSR2);
    env.daemon().signal(Signal::SIGHUP);
    fs::write(&gate, "go\n").unwrap();
    // Both signals are handled once the new program handles signals.
    env.wait_until("the third program", || {
        env.daemon_log().matches("is ready config=").count() == 3
    });
    assert_eq!(env.document(&["oss-upload"]), before);
    // No signal stays blocked. The C library blocks all signals while it starts a thread.
    let status = format!("/proc/{}/status", env.daemon().id());
    env.wait_until("nothing is blocked", || {
        let status = fs::read_to_string(&status).unwrap();
        status.contains("SigBlk:\t0000000000000000\n")
    });
}

#[test]
fn sigterm_is_pending_until_a_slow_upgrade_starts() {
    let mut env = replaceable();
    let (_directory, gate) = replace_by_a_slow_one(&env);
    env.daemon().signal(Signal::SIGUSR2);
    env.wait_until("it begins", || env.daemon_log().contains("begun"));
    env.daemon().signal(Signal::SIGTERM);
    fs::write(&gate, "go\n").unwrap();
    assert_eq!(env.wait_for_daemon_exit(), Some(0), "the exit code");
    assert!(!env.socket().exists());
}

#[test]
fn sigterm_during_an_upgrade_ends_the_daemon() {
    let mut env = replaceable();
    let _ = env.document(&["oss-upload"]);
    replace(&env, "exit 0", "");
    let mut idle = UnixStream::connect(env.socket()).unwrap();
    idle.write_all(&hello_request()).unwrap();
    // A connection with a half frame delays the end of the old program.
    let mut begun = UnixStream::connect(env.socket()).unwrap();
    begun.write_all(&[0]).unwrap();
    env.daemon().signal(Signal::SIGUSR2);
    // Other connections are closed at once, with a reset if the request was not read before.
    if let Err(error) = idle.read_to_end(&mut Vec::new()) {
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
    env.daemon().signal(Signal::SIGTERM);
    assert_eq!(env.wait_for_daemon_exit(), Some(0));
}

#[test]
fn background_child_of_a_rejected_upgrade_blocks_nothing() {
    let env = replaceable();
    let before = env.document(&["oss-upload"]);
    replace(&env, "sleep 30 & echo no more >&2; exit 1", "");
    env.daemon().signal(Signal::SIGUSR2);
    env.wait_until("a complaint", || {
        env.daemon_log()
            .contains("upgrade rejected, keeping the running program: no more")
    });
    assert_eq!(env.document(&["oss-upload"]), before);
}

#[test]
fn hung_upgrade_is_rejected_and_serving_continues() {
    let env = replaceable();
    let before = env.document(&["oss-upload"]);
    let directory = tempfile::tempdir().unwrap();
    let gate = directory.path().join("gate");
    mkfifo(&gate, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
    replace(&env, &format!("read line <{}", gate.display()), "");
    env.daemon().signal(Signal::SIGUSR2);
    // The check has begun once the FIFO is open; the line never comes.
    let gate = fs::File::options().write(true).open(&gate).unwrap();
    let complained = || {
        let log = env.daemon_log();
        log.contains("upgrade rejected")
    };
    assert_eq!(env.document(&["oss-upload"]), before);
    let reloaded = env.ctl(&["reload"]);
    let said = String::from_utf8_lossy(&reloaded.stderr);
    assert!(
        reloaded.status.success(),
        "a reload during the check: {said}"
    );
    assert!(!complained(), "the check ended before the requests");
    env.wait_within(Duration::from_secs(60), "a complaint", || {
        assert_eq!(env.document(&["oss-upload"]), before);
        complained()
    });
    drop(gate);
    assert_eq!(env.document(&["oss-upload"]), before);
}

#[test]
fn upgrade_succeeds_with_a_low_file_limit() {
    let env = TestEnv::with_file_limit(64, UPLOAD);
    let before = env.document(&["oss-upload"]);
    env.daemon().signal(Signal::SIGUSR2);
    env.wait_until("the new program", || {
        env.daemon_log().contains("inherited socket")
    });
    assert_eq!(env.document(&["oss-upload"]), before);
}

#[test]
fn upgrade_discards_sessions_of_changed_profiles() {
    let env = TestEnv::start();
    let before = env.document(&["oss-upload"]);
    env.write_config(&format!("{}source_identity = \"me\"\n", UPLOAD));
    env.daemon().signal(Signal::SIGUSR2);
    env.wait_until("another session", || {
        env.document(&["oss-upload"]) != before
    });
}

#[test]
fn removed_socket_is_created_again() {
    let env = TestEnv::start();
    let before = env.document(&["oss-upload"]);
    fs::remove_file(env.socket()).unwrap();
    env.wait_within(Duration::from_secs(40), "the socket", || {
        UnixStream::connect(env.socket()).is_ok()
    });
    assert_eq!(env.document(&["oss-upload"]), before);
}

#[test]
fn stale_socket_in_its_place_is_replaced_and_a_live_one_is_not() {
    let env = TestEnv::start();
    let before = env.document(&["oss-upload"]);
    fs::remove_file(env.socket()).unwrap();
    drop(UnixListener::bind(env.socket()).unwrap());
    env.wait_within(Duration::from_secs(40), "its own socket", || {
        env.client().status().is_ok()
    });
    assert_eq!(env.document(&["oss-upload"]), before);

    fs::remove_file(env.socket()).unwrap();
    let _foreign = UnixListener::bind(env.socket()).unwrap();
    env.wait_within(Duration::from_secs(40), "a complaint", || {
        let log = env.daemon_log();
        log.contains(&format!("another daemon of uid {} now owns", geteuid()))
    });
}

#[test]
fn sockets_of_systemd_are_not_removed() {
    let activate = "systemd-socket-activate";
    if Command::new(activate).arg("--version").output().is_err() {
        e2e::not_run("systemd-socket-activate does not start; it comes with systemd");
        return;
    }
    let mut env = TestEnv::without_daemon(&[]);
    env.write_config(UPLOAD);
    let http = env.path("run/http.sock");
    let mut command = Command::new(activate);
    command.args(["--fdname=stsd:stsd", "-l"]).arg(env.socket());
    command.arg("-l").arg(&http);
    command.arg(format!(
        "--setenv=STSD_CONFIG={}",
        env.path("config.toml").display()
    ));
    command.arg(e2e::program("stsd"));
    // The first request starts the daemon.
    env.spawn_daemon(command);
    env.wait_until("the sockets", || {
        e2e::has_listener(&env.socket()) && e2e::has_listener(&http)
    });
    for _ in 0..3 {
        let _ = env.document(&["--patience", "60s", "oss-upload"]);
        assert!(env.socket().exists() && http.exists());
    }
    env.daemon().signal(Signal::SIGTERM);
    assert_eq!(env.wait_for_daemon_exit(), Some(0));
    assert!(env.socket().exists() && http.exists());
}
