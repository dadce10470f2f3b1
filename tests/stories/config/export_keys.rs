//! Errors in the keys of an export file.

use e2e::{OutputLog, TestEnv, UPLOAD, assert_output};

/// The lines before the keys: the endpoint, the source, the profile, the table of the file.
const LINE: usize = 10;

fn with_file(lines: &str) -> String {
    format!("{UPLOAD}[profile.oss-upload.file]\npath = \"x\"\n{lines}\n")
}

#[test]
fn invalid_keys_of_a_file_are_refused_at_their_line() {
    let env = TestEnv::without_daemon(&[]);
    let mut log = OutputLog::new(&env);
    let mut add = |title: &str, lines: &str, line: usize| {
        env.write_config(&with_file(lines));
        let stderr = env.check_error();
        let place = format!("config.toml:{line}:");
        assert!(stderr.contains(&place), "{place} is not in: {stderr}");
        log.add(title, &stderr);
    };
    for keys in [
        "{ id = \"AccessKeyId\" }",
        "{ id = \"\" }",
        "{ \"a\\nb\" = \"text\" }",
        "{}",
        "{ id = \"access_key_id\", id = \"access_key_secret\" }",
        "{ id = 1 }",
        "{ Credentials = { AccessKeyId = \"access_key_id\" } }",
        "[\"access_key_id\"]",
        "\"access_key_id\"",
    ] {
        add(keys, &format!("keys = {keys}"), LINE);
    }
    // A misplaced secret is not shown.
    let secret = format!("keys = {{ id = \"{}\" }}", e2e::KEY_SECRET);
    add("the secret of a key", &secret, LINE);
    let both = "format = \"oss\"\nkeys = { id = \"access_key_id\" }";
    add(both, both, LINE + 1);
    let table = "[profile.oss-upload.file.keys]\nid = \"access_key_id\"\nkey = \"access_key\"\n\
                 until = \"expires\"";
    add(table, table, LINE + 2);
    assert_output!("export_keys", log.text());
}

#[test]
fn keys_without_a_part_of_the_session_are_a_warning() {
    let env = TestEnv::without_daemon(&[]);
    let check = |keys: &str| {
        env.write_config(&with_file(&format!("keys = {{ {keys} }}")));
        let output = env.daemon_command().arg("--check").output().unwrap();
        assert!(output.status.success(), "{keys}");
        String::from_utf8(output.stderr).unwrap()
    };
    let all = "id = \"access_key_id\", key = \"access_key_secret\", token = \"security_token\"";
    let complete = check(all);
    assert!(!complete.contains("file.keys"), "{complete}");
    let mut log = OutputLog::new(&env);
    for keys in [
        "id = \"access_key_id\", key = \"access_key_secret\"",
        "until = \"expiration_unix_milliseconds\"",
    ] {
        log.add(keys, &check(keys));
    }
    assert_output!("export_keys_warning", log.text());
}
