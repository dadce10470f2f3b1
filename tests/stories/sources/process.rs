//! Credential processes as identity providers: their output, and their failures.

use std::{collections::BTreeSet, fs, os::unix::fs::PermissionsExt as _, thread, time::Duration};

use e2e::{KEY_SECRET, MARKERS, TestEnv, UPLOAD, program, unix_time};
use jiff::Timestamp;
use nix::{sys::signal::Signal, unistd::geteuid};
use serde_json::{Value, json};

const KEY: &str = "LTAIEXAMPLEUPLOADER01";

/// Returns two profiles of one program: the first serves its session, the second signs with it.
fn profiles(program: &str) -> String {
    format!(
        "[source.vault]\ntype = \"process\"\ncommand = [\"{program}\", \"with an argument\"]\n\
         [profile.plain]\nsource = \"vault\"\n\
         [profile.role]\nsource = \"vault\"\nrole_arn = \"acs:ram::100000000000001:role/oss-read\"\n"
    )
}

/// Writes a private program, whose file may contain secrets.
fn write(env: &TestEnv, script: &str) {
    env.write("issue.key", &format!("#!/bin/sh\n{script}\n"), 0o700);
}

/// Starts a daemon with `oss-upload`, and with two profiles whose program is `script`.
fn world(script: &str) -> TestEnv {
    let mut env = TestEnv::without_daemon(&[]);
    write(&env, script);
    env.write_config(&with_program(&env));
    env.start_daemon();
    env
}

fn with_program(env: &TestEnv) -> String {
    let program = env.path("issue.key");
    format!("{}{}", UPLOAD, profiles(program.to_str().unwrap()))
}

/// Returns a script that prints a document unchanged.
fn printing(text: &str) -> String {
    format!("cat <<'END'\n{text}\nEND")
}

