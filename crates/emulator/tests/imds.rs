//! The emulated metadata service: tokens, credentials, rotations, faults.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod kit;

use std::time::Duration;

use kit::{Answer, Call, Credentials, Oss, TestEmulator, UPLOAD, exchange, raw, start, start_with};
use serde_json::{Value, json};
use stsd_emulator::account;

const TOKEN: &str = "/latest/api/token";
const ROLE: &str = "/latest/meta-data/ram/security-credentials/";
const CREDENTIALS: &str = "/latest/meta-data/ram/security-credentials/instance";
const TTL: &str = "X-aliyun-ecs-metadata-token-ttl-seconds";
const HEADER: &str = "X-aliyun-ecs-metadata-token";

fn token(emulator: &TestEmulator, ttl: &str) -> Answer {
    exchange(emulator.imds(), "PUT", TOKEN, &[(TTL, ttl)], b"")
}

/// Returns the response to a request with a new token, which SDKs fetch for each request.
fn ask(emulator: &TestEmulator, path: &str) -> Answer {
    let token = token(emulator, "21600").text();
    exchange(emulator.imds(), "GET", path, &[(HEADER, &token)], b"")
}

fn credentials(emulator: &TestEmulator) -> Value {
    let answer = ask(emulator, CREDENTIALS);
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

/// Returns the credentials of a metadata document.
fn held(document: &Value) -> Credentials {
    Credentials::from(&json!({ "Credentials": document }))
}

/// Returns the default account model with `v1 = true`.
fn older() -> String {
    account::DEFAULT_MODEL.replacen("v1 = false", "v1 = true", 1)
}

#[test]
fn request_with_token_returns_role_and_credentials() {
    let emulator = start();
    for path in [ROLE, ROLE.trim_end_matches('/')] {
        assert_eq!(ask(&emulator, path).text(), "instance");
    }
    let document = credentials(&emulator);
    assert_eq!(document["Code"], "Success");
    assert_eq!(document["LastUpdated"], "2026-01-01T00:00:00Z");
    assert_eq!(document["Expiration"], "2026-01-01T06:00:00Z");
    let id = document["AccessKeyId"].as_str().unwrap();
    assert!(id.starts_with("STS."), "{id}");
    assert_eq!(
        ask(&emulator, "/latest/meta-data/region-id").text(),
        "cn-hongkong"
    );
    assert_eq!(
        ask(&emulator, "/latest/meta-data/owner-account-id").text(),
        "100000000000001"
    );
    for path in [&format!("{ROLE}other"), "/latest/meta-data/mac", "/"] {
        assert_eq!(ask(&emulator, path).status, 404, "{path}");
    }
    assert_eq!(
        emulator.stats()["calls"],
        json!({
            "imds:Token": {"ok": 8},
            "imds:Role": {"ok": 2},
            "imds:Credentials": {"ok": 1, "NotFound": 1},
            "imds:other": {"ok": 2, "NotFound": 2},
        })
    );
}

#[test]
fn token_is_valid_for_requested_ttl() {
    let emulator = start();
    for good in ["1", "21600"] {
        let answer = token(&emulator, good);
        assert_eq!(answer.status, 200);
        assert!(answer.text().starts_with("EmulatedToken"));
    }
    for odd in ["0", "21601", "-1", "soon", ""] {
        assert_eq!(token(&emulator, odd).status, 400, "{odd}");
    }
    assert_eq!(
        exchange(emulator.imds(), "PUT", TOKEN, &[], b"").status,
        400
    );
    assert_eq!(
        exchange(emulator.imds(), "GET", TOKEN, &[], b"").status,
        405
    );
    assert_eq!(
        exchange(emulator.imds(), "POST", ROLE, &[], b"").status,
        405
    );

    let short = token(&emulator, "60").text();
    let with = |token: &str| exchange(emulator.imds(), "GET", ROLE, &[(HEADER, token)], b"").status;
    emulator.clock.advance(Duration::from_secs(59));
    assert_eq!(with(&short), 200);
    emulator.clock.advance(Duration::from_secs(1));
    assert_eq!(with(&short), 401);
    assert_eq!(with("EmulatedTokenOfNobody"), 401);
}

#[test]
fn request_without_token_needs_v1() {
    let bare = |emulator: &TestEmulator| exchange(emulator.imds(), "GET", CREDENTIALS, &[], b"");
    let strict = start();
    assert_eq!(bare(&strict).status, 403);
    assert_eq!(
        strict.stats()["calls"]["imds:Credentials"],
        json!({"Forbidden": 1})
    );
    let emulator = start_with(&older(), None);
    assert_eq!(bare(&emulator).json()["Code"], "Success");
    // An invalid token is refused, although a request without one is not.
    let bad = exchange(emulator.imds(), "GET", ROLE, &[(HEADER, "x")], b"");
    assert_eq!(bad.status, 401);
}

#[test]
fn model_without_instance_has_no_role() {
    let world = account::DEFAULT_MODEL;
    let (before, rest) = world.split_once("[instance]\n").unwrap();
    let after = rest.split_once("[[bucket]]").unwrap().1;
    let emulator = start_with(&format!("{before}[[bucket]]{after}"), None);
    assert_eq!(ask(&emulator, ROLE).status, 404);
    assert_eq!(emulator.control("POST", "imds/rotate", "").status, 400);
}

#[test]
fn credentials_are_session_of_role() {
    let emulator = start();
    let own = held(&credentials(&emulator));
    let oss = Oss::new(&emulator, &own);
    assert_eq!(oss.send("PUT", "/examplebucket/k", &[], b"x").status, 200);
    let other = oss.send("PUT", "/otherbucket/k", &[], b"x");
    assert_eq!(other.element("Code"), "AccessDenied");
    let mut call = Call::new(&emulator, "GetCallerIdentity");
    call.sign_as(&own);
    assert_eq!(call.send().json()["IdentityType"], "AssumedRoleUser");
    let mut chained = Call::assume(&emulator, UPLOAD);
    chained.sign_as(&own);
    assert_eq!(chained.send().status, 200);
    let mut untrusted = Call::assume(&emulator, kit::READ);
    untrusted.sign_as(&own);
    assert_eq!(untrusted.send().json()["Code"], "NoPermission");
    emulator.clock.advance(Duration::from_secs(6 * 3600));
    let late = oss.send("GET", "/examplebucket/k", &[], b"");
    assert_eq!(late.element("Code"), "SecurityTokenExpired");
}

#[test]
fn credentials_are_replaced_before_expiration() {
    let emulator = start();
    let first = credentials(&emulator);
    emulator.clock.advance(Duration::from_secs(5 * 3600 + 1799));
    assert_eq!(credentials(&emulator), first);
    emulator.clock.advance(Duration::from_secs(1));
    let second = credentials(&emulator);
    assert_ne!(second["AccessKeyId"], first["AccessKeyId"]);
    assert_eq!(second["LastUpdated"], "2026-01-01T05:30:00Z");
    assert_eq!(second["Expiration"], "2026-01-01T11:30:00Z");
    // The previous credentials are valid until their expiration.
    let first = held(&first);
    let old = Oss::new(&emulator, &first).send("GET", "/examplebucket/k", &[], b"");
    assert_eq!(old.element("Code"), "NoSuchKey");
}

#[test]
fn rotation_replaces_credentials_at_once() {
    let emulator = start();
    let first = credentials(&emulator);
    let rotated = emulator.control("POST", "imds/rotate", "").json();
    let second = credentials(&emulator);
    assert_ne!(second["AccessKeyId"], first["AccessKeyId"]);
    assert_eq!(second["AccessKeyId"], rotated["AccessKeyId"]);
    assert_eq!(emulator.control("GET", "imds/rotate", "").status, 405);
}

#[test]
fn session_life_limits_instance_credentials() {
    let emulator = start_with(account::DEFAULT_MODEL, Some(Duration::from_secs(60)));
    let first = credentials(&emulator);
    assert_eq!(first["Expiration"], "2026-01-01T00:01:00Z");
    emulator.clock.advance(Duration::from_secs(29));
    assert_eq!(credentials(&emulator), first);
    emulator.clock.advance(Duration::from_secs(1));
    assert_ne!(credentials(&emulator), first);
}

#[test]
fn faults_apply_to_each_imds_action() {
    let emulator = start();
    let strike = |action: &str, fault: &str| {
        emulator.script(&format!(
            r#"{{"action":"{action}","times":1,"fault":{fault}}}"#
        ));
    };
    strike(
        "imds:Token",
        r#"{"kind":"error","code":"NotFound","status":404}"#,
    );
    assert_eq!(token(&emulator, "60").status, 404);
    strike("imds:Role", r#"{"kind":"html"}"#);
    assert!(ask(&emulator, ROLE).text().contains("Sign in"));
    strike("imds:Role", r#"{"kind":"error","code":"Odd"}"#);
    assert_eq!(ask(&emulator, ROLE).status, 404);
    strike(
        "imds:Credentials",
        r#"{"kind":"error","code":"InternalError"}"#,
    );
    assert_eq!(ask(&emulator, CREDENTIALS).status, 500);
    strike("imds:Credentials", r#"{"kind":"half-body"}"#);
    let cut = ask(&emulator, CREDENTIALS);
    let length: usize = cut.header("content-length").unwrap().parse().unwrap();
    assert_eq!(cut.body.len(), length / 2);
    let bytes = kit::request_bytes("GET", ROLE, &[], b"");
    strike("imds:*", r#"{"kind":"reset"}"#);
    assert!(raw(emulator.imds(), &bytes).is_empty());
    let calls = emulator.stats()["calls"].clone();
    assert_eq!(
        calls["imds:Role"],
        json!({"fault:html": 1, "fault:error": 1, "fault:reset": 1})
    );
    assert_eq!(
        calls["imds:Credentials"],
        json!({"fault:error": 1, "fault:half-body": 1})
    );
}

#[test]
fn credential_fault_alters_one_response() {
    let emulator = start();
    let good = credentials(&emulator);
    let strike = |fault: &str| {
        emulator.script(&format!(
            r#"{{"action":"imds:Credentials","times":1,"fault":{fault}}}"#
        ));
        credentials(&emulator)
    };
    let expired = strike(r#"{"kind":"expired"}"#);
    assert_eq!(expired["Expiration"], "2025-12-31T23:59:00Z");
    let expired = held(&expired);
    let refused = Oss::new(&emulator, &expired).send("GET", "/examplebucket/k", &[], b"");
    assert_eq!(refused.element("Code"), "SecurityTokenExpired");
    assert_eq!(strike(r#"{"kind":"empty"}"#)["SecurityToken"], "");
    let beyond = strike(r#"{"kind":"beyond"}"#);
    assert_eq!(beyond["Expiration"], "2027-01-01T06:00:00Z");
    assert_eq!(beyond["AccessKeyId"], good["AccessKeyId"]);
    assert_eq!(
        strike(r#"{"kind":"unsuccessful","code":"Failed"}"#),
        json!({"Code": "Failed", "LastUpdated": "2026-01-01T00:00:00Z"})
    );
    let shifted = strike(r#"{"kind":"wrong-date","offset_seconds":3600}"#);
    assert_eq!(shifted["Expiration"], "2026-01-01T07:00:00Z");
    assert_eq!(credentials(&emulator), good);
    for unfit in [
        r#"{"action":"imds:Role","fault":{"kind":"expired"}}"#,
        r#"{"action":"AssumeRole","fault":{"kind":"unsuccessful","code":"Failed"}}"#,
    ] {
        assert_eq!(
            emulator.control("POST", "faults", unfit).status,
            400,
            "{unfit}"
        );
    }
}
