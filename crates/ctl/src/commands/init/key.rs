//! An AccessKey from a file or stdin: a key file of stsd, the console's CSV file, or the secret
//! alone.

use std::{io, io::Read as _, path::Path};

use anyhow::{Context as _, Result};
use serde::Deserialize;
use stsctl::aliyun_profiles::{files::read, quoted};
use stsd_client::SecretText;
use zeroize::Zeroizing;

use crate::error::usage;

/// Larger than any AccessKey secret.
const MAX_SECRET_BYTES: u64 = 4096;

/// The part of an AccessKey that a file or stdin holds.
#[derive(Deserialize)]
pub(super) struct AccessKey {
    #[serde(rename = "access_key_id")]
    pub(super) id: Option<String>,
    #[serde(rename = "access_key_secret")]
    pub(super) secret: SecretText,
}

impl AccessKey {
    /// Reads a file.
    pub(super) fn from_file(path: &Path) -> Result<Self> {
        let shown = path.display();
        let read = read(path).with_context(|| format!("{shown}"))?;
        match std::str::from_utf8(&read.bytes).ok().and_then(Self::parse) {
            Some(key) => Ok(key),
            None => usage(format!(
                "{shown} is no key: it holds access_key_id = \"…\" and access_key_secret = \"…\", \
                 or the console's CSV, or the secret alone"
            )),
        }
    }

    /// Reads the secret from stdin.
    pub(super) fn from_stdin() -> Result<Self> {
        let mut text = Zeroizing::new(String::with_capacity(4097));
        io::stdin()
            .take(MAX_SECRET_BYTES + 1)
            .read_to_string(&mut text)?;
        let secret = text.trim();
        if secret.is_empty() || secret.len() as u64 > MAX_SECRET_BYTES || secret.contains('\n') {
            return usage("stdin has no secret: it is one line");
        }
        Ok(Self {
            id: None,
            secret: secret.to_owned().into(),
        })
    }

    fn parse(text: &str) -> Option<Self> {
        let text = text.trim_start_matches('\u{feff}').trim();
        let mut lines = text.lines().map(str::trim);
        let (first, second) = (lines.next()?, lines.next());
        if let Some([id, secret]) = columns(first) {
            let values: Vec<_> = second?.split(',').map(cell).collect();
            return Some(Self {
                id: Some((*values.get(id)?).to_owned()),
                secret: (*values.get(secret)?).to_owned().into(),
            });
        }
        // The parser's own message would quote the text.
        if let Ok(key) = toml::from_str(text) {
            return Some(key);
        }
        second.is_none().then(|| Self {
            id: None,
            secret: first.to_owned().into(),
        })
    }
}

/// Returns the columns of the ID and the secret: the console's CSV file has the key alone, or with
/// other values of a new user, such as a password.
fn columns(head: &str) -> Option<[usize; 2]> {
    let column = |name: &str| {
        head.split(',')
            .position(|it| cell(it).eq_ignore_ascii_case(name))
    };
    let id = column("AccessKey ID").or_else(|| column("AccessKeyId"))?;
    let secret = column("AccessKey Secret").or_else(|| column("AccessKeySecret"))?;
    Some([id, secret])
}

/// Returns a cell without its quotes; a key has no character that needs them.
fn cell(text: &str) -> &str {
    text.trim().trim_matches('"')
}

/// Returns the text of a key file.
pub(super) fn key_file_text(id: &str, secret: &SecretText) -> SecretText {
    let secret = Zeroizing::new(quoted(secret.expose()));
    format!(
        "access_key_id = {}\naccess_key_secret = {}\n",
        quoted(id),
        *secret
    )
    .into()
}

#[cfg(test)]
mod tests {
    use super::AccessKey;

    #[test]
    fn access_key_is_parsed_from_known_formats() {
        let check = |text: &str, expected: Option<(Option<&str>, &str)>| {
            let key = AccessKey::parse(text);
            let found = key.as_ref();
            let found = found.map(|it| (it.id.as_deref(), it.secret.expose()));
            assert_eq!(found, expected, "{text}");
        };
        let both = Some((Some("LTAI1"), "S"));
        check(
            "access_key_id = \"LTAI1\"\naccess_key_secret = \"S\"\n",
            both,
        );
        check("\u{feff}AccessKey ID,AccessKey Secret\r\nLTAI1,S\r\n", both);
        check(
            "User Principal Name,Logon Password,\"AccessKey ID\",\"AccessKey Secret\"\n\
             u@1.onaliyun.com,,\"LTAI1\",\"S\"\n",
            both,
        );
        check("S\n", Some((None, "S")));
        check("", None);
        check("one\ntwo\n", None);
        check("AccessKey ID,AccessKey Secret\n", None);
    }
}
