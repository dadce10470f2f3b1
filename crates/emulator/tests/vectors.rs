//! The emulator's parsers and verifiers, on signatures that were recorded from the official SDKs
//! and on a few from the vendor's pages.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod kit;

use kit::{Answer, form, raw, request_bytes, start_at};
use serde_json::Value;
use stsd_emulator::{http::request::HttpRequest, oss::signature, sts::signature as sts_signature};

/// The time at which the SDKs' clocks stood still.
const FROZEN: &str = "2024-03-05T06:07:08Z";

/// The account model for the long-lived key of the recorded requests.
const ACCOUNT: &str = r#"
account = "1234567890123456"
[[user]]
name = "recorded"
policy = '{"Version":"1","Statement":{"Effect":"Allow","Action":"oss:*","Resource":"*"}}'
[[user.key]]
id = "LTAI-EXAMPLE-0001"
secret = "ExampleSecret0000000000000000"
[[bucket]]
name = "examplebucket"
region = "cn-hangzhou"
"#;

#[test]
fn rpc_v1_vectors_match_their_own_signature_only() {
    let (mut good, mut bad, mut unsigned) = (0, 0, 0);
    for vector in vectors(include_str!("../../../tests/vectors/rpc_v1.json"), 30) {
        let name = text(&vector, "name");
        let request = rpc_request(&vector);
        let Some(signed) = sts_signature::parse(&request).unwrap() else {
            assert!(vector["signature"].is_null(), "{name} is signed");
            unsigned += 1;
            continue;
        };
        let secret = text(&vector, "secret");
        if vector["matches_reference"] == false {
            // An SDK that escapes spaces wrongly signs another text.
            assert_ne!(
                signed.string_to_sign,
                text(&vector, "string_to_sign"),
                "{name}"
            );
            assert!(!signed.is_made_with(&secret), "{name}");
            bad += 1;
            continue;
        }
        assert_eq!(
            signed.string_to_sign,
            text(&vector, "string_to_sign"),
            "{name}"
        );
        assert_eq!(
            signed.expected(&secret),
            text(&vector, "signature"),
            "{name}"
        );
        assert!(signed.is_made_with(&secret), "{name}");
        let mut forged = signed;
        forged.signature = flipped(&forged.signature);
        assert!(!forged.is_made_with(&secret), "{name}");
        good += 1;
    }
    assert_eq!((good, bad, unsigned), (27, 2, 1));
}

#[test]
fn acs3_vectors_match_their_own_signature_only() {
    let (mut good, mut unsigned) = (0, 0);
    for vector in vectors(include_str!("../../../tests/vectors/acs3.json"), 6) {
        let name = text(&vector, "name");
        let request = acs3_request(&vector);
        let Some(signed) = sts_signature::parse(&request).unwrap() else {
            assert_eq!(vector["anonymous"], true, "{name} is signed");
            unsigned += 1;
            continue;
        };
        let secret = text(&vector, "secret");
        assert_eq!(
            signed.canonical_request,
            text(&vector, "canonical_request"),
            "{name}"
        );
        assert_eq!(
            signed.string_to_sign,
            text(&vector, "string_to_sign"),
            "{name}"
        );
        assert_eq!(
            signed.expected(&secret),
            text(&vector, "signature"),
            "{name}"
        );
        assert!(signed.is_made_with(&secret), "{name}");
        let mut forged = signed;
        forged.signature = flipped(&forged.signature);
        assert!(!forged.is_made_with(&secret), "{name}");
        good += 1;
    }
    assert_eq!((good, unsigned), (5, 1));
}

#[test]
fn oss_v1_vectors_match_their_own_signature_only() {
    for vector in vectors(include_str!("../../../tests/vectors/oss_v1.json"), 40) {
        check_oss(
            &vector,
            &oss_request(&vector, |ak, _, signature| format!("OSS {ak}:{signature}")),
        );
    }
}

#[test]
fn oss_v4_vectors_match_their_own_signature_only() {
    for vector in vectors(include_str!("../../../tests/vectors/oss_v4.json"), 38) {
        let request = oss_request(&vector, |ak, scope, signature| {
            format!("OSS4-HMAC-SHA256 Credential={ak}/{scope},Signature={signature}")
        });
        check_oss(&vector, &request);
    }
}

#[test]
fn aws_v4_vectors_match_their_own_signature_only() {
    for vector in vectors(include_str!("../../../tests/vectors/s3_v4.json"), 20) {
        let request = oss_request(&vector, |_, _, _| unreachable!("all have a target"));
        check_oss(&vector, &request);
    }
}

