//! SDKs with a proxy in the environment: which SDKs send loopback requests to the proxy, and the use of
//! a URL that a proxy has learned.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    process::Command,
    sync::{Arc, Mutex},
    thread,
};

use e2e::{
    ClosedPort, SdkProgram, SetUp, TestEnv, in_exec, node_program, python_program, sdk_env, served,
    url, without_variables,
};
use serde_json::json;

type Program = fn(&TestEnv) -> Command;

const OSS2: Program = |env| python_program(env, "consumers.py", "oss2");
const STS_BY_URI: Program = |env| python_program(env, "consumers.py", "sts-by-uri");
const STS_BY_CHAIN: Program = |env| python_program(env, "consumers.py", "sts-by-chain");
const OSS_V2: Program = |env| python_program(env, "consumers.py", "oss-v2");
const BOTO3: Program = |env| python_program(env, "consumers.py", "boto3");
const OBSTORE: Program = |env| python_program(env, "consumers.py", "obstore");
const ALI_OSS: Program = |env| node_program(env, "uri", "1");

/// Sets a container's endpoint, without `NO_PROXY`.
fn as_container(env: &TestEnv, command: &mut Command) -> u64 {
    command.env("AWS_CONTAINER_CREDENTIALS_FULL_URI", url(env));
    let token = env.client().url("oss-upload").unwrap().token;
    env.write("run/url.token", token.expose(), 0o600);
    let file = env.path("run/url.token");
    command.env("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", file);
    command.env("AWS_EC2_METADATA_DISABLED", "true");
    0
}

/// The address of a proxy that refuses connections.
struct Dead {
    url: String,
    _address: ClosedPort,
}

impl Dead {
    fn new() -> Self {
        let address = ClosedPort::new();
        Self {
            url: format!("http://{}", address.address()),
            _address: address,
        }
    }

    fn variables(&self) -> [(&str, &str); 2] {
        [("HTTP_PROXY", &self.url), ("http_proxy", &self.url)]
    }
}

#[test]
fn without_no_proxy_some_sdks_send_the_url_to_the_proxy() {
    let env = sdk_env(&[]);
    let proxy = Dead::new();
    let cases: [(Program, SetUp, bool); 5] = [
        (STS_BY_URI, without_variables, false),
        (OSS2, without_variables, false),
        (OBSTORE, as_container, false),
        (BOTO3, as_container, true),
        (ALI_OSS, without_variables, true),
    ];
    for (program, set_up, asks_us) in cases {
        let before = served(&env);
        let command = program(&env);
        let shown = format!("{command:?}");
        let mut consumer = SdkProgram::start_with(&env, command, set_up, &proxy.variables());
        // The upload itself may fail.
        let _ = consumer.try_call(1);
        assert_eq!(served(&env) > before, asks_us, "{shown}");
        let _ = env.document(&["oss-upload"]);
    }
}

#[test]
fn with_exec_only_one_library_uses_the_proxy() {
    let env = sdk_env(&[]);
    let proxy = Dead::new();
    let cases: [(Program, bool); 6] = [
        (OSS2, true),
        (OBSTORE, true),
        (BOTO3, true),
        (ALI_OSS, true),
        // alibabacloud_credentials does not look at NO_PROXY.
        (STS_BY_CHAIN, false),
        (OSS_V2, false),
    ];
    for (program, works) in cases {
        let command = program(&env);
        let shown = format!("{command:?}");
        let mut consumer = SdkProgram::start_with(&env, command, in_exec, &proxy.variables());
        let said = consumer.try_call(3);
        assert_eq!(said == json!({"calls": 3}), works, "{shown}: {said}");
        let _ = env.document(&["oss-upload"]);
    }
}

/// A proxy that records the heads of requests, and forwards them.
struct Proxy {
    address: String,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let heads = Arc::<Mutex<Vec<String>>>::default();
        let seen = Arc::clone(&heads);
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let head = read_head(&mut stream);
                seen.lock().unwrap().push(head.clone());
                let answer = pass_on(&head, "Via: 1.1 proxy\r\n");
                let _ = stream.write_all(&answer);
            }
        });
        Self { address, heads }
    }
}

fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|count| count == 1) {
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

/// Forwards the request of a head with one more header; returns the answer.
fn pass_on(head: &str, header: &str) -> Vec<u8> {
    let target = head.split(' ').nth(1).unwrap();
    let (authority, path) = target
        .strip_prefix("http://")
        .and_then(|it| it.split_once('/'))
        .unwrap();
    let mut stream = TcpStream::connect(authority).unwrap();
    let request =
        format!("GET /{path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n{header}\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    answer
}

#[test]
fn proxy_that_learns_a_url_gets_no_credentials() {
    let env = sdk_env(&[]);
    let proxy = Proxy::start();
    let name = format!("http://{}", proxy.address);
    let variables = [("HTTP_PROXY", name.as_str()), ("NO_PROXY", "127.0.0.1")];
    let command = STS_BY_URI(&env);
    let mut consumer = SdkProgram::start_with(&env, command, without_variables, &variables);
    let said = consumer.try_call(1).to_string();
    // The SDK's error contains the message of the daemon.
    assert!(
        said.contains("credentials do not go through a proxy"),
        "{said}"
    );
    let heads = proxy.heads.lock().unwrap().clone();
    let secret = url(&env).split('/').nth(3).unwrap().to_owned();
    assert!(heads[0].contains(&secret), "{heads:?}");
    for header in [
        "X-Forwarded-For: 10.0.0.1\r\n",
        "Forwarded: for=10.0.0.1\r\n",
        "X-Real-IP: 10.0.0.1\r\n",
    ] {
        let answer = String::from_utf8(pass_on(&heads[0], header)).unwrap();
        assert!(answer.starts_with("HTTP/1.1 403"), "{header}: {answer}");
    }
    assert_eq!(served(&env), 0);
    // A rotation of the secret makes the learned URL invalid.
    assert!(env.ctl(&["url", "--rotate"]).status.success());
    let answer = String::from_utf8(pass_on(&heads[0], "")).unwrap();
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    let _ = env.document(&["oss-upload"]);
    assert_eq!(served(&env), 1);
}
