//! The end of a session without a successor: one error in the log when callers begin to be refused, and
//! one line when they are served again.

use e2e::{Action, Fault, TestEnv, UPLOAD};

/// Returns the lines of the log that contain all words.
fn lines(env: &TestEnv, words: &[&str]) -> Vec<String> {
    let log = env.daemon_log();
    let found = log
        .lines()
        .filter(|line| words.iter().all(|word| line.contains(word)));
    found.map(str::to_owned).collect()
}

const ERROR: [&str; 2] = [" ERROR ", "callers are refused until a renewal succeeds"];

#[test]
fn session_end_without_a_successor_is_one_error_and_one_recovery() {
    let env = TestEnv::with(&["--session-life", "6s"], UPLOAD);
    let _ = env.document(&["oss-upload"]);
    let fault = Fault::error("ServiceUnavailable");
    env.emulator().inject_fault(Action::AssumeRole, fault);
    env.wait_until("the error", || !lines(&env, &ERROR).is_empty());
    env.assert_refused("oss-upload", 6, &["ServiceUnavailable"]);
    let errors = lines(&env, &ERROR);
    assert_eq!(errors.len(), 1, "{errors:#?}");
    for words in [
        "its session has ended: ",
        "ServiceUnavailable",
        "profile=oss-upload",
        "failures=",
        "failing_for=\"",
        "next_attempt=\"",
        "hint=\"",
    ] {
        assert!(errors[0].contains(words), "{words}: {}", errors[0]);
    }
    assert_eq!(lines(&env, &["next_attempt_ms"]).len(), 0);

    env.emulator().clear_faults();
    let _ = env.document(&["--patience", "60s", "oss-upload"]);
    let recoveries = lines(&env, &[" INFO ", "callers are served again"]);
    assert_eq!(recoveries.len(), 1, "{recoveries:#?}");
    assert!(recoveries[0].contains("refused_for=\""), "{recoveries:?}");
    assert_eq!(lines(&env, &ERROR).len(), 1, "the outage is logged once");
}

#[test]
fn profile_that_never_had_a_session_is_one_error() {
    let env = TestEnv::start();
    let fault = Fault::error("NoPermission");
    env.emulator().inject_fault(Action::AssumeRole, fault);
    for _ in 0..3 {
        env.assert_refused("oss-upload", 7, &["NoPermission"]);
    }
    env.wait_until("the error", || !lines(&env, &ERROR).is_empty());
    let errors = lines(&env, &ERROR);
    assert_eq!(errors.len(), 1, "{errors:#?}");
    assert!(errors[0].contains("it has no session: "), "{}", errors[0]);
}
