//! The emulated instance's metadata: with tokens and without, rotations, faults.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod kit;

use std::time::Duration;

use kit::{Answer, Call, Cloud, Credentials, Oss, UPLOAD, cloud, cloud_of, exchange, raw};
use serde_json::{Value, json};
use stsd_emulator::account::model as world;

const TOKEN: &str = "/latest/api/token";
const ROLE: &str = "/latest/meta-data/ram/security-credentials/";
const CREDENTIALS: &str = "/latest/meta-data/ram/security-credentials/instance";
const TTL: &str = "X-aliyun-ecs-metadata-token-ttl-seconds";
const HEADER: &str = "X-aliyun-ecs-metadata-token";

fn token(cloud: &Cloud, ttl: &str) -> Answer {
    exchange(cloud.imds(), "PUT", TOKEN, &[(TTL, ttl)], b"")
}

/// Asks with a token of its own, as SDKs do for every request.
fn ask(cloud: &Cloud, path: &str) -> Answer {
    let token = token(cloud, "21600").text();
    exchange(cloud.imds(), "GET", path, &[(HEADER, &token)], b"")
}

fn credentials(cloud: &Cloud) -> Value {
    let answer = ask(cloud, CREDENTIALS);
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

/// The document, in the form that the kit reads answers of STS in.
fn held(document: &Value) -> Credentials {
    Credentials::from(&json!({ "Credentials": document }))
}

/// The built-in world, with the instance answering without tokens too.
fn older() -> String {
    world::BUILT_IN.replacen("v1 = false", "v1 = true", 1)
}

#[test]
fn with_a_token_the_role_and_its_credential_are_there() {
    let cloud = cloud();
    for path in [ROLE, ROLE.trim_end_matches('/')] {
        assert_eq!(ask(&cloud, path).text(), "instance");
    }
    let document = credentials(&cloud);
    assert_eq!(document["Code"], "Success");
    assert_eq!(document["LastUpdated"], "2026-01-01T00:00:00Z");
    assert_eq!(document["Expiration"], "2026-01-01T06:00:00Z");
    let id = document["AccessKeyId"].as_str().unwrap();
    assert!(id.starts_with("STS."), "{id}");
    assert_eq!(
        ask(&cloud, "/latest/meta-data/region-id").text(),
        "cn-hongkong"
    );
    assert_eq!(
        ask(&cloud, "/latest/meta-data/owner-account-id").text(),
        "100000000000001"
    );
    for path in [&format!("{ROLE}other"), "/latest/meta-data/mac", "/"] {
        assert_eq!(ask(&cloud, path).status, 404, "{path}");
    }
    assert_eq!(
        cloud.stats()["calls"],
        json!({
            "imds:Token": {"ok": 8},
            "imds:Role": {"ok": 2},
            "imds:Credentials": {"ok": 1, "NotFound": 1},
            "imds:other": {"ok": 2, "NotFound": 2},
        })
    );
}

#[test]
fn a_token_lives_as_long_as_was_asked_and_within_bounds() {
    let cloud = cloud();
    for good in ["1", "21600"] {
        let answer = token(&cloud, good);
        assert_eq!(answer.status, 200);
        assert!(answer.text().starts_with("EmulatedToken"));
    }
    for odd in ["0", "21601", "-1", "soon", ""] {
        assert_eq!(token(&cloud, odd).status, 400, "{odd}");
    }
    assert_eq!(exchange(cloud.imds(), "PUT", TOKEN, &[], b"").status, 400);
    assert_eq!(exchange(cloud.imds(), "GET", TOKEN, &[], b"").status, 405);
    assert_eq!(exchange(cloud.imds(), "POST", ROLE, &[], b"").status, 405);

    let short = token(&cloud, "60").text();
    let with = |token: &str| exchange(cloud.imds(), "GET", ROLE, &[(HEADER, token)], b"").status;
    cloud.clock.advance(Duration::from_secs(59));
    assert_eq!(with(&short), 200);
    cloud.clock.advance(Duration::from_secs(1));
    assert_eq!(with(&short), 401);
    assert_eq!(with("EmulatedTokenOfNobody"), 401);
}

#[test]
fn without_a_token_only_where_the_world_says_so() {
    let bare = |cloud: &Cloud| exchange(cloud.imds(), "GET", CREDENTIALS, &[], b"");
    let strict = cloud();
    assert_eq!(bare(&strict).status, 403);
    assert_eq!(
        strict.stats()["calls"]["imds:Credentials"],
        json!({"Forbidden": 1})
    );
    let cloud = cloud_of(&older(), None);
    assert_eq!(bare(&cloud).json()["Code"], "Success");
    // A token that is no longer good is not the same as none.
    let bad = exchange(cloud.imds(), "GET", ROLE, &[(HEADER, "x")], b"");
    assert_eq!(bad.status, 401);
}

#[test]
fn without_an_instance_there_is_no_role() {
    let world = world::BUILT_IN;
    let (before, rest) = world.split_once("[instance]\n").unwrap();
    let after = rest.split_once("[[bucket]]").unwrap().1;
    let cloud = cloud_of(&format!("{before}[[bucket]]{after}"), None);
    assert_eq!(ask(&cloud, ROLE).status, 404);
    assert_eq!(cloud.control("POST", "imds/rotate", "").status, 400);
}

#[test]
fn the_credential_is_a_session_of_the_role() {
    let cloud = cloud();
    let own = held(&credentials(&cloud));
    let oss = Oss::new(&cloud, &own);
    assert_eq!(oss.send("PUT", "/examplebucket/k", &[], b"x").status, 200);
    let other = oss.send("PUT", "/otherbucket/k", &[], b"x");
    assert_eq!(other.element("Code"), "AccessDenied");
    let mut call = Call::new(&cloud, "GetCallerIdentity");
    call.sign_as(&own);
    assert_eq!(call.send().json()["IdentityType"], "AssumedRoleUser");
    let mut chained = Call::assume(&cloud, UPLOAD);
    chained.sign_as(&own);
    assert_eq!(chained.send().status, 200);
    let mut untrusted = Call::assume(&cloud, kit::READ);
    untrusted.sign_as(&own);
    assert_eq!(untrusted.send().json()["Code"], "NoPermission");
    cloud.clock.advance(Duration::from_secs(6 * 3600));
    let late = oss.send("GET", "/examplebucket/k", &[], b"");
    assert_eq!(late.element("Code"), "SecurityTokenExpired");
}

#[test]
fn the_credential_stays_until_it_is_replaced_before_its_end() {
    let cloud = cloud();
    let first = credentials(&cloud);
    cloud.clock.advance(Duration::from_secs(5 * 3600 + 1799));
    assert_eq!(credentials(&cloud), first);
    cloud.clock.advance(Duration::from_secs(1));
    let second = credentials(&cloud);
    assert_ne!(second["AccessKeyId"], first["AccessKeyId"]);
    assert_eq!(second["LastUpdated"], "2026-01-01T05:30:00Z");
    assert_eq!(second["Expiration"], "2026-01-01T11:30:00Z");
    // The one before is good to its end.
    let first = held(&first);
    let old = Oss::new(&cloud, &first).send("GET", "/examplebucket/k", &[], b"");
    assert_eq!(old.element("Code"), "NoSuchKey");
}

#[test]
fn a_rotation_replaces_at_once() {
    let cloud = cloud();
    let first = credentials(&cloud);
    let rotated = cloud.control("POST", "imds/rotate", "").json();
    let second = credentials(&cloud);
    assert_ne!(second["AccessKeyId"], first["AccessKeyId"]);
    assert_eq!(second["AccessKeyId"], rotated["AccessKeyId"]);
    assert_eq!(cloud.control("GET", "imds/rotate", "").status, 405);
}

#[test]
fn a_short_session_life_is_the_instances_too() {
    let cloud = cloud_of(world::BUILT_IN, Some(Duration::from_secs(60)));
    let first = credentials(&cloud);
    assert_eq!(first["Expiration"], "2026-01-01T00:01:00Z");
    cloud.clock.advance(Duration::from_secs(29));
    assert_eq!(credentials(&cloud), first);
    cloud.clock.advance(Duration::from_secs(1));
    assert_ne!(credentials(&cloud), first);
}

#[test]
fn faults_strike_each_of_its_actions() {
    let cloud = cloud();
    let strike = |action: &str, fault: &str| {
        cloud.script(&format!(
            r#"{{"action":"{action}","times":1,"fault":{fault}}}"#
        ));
    };
    strike(
        "imds:Token",
        r#"{"kind":"error","code":"NotFound","status":404}"#,
    );
    assert_eq!(token(&cloud, "60").status, 404);
    strike("imds:Role", r#"{"kind":"html"}"#);
    assert!(ask(&cloud, ROLE).text().contains("Sign in"));
    strike("imds:Role", r#"{"kind":"error","code":"Odd"}"#);
    assert_eq!(ask(&cloud, ROLE).status, 404);
    strike(
        "imds:Credentials",
        r#"{"kind":"error","code":"InternalError"}"#,
    );
    assert_eq!(ask(&cloud, CREDENTIALS).status, 500);
    strike("imds:Credentials", r#"{"kind":"half-body"}"#);
    let cut = ask(&cloud, CREDENTIALS);
    let length: usize = cut.header("content-length").unwrap().parse().unwrap();
    assert_eq!(cut.body.len(), length / 2);
    let bytes = kit::request_bytes("GET", ROLE, &[], b"");
    strike("imds:*", r#"{"kind":"reset"}"#);
    assert!(raw(cloud.imds(), &bytes).is_empty());
    let calls = cloud.stats()["calls"].clone();
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
fn faults_bend_its_credential_once() {
    let cloud = cloud();
    let good = credentials(&cloud);
    let strike = |fault: &str| {
        cloud.script(&format!(
            r#"{{"action":"imds:Credentials","times":1,"fault":{fault}}}"#
        ));
        credentials(&cloud)
    };
    let expired = strike(r#"{"kind":"expired"}"#);
    assert_eq!(expired["Expiration"], "2025-12-31T23:59:00Z");
    let expired = held(&expired);
    let refused = Oss::new(&cloud, &expired).send("GET", "/examplebucket/k", &[], b"");
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
    assert_eq!(credentials(&cloud), good);
    for unfit in [
        r#"{"action":"imds:Role","fault":{"kind":"expired"}}"#,
        r#"{"action":"AssumeRole","fault":{"kind":"unsuccessful","code":"Failed"}}"#,
    ] {
        assert_eq!(
            cloud.control("POST", "faults", unfit).status,
            400,
            "{unfit}"
        );
    }
}
