//! `stsctl` as a person meets it: at a terminal of any width, without one, without colours,
//! and with a daemon that is down, hung, of another version or somebody else's.

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::net::{UnixListener, UnixStream},
    path::Path,
    process::{Command, Output, Stdio},
    thread,
    time::Duration,
};

use e2e::{Kit, Process, Terminal, UPLOAD, program};
use nix::{sys::signal::Signal, unistd::geteuid};
use serde_json::{Value, json};
use stsd_wire::{Failure, FailureKind, Message, Reply, Request, VERSION, message_length};

use crate::access::{Machine, STRANGER, profile, user};

const WIDE: (u16, u16) = (24, 100);
const NARROW: (u16, u16) = (40, 40);

/// What STS says to who may not.
fn refused() -> Value {
    json!({"kind": "error", "code": "NoPermission", "status": 403})
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Nothing on the screen was longer than a line of it.
#[track_caller]
fn fits(terminal: &Terminal) {
    let screen = terminal.screen();
    let (rows, _) = screen.size();
    for row in 0..rows.get() {
        let lines = terminal.lines();
        assert!(!screen.row_wrapped(row), "row {row} of {lines:#?}");
    }
}

/// The colours of what the screen shows.
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
fn a_status_tells_what_lives_what_comes_next_and_who_asked_last() {
    let kit = Kit::start();
    let _ = kit.document(&["oss-upload"]);
    let mut terminal = kit.ctl_at_terminal(WIDE, &["status"]);
    assert_eq!(terminal.ends(), 0);
    let lines = terminal.lines();
    let is = |words: &[&str]| {
        let has = |line: &&String| words.iter().all(|word| line.contains(word));
        assert!(lines.iter().any(|it| has(&it)), "{words:?} in {lines:#?}");
    };
    is(&[
        "PROFILE",
        "REMAINING",
        "NEXT",
        "CALLS",
        "SAVED",
        "HAND-OUTS",
    ]);
    is(&["oss-upload", "██████████ 59m", "in "]);
    is(&["next: renewal near half of the session's life"]);
    let uid = geteuid().as_raw();
    is(&["asked last: ", "s ago by ", &format!("uid {uid} pid ")]);
    assert_eq!(colours(&terminal), [vt100::Color::Idx(2)], "all is well");
    fits(&terminal);
    assert!(terminal.is_as_before());

    // The same for programs.
    let status: Value = serde_json::from_slice(&kit.ctl(&["status", "--json"]).stdout).unwrap();
    let caller = &status["profiles"][0]["last_caller"];
    assert_eq!(caller["uid"], uid);
    assert_eq!(caller["asked"], "credentials");
    assert!(caller["pid"].as_u64().unwrap() > 1, "{caller}");
    assert!(caller["age_seconds"].as_u64().unwrap() < 60, "{caller}");
    // Who asks for the status has asked for no profile.
    let watch = kit.client().watch("oss-upload").unwrap();
    let _ = watch.into_iter().next().unwrap().unwrap();
    let audit = kit.client().audit().unwrap();
    assert_eq!(audit.callers[0].asked, "watch");
    assert_eq!(audit.callers[0].pid, Some(std::process::id()));
}

#[test]
fn who_asked_last_survives_a_reload_and_is_noted_of_those_who_got_nothing() {
    let kit = Kit::with(&[], UPLOAD);
    kit.sts_fails(&refused());
    assert_eq!(kit.shim(&["oss-upload"]).status.code(), Some(7));
    let pid = || {
        kit.client()
            .audit()
            .unwrap()
            .callers
            .first()
            .map(|it| it.pid)
    };
    let before = pid().expect("it has asked");
    kit.write_config(&format!("{UPLOAD}duration = \"30m\"\n"));
    kit.client().reload().unwrap();
    assert_eq!(pid(), Some(before));
    assert_eq!(kit.shim(&["nosuch"]).status.code(), Some(4));
    assert_eq!(pid(), Some(before));
}

#[test]
fn each_of_a_thousand_profiles_has_who_asked_last() {
    let profiles: String = (0..1000)
        .map(|index| UPLOAD.replace("oss-upload]", &format!("p{index:04}]")))
        .collect();
    let kit = Kit::with(&[], &profiles);
    kit.sts_fails(&json!({"kind": "hang"}));
    // They leave before anybody could answer them.
    let client = kit.client();
    for index in 0..1000 {
        let name = format!("p{index:04}");
        let _ = client.credentials(&name, Duration::ZERO, Duration::from_millis(1));
    }
    let names = || {
        let callers = kit.client().audit().unwrap().callers;
        callers.into_iter().map(|it| it.profile).collect::<Vec<_>>()
    };
    let expected: Vec<_> = (0..1000).map(|index| format!("p{index:04}")).collect();
    kit.wait_until("all have been noted", || names().len() == 1000);
    assert_eq!(names(), expected);
}

#[test]
fn others_at_a_machines_daemon_are_told_of_themselves_alone() {
    let both = [format!("user:{STRANGER}"), "user:1".to_owned()];
    let profiles = profile("shared", &both) + "[audit]\nfile = \"audit.jsonl\"\n";
    let Some(machine) = Machine::with(&profiles) else {
        return;
    };
    machine.check(user(STRANGER), "shared", 0);
    let caller = |uid: u32| {
        let output = machine.output(user(uid), "stsctl", &["status", "--json"]);
        let status: Value = serde_json::from_slice(&output.stdout).unwrap();
        status["profiles"][0]["last_caller"]["uid"].clone()
    };
    assert_eq!(caller(STRANGER), STRANGER);
    assert_eq!(caller(1), Value::Null, "somebody else asked");
    assert_eq!(caller(0), STRANGER, "root sees all");
    // Nor where the events stand.
    let output = machine.output(user(1), "stsctl", &["log", "--no-follow"]);
    assert_eq!(output.status.code(), Some(1));
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(complaint.contains("sudo stsctl log"), "{complaint}");
    let output = machine.output(user(0), "stsctl", &["log", "--no-follow"]);
    assert!(stdout(&output).contains("shared: credentials by"));
}

#[test]
fn forty_columns_are_enough() {
    let kit = Kit::with(
        &[],
        &(UPLOAD.to_owned() + &profile("a-second-one-with-a-longer-name", &[])),
    );
    let _ = kit.document(&["oss-upload"]);
    kit.sts_fails(&refused());
    assert_eq!(kit.ctl(&["refresh", "oss-upload"]).status.code(), Some(7));
    let mut terminal = kit.ctl_at_terminal(NARROW, &["status"]);
    assert_eq!(terminal.ends(), 0);
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

    // An error, too.
    let mut command = Command::new(program("stsctl"));
    command.args([
        "--socket",
        "/nonexistent/with/a/long/path/stsd.sock",
        "status",
    ]);
    let mut terminal = Terminal::start(&command, NARROW);
    assert_eq!(terminal.ends(), 3);
    fits(&terminal);
    terminal.wait_for("hint: start it with");
}

#[test]
fn colours_are_for_terminals_and_for_those_who_want_them() {
    let kit = Kit::start();
    let _ = kit.document(&["oss-upload"]);
    let without_escapes = |who: &str, said: &[u8]| {
        let text = String::from_utf8_lossy(said);
        assert!(!said.contains(&0x1b), "{who}: {text:?}");
        assert!(text.contains("██"), "{who}: {text}");
    };
    let mut command = Command::new(program("stsctl"));
    command.arg("--socket").arg(kit.socket()).arg("status");
    without_escapes("no terminal", &command.output().unwrap().stdout);
    let at_terminal = |name: &str, value: &str| {
        let mut command = Command::new(program("stsctl"));
        command.arg("--socket").arg(kit.socket()).arg("status");
        command.env("CI", "true").env(name, value);
        let mut terminal = Terminal::start(&command, WIDE);
        assert_eq!(terminal.ends(), 0);
        terminal
    };
    without_escapes("NO_COLOR", &at_terminal("NO_COLOR", "1").bytes());
    without_escapes("TERM=dumb", &at_terminal("TERM", "dumb").bytes());
    assert!(at_terminal("TERM", "xterm").bytes().contains(&0x1b));
    // What is drawn in place is so without colours as well.
    let mut command = Command::new(program("stsctl"));
    command.arg("--socket").arg(kit.socket());
    command.args(["status", "--watch"]).env("NO_COLOR", "1");
    let mut terminal = Terminal::start(&command, WIDE);
    terminal.wait_for("q leaves");
    assert_eq!(colours(&terminal), []);
    terminal.type_keys("q");
    assert_eq!(terminal.ends(), 0);
    assert!(terminal.is_as_before());
}

#[test]
fn a_renewal_is_seen_while_one_watches() {
    let kit = Kit::start();
    let mut terminal = kit.ctl_at_terminal(WIDE, &["status", "--watch"]);
    terminal.wait_for("none");
    let _ = kit.document(&["oss-upload"]);
    terminal.wait_for("██████████ 59m");
    assert!(kit.ctl(&["refresh", "oss-upload"]).status.success());
    terminal.wait_until("two calls", |screen| {
        let row = |it: &String| it.starts_with("oss-upload") && it.contains("    2  ");
        screen.rows(0, WIDE.1).any(|it| row(&it))
    });
    // All of it at one place.
    let check = |terminal: &Terminal| {
        let lines = terminal.lines();
        assert!(lines[0].starts_with("stsd "), "{lines:#?}");
        let titles = lines.iter().filter(|it| it.starts_with("oss-upload"));
        assert_eq!(titles.count(), 1, "{lines:#?}");
        assert!(terminal.screen().alternate_screen());
        assert!(terminal.screen().hide_cursor());
        fits(terminal);
    };
    check(&terminal);
    // Keys are not drawn.
    terminal.type_keys("xyz");
    terminal.resize(NARROW.0, NARROW.1);
    terminal.wait_for("calls 2, saved 0, hand-outs 1");
    check(&terminal);
    assert!(!terminal.screen().contents().contains("xyz"));

    kit.sts_fails(&refused());
    assert_eq!(kit.ctl(&["refresh", "oss-upload"]).status.code(), Some(7));
    terminal.wait_for("hint: ");
    check(&terminal);

    // Ctrl-C is a key like others until the terminal makes a signal of it.
    terminal.type_keys("\u{3}");
    assert_eq!(terminal.ends(), -2, "SIGINT");
    assert!(terminal.is_as_before());
    kit.must_be_clean("the terminal", &terminal.bytes());
}

#[test]
fn a_watch_that_is_stopped_gives_the_terminal_back_meanwhile() {
    let kit = Kit::start();
    let mut terminal = kit.ctl_at_terminal(WIDE, &["status", "--watch"]);
    terminal.wait_for("q leaves");
    terminal.signal(Signal::SIGTSTP);
    let stat = format!("/proc/{}/stat", terminal.id());
    let stopped = || fs::read_to_string(&stat).unwrap().contains(") T ");
    kit.wait_until("it is stopped", stopped);
    kit.wait_until("the terminal is free", || terminal.is_as_before());
    terminal.signal(Signal::SIGCONT);
    terminal.wait_until("it is drawn again", vt100::Screen::alternate_screen);
    terminal.wait_for("oss-upload");
    terminal.signal(Signal::SIGTERM);
    assert_eq!(terminal.ends(), -15);
    assert!(terminal.is_as_before());
}

#[test]
fn a_watch_outlives_the_daemon_and_does_not_hang_with_it() {
    let mut kit = Kit::start();
    let mut terminal = kit.ctl_at_terminal(WIDE, &["status", "--watch"]);
    terminal.wait_for("oss-upload");
    kit.daemon().signal(Signal::SIGTERM);
    assert_eq!(kit.daemon_ends(), Some(0));
    terminal.wait_for("no daemon at");
    kit.start_daemon();
    terminal.wait_for("oss-upload");
    kit.daemon().signal(Signal::SIGSTOP);
    terminal.wait_for("no answer for 2 s");
    terminal.type_keys("q");
    assert_eq!(terminal.ends(), 0);
    assert!(terminal.is_as_before());
    kit.daemon().signal(Signal::SIGCONT);
}

#[test]
fn more_than_fits_on_a_screen_is_counted() {
    let profiles: String = (0..300)
        .map(|it| profile(&format!("p{it:03}"), &[]))
        .collect();
    let kit = Kit::with(&[], &profiles);
    let mut terminal = kit.ctl_at_terminal(WIDE, &["status", "--watch"]);
    terminal.wait_for("280 lines more; name profiles to see fewer");
    fits(&terminal);
    terminal.type_keys("q");
    assert_eq!(terminal.ends(), 0);
    let mut terminal = kit.ctl_at_terminal(WIDE, &["status", "--watch", "p299", "p007"]);
    terminal.wait_for("p299");
    terminal.wait_for("p007");
    assert!(!terminal.screen().contents().contains("p008"));
    terminal.type_keys("q");
    assert_eq!(terminal.ends(), 0);
    let output = kit.ctl(&["status", "p007", "nosuch"]);
    assert_eq!(output.status.code(), Some(4));
}

#[test]
fn without_a_terminal_a_watch_prints_what_changes() {
    let kit = Kit::start();
    let watching = |arguments: &[&str]| {
        let mut command = Command::new(program("stsctl"));
        command.arg("--socket").arg(kit.socket()).args(arguments);
        command.stdin(Stdio::null());
        let file = kit.path(&arguments.join(""));
        command.stdout(fs::File::create(&file).unwrap());
        (Process::start(command, &kit.path("watching.log")), file)
    };
    let (text, text_file) = watching(&["status", "--watch"]);
    let (lines, lines_file) = watching(&["status", "--watch", "--json"]);
    let read = |file: &Path| fs::read_to_string(file).unwrap();
    kit.wait_until("the first", || {
        read(&text_file).contains("none") && read(&lines_file).contains("none")
            || read(&lines_file).contains("null")
    });
    let _ = kit.document(&["oss-upload"]);
    kit.wait_until("the second", || {
        read(&text_file).contains("██") && read(&lines_file).contains("STS.")
    });
    // Nothing but the time has gone on.
    thread::sleep(Duration::from_millis(2500));
    drop((text, lines));
    let said = read(&text_file);
    assert!(
        said.matches("PROFILE").count() <= 3 && !said.contains('\u{1b}'),
        "{said}"
    );
    let said = read(&lines_file);
    assert!((2..=3).contains(&said.lines().count()), "{said}");
    for line in said.lines() {
        let document: Value = serde_json::from_str(line).unwrap();
        assert_eq!(document["profiles"][0]["name"], "oss-upload");
    }
}

#[test]
fn a_health_check_fails_when_a_wanted_profile_is_stale() {
    let kit = Kit::with(&[], &(UPLOAD.to_owned() + &profile("sleeper", &[])));
    let check = |arguments: &[&str], code: i32, words: &str| {
        let mut all = vec!["status", "--health"];
        all.extend(arguments);
        let output = kit.ctl(&all);
        let said = stdout(&output) + &String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(words), "{words}: {said}");
    };
    check(&[], 0, "wanted: 0");
    check(&["sleeper"], 6, "keep_warm = true");
    check(&["nosuch"], 4, "hint: ");
    let _ = kit.document(&["oss-upload"]);
    check(&[], 0, "healthy: profiles wanted: 1");
    check(&["oss-upload"], 0, "healthy");
    check(&["oss-upload", "sleeper"], 6, "stale: sleeper");
    kit.sts_fails(&json!({"kind": "error", "code": "ServiceUnavailable", "status": 503}));
    assert_eq!(kit.ctl(&["refresh", "oss-upload"]).status.code(), Some(6));
    check(&[], 6, "stale: oss-upload: served for 59m");
    kit.heal();
    kit.sts_fails(&refused());
    assert_eq!(kit.ctl(&["refresh", "oss-upload"]).status.code(), Some(7));
    check(&["oss-upload"], 7, "hint: ");
    let output = kit.ctl(&["status", "--health", "--json"]);
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["healthy"], false);
    assert_eq!(document["stale"][0]["name"], "oss-upload");
    kit.heal();
    assert!(kit.ctl(&["refresh", "oss-upload"]).status.success());
    check(&[], 0, "healthy");
}

