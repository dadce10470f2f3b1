//! Credential processes of others as a source: what they print, and what becomes of the daemon
//! when they do not do their work.

use std::{collections::BTreeSet, fs, os::unix::fs::PermissionsExt as _, thread, time::Duration};

use e2e::{Found, KEY_SECRET, Kit, MARKERS, UPLOAD, program};
use jiff::Timestamp;
use nix::{sys::signal::Signal, unistd::geteuid};
use serde_json::{Value, json};

use crate::{faults::log, memory::LOOKS, rotation::now};

const KEY: &str = "LTAIEXAMPLEUPLOADER01";

/// Two profiles that ask a program: one that hands its session on, and one that signs with it.
fn profiles(program: &str) -> String {
    format!(
        "[source.vault]\ntype = \"process\"\ncommand = [\"{program}\", \"with an argument\"]\n\
         [profile.plain]\nsource = \"vault\"\n\
         [profile.role]\nsource = \"vault\"\nrole_arn = \"acs:ram::100000000000001:role/oss-read\"\n"
    )
}

/// Writes a program, which is nobody else's. It may hold secrets of its own.
fn write(kit: &Kit, script: &str) {
    kit.write("issue.key", &format!("#!/bin/sh\n{script}\n"), 0o700);
}

/// A world with a profile that obtains sessions by itself, and two whose program prints
/// `document`.
fn world(script: &str) -> Kit {
    let mut kit = Kit::without_daemon(&[]);
    write(&kit, script);
    kit.write_config(&with_program(&kit));
    kit.start_daemon();
    kit
}

fn with_program(kit: &Kit) -> String {
    let program = kit.path("issue.key");
    format!("{}{}", UPLOAD, profiles(program.to_str().unwrap()))
}

/// Prints a document, byte for byte.
fn printing(text: &str) -> String {
    format!("cat <<'END'\n{text}\nEND")
}

/// A session of the emulated cloud, in one of the shim's formats.
fn session(kit: &Kit, format: &str) -> String {
    let output = kit.shim(&["--format", format, "oss-upload"]);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn each_shape_becomes_credentials_that_upload_and_that_assume_a_role() {
    let kit = world("exit 1");
    for format in ["aliyun", "oss", "aws", "uri", "json", "union"] {
        write(&kit, &printing(&session(&kit, format)));
        // Whoever has failed lately is not started again at once.
        kit.wait_until(format, || kit.ctl(&["refresh", "plain"]).status.success());
        assert_eq!(
            kit.document(&["plain"])["AccessKeyId"],
            kit.document(&["oss-upload"])["AccessKeyId"],
            "{format}: it is handed on"
        );
        let put = kit.oss_with("plain", &["put", "examplebucket", format], "text");
        assert!(put.is_ok(), "{format}: {put:?}");
        kit.wait_until(format, || kit.ctl(&["refresh", "role"]).status.success());
        let got = kit.oss_with("role", &["get", "examplebucket", format], "");
        assert_eq!(got, Ok("text".into()), "{format}");
        let put = kit.oss_with("role", &["put", "examplebucket", format], "x");
        assert!(put.unwrap_err().contains("AccessDenied"), "{format}");
        assert!(kit.ctl(&["refresh", "oss-upload"]).status.success());
    }
}

#[test]
fn expirations_are_read_with_fractions_and_offsets() {
    let kit = world("exit 1");
    let document: Value = serde_json::from_str(&session(&kit, "oss")).unwrap();
    let ends = document["Expiration"].as_str().unwrap().to_owned();
    let bare = ends.strip_suffix('Z').unwrap();
    for time in [format!("{bare}.123Z"), format!("{bare}+00:00")] {
        let mut document = document.clone();
        document["Expiration"] = json!(time);
        write(&kit, &printing(&document.to_string()));
        kit.wait_until(&time, || kit.ctl(&["refresh", "plain"]).status.success());
        assert_eq!(kit.document(&["plain"])["Expiration"], json!(ends));
    }
}

#[test]
fn a_long_lived_key_signs_and_is_handed_to_nobody() {
    let key = json!({"mode": "AK", "access_key_id": KEY, "access_key_secret": KEY_SECRET});
    let kit = world(&printing(&key.to_string()));
    let got = kit.oss_with("role", &["list", "examplebucket"], "");
    assert!(got.is_ok(), "{got:?}");
    kit.refuses("plain", 6, &["not handed out"]);
    // Nor is it one that claims to end.
    let mut key = key;
    key["expiration"] = json!("2099-01-01T00:00:00Z");
    write(&kit, &printing(&key.to_string()));
    let _ = kit.ctl(&["refresh", "plain"]);
    kit.refuses("plain", 6, &["long-lived key"]);
}

#[test]
fn bad_programs_are_named_and_nothing_of_what_they_say_is() {
    let kit = world("exit 1");
    let secret = "EmulatedSecretOfNobody";
    let half = json!({"AccessKeyId": "STS.X", "AccessKeySecret": secret, "SecurityToken": "t"});
    let half = half.to_string();
    let half = &half[..half.len() - 9];
    let check = |script: &str, words: &str| {
        write(&kit, script);
        let told = || {
            let output = kit.ctl(&["refresh", "plain"]);
            String::from_utf8_lossy(&output.stderr).contains(words)
        };
        kit.wait_until(words, told);
        kit.refuses("plain", 6, &[words]);
        let failure = &kit.client().status().unwrap().profiles[1].last_failure;
        let failure = format!("{failure:?}");
        kit.must_be_clean("the status", failure.as_bytes());
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
    fs::remove_file(kit.path("issue.key")).unwrap();
    let gone = || {
        let output = kit.ctl(&["refresh", "plain"]);
        String::from_utf8_lossy(&output.stderr).contains("does not start: No such file")
    };
    kit.wait_until("it has gone", gone);
    check(
        &printing(&format!(
            "{{\"AccessKeyId\":\"STS.X\",\"AccessKeySecret\":\"{secret}\",\"SecurityToken\":\"t\"}}"
        )),
        "without an expiration",
    );
}

#[test]
fn programs_that_anybody_could_have_written_are_refused_at_load() {
    let kit = Kit::without_daemon(&[]);
    let refused = |program: &str, words: &str| {
        kit.write_config(&profiles(program));
        let output = kit.daemon_command().arg("--check").output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        kit.must_be_clean("stsd --check", &output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(words), "{words}: {said}");
        assert!(said.contains("source.vault.command"), "{said}");
        assert_eq!(said.matches("config.toml:").count(), 1, "said once: {said}");
    };
    let path = kit.path("issue.key");
    let program = path.to_str().unwrap();
    refused(program, "No such file");
    write(&kit, "exit 0");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    refused(program, "is not a program");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o722)).unwrap();
    refused(program, "others may write to it");
    refused(kit.path("run").to_str().unwrap(), "is not a program");
    refused("issue.key", "by its full path");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
    let config = kit.path("config.toml");
    kit.write_config(&profiles(program));
    fs::set_permissions(&config, fs::Permissions::from_mode(0o666)).unwrap();
    let output = kit.daemon_command().arg("--check").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("others may write to this file"), "{said}");
}

