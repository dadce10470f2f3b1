//! The listener of `[metrics]`: metrics, two probes, and no credential.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    thread,
    time::Duration,
};

use e2e::{Action, Fault, TestEnv, UPLOAD};

/// Starts a daemon with metrics at a free port; returns the port.
pub(super) fn env_with_metrics() -> (TestEnv, u16) {
    let mut env = TestEnv::without_daemon(&[]);
    let port = e2e::free_port();
    env.write_config_with(&top(&env, port), UPLOAD);
    env.start_daemon();
    env.wait_until("metrics are served", || {
        TcpStream::connect(("127.0.0.1", port)).is_ok()
    });
    (env, port)
}

pub(super) fn top(env: &TestEnv, port: u16) -> String {
    let endpoint = env.endpoint();
    format!(
        "{endpoint}[http]\nlisten = \"127.0.0.1:0\"\n[metrics]\nlisten = \"127.0.0.1:{port}\"\n"
    )
}

/// Sends a request; returns the status line and the whole response.
pub(super) fn request(port: u16, line: &str) -> (String, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    write!(stream, "{line} HTTP/1.1\r\nHost: probe\r\n\r\n").unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    e2e::assert_no_secrets(line, response.as_bytes());
    let status = response.lines().next().unwrap_or_default();
    (status.to_owned(), response)
}

#[test]
fn scrape_has_the_text_of_stsctl_metrics_and_the_process() {
    let (env, port) = env_with_metrics();
    let _ = env.document(&["oss-upload"]);
    let (status, scraped) = request(port, "GET /metrics");
    assert_eq!(status, "HTTP/1.1 200 OK");
    assert!(
        scraped.contains("content-type: text/plain; version=0.0.4\r\n"),
        "{scraped}"
    );
    let printed = String::from_utf8(env.ctl(&["metrics"]).stdout).unwrap();
    // Values change between both.
    let names = |text: &str| {
        let lines = text.lines().filter(|it| it.starts_with("# TYPE "));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let scraped_names = names(&scraped);
    for name in names(&printed) {
        assert!(scraped_names.contains(&name), "{name}: {scraped}");
    }
    for sample in [
        "stsd_hand_outs_total{profile=\"oss-upload\"} 1\n",
        "stsd_session_expiry_timestamp_seconds{profile=\"oss-upload\"} ",
        "stsd_config_last_reload_successful 1\n",
        "process_open_fds ",
    ] {
        assert!(scraped.contains(sample), "{sample}: {scraped}");
    }
}

#[test]
fn probes_say_alive_and_ready_also_while_sts_is_down() {
    let (env, port) = env_with_metrics();
    env.emulator()
        .inject_fault(Action::AssumeRole, Fault::error("ServiceUnavailable"));
    assert!(!env.ctl(&["refresh", "oss-upload"]).status.success());
    for path in ["/healthz", "/readyz"] {
        assert_eq!(request(port, &format!("GET {path}")).0, "HTTP/1.1 200 OK");
    }
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let http = taken.local_addr().unwrap().to_string();
    let top = top(&env, port).replace("127.0.0.1:0", &http);
    env.write_config_with(&top, UPLOAD);
    env.client().reload().unwrap();
    let (status, response) = request(port, "GET /readyz");
    assert!(status.contains("503"), "{status}");
    assert!(response.contains("not ready: http_endpoint"), "{response}");
    assert_eq!(request(port, "GET /healthz").0, "HTTP/1.1 200 OK");
}

#[test]
fn metrics_listener_has_no_credential_and_no_other_method() {
    let (env, port) = env_with_metrics();
    let url = env.client().url("oss-upload").unwrap().url;
    let path = url.expose().splitn(4, '/').nth(3).unwrap().to_owned();
    for line in [
        format!("GET /{path}"),
        "GET /".to_owned(),
        "GET /metrics/../oss-upload".to_owned(),
    ] {
        assert!(request(port, &line).0.contains("404"), "{line}");
    }
    assert!(request(port, "POST /metrics").0.contains("405"));
    assert!(request(port, "GET /metrics?x=1").0.contains("200"));
}

#[test]
fn flood_of_connections_to_the_metrics_delays_no_hand_out() {
    let (env, port) = env_with_metrics();
    let idle: Vec<_> = (0..200)
        .map(|_| TcpStream::connect(("127.0.0.1", port)).unwrap())
        .collect();
    for _ in 0..20 {
        let _ = env.document(&["oss-upload"]);
    }
    drop(idle);
    env.wait_until("metrics are served again", || {
        thread::sleep(Duration::from_millis(50));
        let stream = TcpStream::connect(("127.0.0.1", port));
        stream.is_ok() && request_or_nothing(port).contains("200 OK")
    });
}

fn request_or_nothing(port: u16) -> String {
    let mut response = String::new();
    if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) {
        let _ = write!(stream, "GET /healthz HTTP/1.1\r\nHost: probe\r\n\r\n");
        let _ = stream.read_to_string(&mut response);
    }
    response
}

#[test]
fn reload_moves_the_metrics_and_a_taken_port_is_a_condition() {
    let (env, port) = env_with_metrics();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let other = taken.local_addr().unwrap().port();
    env.write_config_with(&top(&env, other), UPLOAD);
    env.client().reload().unwrap();
    env.wait_until("the old port is closed", || {
        TcpStream::connect(("127.0.0.1", port)).is_err()
    });
    env.wait_until("the taken port is a condition", || {
        let status = env.ctl(&["status"]).stdout;
        String::from_utf8(status)
            .unwrap()
            .contains("no metrics are served")
    });
    drop(taken);
    env.wait_until("the freed port is used", || {
        request_or_nothing(other).contains("200 OK")
    });
    env.write_config(UPLOAD);
    env.client().reload().unwrap();
    env.wait_until("nothing listens without the table", || {
        TcpStream::connect(("127.0.0.1", other)).is_err()
    });
}
