//! Exports: a file with the credentials of a profile, and a command that runs at each renewal. Neither
//! delays a request.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink},
    path::Path,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::Duration,
};

use e2e::{
    Action, Fault, MARKERS, OutputLog, TestEnv, UPLOAD, assert_output, fill_filesystem,
    free_filesystem, unix_time,
};
use nix::sys::signal::Signal;
use serde_json::Value;

/// The extension permits a secret in the file.
const FILE: &str = "StsInfo.secret";

fn with_file(path: &str, format: &str) -> String {
    format!("{UPLOAD}[profile.oss-upload.file]\npath = \"{path}\"\nformat = \"{format}\"\n")
}

/// Returns the document of the file, if the file exists, and asserts that it is complete and not
/// expired.
fn read(path: &Path) -> Option<Value> {
    let before = unix_time();
    let text = fs::read_to_string(path).ok()?;
    let document: Value = serde_json::from_str(&text).expect("a whole document");
    let ends: jiff::Timestamp = document["Expiration"].as_str()?.parse().unwrap();
    assert!(ends.as_second().cast_unsigned() > before, "it had ended");
    Some(document)
}

fn key(document: &Value) -> String {
    document["AccessKeyId"].as_str().unwrap().to_owned()
}

/// Returns the names in a directory.
fn names(directory: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(directory).unwrap().flatten();
    entries
        .map(|it| it.file_name().into_string().unwrap())
        .collect()
}

#[test]
fn export_file_is_written_unasked_and_replaced_atomically() {
    let mut env = TestEnv::with(&["--session-life", "8s"], &with_file(FILE, "oss"));
    let path = env.path(FILE);
    env.wait_until("the file", || path.exists());
    let profile = env.client().status().unwrap().profiles.remove(0);
    assert_eq!(profile.hand_outs, 0, "served credentials");
    let metadata = fs::metadata(&path).unwrap();
    assert_eq!(metadata.permissions().mode() & 0o7777, 0o600);
    assert_eq!(metadata.uid(), nix::unistd::geteuid().as_raw());
    let first = read(&path).unwrap();
    let fields: Vec<_> = first.as_object().unwrap().keys().collect();
    assert_eq!(
        fields,
        [
            "AccessKeyId",
            "AccessKeySecret",
            "Expiration",
            "SecurityToken"
        ]
    );
    // The credentials upload.
    let process = format!("cat {}", path.display());
    let put = env.oss_with_process(&process, &["put", "examplebucket", "by-file"], "x");
    assert!(put.is_ok(), "{put:?}");

    let (over, reads) = (AtomicBool::new(false), AtomicU64::new(0));
    let keys = thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut keys = BTreeSet::new();
            while !over.load(Ordering::Relaxed) {
                keys.insert(key(&read(&path).expect("it is never absent")));
                reads.fetch_add(1, Ordering::Relaxed);
                // Often enough to find a half-written file, and without load for other stories.
                thread::sleep(Duration::from_micros(100));
            }
            keys
        });
        let mut seen = BTreeSet::new();
        // A panic here must not leave the reader thread running.
        for _ in 0..6000 {
            seen.extend(read(&path).as_ref().map(key));
            if seen.len() > 3 || reader.is_finished() {
                break;
            }
            thread::sleep(Duration::from_millis(10));
        }
        over.store(true, Ordering::Relaxed);
        reader.join().unwrap()
    });
    assert!(keys.len() > 2, "{keys:?}");
    e2e::measured(&format!(
        "{} reads over {} sessions",
        reads.into_inner(),
        keys.len()
    ));
    env.daemon().signal(Signal::SIGTERM);
    assert_eq!(env.wait_for_daemon_exit(), Some(0));
    let left = names(&env.path(""));
    assert!(!left.iter().any(|it| it.contains("StsInfo")), "{left:?}");
}

