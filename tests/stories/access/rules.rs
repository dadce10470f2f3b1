//! Access rules by user and group, and the content of a refusal.

use std::{
    fs, os::unix::fs::PermissionsExt as _, path::Path, process::Stdio, thread, time::Duration,
};

use e2e::{Action, Fault, GROUP, STRANGER, SystemDaemon, TestEnv, UnixUser, upload_profile};
use nix::unistd::geteuid;
use serde_json::Value;
use stsd_client::{Error, FailureKind};

/// Another user without a name on this machine.
const FRIEND: u32 = 64_002;

/// Returns the profiles that a user sees.
fn visible_profiles(machine: &SystemDaemon, user: UnixUser) -> Vec<String> {
    let output = machine.output(user, "stsctl", &["status", "--json"]);
    let status: Value = serde_json::from_slice(&output.stdout).unwrap();
    let profiles = status["profiles"].as_array().unwrap();
    let name = |it: &Value| it["name"].as_str().unwrap().to_owned();
    profiles.iter().map(name).collect()
}

/// Runs stsctl as a user and asserts its exit code.
#[track_caller]
fn assert_ctl(machine: &SystemDaemon, user: UnixUser, arguments: &[&str], code: i32) {
    let output = machine.output(user, "stsctl", arguments);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {stderr}");
}

/// Sets the mode of a file.
fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Three profiles: for a user by name and another by number, for a group, and without a rule.
fn three_profiles() -> String {
    let users = ["user:daemon".to_owned(), format!("user:{FRIEND}")];
    upload_profile("for-users", &users)
        + &upload_profile("for-group", &[format!("group:{GROUP}")])
        + &upload_profile("closed", &[])
}

#[test]
fn system_daemon_serves_only_callers_that_a_rule_names() {
    let Some(machine) = SystemDaemon::start(&three_profiles()) else {
        return;
    };
    let daemon = UnixUser::new(1);
    machine.assert_shim(daemon, "for-users", 0);
    machine.assert_shim(UnixUser::new(FRIEND), "for-users", 0);
    machine.assert_shim(daemon, "for-group", 5);
    machine.assert_shim(UnixUser::new(STRANGER), "for-users", 5);
    machine.assert_shim(UnixUser::new(STRANGER), "for-group", 5);
    let supplementary = UnixUser {
        group: Some(GROUP),
        ..UnixUser::new(STRANGER)
    };
    machine.assert_shim(supplementary, "for-group", 0);
    machine.assert_shim(supplementary, "for-users", 5);
    let primary = UnixUser {
        gid: GROUP,
        ..UnixUser::new(STRANGER)
    };
    machine.assert_shim(primary, "for-group", 0);
    for profile in ["for-users", "for-group", "closed"] {
        machine.assert_shim(UnixUser::new(0), profile, 5);
    }
    for person in [daemon, supplementary, UnixUser::new(STRANGER)] {
        machine.assert_shim(person, "closed", 5);
    }
    let mode = fs::metadata(machine.env.socket()).unwrap().permissions();
    assert_eq!(mode.mode() & 0o777, 0o666);
    let log = machine.env.daemon_log();
    let warned = log.lines().filter(|it| it.contains("no caller may have"));
    assert_eq!(warned.count(), 1, "the closed profile");
}

#[test]
fn refusal_text_does_not_reveal_which_profiles_exist() {
    let Some(machine) = SystemDaemon::start(&three_profiles()) else {
        return;
    };
    let refusal = machine.assert_shim(UnixUser::new(STRANGER), "for-users", 5);
    for profile in ["for-group", "closed", "nosuch"] {
        assert_eq!(
            machine.assert_shim(UnixUser::new(STRANGER), profile, 5),
            refusal
        );
        assert_ctl(&machine, UnixUser::new(STRANGER), &["refresh", profile], 5);
    }
    for name in ["for-users", "for-group", "closed"] {
        assert!(!refusal.contains(name), "{refusal}");
    }
    assert_eq!(visible_profiles(&machine, UnixUser::new(STRANGER)), [""; 0]);
    assert_eq!(
        visible_profiles(&machine, UnixUser::new(FRIEND)),
        ["for-users"]
    );
    machine.assert_shim(UnixUser::new(FRIEND), "nosuch", 5);
    // The user of the daemon sees every profile.
    let everything = ["closed", "for-group", "for-users"];
    assert_eq!(visible_profiles(&machine, UnixUser::new(0)), everything);
    machine.assert_shim(UnixUser::new(0), "nosuch", 4);
}

