//! Rotation of sessions while clients use them.

use std::{collections::BTreeSet, thread, time::Duration};

use e2e::{Action, TestEnv, UPLOAD, unix_time};
use stsd_client::Credentials;

const PATIENCE: Duration = Duration::from_secs(60);

fn get(env: &TestEnv) -> Credentials {
    let answer = env
        .client()
        .credentials("oss-upload", Duration::ZERO, PATIENCE);
    answer.unwrap().credentials
}

#[test]
fn polling_client_never_receives_an_expired_session() {
    let env = TestEnv::with(&["--session-life", "6s"], UPLOAD);
    let mut keys = BTreeSet::new();
    let mut asked: u64 = 0;
    let began = unix_time();
    while keys.len() < 4 {
        let before = unix_time();
        let credentials = get(&env);
        assert!(
            credentials.expiration_unix_seconds.cast_unsigned() > before,
            "expired"
        );
        keys.insert(credentials.access_key_id);
        asked += 1;
        assert!(unix_time() - began < 120, "no rotation after {asked} asks");
        thread::sleep(Duration::from_millis(5));
    }
    // Renewals are due at 45 % of 5 to 6 seconds or later; only renewals cost calls.
    let calls = env.emulator().calls(Action::AssumeRole);
    let most = (unix_time() - began).div_ceil(2) + 1;
    assert!(
        calls <= most,
        "{asked} asks cost {calls} calls, renewals were at most {most}"
    );
}

#[test]
fn thousand_requests_over_a_session_cost_only_renewals() {
    let env = TestEnv::with(&["--session-life", "10s"], UPLOAD);
    let began = unix_time();
    for _ in 0..1000 {
        let _ = get(&env);
        thread::sleep(Duration::from_millis(10));
    }
    let profile = || env.client().status().unwrap().profiles.remove(0);
    let seconds = unix_time() - began;
    let renewals = profile().renewals;
    // 10 s of requests or more, and a renewal every 4.0 to 5.5 s.
    assert!(renewals >= 2, "{renewals}");
    assert!(renewals <= seconds / 4 + 2, "{renewals} in {seconds} s");
    // One call may be under way.
    env.wait_until("every call was a renewal", || {
        env.emulator().calls(Action::AssumeRole) == profile().renewals
    });
}

#[test]
fn replaced_session_stays_valid_until_its_expiration() {
    let env = TestEnv::with(&["--session-life", "12s"], UPLOAD);
    let old = env.shim(&["oss-upload"]).stdout;
    env.write("old.secret", std::str::from_utf8(&old).unwrap(), 0o600);
    let process = format!("cat {}", env.path("old.secret").display());
    let first = get(&env).access_key_id;
    env.wait_until("a rotation", || get(&env).access_key_id != first);
    let put = env.oss_with_process(&process, &["put", "examplebucket", "old"], "x");
    assert!(put.is_ok(), "the old session failed: {put:?}");
    let ends = || {
        env.oss_with_process(&process, &["get", "examplebucket", "old"], "")
            .err()
    };
    env.wait_until("the old session's end", || {
        ends().is_some_and(|error| error.contains("SecurityTokenExpired"))
    });
    assert_eq!(
        env.oss_with_profile("oss-upload", &["get", "examplebucket", "old"], ""),
        Ok("x".into())
    );
}

#[test]
fn watch_reports_each_rotation() {
    let env = TestEnv::with(&["--session-life", "5s"], UPLOAD);
    let mut watch = env.client().watch("oss-upload").unwrap();
    let mut keys = BTreeSet::new();
    for _ in 0..3 {
        keys.insert(watch.next().unwrap().unwrap().credentials.access_key_id);
    }
    assert_eq!(keys.len(), 3);
}

#[test]
fn watch_follows_a_reload_and_ends_with_its_profile() {
    let env = TestEnv::start();
    let mut watch = env.client().watch("oss-upload").unwrap();
    let before = watch.next().unwrap().unwrap().credentials;
    env.write_config(&format!("{UPLOAD}duration = \"30m\"\n"));
    assert!(env.ctl(&["reload"]).status.success());
    let after = watch.next().unwrap().unwrap().credentials;
    assert!(after.expiration_unix_seconds < before.expiration_unix_seconds);
    env.write_config(&UPLOAD.replace("oss-upload]", "another]"));
    assert!(env.ctl(&["reload"]).status.success());
    let told = watch.next().unwrap().unwrap_err();
    assert_eq!(told.exit_code(), 4, "{told}");
    assert!(watch.next().is_none());
}
