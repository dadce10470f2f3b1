//! The HTTP endpoint: the requests that it serves and refuses.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    process::Command,
    thread,
    time::Duration,
};

use e2e::{
    Action, DAEMON_READY, Fault, GROUP, SystemDaemon, TestEnv, UPLOAD, UnixUser, upload_profile,
};
use nix::{sys::signal::Signal, unistd::geteuid};
use stsd_client::{Error, FailureKind};

use super::client::{Answer, Url, as_user, by_socket, refusals};

#[test]
fn url_returns_the_document_of_the_shim() {
    let env = TestEnv::with_http(&[], UPLOAD);
    let url = Url::of(&env, "oss-upload");
    let given = url.get(url.path(), "").credentials();
    let union = env.document(&["oss-upload"]);
    for key in [
        "Code",
        "AccessKeyId",
        "AccessKeySecret",
        "SecurityToken",
        "Expiration",
        "SecretAccessKey",
    ] {
        assert_eq!(given[key], union[key], "{key}");
    }
    assert_eq!(given["Token"], union["SecurityToken"]);
    assert!(given["LastUpdated"].as_str().unwrap() < given["Expiration"].as_str().unwrap());
    let printed = env.ctl(&["url", "oss-upload"]).stdout;
    assert_eq!(String::from_utf8(printed).unwrap().trim_end(), url.0);
    // The AWS SDKs send the secret in a header.
    let authorized = format!("Authorization: {}\r\n", url.secret());
    let by_header = url.get("/credentials/oss-upload", &authorized);
    assert_eq!(by_header.credentials(), given);
    // Several requests on one connection.
    let mut stream = TcpStream::connect(url.authority()).unwrap();
    let one = format!("GET {} HTTP/1.1\r\nHost: 127.0.0.1\r\n", url.path());
    let requests = format!("{one}\r\n{one}\r\n{one}Connection: close\r\n\r\n");
    stream.write_all(requests.as_bytes()).unwrap();
    let mut answers = String::new();
    stream.read_to_string(&mut answers).unwrap();
    assert_eq!(answers.matches("HTTP/1.1 200").count(), 3);
    assert_eq!(env.emulator().calls(Action::AssumeRole), 1);
}

#[test]
fn url_answers_the_three_instance_metadata_paths() {
    let env = TestEnv::with_http(&[], UPLOAD);
    let url = Url::of(&env, "oss-upload");
    let (authority, below) = (url.authority(), url.path());
    let token = url.send(&format!(
        "PUT {below}/latest/api/token HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\
         X-aliyun-ecs-metadata-token-ttl-seconds: 21600\r\nContent-Length: 0\r\n\r\n"
    ));
    assert_eq!(token.status, 200, "{token:?}");
    let with_token = format!("X-aliyun-ecs-metadata-token: {}\r\n", token.body);
    let list = format!("{below}/latest/meta-data/ram/security-credentials/");
    let role = url.get(&list, &with_token);
    assert_eq!((role.status, role.body.as_str()), (200, "oss-upload"));
    let given = url.get(&format!("{list}{}", role.body), &with_token);
    assert_eq!(given.credentials()["Code"], "Success");
    url.get(&format!("{list}other"), &with_token)
        .refused(404, "Refused");
}