#[test]
fn the_log_shows_who_got_what_as_it_happens() {
    let profiles = UPLOAD.to_owned() + &profile("other", &[]) + "[audit]\nfile = \"audit.jsonl\"\n";
    let kit = Kit::with(&[], &profiles);
    let _ = kit.document(&["other"]);
    let _ = kit.document(&["oss-upload"]);
    let mut terminal = kit.ctl_at_terminal((24, 120), &["log", "oss-upload"]);
    terminal.wait_for("ready");
    let events =
        |screen: &vt100::Screen| screen.contents().matches("oss-upload: credentials").count();
    assert_eq!(events(&terminal.screen()), 1);
    let _ = kit.document(&["other"]);
    let _ = kit.document(&["oss-upload"]);
    terminal.wait_until("the next one", |screen| events(screen) == 2);
    fs::rename(kit.path("audit.jsonl"), kit.path("audit.jsonl.1")).unwrap();
    kit.client().reload().unwrap();
    let _ = kit.document(&["oss-upload"]);
    terminal.wait_until("one in the new file", |screen| events(screen) == 3);
    assert!(!terminal.screen().contents().contains("other"));
    assert!(colours(&terminal).contains(&vt100::Color::Idx(2)));
    terminal.type_keys("\u{3}");
    assert_eq!(terminal.ends(), -2);
    assert!(terminal.is_as_before());

    // A narrow one folds, a program gets lines.
    let old = kit.path("audit.jsonl.1");
    let old = ["log", "--no-follow", "--file", old.to_str().unwrap()];
    let mut terminal = kit.ctl_at_terminal(NARROW, &old);
    assert_eq!(terminal.ends(), 0);
    fits(&terminal);
    terminal.wait_for("    other: credentials by");
    let output = kit.ctl(&[&old[..], &["--json", "-n", "2"]].concat());
    let events: Vec<Value> = stdout(&output)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let profiles: Vec<_> = events
        .iter()
        .map(|it| it["profile"].as_str().unwrap())
        .collect();
    assert_eq!(profiles, ["other", "oss-upload"]);
    let output = kit.ctl(&["log", "--file", "/nonexistent"]);
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn a_log_that_stands_nowhere_is_said_with_the_fix() {
    let kit = Kit::start();
    let output = kit.ctl(&["log"]);
    assert_eq!(output.status.code(), Some(1));
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(
        complaint.contains("hint: ") && complaint.contains("[audit]"),
        "{complaint}"
    );
}

/// Every command that asks the daemon and ends by itself.
const COMMANDS: [&[&str]; 16] = [
    &["status"],
    &["status", "--json"],
    &["status", "--watch"],
    &["status", "--health"],
    &["log"],
    &["metrics"],
    &["doctor"],
    &["get", "oss-upload", "--patience", "1s"],
    &["refresh", "oss-upload", "--patience", "1s"],
    &["url", "oss-upload"],
    &["url", "--rotate"],
    &["exec", "oss-upload", "--patience", "1s", "--", "true"],
    &["env", "oss-upload", "--static", "--patience", "1s"],
    &["reload"],
    &["setup", "aliyun", "oss-upload", "--check"],
    &[
        "lease",
        "oss-upload",
        "--ttl",
        "1m",
        "--patience",
        "1s",
        "--socket",
        "/nonexistent/x",
    ],
];

/// Runs every command at a socket, all at once; each has to end, with one of the codes, and
/// with a hint.
#[track_caller]
fn all_end(socket: &Path, codes: &[i32], words: &str) {
    let running: Vec<_> = COMMANDS
        .iter()
        .map(|arguments| {
            let mut command = Command::new("timeout");
            command.arg("30").arg(program("stsctl"));
            command.arg("--socket").arg(socket).args(*arguments);
            command.stdin(Stdio::null());
            command.stdout(Stdio::piped()).stderr(Stdio::piped());
            (arguments, command.spawn().unwrap())
        })
        .collect();
    for (arguments, child) in running {
        let output = child.wait_with_output().unwrap();
        let said = stdout(&output) + &String::from_utf8_lossy(&output.stderr);
        let code = output.status.code().unwrap();
        // A diagnosis has succeeded when it says what is wrong.
        let diagnosis = matches!(arguments[0], "doctor" | "setup");
        let expected = if diagnosis {
            &[1, 2, 3, 8, 9][..]
        } else {
            codes
        };
        assert!(expected.contains(&code), "{arguments:?}: {code}: {said}");
        assert!(
            !said.contains("panicked") && !said.contains('\u{1b}'),
            "{said}"
        );
        if !diagnosis {
            assert!(said.contains("\nhint: "), "{arguments:?}: {said}");
            assert!(said.contains(words), "{arguments:?}: {said}");
        }
    }
}

/// Answers everybody at a socket, until the story ends.
fn impostor(path: &Path, answer: impl Fn(UnixStream) + Send + Sync + 'static) {
    let listener = UnixListener::bind(path).unwrap();
    let answer = std::sync::Arc::new(answer);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let answer = std::sync::Arc::clone(&answer);
            thread::spawn(move || answer(stream.unwrap()));
        }
    });
}

