//! Role chains: profiles whose identity is another profile.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::Duration,
};

use e2e::{Action, Fault, OutputLog, TestEnv, UPLOAD, assert_output, unix_time};
use nix::sys::signal::Signal;
use serde_json::Value;
use stsd_client::ProfileStatus;

const PATIENCE: Duration = Duration::from_secs(60);

/// Returns a profile of the role `oss-read` with that base.
fn reads(name: &str, base: &str) -> String {
    format!(
        "[profile.{name}]\nsource = \"{base}\"\nrole_arn = \"acs:ram::100000000000001:role/oss-read\"\n"
    )
}

fn chained() -> String {
    format!("{UPLOAD}{}", reads("read", "oss-upload"))
}

fn status(env: &TestEnv, name: &str) -> ProfileStatus {
    let profiles = env.client().status().unwrap().profiles;
    profiles.into_iter().find(|it| it.name == name).unwrap()
}

#[test]
fn chained_role_is_assumed_with_the_session_below() {
    let env = TestEnv::with(&[], &chained());
    let list = env.oss_with_profile("read", &["list", "examplebucket"], "");
    assert!(list.is_ok(), "{list:?}");
    let put = env.oss_with_profile("read", &["put", "examplebucket", "a"], "x");
    assert!(put.unwrap_err().contains("AccessDenied"));
    assert_eq!(env.emulator().calls(Action::AssumeRole), 2);
    // The base serves its own callers from the same session.
    let put = env.oss_with_profile("oss-upload", &["put", "examplebucket", "a"], "x");
    assert!(put.is_ok(), "{put:?}");
    let got = env.oss_with_profile("read", &["get", "examplebucket", "a"], "");
    assert_eq!(got, Ok("x".into()));
    assert_eq!(env.emulator().calls(Action::AssumeRole), 2);
    assert_eq!(
        status(&env, "oss-upload").hand_outs,
        1,
        "requests of callers only"
    );
}

/// The default account model, in which `oss-read` trusts itself and a third role.
fn three_levels(env: &TestEnv) {
    let model = stsd_emulator::account::DEFAULT_MODEL;
    let from = "trusts = [\"user/uploader\", \"role/oss-upload\"]";
    assert!(model.contains(from));
    let deeper = model.replace(from, "trusts = [\"role/oss-upload\", \"role/oss-read\"]");
    env.write("world.key", &deeper, 0o600);
}

#[test]
fn three_level_chain_rotates_under_load_without_a_failure() {
    let scratch = TestEnv::without_daemon(&[]);
    three_levels(&scratch);
    let world = scratch.path("world.key");
    let emulator = ["--world", world.to_str().unwrap(), "--session-life", "12s"];
    let config = format!("{}{}", chained(), reads("deep", "read"));
    let env = TestEnv::with(&emulator, &config);
    let (over, answers) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        for profile in ["oss-upload", "read", "deep", "deep"] {
            let (client, over, answers) = (env.client(), &over, &answers);
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    let asked = unix_time();
                    let answer = client.credentials(profile, Duration::ZERO, PATIENCE);
                    let answer = answer.unwrap_or_else(|error| panic!("{profile}: {error}"));
                    let ends = answer.credentials.expiration_unix_seconds;
                    assert!(ends.cast_unsigned() > asked, "{profile}: it had ended");
                    answers.fetch_add(1, Ordering::Relaxed);
                    thread::sleep(Duration::from_millis(5));
                }
            });
        }
        let rotations = |name| status(&env, name).renewals;
        env.wait_within(Duration::from_secs(120), "four sessions of each", || {
            let enough = ["oss-upload", "read", "deep"].map(rotations);
            enough.iter().all(|it| *it >= 4)
        });
        over.store(true, Ordering::Relaxed);
    });
    e2e::measured(&format!("{} answers", answers.into_inner()));
    let calls = env.emulator().calls(Action::AssumeRole);
    assert_eq!(
        env.emulator().outcomes(Action::AssumeRole, "ok"),
        calls,
        "nothing was refused"
    );
    assert!(
        !env.daemon_log().contains("renewal failed"),
        "{}",
        env.daemon_log()
    );
}

