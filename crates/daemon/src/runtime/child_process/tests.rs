use std::{fs, path::Path};

use super::*;

fn shell(script: &str) -> Command {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", script]);
    command
}

/// Returns `true` if the process whose number a file has runs.
fn is_running(pid_file: &Path) -> bool {
    let pid = fs::read_to_string(pid_file).unwrap();
    let status = fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
    // A zombie has ended; init reaps it.
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

/// A time limit that no test reaches.
const NO_TIMEOUT: Duration = Duration::from_secs(60);

#[tokio::test]
async fn command_that_fails_returns_its_exit_status() {
    run(shell("exit 0"), NO_TIMEOUT).await.unwrap();
    let failed = run(shell("echo ExampleSecret; exit 3"), NO_TIMEOUT).await;
    let error = failed.unwrap_err().to_string();
    assert_eq!(error, "the command failed: exit status: 3");
    let missing = run(Command::new("/nonexistent"), NO_TIMEOUT).await;
    assert!(matches!(missing, Err(CommandError::Start(_))));
}

#[tokio::test]
async fn command_with_long_output_does_not_block() {
    let script = "head -c 1000000 /dev/zero; head -c 1000000 /dev/zero >&2";
    run(shell(script), NO_TIMEOUT).await.unwrap();
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
    let late = run(shell(&script), Duration::from_secs(4)).await;
    assert!(matches!(late, Err(CommandError::TimedOut(_))), "{late:?}");
    wait_until_ended(&file).await;
}

#[tokio::test]
async fn process_group_is_killed_after_exit_and_after_abort() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("pid");
    let background = format!("sleep 600 & echo $! > {}", file.display());
    run(shell(&background), NO_TIMEOUT).await.unwrap();
    wait_until_ended(&file).await;
    fs::remove_file(&file).unwrap();
    let hanging = format!(
        "echo $$ > {0}.new; mv {0}.new {0}; sleep 600",
        file.display()
    );
    let running = tokio::spawn(run(shell(&hanging), NO_TIMEOUT));
    while !file.exists() {
        sleep(Duration::from_millis(10)).await;
    }
    running.abort();
    let _ = running.await;
    wait_until_ended(&file).await;
}
