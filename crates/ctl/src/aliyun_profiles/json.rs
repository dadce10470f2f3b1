//! Decides how aliyun-cli's file is read: `{"current": …, "profiles": [{…}, …]}`.

use std::collections::btree_map::{BTreeMap, Entry};

use serde_json::value::RawValue;
use stsd_client::SecretText;

use super::{Foreign, MOST_PROFILES, Unreadable, parsed_profile::Field, unreadable};
use crate::json_object::Object;

pub(super) fn read(text: &str) -> Result<Vec<Foreign>, Unreadable> {
    let top: Object<'_> = serde_json::from_str(text).map_err(|it| broken(&it))?;
    let list = match top.find("profiles") {
        Ok(Some(list)) => list,
        Ok(None) => return unreadable("it has no \"profiles\", so it is not aliyun-cli's file"),
        Err(_) => return unreadable("it has \"profiles\" twice"),
    };
    let Ok(list) = serde_json::from_str::<Option<Vec<&RawValue>>>(list.get()) else {
        return unreadable("its \"profiles\" is no list");
    };
    let list = list.unwrap_or_default();
    if list.len() > MOST_PROFILES {
        return unreadable(&format!("it has more than {MOST_PROFILES} profiles"));
    }
    let read = list
        .iter()
        .zip(1..)
        .map(|(raw, number)| profile(raw, number));
    read.collect()
}

fn profile(raw: &RawValue, number: usize) -> Result<Foreign, Unreadable> {
    let Ok(object) = serde_json::from_str::<Object<'_>>(raw.get()) else {
        return unreadable(&format!("profile number {number} in it is no object"));
    };
    let mut fields = BTreeMap::new();
    for (key, value) in object.0 {
        let Some(field) = field(value) else { continue };
        match fields.entry(key) {
            Entry::Vacant(place) => {
                place.insert(field);
            }
            Entry::Occupied(mut place) => {
                place.insert(Field::Twice);
            }
        }
    }
    Ok(Foreign { number, fields })
}

/// Returns a value; `null` is none.
fn field(raw: &RawValue) -> Option<Field> {
    let text = raw.get();
    Some(match text.as_bytes().first() {
        Some(b'n') => return None,
        Some(b'"') => match serde_json::from_str::<SecretText>(text) {
            Ok(text) => Field::Text(text),
            Err(_) => Field::Other("no Unicode"),
        },
        Some(b't') => Field::Flag(true),
        Some(b'f') => Field::Flag(false),
        Some(b'[') => Field::Other("a list"),
        Some(b'{') => Field::Other("an object"),
        _ => match text.parse() {
            Ok(number) => Field::Number(number),
            Err(_) => Field::Other("a number"),
        },
    })
}

/// What is wrong, and where, without a word of it: serde quotes values.
fn broken(error: &serde_json::Error) -> Unreadable {
    let (line, column) = (error.line(), error.column());
    Unreadable(if error.is_eof() {
        format!("it ends in the middle, at line {line}")
    } else {
        format!("it is not JSON as aliyun-cli writes it, at line {line}, column {column}")
    })
}