#[test]
fn invalid_role_chain_is_refused_at_load() {
    let env = TestEnv::without_daemon(&[]);
    let mut errors = OutputLog::new(&env);
    let mut check = |title: &str, config: &str| {
        env.write_config(config);
        errors.add(title, &env.check_error());
    };
    check("a on a", &reads("a", "a"));
    let circle = [reads("a", "b"), reads("b", "c"), reads("c", "a")].concat();
    check("a on b, b on c, c on a", &circle);
    let beside = [reads("a", "b"), reads("b", "c"), reads("c", "b")].concat();
    check("a on b, b on c, c on b", &beside);
    check("a on nosuch", &reads("a", "nosuch"));
    let no_role = format!("{UPLOAD}[profile.read]\nsource = \"oss-upload\"\n");
    check("no role_arn", &no_role);
    // The order of the names does not matter.
    let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i"];
    let chain = |names: &[&str]| {
        let mut base = "uploader";
        names.iter().fold(String::new(), |mut text, name| {
            text += &reads(name, base);
            base = name;
            text
        })
    };
    check("nine profiles", &chain(&names));
    let mut backwards = names;
    backwards.reverse();
    check("nine profiles, last name first", &chain(&backwards));
    let mixed = ["e", "a", "i", "b", "h", "c", "g", "d", "f"];
    check("nine profiles, mixed names", &chain(&mixed));
    assert_output!("invalid_role_chain", errors.text());
    for names in [&names[..8], &backwards[..8], &mixed[..8]] {
        env.write_config(&chain(names));
        let output = env.daemon_command().arg("--check").output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
}

#[test]
fn source_precedes_a_profile_of_the_same_name() {
    let same = UPLOAD.replace("[profile.oss-upload]", "[profile.uploader]");
    let env = TestEnv::with(&[], &format!("{same}{}", reads("read", "uploader")));
    let _ = env.document(&["read"]);
    assert_eq!(
        env.emulator().calls(Action::AssumeRole),
        1,
        "calls with the key"
    );
    assert_eq!(status(&env, "uploader").sts_calls, 0);
}

#[test]
fn chain_reports_the_failure_below_and_recovers_after_the_fix() {
    let mut env = TestEnv::without_daemon(&[]);
    let wrong = "access_key_id = \"LTAIEXAMPLEUPLOADER01\"\naccess_key_secret = \"ExampleSecretOfNobody\"\n";
    let right = std::fs::read_to_string(env.path("uploader.key")).unwrap();
    env.write("uploader.key", wrong, 0o600);
    env.write_config(&format!("{}{}", chained(), reads("deep", "read")));
    env.start_daemon();
    let words = ["profile oss-upload", "does not belong to the access key id"];
    for profile in ["read", "deep"] {
        env.assert_refused(profile, 7, &words);
    }
    // One call is enough for all three profiles.
    assert_eq!(env.emulator().calls(Action::AssumeRole), 1);
    env.replace("uploader.key", &right, 0o600);
    // The file is checked every 20 seconds; profiles above are notified at once.
    let served = || env.shim(&["--patience", "1s", "read"]).status.success();
    env.wait_within(Duration::from_secs(40), "it is mended", served);
    // oss-read does not trust itself, which is the remaining error of the last profile.
    let words = ["NoPermission", "the role of profile read, which signs"];
    env.assert_refused("deep", 7, &words);
}

#[test]
fn chain_reports_an_sts_outage_below_and_recovers() {
    let env = TestEnv::with(&[], &chained());
    env.emulator().inject_fault(
        Action::AssumeRole,
        Fault::error_with_status("ServiceUnavailable", 503),
    );
    env.assert_refused("read", 6, &["profile oss-upload", "ServiceUnavailable"]);
    env.emulator().clear_faults();
    let served = || env.shim(&["--patience", "1s", "read"]).status.success();
    env.wait_within(Duration::from_secs(40), "it is there again", served);
}

#[test]
fn two_hundred_profiles_share_the_failure_of_their_base() {
    let mut config = UPLOAD.to_owned();
    for number in 0..200 {
        config += &reads(&format!("p{number}"), "oss-upload");
        config += "keep_warm = true\n";
    }
    let mut env = TestEnv::without_daemon(&[]);
    env.emulator()
        .inject_fault(Action::AssumeRole, Fault::error("NoPermission"));
    env.write_config(&config);
    env.start_daemon();
    let failed = || {
        let profiles = env.client().status().unwrap().profiles;
        profiles
            .iter()
            .filter(|it| it.last_failure.is_some())
            .count()
    };
    env.wait_until("all have heard", || failed() == 201);
    thread::sleep(Duration::from_secs(3));
    assert_eq!(env.emulator().calls(Action::AssumeRole), 1);
    // All profiles are served after the next successful refresh of the base.
    env.emulator().clear_faults();
    assert!(env.ctl(&["refresh", "oss-upload"]).status.success());
    env.wait_within(Duration::from_secs(40), "all are warm", || {
        let profiles = env.client().status().unwrap().profiles;
        profiles.iter().all(|it| it.access_key_id.is_some())
    });
    assert_eq!(env.emulator().calls(Action::AssumeRole), 202);
}

#[test]
fn revoked_base_session_is_renewed_within_the_same_request() {
    let env = TestEnv::with(&[], &chained());
    let before = env.document(&["oss-upload"]);
    let ended = Fault::error("InvalidSecurityToken.Expired");
    env.emulator().inject_fault_once(Action::AssumeRole, ended);
    let _ = env.document(&["read"]);
    assert_ne!(
        env.document(&["oss-upload"]),
        before,
        "the base has a new session"
    );
    assert_eq!(env.emulator().outcomes(Action::AssumeRole, "ok"), 3);
    assert!(
        !env.daemon_log().contains("renewal failed"),
        "{}",
        env.daemon_log()
    );
    assert!(
        env.daemon_log()
            .contains("expired source credentials were renewed")
    );
    // A missing trust does not cause a renewal of the base.
    env.emulator()
        .inject_fault(Action::AssumeRole, Fault::error("NoPermission"));
    let own = status(&env, "oss-upload").sts_calls;
    assert_eq!(env.ctl(&["refresh", "read"]).status.code(), Some(7));
    assert_eq!(env.ctl(&["refresh", "read"]).status.code(), Some(7));
    assert_eq!(status(&env, "oss-upload").sts_calls, own);
}

#[test]
fn idle_base_resumes_renewals_for_the_profile_above() {
    let warm = format!("{}keep_warm = true\n", chained());
    let env = TestEnv::with(&["--session-life", "6s"], &warm);
    let mut keys = std::collections::BTreeSet::new();
    env.wait_within(Duration::from_secs(40), "five sessions", || {
        keys.extend(status(&env, "read").access_key_id);
        keys.len() >= 5
    });
    assert_eq!(status(&env, "read").last_failure, None);
    let calls = env.emulator().calls(Action::AssumeRole);
    assert_eq!(env.emulator().outcomes(Action::AssumeRole, "ok"), calls);
    // A chain without keep_warm becomes idle, and a request resumes it.
    env.write_config(&chained());
    assert!(env.ctl(&["reload"]).status.success());
    let asleep = |name: &str| {
        env.daemon_log()
            .matches(&format!("profile idle, renewals paused profile={name}"))
            .count()
    };
    env.wait_within(Duration::from_secs(60), "both sleep", || {
        asleep("read") >= 1 && asleep("oss-upload") >= 1
    });
    // A profile that was still renewed would keep a valid session.
    env.wait_until("no session lives", || env.emulator().live_sessions() == 0);
    let list = env.oss_with_profile("read", &["list", "examplebucket"], "");
    assert!(list.is_ok(), "{list:?}");
}

#[test]
fn reload_that_changes_the_base_replaces_derived_sessions() {
    let env = TestEnv::with(&[], &chained());
    let before = env.document(&["read"]);
    // A shorter duration grants the same rights, so that the derived session stays.
    env.write_config(&chained().replacen("\nrole_arn", "\nduration = \"30m\"\nrole_arn", 1));
    assert!(env.ctl(&["reload"]).status.success());
    assert_eq!(env.document(&["read"]), before);
    env.wait_until("it has one of that length", || {
        env.emulator().calls(Action::AssumeRole) == 3
    });
    // Another session name changes the grant.
    let renamed = chained().replacen("\nrole_arn", "\nrole_session_name = \"other\"\nrole_arn", 1);
    env.write_config(&renamed);
    assert!(env.ctl(&["reload"]).status.success());
    assert_ne!(env.document(&["read"]), before);
    assert_eq!(env.emulator().calls(Action::AssumeRole), 5);
    // The base is removed, and the profile above uses the key.
    env.write_config(&reads("read", "uploader"));
    assert!(env.ctl(&["reload"]).status.success());
    let _ = env.document(&["read"]);
    assert_eq!(env.client().status().unwrap().profiles.len(), 1);
}

#[test]
fn reload_during_a_base_refresh_still_answers_the_waiter() {
    let env = TestEnv::with(&[], &chained());
    env.emulator().inject_fault(Action::AssumeRole, Fault::Hang);
    let mut waiting = env.shim_command(&["--patience", "60s", "read"]);
    let waiting = waiting
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    env.wait_until("the base is asked", || {
        status(&env, "oss-upload").sts_calls == 1
    });
    let renamed = chained().replacen("\nrole_arn", "\nrole_session_name = \"other\"\nrole_arn", 1);
    env.write_config(&renamed);
    assert!(env.ctl(&["reload"]).status.success());
    env.emulator().clear_faults();
    let output = waiting.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(document["AccessKeyId"].is_string());
}

#[test]
fn upgrade_keeps_all_sessions_of_a_chain() {
    let env = TestEnv::with(&[], &format!("{}{}", chained(), reads("deep", "read")));
    // oss-read does not trust itself here, so `deep` is refused before and after the upgrade.
    env.assert_refused("deep", 7, &[]);
    let (base, before) = (env.document(&["oss-upload"]), env.document(&["read"]));
    let calls = env.emulator().calls(Action::AssumeRole);
    env.daemon().signal(Signal::SIGUSR2);
    env.wait_until("the new program", || {
        env.daemon_log().contains("restored=2")
    });
    assert_eq!(env.document(&["read"]), before);
    assert_eq!(env.document(&["oss-upload"]), base);
    assert_eq!(env.emulator().calls(Action::AssumeRole), calls);
}
