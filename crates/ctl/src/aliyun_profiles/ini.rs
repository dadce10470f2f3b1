//! Parses the SDKs' file: `[NAME]`, `type = …`, with keys mapped to aliyun-cli's names. Where
//! the SDKs' parsers differ (case of keys, quotes, comments after a value), the union of
//! their syntaxes is accepted.

use std::collections::btree_map::{BTreeMap, Entry};

use stsd_client::SecretText;

use super::{FileError, MAX_PROFILES, ThirdPartyProfile, file_error, parsed_profile::FieldValue};

/// Keys of the SDKs and their names in aliyun-cli.
const KEYS: [(&str, &str); 6] = [
    ("type", "mode"),
    ("role_name", "ram_role_name"),
    ("role_arn", "ram_role_arn"),
    ("role_session_name", "ram_session_name"),
    ("oidc_token_file_path", "oidc_token_file"),
    ("private_key_file", "private_key"),
];

/// Types of the SDKs and the corresponding modes of aliyun-cli.
const MODES: [(&str, &str); 6] = [
    ("access_key", "AK"),
    ("sts", "StsToken"),
    ("ecs_ram_role", "EcsRamRole"),
    ("ram_role_arn", "RamRoleArn"),
    ("oidc_role_arn", "OIDC"),
    ("rsa_key_pair", "RsaKeyPair"),
];

pub(super) fn read(text: &str) -> Result<Vec<ThirdPartyProfile>, FileError> {
    let mut profiles: Vec<ThirdPartyProfile> = Vec::new();
    for (line, number) in text.lines().zip(1..) {
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = header(line) {
            if profiles.len() == MAX_PROFILES {
                return file_error(&format!("it has more than {MAX_PROFILES} sections"));
            }
            let name = FieldValue::Text(SecretText::from(name.to_owned()));
            profiles.push(ThirdPartyProfile {
                number: profiles.len() + 1,
                fields: BTreeMap::from([("name".to_owned(), name)]),
            });
            continue;
        }
        let Some((key, value)) = pair(line) else {
            let what = "is no section and no key with a value";
            return file_error(&format!("line {number} {what}"));
        };
        let Some(profile) = profiles.last_mut() else {
            return file_error(&format!("line {number} is before the first section"));
        };
        let key = key.to_ascii_lowercase();
        // The section's header names the profile.
        if key == "name" {
            continue;
        }
        let key = renamed(&KEYS, &key).unwrap_or(&key).to_owned();
        let value = match key.as_str() {
            "mode" => renamed(&MODES, &value.to_ascii_lowercase()).unwrap_or(value),
            _ => value,
        };
        let field = FieldValue::Text(SecretText::from(value.to_owned()));
        match profile.fields.entry(key) {
            Entry::Vacant(place) => {
                place.insert(field);
            }
            Entry::Occupied(mut place) => {
                place.insert(FieldValue::Twice);
            }
        }
    }
    Ok(profiles)
}

fn header(line: &str) -> Option<&str> {
    let rest = without_comment(line).strip_prefix('[')?;
    // Other content may hold a secret, and must not be shown as a name.
    let name = rest.strip_suffix(']')?.trim();
    Some(name).filter(|it| !it.contains(['"', '=', '{', '[']))
}

fn pair(line: &str) -> Option<(&str, &str)> {
    let (key, value) = line.split_once(['=', ':'])?;
    let value = value.trim();
    let quoted = ['"', '\''].into_iter().find_map(|quote| {
        let rest = value.strip_prefix(quote)?;
        let (inner, behind) = rest.rsplit_once(quote)?;
        without_comment(behind).is_empty().then_some(inner)
    });
    Some((key.trim(), quoted.unwrap_or_else(|| without_comment(value))))
        .filter(|it| !it.0.is_empty())
}

/// Returns a value without its trailing comment, which white space precedes.
fn without_comment(value: &str) -> &str {
    let mut before = ' ';
    for (at, c) in value.char_indices() {
        if matches!(c, '#' | ';') && before.is_whitespace() {
            return value[..at].trim_end();
        }
        before = c;
    }
    value
}

fn renamed<'a>(table: &'a [(&str, &'static str)], word: &str) -> Option<&'a str> {
    table.iter().find(|it| it.0 == word).map(|it| it.1)
}
