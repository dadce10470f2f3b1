//! The accepted documents, and the errors of all others.

use std::time::Duration;

use super::*;

const NOON: Timestamp = Timestamp::constant(1_795_003_200, 0);

struct Noon;

impl Clock for Noon {
    fn wall(&self) -> Timestamp {
        NOON
    }

    fn boot(&self) -> BootTime {
        BootTime::from_duration(Duration::from_secs(100))
    }

    fn boot_id(&self) -> String {
        String::new()
    }

    fn sleep_at_most(&self, longest: Duration) -> crate::runtime::clock::SuspendAwareSleep<'_> {
        Box::pin(tokio::time::sleep(longest.min(Duration::from_secs(1))))
    }
}

fn parsed(text: &str) -> Result<ResolvedIdentity, SourceError> {
    let received = ReceivedAt {
        asked: Noon.boot(),
        date: None,
        clock: &Noon,
    };
    read(text, "the subject", received)
}

/// Checks that the document has the id `STS.a`, the secret `b`, and this token and lifetime.
#[track_caller]
fn check(text: &str, token: Option<&str>, life: Option<u64>) {
    let obtained = parsed(text).unwrap();
    let Proof::Credentials(credentials) = &*obtained.proof else {
        panic!("{text}");
    };
    assert_eq!(credentials.access_key_id, "STS.a", "{text}");
    assert_eq!(credentials.access_key_secret.expose(), "b", "{text}");
    let given = credentials.security_token.as_ref();
    assert_eq!(given.map(SecretText::expose), token, "{text}");
    let given = obtained.end.map(|it| it.at.since(Noon.boot()).as_secs());
    assert_eq!(given, life, "{text}");
}

#[test]
fn documents_of_all_programs_are_parsed() {
    let hour = Some(3600);
    check(
        r#"{"mode":"StsToken","access_key_id":"STS.a","access_key_secret":"b","sts_token":"c",
            "expiration":"2026-11-18T13:00:00Z"}"#,
        Some("c"),
        hour,
    );
    check(
        r#"{"mode":"AK","access_key_id":"STS.a","access_key_secret":"b","sts_token":""}"#,
        None,
        None,
    );
    check(
        r#"{"AccessKeyId":"STS.a","AccessKeySecret":"b","SecurityToken":"c",
            "Expiration":"2026-11-18T13:00:00Z","LastUpdated":"x","Code":"Success"}"#,
        Some("c"),
        hour,
    );
    check(
        r#"{"Version":1,"AccessKeyId":"STS.a","SecretAccessKey":"b","SessionToken":"c",
            "Expiration":"2026-11-18T13:00:00Z","AccountId":"1"}"#,
        Some("c"),
        hour,
    );
    check(
        r#"{"AccessKeyId":"STS.a","SecretAccessKey":"b","Token":"c"}"#,
        Some("c"),
        None,
    );
    check(
        r#"{"RequestId":"x","AssumedRoleUser":{"Arn":"y"},"Credentials":{"AccessKeyId":"STS.a",
            "AccessKeySecret":"b","SecurityToken":"c","Expiration":"2026-11-18T13:00:00Z"}}"#,
        Some("c"),
        hour,
    );
    check(
        r#"{"Credentials":{"AccessKeyId":"STS.a","SecretAccessKey":"b","SessionToken":"c"}}"#,
        Some("c"),
        None,
    );
    check(
        "\u{feff}{\"AccessKeyId\":\"STS.a\",\"AccessKeySecret\":\"b\",\"Version\":\"1\",\"Code\":200}",
        None,
        None,
    );
    check(
        "\n {\"access_key_id\":\"STS.\\u0061\",\"access_key_secret\":\"b\",\"security_token\":\"c\"}\n",
        Some("c"),
        None,
    );
}

#[test]
fn documents_of_sts_shim_are_parsed() {
    let credentials = stsd_document::Credentials {
        access_key_id: "STS.a",
        access_key_secret: &SecretText::from("b".to_owned()),
        security_token: &SecretText::from("c".to_owned()),
        expiration_unix_seconds: NOON.as_second() + 60,
        issued_unix_seconds: NOON.as_second(),
    };
    use stsd_document::Format;
    for format in [
        Format::Union,
        Format::Aliyun,
        Format::Oss,
        Format::Aws,
        Format::Uri,
        Format::Json,
    ] {
        let text = credentials.render(format).unwrap();
        check(&text, Some("c"), Some(60));
    }
}

