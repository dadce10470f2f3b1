//! Texts of others on every output: an error of STS that moves a terminal and reorders its text reaches
//! the log, the shim, stsctl and the HTTP endpoint, and none of them prints it as it is.

use std::{
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    process::Command,
};

use e2e::{Action, Fault, TestEnv};

/// An escape sequence, a right-to-left override, a line separator and an invisible character.
const CODE: &str = "Evil\u{1b}[2J\u{202e}\u{2028}\u{200b}";

/// Asserts that a text has nothing that a terminal interprets, and that it names the error.
#[track_caller]
fn check(output: &str, text: &str) {
    assert!(text.contains("Evil"), "{output}: {text}");
    let bad = |c: &char| (c.is_control() && *c != '\n') || "\u{202e}\u{2028}\u{200b}".contains(*c);
    let found = text.chars().find(bad);
    assert_eq!(found, None, "{output}: {text:?}");
}

#[test]
fn error_of_sts_is_escaped_in_every_output() {
    let env = TestEnv::start();
    let fault = Fault::error(CODE);
    env.emulator().inject_fault(Action::AssumeRole, fault);
    let shim = env.shim(&["--patience", "10s", "oss-upload"]);
    assert!(!shim.status.success());
    check("the shim", &String::from_utf8(shim.stderr).unwrap());
    for arguments in [
        &["status"][..],
        &["status", "--json"],
        &["status", "--health"],
        &["status", "--health", "--json"],
        &["doctor"],
        &["doctor", "--json"],
    ] {
        let output = env.ctl(arguments);
        let text = String::from_utf8(output.stdout).unwrap();
        check(&arguments.join(" "), &text);
    }
    let refresh = env.ctl(&["refresh", "oss-upload"]);
    check("refresh", &String::from_utf8(refresh.stderr).unwrap());
    let mut http = UnixStream::connect(env.path("run/http.sock")).unwrap();
    let request =
        "GET /credentials/oss-upload HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    http.write_all(request.as_bytes()).unwrap();
    let mut response = String::new();
    http.read_to_string(&mut response).unwrap();
    check("HTTP", &response.replace('\r', ""));
    let log = env.daemon_log();
    let lines = log.lines().filter(|it| it.contains("Evil"));
    for line in lines {
        check("the log", line);
    }
}

#[test]
fn argument_is_escaped_in_the_error_of_each_program() {
    let argument = format!("--{CODE}");
    // The shim quotes no argument.
    for name in ["stsd", "stsctl", "stsd-emulator"] {
        let output = Command::new(e2e::program(name)).arg(&argument).output();
        let output = output.unwrap();
        assert_eq!(output.status.code(), Some(2), "{name}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("\\u{202e}"), "{name}: {said}");
        check(name, &said);
    }
}
