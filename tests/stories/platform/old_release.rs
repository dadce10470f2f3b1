//! Release 0.1.0 beside this version: its daemon is replaced under load, its programs ask this daemon,
//! and the programs of this version ask its daemon.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::Duration,
};

use e2e::{Action, TestEnv, UPLOAD, assert_no_secrets};
use nix::sys::signal::Signal;
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(60);

/// Runs each command line in a loop, in a thread of its own, while `disturb` runs. No run may fail.
fn under_load(env: &TestEnv, shims: &[PathBuf], disturb: impl FnOnce(&AtomicU64)) {
    let (over, answers) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        let until_over = |ask: &dyn Fn()| {
            while !over.load(Ordering::Relaxed) {
                ask();
                answers.fetch_add(1, Ordering::Relaxed);
            }
        };
        scope.spawn(move || {
            until_over(&|| {
                let answer = env
                    .client()
                    .credentials("oss-upload", Duration::ZERO, PATIENCE);
                assert!(!answer.expect("a request was refused").short);
            });
        });
        for shim in shims {
            scope.spawn(move || until_over(&|| drop(document(shim, &env.socket()))));
        }
        disturb(&answers);
        over.store(true, Ordering::Relaxed);
    });
}

/// Returns the document that a shim prints.
#[track_caller]
fn document(shim: &Path, socket: &Path) -> Value {
    let mut command = Command::new(shim);
    command.args(["--patience", "60s", "oss-upload", "--socket"]);
    let output = command.arg(socket).stdin(Stdio::null()).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{}: {stderr}",
        command.get_program().display()
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The path of a daemon's program, which a story replaces. Not in the directory of the environment, whose
/// files are searched for secrets at the end.
struct InstalledProgram(tempfile::TempDir);

impl InstalledProgram {
    fn new(stsd: &Path) -> Self {
        let installed = Self(tempfile::tempdir().unwrap());
        fs::copy(stsd, installed.path()).unwrap();
        installed
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("stsd")
    }

    /// Puts the daemon of this version in the place of the old program, as a package does.
    fn replace(&self) {
        let new = self.0.path().join("stsd.new");
        fs::copy(e2e::program("stsd"), &new).unwrap();
        fs::rename(new, self.path()).unwrap();
    }
}

/// Starts the daemon of release 0.1.0.
fn start_old(stsd: &Path) -> (TestEnv, InstalledProgram) {
    let mut env = TestEnv::without_daemon(&[]);
    env.write_config_with_http(UPLOAD);
    let installed = InstalledProgram::new(stsd);
    env.start_daemon_with(env.daemon_command_at(&installed.path()));
    assert!(!is_new(&env), "the daemon is the old one");
    (env, installed)
}

/// Returns `true` for a daemon that knows a request which release 0.1.0 does not know.
fn is_new(env: &TestEnv) -> bool {
    env.client().conditions().is_ok()
}

#[test]
fn old_daemon_is_replaced_under_load() {
    let Some([stsd, old_shim, _]) = e2e::old_programs() else {
        return;
    };
    let (env, installed) = start_old(&stsd);
    let new_shim = e2e::program("sts-shim");
    let before = document(&old_shim, &env.socket());
    let pid = env.client().status().unwrap().pid;
    let url = || {
        let url = env.client().url("oss-upload").unwrap().url;
        url.expose().to_owned()
    };
    let status_of = |url: &str| minreq::get(url).send().unwrap().status_code;
    let old_url = url();
    assert_eq!(status_of(&old_url), 200);
    under_load(&env, &[old_shim.clone(), new_shim.clone()], |answers| {
        installed.replace();
        env.daemon().signal(Signal::SIGUSR2);
        env.wait_until("the new daemon answers", || is_new(&env));
        let count = answers.load(Ordering::Relaxed);
        env.wait_until("each client is served again", || {
            answers.load(Ordering::Relaxed) > count + 10
        });
    });
    assert_eq!(env.client().status().unwrap().pid, pid);
    for shim in [old_shim, new_shim] {
        assert_eq!(document(&shim, &env.socket()), before, "the session");
    }
    assert_eq!(env.emulator().calls(Action::AssumeRole), 1);
    // Each URL of 0.1.0 had one secret, which therefore derives no other.
    assert_eq!((status_of(&old_url), status_of(&url())), (403, 200));
    assert!(!env.path("run/http.token").exists());
}

#[test]
fn old_daemon_ends_and_a_new_one_starts_under_load() {
    let Some([stsd, ..]) = e2e::old_programs() else {
        return;
    };
    let (mut env, installed) = start_old(&stsd);
    let (over, answers) = (AtomicBool::new(false), AtomicU64::new(0));
    let (socket, shim) = (env.socket(), e2e::program("sts-shim"));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    document(&shim, &socket);
                    answers.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        env.wait_until("clients are served", || answers.load(Ordering::Relaxed) > 4);
        env.daemon().signal(Signal::SIGTERM);
        env.wait_for_daemon_exit();
        installed.replace();
        env.start_daemon_with(env.daemon_command_at(&installed.path()));
        let count = answers.load(Ordering::Relaxed);
        env.wait_until("clients are served again", || {
            answers.load(Ordering::Relaxed) > count + 4
        });
        over.store(true, Ordering::Relaxed);
    });
    assert!(is_new(&env));
}

/// The commands of stsctl, with a part of the output of each.
const COMMANDS: [(&[&str], &str); 8] = [
    (&["status"], "oss-upload"),
    (&["status", "--json"], "\"name\": \"oss-upload\""),
    (&["metrics"], "stsd_build_info"),
    (&["get", "oss-upload"], "security_token"),
    (&["refresh", "oss-upload"], "oss-upload"),
    (
        &["exec", "oss-upload", "--", "sh", "-c", "env | cut -d= -f1"],
        "ALIBABA_CLOUD_CREDENTIALS_URI",
    ),
    (
        &[
            "exec",
            "oss-upload",
            "--static",
            "--",
            "sh",
            "-c",
            "env | cut -d= -f1",
        ],
        "ALIBABA_CLOUD_SECURITY_TOKEN",
    ),
    (&["reload"], ""),
];

/// Runs each command of an stsctl, and asks the endpoint by its URL.
fn assert_served(env: &TestEnv, shim: &Path, stsctl: &Path) {
    assert!(document(shim, &env.socket())["SecurityToken"].is_string());
    let run = |arguments: &[&str]| {
        let mut command = Command::new(stsctl);
        command.arg("--socket").arg(env.socket()).args(arguments);
        let output = command.stdin(Stdio::null()).output().unwrap();
        assert_no_secrets("the stderr of stsctl", &output.stderr);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{arguments:?}: {stderr}");
        String::from_utf8(output.stdout).unwrap()
    };
    for (arguments, part) in COMMANDS {
        assert!(run(arguments).contains(part), "{arguments:?}");
    }
    let url = run(&["url", "oss-upload"]);
    let answer = minreq::get(url.trim()).send().unwrap();
    assert_eq!(answer.status_code, 200);
}

#[test]
fn old_programs_are_served_by_the_new_daemon() {
    let Some([_, shim, stsctl]) = e2e::old_programs() else {
        return;
    };
    let env = TestEnv::with_http(&[], UPLOAD);
    assert_served(&env, &shim, &stsctl);
}

#[test]
fn new_programs_are_served_by_the_old_daemon() {
    let Some([stsd, ..]) = e2e::old_programs() else {
        return;
    };
    let (env, _installed) = start_old(&stsd);
    let programs = ["sts-shim", "stsctl"].map(e2e::program);
    assert_served(&env, &programs[0], &programs[1]);
}
