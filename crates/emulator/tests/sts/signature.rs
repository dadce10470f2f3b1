//! Signatures and nonces, in both schemes.

use std::time::Duration;

use crate::{
    check, check_accepted, check_parameter, expect,
    kit::{self, Answer, Call, UPLOAD, acs3_bytes, raw, start},
};

#[test]
fn parts_of_signature_are_checked_in_order() {
    for name in ["AccessKeyId", "Signature", "Timestamp", "SignatureNonce"] {
        check(
            |_, call| match name {
                "Signature" => call.signature = Some(String::new()),
                name => call.remove(name),
            },
            400,
            &format!("Missing{name}"),
            &format!("{name} is mandatory for this action."),
        );
    }
    check_parameter(
        "SignatureMethod",
        "HMAC-SHA256",
        "InvalidSignatureMethod",
        "Specified signature method is not valid.",
    );
    check_parameter(
        "SignatureVersion",
        "2.0",
        "IncompleteSignature",
        "The request signature does not conform to Aliyun standards. SignatureVersion must be 1.0.",
    );
    let not_found = "Specified access key is not found.";
    check(
        |_, call| call.set("AccessKeyId", "LTAIABSENT"),
        404,
        "InvalidAccessKeyId.NotFound",
        not_found,
    );
    check_parameter(
        "AccessKeyId",
        "LTAIEXAMPLEINACTIVE01",
        "InvalidAccessKeyId.Inactive",
        "Specified access key is disabled.",
    );
    let format = "Specified time stamp or date value is not well formatted.";
    for odd in [
        "yesterday",
        "2026-01-01T00:00:00",
        "2026-01-01T00:00:00+00:00",
        "2026-13-01T00:00:00Z",
    ] {
        check_parameter("Timestamp", odd, "InvalidTimeStamp.Format", format);
    }
    let expired = "Specified time stamp or date value is expired.";
    for far in ["2025-12-31T23:44:59Z", "2026-01-01T00:15:01Z"] {
        check_parameter("Timestamp", far, "InvalidTimeStamp.Expired", expired);
    }
    for near in ["2025-12-31T23:45:00Z", "2026-01-01T00:15:00Z"] {
        check_accepted("Timestamp", near);
    }
}

#[test]
fn wrong_signature_returns_string_to_sign_and_keeps_nonce() {
    let emulator = start();
    let mut call = Call::assume(&emulator, UPLOAD);
    call.set("SignatureNonce", "only-once");
    call.secret = "wrong".to_owned();
    let answer = call.send();
    assert_eq!(
        (answer.status, answer.json()["Code"].as_str().unwrap()),
        (400, "SignatureDoesNotMatch")
    );
    let message = answer.json()["Message"].as_str().unwrap().to_owned();
    let begin = "Specified signature is not matched with our calculation. server string to sign is:\
                 POST&%2F&AccessKeyId%3DLTAIEXAMPLEUPLOADER01%26Action%3DAssumeRole%26";
    assert!(message.starts_with(begin), "{message}");
    call.secret = kit::SECRET.to_owned();
    assert_eq!(call.send().status, 200);
    expect(
        &call.send(),
        400,
        "SignatureNonceUsed",
        "Specified signature nonce was used already.",
    );
}

#[test]
fn nonce_is_kept_thirty_minutes_for_its_key() {
    let emulator = start();
    let mut call = Call::new(&emulator, "GetCallerIdentity");
    call.set("SignatureNonce", "mine");
    assert_eq!(call.send().status, 200);
    let mut other = Call::new(&emulator, "GetCallerIdentity");
    other.set("SignatureNonce", "mine");
    other.set("AccessKeyId", "LTAIEXAMPLESTRANGER01");
    other.secret = "ExampleSecretOfStranger000001".to_owned();
    assert_eq!(other.send().status, 200);
    emulator.clock.advance(Duration::from_secs(29 * 60));
    let mut again = Call::new(&emulator, "GetCallerIdentity");
    again.set("SignatureNonce", "mine");
    assert_eq!(again.send().json()["Code"], "SignatureNonceUsed");
    emulator.clock.advance(Duration::from_secs(2 * 60));
    let mut late = Call::new(&emulator, "GetCallerIdentity");
    late.set("SignatureNonce", "mine");
    assert_eq!(late.send().status, 200);
}

#[test]
fn acs3_must_sign_host_and_acs_headers() {
    let emulator = start();
    let all =
        "host;x-acs-action;x-acs-content-sha256;x-acs-date;x-acs-signature-nonce;x-acs-version";
    let send = |nonce: &str, headers: &[(&str, &str)], signed: &str| {
        let mut headers = headers.to_vec();
        headers.push(("x-acs-action", "GetCallerIdentity"));
        if !nonce.is_empty() {
            headers.push(("x-acs-signature-nonce", nonce));
        }
        Answer::read(&raw(
            emulator.sts(),
            &acs3_bytes(&emulator, &headers, "/", signed),
        ))
    };
    let good = send("n1", &[], all);
    assert_eq!(good.status, 200, "{}", good.text());
    assert_eq!(good.json()["IdentityType"], "RAMUser");
    assert_eq!(send("n1", &[], all).json()["Code"], "SignatureNonceUsed");
    let without = |name: &str| {
        all.split(';')
            .filter(|known| *known != name)
            .collect::<Vec<_>>()
            .join(";")
    };
    for name in ["host", "x-acs-action", "x-acs-date", "x-acs-version"] {
        let answer = send("n2", &[], &without(name));
        assert_eq!(answer.json()["Code"], "IncompleteSignature", "{name}");
        assert_eq!(answer.status, 400);
    }
    let extra = send("n3", &[("x-acs-extra", "1")], all);
    assert_eq!(extra.json()["Code"], "IncompleteSignature");
    let absent = send("n4", &[], &format!("{all};x-acs-extra"));
    assert_eq!(absent.json()["Code"], "IncompleteSignature");
    let no_nonce = send("", &[], &without("x-acs-signature-nonce"));
    assert_eq!(no_nonce.json()["Code"], "IncompleteSignature");
    let mut spoiled = acs3_bytes(
        &emulator,
        &[
            ("x-acs-action", "GetCallerIdentity"),
            ("x-acs-signature-nonce", "n5"),
        ],
        "/",
        all,
    );
    // A body with another hash.
    let at = spoiled
        .windows(17)
        .position(|w| w == b"content-length: 0")
        .unwrap();
    spoiled[at + 16] = b'1';
    spoiled.push(b'x');
    let answer = Answer::read(&raw(emulator.sts(), &spoiled));
    assert_eq!(answer.json()["Code"], "SignatureDoesNotMatch");
}
