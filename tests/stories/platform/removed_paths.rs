//! The paths at which the daemon listens and writes, removed and made again: each is served again, or
//! the daemon ends with an error that says so. The audit file is in `ctl/conditions.rs`.

use std::{
    fs,
    os::unix::{fs::DirBuilderExt as _, net::UnixStream},
    path::Path,
    time::Duration,
};

use e2e::{Action, Fault, Process, TestEnv, UPLOAD};
use nix::{sys::signal::Signal, unistd::geteuid};

/// A step before a path is removed, with its name.
type Step = (&'static str, fn(&TestEnv));

const STEPS: [Step; 3] = [("start", |_| {}), ("upgrade", upgrade), ("reload", reload)];

/// A watchdog of two seconds makes the daemon check its sockets every second.
fn start(profiles: &str) -> TestEnv {
    let mut env = TestEnv::without_daemon(&[]);
    env.write_config(profiles);
    let mut command = env.daemon_command();
    command.env("WATCHDOG_USEC", "2000000");
    env.start_daemon_with(command);
    env
}

fn make_private(directory: &Path) {
    let mut builder = fs::DirBuilder::new();
    builder.mode(0o700).create(directory).unwrap();
}

/// Returns `true` if Landlock confines the daemon.
fn is_confined(env: &TestEnv) -> bool {
    let protections = env.client().status().unwrap().protections;
    protections
        .iter()
        .any(|it| it.name == "writing files" && it.holds)
}

/// Replaces the program by itself, and waits for the new one.
fn upgrade(env: &TestEnv) {
    env.daemon().signal(Signal::SIGUSR2);
    env.wait_until("the new program", || {
        env.daemon_log().matches("is ready config=").count() == 2
    });
    env.wait_until("its answer", || env.client().status().is_ok());
}

fn reload(env: &TestEnv) {
    assert!(env.ctl(&["reload"]).status.success());
}

#[test]
fn daemon_without_its_socket_directory_ends_or_serves_again() {
    for (name, before) in STEPS {
        for is_made_again in [true, false] {
            let mut env = start(UPLOAD);
            before(&env);
            let (run, confined) = (env.path("run"), is_confined(&env));
            fs::remove_dir_all(&run).unwrap();
            if is_made_again {
                make_private(&run);
            }
            if !confined {
                env.wait_within(Duration::from_secs(40), "the socket", || {
                    env.client().status().is_ok()
                });
                continue;
            }
            assert_eq!(env.wait_for_daemon_exit(), Some(1), "{name}");
            let log = env.daemon_log();
            let last = "stsd: the daemon ends, because no client can find it any more: ";
            assert!(log.contains(last), "{name}: {log}");
            assert!(log.contains("Landlock") && log.contains("start stsd again"));
            // The next one serves.
            if !is_made_again {
                make_private(&run);
            }
            env.start_daemon();
            let _ = env.document(&["oss-upload"]);
        }
    }
}

#[test]
fn daemon_whose_place_another_daemon_has_taken_ends() {
    for is_upgraded in [false, true] {
        let mut env = start(UPLOAD);
        let run = env.path("run");
        fs::rename(&run, env.path("old")).unwrap();
        make_private(&run);
        let log = env.path("second.log");
        let mut second = env.daemon_command();
        second.env("RUST_LOG", "info");
        let second = Process::start(second, &log);
        env.wait_until("the second", || UnixStream::connect(env.socket()).is_ok());
        if is_upgraded {
            env.daemon().signal(Signal::SIGUSR2);
        }
        assert_eq!(env.wait_for_daemon_exit(), Some(1));
        let log = env.daemon_log();
        let taken = format!("another daemon of uid {} now owns", geteuid());
        assert!(log.contains(&taken), "{log}");
        // The end of the first leaves the socket of the second.
        let _ = env.document(&["oss-upload"]);
        second.signal(Signal::SIGKILL);
    }
}

#[test]
fn end_of_a_daemon_keeps_the_export_file_that_another_wrote_last() {
    const FILE: &str = "StsInfo.secret";
    let with_file =
        format!("{UPLOAD}[profile.oss-upload.file]\npath = \"{FILE}\"\nformat = \"oss\"\n");
    let mut env = start(&with_file);
    let path = env.path(FILE);
    env.wait_until("the file", || path.exists());
    let text = || fs::read_to_string(&path).expect("the file stays");
    let of_first = text();
    make_private(&env.path("run2"));
    let mut command = env.daemon_command();
    command.env("STSD_SOCKET", env.path("run2/stsd.sock"));
    let second = Process::start(command, &env.path("second.log"));
    let replaced = || fs::read_to_string(&path).is_ok_and(|it| it != of_first);
    env.wait_until("the file of the second", replaced);
    let of_second = text();
    // A failed renewal makes the first look at its file.
    let fault = Fault::error("ServiceUnavailable");
    env.emulator().inject_fault(Action::AssumeRole, fault);
    assert_eq!(env.ctl(&["refresh", "oss-upload"]).status.code(), Some(6));
    env.wait_until("it is reported", || {
        assert!(text() == of_second, "the first has replaced the file");
        let advice = env.client().status().unwrap().profiles[0].advice.clone();
        advice.is_some_and(|it| it.contains("another process writes its file too"))
    });
    env.daemon().signal(Signal::SIGTERM);
    assert_eq!(env.wait_for_daemon_exit(), Some(0));
    assert!(text() == of_second, "the end of the first");
    second.signal(Signal::SIGKILL);
}

#[test]
fn files_whose_directory_was_removed_are_written_again_or_reported() {
    let profiles = format!(
        "{UPLOAD}[profile.oss-upload.file]\npath = \"exports/x.secret\"\nformat = \"oss\"\n\
         [audit]\nfile = \"logs/audit.jsonl\"\n"
    );
    for (name, before) in STEPS {
        let mut env = TestEnv::without_daemon(&[]);
        env.write_config(&profiles);
        let directories = ["exports", "logs"].map(|it| env.path(it));
        directories.iter().for_each(|it| make_private(it));
        env.start_daemon();
        let (export, audit) = (env.path("exports/x.secret"), env.path("logs/audit.jsonl"));
        env.wait_until("the file", || export.exists());
        before(&env);
        let confined = is_confined(&env);
        for directory in &directories {
            fs::remove_dir_all(directory).unwrap();
            make_private(directory);
        }
        let _ = env.document(&["oss-upload"]);
        if !confined {
            assert!(audit.exists(), "{name}");
            env.wait_within(Duration::from_secs(40), "the file", || export.exists());
            continue;
        }
        let conditions = env.client().conditions().unwrap();
        let lost = conditions
            .iter()
            .find(|it| it.name == "audit_file")
            .unwrap();
        assert!(
            !lost.holds && lost.hint.contains("restart"),
            "{name}: {lost:?}"
        );
        let advice = || env.client().status().unwrap().profiles[0].advice.clone();
        env.wait_within(Duration::from_secs(40), "the advice", || {
            advice().is_some_and(|it| it.contains("its file cannot be written"))
        });
        let log = env.daemon_log();
        assert!(
            log.contains("did not name the directory at its start"),
            "{name}: {log}"
        );
        // The end of the daemon removes no file, and writes none.
        env.daemon().signal(Signal::SIGTERM);
        assert_eq!(env.wait_for_daemon_exit(), Some(0));
        assert!(!env.daemon_log().contains("is up to date again"), "{name}");
    }
}