#[test]
fn refresh_and_reload_need_the_right_to_the_profile_or_root() {
    let Some(machine) = SystemDaemon::start(&three_profiles()) else {
        return;
    };
    assert_ctl(
        &machine,
        UnixUser::new(FRIEND),
        &["refresh", "for-users"],
        0,
    );
    assert_ctl(&machine, UnixUser::new(FRIEND), &["refresh", "closed"], 5);
    assert_ctl(&machine, UnixUser::new(FRIEND), &["reload"], 5);
    assert_ctl(&machine, UnixUser::new(0), &["refresh", "closed"], 0);
    assert_ctl(&machine, UnixUser::new(0), &["reload"], 0);
}

#[test]
fn allow_rule_narrows_a_users_daemon_and_admits_no_other_user() {
    let own = geteuid().as_raw();
    let others = [format!("user:{STRANGER}"), format!("group:{STRANGER}")];
    let own_rule = [others[0].clone(), format!("user:{own}")];
    let env = TestEnv::with(
        &[],
        &(upload_profile("others", &others) + &upload_profile("own", &own_rule)),
    );
    let _ = env.document(&["own"]);
    let refused = env.shim(&["others"]);
    assert_eq!(refused.status.code(), Some(5));
    assert_eq!(
        env.shim(&["nosuch"]).status.code(),
        Some(4),
        "no secret here"
    );
    let status: Value = serde_json::from_slice(&env.ctl(&["status", "--json"]).stdout).unwrap();
    assert_eq!(status["profiles"].as_array().unwrap().len(), 2);
    if !geteuid().is_root() {
        e2e::not_run("only root can become another user for the rest of this story");
        return;
    }
    for name in ["", "run", "run/stsd.sock"] {
        set_mode(&env.path(name), 0o777);
    }
    let machine = SystemDaemon::new(env);
    for profile in ["others", "own", "nosuch"] {
        let complaint = machine.assert_shim(UnixUser::new(STRANGER), profile, 5);
        assert!(complaint.contains("does not serve you"), "{complaint}");
    }
}

/// Rules under which the user of this test may have the profile, or not.
fn rules(allowed: bool) -> String {
    let uid = if allowed {
        geteuid().as_raw()
    } else {
        STRANGER
    };
    upload_profile("oss-upload", &[format!("user:{uid}")])
}

#[test]
fn reload_that_removes_a_rule_refuses_a_waiting_request() {
    let env = TestEnv::with(&[], &rules(true));
    env.emulator().inject_fault(Action::AssumeRole, Fault::Hang);
    let mut command = env.shim_command(&["--patience", "60s", "oss-upload"]);
    let waiting = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let waiting = waiting.unwrap();
    env.wait_until("it waits", || env.emulator().calls(Action::AssumeRole) > 0);
    env.write_config(&rules(false));
    env.client().reload().unwrap();
    // A daemon that checked the rules only once would serve credentials from here on.
    env.emulator().clear_faults();
    let output = waiting.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(5));
    assert!(output.stdout.is_empty());
}

#[test]
fn reload_that_removes_a_rule_ends_a_watch() {
    let env = TestEnv::with(&[], &rules(true));
    let mut watch = env.client().watch("oss-upload").unwrap();
    let first = watch.next().unwrap().unwrap().credentials;
    env.write_config(&rules(false));
    env.client().reload().unwrap();
    match watch.next() {
        Some(Err(Error::Refused(failure))) => assert_eq!(failure.kind, FailureKind::NotAllowed),
        other => panic!("{other:?}"),
    }
    assert!(watch.next().is_none_or(|it| it.is_err()));
    // The rule is back, and the session has stayed.
    env.write_config(&rules(true));
    env.client().reload().unwrap();
    let document = env.document(&["oss-upload"]);
    assert_eq!(document["access_key_id"], first.access_key_id.as_str());
    thread::sleep(Duration::from_millis(300));
    assert_eq!(
        env.emulator().calls(Action::AssumeRole),
        1,
        "calls after a change of a rule"
    );
}
