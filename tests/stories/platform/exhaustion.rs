//! Resources that run out, and SIGKILL at any moment: requests get a reason, service resumes, no file
//! and no process is left. Descriptors are in `serve/hostile_peers.rs`, the network in
//! `refresh/network.rs`.

use std::{
    collections::BTreeSet,
    fs::{self},
    os::unix::{ffi::OsStrExt as _, net::UnixStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::Duration,
};

use e2e::{Action, Fault, Process, TestEnv, UPLOAD, fill_filesystem, free_filesystem, unix_time};
use nix::{sys::signal::Signal, unistd::geteuid};
use stsd_client::{Client, Error};

/// Starts a daemon whose socket and audit file are on a small file system. A watchdog of two seconds
/// makes the daemon check its socket every second.
fn env_on_small_filesystem() -> (TestEnv, PathBuf) {
    let mut env = TestEnv::without_daemon(&[]);
    env.write_config(&format!("{UPLOAD}[audit]\nfile = \"run/audit.jsonl\"\n"));
    let directory = env.path("run");
    e2e::mount_small(&directory, 64 * 1024, 8);
    let mut command = env.daemon_command();
    command.env("WATCHDOG_USEC", "2000000");
    env.start_daemon_with(command);
    (env, directory)
}

#[test]
fn full_runtime_directory_does_not_stop_serving() {
    e2e::in_own_mounts(|| {
        let (env, directory) = env_on_small_filesystem();
        let before = env.document(&["oss-upload"]);
        fill_filesystem(&directory);
        // The last page of the audit file has free bytes.
        env.wait_until("lines of the audit are lost", || {
            assert_eq!(env.document(&["oss-upload"]), before);
            env.daemon_log().contains("audit lines are lost")
        });
        assert!(env.ctl(&["refresh", "oss-upload"]).status.success());
        let before = env.document(&["oss-upload"]);
        // The daemon keeps the removed socket open, so that its inode stays in use.
        fs::remove_file(env.socket()).unwrap();
        let complaint = "the socket was removed: cannot listen at";
        env.wait_until("it cannot be made", || env.daemon_log().contains(complaint));
        let looks = env.daemon_log().matches("self-check failed").count();
        env.wait_until("two more looks", || {
            env.daemon_log().matches("self-check failed").count() > looks + 1
        });
        let said = env.daemon_log();
        let said: Vec<_> = said.lines().filter(|it| it.contains(complaint)).collect();
        assert_eq!(said.len(), 1, "warnings: {said:?}");
        let (cause, hint) = ("No space left", "free space");
        assert!(
            said[0].contains(cause) && said[0].contains(hint),
            "{said:?}"
        );
        free_filesystem(&directory);
        env.wait_until("the socket", || UnixStream::connect(env.socket()).is_ok());
        assert_eq!(env.document(&["oss-upload"]), before, "the session");
        assert_eq!(env.emulator().calls(Action::AssumeRole), 2);
        env.wait_until("and it is said", || {
            env.daemon_log().contains("audit lines were lost")
        });
        let audited = fs::read_to_string(directory.join("audit.jsonl")).unwrap();
        assert!(audited.ends_with("}\n"), "{audited}");
    });
}

#[test]
fn start_in_a_full_directory_names_the_cause() {
    e2e::in_own_mounts(|| {
        let env = TestEnv::without_daemon(&[]);
        env.write_config(UPLOAD);
        e2e::mount_small(&env.path("run"), 64 * 1024, 4);
        fill_filesystem(&env.path("run"));
        let output = env.daemon_command().output().unwrap();
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        e2e::assert_no_secrets("stsd's stderr", &output.stderr);
        assert_eq!(output.status.code(), Some(1), "{complaint}");
        assert!(complaint.contains("cannot listen at"), "{complaint}");
        assert!(complaint.contains("No space left"), "{complaint}");
        assert!(
            complaint.contains("hint: free space and inodes"),
            "{complaint}"
        );
    });
}

/// Makes `accept4` of the daemon fail while the returned process runs. Every thread is traced then;
/// a call that began earlier may still succeed once.
fn refuse_connections(env: &TestEnv, error: &str) -> Result<Process, String> {
    let pid = env.daemon().id().to_string();
    let mut strace = Command::new("strace");
    strace.args(["-qq", "-f", "-o", "/dev/null", "-p", &pid]);
    strace.args(["-e", "trace=accept4"]);
    strace.args(["-e", &format!("inject=accept4:error={error}")]);
    if Command::new("strace").arg("-V").output().is_err() {
        return Err("strace does not start; its package is strace".to_owned());
    }
    let mut strace = Process::start(strace, &env.path("strace.log"));
    let threads = format!("/proc/{pid}/task");
    let traced = |thread: &Path| {
        // A thread that has ended in between makes no calls.
        fs::read_to_string(thread.join("status")).map_or(true, |it| !it.contains("TracerPid:\t0\n"))
    };
    for _ in 0..3000 {
        let mut threads = fs::read_dir(&threads).unwrap().flatten();
        if threads.all(|it| traced(&it.path())) {
            return Ok(strace);
        }
        if !strace.is_running() {
            let complaint = fs::read_to_string(env.path("strace.log")).unwrap();
            return Err(complaint.trim().to_owned());
        }
        thread::sleep(Duration::from_millis(20));
    }
    panic!("strace does not begin");
}

/// The kernel has no memory for a connection. A daemon without memory of its own is aborted and
/// started again, which tests/systemd checks.
#[test]
fn no_memory_for_a_connection_pauses_accepting_and_recovers() {
    let env = TestEnv::start();
    let before = env.document(&["oss-upload"]);
    for (round, error) in ["ENOMEM", "ENOBUFS", "ENFILE"].iter().enumerate() {
        let mut strace = match refuse_connections(&env, error) {
            Ok(strace) => strace,
            Err(reason) => {
                e2e::not_run(&reason);
                return;
            }
        };
        env.wait_until("accepting pauses", || {
            drop(UnixStream::connect(env.socket()));
            env.daemon_log().matches("accepting pauses").count() > round
        });
        let mut command = env.shim_command(&["--patience", "60s", "oss-upload"]);
        let mut waiting = command.stdout(Stdio::piped()).spawn().unwrap();
        // A shorter patience ends with the error for a missing daemon.
        let output = env.shim(&["--patience", "300ms", "oss-upload"]);
        assert_eq!(output.status.code(), Some(3), "{error}");
        assert!(waiting.try_wait().unwrap().is_none(), "{error}");
        strace.signal(Signal::SIGTERM);
        let _ = strace.wait();
        let output = waiting.wait_with_output().unwrap();
        let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(answer, before, "{error}: the waiting request");
        assert_eq!(env.document(&["oss-upload"]), before, "{error}");
    }
    let said = env.daemon_log().matches("accepting pauses").count();
    assert_eq!(said, 3, "one warning for each pause");
}

/// Returns the paths of all files below a directory.
fn files(directory: &Path) -> BTreeSet<PathBuf> {
    let mut all = BTreeSet::new();
    for entry in fs::read_dir(directory).unwrap().flatten() {
        if entry.path().is_dir() {
            all.append(&mut files(&entry.path()));
        }
        all.insert(entry.path());
    }
    all
}

/// Returns the number of processes with the socket of `env` in their environment.
fn daemons(env: &TestEnv) -> usize {
    let wanted = [b"STSD_SOCKET=", env.socket().as_os_str().as_bytes()].concat();
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let environments = processes.filter_map(|it| fs::read(it.path().join("environ")).ok());
    let knows = |it: &Vec<u8>| it.split(|byte| *byte == 0).any(|it| it == wanted);
    environments.filter(knows).count()
}

/// Requests credentials until they come; returns the number of attempts without a daemon.
fn ask(client: &Client) -> u64 {
    for unanswered in 0..3000 {
        let asked = unix_time();
        match client.credentials("oss-upload", Duration::ZERO, Duration::from_secs(60)) {
            Ok(answer) => {
                let ends = answer.credentials.expiration_unix_seconds;
                assert!(ends.cast_unsigned() > asked, "it had ended");
                return unanswered;
            }
            // The daemon was killed, or the next one is about to start.
            Err(Error::NotReachable { .. } | Error::Broken { .. }) => {}
            Err(error) => panic!("{error}"),
        }
        thread::sleep(Duration::from_millis(20));
    }
    panic!("no daemon answers");
}

#[test]
fn thirty_kills_leave_no_file_and_no_process() {
    let mut env = TestEnv::without_daemon(&["--session-life", "6s"]);
    // With this delay, most kills happen during a call.
    env.emulator()
        .inject_fault(Action::AssumeRole, Fault::Delay(Duration::from_millis(50)));
    env.write_config(&format!("{UPLOAD}keep_warm = true\n"));
    env.start_daemon();
    let _ = env.document(&["oss-upload"]);
    let before = files(&env.path(""));
    let mut random = fastrand::Rng::with_seed(fastrand::u64(..));
    let seed = random.get_seed();
    let (over, answers) = (AtomicBool::new(false), AtomicU64::new(0));
    let longest = AtomicU64::new(0);
    thread::scope(|scope| {
        for client in [env.client(), env.client()] {
            let (over, answers, longest) = (&over, &answers, &longest);
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    longest.fetch_max(ask(&client), Ordering::Relaxed);
                    answers.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for round in 0..30 {
            let pause = Duration::from_millis(random.u64(0..120));
            if round % 2 == 0 {
                env.daemon().signal(Signal::SIGUSR2);
            }
            thread::sleep(pause);
            if round % 4 == 0 {
                // The second SIGUSR2 arrives while the new program starts.
                env.daemon().signal(Signal::SIGUSR2);
                thread::sleep(Duration::from_millis(random.u64(0..20)));
            }
            let pid = env.daemon().id();
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
            assert!(
                !stat.contains(") Z "),
                "the daemon exited before the kill, seed {seed}"
            );
            env.daemon().signal(Signal::SIGKILL);
            assert_eq!(env.wait_for_daemon_exit(), None, "seed {seed}");
            assert!(env.socket().exists(), "the socket is left behind");
            env.start_daemon();
        }
        over.store(true, Ordering::Relaxed);
    });
    e2e::measured(&format!(
        "seed {seed}: {} answers, the longest wait for a daemon was about {} ms",
        answers.into_inner(),
        longest.into_inner() * 20
    ));
    // The last daemon removes its temporary files.
    env.wait_until("nothing is on the disk that was not", || {
        files(&env.path("")) == before
    });
    if geteuid().is_root() {
        // The upgrade check of a killed daemon ends by itself.
        env.wait_until("one daemon is left", || daemons(&env) == 1);
    } else {
        e2e::not_run("whether a process is left, which only root can see");
    }
    env.daemon().signal(Signal::SIGTERM);
    assert_eq!(env.wait_for_daemon_exit(), Some(0));
    assert!(
        !env.socket().exists(),
        "the last one takes its socket with it"
    );
}
