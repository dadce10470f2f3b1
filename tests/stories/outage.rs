//! STS fails; callers are served as long as that is honest, and told why when it is not.

use std::time::Duration;

use e2e::{Kit, UPLOAD};
use nix::sys::signal::Signal;
use serde_json::json;

#[test]
fn what_the_service_can_correct_is_corrected_at_once() {
    for code in ["SignatureNonceUsed", "InvalidTimeStamp.Expired"] {
        let kit = Kit::start();
        let fault = json!({"kind": "error", "code": code});
        kit.fault(&json!({"action": "AssumeRole", "times": 1, "fault": fault}));
        let _ = kit.document(&["oss-upload"]);
        assert_eq!(kit.calls("AssumeRole"), 2, "{code}");
    }
}

#[test]
fn an_expired_session_is_never_handed_out_however_long_the_outage() {
    let kit = Kit::with(&["--session-life", "4s"], UPLOAD);
    let _ = kit.document(&["oss-upload"]);
    kit.sts_fails(&json!({"kind": "error", "code": "ServiceUnavailable"}));
    let asks = || kit.shim(&["--patience", "300ms", "oss-upload"]);
    kit.wait_until("the session's end", || asks().status.code() == Some(6));
    for _ in 0..20 {
        // On a busy machine so little patience may end before there is any answer.
        let output = asks();
        let code = output.status.code();
        assert!(
            matches!(code, Some(3 | 6)) && output.stdout.is_empty(),
            "an expired session came back: {output:?}"
        );
    }
    kit.heal();
    let _ = kit.document(&["--patience", "60s", "oss-upload"]);
}

#[test]
fn who_asks_for_more_life_than_there_is_gets_the_best_and_costs_one_call() {
    let kit = Kit::start();
    let client = kit.client();
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
    assert_eq!(kit.calls("AssumeRole"), 1);
}

#[test]
fn a_daemon_that_was_killed_is_replaced_over_its_stale_socket() {
    let mut kit = Kit::start();
    kit.daemon().signal(Signal::SIGKILL);
    assert_eq!(kit.daemon_ends(), None);
    assert!(kit.socket().exists(), "the socket is left behind");
    kit.start_daemon();
    let _ = kit.document(&["oss-upload"]);
}

#[test]
fn a_second_daemon_is_refused_and_the_first_goes_on() {
    let kit = Kit::start();
    let output = kit.daemon_command().output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(
        complaint.contains("listening at") && complaint.contains("hint"),
        "{complaint}"
    );
    let _ = kit.document(&["oss-upload"]);
}

#[test]
fn a_reload_that_changes_nothing_keeps_a_back_off() {
    let kit = Kit::start();
    kit.sts_fails(&json!({"kind": "throttle", "retry_after_millis": 60_000}));
    for _ in 0..5 {
        kit.refuses("oss-upload", 6, &["Throttling"]);
        assert!(kit.ctl(&["reload"]).status.success());
    }
    assert_eq!(kit.calls("AssumeRole"), 1);
}
