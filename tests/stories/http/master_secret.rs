//! The master secret of the URLs: where it is kept, and where it comes from.

use std::{fs, os::unix::fs::PermissionsExt as _, process::Command};

use e2e::{Home, TestEnv, UPLOAD};
use nix::{sys::signal::Signal, unistd::geteuid};

use super::client::Url;

/// A secret that no random source would repeat.
const SECRET: &str = "8f14e45fceea167a5a36dedd4bea2543c9f0f895fb98ab9159f51fd0297e236d";

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

/// Ends the daemon and removes its runtime directory, as a reboot does; then starts it again.
fn reboot(env: &mut TestEnv) {
    env.daemon().signal(Signal::SIGTERM);
    env.wait_for_daemon_exit();
    fs::remove_dir_all(env.path("run")).unwrap();
    fs::create_dir(env.path("run")).unwrap();
    let private = fs::Permissions::from_mode(0o700);
    fs::set_permissions(env.path("run"), private).unwrap();
    env.start_daemon();
}

fn env_with_port(more: &str) -> TestEnv {
    let env = TestEnv::without_daemon(&[]);
    let port = e2e::free_port();
    let top = format!(
        "{}[http]\nlisten = \"127.0.0.1:{port}\"\n{more}",
        env.endpoint()
    );
    env.write_config_with(&top, UPLOAD);
    env
}

#[test]
fn written_url_is_served_after_a_reboot() {
    let mut env = env_with_port("");
    env.start_daemon();
    let home = Home::in_env(&env);
    home.setup_write("ossutil1");
    let url = Url::of(&env, "oss-upload");
    let file = env.path("state/stsd/http.secret");
    let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&file), mode(&env.path("state/stsd"))), (0o600, 0o700));
    assert!(!env.path("run/http.secret").exists() && !env.path("run/http.token").exists());
    reboot(&mut env);
    assert_eq!(url.get(url.path(), "").status, 200);
    let (code, said) = home.setup_check("ossutil1");
    assert_eq!(code, Some(0), "{said}");
    assert!(!text(env.ctl(&["status"]).stdout).contains("change with a reboot"));
}

#[test]
fn urls_without_a_state_directory_are_reported() {
    let mut env = env_with_port("");
    // A file in the place of the directory.
    env.write("state", "", 0o600);
    env.start_daemon();
    let url = Url::of(&env, "oss-upload");
    for line in [&["status"][..], &["doctor"]] {
        let said = text(env.ctl(line).stdout);
        assert!(
            said.contains("the URLs change with a reboot"),
            "{line:?}: {said}"
        );
    }
    // The runtime directory keeps the secret until then.
    env.daemon().signal(Signal::SIGKILL);
    env.wait_for_daemon_exit();
    env.start_daemon();
    assert_eq!(url.get(url.path(), "").status, 200);
    reboot(&mut env);
    assert_eq!(url.get(url.path(), "").status, 403);
}

#[test]
fn old_token_file_is_no_master_secret() {
    let mut env = env_with_port("");
    env.write("run/http.token", SECRET, 0o600);
    env.start_daemon();
    let url = Url::of(&env, "oss-upload");
    assert!(!env.path("run/http.token").exists());
    assert_ne!(url.secret(), derived("oss-upload"));
    assert_eq!(url.get(&format!("/{SECRET}/oss-upload"), "").status, 403);
}

#[test]
fn secret_that_another_user_can_read_or_replace_is_created_anew() {
    let mut env = env_with_port("");
    env.start_daemon();
    let url = Url::of(&env, "oss-upload");
    let mut previous = url.secret().to_owned();
    for (name, mode, safe) in [
        ("state/stsd/http.secret", 0o644, 0o600),
        ("state/stsd", 0o777, 0o700),
        ("state", 0o777, 0o700),
    ] {
        env.daemon().signal(Signal::SIGKILL);
        env.wait_for_daemon_exit();
        let path = env.path(name);
        let set = |mode| {
            let mode = fs::Permissions::from_mode(mode);
            fs::set_permissions(&path, mode).unwrap();
        };
        set(mode);
        let _ = fs::remove_file(env.path("run/http.secret"));
        env.start_daemon();
        let said = env.daemon_log();
        assert!(said.contains("is created anew"), "{name}: {said}");
        let new = Url::of(&env, "oss-upload").secret().to_owned();
        assert_ne!(new, previous, "{name}");
        previous = new;
        set(safe);
    }
    assert_eq!(url.get(url.path(), "").status, 403);
}