#[test]
fn every_shim_format_is_an_export_format() {
    let env = TestEnv::with(&[], &with_file(FILE, "union"));
    for format in stsd_document::Format::NAMES.split(", ") {
        env.write_config(&with_file(FILE, format));
        assert!(env.ctl(&["reload"]).status.success(), "{format}");
        let by_shim = || env.shim(&["--format", format, "oss-upload"]).stdout;
        env.wait_until(format, || {
            fs::read(env.path(FILE)).is_ok_and(|it| it == by_shim())
        });
    }
    assert_eq!(
        env.emulator().calls(Action::AssumeRole),
        1,
        "a format costs no call"
    );
}

#[test]
fn export_file_is_removed_at_expiration_and_restored() {
    let env = TestEnv::with(&["--session-life", "4s"], &with_file(FILE, "oss"));
    let path = env.path(FILE);
    env.wait_until("the file", || path.exists());
    env.emulator()
        .inject_fault(Action::AssumeRole, Fault::error("ServiceUnavailable"));
    env.wait_until("the file goes", || read(&path).is_none());
    for _ in 0..20 {
        assert!(!path.exists());
        thread::sleep(Duration::from_millis(10));
    }
    env.emulator().clear_faults();
    env.wait_until("the file is back", || read(&path).is_some());
}

#[test]
fn export_file_of_a_killed_daemon_is_replaced_or_removed() {
    let mut env = TestEnv::with(&["--session-life", "20s"], &with_file(FILE, "oss"));
    let path = env.path(FILE);
    let kill = |env: &mut TestEnv| {
        env.daemon().signal(Signal::SIGKILL);
        assert_eq!(env.wait_for_daemon_exit(), None);
        assert!(path.exists(), "it is left behind");
    };
    env.wait_until("the file", || path.exists());
    let before = key(&read(&path).unwrap());
    kill(&mut env);
    env.start_daemon();
    env.wait_until("it is replaced", || {
        read(&path).is_some_and(|it| key(&it) != before)
    });
    kill(&mut env);
    env.emulator()
        .inject_fault(Action::AssumeRole, Fault::error("ServiceUnavailable"));
    env.start_daemon();
    env.wait_until("it is removed", || !path.exists());
}

#[test]
fn upgrade_replaces_the_export_file_without_a_gap() {
    let env = TestEnv::with(&[], &with_file(FILE, "oss"));
    let path = env.path(FILE);
    env.wait_until("the file", || path.exists());
    let (before, inode) = (read(&path).unwrap(), fs::metadata(&path).unwrap().ino());
    env.daemon().signal(Signal::SIGUSR2);
    // Without a pause: an absence would last some milliseconds.
    let replaced = || fs::metadata(&path).expect("it is never absent").ino() != inode;
    assert!((0..20_000_000).any(|_| replaced()), "by the next one");
    assert_eq!(read(&path).unwrap(), before);
    assert_eq!(env.emulator().calls(Action::AssumeRole), 1);
}

#[test]
fn reload_moves_and_removes_export_files() {
    let env = TestEnv::start();
    let before = env.document(&["oss-upload"]);
    let reload = |profiles: &str| {
        env.write_config(profiles);
        assert!(env.ctl(&["reload"]).status.success(), "{profiles}");
    };
    let holds = |name: &str| read(&env.path(name)).is_some_and(|it| key(&it) == key(&before));
    // Landlock permits the directory of the socket from the start.
    reload(&with_file("run/a.secret", "oss"));
    env.wait_until("a", || holds("run/a.secret"));
    reload(&with_file("run/b.secret", "oss"));
    env.wait_until("b instead", || {
        holds("run/b.secret") && !env.path("run/a.secret").exists()
    });
    // Another profile takes over the path in the same reload.
    let other = with_file("run/b.secret", "aws").replace("oss-upload", "other");
    let other = other.replace("role/other", "role/oss-upload");
    reload(&format!("{UPLOAD}{other}"));
    env.wait_until("the other one's", || {
        read(&env.path("run/b.secret")).is_some_and(|it| it["SessionToken"].is_string())
    });
    reload(UPLOAD);
    env.wait_until("none", || {
        names(&env.path("run"))
            .iter()
            .all(|it| !it.contains("secret"))
    });
    assert_eq!(env.document(&["oss-upload"]), before);

    env.write_config(&with_file(FILE, "oss"));
    let output = env.ctl(&["reload"]);
    let complaint = String::from_utf8(output.stderr).unwrap();
    if is_confined(&env) {
        assert_eq!(output.status.code(), Some(2), "{complaint}");
        for word in ["config.toml:9: profile.oss-upload.file.path", "restart"] {
            assert!(complaint.contains(word), "{word:?} is not in: {complaint}");
        }
    } else {
        e2e::not_run("a file in a new directory, which only Landlock refuses");
    }
}

