//! Broken and hostile peers: each affects only its own connection.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::Shutdown,
    os::unix::{fs::PermissionsExt as _, net::UnixStream, process::CommandExt as _},
    process::Command,
    thread,
    time::Duration,
};

use e2e::{
    Action, Fault, TestEnv, UPLOAD, connect, credentials_request, decode_replies, hello_request,
};
use nix::unistd::geteuid;
use stsd_wire::{FailureKind, HEADER, MAX_REQUEST, Message as _, Reply, Request};

/// Reads replies until the daemon closes.
fn replies(stream: &mut UnixStream) -> Vec<Reply> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    decode_replies(&bytes)
}

/// Asserts that the daemon answers `bytes` with a failure and closes, and serves other clients.
fn check(env: &TestEnv, what: &str, bytes: &[u8], kind: FailureKind) {
    let mut stream = connect(env);
    stream.write_all(bytes).unwrap();
    let replies = replies(&mut stream);
    assert!(
        matches!(replies[0], Reply::Hello { .. }),
        "{what}: {replies:?}"
    );
    match replies.last() {
        Some(Reply::Failure(failure)) => assert_eq!(failure.kind, kind, "{what}"),
        other => panic!("{what}: {other:?}"),
    }
    let _ = env.document(&["oss-upload"]);
}

#[test]
fn malformed_frame_closes_only_its_own_connection() {
    let env = TestEnv::start();
    let after_hello = |bytes: &[u8]| [&hello_request(), bytes].concat();
    let status = Request::Status {
        after: String::new(),
    }
    .frame()
    .unwrap();
    check(
        &env,
        "HTTP",
        b"GET / HTTP/1.1\r\n\r\n",
        FailureKind::Malformed,
    );
    check(
        &env,
        "an oversized frame",
        &[0, 1, 0, 1],
        FailureKind::Malformed,
    );
    check(&env, "four gigabytes", &[0xff; 64], FailureKind::Malformed);
    check(&env, "an empty frame", &[0; 4], FailureKind::Malformed);
    check(
        &env,
        "an unknown request",
        &after_hello(&[0, 0, 0, 1, 99]),
        FailureKind::Malformed,
    );
    check(&env, "no Hello", &status, FailureKind::Malformed);
    let padded = after_hello(&[0, 0, 0, 3, 3, 0, 0]);
    check(&env, "a byte too many", &padded, FailureKind::Malformed);
    check(
        &env,
        "a second Hello",
        &after_hello(&hello_request()),
        FailureKind::Malformed,
    );
    let newer = Request::Hello { version: 200 }.frame().unwrap();
    check(&env, "a newer client", &newer, FailureKind::WrongVersion);
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    for round in 0..200 {
        let mut noise = Vec::new();
        for _ in 0..(round * 7 % 300) {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            noise.push((seed >> 56) as u8);
        }
        let mut stream = connect(&env);
        // The daemon may have closed before all of it was written.
        let _ = stream.write_all(&after_hello(&noise));
        let _ = stream.shutdown(Shutdown::Write);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
    }
    let _ = env.document(&["oss-upload"]);
}

#[test]
fn request_above_512_bytes_is_refused_from_its_first_five_bytes() {
    let env = TestEnv::start();
    let after_hello = |bytes: &[u8]| [&hello_request(), bytes].concat();
    // 513 bytes of a Watch, of a lease without a Hello, and 8,193 bytes of a lease.
    let watch = after_hello(&[0, 0, 2, 1, 2]);
    check(&env, "a long watch", &watch, FailureKind::Malformed);
    let lease = &[0, 0, 2, 1, 6];
    check(
        &env,
        "a lease without a Hello",
        lease,
        FailureKind::Malformed,
    );
    let long_lease = after_hello(&[0, 0, 32, 1]);
    check(
        &env,
        "a lease above 8 KiB",
        &long_lease,
        FailureKind::Malformed,
    );
}

