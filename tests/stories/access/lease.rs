//! Leases: a second socket with narrowed rights, for a limited time.

use std::{
    fs,
    os::unix::{
        fs::{FileTypeExt as _, PermissionsExt as _},
        process::CommandExt as _,
    },
    path::PathBuf,
    process::{Command, Output, Stdio},
    thread,
    time::Duration,
};

use e2e::{Action, Process, SystemDaemon, TestEnv, UPLOAD, UnixUser, program, upload_profile};
use nix::{sys::signal::Signal, unistd::geteuid};
use serde_json::json;
use stsd_client::{Client, Error, FailureKind};

pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// A policy that allows reading below `public/` alone.
pub(super) const NARROW: &str = r#"{
  "Version": "1",
  "Statement": [{"Effect": "Allow", "Action": "oss:GetObject",
                 "Resource": "acs:oss:*:*:examplebucket/public/*"}]
}"#;

pub(super) fn env_with(emulator: &[&str], profiles: &str) -> TestEnv {
    let env = TestEnv::with(emulator, profiles);
    env.write("narrow.json", NARROW, 0o600);
    env
}

pub(super) fn socket(env: &TestEnv) -> PathBuf {
    env.path("lease.sock")
}

/// Returns the command that holds a lease.
fn command(env: &TestEnv, arguments: &[&str]) -> Command {
    let mut command = Command::new(program("stsctl"));
    command.arg("--socket").arg(env.socket()).arg("lease");
    command.args(arguments).arg("--socket").arg(socket(env));
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    command
}

/// Opens a lease and waits for its socket.
pub(super) fn lease(env: &TestEnv, arguments: &[&str]) -> Process {
    let narrow = env.path("narrow.json");
    let policy = ["--policy", narrow.to_str().unwrap()];
    let command = command(env, &[arguments, &policy].concat());
    let mut lease = Process::start(command, &env.path("lease.log"));
    let line = lease.first_line();
    assert!(line.contains("leased at"), "{line}{}", said(env));
    lease
}

fn said(env: &TestEnv) -> String {
    fs::read_to_string(env.path("lease.log")).unwrap_or_default()
}

pub(super) fn by_lease(env: &TestEnv) -> Client {
    Client::at(socket(env))
}

fn shim_line(env: &TestEnv) -> String {
    let (shim, socket) = (program("sts-shim"), socket(env));
    let (shim, socket) = (shim.display(), socket.display());
    format!("{shim} --socket {socket} oss-upload")
}

