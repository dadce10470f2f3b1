//! The emulated OSS for AWS SDKs: AWS signatures, and the error codes of S3.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod kit;

use std::time::Duration;

use kit::{Answer, Credentials, TestEmulator, UPLOAD, raw, request_bytes, start, start_with};
use sha2::{Digest as _, Sha256};
use stsd_emulator::{account, http::request::HttpRequest, oss::signature};

const UNSIGNED: &str = "UNSIGNED-PAYLOAD";

/// One call, valid unless a test changes a field.
struct S3<'a> {
    emulator: &'a TestEmulator,
    credentials: Credentials,
    region: &'a str,
    host: &'a str,
    /// `x-amz-content-sha256`; the hash of the body if empty.
    hash: &'a str,
    signed: &'a str,
    /// Headers beside those of the signature.
    more: &'a [(&'a str, &'a str)],
}

impl<'a> S3<'a> {
    fn new(emulator: &'a TestEmulator) -> Self {
        Self {
            emulator,
            credentials: emulator.session(UPLOAD, None),
            region: "cn-hongkong",
            host: "127.0.0.1",
            hash: "",
            signed: "host;x-amz-content-sha256;x-amz-date;x-amz-security-token",
            more: &[],
        }
    }

    fn send(&self, method: &str, target: &str, body: &[u8]) -> Answer {
        let date = self.emulator.clock.now();
        let date = date.strftime("%Y%m%dT%H%M%SZ").to_string();
        let digest: String = Sha256::digest(body)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let hash = match self.hash {
            "" => &digest,
            hash => hash,
        };
        let draft = format!(
            "AWS4-HMAC-SHA256 Credential={}/{}/{}/s3/aws4_request, SignedHeaders={}, Signature=0",
            self.credentials.id,
            &date[..8],
            self.region,
            self.signed
        );
        let mut all = vec![
            ("host", self.host),
            ("x-amz-date", &date),
            ("x-amz-content-sha256", hash),
        ];
        if let Some(token) = &self.credentials.token {
            all.push(("x-amz-security-token", token));
        }
        all.extend_from_slice(self.more);
        let mut unsigned = all.clone();
        unsigned.push(("authorization", &draft));
        let request = HttpRequest::new(method, target, unsigned, body.to_vec());
        let signature = match signature::parse(
            &request,
            &signature::signed_address(&request, |_| true, |_| None),
        ) {
            Ok(claim) => claim.unwrap().expected(&self.credentials.secret),
            // The response of the server is the subject of the test.
            Err(_) => "0".to_owned(),
        };
        let authorization = draft.replace("Signature=0", &format!("Signature={signature}"));
        all.push(("authorization", &authorization));
        let bytes = request_bytes(method, target, &all, body);
        Answer::read(&raw(self.emulator.oss(), &bytes))
    }

    #[track_caller]
    fn refused(&self, status: u16, code: &str) {
        let answer = self.send("PUT", "/examplebucket/k", b"x");
        assert_eq!(answer.status, status, "{}", answer.text());
        assert_eq!(answer.element("Code"), code);
    }

    #[track_caller]
    fn refused_after(mut self, change: impl FnOnce(&mut Self), status: u16, code: &str) {
        change(&mut self);
        self.refused(status, code);
    }
}

#[test]
fn object_put_by_aws_signature_is_read_by_oss_signature() {
    let emulator = start();
    let mut s3 = S3::new(&emulator);
    let put = s3.send("PUT", "/examplebucket/a%20b", b"hello");
    assert_eq!(put.status, 200, "{}", put.text());
    assert_eq!(
        put.header("etag"),
        Some("\"5D41402ABC4B2A76B9719D911017C592\"")
    );
    let found =
        kit::Oss::new(&emulator, &s3.credentials).send("GET", "/examplebucket/a%20b", &[], b"");
    assert_eq!(found.text(), "hello");
    // An unsigned payload may have any hash; the region may have the prefix `oss-`.
    s3.hash = UNSIGNED;
    s3.region = "oss-cn-hongkong";
    assert_eq!(s3.send("PUT", "/examplebucket/a%20b", b"again").status, 200);
    let list = s3.send(
        "GET",
        "/examplebucket?list-type=2&prefix=a%20&encoding-type=url",
        b"",
    );
    assert_eq!(list.elements("Key"), ["a%20b"]);
    assert_eq!(s3.send("HEAD", "/examplebucket/a%20b", b"").status, 200);
    assert_eq!(s3.send("DELETE", "/examplebucket/a%20b", b"").status, 204);
    let gone = s3.send("GET", "/examplebucket/a%20b", b"");
    assert_eq!(
        (gone.status, gone.element("Code")),
        (404, "NoSuchKey".into())
    );
    assert!(gone.header("x-amz-request-id").is_some());
}

