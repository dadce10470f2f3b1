//! The proxy variables: a proxy is used, refused or reported, and never passed by.

use std::{
    io::{self, Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    process::Command,
    sync::{Arc, Mutex},
    thread,
};

use e2e::{ClosedPort, TestEnv, TlsFront, UPLOAD};

/// An address for documentation (RFC 5737), which no machine has: only a proxy reaches it.
const ELSEWHERE: &str = "192.0.2.1";

/// The answer of a proxy to each request.
#[derive(Clone, Copy)]
enum Answer {
    /// A connection to the front, whatever the requested host.
    Connect,
    /// A status line.
    Status(&'static str),
}

/// A proxy for HTTP and SOCKS 5, which records its requests.
struct Proxy {
    address: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    fn start(front: &TlsFront, answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let requests = Arc::<Mutex<Vec<String>>>::default();
        let (seen, front) = (Arc::clone(&requests), front.address.clone());
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (seen, front) = (Arc::clone(&seen), front.clone());
                // A client that gives up ends its connection alone.
                thread::spawn(move || drop(serve(stream, answer, &front, &seen)));
            }
        });
        Self { address, requests }
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

fn serve(
    mut stream: TcpStream,
    answer: Answer,
    front: &str,
    seen: &Mutex<Vec<String>>,
) -> io::Result<()> {
    let mut first = [0];
    stream.read_exact(&mut first)?;
    if first[0] == 5 {
        seen.lock().unwrap().push(socks_target(&mut stream)?);
        stream.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0])?;
        return join(stream, front);
    }
    let mut head = first.to_vec();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    seen.lock().unwrap().push(String::from_utf8(head).unwrap());
    match answer {
        Answer::Connect => {
            stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
            join(stream, front)
        }
        Answer::Status(status) => {
            stream.write_all(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").as_bytes())
        }
    }
}

/// Reads a SOCKS 5 greeting after its first byte, and the request; returns the requested target.
fn socks_target(stream: &mut TcpStream) -> io::Result<String> {
    let mut count = [0];
    stream.read_exact(&mut count)?;
    stream.read_exact(&mut vec![0; count[0].into()])?;
    stream.write_all(&[5, 0])?;
    let mut head = [0; 4];
    stream.read_exact(&mut head)?;
    let host = if head[3] == 1 {
        let mut address = [0; 4];
        stream.read_exact(&mut address)?;
        address.map(|it| it.to_string()).join(".")
    } else {
        let mut length = [0];
        stream.read_exact(&mut length)?;
        let mut name = vec![0; length[0].into()];
        stream.read_exact(&mut name)?;
        String::from_utf8(name).unwrap()
    };
    let mut port = [0; 2];
    stream.read_exact(&mut port)?;
    Ok(format!("{host}:{}", u16::from_be_bytes(port)))
}

fn join(stream: TcpStream, front: &str) -> io::Result<()> {
    let other = TcpStream::connect(front)?;
    let pump = |mut from: TcpStream, mut to: TcpStream| {
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    };
    let (back, forth) = (other.try_clone()?, stream.try_clone()?);
    let there = thread::spawn(move || pump(stream, other));
    pump(back, forth);
    let _ = there.join();
    Ok(())
}

/// The endpoint that only a proxy reaches, with its certificate trusted.
fn env_and_front() -> (TestEnv, TlsFront) {
    let env = TestEnv::without_daemon(&[]);
    let front = TlsFront::start(&env, "front", &["--address", ELSEWHERE]);
    env.write_config_with(&format!("endpoint = \"https://{ELSEWHERE}\"\n"), UPLOAD);
    (env, front)
}

fn command(env: &TestEnv, front: &TlsFront, variables: &[(&str, &str)]) -> Command {
    let mut command = env.daemon_command();
    for name in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
        command.env_remove(name);
    }
    command.env_remove("NO_PROXY").env_remove("no_proxy");
    command.env("SSL_CERT_FILE", &front.authority);
    command.envs(variables.iter().copied());
    command
}

