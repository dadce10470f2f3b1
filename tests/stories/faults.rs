//! What a machine may run out of, and a daemon that dies at any moment: nobody is told more
//! than a reason, nothing is lost for longer, nothing is left behind. Descriptors are in
//! `hostile.rs`, the network in `network.rs`.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, Write as _},
    os::unix::{ffi::OsStrExt as _, net::UnixStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::Duration,
};

use e2e::{Kit, Process, UPLOAD};
use nix::{sys::signal::Signal, unistd::geteuid};
use serde_json::json;
use stsd_client::{Client, Error};

use crate::rotation::now;

pub(crate) fn log(kit: &Kit) -> String {
    fs::read_to_string(kit.path("daemon.log")).unwrap()
}

/// Takes all the room that a small file system has left: its files, then its bytes.
pub(crate) fn fill(directory: &Path) {
    let mut last = None;
    for number in 0..1000 {
        match File::create_new(directory.join(format!("filler{number}"))) {
            Ok(file) => last = Some(file),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(_) => break,
        }
    }
    while last
        .as_mut()
        .is_some_and(|it| it.write_all(&[0; 64]).is_ok())
    {}
    let one_more = File::create_new(directory.join("one-more"));
    assert!(one_more.is_err(), "the directory is full");
}

/// Leaves room again.
pub(crate) fn make_room(directory: &Path) {
    for entry in fs::read_dir(directory).unwrap().flatten() {
        if entry.file_name().as_bytes().starts_with(b"filler") {
            fs::remove_file(entry.path()).unwrap();
        }
    }
}

/// A daemon whose socket, and whose audit, are in a directory that is soon full. It looks
/// after its socket every second, as with a watchdog of two.
fn cramped() -> (Kit, PathBuf) {
    let mut kit = Kit::without_daemon(&[]);
    kit.write_config(&format!("{UPLOAD}[audit]\nfile = \"run/audit.jsonl\"\n"));
    let directory = kit.path("run");
    e2e::mount_small(&directory, 64 * 1024, 8);
    let mut command = kit.daemon_command();
    command.env("WATCHDOG_USEC", "2000000");
    kit.adopt_daemon(command);
    (kit, directory)
}

#[test]
fn a_full_runtime_directory_keeps_nobody_from_being_served() {
    e2e::in_own_mounts(|| {
        let (kit, directory) = cramped();
        let before = kit.document(&["oss-upload"]);
        fill(&directory);
        // The last page of the audit's file still has some room.
        kit.wait_until("lines of the audit are lost", || {
            assert_eq!(kit.document(&["oss-upload"]), before);
            log(&kit).contains("audit lines are lost")
        });
        assert!(kit.ctl(&["refresh", "oss-upload"]).status.success());
        let before = kit.document(&["oss-upload"]);
        // Somebody takes the socket away. The daemon still has it open, so that leaves no room.
        fs::remove_file(kit.socket()).unwrap();
        let complaint = "the socket was removed: cannot listen at";
        kit.wait_until("it cannot be made", || log(&kit).contains(complaint));
        let looks = log(&kit).matches("self-check failed").count();
        kit.wait_until("two more looks", || {
            log(&kit).matches("self-check failed").count() > looks + 1
        });
        let said = log(&kit);
        let said: Vec<_> = said.lines().filter(|it| it.contains(complaint)).collect();
        assert_eq!(said.len(), 1, "it is said once: {said:?}");
        let (what, hint) = ("No space left", "free space");
        assert!(said[0].contains(what) && said[0].contains(hint), "{said:?}");
        make_room(&directory);
        kit.wait_until("the socket", || UnixStream::connect(kit.socket()).is_ok());
        assert_eq!(kit.document(&["oss-upload"]), before, "nothing was lost");
        assert_eq!(kit.calls("AssumeRole"), 2);
        kit.wait_until("and it is said", || {
            log(&kit).contains("audit lines were lost")
        });
        let audited = fs::read_to_string(directory.join("audit.jsonl")).unwrap();
        assert!(audited.ends_with("}\n"), "{audited}");
    });
}

#[test]
fn a_daemon_that_starts_in_a_full_directory_says_so() {
    e2e::in_own_mounts(|| {
        let kit = Kit::without_daemon(&[]);
        kit.write_config(UPLOAD);
        e2e::mount_small(&kit.path("run"), 64 * 1024, 4);
        fill(&kit.path("run"));
        let output = kit.daemon_command().output().unwrap();
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        kit.must_be_clean("stsd's stderr", &output.stderr);
        assert_eq!(output.status.code(), Some(1), "{complaint}");
        assert!(complaint.contains("cannot listen at"), "{complaint}");
        assert!(complaint.contains("No space left"), "{complaint}");
        assert!(
            complaint.contains("hint: free space and inodes"),
            "{complaint}"
        );
    });
}

/// Has the kernel refuse connections to the daemon, as long as what is returned exists. Returns
/// when each thread is traced; one that was accepting just then may still accept once.
fn refuse_connections(kit: &Kit, error: &str) -> Result<Process, String> {
    let pid = kit.daemon().id().to_string();
    let mut strace = Command::new("strace");
    strace.args(["-qq", "-f", "-o", "/dev/null", "-p", &pid]);
    strace.args(["-e", "trace=accept4"]);
    strace.args(["-e", &format!("inject=accept4:error={error}")]);
    if Command::new("strace").arg("-V").output().is_err() {
        return Err("strace does not start; its package is strace".to_owned());
    }
    let mut strace = Process::start(strace, &kit.path("strace.log"));
    let threads = format!("/proc/{pid}/task");
    let traced = |thread: &Path| {
        // A thread that has ended since does nothing any more.
        fs::read_to_string(thread.join("status")).map_or(true, |it| !it.contains("TracerPid:\t0\n"))
    };
    for _ in 0..3000 {
        let mut threads = fs::read_dir(&threads).unwrap().flatten();
        if threads.all(|it| traced(&it.path())) {
            return Ok(strace);
        }
        if !strace.runs() {
            let complaint = fs::read_to_string(kit.path("strace.log")).unwrap();
            return Err(complaint.trim().to_owned());
        }
        thread::sleep(Duration::from_millis(20));
    }
    panic!("strace does not begin");
}

