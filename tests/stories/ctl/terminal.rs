//! The status of stsctl: at a terminal of any width, without a terminal, and without colours.

mod commands;
mod log;
mod waiting;
mod watch;

use std::{
    io::Write as _,
    process::{Command, Output},
    time::Duration,
};

use e2e::{
    Action, Fault, STRANGER, SystemDaemon, Terminal, TestEnv, UPLOAD, UnixUser, connect,
    hello_request, program, upload_profile,
};
use nix::unistd::geteuid;
use serde_json::Value;
use stsd_wire::{Message as _, Request};

const WIDE: (u16, u16) = (24, 100);
const NARROW: (u16, u16) = (40, 40);

/// The refusal of STS for a missing permission.
fn refused() -> Fault {
    Fault::error_with_status("NoPermission", 403)
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Asserts that no line was wrapped by the terminal.
#[track_caller]
fn fits(terminal: &Terminal) {
    let screen = terminal.screen();
    let (rows, _) = screen.size();
    for row in 0..rows.get() {
        let lines = terminal.lines();
        assert!(!screen.row_wrapped(row), "row {row} of {lines:#?}");
    }
}

/// Returns the colours on the screen.
fn colours(terminal: &Terminal) -> Vec<vt100::Color> {
    let screen = terminal.screen();
    let (rows, columns) = screen.size();
    let cells = (0..rows.get()).flat_map(|row| (0..columns.get()).map(move |column| (row, column)));
    let mut colours: Vec<_> = cells
        .filter_map(|(row, column)| Some(screen.cell(row, column)?.fgcolor()))
        .filter(|colour| *colour != vt100::Color::Default)
        .collect();
    colours.dedup();
    colours
}

#[test]
fn status_shows_remaining_lifetime_next_renewal_and_last_caller() {
    let env = TestEnv::start();
    let _ = env.document(&["oss-upload"]);
    let mut terminal = env.ctl_at_terminal(WIDE, &["status"]);
    assert_eq!(terminal.wait_for_exit(), 0);
    let lines = terminal.lines();
    let is = |words: &[&str]| {
        let has = |line: &&String| words.iter().all(|word| line.contains(word));
        assert!(lines.iter().any(|it| has(&it)), "{words:?} in {lines:#?}");
    };
    is(&[
        "PROFILE",
        "REMAINING",
        "ATTEMPT",
        "CALLS",
        "SAVED",
        "SERVED",
    ]);
    is(&["oss-upload", "██████████ 59m", "in "]);
    is(&["1 profile: 1 ready; HTTP endpoint not configured; configuration accepted"]);
    is(&["role: acs:ram::100000000000001:role/oss-upload"]);
    // The ordinary reason of the next attempt is not shown.
    assert!(!lines.iter().any(|it| it.contains("next: ")), "{lines:#?}");
    let uid = geteuid().as_raw();
    is(&["asked last: ", "s ago by ", &format!("uid {uid} pid ")]);
    assert_eq!(
        colours(&terminal),
        [vt100::Color::Idx(2)],
        "colours of a healthy status"
    );
    fits(&terminal);
    assert!(terminal.is_restored());

    // The same as JSON.
    let status: Value = serde_json::from_slice(&env.ctl(&["status", "--json"]).stdout).unwrap();
    let caller = &status["profiles"][0]["last_caller"];
    assert_eq!(caller["uid"], uid);
    assert_eq!(caller["asked"], "credentials");
    assert!(caller["pid"].as_u64().unwrap() > 1, "{caller}");
    assert!(caller["age_seconds"].as_u64().unwrap() < 60, "{caller}");
    // A status request is not recorded as a caller of the profile.
    let watch = env.client().watch("oss-upload").unwrap();
    let _ = watch.into_iter().next().unwrap().unwrap();
    let audit = env.client().audit().unwrap();
    assert_eq!(audit.callers[0].asked, "watch");
    assert_eq!(audit.callers[0].pid, Some(std::process::id()));
}

#[test]
fn failing_profiles_come_first_below_the_summary() {
    let profiles = ["a-ready", "b-failing", "c-idle"].map(|it| upload_profile(it, &[]));
    let env = TestEnv::with_http(&[], &profiles.concat());
    let _ = env.document(&["a-ready"]);
    env.emulator().inject_fault(Action::AssumeRole, refused());
    assert_eq!(env.shim(&["b-failing"]).status.code(), Some(7));
    let status = || stdout(&env.ctl(&["status"]));
    let said = status();
    let summary = "3 profiles: 1 failing, 1 ready, 1 idle; HTTP endpoint http://127.0.0.1:";
    assert!(said.contains(summary), "{said}");
    let row = |name: &str| said.find(&format!("\n{name} ")).expect(name);
    assert!(row("b-failing") < row("a-ready"), "{said}");
    assert!(row("a-ready") < row("c-idle"), "{said}");
    // The reason of an attempt after a failure is not the ordinary one.
    assert_eq!(said.matches("next: ").count(), 1, "{said}");
    assert!(
        said.contains("next: retry after a refusal by STS"),
        "{said}"
    );

    // JSON has the order of before.
    let document: Value = serde_json::from_slice(&env.ctl(&["status", "--json"]).stdout).unwrap();
    let profiles = document["profiles"].as_array().unwrap();
    let states = profiles.iter().map(|it| [&it["name"], &it["state"]]);
    let states: Vec<_> = states.map(|it| it.map(|it| it.as_str().unwrap())).collect();
    let expected = [
        ["a-ready", "ready"],
        ["b-failing", "failing"],
        ["c-idle", "idle"],
    ];
    assert_eq!(states, expected);

    assert!(said.contains("; configuration accepted\n"), "{said}");
    env.write_config("nonsense = true\n");
    assert_eq!(env.ctl(&["reload"]).status.code(), Some(2));
    let said = status();
    assert!(said.contains("; configuration refused "), "{said}");
    assert!(said.contains("the one before is in force\n"), "{said}");
}

#[test]
fn last_caller_survives_a_reload_and_includes_refusals() {
    let env = TestEnv::with(&[], UPLOAD);
    env.emulator().inject_fault(Action::AssumeRole, refused());
    assert_eq!(env.shim(&["oss-upload"]).status.code(), Some(7));
    let pid = || {
        env.client()
            .audit()
            .unwrap()
            .callers
            .first()
            .map(|it| it.pid)
    };
    let before = pid().expect("it has asked");
    env.write_config(&format!("{UPLOAD}duration = \"30m\"\n"));
    env.client().reload().unwrap();
    assert_eq!(pid(), Some(before));
    assert_eq!(env.shim(&["nosuch"]).status.code(), Some(4));
    assert_eq!(pid(), Some(before));
}

#[test]
fn last_caller_is_recorded_for_a_thousand_profiles() {
    let profiles: String = (0..1000)
        .map(|index| UPLOAD.replace("oss-upload]", &format!("p{index:04}]")))
        .collect();
    let env = TestEnv::with(&[], &profiles);
    env.emulator().inject_fault(Action::AssumeRole, Fault::Hang);
    let _ = e2e::raise_file_limit();
    // The daemon reads each request after the connection is closed.
    let ask = |index| {
        let request = Request::Credentials {
            profile: format!("p{index:04}"),
            minimum_life_millis: 0,
            patience_millis: 600_000,
        };
        let mut stream = connect(&env);
        let bytes = [hello_request(), request.frame().unwrap().to_vec()].concat();
        stream.write_all(&bytes).unwrap();
        stream
    };
    let asking: Vec<_> = (0..1000).map(ask).collect();
    drop(asking);
    let names = || {
        let callers = env.client().audit().unwrap().callers;
        callers.into_iter().map(|it| it.profile).collect::<Vec<_>>()
    };
    let expected: Vec<_> = (0..1000).map(|index| format!("p{index:04}")).collect();
    env.wait_within(Duration::from_secs(60), "all have been noted", || {
        names().len() == 1000
    });
    assert_eq!(names(), expected);
}

#[test]
fn other_users_see_only_their_own_requests() {
    let both = [format!("user:{STRANGER}"), "user:1".to_owned()];
    let profiles = upload_profile("shared", &both) + "[audit]\nfile = \"audit.jsonl\"\n";
    let Some(machine) = SystemDaemon::start(&profiles) else {
        return;
    };
    machine.assert_shim(UnixUser::new(STRANGER), "shared", 0);
    let caller = |uid: u32| {
        let output = machine.output(UnixUser::new(uid), "stsctl", &["status", "--json"]);
        let status: Value = serde_json::from_slice(&output.stdout).unwrap();
        status["profiles"][0]["last_caller"]["uid"].clone()
    };
    assert_eq!(caller(STRANGER), STRANGER);
    assert_eq!(caller(1), Value::Null, "the caller of another user");
    assert_eq!(caller(0), STRANGER, "the caller for root");
    // The path of the audit file is not shown either.
    let output = machine.output(UnixUser::new(1), "stsctl", &["log", "--no-follow"]);
    assert_eq!(output.status.code(), Some(1));
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(complaint.contains("sudo stsctl log"), "{complaint}");
    let output = machine.output(UnixUser::new(0), "stsctl", &["log", "--no-follow"]);
    assert!(stdout(&output).contains("shared: credentials by"));
}

#[test]
fn forty_columns_are_sufficient() {
    let env = TestEnv::with(
        &[],
        &(UPLOAD.to_owned() + &upload_profile("a-second-one-with-a-longer-name", &[])),
    );
    let _ = env.document(&["oss-upload"]);
    env.emulator().inject_fault(Action::AssumeRole, refused());
    assert_eq!(env.ctl(&["refresh", "oss-upload"]).status.code(), Some(7));
    let mut terminal = env.ctl_at_terminal(NARROW, &["status"]);
    assert_eq!(terminal.wait_for_exit(), 0);
    fits(&terminal);
    let text = terminal.screen().contents();
    for words in [
        "oss-upload\n",
        "██████████ 59m",
        "calls 2",
        "failed ",
        "hint: ",
        "asked last",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert!(
        colours(&terminal).contains(&vt100::Color::Idx(1)),
        "a failure"
    );

    // An error fits as well.
    let mut command = Command::new(program("stsctl"));
    command.args([
        "--socket",
        "/nonexistent/with/a/long/path/stsd.sock",
        "status",
    ]);
    let mut terminal = Terminal::start(&command, NARROW);
    assert_eq!(terminal.wait_for_exit(), 3);
    fits(&terminal);
    terminal.wait_for("hint: start it with");
}

#[test]
fn colours_need_a_terminal_and_respect_no_color() {
    let env = TestEnv::start();
    let _ = env.document(&["oss-upload"]);
    let without_escapes = |who: &str, said: &[u8]| {
        let text = String::from_utf8_lossy(said);
        assert!(!said.contains(&0x1b), "{who}: {text:?}");
        assert!(text.contains("██"), "{who}: {text}");
    };
    let mut command = Command::new(program("stsctl"));
    command.arg("--socket").arg(env.socket()).arg("status");
    without_escapes("no terminal", &command.output().unwrap().stdout);
    let at_terminal = |name: &str, value: &str| {
        let mut command = Command::new(program("stsctl"));
        command.arg("--socket").arg(env.socket()).arg("status");
        command.env("CI", "true").env(name, value);
        let mut terminal = Terminal::start(&command, WIDE);
        assert_eq!(terminal.wait_for_exit(), 0);
        terminal
    };
    without_escapes("NO_COLOR", &at_terminal("NO_COLOR", "1").bytes());
    without_escapes("TERM=dumb", &at_terminal("TERM", "dumb").bytes());
    assert!(at_terminal("TERM", "xterm").bytes().contains(&0x1b));
    // The watch is drawn in place without colours as well.
    let mut command = Command::new(program("stsctl"));
    command.arg("--socket").arg(env.socket());
    command.args(["status", "--watch"]).env("NO_COLOR", "1");
    let mut terminal = Terminal::start(&command, WIDE);
    terminal.wait_for("q leaves");
    assert_eq!(colours(&terminal), []);
    terminal.type_keys("q");
    assert_eq!(terminal.wait_for_exit(), 0);
    assert!(terminal.is_restored());
}

#[test]
fn health_check_fails_for_a_stale_profile() {
    let env = TestEnv::with(&[], &(UPLOAD.to_owned() + &upload_profile("sleeper", &[])));
    let check = |arguments: &[&str], code: i32, words: &str| {
        let mut all = vec!["status", "--health"];
        all.extend(arguments);
        let output = env.ctl(&all);
        let said = stdout(&output) + &String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(words), "{words}: {said}");
    };
    check(&[], 0, "wanted: 0");
    check(&["sleeper"], 6, "keep_warm = true");
    check(&["nosuch"], 4, "hint: ");
    let _ = env.document(&["oss-upload"]);
    check(&[], 0, "healthy: profiles wanted: 1");
    check(&["oss-upload"], 0, "healthy");
    check(&["oss-upload", "sleeper"], 6, "stale: sleeper");
    env.emulator().inject_fault(
        Action::AssumeRole,
        Fault::error_with_status("ServiceUnavailable", 503),
    );
    assert_eq!(env.ctl(&["refresh", "oss-upload"]).status.code(), Some(6));
    check(&[], 6, "stale: oss-upload: served for 59m");
    env.emulator().clear_faults();
    env.emulator().inject_fault(Action::AssumeRole, refused());
    assert_eq!(env.ctl(&["refresh", "oss-upload"]).status.code(), Some(7));
    check(&["oss-upload"], 7, "hint: ");
    let output = env.ctl(&["status", "--health", "--json"]);
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["healthy"], false);
    assert_eq!(document["stale"][0]["name"], "oss-upload");
    env.emulator().clear_faults();
    assert!(env.ctl(&["refresh", "oss-upload"]).status.success());
    check(&[], 0, "healthy");
}
