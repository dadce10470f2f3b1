//! A JSON document whose keys the user names, for a program that expects keys that no [`Format`] has.
//!
//! [`Format`]: crate::Format

use zeroize::Zeroizing;

use crate::{
    Credentials, Unwritable, text,
    text::Field::{self, Number, QuotedNumber, Text},
    time,
};

/// A key of the document, and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MappedKey {
    /// The key, which may hold any text.
    pub name: Box<str>,
    /// The value of the key.
    pub value: MappedValue,
}

/// The value of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MappedValue {
    /// The temporary AccessKey id.
    AccessKeyId,
    /// The temporary AccessKey secret.
    AccessKeySecret,
    /// The token that goes with the key.
    SecurityToken,
    /// The expiration.
    Expiration(TimeFormat),
    /// The request ID of the call to STS; empty for a session that is passed through.
    RequestId,
    /// A fixed text.
    Fixed(Box<str>),
}

/// The form of a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeFormat {
    /// `YYYY-MM-DDTHH:MM:SSZ`, as STS writes it.
    Rfc3339,
    /// Seconds since 1970-01-01 UTC, as a number.
    UnixSeconds,
    /// The same number, as a text.
    UnixSecondsText,
    /// Milliseconds since 1970-01-01 UTC, as a number.
    UnixMilliseconds,
    /// The same number, as a text.
    UnixMillisecondsText,
}

impl MappedValue {
    /// Every name of a value, without the prefix of fixed texts.
    pub const NAMES: &str = "access_key_id, access_key_secret, security_token, expiration, \
                             expiration_unix_seconds, expiration_unix_seconds_text, \
                             expiration_unix_milliseconds, expiration_unix_milliseconds_text, \
                             request_id";

    /// The prefix of a fixed text.
    pub const FIXED_PREFIX: &str = "text:";

    /// Returns the value of a name, or of a fixed text with its prefix.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        if let Some(fixed) = name.strip_prefix(Self::FIXED_PREFIX) {
            return Some(Self::Fixed(fixed.into()));
        }
        Some(match name {
            "access_key_id" => Self::AccessKeyId,
            "access_key_secret" => Self::AccessKeySecret,
            "security_token" => Self::SecurityToken,
            "expiration" => Self::Expiration(TimeFormat::Rfc3339),
            "expiration_unix_seconds" => Self::Expiration(TimeFormat::UnixSeconds),
            "expiration_unix_seconds_text" => Self::Expiration(TimeFormat::UnixSecondsText),
            "expiration_unix_milliseconds" => Self::Expiration(TimeFormat::UnixMilliseconds),
            "expiration_unix_milliseconds_text" => {
                Self::Expiration(TimeFormat::UnixMillisecondsText)
            }
            "request_id" => Self::RequestId,
            _ => return None,
        })
    }
}

impl Credentials<'_> {
    /// Renders a JSON object with these keys, in their order: one compact line with its newline.
    ///
    /// # Errors
    /// [`Unwritable::Time`] for an expiration that is no time.
    pub fn render_keys(
        &self,
        keys: &[MappedKey],
        request_id: &str,
    ) -> Result<Zeroizing<String>, Unwritable> {
        let seconds = self.expiration_unix_seconds;
        let expiration = time(seconds)?;
        let milliseconds = seconds.checked_mul(1000).ok_or(Unwritable::Time)?;
        let fields = keys.iter().map(|key| {
            let field = match &key.value {
                MappedValue::AccessKeyId => Text(self.access_key_id),
                MappedValue::AccessKeySecret => Text(self.access_key_secret.expose()),
                MappedValue::SecurityToken => Text(self.security_token.expose()),
                MappedValue::Expiration(TimeFormat::Rfc3339) => Text(&expiration),
                MappedValue::Expiration(TimeFormat::UnixSeconds) => Number(seconds),
                MappedValue::Expiration(TimeFormat::UnixSecondsText) => QuotedNumber(seconds),
                MappedValue::Expiration(TimeFormat::UnixMilliseconds) => Number(milliseconds),
                MappedValue::Expiration(TimeFormat::UnixMillisecondsText) => {
                    QuotedNumber(milliseconds)
                }
                MappedValue::RequestId => Text(request_id),
                MappedValue::Fixed(fixed) => Text(fixed),
            };
            (&*key.name, field)
        });
        let fields: Vec<(&str, Field<'_>)> = fields.collect();
        Ok(text::mapped_object(&fields))
    }
}

#[cfg(test)]
mod tests {
    use stsd_secret::SecretText;

    use super::*;

    fn render(keys: &[(&str, &str)], token: &str) -> String {
        let secret = SecretText::from("s".to_owned());
        let token = SecretText::from(token.to_owned());
        let credentials = Credentials {
            access_key_id: "STS.x",
            access_key_secret: &secret,
            security_token: &token,
            expiration_unix_seconds: 1_795_475_758,
            issued_unix_seconds: 1_795_472_158,
        };
        let key = |(name, value): &(&str, &str)| MappedKey {
            name: (*name).into(),
            value: MappedValue::from_name(value).unwrap(),
        };
        let keys: Vec<_> = keys.iter().map(key).collect();
        credentials.render_keys(&keys, "R").unwrap().to_string()
    }

    #[test]
    fn mapped_keys_keep_their_order_and_take_each_value() {
        let keys = [
            ("sts_key_id", "access_key_id"),
            ("sts_key_secret", "access_key_secret"),
            ("sts_secrity_token", "security_token"),
            ("sts_expire_date", "expiration_unix_seconds"),
            ("sts_reques_id", "request_id"),
            ("a", "expiration"),
            ("b", "expiration_unix_seconds_text"),
            ("c", "expiration_unix_milliseconds"),
            ("d", "expiration_unix_milliseconds_text"),
            ("e", "text:cn-hongkong"),
            ("f", "text:"),
        ];
        assert_eq!(
            render(&keys, "t"),
            concat!(
                r#"{"sts_key_id":"STS.x","sts_key_secret":"s","sts_secrity_token":"t","#,
                r#""sts_expire_date":1795475758,"sts_reques_id":"R","#,
                r#""a":"2026-11-23T23:15:58Z","b":"1795475758","c":1795475758000,"#,
                r#""d":"1795475758000","e":"cn-hongkong","f":""}"#,
                "\n"
            )
        );
    }

    #[test]
    fn mapped_keys_and_values_with_special_characters_are_escaped() {
        let odd = "a\"b\\c\n\u{1}'中\u{2028}";
        let fixed = format!("text:{odd}");
        let document = render(&[(odd, "security_token"), ("", &fixed)], odd);
        let value: serde_json::Value = serde_json::from_str(&document).unwrap();
        assert_eq!(value[odd], odd);
        assert_eq!(value[""], odd);
        assert_eq!(value.as_object().unwrap().len(), 2);
    }

    #[test]
    fn listed_value_names_parse() {
        for name in MappedValue::NAMES.split(", ") {
            assert!(MappedValue::from_name(name).is_some(), "{name}");
        }
        for name in ["", "AccessKeyId", "text", "expiration ", "request_id_text"] {
            assert_eq!(MappedValue::from_name(name), None, "{name:?}");
        }
    }

    #[test]
    fn expiration_that_is_no_time_is_an_error() {
        let (secret, token) = ("s".to_owned().into(), "t".to_owned().into());
        let credentials = Credentials {
            access_key_id: "STS.x",
            access_key_secret: &secret,
            security_token: &token,
            expiration_unix_seconds: i64::MAX,
            issued_unix_seconds: 0,
        };
        assert_eq!(credentials.render_keys(&[], ""), Err(Unwritable::Time));
    }
}
