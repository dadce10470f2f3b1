//! Clients while the daemon is away or restarts, without a service manager that keeps the socket.

use std::{
    fs,
    os::unix::net::UnixListener,
    path::Path,
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::Duration,
};

use e2e::{Action, Fault, Process, Terminal, TestEnv, UPLOAD};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use stsd_client::{AsyncClient, Client};

const PATIENCE: Duration = Duration::from_secs(60);

/// Starts the daemon twenty times under load, after each end by a signal.
fn restart_under_load(signal: Signal) {
    let mut env = TestEnv::start();
    let (over, documents) = (AtomicBool::new(false), AtomicU64::new(0));
    let (socket, shim) = (env.socket(), e2e::program("sts-shim"));
    thread::scope(|scope| {
        for flavour in 0..4 {
            let (socket, shim, over, documents) = (&socket, &shim, &over, &documents);
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    match flavour {
                        0 => assert_client(Client::at(socket)),
                        1 => assert_async_client(AsyncClient::at(socket)),
                        _ => assert_shim(shim, socket),
                    }
                    documents.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for _ in 0..20 {
            let before = documents.load(Ordering::Relaxed);
            env.daemon().signal(signal);
            env.wait_for_daemon_exit();
            env.start_daemon();
            env.wait_until("a client is served", || {
                documents.load(Ordering::Relaxed) > before
            });
        }
        over.store(true, Ordering::Relaxed);
    });
}

fn assert_client(client: Client) {
    let answer = client.credentials("oss-upload", Duration::ZERO, PATIENCE);
    assert!(!answer.expect("a request was refused").short);
}

fn assert_async_client(client: AsyncClient) {
    let answer = e2e::block_on(client.credentials("oss-upload", Duration::ZERO, PATIENCE));
    assert!(!answer.expect("a request was refused").short);
}

fn assert_shim(shim: &Path, socket: &Path) {
    let mut command = Command::new(shim);
    command.args(["--patience", "60s", "oss-upload", "--socket"]);
    let output = command.arg(socket).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}

#[test]
fn twenty_restarts_by_sigterm_fail_no_client() {
    restart_under_load(Signal::SIGTERM);
}

#[test]
fn twenty_restarts_after_sigkill_fail_no_client() {
    restart_under_load(Signal::SIGKILL);
}

#[test]
fn client_that_starts_before_its_daemon_is_served() {
    let mut env = TestEnv::without_daemon(&[]);
    env.write_config(UPLOAD);
    let mut commands = vec![env.shim_command(&["--patience", "60s", "oss-upload"])];
    for line in [
        &["get", "oss-upload", "--patience", "60s"][..],
        &[
            "exec",
            "oss-upload",
            "--static",
            "--patience",
            "60s",
            "--",
            "true",
        ],
        &["refresh", "oss-upload", "--patience", "60s"],
    ] {
        commands.push(env.ctl_command(line));
    }
    // A connection shows that a client has begun.
    let listener = UnixListener::bind(env.socket()).unwrap();
    let start = |mut command: Command| {
        command.stdout(Stdio::null()).stdin(Stdio::null());
        let client = Process::start(command, &env.path("clients.log"));
        (client, listener.accept().unwrap())
    };
    let begun: Vec<_> = commands.into_iter().map(start).collect();
    fs::remove_file(env.socket()).unwrap();
    drop(listener);
    let (mut clients, connections): (Vec<_>, Vec<_>) = begun.into_iter().unzip();
    drop(connections);
    env.start_daemon();
    for client in &mut clients {
        let said = fs::read_to_string(env.path("clients.log")).unwrap();
        assert_eq!(client.wait(), Some(0), "{said}");
    }
}

/// A shell's background job that writes to such a terminal is stopped by SIGTTOU.
#[test]
fn background_daemon_writes_to_a_terminal_with_tostop() {
    let env = TestEnv::without_daemon(&[]);
    env.write_config(UPLOAD);
    let mut shell = Command::new("sh");
    shell.args(["-c", "stty tostop; set -m; \"$0\" & read line"]);
    shell.arg(e2e::program("stsd"));
    shell.env("STSD_CONFIG", env.path("config.toml"));
    shell.env("STSD_SOCKET", env.socket());
    shell.env("XDG_STATE_HOME", env.path("state"));
    let mut terminal = Terminal::start(&shell, (24, 120));
    let pid = || env.client().status().map(|it| it.pid);
    // Each request waits for seconds by itself.
    let bound = Duration::from_millis(200);
    env.wait_within(bound, "the daemon answers", || pid().is_ok());
    let daemon = Pid::from_raw(pid().unwrap().cast_signed());
    kill(daemon, Signal::SIGTERM).unwrap();
    terminal.type_keys("\n");
    assert_eq!(terminal.wait_for_exit(), 0);
    e2e::assert_no_secrets("the terminal", &terminal.bytes());
}

#[test]
fn waiting_client_is_served_by_the_next_daemon() {
    let mut env = TestEnv::start();
    env.emulator().inject_fault(Action::AssumeRole, Fault::Hang);
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        let mut command = env.shim_command(&["--patience", "60s", "oss-upload"]);
        let waiting = env.client();
        let asking =
            thread::spawn(move || waiting.credentials("oss-upload", Duration::ZERO, PATIENCE));
        command.stdout(Stdio::null());
        let mut shim = Process::start(command, &env.path("clients.log"));
        env.wait_until("both wait", || env.daemon().connections() >= 2);
        env.daemon().signal(signal);
        env.wait_for_daemon_exit();
        env.emulator().clear_faults();
        env.start_daemon();
        assert!(!asking.join().unwrap().unwrap().short);
        assert_eq!(shim.wait(), Some(0));
        env.emulator().inject_fault(Action::AssumeRole, Fault::Hang);
        env.daemon().signal(Signal::SIGKILL);
        env.wait_for_daemon_exit();
        env.start_daemon();
    }
}