#[test]
fn rejected_http_requests_are_counted_by_reason() {
    let env = TestEnv::with_http(&[], UPLOAD);
    let url = Url::of(&env, "oss-upload");
    let (path, secret) = (url.path(), url.secret());
    let check = |reason: &str, status: u16, answer: Answer| {
        answer.refused(status, "Refused");
        assert_eq!(refusals(&env, reason), 1, "{reason}");
        let good = url.get(path, "");
        assert_eq!(good.status, 200);
    };
    let wrong = secret.chars().rev().collect::<String>();
    check("secret", 403, url.get(&format!("/{wrong}/oss-upload"), ""));
    check(
        "browser",
        403,
        url.get(path, "Origin: http://evil.example\r\n"),
    );
    check("proxy", 403, url.get(path, "X-Forwarded-For: 10.0.0.1\r\n"));
    let host = format!("GET {path} HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n");
    check("host", 403, url.send(&host));
    let head = format!("PATCH {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n");
    check("method", 405, url.send(&head));
    let body = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\n\r\nhello");
    check("body", 400, url.send(&body));
    check("query", 403, url.get(&format!("{path}?x=y"), ""));
    check("upgrade", 403, url.get(path, "Upgrade: h2c\r\n"));
    check("path", 404, url.get("/", ""));
    let bomb = format!("X-Bomb: {}\r\n", "x".repeat(100_000));
    assert_eq!(url.get(path, &bomb).status, 431);
    assert_eq!(refusals(&env, "head"), 1);
    let many: String = (0..1000).map(|it| format!("X-{it}: x\r\n")).collect();
    assert_ne!(url.get(path, &many).status, 200);

    // More requests with a wrong secret, method or form.
    for (name, path) in [("a short one", "/x/oss-upload"), ("none", "//oss-upload")] {
        assert_eq!(url.get(path, "").status, 403, "{name}");
    }
    assert_eq!(url.get("/credentials/oss-upload", "").status, 403);
    let bearer = format!("Authorization: Bearer {wrong}\r\n");
    assert_eq!(url.get("/credentials/oss-upload", &bearer).status, 403);
    let absolute = format!(
        "GET {} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n",
        url.0
    );
    assert_eq!(url.send(&absolute).status, 403);
    let heading = format!("HEAD {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n");
    assert_eq!(url.send(&heading).status, 405);
    for noise in [
        "\r\n\r\n",
        "GET\r\n\r\n",
        "\u{0}\u{1}\u{2}\r\n\r\n",
        "SSH-2.0-x\r\n",
        "GET / HTTP/9.9\r\n\r\n",
    ] {
        assert_ne!(url.send(noise).status, 200, "{noise:?}");
    }
    assert!(refusals(&env, "secret") >= 5);
    assert_eq!(url.get(path, "").status, 200);

    let log = env.daemon_log();
    let said = log.lines().filter(|it| it.contains("was rejected"));
    assert_eq!(
        said.filter(|it| it.contains("secret")).count(),
        1,
        "log lines for a wrong secret"
    );
    assert!(!log.contains(secret), "the URL's secret is in the log");
    let metrics = env.ctl(&["metrics"]).stdout;
    let metrics = String::from_utf8(metrics).unwrap();
    assert!(
        metrics.contains("stsd_http_refusals_total{reason=\"browser\"} 1"),
        "{metrics}"
    );
}

#[test]
fn unix_http_socket_needs_no_secret_and_has_the_same_checks() {
    let env = TestEnv::start();
    let get = |headers: &str| {
        by_socket(
            &env,
            &format!(
                "GET /credentials/oss-upload HTTP/1.1\r\nHost: localhost\r\n\
                 Connection: close\r\n{headers}\r\n"
            ),
        )
    };
    let given = get("").credentials();
    assert_eq!(
        given["AccessKeyId"],
        env.document(&["oss-upload"])["AccessKeyId"]
    );
    get("Origin: http://localhost\r\n").refused(403, "Refused");
    get("Via: 1.1 proxy\r\n").refused(403, "Refused");
    let missing = by_socket(
        &env,
        "GET /credentials/nosuch HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    );
    missing.refused(404, "UnknownProfile");
    // Without `[http]` in the configuration there is no loopback port.
    match env.client().url("oss-upload") {
        Err(Error::Refused(failure)) => assert_eq!(failure.kind, FailureKind::BadConfig),
        other => panic!("{other:?}"),
    }
    let mode = fs::metadata(env.path("run/http.sock"))
        .unwrap()
        .permissions();
    assert_eq!(mode.mode() & 0o777, 0o600);
    assert!(!env.path("state/stsd/http.secret").exists());
}

#[test]
fn other_user_with_the_secret_is_refused_over_http() {
    if !geteuid().is_root() {
        e2e::not_run("only root can become another user for this story");
        return;
    }
    let env = TestEnv::with_http(&[], UPLOAD);
    let url = Url::of(&env, "oss-upload");
    let request = format!(
        "GET {} HTTP/1.1\\r\\nHost: 127.0.0.1\\r\\nConnection: close\\r\\n\\r\\n",
        url.path()
    );
    let own = as_user(0, url.authority(), &request);
    assert!(own.starts_with("HTTP/1.1 200"), "{own}");
    let other = as_user(65_534, url.authority(), &request);
    assert!(other.starts_with("HTTP/1.1 403"), "{other}");
    assert!(other.contains("does not serve your user"), "{other}");
    assert_eq!(refusals(&env, "other_user"), 1);
    // The Unix socket refuses the user as well, also with an open mode.
    for path in ["", "run", "run/http.sock"] {
        fs::set_permissions(env.path(path), fs::Permissions::from_mode(0o777)).unwrap();
    }
    let python = "import socket,sys\ns=socket.socket(socket.AF_UNIX)\ns.connect(sys.argv[1])\n\
        s.sendall(b'GET /credentials/oss-upload HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n')\n\
        print(s.recv(99999).decode())";
    let output = Command::new("python3")
        .args(["-c", python])
        .arg(env.path("run/http.sock"))
        .uid(65_534)
        .gid(65_534)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.starts_with("HTTP/1.1 403"), "{said}{output:?}");
}

