//! A JSON object with its original order, duplicate keys and number texts, whose keys are compared as
//! aliyun-cli compares them.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

/// The entries of an object, in the order of the text, with raw values.
pub struct RawObject<'a>(pub Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for RawObject<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = RawObject<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawObject<'de>, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(RawObject(entries))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

impl<'a> RawObject<'a> {
    /// Returns the last value of a key; `None` if the object has no such key.
    #[must_use]
    pub fn find(&self, key: &str) -> Option<&'a RawValue> {
        let mut found = self.values(key);
        found.next_back()
    }

    /// Returns the value of a key if it is a string. A `null` leaves the value before it.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<String> {
        let value = self.values(key).rfind(|it| it.get() != "null")?;
        serde_json::from_str(value.get()).ok()
    }

    fn values(&self, key: &str) -> impl DoubleEndedIterator<Item = &'a RawValue> {
        let folded = folded(key);
        let is_it = move |it: &&(String, &'a RawValue)| self::folded(&it.0) == folded;
        self.0.iter().filter(is_it).map(|it| it.1)
    }
}

/// Returns the form of a key by which Go's `encoding/json` compares keys, as aliyun-cli does: upper and
/// lower case are equal, and so are the two other characters that fold to ASCII letters. Of equal keys
/// the last one counts.
#[must_use]
pub fn folded(key: &str) -> String {
    let fold = |c: char| match c {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        other => other.to_ascii_lowercase(),
    };
    key.chars().map(fold).collect()
}

#[cfg(test)]
mod tests {
    use super::{RawObject, folded};

    #[test]
    fn key_is_found_as_go_finds_it() {
        let text = r#"{"a":"1","A":"2","b":"1","B":null,"n":3}"#;
        let object: RawObject<'_> = serde_json::from_str(text).unwrap();
        assert_eq!(object.text("a").as_deref(), Some("2"));
        assert_eq!(object.text("b").as_deref(), Some("1"));
        assert_eq!(object.text("n"), None);
        assert_eq!(object.find("B").map(|it| it.get()), Some("null"));
        assert!(object.find("c").is_none());
        assert_eq!(folded("Acce\u{17f}s_\u{212a}ey_ID"), "access_key_id");
    }
}