#[test]
fn request_of_the_largest_size_is_accepted() {
    let env = TestEnv::start();
    let mut stream = connect(&env);
    let profile = "x".repeat(MAX_REQUEST - 4);
    let mut bytes = hello_request();
    let watch = Request::Watch { profile }.frame().unwrap();
    assert_eq!(watch.len(), HEADER + MAX_REQUEST);
    bytes.extend_from_slice(&watch);
    stream.write_all(&bytes).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let replies = replies(&mut stream);
    let kind = |reply: &Reply| match reply {
        Reply::Failure(failure) => Some(failure.kind),
        _ => None,
    };
    assert_eq!(
        replies.last().and_then(kind),
        Some(FailureKind::UnknownProfile)
    );
}

#[test]
fn silent_and_slow_peers_do_not_delay_other_clients() {
    let env = TestEnv::start();
    let _ = env.document(&["oss-upload"]);
    let silent: Vec<_> = (0..50).map(|_| connect(&env)).collect();
    let mut slow: Vec<_> = (0..50).map(|_| connect(&env)).collect();
    for stream in &mut slow {
        stream.write_all(&hello_request()[..3]).unwrap();
    }
    // The patience is shorter than the deadline of the slow peers: 10 s.
    let _ = env.document(&["--patience", "8s", "oss-upload"]);
    // Half a frame has a deadline, and so has a connection without a Hello.
    for mut stream in silent.into_iter().take(1).chain(slow.into_iter().take(1)) {
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).unwrap();
        assert!(rest.is_empty());
    }
}

#[test]
fn single_bytes_do_not_extend_the_frame_deadline() {
    let env = TestEnv::start();
    let mut stream = connect(&env);
    let mut written = 0;
    // Each byte comes within the deadline after the one before, for five times the deadline.
    for _ in 0..50 {
        match stream.write_all(&[0]) {
            Ok(()) => written += 1,
            Err(_) => break,
        }
        if written == 3 {
            stream.write_all(&[200]).unwrap();
        }
        thread::sleep(Duration::from_secs(1));
    }
    assert!(written < 50, "{written} bytes were taken");
}

#[test]
fn half_frame_behind_a_whole_one_has_a_deadline() {
    let env = TestEnv::start();
    let _ = env.document(&["oss-upload"]);
    let request = credentials_request(1000);
    for whole in [
        &hello_request()[..],
        &[&hello_request()[..], &request[..]].concat(),
    ] {
        let mut stream = connect(&env);
        stream.write_all(&[whole, &request[..7]].concat()).unwrap();
        let mut said = Vec::new();
        // The daemon closes at the deadline.
        stream.read_to_end(&mut said).unwrap();
    }
    // A connection without a half frame may be silent.
    let mut stream = connect(&env);
    stream.write_all(&hello_request()).unwrap();
    thread::sleep(Duration::from_secs(12));
    stream.write_all(&request).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert!(matches!(
        replies(&mut stream).last(),
        Some(Reply::Credentials(_))
    ));
}

/// Returns the CPU time of the daemon in hundredths of a second.
fn worked(env: &TestEnv) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", env.daemon().id())).unwrap();
    let fields = stat.rsplit_once(") ").unwrap().1.split(' ');
    fields
        .skip(11)
        .take(2)
        .map(|it| it.parse::<u64>().unwrap())
        .sum()
}

#[test]
fn half_frame_causes_no_busy_loop() {
    let env = TestEnv::start();
    let _ = env.document(&["oss-upload"]);
    let request = credentials_request(1000);
    let mut streams = Vec::new();
    for whole in [
        &[][..],
        &hello_request(),
        &[&hello_request()[..], &request[..]].concat(),
    ] {
        let mut stream = connect(&env);
        stream.write_all(&[whole, &request[..7]].concat()).unwrap();
        streams.push(stream);
    }
    let before = worked(&env);
    thread::sleep(Duration::from_secs(2));
    let busy = worked(&env) - before;
    assert!(
        busy < 50,
        "it worked for {busy} of 200 hundredths of a second"
    );
}

