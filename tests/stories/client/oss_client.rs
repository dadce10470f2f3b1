//! The program of `examples/oss-client`: its operations and its errors.

use std::process::{Command, Stdio};

use e2e::{Action, Fault, MARKERS, TestEnv, program};
use serde_json::json;

/// A key with characters that need escapes.
const KEY: &str = "a b+c/é&?.txt";

fn refused(code: &str, message: &str) -> Result<String, String> {
    Err(format!("stsd-oss-client: {code}: {message}\n"))
}

#[test]
fn oss_client_puts_gets_heads_lists_and_deletes() {
    let env = TestEnv::start();
    let run = |words: &[&str], input: &str| env.oss_with_profile("oss-upload", words, input);
    let nothing = Ok(String::new());
    assert_eq!(run(&["put", "examplebucket", KEY], "hello"), nothing);
    assert_eq!(
        run(&["get", "examplebucket", KEY], ""),
        Ok("hello".to_owned())
    );
    let head = run(&["head", "examplebucket", KEY], "").unwrap();
    assert!(head.contains("content-length: 5\n"), "{head}");
    assert_eq!(run(&["list", "examplebucket"], ""), Ok(format!("{KEY}\n")));
    assert_eq!(run(&["list", "examplebucket", "z"], ""), nothing);
    assert_eq!(run(&["delete", "examplebucket", KEY], ""), nothing);
    let missing = refused("NoSuchKey", "The specified key does not exist.");
    assert_eq!(run(&["get", "examplebucket", KEY], ""), missing);
    assert_eq!(run(&["head", "examplebucket", KEY], ""), missing);
    assert!(run(&["put", "otherbucket", KEY], "x").is_err());
}

#[test]
fn truncated_answer_is_an_error_of_the_oss_client() {
    let env = TestEnv::start();
    let run = |words: &[&str], input: &str| env.oss_with_profile("oss-upload", words, input);
    assert!(run(&["put", "examplebucket", KEY], "hello").is_ok());
    for (fault, says) in [
        (Fault::HalfBody, "broke off"),
        (Fault::Reset, "did not provide a status line"),
    ] {
        env.emulator().inject_fault(Action::OssGetObject, fault);
        let said = run(&["get", "examplebucket", KEY], "").unwrap_err();
        assert!(said.contains(says), "{fault:?}: {said}");
        env.emulator().clear_faults();
    }
}

#[test]
fn oss_client_error_contains_no_secret() {
    let env = TestEnv::start();
    let mut wrong = env.document(&["oss-upload"]);
    wrong["AccessKeySecret"] = json!("EmulatedSecretOfAnother");
    let no_document = "printed no JSON with AccessKeyId";
    for (document, says) in [
        (wrong, "SignatureDoesNotMatch: "),
        (json!("EmulatedSecret"), no_document),
        (json!({"AccessKeyId": "EmulatedSecret"}), no_document),
    ] {
        env.write("document.secret", &document.to_string(), 0o600);
        let process = format!("cat {}", env.path("document.secret").display());
        let outcome = env.oss_with_process(&process, &["get", "examplebucket", "k"], "");
        let said = outcome.unwrap_err();
        assert!(said.contains(says), "{said}");
        assert!(!MARKERS.iter().any(|it| said.contains(it)), "{said}");
    }
}

#[test]
fn invalid_command_line_of_the_oss_client_is_a_usage_error() {
    let good = "--endpoint http://127.0.0.1:1 --region r --credential-process true get b k";
    for (from, to, says) in [
        (" get", " move", "none of put, get, head, list, delete"),
        (" get b k", "", "no operation"),
        (" b k", "", "no bucket"),
        (" k", "", "no key"),
        (" k", " k l", "\"l\" is one word too many"),
        ("--region r", "", "--region is missing"),
        (
            "http://127.0.0.1:1",
            "https://127.0.0.1:1",
            "--endpoint must be like",
        ),
        (
            "http://127.0.0.1:1",
            "http://127.0.0.1:1/x",
            "--endpoint must be like",
        ),
        ("--region", "--place", "--place"),
    ] {
        let line = good.replacen(from, to, 1);
        assert_ne!(line, good);
        let output = Command::new(program("stsd-oss-client"))
            .args(line.split_whitespace())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{line}: {said}");
        assert!(said.contains(says), "{line}: {said}");
    }
}