#[test]
fn without_a_daemon_every_command_ends_and_says_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("stsd.sock");
    all_end(&socket, &[3], "start it with `stsd`");
    // A socket that nobody listens at any more.
    drop(UnixListener::bind(&socket).unwrap());
    all_end(&socket, &[3], "start it with `stsd`");
}

#[test]
fn with_a_daemon_that_does_not_answer_every_command_ends() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("stsd.sock");
    impostor(&socket, |stream| {
        thread::sleep(Duration::from_secs(60));
        drop(stream);
    });
    all_end(&socket, &[3], "did not answer in time");
}

#[test]
fn with_a_daemon_of_another_version_every_command_says_whom_to_upgrade() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("stsd.sock");
    impostor(&socket, |mut stream| {
        let hello = Reply::Hello {
            version: VERSION + 1,
        };
        let _ = stream.write_all(&hello.frame().unwrap());
        let _ = stream.read_to_end(&mut Vec::new());
    });
    all_end(&socket, &[8], "upgrade the client");
}

#[test]
fn with_somebody_elses_daemon_every_command_says_so() {
    if !geteuid().is_root() {
        e2e::not_run("only root can become another user for this story");
        return;
    }
    let kit = Kit::start();
    // Where its user's directory can be entered, the daemon itself says it.
    let mut codes = Vec::new();
    for mode in [0o700, 0o711] {
        for (place, mode) in [("", 0o711), ("run", mode)] {
            let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
            fs::set_permissions(kit.path(place), mode).unwrap();
        }
        let programs = tempfile::tempdir().unwrap();
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(programs.path(), open).unwrap();
        fs::copy(program("stsctl"), programs.path().join("stsctl")).unwrap();
        let mut command = user(STRANGER).command(programs.path().join("stsctl"));
        command.arg("--socket").arg(kit.socket()).arg("status");
        let output = command.output().unwrap();
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(complaint.contains("another user's"), "{complaint}");
        codes.push(output.status.code());
    }
    assert_eq!(codes, [Some(3), Some(3)]);
}

