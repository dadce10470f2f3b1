//! Multipart uploads: the object that they make, their lists, their errors and their rights.

use crate::{
    expect,
    kit::{Answer, Credentials, Oss, TestEmulator, UPLOAD, start},
};

const KEY: &str = "/examplebucket/big%20file";

/// The smallest part before the last one.
const PART_BYTES: usize = 100 * 1024;

/// An upload that one session has initiated.
struct Upload<'a> {
    oss: Oss<'a>,
    id: String,
}

impl<'a> Upload<'a> {
    fn initiate(emulator: &'a TestEmulator, session: &'a Credentials) -> Self {
        let oss = Oss::new(emulator, session);
        let headers = [("content-type", "text/x"), ("x-oss-meta-a", "1")];
        let answer = oss.send("POST", &format!("{KEY}?uploads"), &headers, b"");
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.element("Bucket"), "examplebucket");
        assert_eq!(answer.element("Key"), "big file");
        let id = answer.element("UploadId");
        assert_eq!(id.len(), 32);
        Self { oss, id }
    }

    fn put(&self, number: u32, body: &[u8]) -> Answer {
        let target = format!("{KEY}?partNumber={number}&uploadId={}", self.id);
        self.oss.send("PUT", &target, &[], body)
    }

    /// Uploads a part; returns its ETag, with quotes.
    fn etag(&self, number: u32, body: &[u8]) -> String {
        let answer = self.put(number, body);
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.header("etag").unwrap().to_owned()
    }

    fn complete(&self, parts: &[(u32, &str)]) -> Answer {
        let part = |(number, etag): &(u32, &str)| {
            format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>")
        };
        let parts: String = parts.iter().map(part).collect();
        let body = format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>");
        self.send("POST", body.as_bytes())
    }

    fn send(&self, method: &str, body: &[u8]) -> Answer {
        let target = format!("{KEY}?uploadId={}", self.id);
        self.oss.send(method, &target, &[], body)
    }
}

#[test]
fn parts_of_several_sessions_make_one_object() {
    for version in [1, 4] {
        let emulator = start();
        let sessions: Vec<_> = (0..3).map(|_| emulator.session(UPLOAD, None)).collect();
        let mut upload = Upload::initiate(&emulator, &sessions[0]);
        upload.oss.version = version;
        let first = upload.etag(2, &[b'a'; PART_BYTES]);
        upload.oss.credentials = &sessions[1];
        let last = upload.etag(10_000, b"end");
        assert_eq!(last, "\"7F021A1415B86F2D013B2618FB31AE53\"");
        upload.oss.credentials = &sessions[2];
        let done = upload.complete(&[(2, &first), (10_000, last.trim_matches('"'))]);
        assert_eq!(done.status, 200, "{}", done.text());
        let etag = done.element("ETag").replace("&quot;", "\"");
        assert!(etag.ends_with("-2\""), "{etag}");
        let found = upload.oss.send("GET", KEY, &[], b"");
        assert_eq!(found.body.len(), PART_BYTES + 3);
        assert!(found.body.ends_with(b"aend"));
        assert_eq!(found.header("etag"), Some(etag.as_str()));
        assert_eq!(found.header("content-type"), Some("text/x"));
        assert_eq!(found.header("x-oss-meta-a"), Some("1"));
        assert_eq!(found.header("x-oss-object-type"), Some("Multipart"));
        assert_eq!(
            found.header("x-oss-hash-crc64ecma"),
            done.header("x-oss-hash-crc64ecma")
        );
        // The upload has ended.
        expect(&upload.put(1, b"x"), 404, "NoSuchUpload", "0042-00000002");
    }
}

#[test]
fn etag_and_checksum_of_known_content_are_those_of_oss() {
    let emulator = start();
    let session = emulator.session(UPLOAD, None);
    let upload = Upload::initiate(&emulator, &session);
    let answer = upload.put(1, b"123456789");
    // The check value of CRC-64/XZ in the catalogue of CRC algorithms.
    let crc = 0x995d_c9bb_df19_39fa_u64.to_string();
    assert_eq!(answer.header("x-oss-hash-crc64ecma"), Some(crc.as_str()));
    let etag = answer.header("etag").unwrap();
    assert_eq!(etag, "\"25F9E794323B453885F5181F1B624D0B\"");
    let done = upload.complete(&[(1, etag)]);
    // MD5 of the 16 bytes above, and the number of parts.
    assert_eq!(
        done.header("etag"),
        Some("\"5927C5D64D94A5786F90003AA26D0159-1\"")
    );
}

#[test]
fn replaced_part_and_omitted_part_are_not_in_the_object() {
    let emulator = start();
    let session = emulator.session(UPLOAD, None);
    let upload = Upload::initiate(&emulator, &session);
    let replaced = upload.etag(1, b"old");
    let kept = upload.etag(1, b"new");
    upload.etag(2, b"omitted");
    let answer = upload.complete(&[(1, &replaced)]);
    expect(&answer, 400, "InvalidPart", "0000-00000000");
    assert_eq!(upload.complete(&[(1, &kept)]).status, 200);
    assert_eq!(upload.oss.send("GET", KEY, &[], b"").text(), "new");
}

