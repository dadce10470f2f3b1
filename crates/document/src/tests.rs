use serde_json::{Value, json};

use super::*;

fn render(format: Format, token: &str) -> String {
    let secret = SecretText::from("s".to_owned());
    let token = SecretText::from(token.to_owned());
    let credentials = Credentials {
        access_key_id: "STS.x",
        access_key_secret: &secret,
        security_token: &token,
        expiration_unix_seconds: 1_795_475_758,
        issued_unix_seconds: 1_795_472_158,
    };
    credentials.render(format).unwrap().to_string()
}

fn check(format: Format, expected: &Value) {
    let document = render(format, "t");
    assert_eq!(&serde_json::from_str::<Value>(&document).unwrap(), expected);
    assert_eq!(document.matches('\n').count(), 1, "{format:?} is one line");
    assert!(!document.contains(' '), "{format:?} is compact");
}

#[test]
fn each_format_is_as_its_consumer_documents() {
    check(
        Format::Aliyun,
        &json!({"mode": "StsToken", "access_key_id": "STS.x", "access_key_secret": "s",
            "sts_token": "t", "expiration": "2026-11-23T23:15:58Z"}),
    );
    check(
        Format::Oss,
        &json!({"AccessKeyId": "STS.x", "AccessKeySecret": "s", "SecurityToken": "t",
            "Expiration": "2026-11-23T23:15:58Z"}),
    );
    check(
        Format::Aws,
        &json!({"Version": 1, "AccessKeyId": "STS.x", "SecretAccessKey": "s",
            "SessionToken": "t", "Expiration": "2026-11-23T23:15:58Z"}),
    );
    check(
        Format::Uri,
        &json!({"Code": "Success", "AccessKeyId": "STS.x", "AccessKeySecret": "s",
            "SecurityToken": "t", "Expiration": "2026-11-23T23:15:58Z",
            "LastUpdated": "2026-11-23T22:15:58Z", "SecretAccessKey": "s", "Token": "t"}),
    );
    check(
        Format::Json,
        &json!({"access_key_id": "STS.x", "access_key_secret": "s", "security_token": "t",
            "expiration": "2026-11-23T23:15:58Z"}),
    );
    check(
        Format::Union,
        &json!({"mode": "StsToken", "access_key_id": "STS.x", "access_key_secret": "s",
            "sts_token": "t", "expiration": "2026-11-23T23:15:58Z", "Code": "Success",
            "AccessKeyId": "STS.x", "AccessKeySecret": "s", "SecurityToken": "t",
            "Expiration": "2026-11-23T23:15:58Z", "Version": 1, "SecretAccessKey": "s",
            "SessionToken": "t"}),
    );
    assert_eq!(
        render(Format::Dotenv, "CAIS+/0="),
        "ALIBABA_CLOUD_ACCESS_KEY_ID=STS.x\nALIBABA_CLOUD_ACCESS_KEY_SECRET=s\n\
         ALIBABA_CLOUD_SECURITY_TOKEN=CAIS+/0=\nOSS_ACCESS_KEY_ID=STS.x\n\
         OSS_ACCESS_KEY_SECRET=s\nOSS_SESSION_TOKEN=CAIS+/0=\n"
    );
}

#[test]
fn listed_format_names_parse_and_union_is_the_default() {
    for name in Format::NAMES.split(", ") {
        assert!(Format::from_name(name).is_some(), "{name}");
    }
    assert_eq!(Format::from_name("ini"), None);
    assert_eq!(Format::default(), Format::Union);
}

#[test]
fn token_with_special_characters_stays_in_its_quotes() {
    let token = "a\"b\\c\n\u{1}'中";
    let value: Value = serde_json::from_str(&render(Format::Oss, token)).unwrap();
    assert_eq!(value["SecurityToken"], token);
    // At every position among other characters.
    for special in ['"', '\\', '\n', '\0', '\u{1f}'] {
        for length in 0..20 {
            for at in 0..=length {
                let mut token = "é".repeat(length);
                token.insert(2 * at, special);
                let value: Value = serde_json::from_str(&render(Format::Oss, &token)).unwrap();
                assert_eq!(value["SecurityToken"], token);
            }
        }
    }
    let script = render(Format::Env, "a'b$(c)");
    assert!(
        script.contains("SECURITY_TOKEN='a'\\''b$(c)'\n"),
        "{script:?}"
    );
}

#[test]
fn unrepresentable_credentials_are_an_error() {
    let (secret, odd) = ("s".to_owned().into(), "a b".to_owned().into());
    let mut bad = Credentials {
        access_key_id: "STS.x",
        access_key_secret: &secret,
        security_token: &odd,
        expiration_unix_seconds: 0,
        issued_unix_seconds: 0,
    };
    assert_eq!(bad.render(Format::Dotenv), Err(Unwritable::Value));
    bad.expiration_unix_seconds = i64::MAX;
    assert_eq!(bad.render(Format::Union), Err(Unwritable::Time));
}