#[test]
fn second_daemon_does_not_wait_for_a_full_backlog() {
    let env = TestEnv::without_daemon(&[]);
    env.write_config(UPLOAD);
    let busy = std::os::unix::net::UnixListener::bind(env.socket()).unwrap();
    nix::sys::socket::listen(&busy, nix::sys::socket::Backlog::new(0).unwrap()).unwrap();
    let _one = connect(&env);
    let output = env.daemon_command().output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("another daemon"));
}

#[test]
fn peer_that_leaves_during_an_answer_does_not_affect_others() {
    let env = TestEnv::start();
    let _ = env.document(&["oss-upload"]);
    let request = credentials_request(1000);
    for _ in 0..100 {
        let mut stream = connect(&env);
        let mut bytes = hello_request();
        for _ in 0..50 {
            bytes.extend_from_slice(&request);
        }
        stream.write_all(&bytes).unwrap();
    }
    let _ = env.document(&["oss-upload"]);
}

#[test]
fn running_out_of_descriptors_pauses_accepting_and_recovers() {
    let env = TestEnv::with_file_limit(64, UPLOAD);
    // The limit is lowered below the one that the daemon has read at its start.
    let lowered = Command::new("prlimit")
        .args(["--nofile=24:24", "--pid", &env.daemon().id().to_string()])
        .status();
    assert!(lowered.unwrap().success());
    let connections: Vec<_> = (0..100).map(|_| connect(&env)).collect();
    env.wait_until("accepting pauses", || {
        env.daemon_log().contains("accepting pauses")
    });
    drop(connections);
    let _ = env.document(&["--patience", "30s", "oss-upload"]);
}

/// The deadline of a frame does not include the time of the request before it.
#[test]
fn long_frame_behind_a_slow_answer_has_its_own_deadline() {
    let mut env = TestEnv::without_daemon(&[]);
    env.write_config(UPLOAD);
    env.start_daemon();
    env.emulator().inject_fault(Action::AssumeRole, Fault::Hang);
    // Longer than the part of the input that one read takes.
    let profile = "z".repeat(500);
    let long = Request::Url { profile }.frame().unwrap();
    let mut stream = connect(&env);
    // The deadline of the Hello has begun by then.
    thread::sleep(Duration::from_millis(200));
    let asks = [
        &hello_request()[..],
        &credentials_request(11_000),
        &long,
        &credentials_request(0),
    ]
    .concat();
    stream.write_all(&asks).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let replies = replies(&mut stream);
    // Hello, and an answer to each of three.
    assert_eq!(replies.len(), 4, "{replies:?}");
}

#[test]
fn silent_connections_are_closed_at_the_connection_limit() {
    let env = TestEnv::with_file_limit(64, UPLOAD);
    let _ = env.document(&["oss-upload"]);
    let _crowd: Vec<_> = (0..80).map(|_| connect(&env)).collect();
    // The patience is shorter than the deadline for a Hello: 10 s.
    let _ = env.document(&["--patience", "8s", "oss-upload"]);
}

#[test]
fn connection_limit_closes_silent_peers_and_keeps_waiting_ones() {
    let slow = UPLOAD.replace("oss-upload]", "slow]");
    let env = TestEnv::with_file_limit(128, &format!("{UPLOAD}{slow}"));
    let _ = env.document(&["oss-upload"]);
    env.emulator().inject_fault(Action::AssumeRole, Fault::Hang);
    let mut waiting = env.shim_command(&["--patience", "600s", "slow"]);
    let waiting = waiting
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    env.wait_until("it waits", || env.emulator().calls(Action::AssumeRole) >= 2);
    let mut connections = Vec::new();
    for _ in 0..400 {
        let mut stream = connect(&env);
        stream.write_all(&hello_request()).unwrap();
        connections.push(stream);
        if connections.len() % 40 == 0 {
            let _ = env.document(&["--patience", "60s", "oss-upload"]);
        }
    }
    // The first of them got the reason.
    match replies(&mut connections[0]).last() {
        Some(Reply::Failure(failure)) => assert_eq!(failure.kind, FailureKind::Busy),
        other => panic!("{other:?}"),
    }
    let log = env.daemon_log();
    assert!(!log.contains("accepting pauses"), "{log}");
    env.emulator().clear_faults();
    let output = waiting.wait_with_output().unwrap();
    assert!(output.status.success());
}

