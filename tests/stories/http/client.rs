//! A client of the HTTP endpoint, for the stories about it.

use std::{
    io::Write as _,
    net::{TcpListener, TcpStream},
    os::unix::{net::UnixStream, process::CommandExt as _},
    process::Command,
    thread,
};

use e2e::TestEnv;
use nix::unistd::{Uid, setfsuid};
use serde_json::Value;

/// A URL of the endpoint: `http://127.0.0.1:PORT/SECRET/PROFILE`.
pub(super) struct Url(pub(super) String);

impl Url {
    pub(super) fn of(env: &TestEnv, profile: &str) -> Self {
        let url = env.client().url(profile).unwrap();
        Self(url.url.expose().to_owned())
    }

    pub(super) fn authority(&self) -> &str {
        self.0.split('/').nth(2).unwrap()
    }

    pub(super) fn secret(&self) -> &str {
        self.0.split('/').nth(3).unwrap()
    }

    pub(super) fn path(&self) -> &str {
        &self.0[self.0.match_indices('/').nth(2).unwrap().0..]
    }

    /// Sends a request unchanged, and returns the answer.
    pub(super) fn send(&self, request: &str) -> Answer {
        Answer::exchange(TcpStream::connect(self.authority()).unwrap(), request)
    }

    pub(super) fn get(&self, path: &str, headers: &str) -> Answer {
        let host = self.authority();
        self.send(&format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers}\r\n"
        ))
    }
}

#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: String,
}

impl Answer {
    /// Sends a request unchanged on a connection, and returns the answer.
    pub(super) fn exchange(mut stream: TcpStream, request: &str) -> Self {
        let _ = stream.write_all(request.as_bytes());
        Self::read(&mut stream)
    }

    fn read(stream: &mut impl std::io::Read) -> Self {
        let mut text = Vec::new();
        // A refused request may find the connection reset.
        let _ = stream.read_to_end(&mut text);
        let text = String::from_utf8(text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.split(' ').nth(1).and_then(|it| it.parse().ok());
        Self {
            status: status.unwrap_or(0),
            body: body.to_owned(),
        }
    }

    #[track_caller]
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("{self:?}"))
    }

    #[track_caller]
    pub(super) fn credentials(&self) -> Value {
        assert_eq!(self.status, 200, "{self:?}");
        self.json()
    }

    #[track_caller]
    pub(super) fn refused(&self, status: u16, code: &str) {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.json()["Code"], code, "{self:?}");
        assert!(self.json().get("AccessKeyId").is_none());
    }
}

pub(super) fn by_socket(env: &TestEnv, request: &str) -> Answer {
    let mut stream = UnixStream::connect(env.path("run/http.sock")).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    Answer::read(&mut stream)
}

pub(super) fn refusals(env: &TestEnv, reason: &str) -> u64 {
    let refusals = env.client().status().unwrap().http_refusals;
    let found = refusals.iter().find(|it| it.kind == reason);
    found.map_or(0, |it| it.count)
}

/// Sends a request as another user; returns the answer.
pub(super) fn as_user(uid: u32, authority: &str, request: &str) -> String {
    let (host, port) = authority.split_once(':').unwrap();
    let script = format!("exec 3<>/dev/tcp/{host}/{port} && printf '%b' \"$0\" >&3 && cat <&3");
    let output = Command::new("bash")
        .args(["-c", &script, request])
        .uid(uid)
        .gid(uid)
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A listener of another user at a port of loopback; it ends when it is dropped.
pub(super) struct ForeignListener(#[expect(dead_code, reason = "held open")] TcpListener);

impl ForeignListener {
    /// Binds the port with the file system uid of the user, to which the socket then belongs.
    pub(super) fn start(uid: u32, port: u16) -> Self {
        // The uid is that of one thread.
        let bind = move || {
            setfsuid(Uid::from_raw(uid));
            TcpListener::bind(("127.0.0.1", port)).unwrap()
        };
        Self(thread::spawn(bind).join().unwrap())
    }
}