#[test]
fn aws_signature_carries_multipart_upload_and_virtual_host() {
    let emulator = start();
    let mut s3 = S3::new(&emulator);
    s3.host = "examplebucket.s3.oss-cn-hongkong.aliyuncs.com";
    assert_eq!(s3.send("HEAD", "/", b"").status, 200);
    assert_eq!(s3.send("PUT", "/", b"").status, 200);
    let key = "/otherbucket/k";
    let started = s3.send("POST", &format!("{key}?uploads="), b"");
    let id = started.element("UploadId");
    let mut parts = String::new();
    for (number, body) in [(1, vec![b'a'; 100 * 1024]), (2, b"end".to_vec())] {
        let target = format!("{key}?partNumber={number}&uploadId={id}&x-id=UploadPart");
        let answer = s3.send("PUT", &target, &body);
        assert_eq!(answer.status, 200, "{}", answer.text());
        let etag = answer.header("etag").unwrap().replace('"', "&#34;");
        parts.push_str(&format!(
            "<Part><ETag>{etag}</ETag><PartNumber>{number}</PartNumber></Part>"
        ));
    }
    let body = format!("<CompleteMultipartUpload xmlns=\"x\">{parts}</CompleteMultipartUpload>");
    let done = s3.send("POST", &format!("{key}?uploadId={id}"), body.as_bytes());
    assert_eq!(done.status, 200, "{}", done.text());
    s3.host = "127.0.0.1";
    let found = s3.send("GET", &format!("/examplebucket{key}"), b"");
    assert_eq!(found.body.len(), 100 * 1024 + 3);
    s3.more = &[("x-amz-copy-source", "examplebucket/otherbucket/k")];
    s3.signed = "host;x-amz-content-sha256;x-amz-copy-source;x-amz-date;x-amz-security-token";
    let copied = s3.send("PUT", "/examplebucket/copy", b"");
    assert_eq!(copied.status, 200, "{}", copied.text());
}

#[test]
fn invalid_aws_request_has_error_code_of_s3() {
    let emulator = start();
    let s3 = || S3::new(&emulator);
    s3().refused_after(
        |it| it.credentials.secret.push('x'),
        403,
        "SignatureDoesNotMatch",
    );
    s3().refused_after(|it| it.credentials.id.push('x'), 403, "InvalidAccessKeyId");
    s3().refused_after(
        |it| it.credentials.token = Some("x".into()),
        400,
        "InvalidToken",
    );
    s3().refused_after(|it| it.hash = "00", 400, "XAmzContentSHA256Mismatch");
    s3().refused_after(
        |it| it.hash = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
        501,
        "NotImplemented",
    );
    s3().refused_after(|it| it.region = "cn-hangzhou", 400, "InvalidArgument");
    // An unsigned header of `x-amz-` could be a forged token or date.
    s3().refused_after(
        |it| it.signed = "host;x-amz-content-sha256;x-amz-date",
        403,
        "AccessDenied",
    );
    s3().refused_after(
        |it| it.signed = "x-amz-content-sha256;x-amz-date;x-amz-security-token",
        403,
        "AccessDenied",
    );
    s3().refused_after(
        |it| it.more = &[("x-amz-acl", "private")],
        403,
        "AccessDenied",
    );
    s3().refused_after(
        |it| it.credentials = emulator.session(kit::READ, None),
        403,
        "AccessDenied",
    );
    s3().refused_after(
        |it| {
            it.credentials.token = None;
            it.signed = "host;x-amz-content-sha256;x-amz-date";
        },
        403,
        "InvalidAccessKeyId",
    );
}

#[test]
fn expired_session_is_expired_token() {
    let emulator = start_with(account::DEFAULT_MODEL, Some(Duration::from_secs(60)));
    let s3 = S3::new(&emulator);
    assert_eq!(s3.send("PUT", "/examplebucket/k", b"x").status, 200);
    emulator.clock.advance(Duration::from_secs(61));
    s3.refused(400, "ExpiredToken");
    let stats = emulator.stats();
    let put = &stats["calls"]["oss:PutObject"];
    assert_eq!(put["SecurityTokenExpired"], 1, "{stats}");
}