#[test]
fn expirations_with_an_offset_are_parsed() {
    for time in [
        "2026-11-18T13:00:00Z",
        "2026-11-18T13:00:00.5Z",
        "2026-11-18T13:00:00.000000+00:00",
        "2026-11-18T21:00:00+08:00",
        "2026-11-18t13:00:00z",
    ] {
        let text = format!(
            r#"{{"AccessKeyId":"STS.a","AccessKeySecret":"b","SecurityToken":"c","Expiration":"{time}"}}"#
        );
        check(&text, Some("c"), Some(3600));
    }
}

#[test]
fn invalid_document_is_refused_and_not_quoted() {
    let check = |text: &str, expected: &str| {
        let error = parsed(text).unwrap_err();
        let said = format!("{error} {} {error:?}", error.hint);
        assert!(said.contains(expected), "{text}: {said}");
        assert!(!said.contains("planted"), "{text}: {said}");
    };
    let no_document = "no document with credentials";
    for text in [
        "planted",
        "[]",
        "{\"access_key_id\":\"planted\"",
        "{\"AccessKeyId\":\"a\",\"AccessKeyId\":\"planted\"}",
        "{\"AccessKeyId\":\"a\",\"AccessKeySecret\":\"planted\"} planted",
        "{\"AccessKeyId\":{\"planted\":1}}",
    ] {
        check(text, no_document);
    }
    check("[\"planted\"]", "(it is a list)");
    check("{\"AccessKeyId\":\"planted\"", "(its JSON ends too early)");
    check("\n planted", "(its JSON is invalid at line 2, column 2)");
    check(
        r#"{"AccessKeyId":"a","AccessKeyId":"planted"}"#,
        "(a key is there twice)",
    );
    for (text, expected) in [
        (
            r#"{"expiration":1798794000}"#,
            "expiration is a number, expected a text",
        ),
        (
            r#"{"AccessKeyId":{"planted":1}}"#,
            "AccessKeyId is an object, expected a text",
        ),
        (
            r#"{"Token":["planted"]}"#,
            "Token is a list, expected a text",
        ),
        (
            r#"{"Version":true}"#,
            "Version is a boolean, expected a whole number or a text",
        ),
        (
            r#"{"Code":1.5}"#,
            "Code is a number, expected a whole number or a text",
        ),
        (
            r#"{"Credentials":"planted"}"#,
            "Credentials is a text, expected an object",
        ),
        (
            r#"{"Credentials":{"Expiration":5,"AccessKeyId":"planted"}}"#,
            "Credentials.Expiration is a number, expected a text",
        ),
    ] {
        check(text, expected);
    }
    check(r#"{"Version":"planted"}"#, "Version other than 1");
    check(r#"{"Code":404}"#, "Code is not Success");
    check(
        r#"{"data":{"access_key":"planted"}}"#,
        "without an access key id; it has a key data",
    );
    check(" \n", "gave nothing");
    check("{}", "without an access key id");
    check(
        r#"{"AccessKeyId":"planted"}"#,
        "without an access key secret",
    );
    check(
        r#"{"AccessKeyId":"a","AccessKeySecret":""}"#,
        "without an access key secret",
    );
    check(
        r#"{"AccessKeyId":"a","AccessKeySecret":"planted","SecretAccessKey":"planted2"}"#,
        "the secret more than once",
    );
    check(
        r#"{"AccessKeyId":"a","access_key_id":"planted","AccessKeySecret":"b"}"#,
        "the id more than once",
    );
    check(
        r#"{"AccessKeyId":"a\u001b[2J","AccessKeySecret":"b"}"#,
        "characters that no",
    );
    check(
        r#"{"AccessKeyId":"a","AccessKeySecret":"plan\nted"}"#,
        "characters that no",
    );
    check(
        r#"{"Code":"planted","AccessKeyId":"a","AccessKeySecret":"b"}"#,
        "Code is not Success",
    );
    check(
        r#"{"Version":2,"AccessKeyId":"a","AccessKeySecret":"b"}"#,
        "Version other than 1",
    );
    check(
        r#"{"mode":"StsToken","access_key_id":"a","access_key_secret":"planted"}"#,
        "no token",
    );
    check(
        r#"{"mode":"planted","access_key_id":"a","access_key_secret":"b"}"#,
        "mode other than",
    );
    let ends = |time: &str| {
        format!(r#"{{"AccessKeyId":"a","AccessKeySecret":"planted","Expiration":"{time}"}}"#)
    };
    check(&ends("planted"), "is no time");
    check(&ends("2026-11-18T13:00:00"), "is no time");
    check(&ends("2026-11-18T12:00:00Z"), "expired credentials");
    check(&ends("1970-01-01T00:00:00Z"), "expired credentials");
}
