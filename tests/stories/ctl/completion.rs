//! The completion of profiles in an interactive bash.

use std::{
    env, fs,
    process::{Command, Stdio},
};

use e2e::{Terminal, TestEnv, program, upload_profile};
use nix::sys::signal::Signal;

/// Rows and columns.
const SIZE: (u16, u16) = (24, 100);

/// Starts bash with the completion script of stsctl.
fn bash(env: &TestEnv) -> Terminal {
    let stsctl = program("stsctl");
    let script = Command::new(&stsctl).args(["completions", "bash"]).output();
    fs::write(env.path("completion"), script.unwrap().stdout).unwrap();
    let rc = format!(
        "PS1='ready> '; source {}\n",
        env.path("completion").display()
    );
    fs::write(env.path("rc"), rc).unwrap();
    let path = env::var_os("PATH").unwrap_or_default();
    let path = env::split_paths(&path);
    let path = env::join_paths(
        [stsctl.parent().unwrap().to_owned()]
            .into_iter()
            .chain(path),
    );
    let mut command = Command::new("bash");
    command
        .args(["--noprofile", "--rcfile"])
        .arg(env.path("rc"))
        .arg("-i");
    command.env("STSD_SOCKET", env.socket());
    command
        .env("HISTFILE", "/dev/null")
        .env("INPUTRC", "/dev/null");
    command.env("PATH", path.unwrap());
    let terminal = Terminal::start(&command, SIZE);
    terminal.wait_for("ready> ");
    terminal
}

/// Types a line with a tab, waits for the completed line, and drops the line.
#[track_caller]
fn check(terminal: &mut Terminal, keys: &str, expected: &str) {
    terminal.type_keys(keys);
    terminal.wait_for(expected);
    // Ctrl-U, and Ctrl-L for an empty screen.
    terminal.type_keys("\u{15}\u{c}");
    terminal.wait_until("an empty line", |it| it.contents().trim() == "ready>");
}

#[test]
fn bash_completes_the_profiles_of_the_daemon() {
    let bash_starts = Command::new("bash")
        .arg("--version")
        .stdout(Stdio::null())
        .status();
    if bash_starts.is_err() {
        e2e::not_run("bash does not start");
        return;
    }
    let profiles = ["oss-upload", "backup-a", "backup-b"].map(|it| upload_profile(it, &[]));
    let mut env = TestEnv::with(&[], &profiles.concat());
    let mut terminal = bash(&env);
    check(&mut terminal, "stsctl get o\t", "stsctl get oss-upload ");
    check(
        &mut terminal,
        "stsctl exec --static os\t",
        "--static oss-upload ",
    );
    check(
        &mut terminal,
        "stsctl status oss-upload b\t",
        "oss-upload backup-",
    );
    check(
        &mut terminal,
        "stsctl get --min-life=20m o\t",
        "20m oss-upload ",
    );
    check(
        &mut terminal,
        "stsctl setup rclone o\t",
        "rclone oss-upload ",
    );
    // All names, and nothing else.
    let list = |screen: &str| screen.contains("backup-a    backup-b    oss-upload");
    terminal.type_keys("stsctl url \t\t");
    terminal.wait_until("the list", |it| list(&it.contents()));
    terminal.type_keys("\u{15}\u{c}");
    // Commands and options are completed as before.
    check(&mut terminal, "stsctl comp\t", "stsctl completions ");
    check(
        &mut terminal,
        "stsctl get oss-upload --pat\t",
        "oss-upload --patience ",
    );

    // A hung daemon delays the shell by a second; a daemon that is away, not at all.
    env.daemon().signal(Signal::SIGSTOP);
    check(
        &mut terminal,
        "stsctl get oss-up\tafter",
        "stsctl get oss-upafter",
    );
    env.daemon().signal(Signal::SIGCONT);
    env.daemon().signal(Signal::SIGTERM);
    env.wait_for_daemon_exit();
    check(
        &mut terminal,
        "stsctl get oss-up\tafter",
        "stsctl get oss-upafter",
    );
    terminal.type_keys("exit\n");
    assert_eq!(terminal.wait_for_exit(), 0);
}

#[test]
fn completion_without_a_daemon_is_silent_and_successful() {
    let env = TestEnv::without_daemon(&[]);
    let mut command = Command::new(program("stsctl"));
    command.args(["complete-profiles", "--", "--socket"]);
    command.arg(env.socket()).args(["get", ""]);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(
        output.stdout.is_empty() && output.stderr.is_empty(),
        "{output:?}"
    );
}
