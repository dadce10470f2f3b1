//! A JSON object with its original order, duplicate keys and number texts.

use std::fmt;

use anyhow::{Result, ensure};
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
    /// Returns the value of a key.
    ///
    /// # Errors
    /// When the key occurs twice.
    pub fn find(&self, key: &str) -> Result<Option<&'a RawValue>> {
        let mut found = self.0.iter().filter(|it| it.0 == key).map(|it| it.1);
        let first = found.next();
        ensure!(found.next().is_none(), "it has \"{key}\" twice");
        Ok(first)
    }

    /// Returns the value of a key if it is a string.
    ///
    /// # Errors
    /// When the key occurs twice.
    pub fn text(&self, key: &str) -> Result<Option<String>> {
        let found = self.find(key)?;
        Ok(found.and_then(|it| serde_json::from_str(it.get()).ok()))
    }
}
