//! Steps of the wall clock while the daemon runs: by an administrator, by NTP, after an empty battery.
//! Suspends, which move the boot-time clock, are in `suspend.rs`.

use std::{collections::BTreeSet, thread, time::Duration};

use e2e::{ShiftedClocks, TestEnv, UPLOAD, unix_time};
use stsd_client::ProfileStatus;

const HOUR: i64 = 3600;
const YEAR: i64 = 365 * 24 * HOUR;
const STEPS: [i64; 4] = [3 * HOUR, -3 * HOUR, 10 * YEAR, -10 * YEAR];

/// Twice the longest sleep of the daemon: 20 seconds.
const TWO_NAPS: Duration = Duration::from_secs(40);

fn start(emulator: &[&str], profiles: &str) -> (TestEnv, ShiftedClocks) {
    let mut env = TestEnv::without_daemon(emulator);
    env.write_config(profiles);
    let clock = ShiftedClocks::new(&env.path(""));
    let mut command = env.daemon_command();
    clock.preload_into(&mut command);
    env.start_daemon_with(command);
    (env, clock)
}

fn profile(env: &TestEnv) -> ProfileStatus {
    env.client().status().unwrap().profiles[0].clone()
}

/// The session is still valid and served at once. The daemon cannot know that it is valid, so it renews
/// the session once.
#[test]
fn clock_step_costs_a_valid_session_one_renewal() {
    let worlds = STEPS.map(|step| (step, start(&[], UPLOAD)));
    let mut before = Vec::new();
    for (step, (env, clock)) in &worlds {
        before.push(env.document(&["oss-upload"]));
        clock.set_wall_clock(*step);
    }
    for ((step, (env, _)), before) in worlds.iter().zip(&before) {
        for _ in 0..20 {
            let now = env.document(&["--patience", "20s", "oss-upload"]);
            assert!(now == *before || profile(env).renewals == 2, "{step}");
        }
        env.wait_within(TWO_NAPS, "a renewal", || {
            let _ = env.document(&["--patience", "20s", "oss-upload"]);
            profile(env).renewals == 2
        });
        let after = profile(env);
        // No call for the time: the daemon knows that of the service.
        assert_eq!(after.sts_calls, 2, "{step}: {after:?}");
        let remaining = after.remaining_seconds.unwrap();
        assert!((3500..=3600).contains(&remaining), "{step}: {remaining}");
        assert_ne!(env.document(&["oss-upload"]), *before, "{step}");
    }
}

/// Without a session and without a reply of the service, the first call has a wrong time and is
/// corrected. After a later step, no call is refused.
#[test]
fn clock_step_without_a_session_costs_one_correction() {
    for step in STEPS {
        let other = UPLOAD.replace("oss-upload]", "z-other]");
        let (env, clock) = start(&[], &format!("{UPLOAD}{other}"));
        clock.set_wall_clock(step);
        let _ = env.document(&["--patience", "60s", "oss-upload"]);
        assert_eq!(profile(&env).sts_calls, 2, "{step}: one refusal, one call");
        let remaining = profile(&env).remaining_seconds.unwrap();
        assert!((3500..=3600).contains(&remaining), "{step}: {remaining}");
        clock.set_wall_clock(-step);
        let _ = env.document(&["--patience", "60s", "z-other"]);
        assert_eq!(
            env.client().status().unwrap().profiles[1].sts_calls,
            1,
            "{step}"
        );
    }
}

/// Repeated steps, as by a bad NTP server: sessions rotate as before, no request waits, and no served
/// session is expired.
#[test]
fn repeated_clock_steps_neither_stop_nor_multiply_renewals() {
    let (env, clock) = start(&["--session-life", "6s"], UPLOAD);
    let mut sessions = BTreeSet::new();
    let began = unix_time();
    for step in STEPS.iter().cycle().take(40) {
        clock.set_wall_clock(*step);
        let document = env.document(&["--patience", "20s", "oss-upload"]);
        sessions.insert(document["AccessKeyId"].as_str().unwrap().to_owned());
        thread::sleep(Duration::from_millis(200));
    }
    assert!(sessions.len() >= 3, "{sessions:?}");
    // One correction at the start; a renewal for each rotation, which are two seconds apart or more, and
    // for each check of the clocks.
    let calls = profile(&env).sts_calls;
    let seconds = unix_time() - began;
    assert!(calls <= seconds / 2 + 8, "{calls} calls in {seconds} s");
}
