//! The instance role of an ECS instance, by its metadata service.

use std::{
    collections::BTreeSet,
    fs,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use e2e::{Action, DAEMON_READY, Fault, OutputLog, TestEnv, assert_output, block_on, unix_time};
use nix::sys::signal::Signal;
use serde_json::Value;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(60);

/// A profile of the instance's role itself, and one of a role that it may assume.
const PROFILES: &str = "[profile.instance]\nsource = \"instance\"\n\
    [profile.oss-upload]\nsource = \"instance\"\n\
    role_arn = \"acs:ram::100000000000001:role/oss-upload\"\n";

fn source(env: &TestEnv, more: &str) -> String {
    let imds = env.emulator().imds_url();
    format!("[source.instance]\ntype = \"ecs-role\"\nmetadata_endpoint = \"{imds}\"\n{more}")
}

fn configure(env: &TestEnv, more: &str) {
    env.write_config(&format!("{}{PROFILES}", source(env, more)));
}

fn env_with(emulator: &[&str], more: &str) -> TestEnv {
    let mut env = TestEnv::without_daemon(emulator);
    configure(&env, more);
    env.start_daemon();
    env
}

fn key(document: &Value) -> String {
    document["AccessKeyId"].as_str().unwrap().to_owned()
}

/// Returns the error of a refresh.
fn complaint(env: &TestEnv, profile: &str) -> String {
    let output = env.ctl(&["refresh", profile]);
    assert!(!output.status.success(), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn instance_role_uploads_directly_and_through_assume_role() {
    let mut env = TestEnv::without_daemon(&[]);
    configure(&env, "");
    // Requests to the metadata service bypass a proxy.
    let mut command = env.daemon_command();
    for name in ["http_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
        command.env(name, "http://127.0.0.1:1");
    }
    env.start_daemon_with(command);
    for profile in ["instance", "oss-upload"] {
        let put = env.oss_with_profile(profile, &["put", "examplebucket", profile], "by role");
        assert!(put.is_ok(), "{profile}: {put:?}");
    }
    assert_eq!(
        env.emulator().calls(Action::AssumeRole),
        1,
        "for the one with a role_arn"
    );
    for step in [Action::ImdsToken, Action::ImdsRole, Action::ImdsCredentials] {
        assert_eq!(
            env.emulator().calls(step),
            1,
            "{step:?}: requests for both profiles"
        );
    }
    // The assumed role has credentials of its own.
    assert_ne!(
        key(&env.document(&["instance"])),
        key(&env.document(&["oss-upload"]))
    );
}

#[test]
fn named_instance_role_skips_the_role_query() {
    let env = env_with(&[], "role_name = \"instance\"\n");
    let put = env.oss_with_profile("instance", &["put", "examplebucket", "named"], "x");
    assert!(put.is_ok(), "{put:?}");
    assert_eq!(
        (
            env.emulator().calls(Action::ImdsRole),
            env.emulator().calls(Action::ImdsCredentials)
        ),
        (0, 1)
    );
    configure(&env, "role_name = \"other\"\n");
    assert!(env.ctl(&["reload"]).status.success());
    let complaint = complaint(&env, "instance");
    for words in [
        "the role other of the metadata service at 127.0.0.1",
        "404",
        "attach",
    ] {
        assert!(complaint.contains(words), "{complaint}");
    }
}

#[test]
fn instance_credentials_rotate_under_load_without_a_failure() {
    let env = env_with(&["--session-life", "8s"], "");
    let (over, answers) = (AtomicBool::new(false), AtomicU64::new(0));
    let keys = Mutex::new(BTreeSet::new());
    let began = unix_time();
    thread::scope(|scope| {
        for profile in ["instance", "oss-upload", "instance"] {
            let (env, over, keys, answers) = (&env, &over, &keys, &answers);
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    let asked = unix_time();
                    let answer = env.client().credentials(profile, Duration::ZERO, PATIENCE);
                    let given = answer.expect("a request was refused").credentials;
                    assert!(given.expiration_unix_seconds.cast_unsigned() > asked);
                    keys.lock().unwrap().insert((profile, given.access_key_id));
                    answers.fetch_add(1, Ordering::Relaxed);
                    thread::sleep(Duration::from_millis(2));
                }
            });
        }
        let turned = || {
            let keys = keys.lock().unwrap();
            let of = |profile| keys.iter().filter(|it| it.0 == profile).count();
            of("instance") >= 4 && of("oss-upload") >= 3
        };
        for round in 1..=2400 {
            if turned() {
                break;
            }
            if round % 100 == 0 {
                env.emulator().rotate_instance_credentials();
            }
            thread::sleep(Duration::from_millis(50));
        }
        over.store(true, Ordering::Relaxed);
        assert!(turned(), "{keys:?}");
    });
    let answers = answers.into_inner();
    // The daemon checks at half of the remaining lifetime, which is three seconds or more, and once a
    // second near the expiration of credentials that are not replaced.
    let (asked, seconds) = (
        env.emulator().calls(Action::ImdsCredentials),
        unix_time() - began,
    );
    assert!(asked <= 2 * seconds + 4, "{asked} in {seconds} s");
    e2e::measured(&format!(
        "{answers} answers, {asked} dialogues in {seconds} s"
    ));
}