#[test]
fn http_proxy_is_used_with_its_user_and_password() {
    let (mut env, front) = env_and_front();
    let proxy = Proxy::start(&front, Answer::Connect);
    let address = format!("http://us:p%23s@{}", proxy.address);
    let started = command(&env, &front, &[("HTTPS_PROXY", &address)]);
    env.start_daemon_with(started);
    let _ = env.document(&["oss-upload"]);
    let requests = proxy.requests();
    assert!(
        requests[0].starts_with("CONNECT 192.0.2.1:443 HTTP/1.1"),
        "{requests:?}"
    );
    // `us:p#s`.
    let authorization = "Basic dXM6cCNz";
    assert!(requests[0].contains(authorization), "{requests:?}");
    assert!(!env.daemon_log().contains("p%23s"));
}

#[test]
fn socks_proxy_is_used() {
    for scheme in ["socks5", "socks5h"] {
        let (mut env, front) = env_and_front();
        let proxy = Proxy::start(&front, Answer::Connect);
        let address = format!("{scheme}://{}", proxy.address);
        let started = command(&env, &front, &[("ALL_PROXY", &address)]);
        env.start_daemon_with(started);
        let _ = env.document(&["oss-upload"]);
        assert_eq!(proxy.requests()[0], "192.0.2.1:443");
        let mut connect = command(&env, &front, &[("ALL_PROXY", &address)]);
        let output = connect.arg("--connect").output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let expected = format!(
            "answers by the proxy {scheme}://{} (ALL_PROXY)",
            proxy.address
        );
        assert!(said.contains(&expected), "{said}");
    }
}

#[test]
fn refusal_of_a_proxy_has_its_status() {
    for (answer, hint) in [
        ("403 Forbidden", "have the operator of the proxy allow"),
        ("503 Busy", "have the operator of the proxy allow"),
        (
            "407 Proxy Authentication Required",
            "correct the user and the password",
        ),
    ] {
        let (mut env, front) = env_and_front();
        let proxy = Proxy::start(&front, Answer::Status(answer));
        let address = format!("http://{}", proxy.address);
        let started = command(&env, &front, &[("https_proxy", &address)]);
        env.start_daemon_with(started);
        let status = format!("refuses the connection with status {}", &answer[..3]);
        let place = format!("the proxy {address} (https_proxy)");
        env.assert_refused("oss-upload", 6, &[&place, &status, hint]);
    }
}

#[test]
fn unusable_proxy_is_reported_and_never_passed_by() {
    let (mut env, front) = env_and_front();
    let variables = [("HTTPS_PROXY", "http://us:p#ss@127.0.0.1:3128")];
    let started = command(&env, &front, &variables);
    env.start_daemon_with(started);
    let words = "the variable HTTPS_PROXY names no usable proxy";
    assert!(env.daemon_log().contains(words), "{}", env.daemon_log());
    env.assert_refused("oss-upload", 6, &[words, "write # as %23"]);
    let status = env.ctl(&["status"]);
    let status = String::from_utf8(status.stdout).unwrap();
    assert!(status.contains(words), "{status}");
    let doctor = env.ctl(&["doctor"]);
    let said = String::from_utf8(doctor.stdout).unwrap();
    assert!(said.contains("fault") && said.contains(words), "{said}");
    assert!(!said.contains("p#ss") && !env.daemon_log().contains("p#ss"));
}

/// Gives this network namespace the address for documentation, and connects a port of the address with
/// the front; returns the port.
fn relay_from_elsewhere(front: &TlsFront) -> Result<u16, String> {
    let address = format!("{ELSEWHERE}/32");
    let output = Command::new("ip")
        .args(["address", "add", &address, "dev", "lo"])
        .output()
        .map_err(|error| format!("ip does not start ({error}); its package is iproute2"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
    }
    let listener = TcpListener::bind((ELSEWHERE, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let front = front.address.clone();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let front = front.clone();
            thread::spawn(move || drop(join(stream, &front)));
        }
    });
    Ok(port)
}