#[track_caller]
pub(super) fn refused<T: std::fmt::Debug>(outcome: Result<T, Error>, kind: FailureKind) {
    match outcome {
        Err(Error::Refused(failure)) => assert_eq!(failure.kind, kind, "{failure:?}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn lease_serves_one_narrowed_profile_and_nothing_else() {
    let other = UPLOAD.replace("oss-upload]", "other]");
    let env = env_with(&[], &format!("{UPLOAD}{other}"));
    let _lease = lease(&env, &["oss-upload", "--ttl", "20m"]);
    for key in ["public/a", "private/a"] {
        let put = ["put", "examplebucket", key];
        env.oss_with_profile("oss-upload", &put, "text").unwrap();
        let error = env
            .oss_with_process(&shim_line(&env), &put, "x")
            .unwrap_err();
        assert!(error.contains("AccessDenied"), "{error}");
    }
    let get = |key| env.oss_with_process(&shim_line(&env), &["get", "examplebucket", key], "");
    assert_eq!(get("public/a"), Ok("text".into()));
    assert!(get("private/a").unwrap_err().contains("AccessDenied"));

    let client = by_lease(&env);
    let zero = Duration::ZERO;
    let not_allowed = FailureKind::NotAllowed;
    refused(client.credentials("other", zero, PATIENCE), not_allowed);
    refused(client.credentials("nosuch", zero, PATIENCE), not_allowed);
    refused(client.refresh("oss-upload", PATIENCE), not_allowed);
    for steered in [client.reload(), client.rotate_urls()] {
        let Err(Error::Refused(failure)) = steered else {
            panic!("{steered:?}");
        };
        assert_eq!(failure.kind, not_allowed);
        assert!(failure.message.contains("lease"), "{failure:?}");
        assert!(!failure.hint.contains("sudo"), "{failure:?}");
    }
    let again = client.lease("oss-upload", Some(NARROW), PATIENCE, PATIENCE);
    refused(again.map(drop), not_allowed);
    let seen = client.status().unwrap().profiles;
    let names: Vec<_> = seen.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["oss-upload"]);
    let status = client.status().unwrap();
    assert_eq!((status.pid, status.config_path.as_str()), (0, ""));
    let mut shown = Command::new(program("stsctl"));
    shown.arg("--socket").arg(socket(&env)).arg("status");
    let shown = String::from_utf8(shown.output().unwrap().stdout).unwrap();
    let head = shown.lines().next().unwrap_or_default();
    assert!(head.ends_with(", a lease"), "{shown}");
    assert!(status.protections.is_empty());
    // The owner's own session is not narrowed.
    let id = |client: &Client| {
        let answer = client.credentials("oss-upload", zero, PATIENCE).unwrap();
        answer.credentials.access_key_id
    };
    assert_ne!(id(&client), id(&env.client()));
    assert_eq!(env.emulator().calls(Action::AssumeRole), 2, "one each");
}

#[test]
fn session_of_a_lease_lasts_as_long_as_the_lease() {
    let env = env_with(&[], UPLOAD);
    let _lease = lease(&env, &["oss-upload", "--ttl", "20m"]);
    let client = by_lease(&env);
    let status = client.status().unwrap();
    let life = status.profiles[0].lifetime_seconds.unwrap();
    assert!((20 * 60 - 5..=21 * 60).contains(&life), "{life}");
    // A minimum lifetime above that of the lease is answered at once with the session.
    let answer = client.credentials("oss-upload", Duration::from_secs(3000), PATIENCE);
    assert!(answer.unwrap().short);
    assert_eq!(env.emulator().calls(Action::AssumeRole), 1);
}

#[test]
fn lease_ends_at_its_ttl() {
    let env = env_with(&["--session-life", "30s"], UPLOAD);
    let mut lease = lease(&env, &["oss-upload", "--ttl", "10s"]);
    let client = by_lease(&env);
    // The first session lasts as long as the lease, so that no renewal follows after a tenth of its
    // lifetime.
    thread::sleep(Duration::from_secs(3));
    let answer = client.credentials("oss-upload", Duration::from_secs(100), PATIENCE);
    assert!(answer.unwrap().short);
    assert_eq!(env.emulator().calls(Action::AssumeRole), 1);
    let watched = client.watch("oss-upload").unwrap();
    assert_eq!(lease.wait(), Some(0), "{}", said(&env));
    let end = watched.last().unwrap();
    refused(end, FailureKind::NotAllowed);
    assert!(!socket(&env).exists());
    let client = client.without_retries();
    let outcome = client.credentials("oss-upload", Duration::ZERO, PATIENCE);
    assert!(matches!(outcome, Err(Error::NotReachable { .. })));
    let _ = env.document(&["oss-upload"]);
}

#[test]
fn lease_ends_with_its_owner_after_any_signal() {
    let env = env_with(&[], UPLOAD);
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGKILL] {
        let mut lease = lease(&env, &["oss-upload", "--ttl", "20m"]);
        let client = by_lease(&env);
        let watched = client.watch("oss-upload").unwrap();
        lease.signal(signal);
        assert_eq!(lease.wait(), None, "ended by the signal");
        let end = watched.last().unwrap();
        assert!(end.is_err(), "{signal}");
        let client = client.without_retries();
        env.wait_until("the lease refuses connections", || {
            let outcome = client.credentials("oss-upload", Duration::ZERO, PATIENCE);
            matches!(outcome, Err(Error::NotReachable { .. }))
        });
        // The socket of a killed owner does not prevent the next lease.
        assert_eq!(socket(&env).exists(), signal == Signal::SIGKILL);
    }
}

#[test]
fn lease_survives_a_restart_of_the_daemon() {
    let mut env = env_with(&[], UPLOAD);
    let mut lease = lease(&env, &["oss-upload", "--ttl", "20m"]);
    for signal in [Signal::SIGKILL, Signal::SIGTERM] {
        env.daemon().signal(signal);
        env.wait_for_daemon_exit();
        let client = by_lease(&env);
        let asking =
            thread::spawn(move || client.credentials("oss-upload", Duration::ZERO, PATIENCE));
        env.start_daemon();
        asking.join().unwrap().unwrap();
    }
    assert!(lease.is_running());
}

#[test]
fn reload_ends_or_renews_a_lease_with_its_profile() {
    let env = env_with(&[], UPLOAD);
    let mut lease = lease(&env, &["oss-upload", "--ttl", "20m"]);
    let client = by_lease(&env);
    let id = || {
        let answer = client.credentials("oss-upload", Duration::ZERO, PATIENCE);
        answer.unwrap().credentials.access_key_id
    };
    let before = id();
    env.client().reload().unwrap();
    env.write_config(&format!("{UPLOAD}duration = \"30m\"\n"));
    env.client().reload().unwrap();
    assert_eq!(id(), before, "it grants the same");
    let other = "role_session_name = \"other\"\n";
    env.write_config(&format!("{UPLOAD}{other}"));
    env.client().reload().unwrap();
    env.wait_until("the lease is of the changed profile", || id() != before);
    env.write_config(&UPLOAD.replace("oss-upload]", "other]"));
    env.client().reload().unwrap();
    assert_eq!(lease.wait(), Some(4), "{}", said(&env));
    assert!(said(&env).contains("no profile is named"), "{}", said(&env));
}

