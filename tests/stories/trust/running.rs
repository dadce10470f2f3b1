//! A running daemon and files that become loose: it goes on with what it has, and runs no program
//! that another user could have replaced.

use std::{fs, os::unix::fs::PermissionsExt as _, process::Command};

use e2e::{OWNER, STRANGER, UPLOAD, UserDaemon, program};
use nix::sys::signal::Signal;

/// A profile whose program prints credentials, with a hook; both are in `bin`.
fn with_programs(user: &UserDaemon) -> String {
    let at = |name: &str| user.env.path(name).display().to_string();
    format!(
        "{UPLOAD}on_renewal = [\"{}\"]\n[source.vault]\ntype = \"process\"\ncommand = [\"{}\"]\n\
         [profile.vault]\nsource = \"vault\"\nrole_arn = \"acs:ram::100000000000001:role/oss-upload\"\n",
        at("bin/hook"),
        at("bin/issue")
    )
}

#[track_caller]
fn assert_served(user: &UserDaemon, profile: &str) {
    let output = user.output("sts-shim", &[profile]);
    assert!(output.status.success(), "{output:?}");
}

/// Refreshes a profile; returns the exit code and the text on stderr.
fn refresh(user: &UserDaemon, profile: &str) -> (Option<i32>, String) {
    let output = user.output("stsctl", &["refresh", profile]);
    let said = String::from_utf8(output.stderr).unwrap();
    (output.status.code(), said)
}

#[test]
fn program_in_a_directory_that_became_loose_is_not_run() {
    let Some(mut user) = UserDaemon::prepare("") else {
        return;
    };
    let key = fs::read_to_string(user.env.path("uploader.key")).unwrap();
    let value = |name: &str| {
        let line = key.lines().find(|it| it.starts_with(name)).unwrap();
        line.split('"').nth(1).unwrap().to_owned()
    };
    let document = format!(
        "{{\"mode\":\"AK\",\"access_key_id\":\"{}\",\"access_key_secret\":\"{}\"}}",
        value("access_key_id"),
        value("access_key_secret")
    );
    user.put("bin/hook", "#!/bin/sh\nexit 0\n", 0o755);
    user.put("document.key", &document, 0o600);
    let issue = format!(
        "#!/bin/sh\ncat '{}'\n",
        user.env.path("document.key").display()
    );
    user.put("bin/issue", &issue, 0o755);
    user.env.write_config(&with_programs(&user));
    user.own("config.toml");
    user.start(user.daemon_command());
    assert_served(&user, "oss-upload");
    assert_served(&user, "vault");
    assert!(!user.env.daemon_log().contains("is not run"));

    // The file of each program is still the owner's: only the directory lets it be replaced.
    user.mode("bin", 0o777);
    user.as_stranger("rm bin/hook bin/issue");
    for name in ["hook", "issue"] {
        // A program that does what the old one did: the story sees whether it is run.
        user.as_stranger(&format!(
            "printf '#!/bin/sh\\nexec sleep 604800.{STRANGER}\\n' > bin/{name}; chmod 755 bin/{name}"
        ));
    }
    // The credentials that the program has printed before sign the call.
    let (code, said) = refresh(&user, "vault");
    assert_eq!(code, Some(0), "{said}");
    let log = user.env.daemon_log();
    let line = log.lines().find(|it| it.contains("bin/issue is not run"));
    let line = line.unwrap_or_else(|| panic!("{log}"));
    for word in ["mode 0777", "run chmod go-w"] {
        assert!(line.contains(word), "{word}: {line}");
    }
    let (code, said) = refresh(&user, "oss-upload");
    assert_eq!(code, Some(0), "a hook delays no renewal: {said}");
    user.env.wait_until("the hook is refused", || {
        let log = user.env.daemon_log();
        let mut lines = log.lines();
        lines.any(|it| it.contains("on_renewal") && it.contains("is not run"))
    });
    let started = fs::read_dir("/proc").unwrap().flatten().any(|it| {
        let command = fs::read_to_string(it.path().join("cmdline")).unwrap_or_default();
        command.contains(&format!("604800.{STRANGER}"))
    });
    assert!(!started, "a program of uid {STRANGER} runs as uid {OWNER}");

    // The daemon goes on, and runs the programs again once they are its own.
    assert_served(&user, "oss-upload");
    user.mode("bin", 0o755);
    for name in ["bin/hook", "bin/issue"] {
        fs::remove_file(user.env.path(name)).unwrap();
    }
    user.put("bin/hook", "#!/bin/sh\nexit 0\n", 0o755);
    user.put("bin/issue", &issue, 0o755);
    let refused = || {
        user.env
            .daemon_log()
            .matches("bin/issue is not run")
            .count()
    };
    let before = refused();
    let (code, said) = refresh(&user, "vault");
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(refused(), before);
}

