//! The emulated OSS as AWS SDKs meet it: their signatures, and refusals in their words.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod kit;

use std::time::Duration;

use kit::{Answer, Cloud, Credentials, UPLOAD, cloud, cloud_of, raw, request_bytes};
use sha2::{Digest as _, Sha256};
use stsd_emulator::{
    account::model as world,
    http::request::HttpRequest,
    oss::{object_address::Place, signature::Claim},
};

const UNSIGNED: &str = "UNSIGNED-PAYLOAD";

/// One call, good until a test spoils it.
struct S3<'a> {
    cloud: &'a Cloud,
    credentials: Credentials,
    region: &'a str,
    /// `x-amz-content-sha256`; the body's own hash when it is empty.
    hash: &'a str,
    signed: &'a str,
    /// Headers beside the signature's own.
    more: &'a [(&'a str, &'a str)],
}

impl<'a> S3<'a> {
    fn new(cloud: &'a Cloud) -> Self {
        Self {
            cloud,
            credentials: cloud.session(UPLOAD, None),
            region: "cn-hongkong",
            hash: "",
            signed: "host;x-amz-content-sha256;x-amz-date;x-amz-security-token",
            more: &[],
        }
    }

    fn send(&self, method: &str, target: &str, body: &[u8]) -> Answer {
        let date = self.cloud.clock.now();
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
            ("host", "127.0.0.1"),
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
        let signature = match Claim::read(&request, &Place::of(&request, |_| true)) {
            Ok(claim) => claim.unwrap().signature_by(&self.credentials.secret),
            // The server is to say what is wrong with it.
            Err(_) => "0".to_owned(),
        };
        let authorization = draft.replace("Signature=0", &format!("Signature={signature}"));
        all.push(("authorization", &authorization));
        let bytes = request_bytes(method, target, &all, body);
        Answer::read(&raw(self.cloud.oss(), &bytes))
    }

    #[track_caller]
    fn refused(&self, status: u16, code: &str) {
        let answer = self.send("PUT", "/examplebucket/k", b"x");
        assert_eq!(answer.status, status, "{}", answer.text());
        assert_eq!(answer.element("Code"), code);
    }

    #[track_caller]
    fn refused_after(mut self, spoil: impl FnOnce(&mut Self), status: u16, code: &str) {
        spoil(&mut self);
        self.refused(status, code);
    }
}

#[test]
fn an_object_that_aws_sdks_put_is_the_one_that_oss_sdks_find() {
    let cloud = cloud();
    let mut s3 = S3::new(&cloud);
    let put = s3.send("PUT", "/examplebucket/a%20b", b"hello");
    assert_eq!(put.status, 200, "{}", put.text());
    assert_eq!(
        put.header("etag"),
        Some("\"5D41402ABC4B2A76B9719D911017C592\"")
    );
    let found =
        kit::Oss::new(&cloud, &s3.credentials).send("GET", "/examplebucket/a%20b", &[], b"");
    assert_eq!(found.text(), "hello");
    // What is not signed for may be anything; the region may have the endpoint's name.
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
fn what_is_wrong_is_refused_in_the_words_of_s3() {
    let cloud = cloud();
    let s3 = || S3::new(&cloud);
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
    // Who could add a header without a signature could add a token, or a date.
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
        |it| it.credentials = cloud.session(kit::READ, None),
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
fn a_session_that_is_over_is_an_expired_token() {
    let cloud = cloud_of(world::BUILT_IN, Some(Duration::from_secs(60)));
    let s3 = S3::new(&cloud);
    assert_eq!(s3.send("PUT", "/examplebucket/k", b"x").status, 200);
    cloud.clock.advance(Duration::from_secs(61));
    s3.refused(400, "ExpiredToken");
    let stats = cloud.stats();
    let put = &stats["calls"]["oss:PutObject"];
    assert_eq!(put["SecurityTokenExpired"], 1, "{stats}");
}
