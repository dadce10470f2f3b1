//! The audit: its events, its rate limit, and names that try to forge an event.

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::{fs::PermissionsExt as _, net::UnixStream},
    time::Duration,
};

use e2e::{
    Action, Fault, STRANGER, SystemDaemon, TestEnv, UPLOAD, UnixUser, program, unix_time,
    upload_profile,
};
use nix::unistd::{geteuid, getpid};
use serde_json::Value;

/// Starts a daemon that writes its audit to a file.
fn start(profiles: &str) -> TestEnv {
    let mut env = TestEnv::without_daemon(&[]);
    env.write_config(&format!("{profiles}[audit]\nfile = \"audit.jsonl\"\n"));
    env.start_daemon();
    env
}

fn lines(env: &TestEnv, file: &str) -> Vec<Value> {
    let text = fs::read_to_string(env.path(file)).unwrap();
    let line = |line: &str| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"));
    text.lines().map(line).collect()
}

/// Returns the audit lines of the log.
fn said(env: &TestEnv) -> Vec<String> {
    let log = env.daemon_log();
    let told = log.lines().filter(|line| line.contains(" audit: "));
    told.map(str::to_owned).collect()
}

#[test]
fn each_served_and_each_refused_request_is_one_event() {
    let others = [format!("user:{STRANGER}")];
    let env = start(&(UPLOAD.to_owned() + &upload_profile("closed", &others)));
    let document = env.document(&["oss-upload"]);
    assert_eq!(env.shim(&["closed"]).status.code(), Some(5));
    let mut watch = env.client().watch("oss-upload").unwrap();
    let _ = watch.next().unwrap().unwrap();

    let lines = lines(&env, "audit.jsonl");
    let [ready, refused, watched] = &lines[..] else {
        panic!("{lines:?}");
    };
    assert_eq!(ready["decision"], "ready");
    assert_eq!(ready["asked"], "credentials");
    assert_eq!(ready["profile"], "oss-upload");
    assert_eq!(ready["uid"], geteuid().as_raw());
    assert_eq!(ready["access_key_id"], document["access_key_id"]);
    let remaining = ready["remaining_seconds"].as_u64().unwrap();
    assert!((3500..=3600).contains(&remaining), "{remaining}");
    assert!(ready["request_id"].as_str().unwrap().len() > 8, "{ready}");
    assert!(ready["time"].as_str().unwrap().ends_with('Z'));

    assert_eq!(refused["decision"], "refused");
    assert_eq!(refused["profile"], "closed");
    assert!(refused.get("access_key_id").is_none());
    assert_ne!(refused["pid"], ready["pid"]);

    assert_eq!(watched["asked"], "watch");
    assert_eq!(watched["pid"], getpid().as_raw());
    assert_eq!(watched["request_id"], ready["request_id"]);
    // Under Landlock the daemon cannot read the executable of other processes.
    if let Some(exe) = watched.get("exe") {
        let this = std::env::current_exe().unwrap();
        assert_eq!(*exe, this.to_str().unwrap());
    }
    let said = said(&env);
    assert_eq!(said.len(), 3, "{said:#?}");
    let key = document["access_key_id"].as_str().unwrap();
    assert!(said[0].contains(key) && said[2].contains(key));
    let mode = fs::metadata(env.path("audit.jsonl")).unwrap().permissions();
    assert_eq!(mode.mode() & 0o777, 0o600);
}

