//! Who may have what: rules by user, group and unit, and what a refusal gives away.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    thread,
    time::Duration,
};

use e2e::{Kit, UPLOAD, program};
use nix::unistd::geteuid;
use serde_json::{Value, json};
use stsd_client::{Error, FailureKind};

/// Users and a group that nobody has.
pub(crate) const STRANGER: u32 = 64_001;
const FRIEND: u32 = 64_002;
pub(crate) const GROUP: u32 = 64_100;

/// A profile with its own name and an allow rule, or none.
pub(crate) fn profile(name: &str, allow: &[String]) -> String {
    let profile = UPLOAD.replace("oss-upload]", &format!("{name}]"));
    if allow.is_empty() {
        return profile;
    }
    format!("{profile}allow = {allow:?}\n")
}

/// A user on the machine, as it may come: with its groups.
#[derive(Clone, Copy)]
pub(crate) struct Person {
    uid: u32,
    gid: u32,
    group: Option<u32>,
}

pub(crate) const fn user(uid: u32) -> Person {
    Person {
        uid,
        gid: uid,
        group: None,
    }
}

impl Person {
    /// Returns a command that this user starts.
    pub(crate) fn command(self, program: PathBuf) -> Command {
        let mut command = Command::new("setpriv");
        command.arg(format!("--reuid={}", self.uid));
        command.arg(format!("--regid={}", self.gid));
        match self.group {
            Some(group) => command.arg(format!("--groups={group}")),
            None => command.arg("--clear-groups"),
        };
        command.arg("--").arg(program).stdin(Stdio::null());
        command
    }
}

/// A daemon for the whole machine, and programs that every user can start.
pub(crate) struct Machine {
    pub(crate) kit: Kit,
    /// Not in the kit's directory: stsctl's demonstration holds what the kit looks for.
    programs: tempfile::TempDir,
}

impl Machine {
    /// Starts it, unless this is no place for other users; then it says so.
    pub(crate) fn with(profiles: &str) -> Option<Self> {
        if !geteuid().is_root() {
            e2e::not_run("only root can become other users for this story");
            return None;
        }
        let mut kit = Kit::without_daemon(&[]);
        kit.write_config(profiles);
        for place in ["", "run"] {
            open(&kit.path(place), 0o755);
        }
        let mut command = kit.daemon_command();
        command.arg("--system");
        kit.adopt_daemon(command);
        Some(Self::of(kit))
    }

    fn of(kit: Kit) -> Self {
        let programs = tempfile::tempdir().unwrap();
        open(programs.path(), 0o755);
        for name in ["sts-shim", "stsctl"] {
            fs::copy(program(name), programs.path().join(name)).unwrap();
        }
        Self { kit, programs }
    }

    /// Returns a program where every user can start it.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.programs.path().join(name)
    }

    /// Runs a program as a user, to its end.
    pub(crate) fn output(&self, person: Person, name: &str, arguments: &[&str]) -> Output {
        let mut command = person.command(self.program(name));
        let output = command
            .arg("--socket")
            .arg(self.kit.socket())
            .args(arguments)
            .output()
            .unwrap();
        self.kit.must_be_clean(name, &output.stderr);
        output
    }

    /// The shim of a user ends with a code; returns what it complained of.
    #[track_caller]
    pub(crate) fn check(&self, person: Person, profile: &str, code: i32) -> String {
        let output = self.output(person, "sts-shim", &[profile]);
        let complaint = String::from_utf8(output.stderr).unwrap();
        let who = (person.uid, person.gid, person.group);
        let ended = output.status.code();
        assert_eq!(ended, Some(code), "{who:?} {profile}: {complaint}");
        assert_eq!(output.stdout.is_empty(), code != 0);
        complaint
    }

    /// The profiles that a user sees.
    fn seen(&self, person: Person) -> Vec<String> {
        let output = self.output(person, "stsctl", &["status", "--json"]);
        let status: Value = serde_json::from_slice(&output.stdout).unwrap();
        let profiles = status["profiles"].as_array().unwrap();
        let name = |it: &Value| it["name"].as_str().unwrap().to_owned();
        profiles.iter().map(name).collect()
    }

    #[track_caller]
    fn steers(&self, person: Person, arguments: &[&str], code: i32) {
        let output = self.output(person, "stsctl", arguments);
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert_eq!(
            output.status.code(),
            Some(code),
            "{arguments:?}: {complaint}"
        );
    }
}

