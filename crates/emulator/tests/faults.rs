//! Each scripted fault, as a client without any cleverness sees it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod kit;

use std::{
    io::Read as _,
    time::{Duration, Instant},
};

use kit::{Answer, Call, Cloud, Credentials, Oss, UPLOAD, cloud, open, raw, rest};
use serde_json::json;

/// One `AssumeRole` under one fault: every byte of the answer.
fn struck(cloud: &Cloud, fault: &str) -> Vec<u8> {
    cloud.script(&format!(
        r#"{{"action":"AssumeRole","times":1,"fault":{fault}}}"#
    ));
    raw(cloud.sts(), &Call::assume(cloud, UPLOAD).bytes())
}

/// The fault decides the answer, is counted as itself, and is then used up.
fn check(fault: &str, see: impl FnOnce(&Cloud, &[u8])) {
    let cloud = cloud();
    let bytes = struck(&cloud, fault);
    see(&cloud, &bytes);
    let kind: serde_json::Value = serde_json::from_str(fault).unwrap();
    let kind = format!("fault:{}", kind["kind"].as_str().unwrap());
    let calls = &cloud.stats()["calls"]["AssumeRole"];
    assert_eq!(calls[&kind], 1, "{calls}");
    assert_eq!(Call::assume(&cloud, UPLOAD).send().status, 200);
}

fn check_error(fault: &str, status: u16, code: &str, message: &str) {
    check(fault, |_, bytes| {
        let answer = Answer::read(bytes);
        let body = answer.json();
        assert_eq!(
            (answer.status, body["Code"].as_str().unwrap()),
            (status, code)
        );
        assert_eq!(body["Message"], message);
        assert!(answer.header("date").is_some());
    });
}

#[test]
fn an_error_is_the_scripted_one() {
    check_error(
        r#"{"kind":"error","code":"NoPermission","status":403,"message":"no"}"#,
        403,
        "NoPermission",
        "no",
    );
    let default = "Scripted by a fault.";
    check_error(
        r#"{"kind":"error","code":"ServiceUnavailable"}"#,
        503,
        "ServiceUnavailable",
        default,
    );
    check_error(
        r#"{"kind":"error","code":"InternalError"}"#,
        500,
        "InternalError",
        default,
    );
    check_error(r#"{"kind":"error","code":"Odd"}"#, 400, "Odd", default);
}

#[test]
fn throttling_comes_with_its_hint() {
    let denied = "Request was denied due to user flow control.";
    check_error(r#"{"kind":"throttle"}"#, 400, "Throttling.User", denied);
    check(
        r#"{"kind":"throttle","retry_after_millis":1500}"#,
        |_, bytes| {
            assert_eq!(
                Answer::read(bytes).header("x-acs-retry-after"),
                Some("1500")
            );
        },
    );
}

#[test]
fn a_reset_sends_nothing() {
    check(r#"{"kind":"reset"}"#, |_, bytes| assert!(bytes.is_empty()));
}

#[test]
fn half_a_body_is_half_of_what_was_promised() {
    check(r#"{"kind":"half-body"}"#, |cloud, bytes| {
        let answer = Answer::read(bytes);
        let promised: usize = answer.header("content-length").unwrap().parse().unwrap();
        assert_eq!((answer.status, answer.body.len()), (200, promised / 2));
        assert!(promised > 400);
        assert_eq!(cloud.stats()["sessions_live"], 1);
    });
}

#[test]
fn a_web_page_comes_with_status_200() {
    check(r#"{"kind":"html"}"#, |_, bytes| {
        let answer = Answer::read(bytes);
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (200, Some("text/html"))
        );
        assert!(answer.text().starts_with("<!DOCTYPE html>"));
    });
}

#[test]
fn an_expired_credential_is_refused_as_expired() {
    check(r#"{"kind":"expired"}"#, |cloud, bytes| {
        let body = Answer::read(bytes).json();
        assert_eq!(body["Credentials"]["Expiration"], "2025-12-31T23:59:00Z");
        let credentials = Credentials::from(&body);
        let answer = Oss::new(cloud, &credentials).send("GET", "/examplebucket/k", &[], b"");
        assert_eq!(answer.element("Code"), "SecurityTokenExpired");
    });
}

#[test]
fn an_empty_credential_has_its_fields_and_nothing_in_them() {
    check(r#"{"kind":"empty"}"#, |_, bytes| {
        let body = Answer::read(bytes).json();
        let empty =
            json!({"AccessKeyId":"","AccessKeySecret":"","SecurityToken":"","Expiration":""});
        assert_eq!(body["Credentials"], empty);
    });
}