/// Returns `true` if Landlock confines the daemon.
fn is_confined(env: &TestEnv) -> bool {
    let protections = env.client().status().unwrap().protections;
    protections
        .iter()
        .any(|it| it.name == "writing files" && it.holds)
}

#[test]
fn export_replaces_links_and_keeps_their_targets() {
    let mut env = TestEnv::without_daemon(&["--session-life", "4s"]);
    env.write_config(&with_file("run/x.secret", "oss"));
    // Landlock permits this directory, so that it does not protect the target.
    env.write("run/elsewhere", "not ours", 0o600);
    let plant = |name: &str| symlink(env.path("run/elsewhere"), env.path(name)).unwrap();
    plant("run/x.secret");
    plant("run/.x.secret.new");
    env.start_daemon();
    let path = env.path("run/x.secret");
    let ours = || fs::symlink_metadata(&path).is_ok_and(|it| it.is_file());
    env.wait_until("a file", ours);
    fs::remove_file(&path).unwrap();
    symlink(env.path("run/elsewhere"), &path).unwrap();
    symlink(env.path("run/elsewhere"), env.path("run/.x.secret.new")).unwrap();
    env.wait_until("a file again", ours);
    let elsewhere = fs::read_to_string(env.path("run/elsewhere")).unwrap();
    assert_eq!(elsewhere, "not ours");
}

#[test]
fn full_directory_stops_the_export_and_not_the_renewals() {
    e2e::in_own_mounts(|| {
        let mut env = TestEnv::without_daemon(&["--session-life", "5s"]);
        fs::create_dir(env.path("small")).unwrap();
        e2e::mount_small(&env.path("small"), 64 * 1024, 4);
        env.write_config(&with_file("small/x.secret", "oss"));
        env.start_daemon();
        let path = env.path("small/x.secret");
        env.wait_until("the file", || path.exists());
        let first = key(&read(&path).unwrap());
        let complaints = || {
            env.daemon_log()
                .matches("the file is not up to date")
                .count()
        };
        fill_filesystem(&env.path("small"));
        env.wait_until("it is said", || complaints() == 1);
        assert!(env.daemon_log().contains("free space"));
        // The old session stays until its expiration; its removal frees the inode for the next one.
        env.wait_until("a successor", || {
            read(&path).is_some_and(|it| key(&it) != first)
        });
        for _ in 0..100 {
            if !path.exists() {
                break;
            }
            // The removal frees an inode, which the filler takes, or the daemon writes again.
            fs::remove_file(&path).unwrap();
            fill_filesystem(&env.path("small"));
        }
        env.wait_until("it is said again", || complaints() == 2);
        let advice = || env.client().status().unwrap().profiles[0].advice.clone();
        env.wait_until("it is advised", || {
            advice().is_some_and(|it| it.contains("file cannot be written"))
        });
        let mut keys = BTreeSet::new();
        env.wait_until("renewals go on", || {
            keys.insert(key(&env.document(&["oss-upload"])));
            keys.len() > 2
        });
        assert!(!path.exists());
        assert_eq!(complaints(), 2, "it is said once");
        free_filesystem(&env.path("small"));
        env.wait_until("the file is back", || read(&path).is_some());
        env.wait_until("and all is well", || {
            advice().is_none_or(|it| !it.contains("file"))
        });
    });
}

