//! STS fails; callers are served as long as that is honest, and told why when it is not.

use std::{fs, time::Duration};

use e2e::{Kit, UPLOAD};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

fn down(kit: &Kit, fault: &Value) {
    kit.fault(&json!({"action": "AssumeRole", "fault": fault}));
}

/// The shim fails with a code and says a word; afterwards, with STS well again, it works
/// without a restart.
fn check(fault: &Value, code: i32, word: &str) {
    let kit = Kit::start();
    down(&kit, fault);
    let output = kit.shim(&["--patience", "3s", "oss-upload"]);
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{fault}: {complaint}");
    assert!(output.stdout.is_empty());
    assert!(complaint.contains(word), "{fault}: {complaint}");
    kit.heal();
    if code == 7 {
        // A refusal is looked at again slowly, unless a human says that it is mended.
        assert!(kit.ctl(&["refresh", "oss-upload"]).status.success());
    }
    let document = kit.document(&["--patience", "60s", "oss-upload"]);
    assert_eq!(document["Code"], "Success");
}

#[test]
fn sts_that_is_down_from_the_start_is_named_and_recovered_from() {
    check(
        &json!({"kind": "error", "code": "ServiceUnavailable"}),
        6,
        "ServiceUnavailable",
    );
    check(&json!({"kind": "reset"}), 6, "not reachable");
}

#[test]
fn answers_that_are_none_are_never_handed_out() {
    check(&json!({"kind": "html"}), 6, "HTML");
    check(&json!({"kind": "half-body"}), 6, "too early");
    check(&json!({"kind": "empty"}), 6, "empty credentials");
    check(&json!({"kind": "expired"}), 6, "ended already");
    check(&json!({"kind": "beyond"}), 6, "much longer than was asked");
}

#[test]
fn a_throttled_caller_is_told_so() {
    check(&json!({"kind": "throttle"}), 6, "Throttling.User");
}

#[test]
fn a_refusal_is_told_at_once_and_remembered() {
    check(
        &json!({"kind": "error", "code": "NoPermission"}),
        7,
        "NoPermission",
    );
    let kit = Kit::start();
    down(&kit, &json!({"kind": "error", "code": "NoPermission"}));
    for _ in 0..20 {
        assert_eq!(kit.shim(&["oss-upload"]).status.code(), Some(7));
    }
    assert_eq!(kit.calls("AssumeRole"), 1, "twenty callers cost one call");
}

#[test]
fn a_hanging_sts_outlives_nobodys_patience() {
    let kit = Kit::start();
    down(&kit, &json!({"kind": "hang"}));
    let output = kit.shim(&["--patience", "1s", "oss-upload"]);
    assert_eq!(output.status.code(), Some(6));
    assert!(String::from_utf8_lossy(&output.stderr).contains("under way"));
    kit.heal();
}

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
fn a_clock_that_is_hours_off_does_no_harm() {
    for offset in [-7200, 7200] {
        let kit = Kit::start();
        down(
            &kit,
            &json!({"kind": "wrong-date", "offset_seconds": offset}),
        );
        let _ = kit.document(&["oss-upload"]);
        let status = kit.client().status().unwrap();
        let remaining = status.profiles[0].remaining_seconds.unwrap();
        assert!((3580..=3600).contains(&remaining), "{offset}: {remaining}");
        assert_eq!(kit.calls("AssumeRole"), 2, "one refusal, one correction");
    }
}

#[test]
fn credentials_that_still_live_are_handed_out_while_sts_is_down() {
    let kit = Kit::start();
    let before = kit.document(&["oss-upload"]);
    down(
        &kit,
        &json!({"kind": "error", "code": "ServiceUnavailable"}),
    );
    assert_eq!(kit.ctl(&["refresh", "oss-upload"]).status.code(), Some(6));
    assert_eq!(kit.document(&["oss-upload"]), before);
    let status = kit.client().status().unwrap();
    let failure = status.profiles[0].last_failure.clone().unwrap().failure;
    assert!(
        failure.message.contains("ServiceUnavailable"),
        "{}",
        failure.message
    );
    kit.heal();
    kit.wait_until("a renewal after the outage", || {
        kit.document(&["oss-upload"]) != before
    });
}

#[test]
fn an_expired_session_is_never_handed_out_however_long_the_outage() {
    let kit = Kit::with(&["--session-life", "3s"], UPLOAD);
    let _ = kit.document(&["oss-upload"]);
    down(
        &kit,
        &json!({"kind": "error", "code": "ServiceUnavailable"}),
    );
    let ended = || {
        kit.shim(&["--patience", "200ms", "oss-upload"])
            .status
            .code()
            == Some(6)
    };
    kit.wait_until("the session's end", ended);
    for _ in 0..20 {
        assert!(ended(), "an expired session came back");
    }
    kit.heal();
    let _ = kit.document(&["--patience", "30s", "oss-upload"]);
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
                Duration::from_secs(5),
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
fn a_reload_that_removes_a_profile_tells_those_who_wait_for_it() {
    let kit = Kit::start();
    down(&kit, &json!({"kind": "hang"}));
    let waiting = kit.shim_command(&["--patience", "30s", "oss-upload"]);
    let mut waiting = { waiting }
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    kit.wait_until("the call is made", || {
        kit.client().status().unwrap().profiles[0].sts_calls == 1
    });
    kit.write_config(&UPLOAD.replace("oss-upload]", "another]"));
    kit.daemon().signal(Signal::SIGHUP);
    assert_eq!(waiting.wait().unwrap().code(), Some(4));
    kit.heal();
    let _ = kit.document(&["another"]);
    let log = fs::read_to_string(kit.path("daemon.log")).unwrap();
    assert!(log.contains("profile removed"), "{log}");
}

#[test]
fn a_reload_that_changes_nothing_keeps_a_back_off() {
    let kit = Kit::start();
    down(
        &kit,
        &json!({"kind": "throttle", "retry_after_millis": 60_000}),
    );
    for _ in 0..5 {
        assert_eq!(
            kit.shim(&["--patience", "300ms", "oss-upload"])
                .status
                .code(),
            Some(6)
        );
        assert!(kit.ctl(&["reload"]).status.success());
    }
    assert_eq!(kit.calls("AssumeRole"), 1);
}
