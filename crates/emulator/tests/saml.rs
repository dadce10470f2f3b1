//! `AssumeRoleWithSAML`: valid assertions, and each kind of invalid one.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod kit;

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use kit::{Answer, Credentials, Oss, TestEmulator, UPLOAD, start};
use serde_json::{Value, json};
use stsd_emulator::SAML_ASSERTION_MARKER;

const PROVIDER: &str = "acs:ram::100000000000001:saml-provider/demo";
const ACTION: &str = "AssumeRoleWithSAML";
const INVALID: &str = "AuthenticationFail.SAMLAssertion.Invalid";

/// Returns an assertion; the fields of `overrides` replace those of a valid request.
fn assertion(emulator: &TestEmulator, overrides: &Value) -> String {
    let mut request = json!({"provider": "demo", "subject": "operator", "roles": ["oss-upload"]});
    for (name, value) in overrides.as_object().unwrap() {
        request[name] = value.clone();
    }
    emulator.mint("saml/assertion", &request)
}

fn assume(emulator: &TestEmulator, assertion: &str, more: &[(&str, &str)]) -> Answer {
    let good = [
        ("RoleArn", UPLOAD),
        ("SAMLProviderArn", PROVIDER),
        ("SAMLAssertion", assertion),
    ];
    let kept = good
        .into_iter()
        .filter(|(name, _)| !more.iter().any(|(own, _)| own == name));
    let all: Vec<_> = kept.chain(more.iter().copied()).collect();
    emulator.anonymous(ACTION, &all)
}

fn expect(answer: &Answer, status: u16, code: &str) {
    let body = answer.json();
    assert_eq!(
        (body["Code"].as_str(), answer.status),
        (Some(code), status),
        "{body}"
    );
}

fn check(order: Value, status: u16, code: &str) {
    let emulator = start();
    expect(
        &assume(&emulator, &assertion(&emulator, &order), &[]),
        status,
        code,
    );
    assert_eq!(emulator.stats()["calls"][ACTION], json!({ code: 1 }));
}

fn check_parameter(name: &str, value: &str, status: u16, code: &str) {
    let emulator = start();
    let good = assertion(&emulator, &json!({}));
    expect(&assume(&emulator, &good, &[(name, value)]), status, code);
}

#[test]
fn valid_assertion_returns_session() {
    let emulator = start();
    let order = json!({"subject": "<ops> & \"co\"", "session_name": "operator-1"});
    let answer = assume(
        &emulator,
        &assertion(&emulator, &order),
        &[("DurationSeconds", "900")],
    );
    assert_eq!(answer.status, 200, "{}", answer.text());
    let body = answer.json();
    assert_eq!(body["Credentials"]["Expiration"], "2026-01-01T00:15:00Z");
    assert_eq!(
        body["AssumedRoleUser"]["Arn"],
        format!("{UPLOAD}/operator-1")
    );
    assert_eq!(
        body["SAMLAssertionInfo"],
        json!({
            "SubjectType": "persistent",
            "Subject": "<ops> & \"co\"",
            "Recipient": "https://signin.alibabacloud.com/saml-role/sso",
            "Issuer": "https://saml.example.com/metadata",
        })
    );
    let credentials = Credentials::from(&body);
    let oss = Oss::new(&emulator, &credentials);
    assert_eq!(oss.send("PUT", "/examplebucket/k", &[], b"x").status, 200);
    let china = json!({
        "audience": "urn:alibaba:cloudcomputing",
        "recipient": "https://signin.aliyun.com/saml-role/sso",
    });
    assert_eq!(
        assume(&emulator, &assertion(&emulator, &china), &[]).status,
        200
    );
    assert_eq!(emulator.stats()["calls"][ACTION], json!({"ok": 2}));
}

