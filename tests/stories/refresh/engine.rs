//! The refresh engine: the rate limit, the counters, idle profiles, and reloads.

use std::{fmt::Write as _, thread, time::Duration};

use e2e::{Action, Fault, TestEnv, UPLOAD, unix_time};
use serde_json::Value;

fn status(env: &TestEnv) -> Value {
    let output = env.ctl(&["status", "--json"]);
    serde_json::from_slice(&output.stdout).unwrap()
}

fn log_has(env: &TestEnv, level: &str, words: &str) -> usize {
    let log = env.daemon_log();
    let said = |line: &&str| line.contains(level) && line.contains(words);
    log.lines().filter(said).count()
}

/// Returns the configuration of `count` profiles of one role.
fn profiles_of_one_role(count: usize, more: &str) -> String {
    (0..count).fold(String::new(), |mut text, number| {
        let profile = UPLOAD.replace("oss-upload]", &format!("p{number:04}]"));
        let _ = write!(text, "{profile}{more}");
        text
    })
}

#[test]
fn rate_limit_holds_for_60_profiles_and_favours_a_caller() {
    let mut env = TestEnv::without_daemon(&[]);
    // The key of the rate limit comes before the tables.
    let warm = profiles_of_one_role(60, "keep_warm = true\n");
    let top = format!("{}sts_calls_per_second = 4\n", env.endpoint());
    env.write_config_with(&top, &format!("{UPLOAD}{warm}"));
    env.start_daemon();
    let _ = env.document(&["--patience", "60s", "oss-upload"]);
    let began = unix_time();
    let calls = env.emulator().calls(Action::AssumeRole);
    assert!(calls < 61, "the caller was served after {calls} calls");
    let held_back = &status(&env)["held_back_calls"];
    assert!(held_back.as_u64().unwrap() > 20, "{held_back}");
    env.wait_within(
        Duration::from_secs(60),
        "every profile has a session",
        || env.emulator().calls(Action::AssumeRole) == 61,
    );
    // The rate limit may grant one second of calls at once.
    let least = (61 - calls - 4) / 4;
    let seconds = unix_time() - began + 1;
    assert!(seconds >= least, "{calls} and the others in {seconds} s");
    // The last call has waited for all the others.
    let waited = e2e::metric(&env, "stsd_sts_calls_held_back_seconds_total");
    assert!(waited >= least as f64, "{waited}");
}

#[test]
fn status_lists_a_thousand_profiles() {
    let env = TestEnv::with(&[], &profiles_of_one_role(1000, ""));
    let _ = env.document(&["p0999"]);
    let status = status(&env);
    let profiles = status["profiles"].as_array().unwrap();
    assert_eq!(profiles.len(), 1000);
    assert_eq!(profiles[0]["name"], "p0000");
    assert_eq!(profiles[999]["hand_outs"], 1);
}

#[test]
fn status_and_metrics_show_the_counters() {
    let env = TestEnv::start();
    let fault = Fault::error("SignatureNonceUsed");
    env.emulator().inject_fault_once(Action::AssumeRole, fault);
    for _ in 0..5 {
        let _ = env.document(&["oss-upload"]);
    }
    // The throttling delays the next attempt, which would be counted as well.
    env.emulator().inject_fault(
        Action::AssumeRole,
        Fault::Throttle(Some(Duration::from_millis(60_000))),
    );
    assert_eq!(env.ctl(&["refresh", "oss-upload"]).status.code(), Some(6));
    let profile = &status(&env)["profiles"][0];
    assert_eq!(profile["hand_outs"], 5);
    assert_eq!(profile["calls_saved"], 4);
    assert_eq!(profile["renewals"], 1);
    assert_eq!(profile["sts_failures"]["nonce_used"], 1);
    assert_eq!(profile["sts_failures"]["throttled"], 1, "{profile}");
    assert_eq!(profile["sts_calls"], 3, "{profile}");

    let text = String::from_utf8(env.ctl(&["metrics"]).stdout).unwrap();
    for line in [
        "# TYPE stsd_sts_calls_total counter",
        "stsd_sts_calls_saved_total{profile=\"oss-upload\"} 4",
        "stsd_hand_outs_total{profile=\"oss-upload\"} 5",
        "stsd_sts_failures_total{profile=\"oss-upload\",kind=\"nonce_used\"} 1",
        "stsd_renewal_seconds_count{profile=\"oss-upload\"} 1",
        "stsd_failing{profile=\"oss-upload\"} 1",
    ] {
        assert!(
            text.lines().any(|it| it == line),
            "{line} is not in\n{text}"
        );
    }
}

