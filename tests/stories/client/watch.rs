//! Watches of the client library: the current session is valid at any time, also through restarts of
//! the daemon.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::Duration,
};

use e2e::{
    Action, Fault, Process, ShiftedClocks, TestEnv, UPLOAD, block_on, program, unix_time,
    wait_in_task,
};
use jiff::Timestamp;
use nix::sys::signal::Signal;
use stsd_client::{Current, Error, Watched};
use tokio::time::{sleep, timeout};

const PATIENCE: Duration = Duration::from_secs(60);

fn key(current: &Current) -> String {
    current.access_key_id.clone()
}

async fn ready(watched: &Watched) -> String {
    let ready = timeout(PATIENCE, watched.ready()).await;
    key(&ready.expect("in time").expect("credentials"))
}

async fn changed(watched: &mut Watched) -> String {
    let changed = timeout(PATIENCE, watched.changed()).await;
    key(&changed.expect("in time").expect("the watch goes on"))
}

#[test]
fn watch_reads_each_rotation_and_is_never_empty() {
    let env = TestEnv::with(&["--session-life", "6s"], UPLOAD);
    block_on(async {
        let mut watched = env.async_client().watch("oss-upload");
        assert!(watched.current().is_none());
        let mut keys = vec![changed(&mut watched).await];
        let reader = watched.clone();
        while keys.len() < 4 {
            tokio::select! {
                key = changed(&mut watched) => keys.push(key),
                () = sleep(Duration::from_millis(5)) => {}
            }
            let before = unix_time();
            let current = reader.current().expect("no session");
            let ends = current.expiration_unix_seconds.cast_unsigned();
            assert!(ends > before, "an expired session was read");
            assert!(current.remaining() <= Duration::from_secs(6));
        }
        keys.dedup();
        assert_eq!(keys.len(), 4, "rotations");
        assert!(watched.failure().is_none());
        e2e::assert_no_secrets("a watch's Debug", format!("{watched:?}").as_bytes());
    });
    // At most one served session for each renewal.
    let profile = env.client().status().unwrap().profiles.remove(0);
    assert!(profile.hand_outs <= profile.renewals, "{profile:?}");
}

#[test]
fn watch_reconnects_after_a_killed_daemon() {
    let mut env = TestEnv::start();
    block_on(async {
        let mut watched = env.async_client().watch("oss-upload");
        let mut first = changed(&mut watched).await;
        for _ in 0..2 {
            env.daemon().signal(Signal::SIGKILL);
            assert_eq!(env.wait_for_daemon_exit(), None);
            wait_in_task("the reason", || {
                let failure = watched.failure();
                assert!(watched.current().is_some());
                matches!(failure.as_deref(), Some(Error::NotReachable { .. }))
            })
            .await;
            env.start_daemon();
            // A new daemon has no session of the killed one.
            let second = changed(&mut watched).await;
            assert_ne!(second, first);
            first = second;
            assert!(watched.failure().is_none());
        }
    });
}

#[test]
fn watch_follows_an_upgrade_with_the_same_session() {
    let env = TestEnv::start();
    block_on(async {
        let mut watched = env.async_client().watch("oss-upload");
        let first = changed(&mut watched).await;
        let log = || env.daemon_log();
        env.daemon().signal(Signal::SIGUSR2);
        wait_in_task("the new program", || {
            assert!(watched.current().is_some());
            log().matches("is ready config=").count() == 2
        })
        .await;
        // The watch has reconnected to the new program, which starts its counters at zero.
        let handed_out = || env.client().status().map(|it| it.profiles[0].hand_outs);
        wait_in_task("served credentials", || handed_out().is_ok_and(|it| it > 0)).await;
        let again = timeout(Duration::from_millis(500), watched.changed()).await;
        assert!(again.is_err(), "a change without a new session");
        assert_eq!(key(&watched.current().unwrap()), first);
        wait_in_task("all is well", || watched.failure().is_none()).await;
    });
    assert_eq!(env.emulator().calls(Action::AssumeRole), 1);
}