#[test]
fn assertion_with_wrong_field_is_refused() {
    check(json!({"audience": "urn:elsewhere"}), 401, INVALID);
    check(
        json!({"recipient": "https://elsewhere.example.com"}),
        401,
        INVALID,
    );
    check(
        json!({"issuer": "https://elsewhere.example.com"}),
        401,
        INVALID,
    );
    check(json!({"session_name": "no name"}), 401, INVALID);
    let expired = "AuthenticationFail.SAMLAssertion.Expired";
    check(json!({"life": "0s"}), 401, expired);
    check(json!({"roles": ["oss-read"]}), 403, "NoPermission");
    check(json!({"roles": []}), 403, "NoPermission");

    let emulator = start();
    let short = assertion(&emulator, &json!({"life": "60s"}));
    emulator.clock.advance(Duration::from_secs(59));
    assert_eq!(assume(&emulator, &short, &[]).status, 200);
    emulator.clock.advance(Duration::from_secs(1));
    expect(&assume(&emulator, &short, &[]), 401, expired);
}

#[test]
fn role_must_trust_saml_provider() {
    let emulator = start();
    let order = json!({"roles": ["oss-upload", "oss-read"]});
    let both = assertion(&emulator, &order);
    assert_eq!(assume(&emulator, &both, &[]).status, 200);
    let read = [("RoleArn", kit::READ)];
    expect(&assume(&emulator, &both, &read), 403, "NoPermission");
}

#[test]
fn assertion_without_valid_seal_is_refused() {
    let emulator = start();
    let good = assertion(&emulator, &json!({}));
    let text = String::from_utf8(STANDARD.decode(&good).unwrap()).unwrap();
    let altered = STANDARD.encode(text.replace("role/oss-upload", "role/oss-read"));
    let cut = STANDARD.encode(text.split("<emulator:Seal").next().unwrap());
    let foreign = assertion(&self::start(), &json!({}));
    for invalid in [altered.as_str(), &cut, &foreign, "????", "bm90aGluZw=="] {
        expect(&assume(&emulator, invalid, &[]), 401, INVALID);
    }
}

#[test]
fn invalid_parameter_is_refused_by_name() {
    for name in ["SAMLProviderArn", "SAMLAssertion"] {
        check_parameter(name, "", 400, &format!("Missing{name}"));
    }
    check_parameter("RoleArn", "", 400, "MissingParameter.RoleArn");
    let long = "x".repeat(100_001);
    check_parameter(
        "SAMLAssertion",
        "abc",
        400,
        "InvalidParameter.SAMLAssertion",
    );
    check_parameter(
        "SAMLAssertion",
        &long,
        400,
        "InvalidParameter.SAMLAssertion",
    );
    check_parameter("SAMLAssertion", &long[1..], 401, INVALID);
    check_parameter(
        "SAMLProviderArn",
        "demo",
        400,
        "InvalidParameter.SAMLProviderArn",
    );
    check_parameter(
        "SAMLProviderArn",
        "acs:ram::100000000000001:saml-provider/other",
        404,
        "EntityNotExist.SAMLProvider",
    );
    check_parameter(
        "DurationSeconds",
        "3601",
        400,
        "InvalidParameter.DurationSeconds",
    );
    check_parameter(
        "RoleArn",
        "acs:ram::100000000000001:role/absent",
        404,
        "EntityNotExist.Role",
    );
}

#[test]
fn assertion_has_marker_and_faults_apply() {
    let emulator = start();
    let good = assertion(&emulator, &json!({}));
    assert!(good[..64].contains(SAML_ASSERTION_MARKER), "{good}");
    emulator.script(r#"{"action":"AssumeRoleWithSAML","times":1,"fault":{"kind":"expired"}}"#);
    let body = assume(&emulator, &good, &[]).json();
    assert_eq!(body["Credentials"]["Expiration"], "2025-12-31T23:59:00Z");
    assert_eq!(
        emulator.stats()["calls"][ACTION],
        json!({"fault:expired": 1})
    );
}

#[test]
fn invalid_assertion_request_is_refused() {
    let emulator = start();
    for invalid in [
        "{}",
        r#"{"provider":"other","subject":"operator","roles":[]}"#,
        r#"{"provider":"demo","subject":"operator","roles":[],"life":"long"}"#,
    ] {
        let answer = emulator.control("POST", "saml/assertion", invalid);
        assert_eq!(answer.status, 400, "{invalid}");
    }
    assert_eq!(emulator.control("GET", "saml/assertion", "").status, 405);
}
