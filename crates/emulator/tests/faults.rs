//! Each scripted fault, in the raw bytes of the response.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod kit;

use std::{
    io::Read as _,
    time::{Duration, Instant},
};

use kit::{Answer, Call, Credentials, Oss, TestEmulator, UPLOAD, exchange, open, raw, rest, start};
use serde_json::json;

/// Returns all bytes of the response to an `AssumeRole` with one fault.
fn response_with_fault(emulator: &TestEmulator, fault: &str) -> Vec<u8> {
    emulator.script(&format!(
        r#"{{"action":"AssumeRole","times":1,"fault":{fault}}}"#
    ));
    raw(emulator.sts(), &Call::assume(emulator, UPLOAD).bytes())
}

/// Checks the response of one fault, its counter, and that the next call has no fault.
fn check(fault: &str, check_response: impl FnOnce(&TestEmulator, &[u8])) {
    let emulator = start();
    let bytes = response_with_fault(&emulator, fault);
    check_response(&emulator, &bytes);
    let kind: serde_json::Value = serde_json::from_str(fault).unwrap();
    let kind = format!("fault:{}", kind["kind"].as_str().unwrap());
    let calls = &emulator.stats()["calls"]["AssumeRole"];
    assert_eq!(calls[&kind], 1, "{calls}");
    assert_eq!(Call::assume(&emulator, UPLOAD).send().status, 200);
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
fn error_fault_returns_scripted_error() {
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
fn throttle_fault_returns_retry_after_header() {
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
fn reset_fault_sends_no_byte() {
    check(r#"{"kind":"reset"}"#, |_, bytes| assert!(bytes.is_empty()));
}

#[test]
fn half_body_fault_sends_half_of_content_length() {
    check(r#"{"kind":"half-body"}"#, |emulator, bytes| {
        let answer = Answer::read(bytes);
        let content_length: usize = answer.header("content-length").unwrap().parse().unwrap();
        assert_eq!(
            (answer.status, answer.body.len()),
            (200, content_length / 2)
        );
        assert!(content_length > 400);
        assert_eq!(emulator.stats()["sessions_live"], 1);
    });
}

#[test]
fn html_fault_returns_page_with_status_200() {
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
fn expired_fault_returns_credentials_that_oss_refuses() {
    check(r#"{"kind":"expired"}"#, |emulator, bytes| {
        let body = Answer::read(bytes).json();
        assert_eq!(body["Credentials"]["Expiration"], "2025-12-31T23:59:00Z");
        let credentials = Credentials::from(&body);
        let answer = Oss::new(emulator, &credentials).send("GET", "/examplebucket/k", &[], b"");
        assert_eq!(answer.element("Code"), "SecurityTokenExpired");
    });
}

#[test]
fn empty_fault_returns_credentials_with_empty_fields() {
    check(r#"{"kind":"empty"}"#, |_, bytes| {
        let body = Answer::read(bytes).json();
        let empty =
            json!({"AccessKeyId":"","AccessKeySecret":"","SecurityToken":"","Expiration":""});
        assert_eq!(body["Credentials"], empty);
    });
}

#[test]
fn beyond_fault_does_not_extend_session() {
    check(r#"{"kind":"beyond"}"#, |emulator, bytes| {
        let body = Answer::read(bytes).json();
        assert_eq!(body["Credentials"]["Expiration"], "2027-01-01T01:00:00Z");
        let credentials = Credentials::from(&body);
        emulator.clock.advance(Duration::from_secs(3600));
        let answer = Oss::new(emulator, &credentials).send("GET", "/examplebucket/k", &[], b"");
        assert_eq!(answer.element("Code"), "SecurityTokenExpired");
    });
}

#[test]
fn delay_fault_ends_after_delay_or_when_faults_are_cleared() {
    let emulator = start();
    emulator.script(r#"{"action":"AssumeRole","times":1,"fault":{"kind":"delay","millis":300}}"#);
    #[expect(clippy::disallowed_methods, reason = "a delay is of real time")]
    let began = Instant::now();
    assert_eq!(Call::assume(&emulator, UPLOAD).send().status, 200);
    assert!(began.elapsed() >= Duration::from_millis(300));
    // Longer than the test: only the end of the faults ends the delay.
    emulator.script(r#"{"action":"AssumeRole","fault":{"kind":"delay","millis":300000}}"#);
    let mut stream = open(emulator.sts(), &Call::assume(&emulator, UPLOAD).bytes());
    stream
        .set_read_timeout(Some(Duration::from_millis(100)))
        .unwrap();
    assert!(stream.read(&mut [0]).is_err());
    emulator.control("DELETE", "faults", "");
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    assert_eq!(Answer::read(&rest(stream)).status, 200);
    assert_eq!(emulator.stats()["calls"]["AssumeRole"], json!({"ok": 2}));
}

#[test]
fn hang_fault_ends_when_faults_are_cleared() {
    let emulator = start();
    emulator.script(r#"{"action":"AssumeRole","fault":{"kind":"hang"}}"#);
    let mut stream = open(emulator.sts(), &Call::assume(&emulator, UPLOAD).bytes());
    stream
        .set_read_timeout(Some(Duration::from_millis(200)))
        .unwrap();
    assert!(stream.read(&mut [0]).is_err());
    // Other calls are not blocked.
    assert_eq!(Call::new(&emulator, "GetCallerIdentity").send().status, 200);
    emulator.control("DELETE", "faults", "");
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    assert!(rest(stream).is_empty());
    assert_eq!(Call::assume(&emulator, UPLOAD).send().status, 200);
}

#[test]
fn wrong_date_fault_shifts_all_times_of_server() {
    let emulator = start();
    emulator.script(r#"{"action":"*","fault":{"kind":"wrong-date","offset_seconds":7200}}"#);
    let late = Call::assume(&emulator, UPLOAD).send();
    assert_eq!(late.json()["Code"], "InvalidTimeStamp.Expired");
    assert_eq!(late.header("date"), Some("Thu, 01 Jan 2026 02:00:00 GMT"));
    let mut corrected = Call::assume(&emulator, UPLOAD);
    corrected.set("Timestamp", "2026-01-01T02:00:00Z");
    let answer = corrected.send();
    let body = answer.json();
    assert_eq!(body["Credentials"]["Expiration"], "2026-01-01T03:00:00Z");
    let credentials = Credentials::from(&body);
    let oss = Oss::new(&emulator, &credentials);
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
        emulator.stats()["calls"]["AssumeRole"],
        json!({"InvalidTimeStamp.Expired": 1, "ok": 1})
    );
}

#[test]
fn oss_fault_has_form_of_oss() {
    let emulator = start();
    let session = emulator.session(UPLOAD, None);
    let oss = Oss::new(&emulator, &session);
    emulator.script(
        r#"{"action":"oss:GetObject","times":1,"fault":{"kind":"error","code":"InternalError"}}"#,
    );
    emulator
        .script(r#"{"action":"oss:*","times":1,"fault":{"kind":"error","code":"AccessDenied"}}"#);
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
    emulator.script(r#"{"action":"oss:GetObject","times":1,"fault":{"kind":"half-body"}}"#);
    let cut = oss.send("GET", "/examplebucket/k", &[], b"");
    assert_eq!(
        (cut.header("content-length"), cut.text().as_str()),
        (Some("5"), "wh")
    );
}

#[test]
fn queued_faults_end_by_count_and_by_time() {
    let emulator = start();
    emulator.script(r#"{"action":"AssumeRole","times":2,"fault":{"kind":"error","code":"First"}}"#);
    emulator.script(r#"{"action":"*","for":"5s","fault":{"kind":"error","code":"Second"}}"#);
    emulator.script(r#"{"action":"AssumeRole","fault":{"kind":"throttle"}}"#);
    let listed = emulator.control("GET", "faults", "").json();
    assert_eq!(
        listed["faults"],
        json!([
            {"action":"AssumeRole","times":2,"fault":{"kind":"error","code":"First"}},
            {"action":"*","until":"2026-01-01T00:00:05Z","fault":{"kind":"error","code":"Second"}},
            {"action":"AssumeRole","fault":{"kind":"throttle"}},
        ])
    );
    let ask = || {
        let answer = Call::assume(&emulator, UPLOAD).send().json();
        answer["Code"].as_str().unwrap_or("ok").to_owned()
    };
    assert_eq!([ask(), ask(), ask()], ["First", "First", "Second"]);
    emulator.clock.advance(Duration::from_secs(5));
    assert_eq!([ask(), ask()], ["Throttling.User", "Throttling.User"]);
    assert_eq!(emulator.control("DELETE", "faults", "").status, 200);
    assert_eq!(ask(), "ok");
}

#[test]
fn credential_fault_for_any_action_skips_other_calls() {
    let emulator = start();
    emulator.script(r#"{"action":"*","times":1,"fault":{"kind":"empty"}}"#);
    assert_eq!(Call::new(&emulator, "GetCallerIdentity").send().status, 200);
    let answer = Call::assume(&emulator, UPLOAD).send().json();
    assert_eq!(answer["Credentials"]["AccessKeyId"], "");
}

#[test]
fn invalid_script_is_refused() {
    let emulator = start();
    for invalid in [
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
        let answer = emulator.control("POST", "faults", invalid);
        assert_eq!(answer.status, 400, "{invalid}");
        assert!(answer.json()["error"].is_string(), "{invalid}");
    }
    assert_eq!(emulator.control("PUT", "faults", "").status, 405);
    assert_eq!(emulator.control("GET", "nothing", "").status, 404);
}

#[test]
fn deleted_counters_restart_at_zero() {
    let emulator = start();
    Call::assume(&emulator, UPLOAD).send();
    assert_eq!(
        emulator.stats(),
        json!({"calls":{"AssumeRole":{"ok":1}},"sessions_live":1})
    );
    emulator.control("DELETE", "stats", "");
    assert_eq!(emulator.stats(), json!({"calls":{},"sessions_live":1}));
}

#[test]
fn each_oss_operation_is_counted_by_name_and_takes_a_fault() {
    let emulator = start();
    let copy = ("x-oss-copy-source", "/examplebucket/s");
    let (bucket, key) = ("/examplebucket", "/examplebucket/k");
    for (name, method, target, headers) in [
        ("ListBuckets", "GET", "/".to_owned(), &[][..]),
        ("PutBucket", "PUT", bucket.to_owned(), &[]),
        ("DeleteBucket", "DELETE", bucket.to_owned(), &[]),
        ("HeadBucket", "HEAD", bucket.to_owned(), &[]),
        ("GetBucketInfo", "GET", format!("{bucket}?bucketInfo"), &[]),
        (
            "GetBucketLocation",
            "GET",
            format!("{bucket}?location"),
            &[],
        ),
        ("ListObjects", "GET", format!("{bucket}?list-type=2"), &[]),
        (
            "ListMultipartUploads",
            "GET",
            format!("{bucket}?uploads"),
            &[],
        ),
        (
            "DeleteMultipleObjects",
            "POST",
            format!("{bucket}?delete"),
            &[],
        ),
        ("PutObject", "PUT", key.to_owned(), &[]),
        ("CopyObject", "PUT", key.to_owned(), &[copy]),
        ("GetObject", "GET", key.to_owned(), &[]),
        ("HeadObject", "HEAD", key.to_owned(), &[]),
        ("GetObjectMeta", "HEAD", format!("{key}?objectMeta"), &[]),
        ("DeleteObject", "DELETE", key.to_owned(), &[]),
        (
            "InitiateMultipartUpload",
            "POST",
            format!("{key}?uploads"),
            &[],
        ),
        (
            "UploadPart",
            "PUT",
            format!("{key}?partNumber=1&uploadId=U"),
            &[],
        ),
        (
            "UploadPartCopy",
            "PUT",
            format!("{key}?partNumber=1&uploadId=U"),
            &[copy],
        ),
        (
            "CompleteMultipartUpload",
            "POST",
            format!("{key}?uploadId=U"),
            &[],
        ),
        (
            "AbortMultipartUpload",
            "DELETE",
            format!("{key}?uploadId=U"),
            &[],
        ),
        ("ListParts", "GET", format!("{key}?uploadId=U"), &[]),
        ("other", "GET", format!("{bucket}?acl"), &[]),
    ] {
        let fault = json!({
            "action": format!("oss:{name}"), "times": 1,
            "fault": {"kind": "error", "code": "InternalError"},
        });
        emulator.script(&fault.to_string());
        let answer = exchange(emulator.oss(), method, &target, headers, b"");
        assert_eq!(answer.status, 500, "{name}: {}", answer.text());
        let calls = &emulator.stats()["calls"];
        assert_eq!(
            calls[format!("oss:{name}")],
            json!({"fault:error": 1}),
            "{name}"
        );
    }
}