#[test]
fn program_with_a_redirectable_writable_path_is_not_run() {
    let Some(mut user) = UserDaemon::prepare("") else {
        return;
    };
    user.put("shared/in/.keep", "", 0o600);
    user.put("bin/hook", "#!/bin/sh\nexit 0\n", 0o755);
    let at = |name: &str| user.env.path(name).display().to_string();
    let (hook, writable) = (at("bin/hook"), at("shared/in"));
    user.env.write_config(&format!(
        "{UPLOAD}on_renewal = [\"{hook}\"]\nwritable = [\"{writable}\"]\n"
    ));
    user.own("config.toml");
    user.start(user.daemon_command());
    assert_served(&user, "oss-upload");
    assert!(!user.env.daemon_log().contains("is not run"));
    user.mode("shared", 0o777);
    user.as_stranger("mv shared/in shared/old; ln -s old shared/in");
    let (code, said) = refresh(&user, "oss-upload");
    assert_eq!(code, Some(0), "a hook delays no renewal: {said}");
    user.env.wait_until("the hook is refused", || {
        let log = user.env.daemon_log();
        let mut lines = log.lines();
        lines.any(|it| it.contains("in writable") && it.contains("mode 0777"))
    });
}

#[test]
fn loose_key_file_keeps_the_last_key_with_a_warning() {
    let Some(mut user) = UserDaemon::prepare(UPLOAD) else {
        return;
    };
    user.start(user.daemon_command());
    assert_served(&user, "oss-upload");
    user.mode("", 0o777);
    let (code, said) = refresh(&user, "oss-upload");
    assert_eq!(code, Some(0), "{said}");
    let log = user.env.daemon_log();
    let line = log.lines().find(|it| it.contains("using the cached one"));
    let line = line.unwrap_or_else(|| panic!("{log}"));
    assert!(line.contains("mode 0777"), "{line}");
    user.mode("", 0o755);
}

#[test]
fn loose_config_keeps_the_running_one_at_reload_and_upgrade() {
    let Some(mut user) = UserDaemon::prepare(UPLOAD) else {
        return;
    };
    // Not in the directory of `env`, whose files are searched for secrets: the program is large.
    let bin = tempfile::tempdir().unwrap();
    let bin_mode = |mode| {
        fs::set_permissions(bin.path(), fs::Permissions::from_mode(mode)).unwrap();
    };
    bin_mode(0o755);
    let installed = bin.path().join("stsd");
    fs::copy(program("stsd"), &installed).unwrap();
    let mut command = Command::new("setpriv");
    command.args([format!("--reuid={OWNER}"), format!("--regid={OWNER}")]);
    command.args(["--clear-groups", "--"]).arg(&installed);
    command.env("STSD_CONFIG", user.env.path("config.toml"));
    command.env("STSD_SOCKET", user.env.socket());
    user.start(command);
    assert_served(&user, "oss-upload");

    user.mode("config.toml", 0o666);
    user.as_stranger("echo '# another endpoint' >> config.toml");
    let output = user.output("stsctl", &["reload"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success(), "{said}");
    for word in ["config.toml: ", "mode 0666", "run chmod go-w"] {
        assert!(said.contains(word), "{word}: {said}");
    }
    assert_served(&user, "oss-upload");

    let rejected = || user.env.daemon_log().matches("upgrade rejected").count();
    let assert_rejected = |count: usize, word: &str| {
        user.env.daemon().signal(Signal::SIGUSR2);
        user.env
            .wait_until("it is rejected", || rejected() == count);
        let log = user.env.daemon_log();
        let from = log.rfind("upgrade rejected").unwrap();
        assert!(log[from..].contains(word), "{word}: {}", &log[from..]);
        assert_served(&user, "oss-upload");
    };
    assert_rejected(1, "mode 0666");
    user.mode("config.toml", 0o600);
    // The program itself, at the path at which the second user could put another one.
    bin_mode(0o777);
    assert_rejected(2, "mode 0777");
    bin_mode(0o755);
    user.env.daemon().signal(Signal::SIGUSR2);
    user.env.wait_until("it is replaced", || {
        user.env.daemon_log().contains("executing the new program")
    });
    user.env.wait_until("it serves", || {
        user.output("sts-shim", &["oss-upload"]).status.success()
    });
}