#[test]
fn a_program_that_hangs_is_no_reason_to_wait_and_ends_with_the_daemon() {
    let mut kit = world("exit 1");
    // The daemon writes nowhere, nor do its programs: this one is seen by its argument.
    let marker = &seconds(600, 1);
    write(&kit, &format!("exec sleep {marker}"));
    // What failed before the program was exchanged answers for a moment.
    kit.wait_until("it is asked", || {
        let _ = kit.shim(&["--patience", "1s", "plain"]);
        !sleepers(marker).is_empty()
    });
    kit.refuses("plain", 6, &[]);
    // Sooner than a program is given up: 30 s.
    let other = kit.document(&["--patience", "20s", "oss-upload"]);
    assert!(other["AccessKeyId"].is_string(), "nobody else waits for it");
    kit.daemon().signal(Signal::SIGTERM);
    assert_eq!(kit.daemon_ends(), Some(0));
    kit.wait_until("it has gone too", || sleepers(marker).is_empty());
}

/// Returns a time to sleep that no other story's processes are told, nor those of this story
/// where it is told twice at once.
fn seconds(whole: u32, number: u32) -> String {
    format!("{whole}.{number}{:010}", std::process::id())
}

/// Every process that was told to sleep for just so long.
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
fn what_a_program_leaves_behind_holds_nobody_up_and_is_ended() {
    let kit = world("exit 1");
    let document = printing(&session(&kit, "union"));
    // One in its group, and one that has left it; both hold its output open.
    let (inside, outside) = (&seconds(600, 2), &seconds(3, 3));
    let left = format!("sleep {inside} &\nsetsid sleep {outside} &");
    write(&kit, &format!("{left}\n{document}"));
    kit.wait_until("an answer", || {
        kit.ctl(&["refresh", "plain"]).status.success()
    });
    assert!(kit.document(&["plain"])["AccessKeyId"].is_string());
    kit.wait_until("nothing of its group is left", || {
        sleepers(inside).is_empty()
    });
    // Who leaves the group is let go.
    kit.wait_until("the other one ends by itself", || {
        sleepers(outside).is_empty()
    });
}

