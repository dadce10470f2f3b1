//! The identity of a SAML assertion.

use std::time::Duration;

use e2e::{Action, OutputLog, TestEnv, UPLOAD_ROLE_LINE, assert_output};
use serde_json::{Value, json};

const PROVIDER: &str = "acs:ram::100000000000001:saml-provider/demo";

fn by_file() -> String {
    format!(
        "[source.sso]\ntype = \"saml\"\nprovider_arn = \"{PROVIDER}\"\n\
         assertion_file = \"assertion.key\"\n[profile.sso]\nsource = \"sso\"\n{}",
        UPLOAD_ROLE_LINE
    )
}

fn world() -> TestEnv {
    let mut env = TestEnv::without_daemon(&[]);
    env.write(
        "assertion.key",
        &env.emulator().saml_assertion(&json!({})),
        0o600,
    );
    env.write_config(&by_file());
    env.start_daemon();
    env
}

#[test]
fn saml_assertion_from_file_or_command_becomes_a_session() {
    let env = world();
    let uploads = |profile: &str| {
        let put = env.oss_with_profile(profile, &["put", "examplebucket", profile], "text");
        assert!(put.is_ok(), "{put:?}");
    };
    uploads("sso");
    let assertion = env.emulator().saml_assertion(&json!({}));
    env.write(
        "issue.key",
        &format!("#!/bin/sh\necho '{assertion}'\n"),
        0o700,
    );
    let command = format!(
        "assertion_command = [\"{}\"]",
        env.path("issue.key").display()
    );
    let by_command = by_file()
        .replace("assertion_file = \"assertion.key\"", &command)
        .replace("sso]", "asked]")
        .replace("\"sso\"", "\"asked\"");
    env.write_config(&format!("{}{by_command}", by_file()));
    assert!(env.ctl(&["reload"]).status.success());
    uploads("asked");
    assert_eq!(env.emulator().outcomes(Action::AssumeRoleWithSaml, "ok"), 2);
}

#[test]
fn bad_assertion_is_named_and_a_good_one_is_picked_up() {
    let env = world();
    let check = |text: &str, code: i32, words: &str| {
        env.replace("assertion.key", text, 0o600);
        let output = env.ctl(&["refresh", "sso"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{words}: {said}");
        assert!(said.contains(words), "{words}: {said}");
    };
    check("", 6, "gave nothing");
    check("<samlp:Response>", 6, "base64 in one line");
    let good = env.emulator().saml_assertion(&json!({}));
    check(
        &format!("{}\n{}", &good[..76], &good[76..]),
        6,
        "in one line",
    );
    check(&"A".repeat(100_001), 6, "no SAML assertion");
    assert_eq!(
        env.emulator().calls(Action::AssumeRoleWithSaml),
        0,
        "STS was not asked"
    );
    let made = |order: Value| env.emulator().saml_assertion(&order);
    let expired = "AuthenticationFail.SAMLAssertion.Expired";
    check(&made(json!({"life": "-1m"})), 7, expired);
    check(
        &made(json!({"audience": "x"})),
        7,
        "AuthenticationFail.SAMLAssertion",
    );
    check(
        &made(json!({"issuer": "x"})),
        7,
        "AuthenticationFail.SAMLAssertion",
    );
    check(
        &good[..good.len() / 8 * 4],
        7,
        "AuthenticationFail.SAMLAssertion",
    );
    env.replace("assertion.key", &format!("{good}\r\n"), 0o600);
    env.wait_within(Duration::from_secs(40), "it is served by itself", || {
        env.shim(&["--patience", "1s", "sso"]).status.success()
    });
}

#[test]
fn keys_without_effect_for_saml_are_refused_at_load() {
    let env = TestEnv::without_daemon(&[]);
    env.write(
        "assertion.key",
        &env.emulator().saml_assertion(&json!({})),
        0o600,
    );
    let mut errors = OutputLog::new(&env);
    let mut check = |title: &str, config: &str| {
        env.write_config(config);
        errors.add(title, &env.check_error());
    };
    for (key, value) in [
        ("role_session_name", "{user}"),
        ("external_id", "e-1"),
        ("source_identity", "jo"),
    ] {
        let config = format!("{}{key} = \"{value}\"\n", by_file());
        check(&format!("{key} = \"{value}\""), &config);
    }
    check(
        "no provider_arn",
        &by_file().replace(&format!("provider_arn = \"{PROVIDER}\"\n"), ""),
    );
    check(
        "no assertion_file",
        &by_file().replace("assertion_file = \"assertion.key\"\n", ""),
    );
    check("no role_arn", &by_file().replace(UPLOAD_ROLE_LINE, ""));
    assert_output!("invalid_saml_source", errors.text());
}