/// The kernel has none left for one more connection. When the daemon itself gets none, it is
/// aborted and started again: that story is told under systemd.
#[test]
fn no_memory_for_a_connection_pauses_accepting_and_recovers() {
    let kit = Kit::start();
    let before = kit.document(&["oss-upload"]);
    for (round, error) in ["ENOMEM", "ENOBUFS", "ENFILE"].iter().enumerate() {
        let mut strace = match refuse_connections(&kit, error) {
            Ok(strace) => strace,
            Err(reason) => {
                e2e::not_run(&reason);
                return;
            }
        };
        kit.wait_until("accepting pauses", || {
            drop(UnixStream::connect(kit.socket()));
            log(&kit).matches("accepting pauses").count() > round
        });
        let mut command = kit.shim_command(&["--patience", "60s", "oss-upload"]);
        let mut waiting = command.stdout(Stdio::piped()).spawn().unwrap();
        // Who has less patience is told that nobody answered.
        let output = kit.shim(&["--patience", "300ms", "oss-upload"]);
        assert_eq!(output.status.code(), Some(3), "{error}");
        assert!(waiting.try_wait().unwrap().is_none(), "{error}");
        strace.signal(Signal::SIGTERM);
        let _ = strace.wait();
        let output = waiting.wait_with_output().unwrap();
        let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(answer, before, "{error}: who waited is answered");
        assert_eq!(kit.document(&["oss-upload"]), before, "{error}");
    }
    let said = log(&kit).matches("accepting pauses").count();
    assert_eq!(said, 3, "it is said once, not at every try");
}

/// Everything below a directory, by name.
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

/// How many processes know the socket of a kit by their environment, as its daemons do.
fn daemons(kit: &Kit) -> usize {
    let wanted = [b"STSD_SOCKET=", kit.socket().as_os_str().as_bytes()].concat();
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let environments = processes.filter_map(|it| fs::read(it.path().join("environ")).ok());
    let knows = |it: &Vec<u8>| it.split(|byte| *byte == 0).any(|it| it == wanted);
    environments.filter(knows).count()
}

/// Asks until it is answered; returns how many times there was nobody to ask.
fn ask(client: &Client) -> u64 {
    for unanswered in 0..3000 {
        let asked = now();
        match client.credentials("oss-upload", Duration::ZERO, Duration::from_secs(60)) {
            Ok(answer) => {
                let ends = answer.credentials.expiration_unix_seconds;
                assert!(ends.cast_unsigned() > asked, "it had ended");
                return unanswered;
            }
            // It was killed, or its place is taken only now.
            Err(Error::NotReachable { .. } | Error::Broken(_)) => {}
            Err(error) => panic!("{error}"),
        }
        thread::sleep(Duration::from_millis(20));
    }
    panic!("nobody answers");
}

#[test]
fn thirty_kills_during_renewals_and_hand_overs_leave_nothing_behind() {
    let mut kit = Kit::without_daemon(&["--session-life", "6s"]);
    // So that a kill meets a call more often than not.
    kit.sts_fails(&json!({"kind": "delay", "millis": 50}));
    kit.write_config(&format!("{UPLOAD}keep_warm = true\n"));
    kit.start_daemon();
    let _ = kit.document(&["oss-upload"]);
    let before = files(&kit.path(""));
    let mut random = fastrand::Rng::with_seed(fastrand::u64(..));
    let seed = random.get_seed();
    let (over, answers) = (AtomicBool::new(false), AtomicU64::new(0));
    let longest = AtomicU64::new(0);
    thread::scope(|scope| {
        for client in [kit.client(), kit.client()] {
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
                kit.daemon().signal(Signal::SIGUSR2);
            }
            thread::sleep(pause);
            if round % 4 == 0 {
                // Who asks twice meets a program that has only just begun.
                kit.daemon().signal(Signal::SIGUSR2);
                thread::sleep(Duration::from_millis(random.u64(0..20)));
            }
            let pid = kit.daemon().id();
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
            assert!(!stat.contains(") Z "), "it has died by itself, seed {seed}");
            kit.daemon().signal(Signal::SIGKILL);
            assert_eq!(kit.daemon_ends(), None, "seed {seed}");
            assert!(kit.socket().exists(), "the socket is left behind");
            kit.start_daemon();
        }
        over.store(true, Ordering::Relaxed);
    });
    e2e::measured(&format!(
        "seed {seed}: {} answers, the longest wait for a daemon was about {} ms",
        answers.into_inner(),
        longest.into_inner() * 20
    ));
    // What the last one puts there for a moment goes again.
    kit.wait_until("nothing is on the disk that was not", || {
        files(&kit.path("")) == before
    });
    if geteuid().is_root() {
        // What a killed one was just trying ends by itself.
        kit.wait_until("one daemon is left", || daemons(&kit) == 1);
    } else {
        e2e::not_run("whether a process is left, which only root can see");
    }
    kit.daemon().signal(Signal::SIGTERM);
    assert_eq!(kit.daemon_ends(), Some(0));
    assert!(
        !kit.socket().exists(),
        "the last one takes its socket with it"
    );
}