/// Returns a session of the emulator in one of the shim's formats.
fn session(env: &TestEnv, format: &str) -> String {
    let output = env.shim(&["--format", format, "oss-upload"]);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn each_document_format_of_a_process_becomes_credentials() {
    let env = world("exit 1");
    for format in ["aliyun", "oss", "aws", "uri", "json", "union"] {
        write(&env, &printing(&session(&env, format)));
        // A program that has failed is not started again at once.
        env.wait_until(format, || env.ctl(&["refresh", "plain"]).status.success());
        assert_eq!(
            env.document(&["plain"])["AccessKeyId"],
            env.document(&["oss-upload"])["AccessKeyId"],
            "{format}: the served key"
        );
        let put = env.oss_with_profile("plain", &["put", "examplebucket", format], "text");
        assert!(put.is_ok(), "{format}: {put:?}");
        env.wait_until(format, || env.ctl(&["refresh", "role"]).status.success());
        let got = env.oss_with_profile("role", &["get", "examplebucket", format], "");
        assert_eq!(got, Ok("text".into()), "{format}");
        let put = env.oss_with_profile("role", &["put", "examplebucket", format], "x");
        assert!(put.unwrap_err().contains("AccessDenied"), "{format}");
        assert!(env.ctl(&["refresh", "oss-upload"]).status.success());
    }
}

#[test]
fn process_expiration_accepts_fractions_and_offsets() {
    let env = world("exit 1");
    let document: Value = serde_json::from_str(&session(&env, "oss")).unwrap();
    let ends = document["Expiration"].as_str().unwrap().to_owned();
    let bare = ends.strip_suffix('Z').unwrap();
    for time in [format!("{bare}.123Z"), format!("{bare}+00:00")] {
        let mut document = document.clone();
        document["Expiration"] = json!(time);
        write(&env, &printing(&document.to_string()));
        env.wait_until(&time, || env.ctl(&["refresh", "plain"]).status.success());
        assert_eq!(env.document(&["plain"])["Expiration"], json!(ends));
    }
}

#[test]
fn long_lived_key_of_a_process_signs_and_is_not_served() {
    let key = json!({"mode": "AK", "access_key_id": KEY, "access_key_secret": KEY_SECRET});
    let env = world(&printing(&key.to_string()));
    let got = env.oss_with_profile("role", &["list", "examplebucket"], "");
    assert!(got.is_ok(), "{got:?}");
    env.assert_refused("plain", 6, &["does not serve"]);
    // A long-lived key with an expiration is refused as well.
    let mut key = key;
    key["expiration"] = json!("2099-01-01T00:00:00Z");
    write(&env, &printing(&key.to_string()));
    let _ = env.ctl(&["refresh", "plain"]);
    env.assert_refused("plain", 6, &["long-lived key"]);
    // The id is that of a session, whose token is missing.
    key["access_key_id"] = json!("STS.NUExample");
    key["SecurityToken"] = json!(null);
    write(&env, &printing(&key.to_string()));
    let _ = env.ctl(&["refresh", "plain"]);
    env.assert_refused("plain", 6, &["without its security token"]);
}

#[test]
fn failing_process_is_named_and_its_output_is_not_shown() {
    let env = world("exit 1");
    let secret = "EmulatedSecretOfNobody";
    let half = json!({"AccessKeyId": "STS.X", "AccessKeySecret": secret, "SecurityToken": "t"});
    let half = half.to_string();
    let half = &half[..half.len() - 9];
    let check = |script: &str, words: &str| {
        write(&env, script);
        let told = || {
            let output = env.ctl(&["refresh", "plain"]);
            String::from_utf8_lossy(&output.stderr).contains(words)
        };
        env.wait_until(words, told);
        env.assert_refused("plain", 6, &[words]);
        let failure = &env.client().status().unwrap().profiles[1].last_failure;
        let failure = format!("{failure:?}");
        e2e::assert_no_secrets("the status", failure.as_bytes());
    };
    check(
        &format!("echo {secret}; echo {secret} >&2; exit 3"),
        "failed: exit status: 3",
    );
    check(&printing(half), "gave no document");
    check(&format!("echo {secret} >&2"), "gave nothing");
    check(
        &format!("yes {secret} | head -c 100000000"),
        "printed more than 65536 bytes",
    );
    check("printf '\\377\\376'", "not UTF-8");
    check(&format!("kill -9 $$; echo {secret}"), "failed: signal: 9");
    check(
        &printing(&format!("{{\"Code\":\"{secret}\"}}")),
        "its Code is not Success",
    );
    check(
        &printing(&format!(
            "{{\"AccessKeyId\":\"STS.X\",\"AccessKeySecret\":\"{secret}\",\"SecurityToken\":\"t\",\
             \"Expiration\":\"2020-01-01T00:00:00Z\"}}"
        )),
        "expired credentials",
    );
    fs::remove_file(env.path("issue.key")).unwrap();
    let gone = || {
        let output = env.ctl(&["refresh", "plain"]);
        String::from_utf8_lossy(&output.stderr).contains("does not start: No such file")
    };
    env.wait_until("it has gone", gone);
    check(
        &printing(&format!(
            "{{\"AccessKeyId\":\"STS.X\",\"AccessKeySecret\":\"{secret}\",\"SecurityToken\":\"t\"}}"
        )),
        "without an expiration",
    );
}

#[test]
fn process_that_others_may_change_is_refused_at_load() {
    let env = TestEnv::without_daemon(&[]);
    let refused = |program: &str, words: &str| {
        env.write_config(&profiles(program));
        let output = env.daemon_command().arg("--check").output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        e2e::assert_no_secrets("stsd --check", &output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(words), "{words}: {said}");
        assert!(said.contains("source.vault.command"), "{said}");
        assert_eq!(said.matches("config.toml:").count(), 1, "said once: {said}");
    };
    let path = env.path("issue.key");
    let program = path.to_str().unwrap();
    refused(program, "No such file");
    write(&env, "exit 0");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    refused(program, "is not a program");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o722)).unwrap();
    refused(program, "every user can write to it");
    refused(env.path("run").to_str().unwrap(), "is not a program");
    refused("issue.key", "by its full path");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
    let config = env.path("config.toml");
    env.write_config(&profiles(program));
    fs::set_permissions(&config, fs::Permissions::from_mode(0o666)).unwrap();
    let output = env.daemon_command().arg("--check").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("every user can write to it"), "{said}");
}

#[test]
fn hung_process_delays_its_profile_and_ends_with_the_daemon() {
    let mut env = world("exit 1");
    // The program may write nowhere; its process is found by its argument.
    let marker = &seconds(600, 1);
    write(&env, &format!("exec sleep {marker}"));
    // The failure of the former program is answered for a moment.
    env.wait_until("it is asked", || {
        let _ = env.shim(&["--patience", "1s", "plain"]);
        !sleepers(marker).is_empty()
    });
    env.assert_refused("plain", 6, &[]);
    // Shorter than the timeout of a program: 30 s.
    let other = env.document(&["--patience", "20s", "oss-upload"]);
    assert!(other["AccessKeyId"].is_string(), "the other profile");
    env.daemon().signal(Signal::SIGTERM);
    assert_eq!(env.wait_for_daemon_exit(), Some(0));
    env.wait_until("it has gone too", || sleepers(marker).is_empty());
}

/// Returns an argument of `sleep` that no other process has: with the process id of this test and a
/// number.
fn seconds(whole: u32, number: u32) -> String {
    format!("{whole}.{number}{:010}", std::process::id())
}

/// Returns the ids of the processes with that argument of `sleep`.
fn sleepers(marker: &str) -> Vec<u32> {
    let wanted = format!("sleep\0{marker}\0");
    let all = fs::read_dir("/proc").unwrap().flatten();
    all.filter_map(|it| {
        let pid = it.file_name().to_str()?.parse().ok()?;
        let words = fs::read(it.path().join("cmdline")).ok()?;
        words.ends_with(wanted.as_bytes()).then_some(pid)
    })
    .collect()
}

