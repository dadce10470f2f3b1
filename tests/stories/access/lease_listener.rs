//! The listener of a lease: invalid descriptors, misuse by its owner, and thousands of watches.

use std::{
    fs,
    io::{Read as _, Write as _},
    os::{
        fd::{AsFd as _, AsRawFd as _},
        unix::net::{UnixListener, UnixStream},
    },
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use e2e::{TestEnv, UPLOAD, connect, decode_replies, descriptor, hello_request};
use nix::sys::signal::Signal;
use stsd_client::{Error, FailureKind};
use stsd_wire::{Message as _, Reply, Request};

use super::lease::{NARROW, PATIENCE, by_lease, env_with, lease, refused, socket};

/// Requests a lease by hand and passes a descriptor; returns the replies.
fn by_hand(env: &TestEnv, pass: impl FnOnce(&mut UnixStream)) -> Vec<Reply> {
    let mut stream = connect(env);
    let request = Request::Lease {
        profile: "oss-upload".into(),
        policy: Some(NARROW.into()),
        ttl_millis: 60_000,
        patience_millis: 10_000,
    };
    let bytes = [&hello_request()[..], &request.frame().unwrap()].concat();
    stream.write_all(&bytes).unwrap();
    // Hello and Done.
    let granted = [Reply::Hello { version: 1 }, Reply::Done];
    let frames = granted.each_ref().map(|it| it.frame().unwrap().to_vec());
    let mut said = vec![0; frames.concat().len()];
    stream.read_exact(&mut said).unwrap();
    assert_eq!(decode_replies(&said), granted);
    pass(&mut stream);
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    decode_replies(&rest)
}

#[test]
fn lease_rejects_non_listening_fd() {
    use std::{io::IoSlice, os::fd::OwnedFd};

    use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};

    let env = env_with(&[], UPLOAD);
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (pair, _other) = UnixStream::pair().unwrap();
    let file = fs::File::open(env.path("narrow.json")).unwrap();
    let datagram = std::os::unix::net::UnixDatagram::unbound().unwrap();
    let wrong: [OwnedFd; 4] = [tcp.into(), pair.into(), file.into(), datagram.into()];
    let mut passed: Vec<_> = wrong.iter().map(|it| descriptor(it.as_fd())).collect();
    for descriptor in &wrong {
        let replies = by_hand(&env, |stream| {
            let fds = [descriptor.as_raw_fd()];
            let message = [ControlMessage::ScmRights(&fds)];
            let flags = MsgFlags::empty();
            let byte = [IoSlice::new(&[0])];
            sendmsg::<()>(stream.as_raw_fd(), &byte, &message, flags, None).unwrap();
        });
        match &replies[..] {
            [Reply::Failure(failure)] => assert_eq!(failure.kind, FailureKind::Malformed),
            other => panic!("{other:?}"),
        }
    }
    let listener = UnixListener::bind(env.path("listens.sock")).unwrap();
    passed.push(descriptor(listener.as_fd()));
    for count in [2, 3, 20] {
        let replies = by_hand(&env, |stream| {
            let fds = vec![listener.as_raw_fd(); count];
            let message = [ControlMessage::ScmRights(&fds)];
            let flags = MsgFlags::empty();
            let byte = [IoSlice::new(&[0])];
            sendmsg::<()>(stream.as_raw_fd(), &byte, &message, flags, None).unwrap();
            // A granted lease would wait for its end.
            stream.shutdown(std::net::Shutdown::Write).unwrap();
        });
        match &replies[..] {
            [Reply::Failure(failure)] => assert!(failure.message.contains("one"), "{failure:?}"),
            other => panic!("{count}: {other:?}"),
        }
    }
    let replies = by_hand(&env, |stream| stream.write_all(&[0]).unwrap());
    assert!(matches!(replies[..], [Reply::Failure(_)]), "{replies:?}");
    let replies = by_hand(&env, |stream| {
        stream.shutdown(std::net::Shutdown::Write).unwrap();
    });
    assert_eq!(replies, []);
    // An open descriptor of the daemon would have the same name.
    env.wait_until("all is closed again", || {
        let open = env.daemon().descriptors();
        env.daemon().connections() == 0 && !open.iter().any(|it| passed.contains(it))
    });
    let _ = env.document(&["oss-upload"]);
}

