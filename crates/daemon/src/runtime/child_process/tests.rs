use std::{fs, path::Path};

use super::*;

fn shell(script: &str) -> Command {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", script]);
    command
}

/// Tells whether a process runs whose number somebody has written.
fn runs(file: &Path) -> bool {
    let pid = fs::read_to_string(file).unwrap();
    let status = fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
    // A zombie whose parent has gone is nobody's work any more.
    status.is_ok_and(|it| !it.contains(") Z "))
}

async fn gone(file: &Path) {
    for _ in 0..3000 {
        if !runs(file) {
            return;
        }
        sleep(Duration::from_millis(10)).await;
    }
    panic!("it still runs");
}

const LONG: Duration = Duration::from_secs(60);

#[tokio::test]
async fn it_is_told_how_a_command_ended() {
    run(shell("exit 0"), LONG).await.unwrap();
    let failed = run(shell("echo ExampleSecret; exit 3"), LONG).await;
    let said = failed.unwrap_err().to_string();
    assert_eq!(said, "the command failed: exit status: 3");
    let none = run(Command::new("/nonexistent"), LONG).await;
    assert!(matches!(none, Err(CommandError::Start(_))));
}

#[tokio::test]
async fn a_command_that_prints_much_is_not_kept_from_ending() {
    let script = "head -c 1000000 /dev/zero; head -c 1000000 /dev/zero >&2";
    run(shell(script), LONG).await.unwrap();
}

#[tokio::test]
async fn one_that_hangs_is_killed_with_all_that_it_has_started() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("pid");
    let script = format!(
        "trap '' TERM; sleep 600 & echo $! > {}; wait",
        file.display()
    );
    // Time for the shell to start and to write, on a busy machine as well.
    let late = run(shell(&script), Duration::from_secs(4)).await;
    assert!(matches!(late, Err(CommandError::TimedOut(_))), "{late:?}");
    gone(&file).await;
}

#[tokio::test]
async fn nothing_is_left_of_one_that_has_ended_or_that_nobody_waits_for_any_more() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("pid");
    let background = format!("sleep 600 & echo $! > {}", file.display());
    run(shell(&background), LONG).await.unwrap();
    gone(&file).await;
    fs::remove_file(&file).unwrap();
    let hanging = format!(
        "echo $$ > {0}.new; mv {0}.new {0}; sleep 600",
        file.display()
    );
    let running = tokio::spawn(run(shell(&hanging), LONG));
    while !file.exists() {
        sleep(Duration::from_millis(10)).await;
    }
    running.abort();
    let _ = running.await;
    gone(&file).await;
}