#[test]
fn host_in_no_proxy_is_reached_without_the_proxy() {
    e2e::in_own_network(|| {
        let mut env = TestEnv::without_daemon(&[]);
        let front = TlsFront::start(&env, "front", &["--address", ELSEWHERE]);
        let port = match relay_from_elsewhere(&front) {
            Ok(port) => port,
            Err(reason) => return e2e::not_run(&reason),
        };
        let proxy = Proxy::start(&front, Answer::Connect);
        let top = format!("endpoint = \"https://{ELSEWHERE}:{port}\"\n");
        env.write_config_with(&top, UPLOAD);
        let [http, socks] = ["http", "socks5h"].map(|it| format!("{it}://{}", proxy.address));
        let requests_after = |variables: &[(&str, &str)]| {
            let output = command(&env, &front, variables).arg("--connect").output();
            let output = output.unwrap();
            assert!(output.status.success(), "{variables:?}: {output:?}");
            proxy.requests().len()
        };
        let proxies = [("HTTPS_PROXY", &*http), ("ALL_PROXY", &*socks)];
        for variable in proxies {
            let before = proxy.requests().len();
            for list in [ELSEWHERE, "192.0.2.0/24", "example.com,192.0.2.1", "*"] {
                let after = requests_after(&[variable, ("NO_PROXY", list)]);
                assert_eq!(after, before, "{variable:?}: {list}");
            }
            // Without the variable, and with another host in it, the same request uses the proxy.
            assert_eq!(requests_after(&[variable]), before + 1);
            let other = ("no_proxy", "192.0.2.2");
            assert_eq!(requests_after(&[variable, other]), before + 2);
        }
        let before = proxy.requests();
        let excluded = [proxies[0], proxies[1], ("NO_PROXY", ELSEWHERE)];
        let started = command(&env, &front, &excluded);
        env.start_daemon_with(started);
        let _ = env.document(&["oss-upload"]);
        assert_eq!(proxy.requests(), before);
    });
}

#[test]
fn this_machine_is_not_asked_by_the_proxy() {
    let mut env = TestEnv::without_daemon(&[]);
    let front = TlsFront::start(&env, "front", &[]);
    let proxy = Proxy::start(&front, Answer::Connect);
    let (_, port) = front.address.rsplit_once(':').unwrap();
    env.write_config_with(
        &format!("endpoint = \"https://127.0.0.1:{port}\"\n"),
        UPLOAD,
    );
    let address = format!("http://{}", proxy.address);
    let started = command(&env, &front, &[("HTTPS_PROXY", &address)]);
    env.start_daemon_with(started);
    let _ = env.document(&["oss-upload"]);
    assert_eq!(proxy.requests(), Vec::<String>::new());
}

/// The session of a credentials URI of another host, served unchanged.
const BY_URI: &str = "[source.elsewhere]\ntype = \"uri\"\nuri = \"https://192.0.2.1/credentials\"\n\
                      [profile.by-uri]\nsource = \"elsewhere\"\n";

#[test]
fn credentials_uri_names_the_proxy_that_fails() {
    let closed = ClosedPort::new();
    for (answer, problem, hint) in [
        (
            Some("403 Forbidden"),
            "refuses the connection with status 403",
            "have the operator of the proxy allow",
        ),
        (
            Some("407 Proxy Authentication Required"),
            "refuses the connection with status 407",
            "correct the user and the password",
        ),
        (None, "Connection refused", "check that its server runs"),
    ] {
        let (mut env, front) = env_and_front();
        env.write_config_with("", BY_URI);
        let proxy = answer.map(|it| Proxy::start(&front, Answer::Status(it)));
        let address = proxy.as_ref().map_or(closed.address(), |it| &it.address);
        let address = format!("http://{address}");
        let started = command(&env, &front, &[("HTTPS_PROXY", &address)]);
        env.start_daemon_with(started);
        let place = format!("the proxy {address} (HTTPS_PROXY)");
        env.assert_refused("by-uri", 6, &[&place, problem, hint]);
    }
}

#[test]
fn unusable_proxy_is_a_problem_for_a_credentials_uri_and_none_for_an_instance() {
    let (mut env, front) = env_and_front();
    let words = "the variable HTTPS_PROXY names no usable proxy";
    let in_status = |env: &TestEnv| {
        let output = env.ctl(&["status"]);
        String::from_utf8(output.stdout).unwrap().contains(words)
    };
    env.write_config_with("", BY_URI);
    let started = command(&env, &front, &[("HTTPS_PROXY", "foo://x")]);
    env.start_daemon_with(started);
    assert!(in_status(&env));
    let imds = env.emulator().imds_url().to_owned();
    let instance = format!(
        "[source.i]\ntype = \"ecs-role\"\nmetadata_endpoint = \"{imds}\"\n\
         [profile.i]\nsource = \"i\"\n"
    );
    env.write_config_with("", &instance);
    assert!(env.ctl(&["reload"]).status.success());
    assert!(!in_status(&env));
    let _ = env.document(&["i"]);
}
