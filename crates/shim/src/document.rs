//! Decides what the program prints: one complete document in the shape that was asked.
//!
//! The shapes are other people's: aliyun-cli `External` mode, the OSS SDKs' process
//! provider, AWS `credential_process`, and the credentials URI. Written by hand instead
//! of by a JSON library because every SDK call may start this program; a test reads the
//! result back with one.

use jiff::Timestamp;
use stsd_client::Credentials;
use zeroize::Zeroizing;

/// The shape of the document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// One object with the keys of aliyun, oss, uri and aws: every known consumer ignores
    /// the keys it does not know.
    Union,
    /// `process_command` of aliyun-cli and the credentials SDKs.
    Aliyun,
    /// The process provider of the OSS SDKs and ossfs.
    Oss,
    /// `credential_process` of the AWS SDKs.
    Aws,
    /// The body of a credentials URI.
    Uri,
    /// `export` lines for a POSIX shell.
    Env,
}

impl Format {
    /// Every name that `--format` takes.
    pub(crate) const NAMES: &str = "union, aliyun, oss, aws, uri, env";

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "union" => Self::Union,
            "aliyun" => Self::Aliyun,
            "oss" => Self::Oss,
            "aws" => Self::Aws,
            "uri" => Self::Uri,
            "env" => Self::Env,
            _ => return None,
        })
    }
}

/// Renders the document with its final newline, or nothing when the times in the answer
/// are not times.
pub(crate) fn render(format: Format, credentials: &Credentials) -> Option<Zeroizing<String>> {
    let key = credentials.access_key_id.as_str();
    let secret = credentials.access_key_secret.expose();
    let token = credentials.security_token.expose();
    let expiration = time(credentials.expiration_unix_seconds)?;
    let issued = time(credentials.issued_unix_seconds)?;

    let aliyun = [
        ("mode", "StsToken"),
        ("access_key_id", key),
        ("access_key_secret", secret),
        ("sts_token", token),
        ("expiration", &expiration),
    ];
    let oss = [
        ("AccessKeyId", key),
        ("AccessKeySecret", secret),
        ("SecurityToken", token),
        ("Expiration", &expiration),
    ];
    let aws = [("SecretAccessKey", secret), ("SessionToken", token)];
    let success = [("Code", "Success")];
    let updated = [("LastUpdated", issued.as_str())];
    Some(match format {
        Format::Union => object(&[&aliyun, &success, &oss, &aws], true),
        Format::Aliyun => object(&[&aliyun], false),
        Format::Oss => object(&[&oss], false),
        Format::Aws => object(&[&oss[..1], &aws, &oss[3..]], true),
        Format::Uri => object(&[&success, &oss, &updated], false),
        Format::Env => exports(&[
            ("ALIBABA_CLOUD_ACCESS_KEY_ID", key),
            ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", secret),
            ("ALIBABA_CLOUD_SECURITY_TOKEN", token),
            ("OSS_ACCESS_KEY_ID", key),
            ("OSS_ACCESS_KEY_SECRET", secret),
            ("OSS_SESSION_TOKEN", token),
        ]),
    })
}

/// Exactly `YYYY-MM-DDTHH:MM:SSZ`: fractions and offsets break several SDKs.
fn time(unix_seconds: i64) -> Option<String> {
    Some(Timestamp::from_second(unix_seconds).ok()?.to_string())
}

/// One compact line. `Version` is AWS's and the only number.
fn object(parts: &[&[(&str, &str)]], version: bool) -> Zeroizing<String> {
    let mut text = buffer(parts);
    text.push_str(if version { "{\"Version\":1" } else { "{" });
    for (name, value) in parts.iter().copied().flatten() {
        if text.len() > 1 {
            text.push(',');
        }
        text.push('"');
        text.push_str(name);
        text.push_str("\":\"");
        value.chars().for_each(|c| push_escaped(&mut text, c));
        text.push('"');
    }
    text.push_str("}\n");
    text
}

fn push_escaped(text: &mut String, c: char) {
    match c {
        '"' | '\\' => {
            text.push('\\');
            text.push(c);
        }
        '\0'..='\x1f' => {
            const HEX: [char; 16] = [
                '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f',
            ];
            text.push_str("\\u00");
            text.push(HEX[c as usize >> 4]);
            text.push(HEX[c as usize & 15]);
        }
        _ => text.push(c),
    }
}

/// Values in single quotes, in which a shell sees nothing but the closing quote.
fn exports(variables: &[(&str, &str)]) -> Zeroizing<String> {
    let mut text = buffer(&[variables]);
    for (name, value) in variables {
        text.push_str("export ");
        text.push_str(name);
        text.push_str("='");
        for c in value.chars() {
            match c {
                '\'' => text.push_str("'\\''"),
                _ => text.push(c),
            }
        }
        text.push_str("'\n");
    }
    text
}

/// Large enough to never be moved while it is filled, which would leave a secret behind:
/// an escaped character takes at most six bytes.
fn buffer(parts: &[&[(&str, &str)]]) -> Zeroizing<String> {
    let sizes = parts.iter().copied().flatten();
    let size: usize = sizes.map(|(k, v)| k.len() + 6 * v.len() + 16).sum();
    Zeroizing::new(String::with_capacity(size + 16))
}

#[cfg(test)]
mod tests {
    use super::{Format, render};
    use serde_json::{Value, json};
    use stsd_client::{Credentials, SecretText};

    fn credentials(token: &str) -> Credentials {
        Credentials {
            access_key_id: "STS.x".into(),
            access_key_secret: SecretText::from("s".to_owned()),
            security_token: SecretText::from(token.to_owned()),
            expiration_unix_seconds: 1_795_475_758,
            issued_unix_seconds: 1_795_472_158,
        }
    }

    fn check(format: Format, expected: &Value) {
        let document = render(format, &credentials("t")).unwrap();
        assert_eq!(&serde_json::from_str::<Value>(&document).unwrap(), expected);
        assert_eq!(document.matches('\n').count(), 1, "{format:?} is one line");
        assert!(!document.contains(' '), "{format:?} is compact");
    }

    #[test]
    fn each_shape_is_exactly_what_its_consumer_documents() {
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
                "LastUpdated": "2026-11-23T22:15:58Z"}),
        );
        check(
            Format::Union,
            &json!({"mode": "StsToken", "access_key_id": "STS.x", "access_key_secret": "s",
                "sts_token": "t", "expiration": "2026-11-23T23:15:58Z", "Code": "Success",
                "AccessKeyId": "STS.x", "AccessKeySecret": "s", "SecurityToken": "t",
                "Expiration": "2026-11-23T23:15:58Z", "Version": 1, "SecretAccessKey": "s",
                "SessionToken": "t"}),
        );
    }

    #[test]
    fn a_strange_token_cannot_break_out_of_its_quotes() {
        let token = "a\"b\\c\n\u{1}'中";
        let document = render(Format::Oss, &credentials(token)).unwrap();
        let value: Value = serde_json::from_str(&document).unwrap();
        assert_eq!(value["SecurityToken"], token);
        let script = render(Format::Env, &credentials("a'b$(c)")).unwrap();
        assert!(
            script.contains("SECURITY_TOKEN='a'\\''b$(c)'\n"),
            "{script:?}"
        );
    }

    #[test]
    fn a_time_that_is_none_prints_nothing() {
        let mut bad = credentials("t");
        bad.expiration_unix_seconds = i64::MAX;
        assert_eq!(render(Format::Union, &bad), None);
    }
}
