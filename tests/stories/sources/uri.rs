//! A credentials URI as an identity provider. The daemon shows only the host of the URI.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::{TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use e2e::{Action, DAEMON_READY, OutputLog, TestEnv, UPLOAD, assert_output, unix_time};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

/// A profile of the session itself, and one of a role that it may assume.
const PROFILES: &str = "[profile.link]\nsource = \"link\"\n\
    [profile.oss-read]\nsource = \"link\"\n\
    role_arn = \"acs:ram::100000000000001:role/oss-read\"\n";

/// The path and query of the URI, with markers of secrets.
const PATH: &str = "EmulatedTokenOfPath?q=EmulatedTokenOfQuery";

/// An interim response.
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// A server with a configurable answer.
struct UriServer {
    address: String,
    answer: Arc<Mutex<Vec<u8>>>,
    asked: Arc<AtomicU64>,
}

impl UriServer {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (answer, asked) = (
            Arc::<Mutex<Vec<u8>>>::default(),
            Arc::<AtomicU64>::default(),
        );
        let (theirs, count) = (Arc::clone(&answer), Arc::clone(&asked));
        // The thread ends with the test.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                count.fetch_add(1, Ordering::Relaxed);
                let answer = theirs.lock().unwrap().clone();
                thread::spawn(move || serve(stream, &answer));
            }
        });
        Self {
            address,
            answer,
            asked,
        }
    }

    fn says(&self, head: &str, body: &[u8]) {
        let length = body.len();
        let head = format!("HTTP/1.1 {head}\r\nContent-Length: {length}\r\n\r\n");
        self.says_exactly(&[head.as_bytes(), body].concat());
    }

    fn says_exactly(&self, answer: &[u8]) {
        *self.answer.lock().unwrap() = answer.to_vec();
    }

    fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }
}

/// Answers a request; an empty answer is silence.
fn serve(mut stream: TcpStream, answer: &[u8]) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    while lines
        .next()
        .is_some_and(|it| it.is_ok_and(|it| !it.is_empty()))
    {}
    if answer.is_empty() {
        thread::sleep(Duration::from_secs(600));
    }
    // Any number of interim responses may precede the answer.
    while answer.starts_with(CONTINUE) && stream.write_all(answer).is_ok() {}
    let _ = stream.write_all(answer);
}

/// Returns the document of a credentials URI.
fn document() -> Value {
    json!({
        "Code": "Success",
        "AccessKeyId": "STS.given",
        "AccessKeySecret": "EmulatedSecretGiven",
        "SecurityToken": "EmulatedTokenGiven",
        "Expiration": "2099-01-01T00:00:00Z",
    })
}

fn with(changes: Value) -> Vec<u8> {
    let mut document = document();
    for (name, value) in changes.as_object().unwrap() {
        document[name] = value.clone();
    }
    document.to_string().into_bytes()
}

fn source(key: &str, value: &str) -> String {
    format!("[source.link]\ntype = \"uri\"\n{key} = \"{value}\"\n")
}

/// Starts a daemon with the URI of a server.
fn env_of(server: &UriServer) -> TestEnv {
    let mut env = TestEnv::without_daemon(&[]);
    let uri = format!("http://{}/{PATH}", server.address);
    env.write("link.secret", &uri, 0o600);
    env.write_config(&format!("{}{PROFILES}", source("uri_file", "link.secret")));
    env.start_daemon();
    env
}

