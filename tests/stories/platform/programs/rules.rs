//! The paths and the variables of a program, and the errors of a program that fails.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Stdio},
};

use e2e::{TestEnv, UPLOAD, assert_no_secrets};

use super::{DOCUMENT, failure, is_installed, profiles, wait_for_success, write};

#[test]
fn program_writes_only_to_its_own_paths() {
    let mut env = TestEnv::without_daemon(&[]);
    for name in ["ours", "hooks"] {
        fs::create_dir(env.path(name)).unwrap();
    }
    env.write(
        "hook",
        "#!/bin/sh\nset -e\necho x > hooks/x\necho x > ours/hook\n",
        0o700,
    );
    let at = env.path("");
    write(
        &env,
        &format!(
            "cd {}\nstat -c %a $TMPDIR > ours/mode\necho $TMPDIR > ours/name\n\
             ! echo x > hooks/source && ! echo x > run/source && ! echo x > source\n\
             cat <<'END'\n{DOCUMENT}\nEND",
            at.display()
        ),
    );
    let hook = format!(
        "on_renewal = [\"/bin/sh\", \"-c\", \"cd {} && exec ./hook\"]\nwritable = [\"hooks\"]\n\
         keep_warm = true\n",
        at.display()
    );
    let profiles =
        profiles(&env, "writable = [\"ours\"]\n").replace(UPLOAD, &format!("{UPLOAD}{hook}"));
    env.write_config(&profiles);
    env.start_daemon();
    let protections = env.client().status().unwrap().protections;
    if !protections
        .iter()
        .any(|it| it.name == "writing files" && it.holds)
    {
        return e2e::not_run("paths that only Landlock refuses");
    }
    wait_for_success(&env);
    let read = |name: &str| fs::read_to_string(env.path(name)).unwrap();
    assert_eq!(read("ours/mode"), "700\n");
    let temporary = read("ours/name");
    let temporary = Path::new(temporary.trim());
    assert_eq!(temporary.parent(), Some(env.path("run").as_path()));
    assert!(!temporary.exists(), "it is removed");
    for name in ["hooks/source", "run/source", "source"] {
        assert!(!env.path(name).exists(), "{name}");
    }
    env.wait_until("the hook is refused and quoted", || {
        let log = env.daemon_log();
        log.contains("on_renewal: the command failed")
            && log.contains("ours/hook: Permission denied")
    });
    assert!(env.path("hooks/x").exists() && !env.path("ours/hook").exists());

    // A path that is new since the start is a mistake until the next one.
    fs::create_dir(env.path("new")).unwrap();
    env.write_config(&profiles.replace("[\"ours\"]", "[\"ours\", \"new\"]"));
    let output = env.ctl(&["reload"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    for words in [
        "source.vault.writable",
        "/new: Permission denied",
        "restart",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert_eq!(fs::read_dir(env.path("new")).unwrap().count(), 0);
}

#[test]
fn failing_program_is_quoted_and_its_confinement_is_named() {
    let mut env = TestEnv::without_daemon(&[]);
    fs::create_dir(env.path("ours")).unwrap();
    env.write_config(&profiles(
        &env,
        "writable = [\"ours\"]\nenvironment = [\"VAULT_ADDR\", \"NOT_SET\"]\n",
    ));
    write(&env, "echo \"cannot reach $VAULT_ADDR\" >&2; exit 4");
    let mut command = env.daemon_command();
    command.env(
        "VAULT_ADDR",
        "https://jo:ExampleSecretOfVault@vault.example",
    );
    command.env("HTTPS_PROXY", "http://jo:hunter22@127.0.0.1:9");
    command.env("NO_PROXY", "127.0.0.1").env("PLANTED", "1");
    env.start_daemon_with(command);
    let said = failure(&env, "failed: exit status: 4");
    let ours = env.path("ours");
    for words in [
        "its stderr ends with: cannot reach $VAULT_ADDR",
        "it starts in /",
        " HTTPS_PROXY ",
        " TMPDIR VAULT_ADDR,",
        "may write only to /dev/null /dev/zero /dev/full $TMPDIR",
        ours.to_str().unwrap(),
        "NOT_SET is not set in the daemon's environment",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert!(!said.contains("PLANTED"), "{said}");
    let log = env.daemon_log();
    assert!(
        log.contains("source.vault.environment: NOT_SET is not set"),
        "{log}"
    );
    let check = |script: &str, words: &str| {
        write(&env, script);
        let said = failure(&env, words);
        assert_no_secrets("stsctl refresh", said.as_bytes());
        assert!(!said.contains("hunter22"), "{said}");
    };
    check(
        "echo $HTTPS_PROXY was refused >&2; exit 5",
        "ends with: $HTTPS_PROXY was refused",
    );
    check(
        "echo the reason >&2; echo $VAULT_ADDR | cut -c 1-30 >&2; exit 6",
        "the reason",
    );
    check(
        "echo first >&2; printf 'x\\033[31m\\007y\\nzzz \\033]0;t' >&2; exit 7",
        "zzz \\u{1b}]0;t",
    );
    check(
        "echo '{\"expiration\": 1798794000}'; echo because >&2",
        "expiration is a number",
    );
    check(
        "echo because >&2",
        "gave nothing, where credentials were expected; its stderr ends with: because",
    );
    check(
        "echo waiting for a key >&2; sleep 0.1; kill -9 $$",
        "ends with: waiting for a key",
    );
}

#[test]
fn mistakes_of_writable_and_environment_are_named() {
    let env = TestEnv::without_daemon(&[]);
    write(&env, "exit 0");
    let check = |keys: &str, words: &[&str]| {
        env.write_config(&profiles(&env, keys));
        let said = env.check_error();
        for word in words {
            assert!(said.contains(word), "{word}: {said}");
        }
    };
    let line = "config.toml:11: source.vault";
    check(
        "writable = [\"none\"]\n",
        &[line, ".writable: ", "/none: No such file", "create it"],
    );
    check(
        "environment = [\"A=b\"]\n",
        &[line, ".environment: a variable is given by its name"],
    );
    check(
        "environment = [\"TMPDIR\"]\n",
        &[line, "stsd sets TMPDIR itself"],
    );
    env.write_config(&format!(
        "{UPLOAD}writable = [\"run\"]\nenvironment = [\"A\"]\n"
    ));
    let said = env.check_error();
    assert_eq!(
        said.matches("it has no effect without on_renewal").count(),
        2,
        "{said}"
    );
    // A variable that is not set is a warning, because the daemon may have another environment.
    env.write_config(&profiles(&env, "environment = [\"NOT_SET\"]\n"));
    let output = env.daemon_command().arg("--check").output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    assert!(
        said.contains(":11: source.vault.environment: NOT_SET is not set"),
        "{said}"
    );
}

#[test]
fn password_store_with_a_gpg_agent_is_a_source() {
    if !["pass", "gpg", "gpg-agent"]
        .into_iter()
        .all(|it| is_installed(it, "pass and gnupg"))
    {
        return;
    }
    let mut env = TestEnv::without_daemon(&[]);
    fs::create_dir_all(env.path("home/.gnupg")).unwrap();
    fs::set_permissions(env.path("home/.gnupg"), fs::Permissions::from_mode(0o700)).unwrap();
    let home = env.path("home");
    let by_hand = |script: &str| {
        let mut command = Command::new("sh");
        command.args(["-ec", script]).stdin(Stdio::null());
        let output = command
            .env("HOME", &home)
            .env("DOCUMENT", DOCUMENT)
            .output()
            .unwrap();
        assert!(output.status.success(), "{script}: {output:?}");
    };
    by_hand(
        "gpg --batch --passphrase '' --quick-generate-key 'A Story <story@example.com>' default default\n\
         pass init story@example.com\necho \"$DOCUMENT\" | pass insert -m stsd/uploader",
    );
    let pass = Command::new("sh")
        .args(["-c", "command -v pass"])
        .output()
        .unwrap();
    let pass = String::from_utf8(pass.stdout).unwrap();
    env.write_config(&format!(
        "{UPLOAD}[source.vault]\ntype = \"process\"\ncommand = [\"{}\", \"show\", \"stsd/uploader\"]\n\
         writable = [\"home/.gnupg\"]\n[profile.plain]\nsource = \"vault\"\n",
        pass.trim()
    ));
    let mut command = env.daemon_command();
    command.env("HOME", &home);
    env.start_daemon_with(command);
    wait_for_success(&env);
    assert_eq!(env.document(&["plain"])["AccessKeyId"], "STS.OfAProgram");
    // The program starts the agent itself.
    by_hand("gpgconf --kill gpg-agent");
    wait_for_success(&env);
    by_hand("gpgconf --kill gpg-agent");
}