/// Asserts that a lease is refused with an exit code and leaves no socket.
#[track_caller]
fn check(env: &TestEnv, arguments: &[&str], code: i32, complaint: &str) {
    let mut command = command(env, arguments);
    let Output { status, stderr, .. } = command.output().unwrap();
    let said = String::from_utf8_lossy(&stderr);
    e2e::assert_no_secrets("stsctl's stderr", &stderr);
    assert_eq!(status.code(), Some(code), "{arguments:?}: {said}");
    assert!(said.contains(complaint), "{arguments:?}: {said}");
    let left = fs::symlink_metadata(socket(env));
    let left = left.is_ok_and(|it| it.file_type().is_socket());
    assert!(!left, "{arguments:?}");
}

#[test]
fn invalid_lease_is_refused_before_a_socket_exists() {
    let own_policy = UPLOAD.replace("oss-upload]", "own]") + "policy_file = \"narrow.json\"\n";
    let mut env = TestEnv::without_daemon(&[]);
    env.write("narrow.json", NARROW, 0o600);
    env.write("broken.json", "{", 0o600);
    // Valid JSON that STS refuses.
    let refused = NARROW.replace("oss:GetObject\"", "oss:GetObject\", \"Colour\": \"red\"");
    env.write("refused.json", &refused, 0o600);
    env.write_config(&format!("{UPLOAD}{own_policy}"));
    env.start_daemon();
    let path = |name: &str| env.path(name).to_str().unwrap().to_owned();
    let (narrow, broken, refused) = (
        path("narrow.json"),
        path("broken.json"),
        path("refused.json"),
    );
    let ttl = ["oss-upload", "--ttl", "20m"];
    let with = |policy: &str| -> Vec<String> {
        let all = [&ttl[..], &["--policy", policy]].concat();
        all.iter().map(|it| (*it).to_owned()).collect()
    };
    let check = |arguments: Vec<String>, code, complaint| {
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        check(&env, &arguments, code, complaint);
    };
    let owned = |arguments: &[&str]| arguments.iter().map(|it| (*it).to_owned()).collect();
    check(owned(&ttl), 2, "needs a session policy");
    check(with(&broken), 2, "JSON document");
    check(with(&refused), 7, "PolicyGrammar");
    check(with("/nonexistent"), 1, "/nonexistent");
    check(with("/dev/zero"), 1, "not a policy");
    check(
        owned(&["own", "--ttl", "20m", "--policy", &narrow]),
        2,
        "takes one",
    );
    check(
        owned(&["oss-upload", "--ttl", "0s", "--policy", &narrow]),
        2,
        "30 days",
    );
    check(
        owned(&["oss-upload", "--ttl", "31d", "--policy", &narrow]),
        2,
        "",
    );
    check(
        owned(&["nosuch", "--ttl", "20m", "--policy", &narrow]),
        4,
        "no profile",
    );
    env.write("lease.sock", "another file", 0o600);
    check(with(&narrow), 1, "not a socket");
    fs::remove_file(socket(&env)).unwrap();
    // The profile's own policy is sufficient.
    let command = command(&env, &["own", "--ttl", "20m"]);
    let mut lease = Process::start(command, &env.path("lease.log"));
    assert!(lease.first_line().contains("leased at"));
    let mut second = super::lease::command(&env, &["own", "--ttl", "20m"]);
    let second = second.output().unwrap();
    let complaint = String::from_utf8_lossy(&second.stderr);
    assert!(complaint.contains("listens at"), "{complaint}");
    assert!(lease.is_running());
}