#[test]
fn a_daemon_that_is_older_than_the_question_has_a_status_all_the_same() {
    let kit = Kit::start();
    let status = kit.client().status().unwrap();
    let socket = kit.path("older.sock");
    impostor(&socket, move |mut stream| {
        let mut said = Reply::Hello { version: VERSION }.frame().unwrap().to_vec();
        loop {
            let mut header = [0; 4];
            if stream.read_exact(&mut header).is_err() {
                return;
            }
            let mut message = vec![0; message_length(header).unwrap()];
            stream.read_exact(&mut message).unwrap();
            let reply = match Request::decode(&message).unwrap() {
                Request::Hello { .. } => continue,
                Request::Status { .. } => Reply::Status(status.clone()),
                _ => Reply::Failure(Failure {
                    kind: FailureKind::Malformed,
                    message: "the message cannot be read".into(),
                    hint: "the daemon speaks another version".into(),
                }),
            };
            said.extend_from_slice(&reply.frame().unwrap());
            stream.write_all(&said).unwrap();
            said.clear();
        }
    });
    let run = |arguments: &[&str]| {
        let mut command = Command::new(program("stsctl"));
        command.arg("--socket").arg(&socket).args(arguments);
        command.output().unwrap()
    };
    let output = run(&["status"]);
    let text = stdout(&output);
    assert!(
        output.status.success() && text.contains("oss-upload"),
        "{text}"
    );
    assert!(text.contains("this daemon is older than stsctl"), "{text}");
    let output = run(&["log"]);
    assert_eq!(output.status.code(), Some(8));
}

#[test]
fn without_a_terminal_and_without_stdin_no_command_hangs() {
    let kit = Kit::with(&[], &format!("{UPLOAD}[http]\nlisten = \"127.0.0.1:0\"\n"));
    let _ = kit.document(&["oss-upload"]);
    let for_ever = |it: &&&[&str]| it.contains(&"--watch") || it[0] == "lease";
    for arguments in COMMANDS.iter().filter(|it| !for_ever(it)) {
        for stdin in ["<&-", "</dev/null"] {
            let mut command = Command::new("timeout");
            command.args(["30", "sh", "-c", &format!("exec \"$@\" {stdin}"), "sh"]);
            command
                .arg(program("stsctl"))
                .arg("--socket")
                .arg(kit.socket());
            let output = command
                .args(*arguments)
                .stdin(Stdio::null())
                .output()
                .unwrap();
            let said = stdout(&output) + &String::from_utf8_lossy(&output.stderr);
            assert_ne!(output.status.code(), Some(124), "{arguments:?} {stdin}");
            assert!(
                !said.contains('\u{1b}') && !said.contains("panicked"),
                "{said}"
            );
        }
    }
}