#[test]
fn session_too_short_for_sdks_is_logged_once() {
    let env = TestEnv::with(&[], &format!("{UPLOAD}duration = \"15m\"\n"));
    for _ in 0..3 {
        assert!(env.ctl(&["refresh", "oss-upload"]).status.success());
    }
    let advice = status(&env)["profiles"][0]["advice"].clone();
    assert!(
        advice.as_str().unwrap().contains("set duration to 50m"),
        "{advice}"
    );
    assert_eq!(log_has(&env, "WARN", "set duration to 50m"), 1);
}

#[test]
fn duration_above_the_role_maximum_is_refused_and_logged_once() {
    let env = TestEnv::with(&[], &format!("{UPLOAD}duration = \"2h\"\n"));
    let output = env.shim(&["oss-upload"]);
    assert_eq!(output.status.code(), Some(7));
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert!(complaint.contains("lower duration"), "{complaint}");
    for _ in 0..3 {
        assert_eq!(env.ctl(&["refresh", "oss-upload"]).status.code(), Some(7));
    }
    let failure = &status(&env)["profiles"][0]["last_failure"];
    assert_eq!(failure["in_a_row"], 4);
    assert!(failure["hint"].as_str().unwrap().contains("lower duration"));
    assert_eq!(log_has(&env, "WARN", "InvalidParameter.DurationSeconds"), 1);
    assert_eq!(log_has(&env, "WARN", "lower duration"), 1);
}

#[test]
fn idle_profile_resumes_renewals_on_request() {
    let env = TestEnv::with(&["--session-life", "4s"], UPLOAD);
    let _ = env.document(&["oss-upload"]);
    let asleep = || status(&env)["profiles"][0]["next_attempt_reason"] == "when a caller asks";
    env.wait_until("it sleeps", asleep);
    let calls = env.emulator().calls(Action::AssumeRole);
    // The last session is still valid: it is served, and a renewal follows.
    let _ = env.document(&["oss-upload"]);
    env.wait_until("a renewal", || {
        env.emulator().calls(Action::AssumeRole) > calls
    });
    assert!(!asleep(), "the profile is idle");
}

#[test]
fn idle_profile_makes_no_sts_calls() {
    let env = TestEnv::with(&["--session-life", "4s"], UPLOAD);
    let _ = env.document(&["oss-upload"]);
    let asleep = || status(&env)["profiles"][0]["next_attempt_reason"] == "when a caller asks";
    env.wait_until("it sleeps", asleep);
    let calls = env.emulator().calls(Action::AssumeRole);
    // Longer than a session, of which a renewal would be due at half.
    thread::sleep(Duration::from_secs(5));
    assert_eq!(env.emulator().calls(Action::AssumeRole), calls);
}

#[test]
fn expired_key_is_refused_with_a_fix_and_not_retried() {
    let env = TestEnv::start();
    let ended = Fault::error("InvalidSecurityToken.Expired");
    env.emulator().inject_fault(Action::AssumeRole, ended);
    let output = env.shim(&["oss-upload"]);
    assert_eq!(output.status.code(), Some(7));
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert!(complaint.contains("renew what the key file"), "{complaint}");
    assert_eq!(
        env.emulator().calls(Action::AssumeRole),
        1,
        "the same key is not tried again"
    );
}

#[test]
fn reload_with_longer_duration_keeps_the_session() {
    let env = TestEnv::with(&[], &format!("{UPLOAD}duration = \"30m\"\n"));
    let before = env.document(&["oss-upload"]);
    env.emulator()
        .inject_fault(Action::AssumeRole, Fault::Reset);
    env.write_config(UPLOAD);
    assert!(env.ctl(&["reload"]).status.success());
    assert_eq!(env.document(&["oss-upload"]), before);
    env.emulator().clear_faults();
    env.wait_until("a session of the new duration", || {
        env.document(&["oss-upload"]) != before
    });
}

#[test]
fn reload_with_narrower_rights_discards_the_session() {
    let env = TestEnv::start();
    let _ = env.document(&["oss-upload"]);
    env.emulator()
        .inject_fault(Action::AssumeRole, Fault::Reset);
    env.write_config(&format!("{UPLOAD}source_identity = \"other\"\n"));
    assert!(env.ctl(&["reload"]).status.success());
    env.assert_refused("oss-upload", 6, &[]);
}

#[test]
fn throttling_hint_delays_every_profile() {
    let other = UPLOAD.replace("oss-upload]", "other]");
    let env = TestEnv::with(&[], &format!("{UPLOAD}{other}"));
    let throttle = Fault::Throttle(Some(Duration::from_millis(60_000)));
    env.emulator()
        .inject_fault_once(Action::AssumeRole, throttle);
    env.assert_refused("oss-upload", 6, &["Throttling"]);
    env.assert_refused("other", 6, &["delayed by the rate limit"]);
    assert_eq!(env.emulator().calls(Action::AssumeRole), 1);
}