#[test]
fn system_daemon_applies_only_user_rules_over_http() {
    let group = [format!("group:{}", GROUP)];
    let rules = upload_profile("for-user", &["user:64002".to_owned()])
        + &upload_profile("for-group", &group);
    let Some(mut machine) = SystemDaemon::start(&rules) else {
        return;
    };
    machine.env.write_config_with_http(&rules);
    machine.env.client().reload().unwrap();
    let get = |uid: u32, profile: &str| {
        // Only an allowed user can print the URL; the story passes it on.
        let printed = machine.output(UnixUser::new(64_002), "stsctl", &["url", "for-user"]);
        let url = Url(String::from_utf8(printed.stdout)
            .unwrap()
            .trim_end()
            .to_owned());
        let request = format!(
            "GET /{}/{profile} HTTP/1.1\\r\\nHost: 127.0.0.1\\r\\nConnection: close\\r\\n\\r\\n",
            url.secret()
        );
        as_user(uid, url.authority(), &request)
    };
    let allowed = get(64_002, "for-user");
    assert!(allowed.starts_with("HTTP/1.1 200"), "{allowed}");
    for (uid, profile) in [
        (64_001, "for-user"),
        (64_002, "for-group"),
        (64_001, "nosuch"),
        (0, "for-user"),
    ] {
        let refused = get(uid, profile);
        assert!(
            refused.starts_with("HTTP/1.1 403"),
            "{uid} {profile}: {refused}"
        );
        assert!(refused.contains("of another user or profile"), "{refused}");
    }
    let no_url = machine.output(UnixUser::new(64_001), "stsctl", &["url", "for-user"]);
    assert_eq!(no_url.status.code(), Some(5));
    machine.env.daemon().signal(Signal::SIGTERM);
    assert_eq!(machine.env.wait_for_daemon_exit(), Some(0));
}

#[test]
fn url_secret_survives_restarts_and_ends_with_rotation() {
    let mut env = TestEnv::without_daemon(&[]);
    // Without systemd, the daemon keeps a port across restarts only if the configuration names it.
    let port = e2e::free_port();
    let top = format!("{}[http]\nlisten = \"127.0.0.1:{port}\"\n", env.endpoint());
    env.write_config_with(&top, UPLOAD);
    env.start_daemon();
    let url = Url::of(&env, "oss-upload");
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        env.daemon().signal(signal);
        env.wait_for_daemon_exit();
        env.start_daemon();
        assert_eq!(Url::of(&env, "oss-upload").0, url.0);
        assert_eq!(url.get(url.path(), "").status, 200);
    }
    env.daemon().signal(Signal::SIGUSR2);
    env.wait_until("the next program has taken the place", || {
        let log = env.daemon_log();
        log.matches(DAEMON_READY).count() == 4
    });
    assert_eq!(url.get(url.path(), "").status, 200);
    let master = fs::read_to_string(env.path("state/stsd/http.secret")).unwrap();
    assert!(!url.0.contains(&master), "the URL has the master secret");

    assert!(env.ctl(&["url", "--rotate"]).status.success());
    assert_eq!(url.get(url.path(), "").status, 403);
    let new = Url::of(&env, "oss-upload");
    assert_ne!(new.secret(), url.secret());
    assert_eq!(new.get(new.path(), "").status, 200);
    env.daemon().signal(Signal::SIGKILL);
    env.wait_for_daemon_exit();
    env.start_daemon();
    assert_eq!(url.get(url.path(), "").status, 403);
    assert_eq!(new.get(new.path(), "").status, 200);
}

