//! A parsed profile of another tool, independent of the file's format.

use std::collections::BTreeMap;

use stsd_client::SecretText;

use super::{FileFormat, ini::UNKNOWN_TYPE, mode::Mode, printable};

/// A profile as it stands in the file, with aliyun-cli's names of keys.
pub(super) struct ThirdPartyProfile {
    /// Position in the file, from 1.
    pub(super) number: usize,
    /// The format of the file, which determines the reader's rules.
    pub(super) format: FileFormat,
    pub(super) fields: BTreeMap<String, FieldValue>,
}

/// A value. The secret ones are known only later, so every text is a [`SecretText`].
pub(super) enum FieldValue {
    Text(SecretText),
    Number(u64),
    Flag(bool),
    /// A value of another kind, described.
    Other(&'static str),
    /// The key occurs twice.
    Twice,
}

/// The reason why a profile is skipped, as a sentence about the profile.
pub(super) type SkipReason = String;

impl ThirdPartyProfile {
    /// Returns a text; `None` for an empty one.
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

    /// Returns a text that the mode requires.
    pub(super) fn needed(&self, key: &str) -> Result<String, SkipReason> {
        self.text(key)?
            .ok_or_else(|| format!("it has no {key}, which its mode needs"))
    }

    /// Returns a number of seconds; `None` for zero, which means the default.
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

    /// Returns `true` if a flag is set.
    pub(super) fn is_set(&self, key: &str) -> bool {
        match self.fields.get(key) {
            Some(FieldValue::Flag(flag)) => *flag,
            Some(FieldValue::Text(text)) => text.expose().trim().eq_ignore_ascii_case("true"),
            _ => false,
        }
    }

    /// Returns `true` if a key has a value that is not empty.
    pub(super) fn has(&self, key: &str) -> bool {
        match self.fields.get(key) {
            Some(FieldValue::Text(text)) => !text.expose().trim().is_empty(),
            other => other.is_some(),
        }
    }

    /// Returns the name of the profile.
    pub(super) fn name(&self) -> Result<String, SkipReason> {
        self.text("name")?
            .ok_or_else(|| "it has no name".to_owned())
    }

    /// Returns the name for messages.
    pub(super) fn label(&self) -> String {
        match self.name() {
            Ok(name) => printable(&name),
            Err(_) => format!("profile number {}", self.number),
        }
    }

    /// Returns the mode; aliyun-cli infers a missing one.
    pub(super) fn mode(&self) -> Result<Mode, SkipReason> {
        if let Some(name) = self.text(UNKNOWN_TYPE)? {
            let name = printable(name.trim());
            return Err(format!("its type {name} is none of the SDKs"));
        }
        let Some(name) = self.text("mode")? else {
            return self.inferred_mode().ok_or_else(|| match self.format {
                FileFormat::Json => format!(
                    "it has no mode, and none follows from its keys: aliyun configure --profile {} \
                     sets one",
                    self.label()
                ),
                FileFormat::Ini => {
                    "it has no type, without which the SDKs do not read it".to_owned()
                }
            });
        };
        Mode::named(&name).ok_or_else(|| {
            let name = printable(name.trim());
            format!("its mode {name} is none of aliyun-cli 3.5, which this version knows")
        })
    }

    /// Returns the mode that aliyun-cli infers; `None` for a profile with a mode, and for the SDKs'
    /// file, whose readers infer none.
    pub(super) fn inferred_mode(&self) -> Option<Mode> {
        let infers = self.format == FileFormat::Json && !self.has("mode");
        infers.then(|| Mode::inferred(self)).flatten()
    }

    /// Returns the mode for messages.
    pub(super) fn mode_label(&self) -> String {
        if let Some(mode) = self.inferred_mode() {
            return mode.name().to_owned();
        }
        let text = |key| self.text(key).ok().flatten();
        let mode = text("mode").or_else(|| text(UNKNOWN_TYPE));
        mode.map_or_else(|| "no mode".to_owned(), |it| printable(it.trim()))
    }
}