#[test]
fn children_of_a_process_are_ended_with_its_group() {
    let env = world("exit 1");
    let document = printing(&session(&env, "union"));
    // One child in the process group, and one outside; both keep the output open.
    let (inside, outside) = (&seconds(600, 2), &seconds(3, 3));
    let left = format!("sleep {inside} &\nsetsid sleep {outside} &");
    write(&env, &format!("{left}\n{document}"));
    env.wait_until("an answer", || {
        env.ctl(&["refresh", "plain"]).status.success()
    });
    assert!(env.document(&["plain"])["AccessKeyId"].is_string());
    env.wait_until("nothing of its group is left", || {
        sleepers(inside).is_empty()
    });
    // A child that leaves the group is not ended.
    env.wait_until("the other one ends by itself", || {
        sleepers(outside).is_empty()
    });
}

#[test]
fn failing_process_is_started_once_for_300_profiles() {
    let mut env = TestEnv::without_daemon(&[]);
    // The program may write nowhere, so the story counts the profiles with a failure.
    write(&env, "exit 1");
    let program = env.path("issue.key");
    let mut config = profiles(program.to_str().unwrap());
    for number in 0..300 {
        config += &format!("[profile.p{number}]\nsource = \"vault\"\nkeep_warm = true\n");
    }
    env.write_config(&config);
    env.start_daemon();
    env.wait_until("all have failed", || {
        let profiles = env.client().status().unwrap().profiles;
        let failed = profiles.iter().filter(|it| it.last_failure.is_some());
        failed.count() >= 300
    });
    // After the fix, one start of the program is enough for all profiles.
    env.write_config(&format!("{}{}", UPLOAD, &config));
    assert!(env.ctl(&["reload"]).status.success());
    write(&env, &printing(&session(&env, "union")));
    env.wait_within(Duration::from_secs(90), "all have a session", || {
        let profiles = env.client().status().unwrap().profiles;
        profiles
            .iter()
            .filter(|it| it.access_key_id.is_some())
            .count()
            >= 301
    });
}

#[test]
fn process_gets_its_arguments_and_a_minimal_environment() {
    let mut env = world("exit 1");
    env.daemon().signal(Signal::SIGTERM);
    assert_eq!(env.wait_for_daemon_exit(), Some(0));
    let mut command = env.daemon_command();
    command.env("PLANTED", "1").env("HOME", "/home/user");
    env.start_daemon_with(command);
    let document = printing(&session(&env, "union"));
    let check = "[ $# = 1 ] && [ \"$1\" = 'with an argument' ] && [ -z \"$PLANTED\" ] && \
                 [ \"$HOME\" = /home/user ] && [ \"$PWD\" = / ] && [ -n \"$PATH\" ] || exit 9";
    write(&env, &format!("{check}\n{document}"));
    env.wait_until("it is content", || {
        env.ctl(&["refresh", "plain"]).status.success()
    });
}

#[test]
fn process_output_is_in_locked_pages_only() {
    if !geteuid().is_root() {
        e2e::not_run("only root can read the memory of another process");
        return;
    }
    let env = world("exit 1");
    // The parser needs a buffer to decode the escapes.
    let document = session(&env, "union").replace("Emulated", "Em\\u0075lated");
    assert!(document.contains("\\u0075"));
    write(&env, &printing(&document));
    for profile in ["plain", "role"] {
        env.wait_until(profile, || env.ctl(&["refresh", profile]).status.success());
        let _ = env.document(&[profile]);
        let texts = [&MARKERS[..], &["Em\\u0075lated"]].concat();
        let unprotected = env.daemon().unprotected(&texts);
        assert!(unprotected.is_empty(), "{profile}: {unprotected:#?}");
    }
}

#[test]
fn newer_session_of_a_process_replaces_the_old_one() {
    let mut env = TestEnv::without_daemon(&["--session-life", "12s"]);
    // The shim of another profile is such a program.
    let shim = program("sts-shim");
    let script = format!(
        "exec {} --socket {} oss-upload",
        shim.display(),
        env.socket().display()
    );
    write(&env, &script);
    env.write_config(&with_program(&env));
    env.start_daemon();
    let mut keys = BTreeSet::new();
    let began = unix_time();
    while keys.len() < 4 {
        let asked = unix_time();
        let document = env.document(&["plain"]);
        let ends: Timestamp = document["Expiration"].as_str().unwrap().parse().unwrap();
        assert!(ends.as_second() > asked.cast_signed(), "it had ended");
        keys.insert(document["AccessKeyId"].as_str().unwrap().to_owned());
        assert!(asked - began < 150, "no rotation\n{}", env.daemon_log());
        thread::sleep(Duration::from_millis(50));
    }
}