#[test]
fn herd_of_watches_at_a_lease_does_not_block_other_clients() {
    let env = env_with(&[], UPLOAD);
    let _lease = lease(&env, &["oss-upload", "--ttl", "20m"]);
    let _ = e2e::raise_file_limit();
    // A watch is never idle, so none of these is closed for another connection.
    let watches: Vec<_> = (0..2000)
        .map(|_| by_lease(&env).watch("oss-upload").unwrap())
        .collect();
    let mut turned_away = 0;
    for mut watch in watches.into_iter().rev().take(500) {
        match watch.next() {
            Some(Err(Error::Refused(failure))) if failure.kind == FailureKind::Busy => {
                turned_away += 1;
            }
            _ => break,
        }
    }
    assert_eq!(turned_away, 500, "the last of them were too many");
    let _ = env.document(&["--patience", "60s", "oss-upload"]);
}

#[test]
fn misused_lease_listener_affects_no_other_client() {
    let mut env = env_with(&[], UPLOAD);
    let open = |listener: &UnixListener| {
        let ask = || {
            env.client()
                .lease("oss-upload", Some(NARROW), PATIENCE, PATIENCE)
        };
        let mut lease = ask().unwrap();
        lease.open(listener).unwrap();
        lease
    };
    // The socket stops listening: the lease ends, and the daemon does not spin.
    let listener = UnixListener::bind(socket(&env)).unwrap();
    let lease = open(&listener);
    nix::sys::socket::shutdown(listener.as_raw_fd(), nix::sys::socket::Shutdown::Both).unwrap();
    refused(lease.until_over(), FailureKind::Malformed);
    let _ = env.document(&["--patience", "60s", "oss-upload"]);

    // The socket blocks, and its owner accepts connections before the daemon does.
    fs::remove_file(socket(&env)).unwrap();
    let listener = UnixListener::bind(socket(&env)).unwrap();
    let lease = open(&listener);
    listener.set_nonblocking(false).unwrap();
    let (path, enough) = (socket(&env), Arc::new(AtomicBool::new(false)));
    let knocking = {
        let enough = Arc::clone(&enough);
        thread::spawn(move || {
            while !enough.load(Ordering::Relaxed) {
                drop(UnixStream::connect(&path));
                thread::sleep(Duration::from_millis(1));
            }
        })
    };
    for _ in 0..50 {
        drop(listener.accept());
    }
    let _ = env.document(&["--patience", "60s", "oss-upload"]);
    drop(lease);
    let _ = env.document(&["--patience", "60s", "oss-upload"]);
    enough.store(true, Ordering::Relaxed);
    knocking.join().unwrap();
    drop(listener);
    env.daemon().signal(Signal::SIGTERM);
    assert_eq!(env.wait_for_daemon_exit(), Some(0));
}

#[test]
fn listener_that_its_owner_also_accepts_on_still_serves() {
    // Owner and daemon accept on the same socket; the first to accept answers.
    let env = env_with(&[], UPLOAD);
    let mut lease = env
        .client()
        .lease("oss-upload", Some(NARROW), PATIENCE, PATIENCE)
        .unwrap();
    let listener = UnixListener::bind(socket(&env)).unwrap();
    lease.open(&listener).unwrap();
    let accepting = thread::spawn(move || {
        listener.set_nonblocking(true).unwrap();
        for _ in 0..200 {
            drop(listener.accept());
            thread::sleep(Duration::from_millis(5));
        }
    });
    let mut served = 0;
    for _ in 0..100 {
        let answer = by_lease(&env).credentials("oss-upload", Duration::ZERO, PATIENCE);
        served += usize::from(answer.is_ok());
    }
    assert!(served > 0);
    accepting.join().unwrap();
    let _ = env.document(&["oss-upload"]);
}