#[test]
fn watch_ends_at_the_expiration_without_a_daemon() {
    let mut env = TestEnv::with(&["--session-life", "8s"], UPLOAD);
    block_on(async {
        let watched = env.async_client().watch("oss-upload");
        ready(&watched).await;
        env.daemon().signal(Signal::SIGKILL);
        let _ = env.wait_for_daemon_exit();
        let ends = watched.current().unwrap().expiration_unix_seconds;
        loop {
            let before = unix_time();
            if watched.current().is_none() {
                break;
            }
            assert!(ends.cast_unsigned() > before, "read after the expiration");
            sleep(Duration::from_millis(5)).await;
        }
        // The rounding to seconds and the time of a call are lost.
        assert!(ends.cast_unsigned() <= unix_time() + 3, "ended early");
        let waiting = timeout(Duration::from_millis(100), watched.ready()).await;
        assert!(waiting.is_err(), "the daemon may come back");
        assert_eq!(watched.failure().unwrap().exit_code(), 3);
        env.start_daemon();
        ready(&watched).await;
    });
}

#[test]
fn unknown_profile_is_an_error_until_a_reload_adds_it() {
    let env = TestEnv::start();
    block_on(async {
        let watched = env.async_client().watch("later");
        let error = timeout(PATIENCE, watched.ready()).await.unwrap();
        let error = error.unwrap_err();
        assert_eq!(error.exit_code(), 4, "{error}");
        assert!(error.to_string().contains("later"), "{error}");
        env.write_config(&UPLOAD.replace("oss-upload]", "later]"));
        assert!(env.ctl(&["reload"]).status.success());
        wait_in_task("credentials", || watched.current().is_some()).await;
        assert!(watched.failure().is_none());
    });
}

#[test]
fn watch_reports_the_sts_error_before_the_first_session() {
    let mut env = TestEnv::without_daemon(&[]);
    env.write_config(UPLOAD);
    env.emulator()
        .inject_fault(Action::AssumeRole, Fault::error("ServiceUnavailable"));
    env.start_daemon();
    block_on(async {
        let watched = env.async_client().watch("oss-upload");
        wait_in_task("a reason", || watched.failure().is_some()).await;
        let waiting = timeout(Duration::from_millis(100), watched.ready()).await;
        assert!(waiting.is_err(), "STS may come back");
        assert_eq!(watched.failure().unwrap().exit_code(), 6);
        env.emulator().clear_faults();
        ready(&watched).await;
        assert!(watched.failure().is_none());
    });
    let env = TestEnv::start();
    env.emulator()
        .inject_fault(Action::AssumeRole, Fault::error("NoPermission"));
    block_on(async {
        let watched = env.async_client().watch("oss-upload");
        let told = timeout(PATIENCE, watched.ready()).await.unwrap();
        assert_eq!(told.unwrap_err().exit_code(), 7);
    });
}

#[test]
fn last_watch_handle_closes_the_connection() {
    let env = TestEnv::start();
    block_on(async {
        let watched: Vec<_> = (0..50)
            .map(|_| env.async_client().watch("oss-upload"))
            .collect();
        for it in &watched {
            ready(it).await;
        }
        assert!(env.daemon().connections() >= 50, "each has its own");
        let last = watched[0].clone();
        drop(watched);
        wait_in_task("one is left", || env.daemon().connections() == 1).await;
        assert!(last.current().is_some());
        drop(last);
        wait_in_task("none is left", || env.daemon().connections() == 0).await;
        // The same holds for a watch that cannot connect.
        let nowhere = stsd_client::AsyncClient::at(env.path("nowhere")).watch("x");
        wait_in_task("the reason", || nowhere.failure().is_some()).await;
        let metrics = tokio::runtime::Handle::current().metrics();
        assert_eq!(metrics.num_alive_tasks(), 1);
        drop(nowhere);
        wait_in_task("no task is left", || metrics.num_alive_tasks() == 0).await;
    });
}

/// Starts the example that prints the watched sessions; returns its lines as they come.
fn example(env: &TestEnv, clock: &ShiftedClocks) -> (Process, Receiver<String>) {
    let mut command = Command::new(program("client-watch"));
    command.arg("oss-upload").env("STSD_SOCKET", env.socket());
    clock.preload_into(&mut command);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut example = Process::start(command, &env.path("example.log"));
    let (_, stdout) = example.take_stdio();
    let (sender, lines) = channel();
    thread::spawn(move || {
        BufReader::new(stdout)
            .lines()
            .map_while(Result::ok)
            .try_for_each(|line| sender.send(line))
    });
    (example, lines)
}