#[test]
fn refusal_of_each_kind_is_an_event_with_its_reason() {
    let others = [format!("user:{STRANGER}")];
    let env = start(&(UPLOAD.to_owned() + &upload_profile("closed", &others)));
    let by_http = |profile: &str| {
        let mut socket = UnixStream::connect(env.path("run/http.sock")).unwrap();
        let head = format!("GET /credentials/{profile} HTTP/1.1\r\nHost: localhost\r\n");
        socket.write_all(head.as_bytes()).unwrap();
        socket.write_all(b"Connection: close\r\n\r\n").unwrap();
        socket.read_to_end(&mut Vec::new()).unwrap();
    };
    let shim = |profile: &str, code: i32| {
        let output = env.shim(&["--patience", "10s", profile]);
        assert_eq!(output.status.code(), Some(code), "{output:?}");
    };
    let mut expected = Vec::new();
    let fault = |code| {
        let fault = Fault::error(code);
        env.emulator().inject_fault(Action::AssumeRole, fault);
    };
    shim("unknown", 4);
    by_http("unknown");
    expected.extend(["credentials unknown_profile", "url unknown_profile"]);
    shim("closed", 5);
    by_http("closed");
    expected.extend(["credentials not_allowed", "url not_allowed"]);
    fault("NoPermission");
    shim("oss-upload", 7);
    by_http("oss-upload");
    expected.extend(["credentials denied_by_sts", "url denied_by_sts"]);
    env.emulator().clear_faults();
    fault("ServiceUnavailable");
    // `stsctl refresh` ends the back-off of a refusal.
    assert_eq!(env.ctl(&["refresh", "oss-upload"]).status.code(), Some(6));
    shim("oss-upload", 6);
    by_http("oss-upload");
    expected.extend([
        "refresh unreachable",
        "credentials unreachable",
        "url unreachable",
    ]);

    let text = |line: &Value, key: &str| line[key].as_str().unwrap_or_default().to_owned();
    let lines = lines(&env, "audit.jsonl");
    let refused: Vec<_> = lines
        .iter()
        .filter(|it| it["decision"] == "refused")
        .map(|it| format!("{} {}", text(it, "asked"), text(it, "reason")))
        .collect();
    assert_eq!(refused, expected);
    assert_eq!(lines.len(), refused.len(), "{lines:?}");
    let shown = env.ctl(&["log", "--no-follow"]).stdout;
    let shown = String::from_utf8(shown).unwrap();
    assert!(shown.contains("(denied by sts)"), "{shown}");
}

#[test]
fn reload_reopens_an_audit_file_that_was_moved_away() {
    let env = start(UPLOAD);
    let _ = env.document(&["oss-upload"]);
    fs::rename(env.path("audit.jsonl"), env.path("audit.jsonl.1")).unwrap();
    let _ = env.document(&["oss-upload"]);
    env.client().reload().unwrap();
    let _ = env.document(&["oss-upload"]);
    assert_eq!(lines(&env, "audit.jsonl.1").len(), 2);
    assert_eq!(lines(&env, "audit.jsonl").len(), 1);
    // A file that is refused changes nothing, and the error says why.
    fs::set_permissions(env.path("audit.jsonl"), fs::Permissions::from_mode(0o644)).unwrap();
    let output = env.ctl(&["reload"]);
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{complaint}");
    for words in ["config.toml:9:", "audit.file", "mode 0644", "logrotate"] {
        assert!(complaint.contains(words), "{words}: {complaint}");
    }
    let _ = env.document(&["oss-upload"]);
    assert_eq!(lines(&env, "audit.jsonl").len(), 2);
}

#[test]
fn audit_aggregates_a_loop_and_keeps_events_of_other_callers() {
    let env = start(UPLOAD);
    let _ = env.document(&["oss-upload"]);
    let began = unix_time();
    for _ in 0..300 {
        let answer =
            env.client()
                .credentials("oss-upload", Duration::ZERO, Duration::from_secs(60));
        answer.unwrap();
    }
    let seconds = unix_time() - began;
    let _ = env.document(&["oss-upload"]);
    let (ours, others): (Vec<_>, Vec<_>) = lines(&env, "audit.jsonl")
        .into_iter()
        .partition(|line| line["pid"] == getpid().as_raw());
    assert_eq!(others.len(), 2, "events of the shim: {others:?}");
    let told = ours.iter().filter(|it| it.get("count").is_none()).count();
    // The burst of the rate limit, and one event for each second of the loop.
    let most = 10 + 2 + usize::try_from(seconds).unwrap();
    assert!((10..=most).contains(&told), "{told} of 300 in {seconds} s");
    // A loop that ends before the first sum is due has one sum, a longer one has more.
    let sums = || {
        let mut lines = lines(&env, "audit.jsonl");
        lines.retain(|it| it["count"].is_u64());
        lines
    };
    let counted = || sums().iter().map(|it| it["count"].as_u64().unwrap()).sum();
    let rest = 300 - u64::try_from(told).unwrap();
    env.wait_until("all of it is summed up", || {
        let counted: u64 = counted();
        assert!(counted <= rest, "{counted} of {rest}");
        counted == rest
    });
    for sum in sums() {
        assert_eq!(sum["pid"], getpid().as_raw());
        assert_eq!(sum["decision"], "ready");
    }
    let events = told + 2 + sums().len();
    env.wait_until("the log has them", || said(&env).len() == events);
}

