//! Decides how a table of our configuration looks: as it is written, and as it is shown.

use std::fmt::{self, Write as _};

/// A table that would be added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// `source` or `profile`.
    pub(super) kind: &'static str,
    pub(super) name: String,
    pub(super) entries: Vec<Entry>,
}

/// A key with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) key: &'static str,
    pub(super) value: Value,
}

#[derive(Clone, PartialEq, Eq)]
pub(super) enum Value {
    Text(String),
    /// What need not be on a screen to be judged.
    Private(String),
    /// A program and what it is given, which may be a secret.
    Command(Vec<String>),
}

impl Entry {
    pub(super) fn new(key: &'static str, text: impl Into<String>) -> Self {
        Self {
            key,
            value: Value::Text(text.into()),
        }
    }
}

impl Table {
    /// Returns it with other files in the place of what keeps a secret.
    pub(super) fn with_placeholders(&self) -> Self {
        let mut table = self.clone();
        for entry in &mut table.entries {
            if entry.key.starts_with("access_key_") {
                *entry = Entry::new("access_key_file", "key");
            } else if entry.key == "uri_file" {
                *entry = Entry::new("uri_file", "uri");
            }
        }
        table
    }

    /// Returns its header: `[profile.NAME]`.
    #[must_use]
    pub fn header(&self) -> String {
        format!("[{}.{}]", self.kind, key(&self.name))
    }

    /// Tells whether it names a command: what that is given may be secret.
    #[must_use]
    pub fn has_command(&self) -> bool {
        let mut values = self.entries.iter().map(|it| &it.value);
        values.any(|it| matches!(it, Value::Command(_)))
    }

    /// Returns on what it builds: a source, or another profile.
    pub(super) fn source(&self) -> Option<&str> {
        let entry = self.entries.iter().find(|it| it.key == "source")?;
        match &entry.value {
            Value::Text(name) => Some(name),
            Value::Private(_) | Value::Command(_) => None,
        }
    }

    /// Returns its text as it is written.
    #[must_use]
    pub fn text(&self) -> String {
        self.with(quoted)
    }

    /// Returns its text as it is shown: `"…"` for what may be secret.
    #[must_use]
    pub fn redacted(&self) -> String {
        self.with(|_| "\"…\"".to_owned())
    }

    fn with(&self, private: impl Fn(&str) -> String) -> String {
        let mut text = self.header() + "\n";
        for entry in &self.entries {
            let value = match &entry.value {
                Value::Text(text) => quoted(text),
                Value::Private(text) => private(text),
                Value::Command(words) => {
                    let words = words.iter().enumerate().map(|(at, word)| match at {
                        0 => quoted(word),
                        _ => private(word),
                    });
                    format!("[{}]", words.collect::<Vec<_>>().join(", "))
                }
            };
            let _ = writeln!(text, "{} = {value}", entry.key);
        }
        text
    }

    /// Tells whether a configuration has this very table; with anything else under its name
    /// it has another.
    pub(super) fn is_in(&self, config: &toml::Table) -> Option<bool> {
        let there = config.get(self.kind)?.get(&self.name)?;
        let ours: toml::Table = toml::from_str(&self.text()).ok()?;
        Some(ours.get(self.kind)?.get(&self.name)? == there)
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => text.fmt(f),
            Self::Private(_) => f.write_str("[redacted]"),
            Self::Command(words) => write!(f, "{:?} [redacted]", words.first()),
        }
    }
}

/// A name in a header; only what is plain needs no quotes.
fn key(name: &str) -> String {
    let plain = |it: u8| it.is_ascii_alphanumeric() || b"_-".contains(&it);
    if name.bytes().all(plain) && !name.is_empty() {
        name.to_owned()
    } else {
        quoted(name)
    }
}

/// Returns a text in quotes: in those that leave all as it is, where that is easier to read.
#[must_use]
pub fn quoted(text: &str) -> String {
    let literal = text.contains(['"', '\\']) && !text.contains('\'');
    if literal && !text.contains(char::is_control) {
        return format!("'{text}'");
    }
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted + "\""
}
