//! Outages of STS: valid sessions are served, expired ones never, and errors have the reason.

use std::time::Duration;

use e2e::{Action, Fault, TestEnv, UPLOAD};
use nix::sys::signal::Signal;

#[test]
fn nonce_and_clock_errors_are_retried_at_once() {
    for code in ["SignatureNonceUsed", "InvalidTimeStamp.Expired"] {
        let env = TestEnv::start();
        let fault = Fault::error(code);
        env.emulator().inject_fault_once(Action::AssumeRole, fault);
        let _ = env.document(&["oss-upload"]);
        assert_eq!(env.emulator().calls(Action::AssumeRole), 2, "{code}");
    }
}

#[test]
fn expired_session_is_never_served_during_an_outage() {
    let env = TestEnv::with(&["--session-life", "4s"], UPLOAD);
    let _ = env.document(&["oss-upload"]);
    env.emulator()
        .inject_fault(Action::AssumeRole, Fault::error("ServiceUnavailable"));
    let asks = || env.shim(&["--patience", "300ms", "oss-upload"]);
    env.wait_until("the session's end", || asks().status.code() == Some(6));
    for _ in 0..20 {
        // On a busy machine the patience may end before any answer.
        let output = asks();
        let code = output.status.code();
        assert!(
            matches!(code, Some(3 | 6)) && output.stdout.is_empty(),
            "an expired session came back: {output:?}"
        );
    }
    env.emulator().clear_faults();
    let _ = env.document(&["--patience", "60s", "oss-upload"]);
}

#[test]
fn request_above_the_session_lifetime_costs_one_call() {
    let env = TestEnv::start();
    let client = env.client();
    for _ in 0..10 {
        let answer = client
            .credentials(
                "oss-upload",
                Duration::from_secs(7200),
                Duration::from_secs(60),
            )
            .unwrap();
        assert!(answer.short);
    }
    assert_eq!(env.emulator().calls(Action::AssumeRole), 1);
}

#[test]
fn stale_socket_of_a_killed_daemon_is_replaced() {
    let mut env = TestEnv::start();
    env.daemon().signal(Signal::SIGKILL);
    assert_eq!(env.wait_for_daemon_exit(), None);
    assert!(env.socket().exists(), "the socket is left behind");
    env.start_daemon();
    let _ = env.document(&["oss-upload"]);
}

#[test]
fn second_daemon_is_refused_and_the_first_continues() {
    let env = TestEnv::start();
    let output = env.daemon_command().output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(
        complaint.contains("listening at") && complaint.contains("hint"),
        "{complaint}"
    );
    let _ = env.document(&["oss-upload"]);
}

#[test]
fn reload_without_changes_keeps_the_back_off() {
    let env = TestEnv::start();
    env.emulator().inject_fault(
        Action::AssumeRole,
        Fault::Throttle(Some(Duration::from_millis(60_000))),
    );
    for _ in 0..5 {
        env.assert_refused("oss-upload", 6, &["Throttling"]);
        assert!(env.ctl(&["reload"]).status.success());
    }
    assert_eq!(env.emulator().calls(Action::AssumeRole), 1);
}
