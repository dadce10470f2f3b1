//! The log as lines of JSON.

use e2e::{TestEnv, UPLOAD};
use serde_json::Value;

/// Returns the lines of a log, each of which is an object.
fn lines(log: &str) -> Vec<Value> {
    let parse = |line: &str| -> Value {
        let parsed = serde_json::from_str(line);
        parsed.unwrap_or_else(|error| panic!("{error}: {line}"))
    };
    log.lines().map(parse).collect()
}

#[test]
fn json_log_has_the_fields_of_each_event() {
    let mut env = TestEnv::without_daemon(&[]);
    env.write_config(UPLOAD);
    let mut daemon = env.daemon_command();
    daemon.env("STSD_LOG_FORMAT", "json");
    env.start_daemon_with(daemon);
    let _ = env.document(&["oss-upload"]);
    let is_served = |it: &Value| it["target"] == "audit" && it["decision"] == "ready";
    env.wait_until("the request is in the log", || {
        lines(&env.daemon_log()).iter().any(is_served)
    });
    let lines = lines(&env.daemon_log());
    let served = lines.iter().find(|it| is_served(it)).unwrap();
    assert_eq!(served["level"], "info");
    assert_eq!(served["message"], "credentials served");
    assert_eq!(served["profile"], "oss-upload");
    assert!(served["uid"].is_u64(), "{served}");
    assert!(served["time"].as_str().unwrap().ends_with('Z'), "{served}");
}

#[test]
fn failed_start_is_a_line_of_json_too() {
    let env = TestEnv::without_daemon(&[]);
    env.write_config("[profile.\"a\\nb\"]\nsource = 1\n");
    let mut daemon = env.daemon_command();
    let output = daemon.env("STSD_LOG_FORMAT", "json").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let lines = lines(&String::from_utf8(output.stderr).unwrap());
    let last = lines.last().unwrap();
    assert_eq!(last["level"], "error");
    assert!(
        last["message"]
            .as_str()
            .unwrap()
            .contains("[config-wrong-type]"),
        "{last}"
    );
}

#[test]
fn unknown_log_format_is_a_warning() {
    let mut env = TestEnv::without_daemon(&[]);
    env.write_config(UPLOAD);
    let mut daemon = env.daemon_command();
    daemon.env("STSD_LOG_FORMAT", "jason");
    env.start_daemon_with(daemon);
    let log = env.daemon_log();
    assert!(
        log.contains("STSD_LOG_FORMAT is neither json nor text"),
        "{log}"
    );
}
