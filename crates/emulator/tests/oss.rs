//! The emulated OSS through raw bytes over TCP: rights, errors, objects, lists.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod kit;

use std::time::Duration;

use base64::Engine as _;
use kit::{Answer, Call, Credentials, KEY, Oss, READ, SECRET, UPLOAD, exchange, start, start_with};

const ALL: &str = r#"{"Version":"1","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}"#;

/// Checks the allowed operations of a role with one policy and a session with another. The
/// letters are `p`ut, `g`et, `h`ead, `d`elete, `l`ist, and put into the `o`ther bucket.
fn check(role: &str, session: Option<&str>, allowed: &str) {
    let world = stsd_emulator::account::DEFAULT_MODEL.to_owned()
        + &format!(
            "\n[[role]]\nname = \"tested\"\ntrusts = [\"user/uploader\"]\npolicy = '''{role}'''\n"
        );
    let emulator = start_with(&world, None);
    let credentials = emulator.session("acs:ram::100000000000001:role/tested", session);
    let oss = Oss::new(&emulator, &credentials);
    let mut allowed_letters = String::new();
    for (letter, method, target) in [
        ('p', "PUT", "/examplebucket/a/k"),
        ('g', "GET", "/examplebucket/a/k"),
        ('h', "HEAD", "/examplebucket/a/k"),
        ('d', "DELETE", "/examplebucket/a/k"),
        ('l', "GET", "/examplebucket/"),
        ('o', "PUT", "/otherbucket/a/k"),
    ] {
        let answer = oss.send(method, target, &[], b"");
        match answer.status {
            403 => assert_eq!(code(&answer), "AccessDenied"),
            200 | 204 | 404 => allowed_letters.push(letter),
            _ => panic!("{}", answer.text()),
        }
    }
    assert_eq!(allowed_letters, allowed, "role {role}, session {session:?}");
}

fn policy(effect: &str, actions: &str, resources: &str) -> String {
    format!(
        r#"{{"Version":"1","Statement":{{"Effect":"{effect}","Action":{actions},"Resource":{resources}}}}}"#
    )
}

