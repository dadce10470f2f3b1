//! `stsctl setup --write`: one entry of a tool's file, whose rest is unchanged.

use std::{
    fs,
    os::unix::fs::symlink,
    path::Path,
    process::{Command, Stdio},
};

use e2e::{FileState, Home, TestEnv, UPLOAD, program, run};
use nix::sys::signal::Signal;
use serde_json::Value;

use super::FILES;

#[test]
fn setup_changes_one_entry_and_keeps_the_rest_of_the_file() {
    let env = TestEnv::with_http(&[], UPLOAD);
    let home = Home::in_env(&env);
    for (tool, name, before) in FILES {
        home.put(name, before, 0o640);
        let said = home.setup_write(tool);
        let after = home.text(name);
        assert!(said.contains("changed"), "{said}");
        // The old lines are all there.
        let lines: Vec<_> = after.split_inclusive('\n').collect();
        let old: Vec<_> = before.split_inclusive('\n').collect();
        let mut kept = lines.iter();
        for line in &old {
            let bare = |it: &str| it.trim_end_matches(['\r', '\n', ',']).to_owned();
            let found = kept.any(|it| bare(it) == bare(line));
            assert!(found, "{tool} has lost {line:?}:\n{after}");
        }
        if before.contains("\r\n") && tool == "aws" {
            assert_eq!(after.matches('\n').count(), after.matches("\r\n").count());
        }
        let private = tool == "ossutil1";
        assert_eq!(
            home.mode(name),
            if private { 0o600 } else { 0o640 },
            "{tool}"
        );

        // The backup is the file before the first change.
        let backup = format!("{name}.stsd-backup");
        assert_eq!(home.text(&backup), before);
        assert_eq!(home.mode(&backup), 0o600);
        let everything = home.files();
        assert!(home.setup_write(tool).contains("is as it should be"));
        assert_eq!(
            home.files(),
            everything,
            "{tool}: a second time nothing happens"
        );
        let broken = after.replace("oss-upload", "oss-uplaod");
        fs::write(home.file(name), broken).unwrap();
        assert!(home.setup_write(tool).contains("before the first change"));
        assert_eq!(home.text(&backup), before);
        let (code, said) = home.setup_check(tool);
        match tool {
            // The check reports the byte order mark, which botocore does not read, and leaves it.
            "aws" | "rclone" => assert!(said.contains("byte order mark"), "{said}"),
            _ => assert_eq!(code, Some(0), "{tool}: {said}"),
        }
    }
    assert_eq!(
        home.files().len(),
        2 * FILES.len(),
        "nothing is left beside them"
    );
}

#[test]
fn setup_creates_a_private_file_that_works() {
    let env = TestEnv::with_http(&[], UPLOAD);
    let home = Home::in_env(&env);
    for (tool, name, _) in FILES {
        assert_eq!(
            home.setup_check(tool).0,
            Some(1),
            "{tool} is not set up yet"
        );
        assert!(home.setup_write(tool).contains("written"));
        assert_eq!(home.mode(name), 0o600);
        if let Some((folder, _)) = name.rsplit_once('/') {
            assert_eq!(home.mode(folder), 0o700);
        }
        assert!(!home.file(&format!("{name}.stsd-backup")).exists());
        let (code, said) = home.setup_check(tool);
        assert_eq!(code, Some(0), "{tool}: {said}");
        assert_eq!(
            said.lines().filter(|it| it.starts_with("ok")).count(),
            2,
            "{said}"
        );
    }
    let config: Value = serde_json::from_str(&home.text(".aliyun/config.json")).unwrap();
    assert_eq!(config["current"], "oss-upload");
    assert_eq!(config["profiles"][0]["mode"], "External");
    let secret = env.client().url("oss-upload").unwrap().token;
    let holds = |it: &&FileState| String::from_utf8_lossy(&it.bytes).contains(secret.expose());
    assert_eq!(
        home.files().values().filter(holds).count(),
        1,
        "ossutil's alone"
    );
}

#[test]
fn setup_writes_a_socket_that_only_a_variable_names() {
    let env = TestEnv::with_http(&[], UPLOAD);
    let home = Home::in_env(&env);
    let directory = env.path("runtime");
    fs::create_dir_all(directory.join("stsd")).unwrap();
    let elsewhere = directory.join("stsd/stsd.sock");
    symlink(env.socket(), &elsewhere).unwrap();
    let run = |variable: (&str, &Path), arguments: &[&str]| {
        let mut command = Command::new(program("stsctl"));
        command.env_clear().env("HOME", home.path());
        command.env(variable.0, variable.1);
        command.args(["setup", "aws", "oss-upload", "--region", "cn-hongkong"]);
        command.args(arguments).stdin(Stdio::null());
        let output = run(command);
        (output.code, output.stdout)
    };
    for (variable, socket) in [
        (("STSD_SOCKET", &*env.socket()), &*env.socket()),
        (("XDG_RUNTIME_DIR", &*directory), &*elsewhere),
    ] {
        assert_eq!(run(variable, &["--write"]).0, Some(0));
        let named = format!("--socket {} ", socket.display());
        let text = home.text(".aws/config");
        assert!(text.contains(&named), "{text}");
        assert_eq!(run(variable, &["--check"]).0, Some(0));
        // Without the option, the entry works in this environment only.
        home.put(".aws/config", text.replace(&named, ""), 0o600);
        let (code, said) = run(variable, &["--check"]);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("fault    command"), "{said}");
        assert!(said.contains("XDG_RUNTIME_DIR is not set"), "{said}");
    }
}

#[test]
fn setup_refuses_a_profile_that_the_daemon_does_not_know() {
    let mut env = TestEnv::with_http(&[], UPLOAD);
    let line = ["aws", "nosuch", "--region", "cn-hongkong", "--write"];
    let home = Home::in_env(&env);
    for tool in ["aliyun-cli", "aws", "rclone", "ossutil1"] {
        let output = home.setup(&[&[tool], &line[1..]].concat());
        let complaint = output.stderr;
        assert_eq!(output.code, Some(4), "{tool}: {complaint}");
    }
    assert!(home.files().is_empty());
    // Without a daemon the profile cannot be checked.
    env.daemon().signal(Signal::SIGTERM);
    env.wait_for_daemon_exit();
    home.setup(&line).assert_success();
}

#[test]
fn parallel_setups_lose_no_entry() {
    let env = TestEnv::with_http(&[], UPLOAD);
    let home = Home::in_env(&env);
    let names: Vec<_> = (0..12).map(|it| format!("by-stsd-{it}")).collect();
    let start = |name: &String| {
        let line = [
            "setup",
            "aws",
            "oss-upload",
            "--region",
            "cn-hongkong",
            "--write",
        ];
        let mut command = home.command(&line);
        command.args(["--name", name]).stdout(Stdio::null());
        command.spawn().unwrap()
    };
    let started: Vec<_> = names.iter().map(start).collect();
    for mut child in started {
        assert!(child.wait().unwrap().success());
    }
    let text = home.text(".aws/config");
    for name in names {
        assert!(text.contains(&format!("[profile {name}]\n")), "{text}");
    }
}