#[test]
fn replayed_requests_of_long_lived_keys_pass_verification() {
    let mut counts = Vec::new();
    for (file, count) in [
        (include_str!("../../../tests/vectors/rpc_v1.json"), 30),
        (include_str!("../../../tests/vectors/acs3.json"), 6),
    ] {
        let mut replayed = 0;
        for vector in vectors(file, count) {
            let signed_well = vector["matches_reference"] == true;
            let wire = &vector["wire"];
            let body = wire["body_utf8"].as_str().unwrap_or_default();
            let lasting = text(&vector, "secret") == "ExampleSecret0000000000000000";
            if !wire.is_object() || !lasting || !signed_well {
                continue;
            }
            let headers = pairs(&wire["headers"]);
            let bytes = request_bytes(
                &text(wire, "method"),
                &text(wire, "target"),
                &refs(&headers),
                body.as_bytes(),
            );
            // All requests have the same nonce, so that each needs an emulator of its own.
            let emulator = start_at(ACCOUNT, None, FROZEN.parse().unwrap());
            let answer = Answer::read(&raw(emulator.sts(), &bytes));
            let code = answer.json()["Code"].as_str().unwrap_or("ok").to_owned();
            let name = text(&vector, "name");
            let past = ["ok", "EntityNotExist.Role"].contains(&code.as_str())
                || code.starts_with("InvalidParameter.")
                || code.starts_with("InvalidSecurityToken.");
            assert!(past, "{name}: {}", answer.text());
            replayed += 1;
        }
        counts.push(replayed);
    }
    for (file, count) in [
        (include_str!("../../../tests/vectors/oss_v1.json"), 40),
        (include_str!("../../../tests/vectors/oss_v4.json"), 38),
        (include_str!("../../../tests/vectors/s3_v4.json"), 20),
    ] {
        let mut replayed = 0;
        for vector in vectors(file, count) {
            if vector["target"].is_null() || vector["ak"] != "LTAI-EXAMPLE-0001" {
                continue;
            }
            let emulator = start_at(ACCOUNT, None, FROZEN.parse().unwrap());
            let headers = pairs(&vector["headers"]);
            let body = vector["body_utf8"].as_str().unwrap_or_default();
            let bytes = request_bytes(
                &text(&vector, "method"),
                &text(&vector, "target"),
                &refs(&headers),
                body.as_bytes(),
            );
            let answer = Answer::read(&raw(emulator.oss(), &bytes));
            // The emulator has no objects, and some operations are not emulated.
            let expected = [200, 204, 404, 501];
            assert!(
                expected.contains(&answer.status),
                "{}: {}",
                text(&vector, "name"),
                answer.text()
            );
            replayed += 1;
        }
        counts.push(replayed);
    }
    assert_eq!(counts, [20, 4, 17, 17, 10]);
}

fn check_oss(vector: &Value, request: &HttpRequest) {
    let name = text(vector, "name");
    let bucket = text(vector, "bucket");
    let secret = text(vector, "secret");
    let address =
        signature::signed_address(request, |known| known == bucket, |_| Some(secret.clone()));
    assert_eq!(address.bucket, bucket, "{name}");
    assert_eq!(
        address.key,
        vector["key"].as_str().unwrap_or_default(),
        "{name}"
    );
    let claim = signature::parse(request, &address).unwrap().expect(&name);
    assert_eq!(claim.access_key_id, text(vector, "ak"), "{name}");
    if let Some(canonical) = vector["canonical_request"].as_str() {
        assert_eq!(claim.canonical_request, canonical, "{name}");
    }
    assert_eq!(
        claim.string_to_sign,
        text(vector, "string_to_sign"),
        "{name}"
    );
    assert_eq!(claim.expected(&secret), text(vector, "signature"), "{name}");
    assert!(claim.is_made_with(&secret), "{name}");
    if vector["token_via"].is_array() {
        assert_eq!(
            claim.token.as_deref(),
            Some("CAISexample/+token=="),
            "{name}"
        );
    }
    let mut forged = claim;
    forged.signature = flipped(&forged.signature);
    assert!(!forged.is_made_with(&secret), "{name}");
}

