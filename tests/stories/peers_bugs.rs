//! Bugs that users of our peers met, as they would look here. Each names where it comes
//! from; those of crowds are in `stampede.rs`, those of suspends in `suspend.rs`.

use std::{fs, process::Stdio, time::Duration};

use e2e::{Kit, UPLOAD};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use stsd_client::ProfileStatus;

fn error(code: &str, status: u16) -> Value {
    json!({"kind": "error", "code": code, "status": status})
}

fn profile(kit: &Kit) -> ProfileStatus {
    kit.client().status().unwrap().profiles[0].clone()
}

/// What STS does instead of answering, and the word for it in the complaint.
fn outages() -> [(Value, &'static str); 8] {
    [
        (error("Throttling.User", 429), "Throttling.User"),
        (json!({"kind": "throttle"}), "Throttling.User"),
        (error("ServiceUnavailable", 503), "ServiceUnavailable"),
        (error("InternalError", 500), "InternalError"),
        (json!({"kind": "hang"}), "timed out"),
        (json!({"kind": "reset"}), "not reachable"),
        (json!({"kind": "half-body"}), "too early"),
        // A captive portal.
        (json!({"kind": "html"}), "HTML"),
    ]
}

/// Answers that hold no session anybody could use, and the word for each.
fn worthless() -> [(Value, &'static str); 3] {
    [
        (json!({"kind": "expired"}), "expired already"),
        (json!({"kind": "empty"}), "empty credentials"),
        (json!({"kind": "beyond"}), "much longer than requested"),
    ]
}

/// With nothing to hand out, the caller gets code 6 and a word; with STS well again, the
/// next one gets credentials, without a restart.
fn check_cold(fault: &Value, word: &str) {
    let kit = Kit::start();
    kit.sts_fails(fault);
    // A call that hangs has not failed yet when the caller's patience ends.
    let expected = if word == "timed out" {
        "under way"
    } else {
        word
    };
    kit.refuses("oss-upload", 6, &[expected]);
    kit.heal();
    let document = kit.document(&["--patience", "60s", "oss-upload"]);
    assert_eq!(document["Code"], "Success");
}

/// With a session that lives, everybody gets that one; the status tells what is wrong; and
/// with STS well again, it is renewed.
fn check_live(fault: &Value, word: &str) {
    let kit = Kit::start();
    let before = kit.document(&["oss-upload"]);
    kit.sts_fails(fault);
    // A call that hangs is given up after 10 s.
    let renewed = kit.client().refresh("oss-upload", Duration::from_secs(5));
    assert_eq!(renewed.unwrap_err().exit_code(), 6, "{fault}");
    for _ in 0..5 {
        assert_eq!(kit.document(&["--patience", "5s", "oss-upload"]), before);
    }
    kit.wait_until("the failure is told", || {
        profile(&kit).last_failure.is_some()
    });
    let told = profile(&kit).last_failure.unwrap().failure.message;
    assert!(told.contains(word), "{fault}: {told}");
    assert_eq!(kit.document(&["oss-upload"]), before, "{fault}");
    assert!(profile(&kit).remaining_seconds > Some(3500), "{fault}");
    kit.heal();
    kit.wait_until("a renewal after the outage", || {
        kit.document(&["oss-upload"]) != before
    });
}

/// rolesanywhere-credential-helper PR #200: a failed refresh put an empty credential in the
/// place of the good one, and the answer still was 200 with "Success".
#[test]
fn a_failed_renewal_keeps_the_last_good_session() {
    for (fault, word) in worthless() {
        check_live(&fault, word);
    }
}

/// vault #20813 and spire #1562: nothing tells that renewals fail while what is served
/// still lives.
#[test]
fn the_status_tells_how_long_ago_a_renewal_failed() {
    let kit = Kit::start();
    let before = kit.document(&["oss-upload"]);
    // No further attempt makes the failure younger.
    kit.sts_fails(&json!({"kind": "throttle", "retry_after_millis": 60_000}));
    assert_eq!(kit.ctl(&["refresh", "oss-upload"]).status.code(), Some(6));
    kit.wait_until("the failure's age", || {
        profile(&kit).last_failure.unwrap().age_seconds >= 2
    });
    assert_eq!(kit.document(&["oss-upload"]), before);
}

/// rolesanywhere-credential-helper PR #200: an error at the start was ignored; its `update`
/// ends the program at the first one instead.
#[test]
fn a_service_whose_first_call_fails_starts_and_mends_itself() {
    let mut kit = Kit::without_daemon(&[]);
    kit.sts_fails(&error("ServiceUnavailable", 503));
    kit.write_config(&format!("{UPLOAD}keep_warm = true\n"));
    kit.start_daemon();
    kit.wait_until("a failure", || profile(&kit).sts_calls > 2);
    kit.refuses("oss-upload", 6, &["ServiceUnavailable"]);
    kit.heal();
    kit.wait_until("a session that nobody asked for again", || {
        profile(&kit).remaining_seconds.is_some()
    });
    assert_eq!(profile(&kit).last_failure, None);
}

/// aws-vault #331: a refresh yields what has expired. vault #20011: a lease of no duration.
/// aliyun-openapi-python-sdk #411: a session believed to live for 356,852 hours.
#[test]
fn a_session_that_is_none_is_never_handed_out() {
    for (fault, word) in worthless() {
        check_cold(&fault, word);
    }
}

/// aws-vault #394: everything is refused in the morning, by a clock that is off. Nobody
/// among our peers learns the time from the service.
#[test]
fn a_clock_that_is_hours_off_does_no_harm() {
    for offset in [-7200, 7200] {
        let kit = Kit::start();
        kit.sts_fails(&json!({"kind": "wrong-date", "offset_seconds": offset}));
        let _ = kit.document(&["oss-upload"]);
        let remaining = profile(&kit).remaining_seconds.unwrap();
        assert!((3500..=3600).contains(&remaining), "{offset}: {remaining}");
        assert_eq!(kit.calls("AssumeRole"), 2, "one refusal, one correction");
    }
}

/// oidc-agent #577 and #641: clients hang for ever. spire #2065: broken until restarted.
/// steampipe-plugin-alicloud #483: Throttling.User of STS.
#[test]
fn an_outage_from_the_start_is_named_and_recovered_from() {
    for (fault, word) in outages() {
        check_cold(&fault, word);
    }
}

/// SPIRE #5954 and eks-pod-identity-agent #143: an outage should not be felt before what
/// is cached has ended. vault #10918: an outage of a minute made the agent give it up.
#[test]
fn an_outage_is_not_felt_while_a_session_lives() {
    for (fault, word) in outages() {
        check_live(&fault, word);
    }
}

/// oidc-agent #507 and spire #5869: nobody knows why it takes so long. A machine without a
/// network has no DNS either.
#[test]
fn a_name_that_does_not_resolve_is_told_in_time_and_recovered_from() {
    let mut kit = Kit::without_daemon(&[]);
    kit.write_config_with("endpoint = \"https://sts.invalid\"\n", UPLOAD);
    let mut command = kit.daemon_command();
    // A proxy would resolve the name in our place.
    for proxy in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
        command.env_remove(proxy);
    }
    kit.adopt_daemon(command);
    kit.refuses("oss-upload", 6, &["sts.invalid", "not reachable"]);
    kit.write_config(UPLOAD);
    assert!(kit.ctl(&["reload"]).status.success());
    let _ = kit.document(&["oss-upload"]);
}

/// vault #25712: a refusal is asked for again in a loop. eks-pod-identity-agent #73: a
/// refusal is remembered, and there is no way to say that it has been mended.
#[test]
fn a_refusal_is_remembered_until_somebody_says_that_it_is_mended() {
    let ways: [(&str, &[&str]); 2] = [
        ("NoPermission", &["reload"]),
        ("AccessDenied", &["refresh", "oss-upload"]),
    ];
    for (code, mended) in ways {
        let kit = Kit::start();
        kit.sts_fails(&error(code, 403));
        let refused = || {
            for _ in 0..20 {
                let output = kit.shim(&["oss-upload"]);
                let complaint = String::from_utf8_lossy(&output.stderr);
                assert_eq!(output.status.code(), Some(7), "{complaint}");
                assert!(output.stdout.is_empty());
                assert!(complaint.contains(code), "{complaint}");
            }
        };
        refused();
        assert_eq!(kit.calls("AssumeRole"), 1, "twenty callers cost one call");
        assert!(kit.ctl(&["reload"]).status.success());
        refused();
        assert_eq!(kit.calls("AssumeRole"), 2, "a reload costs one");
        kit.heal();
        refused();
        assert!(kit.ctl(mended).status.success());
        let _ = kit.document(&["oss-upload"]);
        assert_eq!(kit.calls("AssumeRole"), 3);
    }
}

/// pizauth drops what it obtained for a configuration that is no longer in force; whoever
/// waits for it has to be told, or hangs as in aws-sso-cli #1083.
#[test]
fn a_reload_that_removes_a_profile_tells_those_who_wait_for_it() {
    let kit = Kit::start();
    kit.sts_fails(&json!({"kind": "hang"}));
    let mut waiting = kit.shim_command(&["--patience", "600s", "oss-upload"]);
    let mut waiting = waiting.stderr(Stdio::piped()).spawn().unwrap();
    kit.wait_until("the call is made", || profile(&kit).sts_calls >= 1);
    kit.write_config(&UPLOAD.replace("oss-upload]", "another]"));
    kit.daemon().signal(Signal::SIGHUP);
    // Before its patience and the call, which is given up after 10 s, are over.
    let status = e2e::exit(&mut waiting, Duration::from_secs(8));
    assert_eq!(status.expect("it was told at once").code(), Some(4));
    kit.heal();
    let _ = kit.document(&["another"]);
    let log = fs::read_to_string(kit.path("daemon.log")).unwrap();
    assert!(log.contains("profile removed"), "{log}");
}