#[test]
fn closed_connection_stops_waiting_and_half_closed_one_does_not() {
    let mut env = TestEnv::without_daemon(&[]);
    env.write_config(UPLOAD);
    env.start_daemon();
    env.emulator().inject_fault(Action::AssumeRole, Fault::Hang);
    let request = credentials_request(600_000);
    let ask = || {
        let mut stream = connect(&env);
        let bytes = [hello_request(), request.clone()].concat();
        stream.write_all(&bytes).unwrap();
        stream
    };
    let mut half = ask();
    half.shutdown(Shutdown::Write).unwrap();
    env.wait_until("it waits", || env.emulator().calls(Action::AssumeRole) >= 1);
    let mut connections: Vec<_> = (0..50).map(|_| ask()).collect();
    env.wait_until("they wait", || env.daemon().connections() >= 51);
    for stream in &mut connections[25..] {
        // The daemon has not read these bytes when the peer leaves.
        stream.write_all(&request).unwrap();
    }
    drop(connections);
    // Some connections close before the daemon reads the request.
    (0..50).for_each(|_| drop(ask()));
    // The wait is much shorter than the patience.
    env.wait_until("they are forgotten", || env.daemon().connections() == 1);
    env.emulator().clear_faults();
    assert!(matches!(
        replies(&mut half).last(),
        Some(Reply::Credentials(_))
    ));
}

#[test]
fn ten_thousand_idle_peers_do_not_delay_the_next() {
    let env = TestEnv::start();
    let hard = e2e::raise_file_limit();
    assert!(
        hard > 11_000,
        "this story needs 11,000 descriptors, the limit is {hard}"
    );
    let mut connections = Vec::new();
    for _ in 0..10_000 {
        let mut stream = connect(&env);
        stream.write_all(&hello_request()).unwrap();
        connections.push(stream);
    }
    let _ = env.document(&["--patience", "60s", "oss-upload"]);
    assert_eq!(connections.len(), 10_000);
}

#[test]
fn other_user_is_refused_even_with_an_open_socket_mode() {
    if !geteuid().is_root() {
        e2e::not_run("only root can become another user for this story");
        return;
    }
    let env = TestEnv::start();
    let set_mode = |path: &std::path::Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    set_mode(&env.path(""), 0o755);
    set_mode(&env.path("run"), 0o755);
    set_mode(&env.socket(), 0o777);
    // The other user can start the program there.
    let shim = env.path("run/sts-shim");
    fs::copy(e2e::program("sts-shim"), &shim).unwrap();
    set_mode(&shim, 0o755);
    let mut command = Command::new(shim);
    command
        .arg("--socket")
        .arg(env.socket())
        .arg("oss-upload")
        .uid(65_534)
        .gid(65_534);
    let output = command.output().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(5), "{complaint}");
    assert!(output.stdout.is_empty());
    assert!(complaint.contains("does not serve you"), "{complaint}");
    let _ = env.document(&["oss-upload"]);
}

#[test]
fn sigterm_ends_the_daemon_with_requests_waiting() {
    let mut env = TestEnv::start();
    env.emulator().inject_fault(Action::AssumeRole, Fault::Hang);
    let mut waiting = env.shim_command(&["--patience", "60s", "oss-upload"]);
    let mut waiting = waiting
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    env.wait_until("it waits", || env.emulator().calls(Action::AssumeRole) >= 1);
    let idle = connect(&env);
    env.daemon().signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(env.wait_for_daemon_exit(), Some(0));
    // The shim checks for a restart of the daemon before it fails.
    assert_eq!(waiting.wait().unwrap().code(), Some(3));
    drop(idle);
}
