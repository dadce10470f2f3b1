//! Bugs of similar projects, as they would appear in stsd. Each story names the public report; those of
//! many clients at once are in `serve/thundering_herd.rs`, those of suspends in `suspend.rs`.

use std::{process::Stdio, time::Duration};

use e2e::{Action, Fault, TestEnv, UPLOAD};
use nix::sys::signal::Signal;
use stsd_client::ProfileStatus;

fn profile(env: &TestEnv) -> ProfileStatus {
    env.client().status().unwrap().profiles[0].clone()
}

/// Faults of STS, and the words of the error.
fn outages() -> [(Fault, &'static str); 8] {
    [
        (
            Fault::error_with_status("Throttling.User", 429),
            "Throttling.User",
        ),
        (Fault::Throttle(None), "Throttling.User"),
        (
            Fault::error_with_status("ServiceUnavailable", 503),
            "ServiceUnavailable",
        ),
        (
            Fault::error_with_status("InternalError", 500),
            "InternalError",
        ),
        (Fault::Hang, "timed out"),
        (Fault::Reset, "not reachable"),
        (Fault::HalfBody, "too early"),
        // A captive portal.
        (Fault::Html, "HTML"),
    ]
}

/// Replies without a usable session, and the words of the error.
fn worthless() -> [(Fault, &'static str); 3] {
    [
        (Fault::Expired, "expired already"),
        (Fault::Empty, "empty credentials"),
        (Fault::Beyond, "much longer than requested"),
    ]
}

/// Asserts that a request without a session fails with code 6 and the word, and that the next one
/// succeeds after the fault, without a restart.
fn check_cold(fault: Fault, word: &str) {
    let env = TestEnv::start();
    env.emulator().inject_fault(Action::AssumeRole, fault);
    // A call that hangs has not failed yet when the caller's patience ends.
    let expected = if word == "timed out" {
        "has not answered for"
    } else {
        word
    };
    env.assert_refused("oss-upload", 6, &[expected]);
    env.emulator().clear_faults();
    let document = env.document(&["--patience", "60s", "oss-upload"]);
    assert_eq!(document["Code"], "Success");
}

/// Asserts that a valid session is served during the fault, that the status has the error, and that the
/// session is renewed afterwards.
fn check_live(fault: Fault, word: &str) {
    let env = TestEnv::start();
    let before = env.document(&["oss-upload"]);
    env.emulator().inject_fault(Action::AssumeRole, fault);
    // A call that hangs is given up after 10 s.
    let renewed = env.client().refresh("oss-upload", Duration::from_secs(5));
    assert_eq!(renewed.unwrap_err().exit_code(), 6, "{fault:?}");
    for _ in 0..5 {
        assert_eq!(env.document(&["--patience", "5s", "oss-upload"]), before);
    }
    env.wait_until("the failure is told", || {
        profile(&env).last_failure.is_some()
    });
    let told = profile(&env).last_failure.unwrap().failure.message;
    assert!(told.contains(word), "{fault:?}: {told}");
    assert_eq!(env.document(&["oss-upload"]), before, "{fault:?}");
    assert!(profile(&env).remaining_seconds > Some(3500), "{fault:?}");
    env.emulator().clear_faults();
    env.wait_until("a renewal after the outage", || {
        env.document(&["oss-upload"]) != before
    });
}

/// rolesanywhere-credential-helper PR #200: a failed refresh replaced the valid credential by an empty
/// one, and the answer still was 200 with "Success".
#[test]
fn failed_renewal_keeps_the_last_good_session() {
    for (fault, word) in worthless() {
        check_live(fault, word);
    }
}

/// vault #20813 and spire #1562: failed renewals are not reported while the served credentials are
/// valid.
#[test]
fn status_shows_the_age_of_a_failed_renewal() {
    let env = TestEnv::start();
    let before = env.document(&["oss-upload"]);
    // The throttling prevents another attempt, which would reset the age.
    env.emulator().inject_fault(
        Action::AssumeRole,
        Fault::Throttle(Some(Duration::from_millis(60_000))),
    );
    assert_eq!(env.ctl(&["refresh", "oss-upload"]).status.code(), Some(6));
    env.wait_until("the failure's age", || {
        profile(&env).last_failure.unwrap().age_seconds >= 2
    });
    assert_eq!(env.document(&["oss-upload"]), before);
}

/// rolesanywhere-credential-helper PR #200: the program ignored an error at its start; its `update`
/// ends at the first error.
#[test]
fn failed_first_call_is_retried_until_it_succeeds() {
    let mut env = TestEnv::without_daemon(&[]);
    env.emulator().inject_fault(
        Action::AssumeRole,
        Fault::error_with_status("ServiceUnavailable", 503),
    );
    env.write_config(&format!("{UPLOAD}keep_warm = true\n"));
    env.start_daemon();
    env.wait_until("a failure", || profile(&env).sts_calls > 2);
    env.assert_refused("oss-upload", 6, &["ServiceUnavailable"]);
    env.emulator().clear_faults();
    env.wait_until("a session without another request", || {
        profile(&env).remaining_seconds.is_some()
    });
    assert_eq!(profile(&env).last_failure, None);
}

/// aws-vault #331: a refresh returns expired credentials. vault #20011: a lease without a duration.
/// aliyun-openapi-python-sdk #411: a session believed to live for 356,852 hours.
#[test]
fn unusable_session_is_never_served() {
    for (fault, word) in worthless() {
        check_cold(fault, word);
    }
}

/// aws-vault #394: with a wrong clock, every call is refused. None of the similar projects corrects its
/// time by the reply of the service.
#[test]
fn clock_two_hours_off_costs_one_correction() {
    for offset in [-7200, 7200] {
        let env = TestEnv::start();
        env.emulator()
            .inject_fault(Action::AssumeRole, Fault::WrongDate(offset));
        let _ = env.document(&["oss-upload"]);
        let remaining = profile(&env).remaining_seconds.unwrap();
        assert!((3500..=3600).contains(&remaining), "{offset}: {remaining}");
        assert_eq!(
            env.emulator().calls(Action::AssumeRole),
            2,
            "one refusal, one correction"
        );
    }
}

/// oidc-agent #577 and #641: clients hang for ever. spire #2065: the agent fails until a restart.
/// steampipe-plugin-alicloud #483: Throttling.User of STS.
#[test]
fn outage_at_the_start_is_named_and_recovered_from() {
    for (fault, word) in outages() {
        check_cold(fault, word);
    }
}

/// SPIRE #5954 and eks-pod-identity-agent #143: an outage should affect no client before the cached
/// credentials expire. vault #10918: after an outage of a minute the agent made no further attempt.
#[test]
fn outage_does_not_affect_a_valid_session() {
    for (fault, word) in outages() {
        check_live(fault, word);
    }
}

/// oidc-agent #507 and spire #5869: the reason of a long delay is not shown. A machine without a network
/// has no DNS either.
#[test]
fn unresolvable_endpoint_is_named_and_recovered_from() {
    let mut env = TestEnv::without_daemon(&[]);
    env.write_config_with("endpoint = \"https://sts.invalid\"\n", UPLOAD);
    let mut command = env.daemon_command();
    // A proxy would resolve the name.
    for proxy in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
        command.env_remove(proxy);
    }
    env.start_daemon_with(command);
    env.assert_refused("oss-upload", 6, &["sts.invalid", "not reachable"]);
    env.write_config(UPLOAD);
    assert!(env.ctl(&["reload"]).status.success());
    let _ = env.document(&["oss-upload"]);
}

/// vault #25712: a denied request is repeated in a loop. eks-pod-identity-agent #73: a refusal is cached,
/// and no command clears the cache after a fix.
#[test]
fn refusal_is_cached_until_reload_or_refresh() {
    let ways: [(&'static str, &[&str]); 2] = [
        ("NoPermission", &["reload"]),
        ("AccessDenied", &["refresh", "oss-upload"]),
    ];
    for (code, mended) in ways {
        let env = TestEnv::start();
        env.emulator()
            .inject_fault(Action::AssumeRole, Fault::error_with_status(code, 403));
        let refused = || {
            for _ in 0..20 {
                let output = env.shim(&["oss-upload"]);
                let complaint = String::from_utf8_lossy(&output.stderr);
                assert_eq!(output.status.code(), Some(7), "{complaint}");
                assert!(output.stdout.is_empty());
                assert!(complaint.contains(code), "{complaint}");
            }
        };
        refused();
        assert_eq!(
            env.emulator().calls(Action::AssumeRole),
            1,
            "calls for twenty requests"
        );
        assert!(env.ctl(&["reload"]).status.success());
        refused();
        assert_eq!(
            env.emulator().calls(Action::AssumeRole),
            2,
            "calls after a reload"
        );
        env.emulator().clear_faults();
        refused();
        assert!(env.ctl(mended).status.success());
        let _ = env.document(&["oss-upload"]);
        assert_eq!(env.emulator().calls(Action::AssumeRole), 3);
    }
}

/// pizauth discards results for a configuration that is no longer in force; a waiting request needs an
/// answer then, or hangs as in aws-sso-cli #1083.
#[test]
fn reload_that_removes_a_profile_answers_its_waiters() {
    let env = TestEnv::start();
    env.emulator().inject_fault(Action::AssumeRole, Fault::Hang);
    let mut waiting = env.shim_command(&["--patience", "600s", "oss-upload"]);
    let mut waiting = waiting.stderr(Stdio::piped()).spawn().unwrap();
    env.wait_until("the call is made", || profile(&env).sts_calls >= 1);
    env.write_config(&UPLOAD.replace("oss-upload]", "another]"));
    env.daemon().signal(Signal::SIGHUP);
    // Shorter than the patience, and than the timeout of the call: 10 s.
    let status = e2e::wait_for_exit(&mut waiting, Duration::from_secs(8));
    assert_eq!(
        status.expect("the waiting request was not answered").code(),
        Some(4)
    );
    env.emulator().clear_faults();
    let _ = env.document(&["another"]);
    let log = env.daemon_log();
    assert!(log.contains("profile removed"), "{log}");
}