#[test]
fn role_policy_allows_matching_operations() {
    let objects = r#""acs:oss:*:*:examplebucket/*""#;
    check(ALL, None, "pghdlo");
    check(&policy("Deny", r#""*""#, r#""*""#), None, "");
    check(&policy("Allow", r#""oss:GetObject""#, objects), None, "gh");
    check(&policy("Allow", r#""OSS:getobject""#, objects), None, "gh");
    check(
        &policy("Allow", r#"["oss:Get*","oss:Put*"]"#, objects),
        None,
        "pgh",
    );
    check(&policy("Allow", r#""oss:???Object""#, objects), None, "pgh");
    check(&policy("Allow", r#""oss:ListObjects""#, objects), None, "");
    check(
        &policy(
            "Allow",
            r#""oss:ListObjects""#,
            r#""acs:oss:*:*:examplebucket""#,
        ),
        None,
        "l",
    );
    check(
        &policy("Allow", r#""oss:*""#, r#""acs:oss:*:*:examplebucket*""#),
        None,
        "pghdl",
    );
    check(
        &policy(
            "Allow",
            r#""oss:*""#,
            r#""acs:oss:cn-hongkong:100000000000001:examplebucket/a/?""#,
        ),
        None,
        "pghd",
    );
    check(
        &policy(
            "Allow",
            r#""oss:*""#,
            r#""acs:oss:oss-cn-hongkong:*:otherbucket/*""#,
        ),
        None,
        "o",
    );
    check(
        &policy("Allow", r#""oss:*""#, r#""acs:oss:*:999:examplebucket/*""#),
        None,
        "",
    );
    check(&policy("Allow", r#""ecs:*""#, r#""*""#), None, "");
    let denied = r#"{"Version":"1","Statement":[
        {"Effect":"Deny","Action":"oss:DeleteObject","Resource":"*"},
        {"Effect":"Allow","Action":"oss:*","Resource":["acs:oss:*:*:examplebucket","acs:oss:*:*:examplebucket/*"]}]}"#;
    check(denied, None, "pghl");
}

#[test]
fn session_policy_narrows_and_never_widens() {
    let read = policy("Allow", r#""oss:GetObject""#, r#""*""#);
    check(ALL, Some(&read), "gh");
    check(&read, Some(ALL), "gh");
    check(
        ALL,
        Some(&policy("Deny", r#""oss:PutObject""#, r#""*""#)),
        "",
    );
    check(
        &policy("Allow", r#""oss:PutObject""#, r#""*""#),
        Some(&read),
        "",
    );
}

#[test]
fn user_without_policy_has_no_rights() {
    let emulator = start();
    let uploader = long_lived_key();
    let answer = Oss::new(&emulator, &uploader).send("PUT", "/examplebucket/k", &[], b"x");
    expect(&answer, 403, "AccessDenied", "0003-00000001");
}

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

#[test]
fn object_is_returned_as_put() {
    for version in [1, 4] {
        let emulator = start();
        let session = emulator.session(UPLOAD, None);
        let mut oss = Oss::new(&emulator, &session);
        oss.version = version;
        let target = "/examplebucket/dir%2Fa%20b%2B%E4%B8%AD";
        let headers = [
            ("content-type", "text/plain"),
            ("x-oss-meta-author", "me"),
            ("content-md5", "JfnnlDI7RTiF9RgfG2JNCw=="),
        ];
        let put = oss.send("PUT", target, &headers, b"123456789");
        assert_eq!(put.status, 200, "{}", put.text());
        // The published check value of CRC-64/XZ for these nine digits.
        assert_eq!(
            put.header("x-oss-hash-crc64ecma"),
            Some("11051210869376104954")
        );
        assert_eq!(
            put.header("etag"),
            Some("\"25F9E794323B453885F5181F1B624D0B\"")
        );
        let get = oss.send("GET", "/examplebucket/dir/a%20b%2B%E4%B8%AD", &[], b"");
        assert_eq!((get.status, get.text().as_str()), (200, "123456789"));
        for (name, value) in [
            ("content-type", "text/plain"),
            ("x-oss-meta-author", "me"),
            ("x-oss-object-type", "Normal"),
            ("last-modified", "Thu, 01 Jan 2026 00:00:00 GMT"),
            ("date", "Thu, 01 Jan 2026 00:00:00 GMT"),
        ] {
            assert_eq!(get.header(name), Some(value));
        }
        let head = oss.send("HEAD", target, &[], b"");
        assert_eq!(
            (head.status, head.header("content-length"), head.body.len()),
            (200, Some("9"), 0)
        );
        for (range, status, bytes) in [
            ("bytes=0-0", 206, "1"),
            ("bytes=7-", 206, "89"),
            ("bytes=7-99", 206, "89"),
            ("bytes=-2", 206, "89"),
            ("bytes=3-1", 200, "123456789"),
            ("items=1", 200, "123456789"),
        ] {
            let part = oss.send("GET", target, &[("range", range)], b"");
            assert_eq!(
                (part.status, part.text().as_str()),
                (status, bytes),
                "{range}"
            );
        }
        let beyond = oss.send("GET", target, &[("range", "bytes=9-")], b"");
        expect(&beyond, 416, "InvalidRange", "0026-00000021");
        let spoiled = oss.send("PUT", target, &[("content-md5", "AAAA")], b"other");
        expect(&spoiled, 400, "InvalidDigest", "0016-00000501");
        assert_eq!(oss.send("DELETE", target, &[], b"").status, 204);
        assert_eq!(oss.send("DELETE", target, &[], b"").status, 204);
        assert_eq!(oss.send("GET", target, &[], b"").status, 404);
    }
}

#[test]
fn bucket_comes_from_path_before_host() {
    let emulator = start();
    let session = emulator.session(UPLOAD, None);
    let mut oss = Oss::new(&emulator, &session);
    oss.version = 1;
    let host = ("host", "otherbucket.oss-cn-hangzhou.aliyuncs.com");
    assert_eq!(
        oss.send("PUT", "/examplebucket/k", &[host], b"by path")
            .status,
        200
    );
    let get = oss.send("GET", "/examplebucket/k", &[], b"");
    assert_eq!(get.text(), "by path");
    // Without a bucket in the path, the bucket of the host is the one that is signed.
    let host = ("host", "examplebucket.oss-cn-hongkong.aliyuncs.com");
    let headers = [host, ("date", "Thu, 01 Jan 2026 00:00:00 GMT")];
    let answer = exchange(emulator.oss(), "GET", "/k", &headers, b"");
    assert_eq!(code(&answer), "AccessDenied");
    assert!(emulator.stats()["calls"]["oss:GetObject"]["AccessDenied"].is_number());
}

#[test]
fn list_has_pages_common_prefixes_and_escapes() {
    let emulator = start();
    let session = emulator.session(UPLOAD, None);
    let oss = Oss::new(&emulator, &session);
    for key in ["a", "b%2F1", "b%2F2", "b%2Fc%2F3", "d%20%26e", "z"] {
        assert_eq!(
            oss.send("PUT", &format!("/examplebucket/{key}"), &[], b"x")
                .status,
            200
        );
    }
    let check = |query: &str, keys: &[&str], prefixes: &[&str], truncated: &str| -> Answer {
        let answer = oss.send("GET", &format!("/examplebucket/?{query}"), &[], b"");
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.elements("Key"), keys, "{query}");
        let folders: Vec<String> = answer
            .elements("CommonPrefixes")
            .iter()
            .map(|text| text.replace("<Prefix>", "").replace("</Prefix>", ""))
            .collect();
        assert_eq!(folders, prefixes, "{query}");
        assert_eq!(answer.element("IsTruncated"), truncated, "{query}");
        answer
    };
    let all = ["a", "b/1", "b/2", "b/c/3", "d &amp;e", "z"];
    check("", &all, &[], "false");
    check(
        "encoding-type=url",
        &["a", "b/1", "b/2", "b/c/3", "d%20%26e", "z"],
        &[],
        "false",
    );
    check("prefix=b%2F", &all[1..4], &[], "false");
    check(
        "prefix=b%2F&delimiter=%2F",
        &["b/1", "b/2"],
        &["b/c/"],
        "false",
    );
    check("delimiter=%2F", &["a", "d &amp;e", "z"], &["b/"], "false");
    check("marker=b%2F2", &all[3..], &[], "false");
    check("marker=b%2F2&prefix=b", &["b/c/3"], &[], "false");
    check("marker=zz", &[], &[], "false");
    check("list-type=2&start-after=d", &all[4..], &[], "false");
    let page = check("max-keys=2&delimiter=%2F", &["a"], &["b/"], "true");
    assert_eq!(page.element("NextMarker"), "b/");
    check(
        "max-keys=2&delimiter=%2F&marker=b%2F",
        &["d &amp;e", "z"],
        &[],
        "false",
    );
    let page = check(
        "list-type=2&max-keys=2&delimiter=%2F",
        &["a"],
        &["b/"],
        "true",
    );
    assert_eq!(page.element("KeyCount"), "2");
    let token = page.element("NextContinuationToken").replace('=', "%3D");
    let next = format!("list-type=2&max-keys=2&delimiter=%2F&continuation-token={token}");
    check(&next, &["d &amp;e", "z"], &[], "false");
    for invalid in [
        "max-keys=0",
        "max-keys=1001",
        "max-keys=x",
        "encoding-type=gzip",
        "list-type=2&continuation-token=%21",
    ] {
        let answer = oss.send("GET", &format!("/examplebucket/?{invalid}"), &[], b"");
        expect(&answer, 400, "InvalidArgument", "0017-00000201");
    }
}

#[test]
fn v1_accepts_token_in_unsigned_header() {
    let emulator = start();
    let upload = emulator.session(UPLOAD, None);
    Oss::new(&emulator, &upload).send("PUT", "/examplebucket/k", &[], b"x");
    let mut read = emulator.session(READ, None);
    let oss = Oss::new(&emulator, &read);
    assert_eq!(oss.send("GET", "/examplebucket/k", &[], b"").status, 200);
    assert_eq!(oss.send("GET", "/examplebucket/", &[], b"").status, 200);
    assert_eq!(oss.send("PUT", "/examplebucket/k", &[], b"y").status, 403);
    let token = read.token.take().unwrap();
    let mut oss = Oss::new(&emulator, &read);
    oss.version = 1;
    let answer = oss.send(
        "GET",
        "/examplebucket/k",
        &[("security-token", &token)],
        b"",
    );
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[test]
fn object_sizes_are_limited_by_named_errors() {
    let emulator = start();
    let session = emulator.session(UPLOAD, None);
    let oss = Oss::new(&emulator, &session);
    let largest = vec![b'x'; stsd_emulator::MAX_OBJECT_BYTES];
    for index in 0..12 {
        let answer = oss.send("PUT", &format!("/examplebucket/{index}"), &[], &largest);
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    let full = oss.send("PUT", "/examplebucket/12", &[], &largest);
    expect(&full, 403, "QuotaExceeded", "0016-00000900");
    // Replaced and deleted objects free their bytes.
    assert_eq!(
        oss.send("PUT", "/examplebucket/0", &[], &largest).status,
        200
    );
    assert_eq!(oss.send("DELETE", "/examplebucket/0", &[], b"").status, 204);
    assert_eq!(
        oss.send("PUT", "/examplebucket/12", &[], &largest).status,
        200
    );
    let mut larger = largest;
    larger.push(b'x');
    let answer = oss.send("PUT", "/examplebucket/0", &[], &larger);
    expect(&answer, 400, "EntityTooLarge", "0016-00000605");
}

#[test]
fn refused_call_issues_no_session() {
    let emulator = start();
    let mut call = Call::assume(&emulator, UPLOAD);
    call.signature = Some("AAAA".to_owned());
    assert_eq!(call.send().status, 400);
    assert_eq!(emulator.stats()["sessions_live"], 0);
}

fn long_lived_key() -> Credentials {
    Credentials {
        id: KEY.to_owned(),
        secret: SECRET.to_owned(),
        token: None,
    }
}

/// Returns the code of an error, from the body or, for `HEAD`, from the header.
fn code(answer: &Answer) -> String {
    document(answer).element("Code")
}

fn document(answer: &Answer) -> Answer {
    let body = match answer.header("x-oss-err") {
        Some(text) => base64::engine::general_purpose::STANDARD
            .decode(text)
            .unwrap(),
        None => answer.body.clone(),
    };
    Answer {
        status: answer.status,
        headers: Vec::new(),
        body,
    }
}

fn expect(answer: &Answer, status: u16, code: &str, ec: &str) {
    let document = document(answer);
    assert_eq!(document.element("Code"), code, "{}", document.text());
    assert_eq!(answer.status, status, "{}", document.text());
    assert_eq!(document.element("EC"), ec);
    assert_eq!(answer.header("x-oss-ec"), Some(ec));
    assert_eq!(
        answer.header("x-oss-request-id"),
        Some(document.element("RequestId").as_str())
    );
    assert_eq!(answer.header("date"), Some("Thu, 01 Jan 2026 00:00:00 GMT"));
}
