//! A table of stsd's configuration, rendered with and without its secrets.

use std::fmt::{self, Write as _};

/// A table to add.
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
    /// A text that is not shown.
    Private(String),
    /// A program and its arguments, which may hold a secret.
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
    /// Returns the table with a placeholder file for its AccessKey, and for its URI unless the URI
    /// `is_stored` by the import.
    pub(super) fn with_placeholders(&self, is_stored: bool) -> Self {
        let mut table = self.clone();
        for entry in &mut table.entries {
            if entry.key.starts_with("access_key_") {
                *entry = Entry::new("access_key_file", "key");
            } else if entry.key == "uri_file" && !is_stored {
                *entry = Entry::new("uri_file", "uri");
            }
        }
        table
    }

    /// Returns the header: `[profile.NAME]`.
    #[must_use]
    pub fn header(&self) -> String {
        format!("[{}.{}]", self.kind, key(&self.name))
    }

    /// Returns `true` if the table has a command, whose arguments may hold a secret.
    #[must_use]
    pub fn has_command(&self) -> bool {
        let mut values = self.entries.iter().map(|it| &it.value);
        values.any(|it| matches!(it, Value::Command(_)))
    }

    /// Returns the name of the source or profile that the table refers to.
    pub(super) fn source(&self) -> Option<&str> {
        let entry = self.entries.iter().find(|it| it.key == "source")?;
        match &entry.value {
            Value::Text(name) => Some(name),
            Value::Private(_) | Value::Command(_) => None,
        }
    }

    /// Returns the text to write.
    #[must_use]
    pub fn text(&self) -> String {
        self.with(quoted)
    }

    /// Returns the text to show, with `"…"` for values that may be secret.
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

    /// Returns `Some(true)` if a configuration has the same table, `Some(false)` if it has
    /// another one of this name, and `None` if it has none.
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

/// Returns a name for a header, quoted where TOML requires it.
fn key(name: &str) -> String {
    let plain = |it: u8| it.is_ascii_alphanumeric() || b"_-".contains(&it);
    if name.bytes().all(plain) && !name.is_empty() {
        name.to_owned()
    } else {
        quoted(name)
    }
}

/// Returns a text as a TOML string: literal where that avoids escapes, otherwise basic.
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
