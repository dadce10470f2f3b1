use std::{fs, path::Path};

use super::*;

/// A time limit that no test reaches.
const NO_TIMEOUT: Duration = Duration::from_secs(60);

/// Returns a shell that may write anywhere, with its temporary directory in `parent`.
fn shell(script: &str, parent: &Path) -> Start {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", script]);
    Start {
        command,
        writable: vec!["/".into()],
        temp_parents: vec![parent.to_owned()],
    }
}

/// Runs a script, and discards its output.
async fn run_script(script: &str, limit: Duration) -> Result<Ended, CommandError> {
    let directory = tempfile::tempdir().unwrap();
    let start = shell(script, directory.path());
    let ended = run(start, limit, 1024, Excess::IsDiscarded).await?;
    let left = fs::read_dir(directory.path()).unwrap().count();
    assert_eq!(left, 0, "temporary directories");
    match ended.result {
        Ok(()) => Ok(ended),
        Err(error) => Err(error),
    }
}

/// Returns `true` if the process whose number a file has exists, also as a zombie of ours.
fn is_running(pid_file: &Path) -> bool {
    let pid = fs::read_to_string(pid_file).unwrap();
    let status = fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
    // A zombie of another parent has ended; that parent reaps it.
    status.is_ok_and(|it| !it.contains(") Z "))
}

async fn wait_until_ended(pid_file: &Path) {
    for _ in 0..3000 {
        if !is_running(pid_file) {
            return;
        }
        sleep(Duration::from_millis(10)).await;
    }
    panic!("the process still runs");
}

#[tokio::test]
async fn command_that_fails_returns_its_exit_status_and_stderr() {
    run_script("exit 0", NO_TIMEOUT).await.unwrap();
    let failed = run_script("echo ExampleSecret; exit 3", NO_TIMEOUT).await;
    let error = failed.err().unwrap().to_string();
    assert_eq!(error, "the command failed: exit status: 3");
    let directory = tempfile::tempdir().unwrap();
    let mut missing = shell("", directory.path());
    missing.command = Command::new("/nonexistent");
    let missing = run(missing, NO_TIMEOUT, 1, Excess::Kills).await;
    assert!(missing.is_err());
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    let said = run_script("echo out; echo why >&2", NO_TIMEOUT)
        .await
        .unwrap();
    assert_eq!(
        (&said.stdout[..], &said.stderr[..]),
        (&b"out\n"[..], &b"why\n"[..])
    );
}

#[tokio::test]
async fn command_with_long_output_does_not_block() {
    let script = "head -c 1000000 /dev/zero; head -c 1000000 /dev/zero >&2; echo end >&2";
    let ended = run_script(script, NO_TIMEOUT).await.unwrap();
    assert!(ended.is_cut && ended.stdout.len() == 1024);
    assert!(ended.stderr.ends_with(b"end\n") && ended.stderr.len() == STDERR_BYTES);
    let directory = tempfile::tempdir().unwrap();
    let start = shell("head -c 1000000 /dev/zero", directory.path());
    let ended = run(start, NO_TIMEOUT, 1024, Excess::Kills).await.unwrap();
    assert!(matches!(ended.result, Err(CommandError::TooMuch(1024))));
}

#[tokio::test]
async fn command_has_a_private_temporary_directory_and_dev_null() {
    let script = "set -e; cat /nonexistent 2>/dev/null || :; t=$(mktemp); echo x > $t; \
                  [ \"${t%/*}\" = \"$TMPDIR\" ]; [ \"$(stat -c %a $TMPDIR)\" = 700 ]; \
                  mkdir $TMPDIR/d; chmod 500 $TMPDIR/d; [ \"$(pwd)\" = / ]";
    run_script(script, NO_TIMEOUT).await.unwrap();
}

#[tokio::test]
async fn command_writes_only_where_its_own_rules_allow() {
    let (ours, others) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (ours, others) = (ours.path().display(), others.path().display());
    let directory = tempfile::tempdir().unwrap();
    let script = format!("echo x > {ours}/a && echo x > {others}/b");
    let mut start = shell(&script, directory.path());
    start.writable = vec![ours.to_string().into()];
    let ended = run(start, NO_TIMEOUT, 1024, Excess::Kills).await.unwrap();
    assert_eq!(fs::read_to_string(format!("{ours}/a")).unwrap(), "x\n");
    let denied = ended.result.is_err();
    // A kernel without Landlock denies nothing.
    assert_eq!(denied, !Path::new(&format!("{others}/b")).exists());
    // This thread is not restricted.
    fs::write(format!("{others}/c"), "x").unwrap();
}

#[tokio::test]
async fn command_that_hangs_is_killed_with_its_process_group() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("pid");
    let script = format!(
        "trap '' TERM; sleep 600 & echo $! > {}; wait",
        file.display()
    );
    // Time for the shell to start and to write, on a busy machine as well.
    let late = run_script(&script, Duration::from_secs(4)).await.err();
    assert!(matches!(late, Some(CommandError::TimedOut(_))), "{late:?}");
    wait_until_ended(&file).await;
}

#[tokio::test]
async fn process_group_is_killed_after_exit_and_after_abort() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("pid");
    let background = format!("sleep 600 & echo $! > {}", file.display());
    run_script(&background, NO_TIMEOUT).await.unwrap();
    wait_until_ended(&file).await;
    fs::remove_file(&file).unwrap();
    let hanging = format!(
        "echo $$ > {0}.new; mv {0}.new {0}; sleep 600",
        file.display()
    );
    let running = tokio::spawn(async move { run_script(&hanging, NO_TIMEOUT).await.is_ok() });
    while !file.exists() {
        sleep(Duration::from_millis(10)).await;
    }
    running.abort();
    let _ = running.await;
    wait_until_ended(&file).await;
}

#[tokio::test]
async fn command_that_a_real_time_signal_ends_has_failed() {
    let failed = run_script("kill -40 $$", NO_TIMEOUT).await.err().unwrap();
    assert_eq!(failed.to_string(), "the command failed: signal: 40");
}