#[test]
fn unchanged_instance_credentials_notify_no_client() {
    let mut env = TestEnv::without_daemon(&[]);
    let told = env.path("run/told");
    let script = format!("#!/bin/sh\necho told >> {}\n", told.display());
    env.write("told.sh", &script, 0o700);
    let sink = format!(
        "on_renewal = [\"{}\"]\n[profile.instance.file]\npath = \"run/x.secret\"\n",
        env.path("told.sh").display()
    );
    let profile = format!("[profile.instance]\nsource = \"instance\"\n{sink}");
    env.write_config(&format!("{}{profile}", source(&env, "")));
    env.start_daemon();
    let times = || {
        fs::read_to_string(&told)
            .unwrap_or_default()
            .lines()
            .count()
    };
    env.wait_until("the first", || times() == 1);
    let status = || env.client().status().unwrap().profiles.remove(0);

    block_on(async {
        let mut watched = env.async_client().watch("instance");
        let first = timeout(PATIENCE, watched.changed()).await.unwrap().unwrap();
        let before = status();
        for _ in 0..3 {
            assert!(env.ctl(&["refresh", "instance"]).status.success());
        }
        let again = timeout(Duration::from_millis(300), watched.changed()).await;
        assert!(again.is_err(), "the same is no news");
        let after = status();
        assert_eq!(after.hand_outs, before.hand_outs, "and is not pushed");
        assert_eq!(after.renewals, before.renewals);
        assert_eq!(times(), 1, "no command is run");
        assert_eq!(
            env.emulator().calls(Action::ImdsCredentials),
            4,
            "it was asked"
        );

        env.emulator().rotate_instance_credentials();
        assert!(env.ctl(&["refresh", "instance"]).status.success());
        let second = timeout(PATIENCE, watched.changed()).await.unwrap().unwrap();
        assert_ne!(first.access_key_id, second.access_key_id);
    });
    env.wait_until("the second", || times() == 2);

    let before = env.document(&["instance"]);
    let asked = env.emulator().calls(Action::ImdsCredentials);
    env.daemon().signal(Signal::SIGUSR2);
    env.wait_until("the new program", || {
        env.daemon_log().matches(DAEMON_READY).count() == 2
    });
    assert_eq!(env.document(&["instance"]), before);
    assert_eq!(
        env.emulator().calls(Action::ImdsCredentials),
        asked,
        "the session came along"
    );
    assert_eq!(env.emulator().calls(Action::AssumeRole), 0);
}

#[test]
fn lease_of_passed_on_credentials_is_refused() {
    let env = env_with(&[], "");
    let socket = env.path("run/lease.sock");
    let socket = socket.to_str().unwrap();
    let output = env.ctl(&["lease", "instance", "--socket", socket, "--ttl", "20m"]);
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success());
    assert!(
        complaint.contains("narrows only the session of a role"),
        "{complaint}"
    );
}

#[test]
fn each_metadata_failure_has_its_own_message() {
    let error = |status: u16| Fault::error_with_status("Gone", status);
    let table = [
        (Action::ImdsToken, error(404)),
        (Action::ImdsToken, error(403)),
        (Action::ImdsToken, Fault::Html),
        (Action::ImdsToken, Fault::Reset),
        (Action::ImdsToken, Fault::HalfBody),
        (Action::ImdsToken, Fault::Hang),
        (Action::ImdsRole, error(404)),
        (Action::ImdsRole, error(500)),
        (Action::ImdsRole, Fault::Html),
        (Action::ImdsCredentials, error(404)),
        (Action::ImdsCredentials, error(401)),
        (Action::ImdsCredentials, Fault::Html),
        (Action::ImdsCredentials, Fault::HalfBody),
        (Action::ImdsCredentials, Fault::Unsuccessful("RoleNotFound")),
        (Action::ImdsCredentials, Fault::Empty),
        (Action::ImdsCredentials, Fault::Expired),
    ];
    let mut texts = String::new();
    for (action, fault) in table {
        let env = env_with(&[], "");
        env.emulator().inject_fault(action, fault);
        let mut errors = OutputLog::new(&env);
        for profile in ["instance", "oss-upload"] {
            let title = format!("{profile}: {}: {fault:?}", action.name());
            errors.add(&title, &complaint(&env, profile));
        }
        texts += errors.text();
        texts += "\n\n";
        assert_eq!(
            env.emulator().calls(Action::AssumeRole),
            0,
            "calls without credentials"
        );
        env.emulator().clear_faults();
        env.wait_until("the first session after the fault", || {
            env.shim(&["instance"]).status.success()
        });
    }
    assert_output!("metadata_failures", texts.trim_end());
}

