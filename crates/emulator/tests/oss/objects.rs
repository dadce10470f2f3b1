//! Objects, buckets and lists.

use crate::{
    code, expect,
    kit::{Answer, Call, Oss, READ, UPLOAD, exchange, raw, start},
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

/// ali-oss names the bucket in the path and in `Host`, if its endpoint is the address of a machine.
#[test]
fn signature_decides_between_path_and_host() {
    for version in [1, 4] {
        let emulator = start();
        let session = emulator.session(UPLOAD, None);
        let mut oss = Oss::new(&emulator, &session);
        oss.version = version;
        oss.signs_path = true;
        for bucket in ["examplebucket", "otherbucket"] {
            let host = format!("{bucket}.oss-cn-hongkong.aliyuncs.com");
            let put = oss.send("PUT", "/examplebucket/k", &[("host", &host)], b"by path");
            assert_eq!(put.status, 200, "{}", put.text());
        }
        let get = oss.send("GET", "/examplebucket/k", &[], b"");
        assert_eq!(get.text(), "by path");
        let host = ("host", "examplebucket.oss-cn-hongkong.aliyuncs.com");
        let list = oss.send("GET", "/examplebucket/", &[host], b"");
        assert_eq!(list.elements("Key"), ["k"]);
        // Counted by the reading that was signed.
        let calls = &emulator.stats()["calls"];
        assert_eq!(calls["oss:ListObjects"]["ok"], 1, "{calls}");
    }
}

#[test]
fn unsigned_request_is_read_by_its_host() {
    let emulator = start();
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
fn body_announced_as_too_large_is_refused_unread() {
    let emulator = start();
    let session = emulator.session(UPLOAD, None);
    let bytes = Oss::new(&emulator, &session).bytes("PUT", "/examplebucket/k", &[], b"");
    let announced = format!("content-length: {}\r\n", stsd_emulator::MAX_BODY_BYTES + 1);
    let text = String::from_utf8(bytes).unwrap();
    let text = text.replace("content-length: 0\r\n", &announced);
    let answer = Answer::read(&raw(emulator.oss(), text.as_bytes()));
    expect(&answer, 400, "EntityTooLarge", "0016-00000605");
}

#[test]
fn object_is_not_replaced_if_the_request_forbids_it() {
    let emulator = start();
    let session = emulator.session(UPLOAD, None);
    let oss = Oss::new(&emulator, &session);
    let forbid = [("x-oss-forbid-overwrite", "true")];
    let put = |body: &[u8]| oss.send("PUT", "/examplebucket/k", &forbid, body);
    assert_eq!(put(b"first").status, 200);
    expect(&put(b"second"), 409, "FileAlreadyExists", "0000-00000000");
    let copy = [forbid[0], ("x-oss-copy-source", "/examplebucket/k")];
    let copy = oss.send("PUT", "/examplebucket/k", &copy, b"");
    expect(&copy, 409, "FileAlreadyExists", "0000-00000000");
    let started = oss.send("POST", "/examplebucket/k?uploads", &forbid, b"");
    expect(&started, 409, "FileAlreadyExists", "0000-00000000");
    let found = oss.send("GET", "/examplebucket/k", &[], b"");
    assert_eq!(found.text(), "first");
}

#[test]
fn reply_headers_are_replaced_by_parameters() {
    let emulator = start();
    let session = emulator.session(UPLOAD, None);
    let oss = Oss::new(&emulator, &session);
    oss.send("PUT", "/examplebucket/k", &[], b"x");
    let target = "/examplebucket/k?response-content-type=text%2Fcsv\
                  &response-content-disposition=attachment";
    let answer = oss.send("GET", target, &[], b"");
    assert_eq!(answer.header("content-type"), Some("text/csv"));
    assert_eq!(answer.header("content-disposition"), Some("attachment"));
}

#[test]
fn copy_needs_rights_on_source_and_target() {
    let emulator = start();
    let session = emulator.session(UPLOAD, None);
    let oss = Oss::new(&emulator, &session);
    let kind = [("content-type", "text/x"), ("x-oss-meta-a", "1")];
    oss.send("PUT", "/examplebucket/a%20b", &kind, b"copied");
    let copy = |headers: &[(&str, &str)]| oss.send("PUT", "/examplebucket/c", headers, b"");
    let source = ("x-oss-copy-source", "/examplebucket/a%20b");
    let answer = copy(&[source]);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let found = oss.send("GET", "/examplebucket/c", &[], b"");
    assert_eq!(found.text(), "copied");
    assert_eq!(found.header("content-type"), Some("text/x"));
    assert_eq!(found.header("x-oss-meta-a"), Some("1"));
    let replaced = [source, ("x-oss-metadata-directive", "REPLACE")];
    assert_eq!(copy(&replaced).status, 200);
    let found = oss.send("HEAD", "/examplebucket/c", &[], b"");
    assert_eq!(found.header("x-oss-meta-a"), None);
    for (source, status, expected) in [
        ("/examplebucket/absent", 404, "NoSuchKey"),
        ("/absent/k", 404, "NoSuchBucket"),
        ("/otherbucket/k", 403, "AccessDenied"),
        ("examplebucket/a", 400, "InvalidArgument"),
        ("/examplebucket", 400, "InvalidArgument"),
        ("/examplebucket/a?versionId=1", 501, "NotImplemented"),
    ] {
        let answer = copy(&[("x-oss-copy-source", source)]);
        assert_eq!(
            (answer.status, code(&answer)),
            (status, expected.to_owned())
        );
    }
}

#[test]
fn listed_keys_are_deleted_if_each_is_allowed() {
    let emulator = start();
    let session = emulator.session(UPLOAD, None);
    let oss = Oss::new(&emulator, &session);
    for key in ["a", "b", "c%26"] {
        oss.send("PUT", &format!("/examplebucket/{key}"), &[], b"x");
    }
    let delete =
        |oss: &Oss, body: &str| oss.send("POST", "/examplebucket/?delete", &[], body.as_bytes());
    let all = "<Delete><Object><Key>a</Key></Object><Object><Key>c&amp;</Key></Object></Delete>";
    let narrow = r#"{"Version":"1","Statement":{"Effect":"Allow","Action":"oss:DeleteObject","Resource":"acs:oss:*:*:examplebucket/a"}}"#;
    let narrow = emulator.session(UPLOAD, Some(narrow));
    let refused = delete(&Oss::new(&emulator, &narrow), all);
    expect(&refused, 403, "AccessDenied", "0003-00000001");
    let done = delete(&oss, all);
    assert_eq!(done.status, 200, "{}", done.text());
    assert_eq!(done.elements("Key"), ["a", "c&amp;"]);
    let left = oss.send("GET", "/examplebucket/", &[], b"");
    assert_eq!(left.elements("Key"), ["b"]);
    let quiet = "<Delete><Quiet>true</Quiet><Object><Key>b</Key></Object></Delete>";
    assert!(delete(&oss, quiet).elements("Key").is_empty());
    for invalid in ["", "<Delete/>", "<Delete><Object><Key/></Object></Delete>"] {
        expect(&delete(&oss, invalid), 400, "MalformedXML", "0000-00000000");
    }
}

#[test]
fn refused_call_issues_no_session() {
    let emulator = start();
    let mut call = Call::assume(&emulator, UPLOAD);
    call.signature = Some("AAAA".to_owned());
    assert_eq!(call.send().status, 400);
    assert_eq!(emulator.stats()["sessions_live"], 0);
}