#[test]
fn upgrade_keeps_a_port_that_the_system_picked() {
    let env = TestEnv::with_http(&[], UPLOAD);
    let url = Url::of(&env, "oss-upload");
    for count in 2..4 {
        env.daemon().signal(Signal::SIGUSR2);
        env.wait_until("the next program has taken the place", || {
            let log = env.daemon_log();
            log.matches(DAEMON_READY).count() == count
        });
        assert_eq!(url.get(url.path(), "").status, 200);
        assert_eq!(Url::of(&env, "oss-upload").0, url.0);
    }
    assert_eq!(env.emulator().calls(Action::AssumeRole), 1);
}

#[test]
fn port_in_use_disables_only_the_http_endpoint() {
    let mut env = TestEnv::without_daemon(&[]);
    let port = e2e::free_port();
    let other = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    let top = format!("{}[http]\nlisten = \"127.0.0.1:{port}\"\n", env.endpoint());
    env.write_config_with(&top, UPLOAD);
    env.start_daemon();
    let _ = env.document(&["oss-upload"]);
    assert!(env.client().url("oss-upload").is_err());
    drop(other);
    env.wait_until("it has the port", || env.client().url("oss-upload").is_ok());
    let url = Url::of(&env, "oss-upload");
    assert_eq!(url.get(url.path(), "").status, 200);
    // A reload closes the port, and the next one opens it again.
    env.write_config(UPLOAD);
    env.client().reload().unwrap();
    assert!(TcpStream::connect(url.authority()).is_err());
    env.write_config_with(&top, UPLOAD);
    env.client().reload().unwrap();
    assert_eq!(url.get(url.path(), "").status, 200);
}

#[test]
fn listen_address_outside_127_0_0_1_is_refused() {
    let env = TestEnv::without_daemon(&[]);
    for listen in [
        "0.0.0.0:7787",
        "[::1]:7787",
        "localhost:7787",
        "127.0.0.2:1",
        "7787",
        "",
    ] {
        let top = format!("{}[http]\nlisten = \"{listen}\"\n", env.endpoint());
        env.write_config_with(&top, UPLOAD);
        let output = env.daemon_command().arg("--check").output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{listen}");
        assert!(said.contains("http.listen"), "{listen}: {said}");
    }
}

#[test]
fn sts_refusal_is_an_http_error_with_reason_and_hint() {
    let env = TestEnv::with_http(&[], UPLOAD);
    env.emulator().inject_fault(
        Action::AssumeRole,
        Fault::error_with_status("NoPermission", 403),
    );
    let url = Url::of(&env, "oss-upload");
    let refused = url.get(url.path(), "");
    refused.refused(403, "DeniedBySts");
    let message = refused.json()["Message"].as_str().unwrap().to_owned();
    assert!(
        message.contains("NoPermission") && message.contains("hint"),
        "{message}"
    );
    url.get(&format!("/{}/nosuch", url.secret()), "")
        .refused(403, "Refused");
}

#[test]
fn ten_thousand_idle_http_connections_do_not_delay_others() {
    let env = TestEnv::with_http(&[], UPLOAD);
    let _ = e2e::raise_file_limit();
    let url = Url::of(&env, "oss-upload");
    let mut connections = Vec::new();
    for _ in 0..10_000 {
        connections.push(TcpStream::connect(url.authority()).unwrap());
    }
    assert_eq!(url.get(url.path(), "").status, 200);
    let _ = env.document(&["--patience", "60s", "oss-upload"]);
    assert_eq!(connections.len(), 10_000);
}

#[test]
fn url_never_returns_expired_credentials() {
    let env = TestEnv::with_http(&["--session-life", "4s"], UPLOAD);
    let url = Url::of(&env, "oss-upload");
    let mut keys = std::collections::BTreeSet::new();
    for _ in 0..300 {
        #[expect(clippy::disallowed_methods, reason = "a client looks at its clock")]
        let asked = jiff::Timestamp::now();
        let given = url.get(url.path(), "").credentials();
        let expiration: jiff::Timestamp = given["Expiration"].as_str().unwrap().parse().unwrap();
        assert!(expiration > asked, "{given}");
        keys.insert(given["AccessKeyId"].as_str().unwrap().to_owned());
        if keys.len() > 3 {
            return;
        }
        thread::sleep(Duration::from_millis(200));
    }
    panic!("no rotation: {keys:?}");
}
