//! `on_failure`: a command that runs once when renewals begin to fail.

use std::fs;

use e2e::{Action, Fault, MARKERS, TestEnv, UPLOAD};

/// Writes the command, which appends its variables to `run/told`; returns the profile.
fn profile(env: &TestEnv, then: &str) -> String {
    let script = format!(
        "#!/bin/sh\ncd '{}'\ncat /proc/$$/environ > environ\n\
         echo \"$STSD_PROFILE $STSD_ERROR_CODE $STSD_REMAINING_SECONDS $#\" >> told\n{then}\n",
        env.path("run").display()
    );
    env.write("told.sh", &script, 0o700);
    format!(
        "{UPLOAD}on_failure = [\"{}\", \"an argument\"]\nwritable = [\"run\"]\n",
        env.path("told.sh").display()
    )
}

fn start(then: &str) -> TestEnv {
    let mut env = TestEnv::without_daemon(&[]);
    env.write_config(&profile(&env, then));
    env.start_daemon();
    env
}

/// Returns the words of each run.
fn told(env: &TestEnv) -> Vec<Vec<String>> {
    let told = fs::read_to_string(env.path("run/told")).unwrap_or_default();
    let words = |line: &str| line.split(' ').map(str::to_owned).collect();
    told.lines().map(words).collect()
}

fn renew(env: &TestEnv) -> Option<i32> {
    env.ctl(&["refresh", "oss-upload"]).status.code()
}

#[test]
fn on_failure_runs_once_for_each_outage() {
    let env = start("exit 0");
    let _ = env.document(&["oss-upload"]);
    let fail = |code| {
        let fault = Fault::error(code);
        env.emulator().inject_fault(Action::AssumeRole, fault);
    };
    fail("NoPermission");
    assert_eq!(renew(&env), Some(7));
    env.wait_until("the first run", || told(&env).len() == 1);
    // A repeated failure of the same outage.
    assert_eq!(renew(&env), Some(7));
    env.emulator().clear_faults();
    assert_eq!(renew(&env), Some(0));
    fail("ServiceUnavailable");
    assert_eq!(renew(&env), Some(6));
    env.wait_until("the second run", || {
        // The first failure alone may have been a lost packet.
        let _ = renew(&env);
        told(&env).len() == 2
    });
    let told = told(&env);
    for run in &told {
        assert_eq!((&*run[0], &*run[3]), ("oss-upload", "1"), "{told:?}");
        let remaining: u64 = run[2].parse().unwrap();
        assert!((3000..=3600).contains(&remaining), "{told:?}");
    }
    assert_eq!(told[0][1], "sts-no-permission", "{told:?}");
    assert_ne!(told[1][1], told[0][1], "{told:?}");
    let environ = fs::read_to_string(env.path("run/environ")).unwrap();
    assert!(!MARKERS.iter().any(|it| environ.contains(it)), "{environ}");
    assert!(!env.daemon_log().contains("on_failure: "));
}

#[test]
fn hung_on_failure_delays_no_renewal() {
    let env = start("sleep 600");
    let before = env.document(&["oss-upload"]);
    let fault = Fault::error("NoPermission");
    env.emulator().inject_fault(Action::AssumeRole, fault);
    assert_eq!(renew(&env), Some(7));
    env.wait_until("it hangs", || told(&env).len() == 1);
    env.emulator().clear_faults();
    assert_eq!(renew(&env), Some(0));
    assert_ne!(env.document(&["oss-upload"]), before);
}

#[test]
fn on_failure_alone_keeps_no_idle_profile_warm() {
    let env = start("exit 0");
    let status = env.client().status().unwrap();
    assert_eq!(status.profiles[0].next_attempt_seconds, None);
    assert_eq!(env.emulator().calls(Action::AssumeRole), 0);
}
