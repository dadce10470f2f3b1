//! `stsctl doctor` judges files for the user of the daemon, and not for its caller.

use std::{
    fs,
    os::unix::fs::chown,
    process::{Command, Stdio},
};

use e2e::{OWNER, STRANGER, UPLOAD, UserDaemon, program};
use serde_json::Value;

/// Returns the findings of a doctor that a user runs.
fn findings(user: &UserDaemon, uid: u32) -> Vec<Value> {
    let mut command = Command::new("setpriv");
    command.args([format!("--reuid={uid}"), format!("--regid={uid}")]);
    command
        .args(["--clear-groups", "--"])
        .arg(program("stsctl"));
    let home = user.env.path(&format!("home-{uid}"));
    let _ = fs::create_dir(&home);
    chown(&home, Some(uid), Some(uid)).unwrap();
    command
        .env_clear()
        .env("HOME", home)
        .env("PATH", "/usr/bin:/bin");
    command.env("STSD_CONFIG", user.env.path("config.toml"));
    // A daemon with that uid trusts its own directory and root's; a stranger's client would not.
    command
        .env("STSD_SOCKET", user.env.socket())
        .env("STSD_SERVER_UID", OWNER.to_string());
    command.args(["doctor", "--json"]).stdin(Stdio::null());
    let output = command.current_dir("/").output().unwrap();
    e2e::assert_no_secrets("stsctl doctor", &output.stdout);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"))
}

/// Returns the findings about files.
fn about_files(user: &UserDaemon, uid: u32) -> Vec<Value> {
    let mut all = findings(user, uid);
    all.retain(|it| {
        let check = it["check"].as_str().unwrap();
        check.starts_with("key of") || check.starts_with("config") || check.contains('.')
    });
    all
}

#[track_caller]
fn assert_no_fault(all: &[Value]) {
    assert!(!all.is_empty());
    for it in all {
        assert_eq!(it["verdict"], "ok", "{it}");
        assert!(!it["fix"].as_str().unwrap().contains("chown"), "{it}");
    }
}

#[track_caller]
fn assert_fault(all: &[Value], words: &[&str]) {
    let fault = all.iter().find(|it| it["verdict"] == "fault");
    let fault = fault.unwrap_or_else(|| panic!("{all:?}")).to_string();
    for word in words {
        assert!(fault.contains(word), "{word}: {fault}");
    }
}

fn system_daemon() -> Option<UserDaemon> {
    let mut user = UserDaemon::prepare(UPLOAD)?;
    user.mode("run", 0o755);
    user.mode("config.toml", 0o644);
    let mut command = user.daemon_command();
    command.arg("--system");
    user.start(command);
    Some(user)
}

#[test]
fn doctor_of_each_user_judges_for_the_daemons_user() {
    let Some(user) = system_daemon() else { return };
    for uid in [OWNER, STRANGER, 0] {
        assert_no_fault(&about_files(&user, uid));
    }
    // For each caller, the command of the fix is for the daemon's user.
    chown(user.env.path("uploader.key"), Some(STRANGER), None).unwrap();
    for uid in [OWNER, STRANGER, 0] {
        let all = about_files(&user, uid);
        let words = ["key of uploader", "belongs to uid 64001", "chown 64003 "];
        assert_fault(&all, &words);
    }
    user.own("uploader.key");
    user.mode("config.toml", 0o666);
    for uid in [OWNER, STRANGER, 0] {
        assert_fault(
            &about_files(&user, uid),
            &["config", "mode 0666", "chmod go-w"],
        );
    }
}

#[test]
fn doctor_of_each_user_judges_the_secret_of_the_urls() {
    let Some(user) = system_daemon() else { return };
    let config = fs::read_to_string(user.env.path("config.toml")).unwrap();
    let config = format!("{config}[http]\nsecret_file = \"url.secret\"\n");
    user.put("config.toml", &config, 0o644);
    let secret = "8f14e45fceea167a5a36dedd4bea2543c9f0f895fb98ab9159f51fd0297e236d";
    user.put("url.secret", secret, 0o600);
    for uid in [OWNER, STRANGER, 0] {
        assert_no_fault(&about_files(&user, uid));
    }
    user.mode("url.secret", 0o640);
    for uid in [OWNER, STRANGER, 0] {
        let all = about_files(&user, uid);
        assert_fault(&all, &["http.secret_file", "mode 0640", "chmod 0600"]);
    }
}

#[test]
fn doctor_without_a_daemon_judges_only_the_callers_own_files() {
    let Some(user) = UserDaemon::prepare(UPLOAD) else {
        return;
    };
    user.mode("config.toml", 0o644);
    assert_no_fault(&about_files(&user, OWNER));
    for uid in [STRANGER, 0] {
        let all = about_files(&user, uid);
        assert_no_fault(&all);
        let key = all
            .iter()
            .find(|it| it["check"] == "key of uploader")
            .unwrap();
        let remark = key["remark"].as_str().unwrap();
        assert!(remark.contains("cannot be judged from here"), "{remark}");
    }
}

#[test]
fn doctor_finds_a_redirectable_writable_path() {
    let Some(mut user) = UserDaemon::prepare(UPLOAD) else {
        return;
    };
    user.put("bin/hook", "#!/bin/sh\nexit 0\n", 0o755);
    user.put("own/in/.keep", "", 0o600);
    user.put("shared/in/.keep", "", 0o600);
    let at = |name: &str| user.env.path(name).display().to_string();
    let (hook, own, shared) = (at("bin/hook"), at("own/in"), at("shared/in"));
    user.env.write_config(&format!(
        "{UPLOAD}on_renewal = [\"{hook}\"]\nwritable = [\"{own}\", \"{shared}\"]\n"
    ));
    user.own("config.toml");
    user.start(user.daemon_command());
    assert_no_fault(&about_files(&user, OWNER));
    user.mode("shared", 0o777);
    let words = ["profile.oss-upload.writable", "mode 0777", "chmod go-w"];
    assert_fault(&about_files(&user, OWNER), &words);
}

#[test]
fn root_without_a_daemon_gets_no_command_that_takes_files_from_its_user() {
    let Some(user) = UserDaemon::prepare(UPLOAD) else {
        return;
    };
    chown(user.env.path("config.toml"), Some(0), Some(0)).unwrap();
    user.mode("config.toml", 0o644);
    let all = about_files(&user, 0);
    assert_no_fault(&all);
    let mut check = Command::new(program("stsd"));
    check
        .args(["--system", "--check"])
        .env("STSD_CONFIG", user.env.path("config.toml"));
    let checked = check.output().unwrap();
    let said = String::from_utf8_lossy(&checked.stderr);
    assert!(
        said.contains("if the daemon runs as root; otherwise"),
        "{said}"
    );
}
