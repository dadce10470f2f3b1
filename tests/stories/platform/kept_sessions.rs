//! `keep_sessions`: sessions over a restart without systemd, on a tmpfs.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::PathBuf,
};

use e2e::{Action, TestEnv, UPLOAD, upload_profile};
use nix::sys::signal::Signal;

const KEEP: &str = "keep_sessions = true\n";

fn file(env: &TestEnv) -> PathBuf {
    env.path("run/sessions.secret")
}

fn write_config(env: &TestEnv, top: &str, profiles: &str) {
    env.write_config_with(&format!("{top}{}", env.endpoint()), profiles);
}

fn stop(env: &mut TestEnv) {
    env.daemon().signal(Signal::SIGTERM);
    assert_eq!(env.wait_for_daemon_exit(), Some(0));
}

/// Starts a daemon whose socket is on a tmpfs.
fn start(profiles: &str) -> TestEnv {
    let mut env = TestEnv::without_daemon(&[]);
    write_config(&env, KEEP, profiles);
    e2e::mount_small(&env.path("run"), 1024 * 1024, 20);
    env.start_daemon();
    env
}

#[test]
fn session_is_kept_over_a_stop_and_its_file_only_while_no_daemon_runs() {
    e2e::in_own_mounts(|| {
        let mut env = start(UPLOAD);
        let before = env.document(&["oss-upload"]);
        assert!(!file(&env).exists());
        stop(&mut env);
        let metadata = fs::metadata(file(&env)).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o7777, 0o600);
        assert_eq!(metadata.uid(), nix::unistd::geteuid().as_raw());
        let kept = fs::read(file(&env)).unwrap();
        let key = e2e::KEY_SECRET.as_bytes();
        assert!(!kept.windows(key.len()).any(|it| it == key));
        env.start_daemon();
        assert!(!file(&env).exists());
        assert_eq!(env.document(&["oss-upload"]), before);
        assert_eq!(env.emulator().calls(Action::AssumeRole), 1);
    });
}

#[test]
fn kept_session_of_another_grant_or_in_a_changed_file_is_not_used() {
    e2e::in_own_mounts(|| {
        let mut env = start(UPLOAD);
        let before = env.document(&["oss-upload"]);
        stop(&mut env);
        let narrowed = format!("{UPLOAD}source_identity = \"backup\"\n");
        write_config(&env, KEEP, &narrowed);
        env.start_daemon();
        let narrowed = env.document(&["oss-upload"]);
        assert_ne!(narrowed, before);

        stop(&mut env);
        let mut kept = fs::read(file(&env)).unwrap();
        *kept.last_mut().unwrap() ^= 1;
        fs::write(file(&env), kept).unwrap();
        env.start_daemon();
        assert!(!file(&env).exists());
        assert!(env.daemon_log().contains("ignoring saved sessions"));
        assert_ne!(env.document(&["oss-upload"]), narrowed);

        // Without the key, nothing is written, and a file that is left is removed unread.
        stop(&mut env);
        write_config(&env, "", UPLOAD);
        env.start_daemon();
        assert!(!file(&env).exists());
        let _ = env.document(&["oss-upload"]);
        stop(&mut env);
        assert!(!file(&env).exists());
    });
}

#[test]
fn directory_on_a_disk_is_a_lasting_problem_and_gets_no_file() {
    e2e::in_own_mounts(|| {
        let mut env = TestEnv::without_daemon(&[]);
        // A file system that is no tmpfs, on any machine.
        let run = env.path("run");
        if !mount_ramfs(&run) {
            return e2e::not_run("this kernel mounts no ramfs");
        }
        fs::set_permissions(&run, fs::Permissions::from_mode(0o700)).unwrap();
        write_config(&env, KEEP, UPLOAD);
        env.start_daemon();
        let _ = env.document(&["oss-upload"]);
        let health = env.ctl(&["status", "--health"]);
        assert_eq!(health.status.code(), Some(9));
        let text = String::from_utf8(health.stdout).unwrap();
        for words in ["is not on a tmpfs", "medium: Memory"] {
            assert!(text.contains(words), "{text}");
        }
        write_config(&env, "", &upload_profile("oss-upload", &[]));
        assert!(env.ctl(&["reload"]).status.success());
        assert_eq!(env.ctl(&["status", "--health"]).status.code(), Some(0));
        write_config(&env, KEEP, UPLOAD);
        assert!(env.ctl(&["reload"]).status.success());
        stop(&mut env);
        assert!(!file(&env).exists());
    });
}

fn mount_ramfs(directory: &std::path::Path) -> bool {
    let kind = Some("ramfs");
    let flags = nix::mount::MsFlags::empty();
    nix::mount::mount(kind, directory, kind, flags, None::<&str>).is_ok()
}