/// Writes a command that records its arguments, environment and descriptors, and counts its runs.
fn script(env: &TestEnv, then: &str) -> String {
    let script = format!(
        "#!/bin/sh\ncd {0}\ntr '\\0' '\\n' < /proc/$$/cmdline > argv\n\
         tr '\\0' '\\n' < /proc/$$/environ > environ\nls -l /proc/$$/fd > fds\n\
         echo \"$STSD_PROFILE $#\" >> told\n{then}\n",
        env.path("run").display()
    );
    env.write("told.sh", &script, 0o700);
    format!(
        "{UPLOAD}on_renewal = [\"{}\", \"an argument\", \"$HOME\"]\nwritable = [\"run\"]\n",
        env.path("told.sh").display()
    )
}

fn told(env: &TestEnv) -> usize {
    let told = fs::read_to_string(env.path("run/told")).unwrap_or_default();
    assert!(told.lines().all(|it| it == "oss-upload 2"), "{told}");
    told.lines().count()
}

#[test]
fn on_renewal_runs_once_for_each_renewal_without_secrets() {
    let mut env = TestEnv::without_daemon(&["--session-life", "4s"]);
    let profiles = script(&env, "cat x.secret; exit 0");
    env.write_config(&format!(
        "{profiles}[profile.oss-upload.file]\npath = \"run/x.secret\"\n"
    ));
    let mut command = env.daemon_command();
    command.env("HTTPS_PROXY", "http://user:password@127.0.0.1:1");
    command.env("NOTIFY_SOCKET_OF_NOBODY", "x");
    env.start_daemon_with(command);
    env.wait_until("three renewals", || told(&env) >= 3);
    // Between two renewals.
    env.emulator()
        .inject_fault(Action::AssumeRole, Fault::error("ServiceUnavailable"));
    let renewals = || env.client().status().unwrap().profiles[0].renewals;
    env.wait_until("it was told of all", || told(&env) as u64 == renewals());
    let failures = || {
        let status = env.client().status().unwrap();
        status.profiles[0]
            .sts_failures
            .iter()
            .map(|it| it.count)
            .sum::<u64>()
    };
    env.wait_until("failures", || failures() > 1);
    assert_eq!(told(&env) as u64, renewals(), "of no failure");
    for name in ["argv", "environ"] {
        let seen = fs::read_to_string(env.path("run").join(name)).unwrap();
        assert!(
            !MARKERS.iter().any(|it| seen.contains(it)),
            "{name}: {seen}"
        );
    }
    let seen = fs::read_to_string(env.path("run/argv")).unwrap();
    assert!(
        seen.contains("an argument\n$HOME\n"),
        "the arguments: {seen}"
    );
    let seen = fs::read_to_string(env.path("run/environ")).unwrap();
    assert!(
        seen.contains("HTTPS_PROXY=http://user:password@127.0.0.1:1\n") && !seen.contains("NOTIFY"),
        "{seen}"
    );
    assert!(seen.contains("STSD_PROFILE=oss-upload\n"), "{seen}");
    let seen = fs::read_to_string(env.path("run/fds")).unwrap();
    assert!(
        !seen.contains("socket") && !seen.contains("memfd"),
        "{seen}"
    );
    assert!(
        !env.daemon_log().contains("on_renewal"),
        "a failure of on_renewal is in the log"
    );
}

