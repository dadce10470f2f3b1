//! `AssumeRoleWithSAML`: assertions that are good, and each way in which one is not.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod kit;

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use kit::{Answer, Cloud, Credentials, Oss, UPLOAD, cloud};
use serde_json::{Value, json};
use stsd_emulator::SAML_ASSERTION_MARKER;

const PROVIDER: &str = "acs:ram::100000000000001:saml-provider/demo";
const ACTION: &str = "AssumeRoleWithSAML";
const INVALID: &str = "AuthenticationFail.SAMLAssertion.Invalid";

/// An assertion as asked for; the order's own fields replace the good ones.
fn assertion(cloud: &Cloud, order: &Value) -> String {
    let mut whole = json!({"provider": "demo", "subject": "operator", "roles": ["oss-upload"]});
    for (name, value) in order.as_object().unwrap() {
        whole[name] = value.clone();
    }
    cloud.mint("saml/assertion", &whole)
}

fn assume(cloud: &Cloud, assertion: &str, more: &[(&str, &str)]) -> Answer {
    let good = [
        ("RoleArn", UPLOAD),
        ("SAMLProviderArn", PROVIDER),
        ("SAMLAssertion", assertion),
    ];
    let kept = good
        .into_iter()
        .filter(|(name, _)| !more.iter().any(|(own, _)| own == name));
    let all: Vec<_> = kept.chain(more.iter().copied()).collect();
    cloud.anonymous(ACTION, &all)
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
    let cloud = cloud();
    expect(
        &assume(&cloud, &assertion(&cloud, &order), &[]),
        status,
        code,
    );
    assert_eq!(cloud.stats()["calls"][ACTION], json!({ code: 1 }));
}

fn check_parameter(name: &str, value: &str, status: u16, code: &str) {
    let cloud = cloud();
    let good = assertion(&cloud, &json!({}));
    expect(&assume(&cloud, &good, &[(name, value)]), status, code);
}

#[test]
fn a_good_assertion_is_worth_a_session() {
    let cloud = cloud();
    let order = json!({"subject": "<ops> & \"co\"", "session_name": "operator-1"});
    let answer = assume(
        &cloud,
        &assertion(&cloud, &order),
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
    let oss = Oss::new(&cloud, &credentials);
    assert_eq!(oss.send("PUT", "/examplebucket/k", &[], b"x").status, 200);
    let china = json!({
        "audience": "urn:alibaba:cloudcomputing",
        "recipient": "https://signin.aliyun.com/saml-role/sso",
    });
    assert_eq!(assume(&cloud, &assertion(&cloud, &china), &[]).status, 200);
    assert_eq!(cloud.stats()["calls"][ACTION], json!({"ok": 2}));
}

#[test]
fn what_an_assertion_says_of_itself_must_be_so() {
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

    let cloud = cloud();
    let short = assertion(&cloud, &json!({"life": "60s"}));
    cloud.clock.advance(Duration::from_secs(59));
    assert_eq!(assume(&cloud, &short, &[]).status, 200);
    cloud.clock.advance(Duration::from_secs(1));
    expect(&assume(&cloud, &short, &[]), 401, expired);
}

#[test]
fn the_role_has_to_trust_the_provider_too() {
    let cloud = cloud();
    let order = json!({"roles": ["oss-upload", "oss-read"]});
    let both = assertion(&cloud, &order);
    assert_eq!(assume(&cloud, &both, &[]).status, 200);
    let read = [("RoleArn", kit::READ)];
    expect(&assume(&cloud, &both, &read), 403, "NoPermission");
}

#[test]
fn what_was_not_sealed_by_this_run_is_refused() {
    let cloud = cloud();
    let good = assertion(&cloud, &json!({}));
    let text = String::from_utf8(STANDARD.decode(&good).unwrap()).unwrap();
    let spoilt = STANDARD.encode(text.replace("role/oss-upload", "role/oss-read"));
    let cut = STANDARD.encode(text.split("<emulator:Seal").next().unwrap());
    let foreign = assertion(&self::cloud(), &json!({}));
    for odd in [spoilt.as_str(), &cut, &foreign, "????", "bm90aGluZw=="] {
        expect(&assume(&cloud, odd, &[]), 401, INVALID);
    }
}

#[test]
fn parameters_are_checked_as_those_of_other_actions() {
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
        "acs:ram::100000000000001:role/nobody",
        404,
        "EntityNotExist.Role",
    );
}

#[test]
fn an_assertion_is_marked_and_faults_strike() {
    let cloud = cloud();
    let good = assertion(&cloud, &json!({}));
    assert!(good[..64].contains(SAML_ASSERTION_MARKER), "{good}");
    cloud.script(r#"{"action":"AssumeRoleWithSAML","times":1,"fault":{"kind":"expired"}}"#);
    let body = assume(&cloud, &good, &[]).json();
    assert_eq!(body["Credentials"]["Expiration"], "2025-12-31T23:59:00Z");
    assert_eq!(cloud.stats()["calls"][ACTION], json!({"fault:expired": 1}));
}

#[test]
fn an_order_that_makes_no_sense_is_refused() {
    let cloud = cloud();
    for odd in [
        "{}",
        r#"{"provider":"other","subject":"operator","roles":[]}"#,
        r#"{"provider":"demo","subject":"operator","roles":[],"life":"long"}"#,
    ] {
        let answer = cloud.control("POST", "saml/assertion", odd);
        assert_eq!(answer.status, 400, "{odd}");
    }
    assert_eq!(cloud.control("GET", "saml/assertion", "").status, 405);
}