#[test]
fn other_user_is_refused_at_an_open_lease_socket() {
    if !geteuid().is_root() {
        e2e::not_run("only root can become another user for this story");
        return;
    }
    let env = env_with(&[], UPLOAD);
    let _lease = lease(&env, &["oss-upload", "--ttl", "20m"]);
    let mode = fs::metadata(socket(&env)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    for path in [env.path(""), socket(&env)] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
    }
    let shim = env.path("sts-shim");
    fs::copy(program("sts-shim"), &shim).unwrap();
    fs::set_permissions(&shim, fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = Command::new(shim);
    command.arg("--socket").arg(socket(&env)).arg("oss-upload");
    let output = command.uid(65_534).gid(65_534).output().unwrap();
    assert_eq!(output.status.code(), Some(5), "{output:?}");
    assert!(output.stdout.is_empty());
}

#[test]
fn system_daemon_leases_a_profile_to_an_allowed_user() {
    let holder = UnixUser::new(64_002);
    let rules = upload_profile("oss-upload", &["user:64002".to_owned()]);
    let Some(machine) = SystemDaemon::start(&rules) else {
        return;
    };
    let env = &machine.env;
    env.write("narrow.json", NARROW, 0o644);
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let at = directory.path().join("lease.sock");
    let holds = |person: UnixUser| {
        let mut command = person.command(machine.program("stsctl"));
        command.arg("--socket").arg(env.socket());
        command.args(["lease", "oss-upload", "--ttl", "20m", "--policy"]);
        command
            .arg(env.path("narrow.json"))
            .arg("--socket")
            .arg(&at);
        command.stdout(Stdio::piped());
        command
    };
    let stranger = holds(UnixUser::new(64_001)).output().unwrap();
    assert_eq!(stranger.status.code(), Some(5), "{stranger:?}");
    let mut lease = Process::start(holds(holder), &env.path("lease.log"));
    assert!(lease.first_line().contains("leased at"), "{}", said(env));
    let get = |person: UnixUser| {
        let mut command = person.command(machine.program("sts-shim"));
        let command = command.arg("--socket").arg(&at).arg("oss-upload");
        command.env("STSD_SERVER_UID", holder.uid.to_string());
        command.output().unwrap().status.code()
    };
    assert_eq!(get(holder), Some(0));
    // Root has no rule; a container runs as root, so the lease admits root.
    assert_eq!(get(UnixUser::new(0)), Some(0));
    machine.assert_shim(UnixUser::new(0), "oss-upload", 5);
    // The mode of the file alone does not admit a user.
    fs::set_permissions(&at, fs::Permissions::from_mode(0o777)).unwrap();
    assert_eq!(get(UnixUser::new(64_001)), Some(5));
}

#[test]
fn lease_and_its_callers_are_in_the_audit() {
    let mut env = TestEnv::without_daemon(&[]);
    env.write("narrow.json", NARROW, 0o600);
    let audit = format!("{}[audit]\nfile = \"audit.log\"\n", env.endpoint());
    env.write_config_with(&audit, UPLOAD);
    env.start_daemon();
    let held = lease(&env, &["oss-upload", "--ttl", "20m"]);
    let client = by_lease(&env);
    let answer = client.credentials("oss-upload", Duration::ZERO, PATIENCE);
    let id = answer.unwrap().credentials.access_key_id;
    let _ = client.reload();
    let _ = env.document(&["oss-upload"]);
    let text = fs::read_to_string(env.path("audit.log")).unwrap();
    let events: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let one = |asked: &str, decision: &str, lease: Option<u64>| {
        let lease = lease.map_or(serde_json::Value::Null, |it| json!(it));
        events
            .iter()
            .find(|it| it["asked"] == asked && it["decision"] == decision && it["lease"] == lease)
            .unwrap_or_else(|| panic!("{asked} {decision} {lease}: {text}"))
    };
    let opened = one("lease", "ready", Some(1));
    assert_eq!(opened["pid"], held.id());
    assert_eq!(opened["access_key_id"], id.as_str());
    let given = one("credentials", "ready", Some(1));
    assert_eq!(given["pid"], std::process::id());
    assert_eq!(given["access_key_id"], id.as_str());
    one("reload", "refused", Some(1));
    assert_ne!(
        one("credentials", "ready", None)["access_key_id"],
        id.as_str()
    );
}

#[test]
fn lease_loop_is_refused_after_64_leases() {
    let env = env_with(&[], UPLOAD);
    let client = env.client().without_retries();
    let ask = || client.lease("oss-upload", Some(NARROW), PATIENCE, PATIENCE);
    let granted = (0..100).take_while(|_| ask().is_ok()).count();
    assert_eq!(granted, 64);
    refused(ask().map(drop), FailureKind::Busy);
    assert_eq!(env.emulator().calls(Action::AssumeRole), 64);
    let _ = env.document(&["oss-upload"]);
}

#[test]
fn lease_ends_with_an_error_when_its_socket_is_removed() {
    let env = env_with(&[], UPLOAD);
    let mut lease = lease(&env, &["oss-upload", "--ttl", "20m"]);
    assert!(by_lease(&env).status().is_ok());
    fs::remove_file(socket(&env)).unwrap();
    assert_eq!(lease.wait(), Some(1));
    assert!(
        said(&env).contains("was removed: the lease ends"),
        "{}",
        said(&env)
    );
}