/// Returns the seconds of a line of the form `KEY for SECONDS s`.
fn life(lines: &Receiver<String>) -> u64 {
    let line = lines.recv_timeout(PATIENCE).unwrap();
    let seconds = line
        .split(" for ")
        .nth(1)
        .and_then(|it| it.split(' ').next());
    let seconds = seconds.unwrap_or_else(|| panic!("{line}"));
    seconds.parse().unwrap()
}

#[test]
fn wrong_wall_clock_does_not_change_the_remaining_lifetime() {
    let mut env = TestEnv::without_daemon(&["--session-life", "20s"]);
    env.write_config(UPLOAD);
    let clocks = [0, 3 * 3600, -3 * 3600, -315_360_000].map(|wrong_by| {
        let directory = env.path(&format!("clock{wrong_by}"));
        fs::create_dir(&directory).unwrap();
        let clock = ShiftedClocks::new(&directory);
        clock.set_wall_clock(wrong_by);
        clock
    });
    env.start_daemon();
    let document = env.document(&["oss-upload"]);
    // No other session follows.
    env.emulator()
        .inject_fault(Action::AssumeRole, Fault::error("ServiceUnavailable"));
    let ends: Timestamp = document["Expiration"].as_str().unwrap().parse().unwrap();
    let left = || ends.as_second().cast_unsigned().saturating_sub(unix_time());
    env.wait_until("a quarter of its life has passed", || left() <= 15);
    let before = left();
    let examples = clocks.each_ref().map(|clock| example(&env, clock));
    for (_, lines) in &examples {
        is_left(life(lines), left(), before);
    }
    env.daemon().signal(Signal::SIGKILL);
    let _ = env.wait_for_daemon_exit();
    for (_, lines) in &examples {
        let line = lines.recv_timeout(PATIENCE).unwrap();
        assert!(line.starts_with("nothing: no daemon"), "{line}");
    }
}

/// Asserts the lifetime that a program has printed between two moments with known remaining lifetimes.
/// Rounding and the margins of daemon and client may reduce it by up to 4 s.
#[track_caller]
fn is_left(life: u64, after: u64, before: u64) {
    let possible = after.saturating_sub(4)..=before;
    assert!(possible.contains(&life), "{life} is not in {possible:?}");
}

/// A stopped program reads a rotation late.
#[test]
fn late_read_does_not_extend_the_remaining_lifetime() {
    let env = TestEnv::with(&["--session-life", "20s"], UPLOAD);
    // By this clock the session would have its full lifetime.
    let clock = ShiftedClocks::new(&env.path(""));
    clock.set_wall_clock(-315_360_000);
    let (example, lines) = example(&env, &clock);
    let profile = || env.client().status().unwrap().profiles.remove(0);
    assert!(life(&lines) <= 20);
    let first = profile().access_key_id;
    example.signal(Signal::SIGSTOP);
    env.wait_until("a rotation", || profile().access_key_id != first);
    // The second session stays.
    env.emulator()
        .inject_fault(Action::AssumeRole, Fault::error("ServiceUnavailable"));
    let left = || profile().remaining_seconds.unwrap_or(0);
    env.wait_until("a quarter of its life has passed", || left() <= 15);
    let before = left();
    example.signal(Signal::SIGCONT);
    is_left(life(&lines), left(), before + 1);
}

#[test]
fn read_of_a_watch_makes_no_system_call() {
    let directory = tempfile::tempdir().unwrap();
    let trace = directory.path().join("trace");
    let mut strace = Command::new("strace");
    strace.args(["-f", "-o"]).arg(&trace);
    strace.arg(program("client-read-cost")).arg("100000");
    let Ok(output) = strace.output() else {
        return e2e::not_run("strace does not start; its package is strace");
    };
    let complaint = String::from_utf8_lossy(&output.stderr);
    if complaint.contains("PTRACE_TRACEME") {
        return e2e::not_run("tracing a program is not allowed here");
    }
    assert!(output.status.success(), "{complaint}");
    let trace = fs::read_to_string(trace).unwrap();
    // Each line begins with the id of its thread.
    let mut lines = trace.lines().skip_while(|it| !it.contains("1 at once"));
    let thread = lines
        .next()
        .expect("the start of the reads")
        .split(' ')
        .next();
    // A resumed line is the end of a call that another thread interrupted.
    let mut lines = lines.filter(|it| !it.contains("<... write resumed>"));
    let next = lines.find(|it| it.split(' ').next() == thread).unwrap();
    assert!(next.contains("ns a read"), "100000 reads began with {next}");
}
