//! Decides how a profile of another tool is asked for its values, whichever file it is from.

use std::collections::BTreeMap;

use stsd_client::SecretText;

use super::printable;

/// A profile as its file has it, in aliyun-cli's words.
pub(super) struct ThirdPartyProfile {
    /// Where it stands among the others, from 1.
    pub(super) number: usize,
    pub(super) fields: BTreeMap<String, FieldValue>,
}

/// A value. Which ones are secret shows only later, so all texts are.
pub(super) enum FieldValue {
    Text(SecretText),
    Number(u64),
    Flag(bool),
    /// Something that is none of these, by its kind.
    Other(&'static str),
    /// The key is there twice.
    Twice,
}

/// Why a profile is not taken.
pub(super) type SkipReason = String;

impl ThirdPartyProfile {
    /// Returns a text; an empty one says as much as none.
    pub(super) fn text(&self, key: &str) -> Result<Option<String>, SkipReason> {
        Ok(self.secret(key)?.map(|it| it.expose().to_owned()))
    }

    pub(super) fn secret(&self, key: &str) -> Result<Option<SecretText>, SkipReason> {
        let other = match self.fields.get(key) {
            None => return Ok(None),
            Some(FieldValue::Text(text)) => {
                return Ok(Some(text.clone()).filter(|it| !it.expose().trim().is_empty()));
            }
            Some(FieldValue::Twice) => return Err(format!("it has \"{key}\" twice")),
            Some(FieldValue::Number(_)) => "a number",
            Some(FieldValue::Flag(_)) => "true or false",
            Some(FieldValue::Other(what)) => what,
        };
        Err(format!("its {key} is {other} where a text should stand"))
    }

    /// Returns a text that the mode cannot do without.
    pub(super) fn needed(&self, key: &str) -> Result<String, SkipReason> {
        self.text(key)?
            .ok_or_else(|| format!("it has no {key}, which its mode needs"))
    }

    /// Returns a number of seconds; none and zero say that nobody asked for any.
    pub(super) fn seconds(&self, key: &str) -> Result<Option<u64>, SkipReason> {
        let number = match self.fields.get(key) {
            None => return Ok(None),
            Some(FieldValue::Number(number)) => Some(*number),
            Some(FieldValue::Text(text)) if text.expose().trim().is_empty() => return Ok(None),
            Some(FieldValue::Text(text)) => text.expose().trim().parse().ok(),
            Some(FieldValue::Twice) => return Err(format!("it has \"{key}\" twice")),
            Some(_) => None,
        };
        match number {
            Some(0) => Ok(None),
            Some(number) => Ok(Some(number)),
            None => Err(format!("its {key} is no whole number of seconds")),
        }
    }

    /// Tells whether something is said yes to.
    pub(super) fn is_set(&self, key: &str) -> bool {
        match self.fields.get(key) {
            Some(FieldValue::Flag(flag)) => *flag,
            Some(FieldValue::Text(text)) => text.expose().trim().eq_ignore_ascii_case("true"),
            _ => false,
        }
    }

    /// Tells whether there is anything under a key.
    pub(super) fn has(&self, key: &str) -> bool {
        match self.fields.get(key) {
            Some(FieldValue::Text(text)) => !text.expose().trim().is_empty(),
            other => other.is_some(),
        }
    }

    /// Returns its name.
    pub(super) fn name(&self) -> Result<String, SkipReason> {
        self.text("name")?
            .ok_or_else(|| "it has no name".to_owned())
    }

    /// Returns what it is called in a message.
    pub(super) fn label(&self) -> String {
        match self.name() {
            Ok(name) => printable(&name),
            Err(_) => format!("profile number {}", self.number),
        }
    }

    /// Returns its mode, for a message.
    pub(super) fn mode(&self) -> String {
        let mode = self.text("mode").ok().flatten();
        mode.map_or_else(|| "no mode".to_owned(), |it| printable(it.trim()))
    }
}
