//! The programs that the daemon runs: lines that work by hand work in the daemon, with and without
//! Landlock, and as the process with the number 1.

mod common_lines;
mod rules;

use std::process::Command;

use e2e::{TestEnv, UPLOAD};

/// A document that a profile without a role passes through, until 2099.
const DOCUMENT: &str = r#"{"AccessKeyId": "STS.OfAProgram", "AccessKeySecret": "x", "SecurityToken": "y", "Expiration": "2099-01-01T00:00:00Z"}"#;

/// Writes a program of a source. The extension permits secrets in the file.
fn write(env: &TestEnv, script: &str) {
    env.write(
        "issue.key",
        &format!("#!/bin/bash\nset -e\n{script}\n"),
        0o700,
    );
}

/// Returns a source with further keys, and the profile `plain`, which passes its session through.
fn profiles(env: &TestEnv, keys: &str) -> String {
    let program = env.path("issue.key");
    format!(
        "{UPLOAD}[source.vault]\ntype = \"process\"\ncommand = [\"{}\"]\n{keys}\
         [profile.plain]\nsource = \"vault\"\n",
        program.display()
    )
}

/// Returns the stderr of a renewal that fails.
fn failure(env: &TestEnv, words: &str) -> String {
    let mut said = String::new();
    env.wait_until(words, || {
        let output = env.ctl(&["refresh", "plain"]);
        said = String::from_utf8(output.stderr).unwrap();
        said.contains(words)
    });
    said
}

fn wait_for_success(env: &TestEnv) {
    env.wait_until("the program succeeds", || {
        env.ctl(&["refresh", "plain"]).status.success()
    });
}

/// Returns `true` if a program is installed, and reports NOT RUN otherwise.
fn is_installed(name: &str, package: &str) -> bool {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("command -v {name}")]);
    let found = command.output().is_ok_and(|it| it.status.success());
    if !found {
        e2e::not_run(&format!(
            "{name} is not installed; its package is {package}"
        ));
    }
    found
}