#[test]
fn valid_session_is_served_while_metadata_fails() {
    let env = env_with(&[], "");
    let before = env.document(&["instance"]);
    env.emulator()
        .inject_fault(Action::ImdsAny, Fault::error_with_status("Oops", 500));
    env.wait_until("a look that fails", || {
        let _ = env.ctl(&["refresh", "instance"]);
        env.daemon_log()
            .contains("the metadata service at 127.0.0.1")
            && env.daemon_log().contains("status 500")
    });
    assert_eq!(env.document(&["instance"]), before);
    assert!(
        env.oss_with_profile("instance", &["put", "examplebucket", "on"], "x")
            .is_ok()
    );
    assert!(
        env.oss_with_profile("oss-upload", &["put", "examplebucket", "on"], "x")
            .is_ok()
    );
}

#[test]
fn lost_reply_with_the_token_names_the_hop_limit() {
    for (keys, words) in [
        ("", "gives no token"),
        ("allow_v1 = true\n", "without a token it refuses to answer"),
    ] {
        let env = env_with(&[], keys);
        env.emulator().inject_fault(Action::ImdsToken, Fault::Hang);
        let complaint = complaint(&env, "instance");
        for words in ["hop limit is 1", "HttpPutResponseHopLimit", words] {
            assert!(complaint.contains(words), "{complaint}");
        }
        env.emulator().clear_faults();
    }
}

#[test]
fn unreachable_metadata_error_names_host_and_port() {
    let mut env = TestEnv::without_daemon(&[]);
    let unreachable =
        "[source.instance]\ntype = \"ecs-role\"\nmetadata_endpoint = \"http://127.0.0.1:1\"\n";
    env.write_config(&format!("{unreachable}allow_v1 = true\n{PROFILES}"));
    env.start_daemon();
    let complaint = complaint(&env, "instance");
    for words in [
        "the metadata service at 127.0.0.1:1 is not reachable",
        "refused",
        "ECS instance",
    ] {
        assert!(complaint.contains(words), "{complaint}");
    }
}

#[test]
fn metadata_v1_needs_allow_v1_and_is_used_without_a_token_only() {
    let world = tempfile::tempdir().unwrap();
    let path = world.path().join("world.toml");
    let printed = std::process::Command::new(e2e::program("stsd-emulator"))
        .arg("--print-world")
        .output()
        .unwrap();
    let text = String::from_utf8(printed.stdout).unwrap();
    assert!(text.contains("v1 = false"));
    fs::write(&path, text.replace("v1 = false", "v1 = true")).unwrap();
    let env = env_with(&["--world", path.to_str().unwrap()], "");
    let no_token = Fault::error_with_status("NotFound", 404);
    env.emulator().inject_fault(Action::ImdsToken, no_token);
    let complaint = complaint(&env, "instance");
    assert!(complaint.contains("allow_v1 = true"), "{complaint}");
    assert_eq!(
        env.emulator().calls(Action::ImdsCredentials),
        0,
        "it was not asked without a token"
    );

    configure(&env, "allow_v1 = true\n");
    assert!(env.ctl(&["reload"]).status.success());
    let put = env.oss_with_profile("instance", &["put", "examplebucket", "v1"], "x");
    assert!(put.is_ok(), "{put:?}");
    assert!(env.daemon_log().contains("continuing without a token"));
    env.emulator().clear_faults();
    assert!(env.ctl(&["refresh", "instance"]).status.success());
    let without = env
        .daemon_log()
        .matches("continuing without a token")
        .count();
    assert!(env.ctl(&["refresh", "instance"]).status.success());
    assert_eq!(
        env.daemon_log()
            .matches("continuing without a token")
            .count(),
        without,
        "a token is better"
    );
}

#[test]
fn metadata_endpoint_outside_the_local_network_is_refused() {
    let env = env_with(&[], "");
    for bad in [
        "http://metadata.example.com",
        "https://127.0.0.1",
        "http://127.0.0.1/x",
    ] {
        let source =
            format!("[source.instance]\ntype = \"ecs-role\"\nmetadata_endpoint = \"{bad}\"\n");
        env.write_config(&format!("{source}{PROFILES}"));
        let output = env.ctl(&["reload"]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success());
        assert!(said.contains("source.instance.metadata_endpoint"), "{said}");
        assert!(said.contains("100.100.100.200"), "{said}");
    }
    env.write_config(&format!(
        "{}role_name = \"..\"\n{PROFILES}",
        source(&env, "")
    ));
    let said = env.ctl(&["reload"]).stderr;
    let said = String::from_utf8(said).unwrap();
    assert!(said.contains("source.instance.role_name"), "{said}");
}
