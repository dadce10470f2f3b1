//! An export file with keys of the user's own, as a script that called STS wrote it.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
};

use e2e::{Action, TestEnv, UPLOAD};
use nix::sys::signal::Signal;
use serde_json::Value;

/// The extension permits a secret in the file.
const FILE: &str = "StsInfo.secret";

/// The keys of a script, with its misspellings.
const KEYS: &str = "{ sts_key_id = \"access_key_id\", sts_key_secret = \"access_key_secret\", \
                    sts_secrity_token = \"security_token\", \
                    sts_expire_date = \"expiration_unix_seconds\", sts_reques_id = \"request_id\" }";

fn with_keys(keys: &str) -> String {
    format!("{UPLOAD}[profile.oss-upload.file]\npath = \"{FILE}\"\nkeys = {keys}\n")
}

/// Returns the text of the file, if the file exists.
fn text(env: &TestEnv) -> Option<String> {
    fs::read_to_string(env.path(FILE)).ok()
}

fn read(env: &TestEnv) -> Option<Value> {
    Some(serde_json::from_str(&text(env)?).expect("a whole document"))
}

/// Returns the content that the file has for a document of sts-shim, without the request ID.
fn expected(document: &Value) -> String {
    let expiration: jiff::Timestamp = document["Expiration"].as_str().unwrap().parse().unwrap();
    format!(
        "{{\"sts_key_id\":{},\"sts_key_secret\":{},\"sts_secrity_token\":{},\
         \"sts_expire_date\":{},\"sts_reques_id\":\"",
        document["AccessKeyId"],
        document["AccessKeySecret"],
        document["SecurityToken"],
        expiration.as_second()
    )
}

#[test]
fn file_with_own_keys_holds_each_session() {
    let mut env = TestEnv::with(&["--session-life", "8s"], &with_keys(KEYS));
    let mut sessions = BTreeSet::new();
    env.wait_until("the session in the file, three times", || {
        let document = env.document(&["oss-upload"]);
        if text(&env).is_some_and(|it| it.starts_with(&expected(&document))) {
            sessions.insert(document["AccessKeyId"].to_string());
        }
        sessions.len() == 3
    });
    let metadata = fs::metadata(env.path(FILE)).unwrap();
    assert_eq!(metadata.permissions().mode() & 0o7777, 0o600);
    let request = read(&env).unwrap()["sts_reques_id"].clone();
    let request = request.as_str().unwrap();
    assert!(!request.is_empty() && env.daemon_log().contains(request));
    env.daemon().signal(Signal::SIGTERM);
    assert_eq!(env.wait_for_daemon_exit(), Some(0));
    assert_eq!(text(&env), None, "the daemon removes the file");
}

#[test]
fn reload_with_other_keys_writes_the_file_again_without_a_call() {
    let env = TestEnv::with(&[], &with_keys(KEYS));
    env.wait_until("the file", || text(&env).is_some());
    let reload = |profiles: &str| {
        env.write_config(profiles);
        assert!(env.ctl(&["reload"]).status.success(), "{profiles}");
    };
    let document = env.document(&["oss-upload"]);
    // Not in the order of the alphabet, and with characters that JSON escapes.
    let keys = "{ \"z \\\"\" = \"access_key_id\", b = \"expiration\", a = \"text:cn-hongkong\" }";
    reload(&with_keys(keys));
    let line = format!(
        "{{\"z \\\"\":{},\"b\":{},\"a\":\"cn-hongkong\"}}\n",
        document["AccessKeyId"], document["Expiration"]
    );
    env.wait_until("other keys", || text(&env).as_ref() == Some(&line));
    // A table of its own is the same.
    let table = KEYS.trim_matches(['{', '}', ' ']).replace(", ", "\n");
    let profiles = with_keys("").replace("keys = \n", "[profile.oss-upload.file.keys]\n");
    reload(&format!("{profiles}{table}\n"));
    env.wait_until("the first keys", || {
        text(&env).is_some_and(|it| it.starts_with(&expected(&document)))
    });
    let inode = || fs::metadata(env.path(FILE)).unwrap().ino();
    let before = inode();
    reload(&with_keys(KEYS));
    assert_eq!(inode(), before, "an unchanged export is not written again");
    reload(&with_keys("").replace("keys = ", "format = \"oss\""));
    env.wait_until("a format", || {
        read(&env).is_some_and(|it| it["AccessKeyId"] == document["AccessKeyId"])
    });
    assert_eq!(env.emulator().calls(Action::AssumeRole), 1);
}
