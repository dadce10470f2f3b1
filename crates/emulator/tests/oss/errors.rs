//! Each error, by its code, status and EC.

use std::time::Duration;

use crate::{
    code, expect,
    kit::{Credentials, KEY, Oss, SECRET, UPLOAD, exchange, start},
};

#[test]
fn each_error_has_same_code_in_v1_and_v4() {
    for version in [1, 4] {
        let emulator = start();
        let session = emulator.session(UPLOAD, None);
        let other = emulator.session(UPLOAD, None);
        let check = |credentials: &Credentials,
                     target: &str,
                     headers: &[(&str, &str)],
                     status,
                     code: &str,
                     ec: &str| {
            let mut oss = Oss::new(&emulator, credentials);
            oss.version = version;
            for method in ["GET", "HEAD"] {
                expect(&oss.send(method, target, headers, b""), status, code, ec);
            }
        };
        let with = |id: &str, secret: &str, token: Option<&str>| Credentials {
            id: id.to_owned(),
            secret: secret.to_owned(),
            token: token.map(str::to_owned),
        };
        let (id, secret, token) = (&session.id, &session.secret, session.token.as_deref());
        let target = "/examplebucket/k";
        check(&session, target, &[], 404, "NoSuchKey", "0026-00000001");
        check(
            &session,
            "/nobucket/k",
            &[],
            404,
            "NoSuchBucket",
            "0015-00000101",
        );
        check(
            &with(id, "wrong", token),
            target,
            &[],
            403,
            "SignatureDoesNotMatch",
            "0002-00000040",
        );
        check(
            &with("LTAIABSENT", secret, None),
            target,
            &[],
            403,
            "InvalidAccessKeyId",
            "0002-00000902",
        );
        check(
            &with("STS.ABSENT", secret, token),
            target,
            &[],
            403,
            "InvalidAccessKeyId",
            "0002-00000002",
        );
        check(
            &with(id, secret, None),
            target,
            &[],
            403,
            "InvalidAccessKeyId",
            "0002-00000002",
        );
        check(
            &with(KEY, SECRET, token),
            target,
            &[],
            403,
            "InvalidAccessKeyId",
            "0002-00000002",
        );
        check(
            &with(id, secret, other.token.as_deref()),
            target,
            &[],
            403,
            "InvalidSecurityToken",
            "0002-00000004",
        );
        check(
            &session,
            target,
            &[("x-oss-date", "")],
            403,
            "AccessDenied",
            "0002-00000203",
        );
        let skewed = match version {
            4 => "20251231T234459Z",
            _ => "Wed, 31 Dec 2025 23:44:59 GMT",
        };
        if version == 1 {
            check(
                &session,
                target,
                &[("x-oss-date", skewed)],
                403,
                "RequestTimeTooSkewed",
                "0002-00000504",
            );
        } else {
            // The key is derived for a day, and this date is of another day.
            check(
                &session,
                target,
                &[("x-oss-date", skewed)],
                400,
                "InvalidArgument",
                "0017-00000201",
            );
            check(
                &session,
                target,
                &[("x-oss-date", "20260101T001501Z")],
                403,
                "RequestTimeTooSkewed",
                "0002-00000504",
            );
        }
        check(
            &session,
            "/otherbucket/k",
            &[],
            403,
            "AccessDenied",
            "0003-00000001",
        );
        check(
            &session,
            "/examplebucket/?acl",
            &[],
            501,
            "NotImplemented",
            "0017-00000901",
        );
        emulator.clock.advance(Duration::from_secs(3600));
        let mut late = Oss::new(&emulator, &session);
        late.version = version;
        let answer = late.send("GET", target, &[], b"");
        assert_eq!(code(&answer), "SecurityTokenExpired");
        assert_eq!(answer.header("x-oss-ec"), Some("0002-00000007"));
        assert_eq!(
            answer.element("Message"),
            "The security token you provided has expired."
        );
    }
}

#[test]
fn request_without_readable_signature_is_refused() {
    let emulator = start();
    let get = |target: &str, authorization: &str| {
        let headers: &[(&str, &str)] = match authorization {
            "" => &[],
            value => &[
                ("authorization", value),
                ("date", "Thu, 01 Jan 2026 00:00:00 GMT"),
            ],
        };
        exchange(emulator.oss(), "GET", target, headers, b"")
    };
    expect(
        &get("/examplebucket/k", ""),
        403,
        "AccessDenied",
        "0003-00000901",
    );
    for invalid in [
        "Bearer x",
        "OSS x",
        "OSS :x",
        "OSS x:",
        "OSS4-HMAC-SHA256 x",
        "OSS4-HMAC-SHA1 Credential=x",
    ] {
        expect(
            &get("/examplebucket/k", invalid),
            400,
            "InvalidArgument",
            "0017-00000201",
        );
    }
    for invalid in [
        "?OSSAccessKeyId=x",
        "?OSSAccessKeyId=x&Expires=soon&Signature=x",
        "?x-oss-signature-version=1",
    ] {
        expect(
            &get(&format!("/examplebucket/k{invalid}"), ""),
            400,
            "InvalidArgument",
            "0017-00000201",
        );
    }
    let session = emulator.session(UPLOAD, None);
    let mut oss = Oss::new(&emulator, &session);
    oss.region = "cn-hangzhou";
    expect(
        &oss.send("GET", "/examplebucket/k", &[], b""),
        400,
        "InvalidArgument",
        "0017-00000201",
    );
}
