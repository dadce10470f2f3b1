//! The client library in tasks of tokio, compared with the blocking one, and with thousands of tasks.
//! Watches are in `watch.rs`.

use std::{
    io::{Read as _, Write as _},
    os::{fd::AsRawFd as _, unix::net::UnixListener},
    process::Command,
    thread,
    time::Duration,
};

use e2e::{Action, Fault, TestEnv, UPLOAD, block_on, wait_in_task};
use nix::sys::{
    signal::Signal,
    socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, connect, listen, socket},
};
use stsd_client::{AsyncClient, Client, Error};
use stsd_wire::{Failure, FailureKind, Message as _, Reply};
use tokio::task::JoinSet;

const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn async_client_returns_the_answers_of_the_blocking_client() {
    let env = TestEnv::start();
    let ask = |profile: &'static str, life, patience| {
        let blocking = env.client().credentials(profile, life, patience);
        (
            block_on(env.async_client().credentials(profile, life, patience)),
            blocking,
        )
    };
    let (answer, blocking) = ask("oss-upload", Duration::ZERO, PATIENCE);
    let (answer, blocking) = (answer.unwrap(), blocking.unwrap());
    assert_eq!(answer, blocking);
    assert!(!answer.short);
    e2e::assert_no_secrets("an answer's Debug", format!("{answer:?}").as_bytes());
    let day = Duration::from_secs(24 * 3600);
    // No session has that lifetime, so the answer comes at once and not after the patience.
    let (answer, blocking) = ask("oss-upload", day, PATIENCE);
    assert!(answer.unwrap().short && blocking.unwrap().short);
    let (answer, blocking) = ask("nosuch", Duration::ZERO, PATIENCE);
    let (error, expected) = (answer.unwrap_err(), blocking.unwrap_err());
    assert_eq!(error.exit_code(), 4);
    assert_eq!(error.to_string(), expected.to_string());
    let unbound = AsyncClient::at(env.path("unbound.sock"));
    let patience = Duration::from_millis(50);
    let error = block_on(unbound.credentials("oss-upload", Duration::ZERO, patience)).unwrap_err();
    assert!(matches!(error, Error::NotReachable { .. }), "{error}");
    // Without patience the answer is the session in memory, or an error.
    let at_once = env.async_client();
    let answer = block_on(at_once.credentials("oss-upload", Duration::ZERO, Duration::ZERO));
    assert!(!matches!(answer, Err(Error::Broken { .. })), "{answer:?}");
}

#[test]
fn thousand_tasks_at_once_cost_one_sts_call() {
    let env = TestEnv::start();
    let fault = Fault::Delay(Duration::from_millis(2000));
    env.emulator().inject_fault_once(Action::AssumeRole, fault);
    let _ = e2e::raise_file_limit();
    let keys = block_on(async {
        let mut tasks = JoinSet::new();
        for _ in 0..1000 {
            let client = env.async_client();
            tasks.spawn(async move {
                let patience = Duration::from_secs(60);
                let answer = client.credentials("oss-upload", Duration::ZERO, patience);
                answer.await.unwrap().credentials.access_key_id
            });
        }
        tasks.join_all().await
    });
    assert_eq!(keys.len(), 1000);
    assert!(keys.iter().all(|key| *key == keys[0]));
    assert_eq!(env.emulator().calls(Action::AssumeRole), 1);
}

#[test]
fn waiting_tasks_keep_waiting_through_upgrades() {
    let env = TestEnv::start();
    env.emulator().inject_fault(Action::AssumeRole, Fault::Hang);
    let ready = || {
        let log = env.daemon_log();
        log.matches("is ready config=").count()
    };
    let keys = block_on(async {
        let mut tasks = JoinSet::new();
        for _ in 0..50 {
            let client = env.async_client();
            tasks.spawn(async move {
                let answer = client.credentials("oss-upload", Duration::ZERO, PATIENCE * 3);
                let answer = answer.await.expect("a task was refused");
                answer.credentials.access_key_id
            });
        }
        for round in 1..=3 {
            // All tasks have sent their request when there are as many connections.
            wait_in_task("they wait", || env.daemon().connections() >= 50).await;
            assert!(tasks.try_join_next().is_none(), "there is no session yet");
            env.daemon().signal(Signal::SIGUSR2);
            wait_in_task("the new program", || ready() == round + 1).await;
        }
        env.emulator().clear_faults();
        tasks.join_all().await
    });
    assert_eq!(keys.len(), 50);
    assert!(keys.iter().all(|key| *key == keys[0]));
}