/// Returns the secret of a profile's URL as docs/configuration.md derives it.
fn derived(profile: &str) -> String {
    let script = "printf 'stsd-url-1:%s:%s' \"$1\" \"$2\" | \
        openssl dgst -sha256 -hmac \"$3\" -r | cut -d ' ' -f 1";
    let output = Command::new("sh")
        .args(["-c", script, "sh", &geteuid().to_string(), profile, SECRET])
        .output()
        .unwrap();
    text(output.stdout).trim_end().to_owned()
}

#[test]
fn url_of_a_secret_file_is_known_beforehand() {
    let mut env = env_with_port("secret_file = \"url.secret\"\n");
    env.write("url.secret", &format!("{SECRET}\n"), 0o600);
    let expected = derived("oss-upload");
    assert_eq!(expected.len(), 64, "openssl has no output");
    env.start_daemon();
    let url = Url::of(&env, "oss-upload");
    assert_eq!(url.secret(), expected);
    assert_eq!(url.get(url.path(), "").status, 200);
    // The file is not stsd's to change.
    let rotated = env.ctl(&["url", "--rotate"]);
    assert_eq!(rotated.status.code(), Some(2));
    assert!(text(rotated.stderr).contains("http.secret_file"));
    assert_eq!(url.get(url.path(), "").status, 200);
    // A reload reads the file again.
    let other: String = SECRET.chars().rev().collect();
    env.write("url.secret", &other, 0o600);
    assert!(env.ctl(&["reload"]).status.success());
    assert_eq!(url.get(url.path(), "").status, 403);
    assert!(!env.path("state/stsd/http.secret").exists());
}

#[test]
fn unusable_secret_file_is_refused() {
    let env = env_with_port("secret_file = \"url.secret\"\n");
    let refused = |content: &str, mode: u32, words: &str| {
        env.write("url.secret", content, mode);
        let said = env.check_error();
        assert!(
            said.contains("http.secret_file") && said.contains(words),
            "{said}"
        );
        assert!(content.is_empty() || !said.contains(content), "{said}");
    };
    refused(&"ab".repeat(32), 0o600, "pattern");
    refused(&"0".repeat(64), 0o600, "pattern");
    refused(&"0123456789abcdef".repeat(4), 0o600, "pattern");
    refused(&SECRET[1..], 0o600, "64 hex digits");
    refused(&format!("{SECRET}{SECRET}"), 0o600, "64 hex digits");
    refused("", 0o600, "64 hex digits");
    refused(SECRET, 0o644, "mode 0644");
    fs::remove_file(env.path("url.secret")).unwrap();
    let said = env.check_error();
    assert!(said.contains("openssl rand -hex 32"), "{said}");
}

#[test]
fn doctor_finds_written_urls_with_an_old_secret_or_port() {
    let env = {
        let mut env = env_with_port("");
        env.start_daemon();
        env
    };
    let home = Home::in_env(&env);
    home.setup_write("ossutil1");
    let doctor = |variable: Option<&str>| {
        let mut command = home.command(&["doctor"]);
        command.env("STSD_CONFIG", env.path("config.toml"));
        if let Some(url) = variable {
            command.env("ALIBABA_CLOUD_CREDENTIALS_URI", url);
        }
        let said = e2e::run(command).stdout;
        let lines = said.lines().filter(|it| it.contains("URL of the profile"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let url = Url::of(&env, "oss-upload");
    assert!(doctor(Some(&url.0)).is_empty());
    assert!(env.ctl(&["url", "--rotate"]).status.success());
    let found = doctor(Some(&url.0));
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(
        found[0].starts_with("fault") && found[0].contains(".ossutilconfig"),
        "{found:?}"
    );
    assert!(
        found[1].contains("ALIBABA_CLOUD_CREDENTIALS_URI"),
        "{found:?}"
    );
    assert!(found.iter().all(|it| !it.contains(url.secret())));
    home.setup_write("ossutil1");
    assert!(doctor(None).is_empty());
}