/// Returns the recorded request, or a request with the parameters of a vendor's page.
fn rpc_request(vector: &Value) -> HttpRequest {
    if vector["wire"].is_object() {
        return wire_request(&vector["wire"]);
    }
    let mut parameters: Vec<(String, String)> = pairs(&vector["params"]);
    parameters.push(("Signature".to_owned(), text(vector, "signature")));
    let form = form(&parameters);
    match text(vector, "method").as_str() {
        "GET" => HttpRequest::new("GET", &format!("/?{form}"), [], Vec::new()),
        method => {
            let kind = ("content-type", "application/x-www-form-urlencoded");
            HttpRequest::new(method, "/", [kind], form.into_bytes())
        }
    }
}

fn acs3_request(vector: &Value) -> HttpRequest {
    if vector["wire"].is_object() {
        return wire_request(&vector["wire"]);
    }
    let mut headers = pairs(&vector["headers"]);
    headers.push(("Authorization".to_owned(), text(vector, "authorization")));
    let target = format!(
        "{}?{}",
        text(vector, "path"),
        form(&pairs(&vector["query"]))
    );
    HttpRequest::new(
        &text(vector, "method"),
        &target,
        refs(&headers),
        text(vector, "body").into_bytes(),
    )
}

fn wire_request(wire: &Value) -> HttpRequest {
    let headers = pairs(&wire["headers"]);
    HttpRequest::new(
        &text(wire, "method"),
        &text(wire, "target"),
        refs(&headers),
        text(wire, "body_utf8").into_bytes(),
    )
}

/// Returns the recorded request, the presigned one, or one with the values of a string to sign.
fn oss_request(vector: &Value, authorize: impl Fn(&str, &str, &str) -> String) -> HttpRequest {
    let method = text(vector, "method");
    let mut headers = pairs(&vector["headers"]);
    if let Some(target) = vector["target"].as_str() {
        let body = text(vector, "body_utf8").into_bytes();
        return HttpRequest::new(&method, target, refs(&headers), body);
    }
    if let Some(url) = vector["url"].as_str() {
        let (_, rest) = url.split_once("://").unwrap();
        let (host, target) = rest.split_at(rest.find('/').unwrap());
        headers.push(("Host".to_owned(), host.to_owned()));
        return HttpRequest::new(&method, target, refs(&headers), Vec::new());
    }
    let string_to_sign = text(vector, "string_to_sign");
    let lines: Vec<&str> = string_to_sign.split('\n').collect();
    let mut target = format!(
        "/{}/{}",
        text(vector, "bucket"),
        text(vector, "key").replace('+', "%2B")
    );
    if vector["query"].is_object() {
        target = format!("{target}?{}", form(&pairs(&vector["query"])));
    } else if let Some((_, query)) = lines.last().unwrap().split_once('?') {
        target = format!("{target}?{query}");
    }
    if headers.is_empty() {
        headers.push(("Content-MD5".to_owned(), lines[1].to_owned()));
        headers.push(("Content-Type".to_owned(), lines[2].to_owned()));
        headers.push(("Date".to_owned(), lines[3].to_owned()));
        for line in &lines[4..lines.len() - 1] {
            let (name, value) = line.split_once(':').unwrap();
            headers.push((name.to_owned(), value.to_owned()));
        }
    }
    let authorization = authorize(&text(vector, "ak"), lines[2], &text(vector, "signature"));
    headers.push(("Authorization".to_owned(), authorization));
    HttpRequest::new(&method, &target, refs(&headers), Vec::new())
}

/// Returns the vectors of a file. The expected count detects missing vectors.
fn vectors(file: &str, count: usize) -> Vec<Value> {
    let file: Value = serde_json::from_str(file).unwrap();
    let vectors = file["vectors"].as_array().unwrap().clone();
    assert_eq!(vectors.len(), count);
    vectors
}

fn text(vector: &Value, field: &str) -> String {
    vector[field].as_str().unwrap_or_default().to_owned()
}

/// Returns the pairs of a JSON list or object; the vectors have both.
fn pairs(value: &Value) -> Vec<(String, String)> {
    match value {
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()))
            .collect(),
        Value::Array(list) => list
            .iter()
            .map(|pair| {
                (
                    pair[0].as_str().unwrap().to_owned(),
                    pair[1].as_str().unwrap().to_owned(),
                )
            })
            .collect(),
        _ => Vec::new(),
    }
}

fn refs(pairs: &[(String, String)]) -> Vec<(&str, &str)> {
    pairs
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect()
}

/// Returns the signature with one character changed.
fn flipped(signature: &str) -> String {
    let last = if signature.starts_with('a') { "b" } else { "a" };
    format!("{last}{}", &signature[1..])
}