/// A Unix socket with a full backlog refuses a non-blocking connect.
#[test]
fn full_backlog_is_retried_within_the_patience() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("full.sock");
    let stream = |flags| socket(AddressFamily::Unix, SockType::Stream, flags, None).unwrap();
    let address = UnixAddr::new(&path).unwrap();
    let listener = stream(SockFlag::SOCK_CLOEXEC);
    bind(listener.as_raw_fd(), &address).unwrap();
    listen(&listener, Backlog::new(1).unwrap()).unwrap();
    let mut waiting = Vec::new();
    loop {
        let one = stream(SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK);
        if connect(one.as_raw_fd(), &address).is_err() {
            break;
        }
        waiting.push(one);
    }
    let client = AsyncClient::at(&path);
    let ask = |patience| client.credentials("any", Duration::ZERO, patience);
    let error = block_on(ask(Duration::from_millis(300))).unwrap_err();
    assert!(matches!(error, Error::TimedOut { .. }), "{error}");
    // The queue is empty again, and a server answers.
    drop(waiting);
    let answering = thread::spawn(move || {
        for connection in UnixListener::from(listener).incoming() {
            let mut connection = connection.unwrap();
            if connection.read(&mut [0; 64]).unwrap() == 0 {
                continue;
            }
            let failure = Reply::Failure(Failure {
                kind: FailureKind::UnknownProfile,
                message: "told by hand".to_owned(),
                hint: String::new(),
            });
            for reply in [Reply::Hello { version: 1 }, failure] {
                connection.write_all(&reply.frame().unwrap()).unwrap();
            }
            return;
        }
    });
    let error = block_on(ask(PATIENCE)).unwrap_err();
    assert_eq!(error.to_string(), "told by hand");
    answering.join().unwrap();
}

#[test]
fn both_clients_report_busy_when_retry_has_no_answer_in_time() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("busy.sock");
    let listener = UnixListener::bind(&path).unwrap();
    thread::spawn(move || {
        let mut silent = Vec::new();
        for (index, connection) in listener.incoming().enumerate() {
            let mut connection = connection.unwrap();
            // Two requests of each client: the first is refused, the second has no answer.
            if index % 2 == 1 {
                silent.push(connection);
                continue;
            }
            let _ = connection.read(&mut [0; 64]).unwrap();
            let failure = Reply::Failure(Failure {
                kind: FailureKind::Busy,
                message: "too many connections".to_owned(),
                hint: String::new(),
            });
            for reply in [Reply::Hello { version: 1 }, failure] {
                connection.write_all(&reply.frame().unwrap()).unwrap();
            }
        }
    });
    let patience = Duration::from_secs(3);
    let blocking = Client::at(&path).credentials("any", Duration::ZERO, patience);
    assert_eq!(blocking.unwrap_err().to_string(), "too many connections");
    let asking = block_on(AsyncClient::at(&path).credentials("any", Duration::ZERO, patience));
    assert_eq!(asking.unwrap_err().to_string(), "too many connections");
}

/// AWS's SDKs take credentials by this trait, and compare the expiration with the wall clock.
#[test]
fn aws_credentials_provider_returns_the_watched_session() {
    use aws_credential_types::provider::ProvideCredentials as _;

    let env = TestEnv::with(&[], UPLOAD);
    block_on(async {
        let watched = env.async_client().watch("oss-upload");
        assert!(watched.fallback_on_interrupt().is_none());
        let given = watched.provide_credentials().await.unwrap();
        let client = env.async_client();
        let answer = client.credentials("oss-upload", Duration::ZERO, PATIENCE);
        let credentials = answer.await.unwrap().credentials;
        assert_eq!(given.access_key_id(), credentials.access_key_id);
        assert_eq!(
            given.secret_access_key(),
            credentials.access_key_secret.expose()
        );
        assert_eq!(
            given.session_token(),
            Some(credentials.security_token.expose())
        );
        let since = given
            .expiry()
            .unwrap()
            .duration_since(std::time::UNIX_EPOCH);
        let expires = since.unwrap().as_secs().cast_signed();
        let off = credentials.expiration_unix_seconds - expires;
        assert!((0..30).contains(&off), "{off}");
        assert!(watched.fallback_on_interrupt().is_some());
        e2e::assert_no_secrets(
            "what AWS prints",
            format!("{given:?} {watched:?}").as_bytes(),
        );
        let wrong = client.watch("nosuch");
        let error = wrong.provide_credentials().await.unwrap_err();
        let reason = std::error::Error::source(&error).unwrap().to_string();
        assert!(reason.contains("nosuch"), "{reason}");
    });
}

/// The signing library of OpenDAL.
#[test]
fn reqsign_signs_with_the_watched_session() {
    let env = TestEnv::start();
    let put = env.oss_with_profile("oss-upload", &["put", "examplebucket", "signed"], "by us");
    put.unwrap();
    let read = |profile: &str| {
        let mut command = Command::new(e2e::rust_example("reqsign"));
        command.args([
            profile,
            "cn-hongkong",
            "examplebucket",
            "signed",
            env.emulator().oss_url(),
        ]);
        let output = command.env("STSD_SOCKET", env.socket()).output().unwrap();
        e2e::assert_no_secrets("the example", &output.stdout);
        e2e::assert_no_secrets("the example's stderr", &output.stderr);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        output.status.success().then_some(said).ok_or(complaint)
    };
    assert_eq!(read("oss-upload"), Ok("by us".to_owned()));
    let complaint = read("nosuch").unwrap_err();
    assert!(complaint.contains("no profile is named"), "{complaint}");
}