#[test]
fn completion_errors_are_those_of_oss() {
    let emulator = start();
    let session = emulator.session(UPLOAD, None);
    let upload = Upload::initiate(&emulator, &session);
    let small = upload.etag(1, &[b'a'; PART_BYTES - 1]);
    let last = upload.etag(2, b"b");
    let check = |parts: &[(u32, &str)], code, ec| expect(&upload.complete(parts), 400, code, ec);
    check(
        &[(1, &small), (2, &last)],
        "EntityTooSmall",
        "0042-00000213",
    );
    check(
        &[(2, &last), (1, &small)],
        "InvalidPartOrder",
        "0042-00000209",
    );
    check(
        &[(1, &small), (1, &small)],
        "InvalidPartOrder",
        "0042-00000209",
    );
    check(&[(3, &last)], "InvalidPart", "0000-00000000");
    check(&[(1, &last)], "InvalidPart", "0000-00000000");
    check(&[], "MalformedXML", "0000-00000000");
    check(&[(0, &last)], "InvalidArgument", "0017-00000220");
    check(&[(10_001, &last)], "InvalidArgument", "0017-00000220");
    let answer = upload.send("POST", b"<Part><PartNumber>1</PartNumber></Part>");
    expect(&answer, 400, "MalformedXML", "0000-00000000");
    let answer = upload.send("POST", b"\xff");
    expect(&answer, 400, "MalformedXML", "0000-00000000");
    // The upload is still there.
    assert_eq!(upload.complete(&[(2, &last)]).status, 200);
}

#[test]
fn all_parts_are_completed_on_request() {
    let emulator = start();
    let session = emulator.session(UPLOAD, None);
    let upload = Upload::initiate(&emulator, &session);
    upload.etag(3, b"end");
    upload.etag(1, &[b'a'; PART_BYTES]);
    let target = format!("{KEY}?uploadId={}", upload.id);
    let all = [("x-oss-complete-all", "yes")];
    let with_body = upload.oss.send("POST", &target, &all, b"<x/>");
    expect(&with_body, 400, "InvalidArgument", "0017-00000201");
    assert_eq!(upload.oss.send("POST", &target, &all, b"").status, 200);
    let found = upload.oss.send("GET", KEY, &[], b"");
    assert_eq!(found.body.len(), PART_BYTES + 3);
}

#[test]
fn invalid_part_is_refused() {
    let emulator = start();
    let session = emulator.session(UPLOAD, None);
    let upload = Upload::initiate(&emulator, &session);
    for number in ["0", "10001", "x", ""] {
        let target = format!("{KEY}?partNumber={number}&uploadId={}", upload.id);
        let answer = upload.oss.send("PUT", &target, &[], b"x");
        expect(&answer, 400, "InvalidArgument", "0017-00000220");
    }
    let target = format!("{KEY}?partNumber=1&uploadId={}", upload.id);
    let digest = [("content-md5", "AAAA")];
    let answer = upload.oss.send("PUT", &target, &digest, b"x");
    expect(&answer, 400, "InvalidDigest", "0016-00000501");
    // An upload belongs to one key.
    let target = format!("/examplebucket/other?partNumber=1&uploadId={}", upload.id);
    let answer = upload.oss.send("PUT", &target, &[], b"x");
    expect(&answer, 404, "NoSuchUpload", "0042-00000002");
}

#[test]
fn aborted_upload_is_gone() {
    let emulator = start();
    let session = emulator.session(UPLOAD, None);
    let upload = Upload::initiate(&emulator, &session);
    upload.etag(1, b"x");
    assert_eq!(upload.send("DELETE", b"").status, 204);
    for method in ["DELETE", "GET"] {
        let answer = upload.send(method, b"");
        expect(&answer, 404, "NoSuchUpload", "0042-00000002");
    }
    let list = upload.oss.send("GET", "/examplebucket/?uploads", &[], b"");
    assert!(list.elements("Upload").is_empty());
}

#[test]
fn parts_are_copied_from_an_object() {
    let emulator = start();
    let session = emulator.session(UPLOAD, None);
    let upload = Upload::initiate(&emulator, &session);
    upload
        .oss
        .send("PUT", "/examplebucket/source", &[], b"0123456789");
    let copy = |headers: &[(&str, &str)]| {
        let target = format!("{KEY}?partNumber=1&uploadId={}", upload.id);
        upload.oss.send("PUT", &target, headers, b"")
    };
    let source = ("x-oss-copy-source", "/examplebucket/source");
    let range = |range| copy(&[source, ("x-oss-copy-source-range", range)]);
    expect(&range("bytes=10-12"), 416, "InvalidRange", "0026-00000021");
    expect(&range("2-4"), 400, "InvalidArgument", "0017-00000201");
    let copied = range("bytes=2-4");
    assert_eq!(copied.status, 200, "{}", copied.text());
    let etag = copied.element("ETag").replace("&quot;", "\"");
    assert_eq!(upload.complete(&[(1, &etag)]).status, 200);
    assert_eq!(upload.oss.send("GET", KEY, &[], b"").text(), "234");
}