#[test]
fn many_profiles_of_a_failing_program_do_not_start_it_many_times() {
    let mut kit = Kit::without_daemon(&[]);
    // It cannot write, so what it started is counted by those whom it has told.
    write(&kit, "exit 1");
    let program = kit.path("issue.key");
    let mut config = profiles(program.to_str().unwrap());
    for number in 0..300 {
        config += &format!("[profile.p{number}]\nsource = \"vault\"\nkeep_warm = true\n");
    }
    kit.write_config(&config);
    kit.start_daemon();
    kit.wait_until("all have failed", || {
        let profiles = kit.client().status().unwrap().profiles;
        let failed = profiles.iter().filter(|it| it.last_failure.is_some());
        failed.count() >= 300
    });
    // Mended, it serves all of them from one asking.
    kit.write_config(&format!("{}{}", UPLOAD, &config));
    assert!(kit.ctl(&["reload"]).status.success());
    write(&kit, &printing(&session(&kit, "union")));
    kit.wait_within(Duration::from_secs(90), "all have a session", || {
        let profiles = kit.client().status().unwrap().profiles;
        profiles
            .iter()
            .filter(|it| it.access_key_id.is_some())
            .count()
            >= 301
    });
}

#[test]
fn a_program_gets_its_arguments_as_they_are_and_little_of_the_environment() {
    let mut kit = world("exit 1");
    kit.daemon().signal(Signal::SIGTERM);
    assert_eq!(kit.daemon_ends(), Some(0));
    let mut command = kit.daemon_command();
    command.env("PLANTED", "1").env("HOME", "/home/nobody");
    kit.adopt_daemon(command);
    let document = printing(&session(&kit, "union"));
    let check = "[ $# = 1 ] && [ \"$1\" = 'with an argument' ] && [ -z \"$PLANTED\" ] && \
                 [ \"$HOME\" = /home/nobody ] && [ \"$PWD\" = / ] && [ -n \"$PATH\" ] || exit 9";
    write(&kit, &format!("{check}\n{document}"));
    kit.wait_until("it is content", || {
        kit.ctl(&["refresh", "plain"]).status.success()
    });
}

#[test]
fn what_a_program_prints_is_in_locked_pages_and_nowhere_else_in_the_daemons_memory() {
    if !geteuid().is_root() {
        e2e::not_run("only root can read the memory of another process");
        return;
    }
    let kit = world("exit 1");
    // With escapes, which a parser has to take out somewhere.
    let document = session(&kit, "union").replace("Emulated", "Em\\u0075lated");
    assert!(document.contains("\\u0075"));
    write(&kit, &printing(&document));
    for profile in ["plain", "role"] {
        kit.wait_until(profile, || kit.ctl(&["refresh", profile]).status.success());
        let _ = kit.document(&[profile]);
        let texts = [&MARKERS[..], &["Em\\u0075lated"]].concat();
        let mut elsewhere = Vec::new();
        // The buffer of an answer may not be wiped yet when the answer is there.
        for _ in 0..LOOKS {
            let found = kit.daemon().search(&texts);
            let outside = found.into_iter().filter(|it: &Found| !it.protected);
            elsewhere = outside.collect();
            if elsewhere.is_empty() {
                break;
            }
            thread::sleep(Duration::from_millis(20));
        }
        assert!(elsewhere.is_empty(), "{profile}: {elsewhere:#?}");
    }
}

#[test]
fn a_session_that_is_handed_on_is_replaced_when_the_program_has_a_newer_one() {
    let mut kit = Kit::without_daemon(&["--session-life", "12s"]);
    // The other daemon's shim is such a program, too.
    let shim = program("sts-shim");
    let script = format!(
        "exec {} --socket {} oss-upload",
        shim.display(),
        kit.socket().display()
    );
    write(&kit, &script);
    kit.write_config(&with_program(&kit));
    kit.start_daemon();
    let mut keys = BTreeSet::new();
    let began = now();
    while keys.len() < 4 {
        let asked = now();
        let document = kit.document(&["plain"]);
        let ends: Timestamp = document["Expiration"].as_str().unwrap().parse().unwrap();
        assert!(ends.as_second() > asked.cast_signed(), "it had ended");
        keys.insert(document["AccessKeyId"].as_str().unwrap().to_owned());
        assert!(asked - began < 150, "no rotation\n{}", log(&kit));
        thread::sleep(Duration::from_millis(50));
    }
}