#[test]
fn an_expiration_beyond_what_was_asked_is_not_the_true_one() {
    check(r#"{"kind":"beyond"}"#, |cloud, bytes| {
        let body = Answer::read(bytes).json();
        assert_eq!(body["Credentials"]["Expiration"], "2027-01-01T01:00:00Z");
        let credentials = Credentials::from(&body);
        cloud.clock.advance(Duration::from_secs(3600));
        let answer = Oss::new(cloud, &credentials).send("GET", "/examplebucket/k", &[], b"");
        assert_eq!(answer.element("Code"), "SecurityTokenExpired");
    });
}

#[test]
fn a_delay_only_delays() {
    let cloud = cloud();
    cloud.script(r#"{"action":"AssumeRole","times":1,"fault":{"kind":"delay","millis":300}}"#);
    #[expect(clippy::disallowed_methods, reason = "a delay is of real time")]
    let began = Instant::now();
    assert_eq!(Call::assume(&cloud, UPLOAD).send().status, 200);
    assert!(began.elapsed() >= Duration::from_millis(300));
    // Far longer than anything here takes, but for the end of the faults.
    cloud.script(r#"{"action":"AssumeRole","fault":{"kind":"delay","millis":300000}}"#);
    let mut stream = open(cloud.sts(), &Call::assume(&cloud, UPLOAD).bytes());
    stream
        .set_read_timeout(Some(Duration::from_millis(100)))
        .unwrap();
    assert!(stream.read(&mut [0]).is_err());
    cloud.control("DELETE", "faults", "");
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    assert_eq!(Answer::read(&rest(stream)).status, 200);
    assert_eq!(cloud.stats()["calls"]["AssumeRole"], json!({"ok": 2}));
}

#[test]
fn a_hanging_call_is_let_go_when_the_faults_are_cleared() {
    let cloud = cloud();
    cloud.script(r#"{"action":"AssumeRole","fault":{"kind":"hang"}}"#);
    let mut stream = open(cloud.sts(), &Call::assume(&cloud, UPLOAD).bytes());
    stream
        .set_read_timeout(Some(Duration::from_millis(200)))
        .unwrap();
    assert!(stream.read(&mut [0]).is_err());
    // Nobody else waits for it.
    assert_eq!(Call::new(&cloud, "GetCallerIdentity").send().status, 200);
    cloud.control("DELETE", "faults", "");
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    assert!(rest(stream).is_empty());
    assert_eq!(Call::assume(&cloud, UPLOAD).send().status, 200);
}

#[test]
fn a_wrong_date_shifts_everything_the_server_says_of_time() {
    let cloud = cloud();
    cloud.script(r#"{"action":"*","fault":{"kind":"wrong-date","offset_seconds":7200}}"#);
    let late = Call::assume(&cloud, UPLOAD).send();
    assert_eq!(late.json()["Code"], "InvalidTimeStamp.Expired");
    assert_eq!(late.header("date"), Some("Thu, 01 Jan 2026 02:00:00 GMT"));
    let mut corrected = Call::assume(&cloud, UPLOAD);
    corrected.set("Timestamp", "2026-01-01T02:00:00Z");
    let answer = corrected.send();
    let body = answer.json();
    assert_eq!(body["Credentials"]["Expiration"], "2026-01-01T03:00:00Z");
    let credentials = Credentials::from(&body);
    let oss = Oss::new(&cloud, &credentials);
    let skewed = oss.send("GET", "/examplebucket/k", &[], b"");
    assert_eq!(skewed.element("Code"), "RequestTimeTooSkewed");
    let good = oss.send(
        "GET",
        "/examplebucket/k",
        &[("x-oss-date", "20260101T020000Z")],
        b"",
    );
    assert_eq!(good.element("Code"), "NoSuchKey");
    assert_eq!(
        cloud.stats()["calls"]["AssumeRole"],
        json!({"InvalidTimeStamp.Expired": 1, "ok": 1})
    );
}

#[test]
fn a_fault_strikes_oss_in_its_own_form() {
    let cloud = cloud();
    let session = cloud.session(UPLOAD, None);
    let oss = Oss::new(&cloud, &session);
    cloud.script(
        r#"{"action":"oss:GetObject","times":1,"fault":{"kind":"error","code":"InternalError"}}"#,
    );
    cloud.script(r#"{"action":"oss:*","times":1,"fault":{"kind":"error","code":"AccessDenied"}}"#);
    assert_eq!(
        oss.send("PUT", "/examplebucket/k", &[], b"x")
            .element("Code"),
        "AccessDenied"
    );
    let answer = oss.send("GET", "/examplebucket/k", &[], b"");
    assert_eq!(
        (answer.status, answer.element("Code").as_str()),
        (500, "InternalError")
    );
    assert_eq!(
        oss.send("PUT", "/examplebucket/k", &[], b"whole").status,
        200
    );
    cloud.script(r#"{"action":"oss:GetObject","times":1,"fault":{"kind":"half-body"}}"#);
    let cut = oss.send("GET", "/examplebucket/k", &[], b"");
    assert_eq!(
        (cut.header("content-length"), cut.text().as_str()),
        (Some("5"), "wh")
    );
}

#[test]
fn faults_wait_in_a_queue_and_end_by_count_or_by_time() {
    let cloud = cloud();
    cloud.script(r#"{"action":"AssumeRole","times":2,"fault":{"kind":"error","code":"First"}}"#);
    cloud.script(r#"{"action":"*","for":"5s","fault":{"kind":"error","code":"Second"}}"#);
    cloud.script(r#"{"action":"AssumeRole","fault":{"kind":"throttle"}}"#);
    let listed = cloud.control("GET", "faults", "").json();
    assert_eq!(
        listed["faults"],
        json!([
            {"action":"AssumeRole","times":2,"fault":{"kind":"error","code":"First"}},
            {"action":"*","until":"2026-01-01T00:00:05Z","fault":{"kind":"error","code":"Second"}},
            {"action":"AssumeRole","fault":{"kind":"throttle"}},
        ])
    );
    let ask = || {
        let answer = Call::assume(&cloud, UPLOAD).send().json();
        answer["Code"].as_str().unwrap_or("ok").to_owned()
    };
    assert_eq!([ask(), ask(), ask()], ["First", "First", "Second"]);
    cloud.clock.advance(Duration::from_secs(5));
    assert_eq!([ask(), ask()], ["Throttling.User", "Throttling.User"]);
    assert_eq!(cloud.control("DELETE", "faults", "").status, 200);
    assert_eq!(ask(), "ok");
}

#[test]
fn a_credential_fault_for_every_action_waits_for_a_call_that_gives_one() {
    let cloud = cloud();
    cloud.script(r#"{"action":"*","times":1,"fault":{"kind":"empty"}}"#);
    assert_eq!(Call::new(&cloud, "GetCallerIdentity").send().status, 200);
    let answer = Call::assume(&cloud, UPLOAD).send().json();
    assert_eq!(answer["Credentials"]["AccessKeyId"], "");
}

#[test]
fn a_script_that_makes_no_sense_is_refused() {
    let cloud = cloud();
    for odd in [
        "",
        "[]",
        r#"{"action":"AssumeRole"}"#,
        r#"{"action":"AssumeRoles","fault":{"kind":"reset"}}"#,
        r#"{"action":"oss:GetObjects","fault":{"kind":"reset"}}"#,
        r#"{"action":"*","fault":{"kind":"explode"}}"#,
        r#"{"action":"*","fault":{"kind":"reset","millis":5}}"#,
        r#"{"action":"*","fault":{"kind":"delay"}}"#,
        r#"{"action":"*","fault":{"kind":"delay","millis":-1}}"#,
        r#"{"action":"*","fault":{"kind":"error","code":"X","status":99}}"#,
        r#"{"action":"*","times":1,"for":"5s","fault":{"kind":"reset"}}"#,
        r#"{"action":"*","times":0,"fault":{"kind":"reset"}}"#,
        r#"{"action":"*","for":"five","fault":{"kind":"reset"}}"#,
        r#"{"action":"*","often":3,"fault":{"kind":"reset"}}"#,
        r#"{"action":"oss:GetObject","fault":{"kind":"expired"}}"#,
    ] {
        let answer = cloud.control("POST", "faults", odd);
        assert_eq!(answer.status, 400, "{odd}");
        assert!(answer.json()["error"].is_string(), "{odd}");
    }
    assert_eq!(cloud.control("PUT", "faults", "").status, 405);
    assert_eq!(cloud.control("GET", "nothing", "").status, 404);
}

#[test]
fn counters_start_again_when_deleted() {
    let cloud = cloud();
    Call::assume(&cloud, UPLOAD).send();
    assert_eq!(
        cloud.stats(),
        json!({"calls":{"AssumeRole":{"ok":1}},"sessions_live":1})
    );
    cloud.control("DELETE", "stats", "");
    assert_eq!(cloud.stats(), json!({"calls":{},"sessions_live":1}));
}