fn complaint(env: &TestEnv, profile: &str) -> String {
    let output = env.ctl(&["refresh", profile]);
    assert!(!output.status.success(), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn daemon_with_the_uri_of_another_daemon_uploads() {
    let first = TestEnv::with_http(&["--session-life", "10s"], UPLOAD);
    let url = first.client().url("oss-upload").unwrap();
    let url = url.url.expose().to_owned();
    let secret = url.split('/').nth(3).unwrap().to_owned();
    let mut second = TestEnv::without_daemon(&[]);
    second.write("link.secret", &format!("{url}\n"), 0o600);
    let config = format!("{}{PROFILES}", source("uri_file", "link.secret"));
    second.write_config_with(&first.endpoint(), &config);
    second.start_daemon();
    for (profile, operation) in [("link", "put"), ("oss-read", "get")] {
        let process = second.shim_line(profile);
        let done = first.oss_with_process(&process, &[operation, "examplebucket", "linked"], "x");
        assert!(done.is_ok(), "{profile}: {done:?}");
    }
    assert_eq!(
        second.emulator().calls(Action::AssumeRole),
        0,
        "calls to the emulator of the second daemon"
    );

    // Both daemons rotate, and the second one always serves a valid session.
    let mut keys = std::collections::BTreeSet::new();
    for _ in 0..9000 {
        let asked = unix_time();
        let answer = second
            .client()
            .credentials("link", Duration::ZERO, Duration::from_secs(60));
        let given = answer.expect("a request was refused").credentials;
        assert!(given.expiration_unix_seconds.cast_unsigned() > asked);
        keys.insert(given.access_key_id);
        if keys.len() == 4 {
            break;
        }
        thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(keys.len(), 4);

    second.daemon().signal(Signal::SIGUSR2);
    second.wait_until("the new program", || {
        second.daemon_log().matches(DAEMON_READY).count() == 2
    });
    let put = first.oss_with_process(
        &second.shim_line("link"),
        &["put", "examplebucket", "after"],
        "x",
    );
    assert!(put.is_ok(), "{put:?}");
    let said = second.daemon_log();
    assert!(
        said.contains("restored=2"),
        "an upgrade keeps both sessions"
    );
    assert!(!said.contains(&secret), "the URL's secret is in the log");
}

#[test]
fn each_fault_of_a_uri_has_a_message_without_the_uri() {
    let server = UriServer::start();
    let env = env_of(&server);
    let host = format!("the credentials URI at {}", server.address);
    let whole = document().to_string();
    let check = |say: &dyn Fn(), expected: &[&str]| {
        say();
        for profile in ["link", "oss-read"] {
            // The profiles share one request, which may have begun before the change.
            env.wait_until(&format!("{profile}: {expected:?}"), || {
                let complaint = complaint(&env, profile);
                let words = [&[host.as_str()], expected].concat();
                words.iter().all(|it| complaint.contains(it))
            });
        }
    };
    let ok = |body: &[u8]| server.says("200 OK", body);
    check(
        &|| server.says("404 Not Found", b"EmulatedSecret"),
        &["status 404", "still valid"],
    );
    check(
        &|| server.says("500 Oops", b"EmulatedSecret"),
        &["status 500", "may be temporary"],
    );
    check(&|| server.says("204 No Content", b""), &["status 204"]);
    check(&|| ok(b""), &["gave nothing"]);
    check(
        &|| ok(b"<html>EmulatedSecret</html>"),
        &["no document with credentials"],
    );
    check(
        &|| ok(&whole.as_bytes()[..40]),
        &["no document with credentials"],
    );
    check(&|| ok(b"\xff\xfe{}"), &["not UTF-8"]);
    check(&|| ok(&[b' '; 300 * 1024]), &["more than 262144 bytes"]);
    check(
        &|| ok(&with(json!({"Code": "Failed"}))),
        &["Code is not Success"],
    );
    check(
        &|| ok(&with(json!({"AccessKeyId": ""}))),
        &["without an access key id"],
    );
    check(
        &|| ok(&with(json!({"AccessKeySecret": ""}))),
        &["without an access key secret"],
    );
    check(
        &|| ok(&with(json!({"SecurityToken": ""}))),
        &["without a security token"],
    );
    check(
        &|| ok(&with(json!({"Expiration": ""}))),
        &["without an expiration"],
    );
    check(
        &|| ok(&with(json!({"Expiration": "EmulatedSecret"}))),
        &["no time"],
    );
    check(
        &|| ok(&with(json!({"Expiration": "2020-01-01T00:00:00Z"}))),
        &["expired credentials"],
    );
    let broken = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{\"AccessKeyId\"";
    check(&|| server.says_exactly(broken), &["ends its answer early"]);
    check(
        &|| server.says_exactly(b"EmulatedSecret\r\n\r\n"),
        &["gives no answer"],
    );
    check(&|| server.says_exactly(b""), &["does not answer in time"]);

    // A valid document is served; its expiration counts from the Date of the response.
    ok(&with(
        json!({"Code": null, "Note": "more than is asked for"}),
    ));
    env.wait_until("it is given", || env.shim(&["link"]).status.success());
    assert_eq!(env.document(&["link"])["AccessKeyId"], "STS.given");
    let dated = with(json!({"Expiration": "2020-01-01T01:00:00Z", "AccessKeyId": "STS.dated"}));
    server.says("200 OK\r\nDate: Wed, 01 Jan 2020 00:00:00 GMT", &dated);
    assert!(env.ctl(&["refresh", "link"]).status.success());
    let status = env.client().status().unwrap();
    let link = status.profiles.iter().find(|it| it.name == "link").unwrap();
    let left = link.remaining_seconds.unwrap();
    assert!((3500..=3600).contains(&left), "{left}");
}

#[test]
fn uri_redirect_is_not_followed_and_a_new_uri_is_noticed() {
    let (server, other) = (UriServer::start(), UriServer::start());
    let env = env_of(&server);
    other.says("200 OK", document().to_string().as_bytes());
    server.says(
        &format!("302 Found\r\nLocation: http://{}/", other.address),
        b"",
    );
    let said = complaint(&env, "link");
    assert!(
        said.contains("status 302") && said.contains("does not follow redirects"),
        "{said}"
    );
    assert_eq!(other.asked(), 0);
    env.write("link.secret", &format!("http://127.0.0.1:1/{PATH}"), 0o600);
    let said = complaint(&env, "link");
    assert!(
        said.contains("URI at 127.0.0.1:1 is not reachable"),
        "{said}"
    );
    // Another URI in the file needs no restart; a readable file is refused.
    env.write(
        "link.secret",
        &format!("http://{}/{PATH}", other.address),
        0o644,
    );
    let said = complaint(&env, "link");
    assert!(
        said.contains("mode 0644") && said.contains("chmod 0600"),
        "{said}"
    );
    env.write(
        "link.secret",
        &format!("http://{}/{PATH}", other.address),
        0o600,
    );
    env.wait_until("it is noticed", || env.shim(&["link"]).status.success());
}

#[test]
fn unusable_uri_is_refused_at_load_and_not_shown() {
    let server = UriServer::start();
    server.says("200 OK", document().to_string().as_bytes());
    let env = env_of(&server);
    let mut errors = OutputLog::new(&env);
    let mut check = |title: &str, top: &str, source: &str| {
        let top = format!("{}{top}", env.endpoint());
        env.write_config_with(&top, &format!("{source}{PROFILES}"));
        let output = env.ctl(&["reload"]);
        assert!(!output.status.success(), "{title}");
        errors.add(title, &String::from_utf8(output.stderr).unwrap());
        fs::remove_file(env.path("config.toml")).unwrap();
    };
    let uri = |text: &str| source("uri", &format!("{text}/{PATH}"));
    check("uri with http", "", &uri("http://vault.example.com"));
    check("uri with localhost", "", &uri("http://localhost"));
    check("uri without a host", "", &uri(""));
    check(
        "uri with a user",
        "",
        &uri("https://user:EmulatedSecret@host"),
    );
    check("no uri", "", "[source.link]\ntype = \"uri\"\n");
    check(
        "uri_file that does not exist",
        "",
        &source("uri_file", "nosuch"),
    );
    env.write("loose.secret", "https://vault.example.com", 0o640);
    check(
        "uri_file with mode 0640",
        "",
        &source("uri_file", "loose.secret"),
    );
    env.write("none.secret", PATH, 0o600);
    check(
        "uri_file without a URL",
        "",
        &source("uri_file", "none.secret"),
    );
    // A URI of the daemon itself.
    let http = "[http]\nlisten = \"127.0.0.1:7799\"\n";
    check("uri of this daemon", http, &uri("http://127.0.0.1:7799"));
    env.write(
        "self.secret",
        &format!("http://127.0.0.1:7799/{PATH}"),
        0o600,
    );
    check(
        "uri_file with the uri of this daemon",
        http,
        &source("uri_file", "self.secret"),
    );
    assert_output!("unusable_uri", errors.text());
    assert_eq!(
        env.document(&["link"])["AccessKeyId"],
        "STS.given",
        "the session after failed reloads"
    );
}

#[test]
fn uri_source_with_endless_1xx_does_not_block_other_profiles() {
    let server = UriServer::start();
    server.says_exactly(&CONTINUE.repeat(1000));
    let mut env = TestEnv::without_daemon(&[]);
    let uri = format!("http://{}/{PATH}", server.address);
    env.write("link.secret", &uri, 0o600);
    let source = source("uri_file", "link.secret");
    let warm = "[profile.warm]\nsource = \"link\"\nkeep_warm = true\n";
    env.write_config(&format!("{source}{warm}{UPLOAD}"));
    env.start_daemon();
    env.wait_until("the server is asked", || server.asked() > 0);
    for _ in 0..50 {
        let _ = env.document(&["--patience", "60s", "oss-upload"]);
    }
}