fn open(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Three profiles: for a user by name and another by number, for a group, and for nobody.
fn three_profiles() -> String {
    let users = ["user:daemon".to_owned(), format!("user:{FRIEND}")];
    profile("for-users", &users)
        + &profile("for-group", &[format!("group:{GROUP}")])
        + &profile("closed", &[])
}

#[test]
fn a_system_daemon_serves_those_its_rules_name_and_nobody_else() {
    let Some(machine) = Machine::with(&three_profiles()) else {
        return;
    };
    let daemon = user(1);
    machine.check(daemon, "for-users", 0);
    machine.check(user(FRIEND), "for-users", 0);
    machine.check(daemon, "for-group", 5);
    machine.check(user(STRANGER), "for-users", 5);
    machine.check(user(STRANGER), "for-group", 5);
    let supplementary = Person {
        group: Some(GROUP),
        ..user(STRANGER)
    };
    machine.check(supplementary, "for-group", 0);
    machine.check(supplementary, "for-users", 5);
    let primary = Person {
        gid: GROUP,
        ..user(STRANGER)
    };
    machine.check(primary, "for-group", 0);
    for profile in ["for-users", "for-group", "closed"] {
        machine.check(user(0), profile, 5);
    }
    for person in [daemon, supplementary, user(STRANGER)] {
        machine.check(person, "closed", 5);
    }
    let mode = fs::metadata(machine.kit.socket()).unwrap().permissions();
    assert_eq!(mode.mode() & 0o777, 0o666);
    let log = fs::read_to_string(machine.kit.path("daemon.log")).unwrap();
    let warned = log.lines().filter(|it| it.contains("no caller may have"));
    assert_eq!(warned.count(), 1, "the closed profile");
}

#[test]
fn a_refusal_does_not_tell_which_profiles_there_are() {
    let Some(machine) = Machine::with(&three_profiles()) else {
        return;
    };
    let refusal = machine.check(user(STRANGER), "for-users", 5);
    for profile in ["for-group", "closed", "nosuch"] {
        assert_eq!(machine.check(user(STRANGER), profile, 5), refusal);
        machine.steers(user(STRANGER), &["refresh", profile], 5);
    }
    for name in ["for-users", "for-group", "closed"] {
        assert!(!refusal.contains(name), "{refusal}");
    }
    assert_eq!(machine.seen(user(STRANGER)), [""; 0]);
    assert_eq!(machine.seen(user(FRIEND)), ["for-users"]);
    machine.check(user(FRIEND), "nosuch", 5);
    // Who runs the daemon may know.
    let everything = ["closed", "for-group", "for-users"];
    assert_eq!(machine.seen(user(0)), everything);
    machine.check(user(0), "nosuch", 4);
}

#[test]
fn who_may_not_have_credentials_may_not_steer_either_but_for_root() {
    let Some(machine) = Machine::with(&three_profiles()) else {
        return;
    };
    machine.steers(user(FRIEND), &["refresh", "for-users"], 0);
    machine.steers(user(FRIEND), &["refresh", "closed"], 5);
    machine.steers(user(FRIEND), &["reload"], 5);
    machine.steers(user(0), &["refresh", "closed"], 0);
    machine.steers(user(0), &["reload"], 0);
}

#[test]
fn a_rule_opens_a_users_daemon_to_nobody_and_narrows_it() {
    let own = geteuid().as_raw();
    let others = [format!("user:{STRANGER}"), format!("group:{STRANGER}")];
    let own_rule = [others[0].clone(), format!("user:{own}")];
    let kit = Kit::with(
        &[],
        &(profile("others", &others) + &profile("own", &own_rule)),
    );
    let _ = kit.document(&["own"]);
    let refused = kit.shim(&["others"]);
    assert_eq!(refused.status.code(), Some(5));
    assert_eq!(
        kit.shim(&["nosuch"]).status.code(),
        Some(4),
        "no secret here"
    );
    let status: Value = serde_json::from_slice(&kit.ctl(&["status", "--json"]).stdout).unwrap();
    assert_eq!(status["profiles"].as_array().unwrap().len(), 2);
    if !geteuid().is_root() {
        e2e::not_run("only root can become another user for the rest of this story");
        return;
    }
    for name in ["", "run", "run/stsd.sock"] {
        open(&kit.path(name), 0o777);
    }
    let machine = Machine::of(kit);
    for profile in ["others", "own", "nosuch"] {
        let complaint = machine.check(user(STRANGER), profile, 5);
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
    profile("oss-upload", &[format!("user:{uid}")])
}

#[test]
fn a_reload_that_takes_a_right_away_ends_the_waiting() {
    let kit = Kit::with(&[], &rules(true));
    kit.sts_fails(&json!({"kind": "hang"}));
    let mut command = kit.shim_command(&["--patience", "60s", "oss-upload"]);
    let waiting = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let waiting = waiting.unwrap();
    kit.wait_until("it waits", || kit.calls("AssumeRole") > 0);
    kit.write_config(&rules(false));
    kit.client().reload().unwrap();
    // If the right were looked at once only, there would be credentials from here on.
    kit.heal();
    let output = waiting.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(5));
    assert!(output.stdout.is_empty());
}

#[test]
fn a_reload_that_takes_a_right_away_ends_a_watch() {
    let kit = Kit::with(&[], &rules(true));
    let mut watch = kit.client().watch("oss-upload").unwrap();
    let first = watch.next().unwrap().unwrap().credentials;
    kit.write_config(&rules(false));
    kit.client().reload().unwrap();
    match watch.next() {
        Some(Err(Error::Refused(failure))) => assert_eq!(failure.kind, FailureKind::NotAllowed),
        other => panic!("{other:?}"),
    }
    assert!(watch.next().is_none_or(|it| it.is_err()));
    // Back again, with the session that was there all the time.
    kit.write_config(&rules(true));
    kit.client().reload().unwrap();
    let document = kit.document(&["oss-upload"]);
    assert_eq!(document["access_key_id"], first.access_key_id.as_str());
    thread::sleep(Duration::from_millis(300));
    assert_eq!(kit.calls("AssumeRole"), 1, "a rule is no reason for a call");
}