#[test]
fn executable_name_with_line_breaks_forges_no_audit_event() {
    if !nix::unistd::geteuid().is_root() {
        e2e::not_run("only root sees a peer's executable, and only without Landlock");
        return;
    }
    // Under Landlock the daemon reads no executable, so the kernel is made to refuse Landlock.
    let mut env = TestEnv::without_daemon(&[]);
    env.write_config(&format!("{UPLOAD}[audit]\nfile = \"audit.jsonl\"\n"));
    let daemon = env.daemon_command();
    let mut strace = std::process::Command::new("strace");
    strace.args([
        "-qq",
        "-f",
        "-o",
        "/dev/null",
        "-e",
        "trace=landlock_create_ruleset",
    ]);
    strace.args(["-e", "inject=landlock_create_ruleset:error=ENOSYS"]);
    strace.arg(daemon.get_program());
    for (name, value) in daemon.get_envs() {
        strace.env(name, value.unwrap_or_default());
    }
    if std::process::Command::new("strace")
        .arg("-V")
        .output()
        .is_err()
    {
        e2e::not_run("strace does not start; its package is strace");
        return;
    }
    env.start_daemon_with(strace);
    let pid = env.client().status().unwrap().pid.cast_signed();
    let forged = "x\n2026-11-24T00:00:00Z  INFO audit: forged decision=\"ready\"\u{1b}[2K";
    let shim = env.path(&forged.replace('/', ""));
    fs::copy(program("sts-shim"), &shim).unwrap();
    let output = std::process::Command::new(&shim)
        .arg("--socket")
        .arg(env.socket())
        .arg("oss-upload")
        .output()
        .unwrap();
    assert!(output.status.success());
    // The daemon would survive the end of strace.
    let daemon = nix::unistd::Pid::from_raw(pid);
    nix::sys::signal::kill(daemon, nix::sys::signal::Signal::SIGKILL).unwrap();
    let lines = lines(&env, "audit.jsonl");
    assert_eq!(lines.len(), 1);
    let exe = lines[0]["exe"].as_str().expect("the executable");
    assert!(exe.contains("x\\n2026-11-24"), "{exe}");
    assert!(!exe.contains('\u{1b}'));
    let log = env.daemon_log();
    assert!(
        log.lines()
            .all(|line| !line.starts_with("2026-11-24T00:00:00Z"))
    );
    assert!(!log.contains('\u{1b}'));
    assert_eq!(said(&env).len(), 1);
}

#[test]
fn profile_name_with_line_breaks_forges_no_audit_event() {
    let Some(machine) = SystemDaemon::start(&upload_profile("closed", &[])) else {
        return;
    };
    let env = &machine.env;
    let forged = format!(
        "x\n2026-11-24T00:00:00Z  INFO audit: forged {}",
        "y".repeat(400)
    );
    machine.assert_shim(UnixUser::new(STRANGER), &forged, 5);
    let said = said(env);
    assert_eq!(said.len(), 1, "{said:#?}");
    assert!(said[0].contains("refused") && said[0].contains(&STRANGER.to_string()));
    assert!(said[0].len() < 1000, "{}", said[0].len());
    let log = env.daemon_log();
    assert!(
        log.lines()
            .all(|line| !line.starts_with("2026-11-24T00:00:00Z"))
    );
}
