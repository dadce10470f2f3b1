//! Parses the SDKs' file: `[NAME]`, `type = …`, with keys mapped to aliyun-cli's names. Where
//! the SDKs' parsers differ (case of keys, quotes, comments after a value), the union of
//! their syntaxes is accepted.

use std::collections::btree_map::{BTreeMap, Entry};

use stsd_client::SecretText;

use super::{
    FileError, FileFormat, MAX_PROFILES, ThirdPartyProfile, file_error, parsed_profile::FieldValue,
};

/// Keys of the SDKs and their names in aliyun-cli.
const KEYS: [(&str, &str); 8] = [
    ("type", "mode"),
    ("security_token", "sts_token"),
    ("public_key_id", "key_pair_name"),
    ("role_name", "ram_role_name"),
    ("role_arn", "ram_role_arn"),
    ("role_session_name", "ram_session_name"),
    ("oidc_token_file_path", "oidc_token_file"),
    ("private_key_file", "private_key"),
];

/// Types of the SDKs and the corresponding modes of aliyun-cli.
const MODES: [(&str, &str); 7] = [
    ("access_key", "AK"),
    ("sts", "StsToken"),
    ("ecs_ram_role", "EcsRamRole"),
    ("ram_role_arn", "RamRoleArn"),
    ("oidc_role_arn", "OIDC"),
    ("rsa_key_pair", "RsaKeyPair"),
    ("bearer", "BearerToken"),
];

/// The key of a type that the SDKs do not know.
pub(super) const UNKNOWN_TYPE: &str = "unknown_type";

pub(super) fn read(text: &str) -> Result<Vec<ThirdPartyProfile>, FileError> {
    let profiles = sections(text)?;
    match tool_of(&profiles) {
        Some(tool) => file_error(&format!(
            "it is {tool}, which holds an AccessKey in a form of its own: stsctl init takes that \
             AccessKey"
        )),
        None => Ok(profiles),
    }
}

fn sections(text: &str) -> Result<Vec<ThirdPartyProfile>, FileError> {
    let mut profiles: Vec<ThirdPartyProfile> = Vec::new();
    let mut last_key: Option<String> = None;
    for (line, number) in text.lines().zip(1..) {
        let is_indented = line.starts_with([' ', '\t']);
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if is_indented
            && !has_plain_key(line)
            && let (Some(profile), Some(key)) = (profiles.last_mut(), &last_key)
        {
            continue_value(profile, key, line);
            continue;
        }
        if let Some(name) = header(line) {
            if profiles.len() == MAX_PROFILES {
                return file_error(&format!("it has more than {MAX_PROFILES} sections"));
            }
            let name = FieldValue::Text(SecretText::from(name.to_owned()));
            last_key = None;
            profiles.push(ThirdPartyProfile {
                number: profiles.len() + 1,
                format: FileFormat::Ini,
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
        let key = match renamed(&KEYS, &key).unwrap_or(&key) {
            // The name of aliyun-cli's mode is no type of the SDKs.
            "mode" if !value.is_empty() && !is_type(value) => UNKNOWN_TYPE.to_owned(),
            other => other.to_owned(),
        };
        let value = match key.as_str() {
            "mode" => renamed(&MODES, &value.to_ascii_lowercase()).unwrap_or(value),
            _ => value,
        };
        let field = FieldValue::Text(SecretText::from(value.to_owned()));
        last_key = Some(key.clone());
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

/// Returns the tool whose file this is, if the file is none of the SDKs.
fn tool_of(profiles: &[ThirdPartyProfile]) -> Option<&'static str> {
    const FILES: [(&str, &str); 5] = [
        ("accesskeyid", "the file of ossutil"),
        ("accesskeysecret", "the file of ossutil"),
        ("ecsak", "the file of ossutil"),
        ("aws_access_key_id", "a file of the AWS SDKs"),
        ("aliyun_access_key_id", "the file of aliyuncli for Python"),
    ];
    let has = |key: &str| profiles.iter().any(|it| it.fields.contains_key(key));
    let found = FILES.iter().find(|it| has(it.0));
    found.map(|it| it.1)
}

/// Returns the sections with a long-lived AccessKey in a file of ossutil.
pub(super) fn ossutil_keys(text: &str) -> Result<Vec<String>, FileError> {
    const SECRETS: [&str; 3] = ["accesskeysecret", "access-key-secret", "access_key_secret"];
    const TOKENS: [&str; 3] = ["ststoken", "sts-token", "sts_token"];
    let sections = sections(text)?;
    let has_any = |it: &ThirdPartyProfile, keys: &[&str]| keys.iter().any(|key| it.has(key));
    let keyed = sections
        .iter()
        .filter(|it| has_any(it, &SECRETS) && !has_any(it, &TOKENS));
    Ok(keyed.map(ThirdPartyProfile::label).collect())
}

/// Returns `true` for a type of the SDKs.
fn is_type(value: &str) -> bool {
    renamed(&MODES, &value.to_ascii_lowercase()).is_some()
}

/// Returns `true` if a line sets a key whose name has no other characters than those of a name.
fn has_plain_key(line: &str) -> bool {
    let plain = |it: u8| it.is_ascii_alphanumeric() || b"_-.".contains(&it);
    header(line).is_some() || pair(line).is_some_and(|(key, _)| key.bytes().all(plain))
}

/// Appends an indented line to a value, as the reader of the SDK for Python does.
fn continue_value(profile: &mut ThirdPartyProfile, key: &str, line: &str) {
    if let Some(FieldValue::Text(value)) = profile.fields.get_mut(key) {
        *value = SecretText::from(format!("{}\n{line}", value.expose()));
    }
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