#[test]
fn hung_or_failing_on_renewal_delays_nothing() {
    let mut env = TestEnv::without_daemon(&["--session-life", "4s"]);
    env.write_config(&script(&env, "exit 7"));
    env.start_daemon();
    env.wait_until("two renewals", || told(&env) >= 2);
    let said = || {
        env.daemon_log()
            .matches("on_renewal: the command failed: exit status: 7")
            .count()
    };
    env.wait_until("it is said", || said() > 0);
    assert_eq!(said(), 1, "once");

    let hangs = script(&env, "sleep 600 & echo $! > sleeper; wait");
    env.write_config(&format!(
        "{hangs}[profile.oss-upload.file]\npath = \"run/x.secret\"\n"
    ));
    assert!(env.ctl(&["reload"]).status.success());
    let sleeper = || fs::read_to_string(env.path("run/sleeper")).ok();
    env.wait_until("it hangs", || {
        sleeper().is_some_and(|it| it.ends_with('\n'))
    });
    let sleeper = sleeper().unwrap();
    let sleeps = || {
        let stat = fs::read_to_string(format!("/proc/{}/stat", sleeper.trim()));
        stat.is_ok_and(|it| !it.contains(") Z "))
    };
    assert!(sleeps());
    let before = (told(&env), key(&env.document(&["oss-upload"])));
    env.wait_until("the file goes on", || {
        read(&env.path("run/x.secret")).is_some_and(|it| key(&it) != before.1)
    });
    assert_eq!(told(&env), before.0, "one at a time");
    env.daemon().signal(Signal::SIGTERM);
    assert_eq!(env.wait_for_daemon_exit(), Some(0));
    env.wait_until("it has ended with the daemon", || !sleeps());
}

#[test]
fn export_config_errors_name_file_line_and_key() {
    let env = TestEnv::without_daemon(&[]);
    let owner = format!("uid {}", nix::unistd::geteuid());
    let mut errors = OutputLog::new(&env).masking(&owner, "uid [UID]");
    let mut check = |title: &str, profiles: &str, line: usize| {
        env.write_config(profiles);
        let stderr = env.check_error();
        let place = format!("config.toml:{line}:");
        assert!(stderr.contains(&place), "{place} is not in: {stderr}");
        errors.add(title, &stderr);
    };
    check(
        "file in a missing directory",
        &with_file("none/x", "oss"),
        9,
    );
    check("file that is a directory", &with_file("run", "oss"), 9);
    check("unknown format", &with_file("x", "ini"), 10);
    check("file of a key", &with_file("uploader.key", "oss"), 9);
    check(
        "file of the configuration",
        &with_file("run/../config.toml", "oss"),
        9,
    );
    let other = with_file("run/../x", "oss").replace("profile.oss-upload", "profile.other");
    let twice = format!("{}{other}", with_file("x", "oss"));
    check("file of another profile", &twice, 15);
    fs::create_dir(env.path("open")).unwrap();
    fs::set_permissions(env.path("open"), fs::Permissions::from_mode(0o757)).unwrap();
    check(
        "file in a writable directory",
        &with_file("open/x", "oss"),
        9,
    );
    let command = |words: &str| format!("{UPLOAD}on_renewal = {words}\n");
    check("on_renewal = []", &command("[]"), 8);
    check(
        "on_renewal = [\"systemctl\"]",
        &command("[\"systemctl\"]"),
        8,
    );
    check(
        "on_renewal = [\"/nonexistent/x\"]",
        &command("[\"/nonexistent/x\"]"),
        8,
    );
    check(
        "on_renewal = [\"/etc/passwd\"]",
        &command("[\"/etc/passwd\"]"),
        8,
    );
    check(
        "on_renewal = [\"/bin/sh\", \"a\\u0000b\"]",
        &command("[\"/bin/sh\", \"a\\u0000b\"]"),
        8,
    );
    check("on_renewal = \"/bin/sh\"", &command("\"/bin/sh\""), 8);
    env.write_config(&command("[\"/bin/sh\"]"));
    let open = fs::Permissions::from_mode(0o602);
    fs::set_permissions(env.path("config.toml"), open).unwrap();
    errors.add("on_renewal in a writable configuration", &env.check_error());
    assert_output!("export_config_errors", errors.text());
}
