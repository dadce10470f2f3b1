//! Parses aliyun-cli's file: `{"current": …, "profiles": [{…}, …]}`.

use std::collections::BTreeMap;

use serde_json::value::RawValue;
use stsd_client::SecretText;

use super::{
    FileError, FileFormat, MAX_PROFILES, ThirdPartyProfile, file_error, parsed_profile::FieldValue,
};
use crate::json_object::{RawObject, folded};

pub(super) fn read(text: &str) -> Result<Vec<ThirdPartyProfile>, FileError> {
    let top: RawObject<'_> = serde_json::from_str(text).map_err(|it| broken(&it))?;
    let list = match top.find("profiles") {
        Some(list) => list,
        None => return file_error("it has no \"profiles\", so it is not aliyun-cli's file"),
    };
    let Ok(list) = serde_json::from_str::<Option<Vec<&RawValue>>>(list.get()) else {
        return file_error("its \"profiles\" is no list");
    };
    let list = list.unwrap_or_default();
    if list.len() > MAX_PROFILES {
        return file_error(&format!("it has more than {MAX_PROFILES} profiles"));
    }
    let read = list
        .iter()
        .zip(1..)
        .map(|(raw, number)| profile(raw, number));
    read.collect()
}

fn profile(raw: &RawValue, number: usize) -> Result<ThirdPartyProfile, FileError> {
    let Ok(object) = serde_json::from_str::<RawObject<'_>>(raw.get()) else {
        return file_error(&format!("profile number {number} in it is no object"));
    };
    let mut fields = BTreeMap::new();
    for (key, value) in object.0 {
        let Some(field) = field(value) else { continue };
        // aliyun-cli takes the last value.
        fields.insert(folded(&key), field);
    }
    Ok(ThirdPartyProfile {
        number,
        format: FileFormat::Json,
        fields,
    })
}

/// Returns a value; `None` for `null`.
fn field(raw: &RawValue) -> Option<FieldValue> {
    let text = raw.get();
    Some(match text.as_bytes().first() {
        Some(b'n') => return None,
        Some(b'"') => match serde_json::from_str::<SecretText>(text) {
            Ok(text) => FieldValue::Text(text),
            Err(_) => FieldValue::Other("no Unicode"),
        },
        Some(b't') => FieldValue::Flag(true),
        Some(b'f') => FieldValue::Flag(false),
        Some(b'[') => FieldValue::Other("a list"),
        Some(b'{') => FieldValue::Other("an object"),
        _ => match text.parse() {
            Ok(number) => FieldValue::Number(number),
            Err(_) => FieldValue::Other("a number"),
        },
    })
}

/// Returns an error with the position only, because serde's message quotes values.
fn broken(error: &serde_json::Error) -> FileError {
    let (line, column) = (error.line(), error.column());
    FileError(if error.is_eof() {
        format!("it ends in the middle, at line {line}")
    } else {
        format!("it is not JSON as aliyun-cli writes it, at line {line}, column {column}")
    })
}
