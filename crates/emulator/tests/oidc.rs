//! `AssumeRoleWithOIDC`: tokens that are good, and each way in which one is not.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod kit;

use std::time::Duration;

use kit::{
    Answer, Call, Cloud, Credentials, Oss, UPLOAD, anonymous_form, cloud, cloud_of, exchange,
    request_bytes,
};
use serde_json::{Value, json};
use stsd_emulator::{OIDC_TOKEN_MARKER, account::model as world};

const PROVIDER: &str = "acs:ram::100000000000001:oidc-provider/demo";
const ACTION: &str = "AssumeRoleWithOIDC";
const SUBJECT: &str = "system:serviceaccount:jobs:uploader";

/// A token as asked for; the order's own fields replace the good ones.
fn token(cloud: &Cloud, order: &Value) -> String {
    let mut whole = json!({"provider": "demo", "subject": SUBJECT});
    for (name, value) in order.as_object().unwrap() {
        whole[name] = value.clone();
    }
    cloud.mint("oidc/token", &whole)
}

fn assume(cloud: &Cloud, token: &str, more: &[(&str, &str)]) -> Answer {
    let good = [
        ("RoleArn", UPLOAD),
        ("RoleSessionName", "pod"),
        ("OIDCProviderArn", PROVIDER),
        ("OIDCToken", token),
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

/// A token so ordered is refused with that code, and counted as that.
fn check(order: Value, code: &str) {
    let cloud = cloud();
    expect(&assume(&cloud, &token(&cloud, &order), &[]), 401, code);
    assert_eq!(cloud.stats()["calls"][ACTION], json!({ code: 1 }));
}

fn check_parameter(name: &str, value: &str, status: u16, code: &str) {
    let cloud = cloud();
    let token = token(&cloud, &json!({}));
    expect(&assume(&cloud, &token, &[(name, value)]), status, code);
}

#[test]
fn a_good_token_of_either_algorithm_is_worth_a_session() {
    let cloud = cloud();
    for algorithm in ["RS256", "ES256"] {
        let token = token(&cloud, &json!({"algorithm": algorithm, "life": "10m"}));
        let answer = assume(&cloud, &token, &[("DurationSeconds", "900")]);
        assert_eq!(answer.status, 200, "{algorithm}: {}", answer.text());
        let body = answer.json();
        assert_eq!(body["Credentials"]["Expiration"], "2026-01-01T00:15:00Z");
        assert_eq!(
            body["OIDCTokenInfo"],
            json!({
                "Subject": SUBJECT,
                "Issuer": "https://oidc.example.com",
                "ClientIds": "sts.aliyuncs.com",
                "ExpirationTime": "2026-01-01T00:10:00Z",
                "IssuanceTime": "2025-12-31T23:10:00Z",
                "VerificationInfo": "Success",
            })
        );
        let credentials = Credentials::from(&body);
        let oss = Oss::new(&cloud, &credentials);
        assert_eq!(oss.send("PUT", "/examplebucket/k", &[], b"x").status, 200);
    }
    assert_eq!(cloud.stats()["calls"][ACTION], json!({"ok": 2}));
}

#[test]
fn it_comes_by_query_or_form_and_with_action_and_version_as_headers() {
    let cloud = cloud();
    let token = token(&cloud, &json!({"audience": ["other", "sts.aliyuncs.com"]}));
    let parameters = [
        ("RoleArn", UPLOAD),
        ("RoleSessionName", "pod"),
        ("OIDCProviderArn", PROVIDER),
        ("OIDCToken", token.as_str()),
        ("Timestamp", "2026-01-01T00:00:00Z"),
    ];
    let target = format!("/?{}", anonymous_form(ACTION, &parameters));
    for method in ["GET", "POST"] {
        let answer = exchange(cloud.sts(), method, &target, &[], b"");
        assert_eq!(answer.status, 200, "{method}: {}", answer.text());
    }
    let mut bare = parameters.to_vec();
    bare.extend([("Action", ""), ("Version", ""), ("Format", "")]);
    let form = anonymous_form("", &bare);
    let form = form.replace("&Action=", "").replace("&Version=", "");
    let headers = [
        ("content-type", "application/x-www-form-urlencoded"),
        ("x-acs-action", ACTION),
        ("x-acs-version", "2015-04-01"),
    ];
    let answer = exchange(cloud.sts(), "POST", "/", &headers, form.as_bytes());
    assert_eq!(
        answer.json()["OIDCTokenInfo"]["ClientIds"],
        "other,sts.aliyuncs.com"
    );
}

#[test]
fn a_token_that_is_over_or_of_elsewhere_is_refused_by_name() {
    check(
        json!({"life": "-1s"}),
        "AuthenticationFail.OIDCToken.Expired",
    );
    check(
        json!({"audience": "oss.aliyuncs.com"}),
        "AuthenticationFail.OIDCToken.AudienceNotMatch",
    );
    check(
        json!({"issuer": "https://elsewhere.example.com"}),
        "AuthenticationFail.OIDCToken.IssuerNotMatch",
    );
    check(
        json!({"begins_in": "61s"}),
        "AuthenticationFail.OIDCToken.Invalid",
    );
    check(
        json!({"subject": ""}),
        "AuthenticationFail.OIDCToken.Invalid",
    );
    check(
        json!({"audience": 7}),
        "AuthenticationFail.OIDCToken.Invalid",
    );
}

#[test]
fn a_token_ends_to_the_second_and_may_begin_a_minute_ahead() {
    let cloud = cloud();
    let token = token(&cloud, &json!({"life": "10m", "begins_in": "60s"}));
    assert_eq!(assume(&cloud, &token, &[]).status, 200);
    cloud.clock.advance(Duration::from_secs(599));
    assert_eq!(assume(&cloud, &token, &[]).status, 200);
    cloud.clock.advance(Duration::from_secs(1));
    expect(
        &assume(&cloud, &token, &[]),
        401,
        "AuthenticationFail.OIDCToken.Expired",
    );
}

#[test]
fn what_was_changed_after_the_signature_is_refused() {
    let cloud = cloud();
    for algorithm in ["RS256", "ES256"] {
        let one = token(&cloud, &json!({"algorithm": algorithm}));
        let two = token(
            &cloud,
            &json!({"algorithm": algorithm, "subject": "system:admin"}),
        );
        let parts = |token: &str| -> Vec<String> { token.split('.').map(str::to_owned).collect() };
        let (one, two) = (parts(&one), parts(&two));
        // {"alg":"none"}
        let none = "eyJhbGciOiJub25lIn0";
        for spoilt in [
            format!("{}.{}.{}", one[0], two[1], one[2]),
            format!("{}.{}.{}", one[0], one[1], two[2]),
            format!("{}.{}.", one[0], one[1]),
            format!("{}.{}", one[0], one[1]),
            format!("{none}.{}.", one[1]),
            format!("{none}.{}.{}", one[1], one[2]),
            "none".to_owned(),
        ] {
            expect(
                &assume(&cloud, &spoilt, &[]),
                401,
                "AuthenticationFail.OIDCToken.Invalid",
            );
        }
    }
    // Keys are made at each start, but for the RSA key, which is in the source.
    let foreign = token(&self::cloud(), &json!({"algorithm": "ES256"}));
    expect(
        &assume(&cloud, &foreign, &[]),
        401,
        "AuthenticationFail.OIDCToken.Invalid",
    );
}

#[test]
fn a_role_trusts_the_providers_it_names_and_of_them_the_subjects() {
    let cloud = cloud();
    let plain = token(&cloud, &json!({}));
    let read = [("RoleArn", kit::READ)];
    let untrusted = "AuthenticationFail.NoPermission";
    expect(&assume(&cloud, &plain, &read), 403, untrusted);

    let trusts = "trusts = [\"user/uploader\", \"role/instance\"";
    let world = world::BUILT_IN.replacen(
        trusts,
        &format!("oidc_subjects = [\"system:serviceaccount:jobs:*\"]\n{trusts}"),
        1,
    );
    let cloud = cloud_of(&world, None);
    let known = token(&cloud, &json!({}));
    assert_eq!(assume(&cloud, &known, &[]).status, 200);
    let other = token(
        &cloud,
        &json!({"subject": "system:serviceaccount:web:uploader"}),
    );
    expect(&assume(&cloud, &other, &[]), 403, untrusted);
}

#[test]
fn parameters_are_checked_as_those_of_other_actions() {
    for name in ["OIDCProviderArn", "OIDCToken"] {
        check_parameter(name, "", 400, &format!("Missing{name}"));
    }
    for name in ["RoleArn", "RoleSessionName"] {
        check_parameter(name, "", 400, &format!("MissingParameter.{name}"));
    }
    let long = "x".repeat(20_001);
    check_parameter("OIDCToken", "abc", 400, "InvalidParameter.OIDCToken");
    check_parameter("OIDCToken", &long, 400, "InvalidParameter.OIDCToken");
    check_parameter(
        "OIDCToken",
        &long[1..],
        401,
        "AuthenticationFail.OIDCToken.Invalid",
    );
    check_parameter(
        "RoleSessionName",
        "a b",
        400,
        "InvalidParameter.RoleSessionName",
    );
    check_parameter(
        "DurationSeconds",
        "899",
        400,
        "InvalidParameter.DurationSeconds",
    );
    check_parameter(
        "DurationSeconds",
        "3601",
        400,
        "InvalidParameter.DurationSeconds",
    );
    check_parameter("Policy", "{}", 400, "InvalidParameter.PolicyGrammar");
    check_parameter(
        "Timestamp",
        "2026-01-01T00:15:01Z",
        400,
        "InvalidTimeStamp.Expired",
    );
    for arn in [
        "demo",
        "acs:ram::100000000000001:oidc-provider/other",
        "acs:ram::100000000000002:oidc-provider/demo",
        "acs:ram::100000000000001:saml-provider/demo",
    ] {
        check_parameter(
            "OIDCProviderArn",
            arn,
            403,
            "AuthenticationFail.NoPermission",
        );
    }
    let nobody = "acs:ram::100000000000001:role/nobody";
    check_parameter("RoleArn", nobody, 404, "EntityNotExist.Role");
}

#[test]
fn a_nonce_is_good_once_where_there_is_one() {
    let cloud = cloud();
    let token = token(&cloud, &json!({}));
    let nonce = [("SignatureNonce", "n1")];
    assert_eq!(assume(&cloud, &token, &nonce).status, 200);
    expect(&assume(&cloud, &token, &nonce), 400, "SignatureNonceUsed");
}

#[test]
fn a_session_policy_narrows_the_session() {
    let cloud = cloud();
    let policy =
        r#"{"Version":"1","Statement":{"Effect":"Allow","Action":"oss:GetObject","Resource":"*"}}"#;
    let token = token(&cloud, &json!({}));
    let answer = assume(&cloud, &token, &[("Policy", policy)]);
    let credentials = Credentials::from(&answer.json());
    let oss = Oss::new(&cloud, &credentials);
    let put = oss.send("PUT", "/examplebucket/k", &[], b"x");
    assert_eq!(put.element("Code"), "AccessDenied");
}

#[test]
fn every_part_of_a_token_but_its_signature_is_marked() {
    let cloud = cloud();
    for algorithm in ["RS256", "ES256"] {
        let token = token(&cloud, &json!({"algorithm": algorithm}));
        let parts: Vec<&str> = token.split('.').collect();
        for part in &parts[..2] {
            assert!(part.contains(OIDC_TOKEN_MARKER), "{part}");
        }
    }
}

#[test]
fn the_public_keys_are_published() {
    let cloud = cloud();
    let keys = cloud.control("GET", "oidc/keys", "").json();
    assert_eq!(keys["keys"][0]["kty"], "RSA");
    assert_eq!(keys["keys"][0]["n"].as_str().unwrap().len(), 342);
    assert_eq!(keys["keys"][1]["x"].as_str().unwrap().len(), 43);
}

#[test]
fn faults_strike_it_and_bend_its_credential() {
    let cloud = cloud();
    let token = token(&cloud, &json!({}));
    let strike = |fault: &str| {
        cloud.script(&format!(
            r#"{{"action":"AssumeRoleWithOIDC","times":1,"fault":{fault}}}"#
        ));
        assume(&cloud, &token, &[])
    };
    let expired = strike(r#"{"kind":"expired"}"#).json();
    assert_eq!(expired["Credentials"]["Expiration"], "2025-12-31T23:59:00Z");
    let empty = strike(r#"{"kind":"empty"}"#).json();
    assert_eq!(empty["Credentials"]["AccessKeyId"], "");
    let beyond = strike(r#"{"kind":"beyond"}"#).json();
    assert_eq!(beyond["Credentials"]["Expiration"], "2027-01-01T01:00:00Z");
    expect(&strike(r#"{"kind":"throttle"}"#), 400, "Throttling.User");
    assert_eq!(
        cloud.stats()["calls"][ACTION],
        json!({"fault:expired": 1, "fault:empty": 1, "fault:beyond": 1, "fault:throttle": 1})
    );
    // It is no fault of the action that another name begins with.
    cloud.script(r#"{"action":"AssumeRoleWithOIDC","fault":{"kind":"reset"}}"#);
    assert_eq!(Call::assume(&cloud, UPLOAD).send().status, 200);
}

#[test]
fn an_order_that_makes_no_sense_is_refused() {
    let cloud = cloud();
    for odd in [
        "",
        r#"{"provider":"demo"}"#,
        r#"{"provider":"other","subject":"s"}"#,
        r#"{"provider":"demo","subject":"s","algorithm":"none"}"#,
        r#"{"provider":"demo","subject":"s","life":"long"}"#,
        r#"{"provider":"demo","subject":"s","lives":"10m"}"#,
    ] {
        let answer = cloud.control("POST", "oidc/token", odd);
        assert_eq!(answer.status, 400, "{odd}");
        assert!(answer.json()["error"].is_string(), "{odd}");
    }
    assert_eq!(cloud.control("GET", "oidc/token", "").status, 405);
    let put = request_bytes("PUT", "/_emulator/oidc/keys", &[], b"");
    assert_eq!(Answer::read(&kit::raw(cloud.sts(), &put)).status, 405);
}
