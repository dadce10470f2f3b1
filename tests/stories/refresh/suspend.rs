//! Suspends of the machine, with shifted clocks: a suspend stops timers, but not the sessions.
//!
//! Similar projects with bugs after a suspend: aws-vault #222, rossoctl #1899, Leapp #285, win-gpg-agent #14.
//! Only the daemon's boot-time clock moves, so the emulated STS still accepts sessions that the daemon
//! has to treat as expired.

use std::{
    panic::{self, AssertUnwindSafe},
    process::{Child, Stdio},
    sync::{
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use e2e::{Action, Fault, ShiftedClocks, TestEnv, UPLOAD};
use serde_json::{Value, json};
use stsd_client::{Credentials, ProfileStatus};

/// Twice the longest sleep of the daemon: 20 seconds.
const TWO_NAPS: Duration = Duration::from_secs(40);

/// An environment whose daemon can be suspended.
struct Laptop {
    env: TestEnv,
    clocks: ShiftedClocks,
}

impl Laptop {
    fn start(profile: &str) -> Self {
        let mut env = TestEnv::without_daemon(&[]);
        env.write_config(profile);
        let clocks = ShiftedClocks::new(&env.path(""));
        let mut command = env.daemon_command();
        clocks.preload_into(&mut command);
        env.start_daemon_with(command);
        Self { env, clocks }
    }

    fn suspend(&self, length: Duration) {
        let before = uptime(&self.env);
        self.clocks.suspend(length);
        let moved = uptime(&self.env) - before;
        let length = length.as_secs();
        assert!((length..length + 60).contains(&moved), "{length}: {moved}");
    }
}

const fn minutes(count: u64) -> Duration {
    Duration::from_secs(count * 60)
}

fn uptime(env: &TestEnv) -> u64 {
    env.client().status().unwrap().uptime_seconds
}

fn profile(env: &TestEnv) -> ProfileStatus {
    env.client().status().unwrap().profiles[0].clone()
}

fn key(env: &TestEnv) -> String {
    let document = env.document(&["oss-upload"]);
    document["AccessKeyId"].as_str().unwrap().to_owned()
}

#[test]
fn first_request_after_a_suspend_gets_a_valid_session() {
    // Just past the expiration; long enough for an idle profile; days.
    let nights = [minutes(61), minutes(8 * 60), minutes(5 * 24 * 60)];
    let laptop = Laptop::start(UPLOAD);
    let mut seen = vec![key(&laptop.env)];
    for night in nights {
        laptop.suspend(night);
        let next = key(&laptop.env);
        assert!(!seen.contains(&next), "an expired session was served");
        seen.push(next);
    }
}

#[test]
fn session_expired_in_suspend_is_not_served_during_an_outage() {
    let laptop = Laptop::start(UPLOAD);
    let before = key(&laptop.env);
    laptop
        .env
        .emulator()
        .inject_fault(Action::AssumeRole, Fault::error("ServiceUnavailable"));
    laptop.suspend(minutes(90));
    let env = &laptop.env;
    for _ in 0..5 {
        env.assert_refused("oss-upload", 6, &["ServiceUnavailable"]);
    }
    assert_eq!(profile(env).remaining_seconds, None);
    env.emulator().clear_faults();
    let after = env.document(&["--patience", "60s", "oss-upload"]);
    assert_ne!(after["AccessKeyId"], json!(before));
}

#[test]
fn session_valid_after_suspend_is_served_and_renewed() {
    // A renewal is due between 27 and 33 minutes of 60.
    let laptop = Laptop::start(UPLOAD);
    let before = key(&laptop.env);
    // The delay shows that the first request does not wait for the renewal.
    laptop.env.emulator().inject_fault(
        Action::AssumeRole,
        Fault::Delay(Duration::from_millis(9000)),
    );
    laptop.suspend(minutes(40));
    let env = &laptop.env;
    assert_eq!(key(env), before);
    env.emulator().clear_faults();
    env.wait_within(TWO_NAPS, "a renewal without a request", || {
        profile(env).access_key_id.as_deref() != Some(&before)
    });
    // Renewals and not calls: the emulator's clock has not moved, so it refuses the daemon's time once.
    assert_eq!(profile(env).renewals, 2);
}

#[test]
fn back_off_ends_during_a_longer_suspend() {
    let warm = format!("{UPLOAD}keep_warm = true\n");
    let laptop = Laptop::start(&warm);
    let _ = key(&laptop.env);
    laptop.env.emulator().inject_fault(
        Action::AssumeRole,
        Fault::Throttle(Some(Duration::from_millis(300_000))),
    );
    assert_eq!(
        laptop.env.ctl(&["refresh", "oss-upload"]).status.code(),
        Some(6)
    );
    laptop.env.emulator().clear_faults();
    let before = profile(&laptop.env).sts_calls;
    laptop.suspend(minutes(10));
    let env = &laptop.env;
    env.wait_within(TWO_NAPS, "an attempt after the pause", || {
        profile(env).sts_calls > before
    });
    env.wait_until("its success", || profile(env).last_failure.is_none());
}

#[test]
fn request_after_suspend_ignores_the_old_back_off() {
    let laptop = Laptop::start(UPLOAD);
    laptop.env.emulator().inject_fault(
        Action::AssumeRole,
        Fault::Throttle(Some(Duration::from_millis(300_000))),
    );
    laptop.env.assert_refused("oss-upload", 6, &["Throttling"]);
    laptop.env.emulator().clear_faults();
    laptop.suspend(minutes(10));
    let _ = key(&laptop.env);
    assert_eq!(laptop.env.emulator().calls(Action::AssumeRole), 2);
}

/// Longer than the session, and long enough for the profile to become idle.
const AWAY: [Duration; 2] = [minutes(90), minutes(3 * 60)];

/// Starts a program that waits for the first call, and suspends the machine for `away`.
fn wait_through(away: Duration, fault: Fault) -> (Laptop, Child) {
    let laptop = Laptop::start(UPLOAD);
    let env = &laptop.env;
    env.emulator().inject_fault_once(Action::AssumeRole, fault);
    let mut waiting = env.shim_command(&["--patience", "120s", "oss-upload"]);
    let waiting = waiting.stdout(Stdio::piped()).spawn().unwrap();
    env.wait_until("the call is there", || env.emulator().pending_faults() == 0);
    laptop.suspend(away);
    env.emulator().clear_faults();
    (laptop, waiting)
}

/// Asserts that the waiting program gets the session of the second call.
fn check(env: &TestEnv, waiting: Child) {
    let output = waiting.wait_with_output().unwrap();
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    env.wait_until("another call", || {
        env.emulator().calls(Action::AssumeRole) == 2
    });
    env.wait_until("its session", || {
        profile(env).remaining_seconds > Some(3500)
    });
    assert_eq!(json!(profile(env).access_key_id), document["AccessKeyId"]);
}

#[test]
fn sts_call_that_hung_through_a_suspend_is_repeated() {
    for away in AWAY {
        let (laptop, waiting) = wait_through(away, Fault::Hang);
        check(&laptop.env, waiting);
    }
}

#[test]
fn reply_delayed_through_a_suspend_is_not_trusted() {
    for away in AWAY {
        // The session may have been issued before the suspend or after it.
        let slow = Fault::Delay(Duration::from_millis(9000));
        let (laptop, waiting) = wait_through(away, slow);
        check(&laptop.env, waiting);
    }
}

#[test]
fn watch_reports_a_valid_session_after_a_suspend() {
    let nights = [minutes(90), minutes(8 * 60)];
    let laptop = Laptop::start(UPLOAD);
    let mut watch = laptop.env.client().watch("oss-upload").unwrap();
    let (told, news) = mpsc::channel();
    thread::spawn(move || {
        while let Some(Ok(answer)) = watch.next() {
            if told.send(answer.credentials.access_key_id).is_err() {
                return;
            }
        }
    });
    let mut before = news.recv_timeout(TWO_NAPS).unwrap();
    for night in nights {
        laptop.suspend(night);
        match news.recv_timeout(TWO_NAPS) {
            Ok(after) => assert_ne!(after, before),
            Err(error) => panic!("after {night:?} no news: {error}"),
        }
        before = key(&laptop.env);
    }
}

/// A session as a polling client has seen it.
struct Seen {
    key: String,
    /// The daemon's uptime after the answer that first held it.
    first: u64,
}

#[test]
fn polling_client_sees_no_expired_session_after_suspends() {
    let suspends = [
        minutes(5),
        minutes(50),
        minutes(59),
        minutes(70),
        minutes(26 * 60),
        minutes(1),
        minutes(3 * 24 * 60),
        minutes(61),
        minutes(58),
    ];
    let laptop = Laptop::start(UPLOAD);
    let client = laptop.env.client();
    let (over, rounds) = (AtomicBool::new(false), AtomicU64::new(0));
    let asks = || {
        let mut seen: Vec<Seen> = Vec::new();
        while !over.load(Ordering::Relaxed) {
            let asked = client.status().unwrap().uptime_seconds;
            let answer = client.credentials("oss-upload", Duration::ZERO, Duration::from_secs(60));
            let Credentials { access_key_id, .. } = answer.unwrap().credentials;
            let answered = client.status().unwrap().uptime_seconds;
            match seen.iter().find(|it| it.key == access_key_id) {
                // The session is older than its first answer, and lasts an hour.
                Some(session) => {
                    let age = asked.saturating_sub(session.first);
                    assert!(age <= 3600, "a session of {age} s or more was served");
                }
                None => seen.push(Seen {
                    key: access_key_id,
                    first: answered,
                }),
            }
            rounds.fetch_add(1, Ordering::Relaxed);
            thread::sleep(Duration::from_millis(5));
        }
        seen.len()
    };
    // The round under way and two complete ones.
    let asked_again = || {
        let before = rounds.load(Ordering::Relaxed);
        laptop.env.wait_until("it has asked again", || {
            rounds.load(Ordering::Relaxed) >= before + 3 || over.load(Ordering::Relaxed)
        });
    };
    let sessions = thread::scope(|scope| {
        let asking = scope.spawn(|| {
            // Any end of the thread ends the wait.
            let sessions = panic::catch_unwind(AssertUnwindSafe(asks));
            over.store(true, Ordering::Relaxed);
            sessions.unwrap_or_else(|panic| panic::resume_unwind(panic))
        });
        for length in suspends {
            asked_again();
            laptop.suspend(length);
        }
        asked_again();
        over.store(true, Ordering::Relaxed);
        asking.join().unwrap()
    });
    // Four suspends are longer than any session.
    assert!(sessions >= 5, "only {sessions} sessions");
}