#[test]
fn parts_are_listed_in_pages() {
    let emulator = start();
    let session = emulator.session(UPLOAD, None);
    let upload = Upload::initiate(&emulator, &session);
    for number in [7, 1, 3] {
        upload.etag(number, &vec![b'x'; number as usize]);
    }
    let list = |query: &str| {
        let target = format!("{KEY}?uploadId={}{query}", upload.id);
        upload.oss.send("GET", &target, &[], b"")
    };
    let all = list("&encoding-type=url");
    assert_eq!(all.elements("PartNumber"), ["1", "3", "7"]);
    assert_eq!(all.elements("Size"), ["1", "3", "7"]);
    assert_eq!(all.element("IsTruncated"), "false");
    assert_eq!(all.element("Key"), "big%20file");
    let page = list("&max-parts=1&part-number-marker=1");
    assert_eq!(page.elements("PartNumber"), ["3"]);
    assert_eq!(page.element("NextPartNumberMarker"), "3");
    assert_eq!(page.element("IsTruncated"), "true");
    for invalid in ["&max-parts=0", "&max-parts=1001", "&encoding-type=x"] {
        expect(&list(invalid), 400, "InvalidArgument", "0017-00000201");
    }
}

#[test]
fn uploads_are_listed_in_pages() {
    let emulator = start();
    let session = emulator.session(UPLOAD, None);
    let oss = Oss::new(&emulator, &session);
    for key in ["a/1", "a/2", "b", "b", "c"] {
        oss.send("POST", &format!("/examplebucket/{key}?uploads"), &[], b"");
    }
    let list = |query: &str| oss.send("GET", &format!("/examplebucket/?uploads{query}"), &[], b"");
    assert_eq!(list("").elements("Key"), ["a/1", "a/2", "b", "b", "c"]);
    assert_eq!(list("&prefix=a/").elements("Key"), ["a/1", "a/2"]);
    // Page after page, no entry is missing or repeated.
    let mut seen = Vec::new();
    let mut markers = String::new();
    loop {
        let page = list(&format!("&delimiter=/&max-uploads=1{markers}"));
        seen.extend(page.elements("Key"));
        // The first one is the prefix of the request.
        seen.extend(page.elements("Prefix").split_off(1));
        if page.element("IsTruncated") == "false" {
            break;
        }
        markers = format!(
            "&key-marker={}&upload-id-marker={}",
            page.element("NextKeyMarker"),
            page.element("NextUploadIdMarker")
        );
    }
    assert_eq!(seen, ["a/", "b", "b", "c"]);
    expect(
        &list("&max-uploads=0"),
        400,
        "InvalidArgument",
        "0017-00000201",
    );
}

/// Checks the calls that a session with one action may make: `i`nitiate, `p`ut a part, list
/// p`a`rts, list `u`ploads, a`b`ort, `c`omplete.
fn check_rights(action: &str, allowed: &str) {
    let emulator = start();
    let owner = emulator.session(UPLOAD, None);
    let upload = Upload::initiate(&emulator, &owner);
    let policy = format!(
        r#"{{"Version":"1","Statement":{{"Effect":"Allow","Action":"{action}","Resource":"*"}}}}"#
    );
    let narrow = emulator.session(UPLOAD, Some(&policy));
    let oss = Oss::new(&emulator, &narrow);
    let id = &upload.id;
    let mut found = String::new();
    for (letter, method, target) in [
        ('i', "POST", format!("{KEY}?uploads")),
        ('p', "PUT", format!("{KEY}?partNumber=1&uploadId={id}")),
        ('a', "GET", format!("{KEY}?uploadId={id}")),
        ('u', "GET", "/examplebucket/?uploads".to_owned()),
        ('b', "DELETE", format!("{KEY}?uploadId={id}")),
        ('c', "POST", format!("{KEY}?uploadId={id}")),
    ] {
        let answer = oss.send(method, &target, &[], b"");
        match answer.status {
            403 => expect(&answer, 403, "AccessDenied", "0003-00000001"),
            _ => found.push(letter),
        }
    }
    assert_eq!(found, allowed, "{action}");
}

#[test]
fn policy_decides_each_call_of_an_upload() {
    check_rights("oss:PutObject", "ipc");
    check_rights("oss:ListParts", "a");
    check_rights("oss:ListMultipartUploads", "u");
    check_rights("oss:AbortMultipartUpload", "b");
    check_rights("oss:GetObject", "");
    check_rights("oss:*", "ipaubc");
}
