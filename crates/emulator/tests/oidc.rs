//! `AssumeRoleWithOIDC`: valid tokens, and each kind of invalid one.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod kit;

use std::time::Duration;

use kit::{
    Answer, Call, Credentials, Oss, TestEmulator, UPLOAD, anonymous_form, exchange, request_bytes,
    start, start_with,
};
use serde_json::{Value, json};
use stsd_emulator::{OIDC_TOKEN_MARKER, account};

const PROVIDER: &str = "acs:ram::100000000000001:oidc-provider/demo";
const ACTION: &str = "AssumeRoleWithOIDC";
const SUBJECT: &str = "system:serviceaccount:jobs:uploader";

/// Returns a token; the fields of `overrides` replace those of a valid request.
fn token(emulator: &TestEmulator, overrides: &Value) -> String {
    let mut request = json!({"provider": "demo", "subject": SUBJECT});
    for (name, value) in overrides.as_object().unwrap() {
        request[name] = value.clone();
    }
    emulator.mint("oidc/token", &request)
}

fn assume(emulator: &TestEmulator, token: &str, more: &[(&str, &str)]) -> Answer {
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

/// Checks the code of a refused token, and its counter.
fn check(order: Value, code: &str) {
    let emulator = start();
    expect(
        &assume(&emulator, &token(&emulator, &order), &[]),
        401,
        code,
    );
    assert_eq!(emulator.stats()["calls"][ACTION], json!({ code: 1 }));
}

fn check_parameter(name: &str, value: &str, status: u16, code: &str) {
    let emulator = start();
    let token = token(&emulator, &json!({}));
    expect(&assume(&emulator, &token, &[(name, value)]), status, code);
}

#[test]
fn valid_token_of_each_algorithm_returns_session() {
    let emulator = start();
    for algorithm in ["RS256", "ES256"] {
        let token = token(&emulator, &json!({"algorithm": algorithm, "life": "10m"}));
        let answer = assume(&emulator, &token, &[("DurationSeconds", "900")]);
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
        let oss = Oss::new(&emulator, &credentials);
        assert_eq!(oss.send("PUT", "/examplebucket/k", &[], b"x").status, 200);
    }
    assert_eq!(emulator.stats()["calls"][ACTION], json!({"ok": 2}));
}

#[test]
fn parameters_in_query_form_or_headers_are_accepted() {
    let emulator = start();
    let token = token(
        &emulator,
        &json!({"audience": ["other", "sts.aliyuncs.com"]}),
    );
    let parameters = [
        ("RoleArn", UPLOAD),
        ("RoleSessionName", "pod"),
        ("OIDCProviderArn", PROVIDER),
        ("OIDCToken", token.as_str()),
        ("Timestamp", "2026-01-01T00:00:00Z"),
    ];
    let target = format!("/?{}", anonymous_form(ACTION, &parameters));
    for method in ["GET", "POST"] {
        let answer = exchange(emulator.sts(), method, &target, &[], b"");
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
    let answer = exchange(emulator.sts(), "POST", "/", &headers, form.as_bytes());
    assert_eq!(
        answer.json()["OIDCTokenInfo"]["ClientIds"],
        "other,sts.aliyuncs.com"
    );
}

#[test]
fn token_with_wrong_claim_is_refused_by_name() {
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
fn token_expires_to_the_second_and_starts_with_leeway() {
    let emulator = start();
    let token = token(&emulator, &json!({"life": "10m", "begins_in": "60s"}));
    assert_eq!(assume(&emulator, &token, &[]).status, 200);
    emulator.clock.advance(Duration::from_secs(599));
    assert_eq!(assume(&emulator, &token, &[]).status, 200);
    emulator.clock.advance(Duration::from_secs(1));
    expect(
        &assume(&emulator, &token, &[]),
        401,
        "AuthenticationFail.OIDCToken.Expired",
    );
}

#[test]
fn altered_token_is_refused() {
    let emulator = start();
    for algorithm in ["RS256", "ES256"] {
        let one = token(&emulator, &json!({"algorithm": algorithm}));
        let two = token(
            &emulator,
            &json!({"algorithm": algorithm, "subject": "system:admin"}),
        );
        let parts = |token: &str| -> Vec<String> { token.split('.').map(str::to_owned).collect() };
        let (one, two) = (parts(&one), parts(&two));
        // {"alg":"none"}
        let none = "eyJhbGciOiJub25lIn0";
        for altered in [
            format!("{}.{}.{}", one[0], two[1], one[2]),
            format!("{}.{}.{}", one[0], one[1], two[2]),
            format!("{}.{}.", one[0], one[1]),
            format!("{}.{}", one[0], one[1]),
            format!("{none}.{}.", one[1]),
            format!("{none}.{}.{}", one[1], one[2]),
            "none".to_owned(),
        ] {
            expect(
                &assume(&emulator, &altered, &[]),
                401,
                "AuthenticationFail.OIDCToken.Invalid",
            );
        }
    }
    // The ES256 key is generated at each start, unlike the RSA key.
    let foreign = token(&self::start(), &json!({"algorithm": "ES256"}));
    expect(
        &assume(&emulator, &foreign, &[]),
        401,
        "AuthenticationFail.OIDCToken.Invalid",
    );
}

#[test]
fn role_trusts_listed_providers_and_subjects() {
    let emulator = start();
    let plain = token(&emulator, &json!({}));
    let read = [("RoleArn", kit::READ)];
    let untrusted = "AuthenticationFail.NoPermission";
    expect(&assume(&emulator, &plain, &read), 403, untrusted);

    let trusts = "trusts = [\"user/uploader\", \"role/instance\"";
    let world = account::DEFAULT_MODEL.replacen(
        trusts,
        &format!("oidc_subjects = [\"system:serviceaccount:jobs:*\"]\n{trusts}"),
        1,
    );
    let emulator = start_with(&world, None);
    let known = token(&emulator, &json!({}));
    assert_eq!(assume(&emulator, &known, &[]).status, 200);
    let other = token(
        &emulator,
        &json!({"subject": "system:serviceaccount:web:uploader"}),
    );
    expect(&assume(&emulator, &other, &[]), 403, untrusted);
}

#[test]
fn invalid_parameter_is_refused_by_name() {
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
    let absent = "acs:ram::100000000000001:role/absent";
    check_parameter("RoleArn", absent, 404, "EntityNotExist.Role");
}

#[test]
fn nonce_of_unsigned_call_is_accepted_once() {
    let emulator = start();
    let token = token(&emulator, &json!({}));
    let nonce = [("SignatureNonce", "n1")];
    assert_eq!(assume(&emulator, &token, &nonce).status, 200);
    expect(
        &assume(&emulator, &token, &nonce),
        400,
        "SignatureNonceUsed",
    );
}

#[test]
fn session_policy_narrows_session() {
    let emulator = start();
    let policy =
        r#"{"Version":"1","Statement":{"Effect":"Allow","Action":"oss:GetObject","Resource":"*"}}"#;
    let token = token(&emulator, &json!({}));
    let answer = assume(&emulator, &token, &[("Policy", policy)]);
    let credentials = Credentials::from(&answer.json());
    let oss = Oss::new(&emulator, &credentials);
    let put = oss.send("PUT", "/examplebucket/k", &[], b"x");
    assert_eq!(put.element("Code"), "AccessDenied");
}

#[test]
fn token_has_marker_in_header_and_payload() {
    let emulator = start();
    for algorithm in ["RS256", "ES256"] {
        let token = token(&emulator, &json!({"algorithm": algorithm}));
        let parts: Vec<&str> = token.split('.').collect();
        for part in &parts[..2] {
            assert!(part.contains(OIDC_TOKEN_MARKER), "{part}");
        }
    }
}

#[test]
fn public_keys_are_returned_as_jwk_set() {
    let emulator = start();
    let keys = emulator.control("GET", "oidc/keys", "").json();
    assert_eq!(keys["keys"][0]["kty"], "RSA");
    assert_eq!(keys["keys"][0]["n"].as_str().unwrap().len(), 342);
    assert_eq!(keys["keys"][1]["x"].as_str().unwrap().len(), 43);
}

#[test]
fn faults_apply_to_action_and_alter_credentials() {
    let emulator = start();
    let token = token(&emulator, &json!({}));
    let strike = |fault: &str| {
        emulator.script(&format!(
            r#"{{"action":"AssumeRoleWithOIDC","times":1,"fault":{fault}}}"#
        ));
        assume(&emulator, &token, &[])
    };
    let expired = strike(r#"{"kind":"expired"}"#).json();
    assert_eq!(expired["Credentials"]["Expiration"], "2025-12-31T23:59:00Z");
    let empty = strike(r#"{"kind":"empty"}"#).json();
    assert_eq!(empty["Credentials"]["AccessKeyId"], "");
    let beyond = strike(r#"{"kind":"beyond"}"#).json();
    assert_eq!(beyond["Credentials"]["Expiration"], "2027-01-01T01:00:00Z");
    expect(&strike(r#"{"kind":"throttle"}"#), 400, "Throttling.User");
    assert_eq!(
        emulator.stats()["calls"][ACTION],
        json!({"fault:expired": 1, "fault:empty": 1, "fault:beyond": 1, "fault:throttle": 1})
    );
    // A fault of `AssumeRoleWithOIDC` does not match `AssumeRole`.
    emulator.script(r#"{"action":"AssumeRoleWithOIDC","fault":{"kind":"reset"}}"#);
    assert_eq!(Call::assume(&emulator, UPLOAD).send().status, 200);
}

#[test]
fn invalid_token_request_is_refused() {
    let emulator = start();
    for invalid in [
        "",
        r#"{"provider":"demo"}"#,
        r#"{"provider":"other","subject":"s"}"#,
        r#"{"provider":"demo","subject":"s","algorithm":"none"}"#,
        r#"{"provider":"demo","subject":"s","life":"long"}"#,
        r#"{"provider":"demo","subject":"s","lives":"10m"}"#,
    ] {
        let answer = emulator.control("POST", "oidc/token", invalid);
        assert_eq!(answer.status, 400, "{invalid}");
        assert!(answer.json()["error"].is_string(), "{invalid}");
    }
    assert_eq!(emulator.control("GET", "oidc/token", "").status, 405);
    let put = request_bytes("PUT", "/_emulator/oidc/keys", &[], b"");
    assert_eq!(Answer::read(&kit::raw(emulator.sts(), &put)).status, 405);
}

/// Returns an account model whose provider `real` has the keys of an issuer.
fn account_with_jwks(jwks: &Value) -> String {
    format!(
        "{}\n[[oidc_provider]]\nname = \"real\"\nissuer = \"https://real.example.com\"\n\
         client_ids = [\"sts.aliyuncs.com\"]\njwks = '''{jwks}'''\n\
         [[role]]\nname = \"for-real\"\ntrusts = [\"oidc-provider/real\"]\npolicy = '''{}'''\n",
        account::DEFAULT_MODEL,
        r#"{"Version":"1","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}"#
    )
}

/// A second emulator is the issuer of the tokens.
#[test]
fn token_of_a_real_issuer_is_verified_with_its_jwks() {
    let issuer = start();
    let keys = issuer.control("GET", "oidc/keys", "").json();
    let emulator = start_with(&account_with_jwks(&keys), None);
    let provider = "acs:ram::100000000000001:oidc-provider/real";
    let role = "acs:ram::100000000000001:role/for-real";
    let parameters = [("OIDCProviderArn", provider), ("RoleArn", role)];
    let request = json!({"issuer": "https://real.example.com", "algorithm": "ES256"});
    let good = assume(&emulator, &token(&issuer, &request), &parameters);
    assert_eq!(good.status, 200, "{}", good.text());
    // The keys of the emulator are not those of the issuer, but for the fixed RSA key.
    let own = assume(&emulator, &token(&emulator, &request), &parameters);
    expect(&own, 401, "AuthenticationFail.OIDCToken.Invalid");
    let own = assume(
        &emulator,
        &token(&issuer, &json!({"algorithm": "ES256"})),
        &[],
    );
    expect(&own, 401, "AuthenticationFail.OIDCToken.Invalid");
    let refused = emulator.control("POST", "oidc/token", r#"{"provider":"real","subject":"s"}"#);
    assert_eq!(refused.status, 400);
    assert!(refused.text().contains("has a jwks"), "{}", refused.text());
}

#[test]
fn jwks_without_usable_key_is_refused() {
    let error = account::parse(&account_with_jwks(&json!({"keys": []}))).unwrap_err();
    assert_eq!(
        error.to_string(),
        "oidc_provider \"real\": the jwks has no key for RS256 or ES256"
    );
}
