//! `stsd --check --portable`: a configuration of another machine.

use std::process::Output;

use e2e::{TestEnv, assert_no_secrets};
use serde_json::Value;

/// A configuration of a machine that has other users, files, programs and variables than this one.
const OF_ANOTHER_MACHINE: &str = r#"
region = "cn-hongkong"
[audit]
file = "/var/log/nowhere/audit.jsonl"
[http]
secret_file = "none.secret"
[source.file]
type = "access-key"
access_key_file = "none.key"
[source.credential]
type = "access-key"
access_key_credential = "uploader.key"
[source.keyring]
type = "access-key"
access_key_keyring = "uploader"
[source.variables]
type = "access-key"
access_key_env = { id = "STSD_NO_ID", secret = "STSD_NO_SECRET" }
[source.pod]
type = "oidc"
[source.token]
type = "oidc"
provider_arn = "acs:ram::100000000000001:oidc-provider/demo"
token_file = "/var/run/secrets/none/token"
[source.company]
type = "saml"
provider_arn = "acs:ram::100000000000001:saml-provider/demo"
assertion_command = ["/opt/none/assertion"]
[source.vault]
type = "process"
command = ["/opt/none/issue"]
writable = ["/opt/none/cache"]
environment = ["STSD_NO_VARIABLE"]
[source.uri]
type = "uri"
uri_file = "none.uri"
[profile.pod]
source = "pod"
[profile.vault]
source = "vault"
allow = ["user:backup-of-there", "group:backup-of-there", "unit:app.service"]
on_renewal = ["/opt/none/reload"]
[profile.vault.file]
path = "/opt/none/credentials.json"
[profile.file]
source = "file"
role_arn = "acs:ram::100000000000001:role/r"
policy_file = "none.json"
[profile.chained]
source = "file"
role_arn = "acs:ram::100000000000001:role/r"
"#;

fn check(env: &TestEnv, arguments: &[&str]) -> Output {
    let mut command = env.daemon_command();
    // The account, the variables and the directories of the caller make no difference.
    command.env_clear();
    command.env("STSD_CONFIG", env.path("config.toml"));
    let output = command.arg("--check").args(arguments).output().unwrap();
    assert_no_secrets("stsd --check --portable", &output.stderr);
    output
}

#[test]
fn portable_check_looks_at_nothing_of_this_machine() {
    let env = TestEnv::without_daemon(&[]);
    // A checkout may be writable for a group.
    env.write("config.toml", OF_ANOTHER_MACHINE, 0o664);
    let output = check(&env, &["--portable"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert_eq!(said, "");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        said.contains("4 profiles, no mistakes; users, groups, files"),
        "{said}"
    );
    let output = check(&env, &["--portable", "--json"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&report["valid"], &report["portable"]),
        (&true.into(), &true.into())
    );
    assert_eq!(output.status.code(), Some(0));
    // The same configuration is not one of this machine.
    env.write("config.toml", OF_ANOTHER_MACHINE, 0o600);
    let output = check(&env, &["--json"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (output.status.code(), &report["portable"]),
        (Some(1), &false.into())
    );
    assert!(
        report["errors"].as_array().unwrap().len() > 10,
        "{report:#}"
    );
}

#[test]
fn portable_check_finds_the_mistakes_of_the_shape() {
    let env = TestEnv::without_daemon(&[]);
    let check_line = |from: &str, to: &str, key: &str| {
        let text = OF_ANOTHER_MACHINE.replacen(from, to, 1);
        assert_ne!(text, OF_ANOTHER_MACHINE, "{from}");
        let line = 1 + text[..text.find(to).unwrap()].matches('\n').count();
        env.write("config.toml", &text, 0o600);
        let output = check(&env, &["--portable", "--json"]);
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(1), "{to}");
        let error = &report["errors"][0];
        assert_eq!(
            (&error["line"], &error["key"]),
            (&line.into(), &key.into()),
            "{report:#}"
        );
    };
    check_line(
        "\"user:backup-of-there\"",
        "\"usr:x\"",
        "profile.vault.allow",
    );
    check_line(
        "\"unit:app.service\"",
        "\"unit:app\"",
        "profile.vault.allow",
    );
    check_line(
        "[\"/opt/none/reload\"]",
        "[\"reload\"]",
        "profile.vault.on_renewal",
    );
    check_line(
        "role_arn = \"acs",
        "role_arn = \"arn",
        "profile.file.role_arn",
    );
    check_line("type = \"uri\"", "type = \"url\"", "source.uri.type");
    check_line(
        "source = \"pod\"",
        "colour = 1\nsource = \"pod\"",
        "profile.pod.colour",
    );
    check_line(
        "\"STSD_NO_VARIABLE\"",
        "\"A=b\"",
        "source.vault.environment",
    );
}

#[test]
fn portable_belongs_to_the_check() {
    let env = TestEnv::without_daemon(&[]);
    let output = env.daemon_command().arg("--portable").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("--portable belongs to --check"), "{said}");
}
