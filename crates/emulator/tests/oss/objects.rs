//! Objects, buckets and lists.

use crate::{
    code, expect,
    kit::{Answer, Call, Oss, READ, UPLOAD, exchange, start},
};

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
