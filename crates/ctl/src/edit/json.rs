//! An editor for one profile of aliyun-cli's file. It replaces values within the text: every
//! other byte stays.

use std::ops::Range;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use serde_json::value::RawValue;
use stsctl::json_object::RawObject;

/// The text of a file and its parsed profiles.
pub(crate) struct Profiles<'a> {
    text: &'a str,
    top: RawObject<'a>,
    list: Vec<(&'a RawValue, RawObject<'a>)>,
}

/// Returns an error with the position only, because the text may hold secrets.
fn unreadable(error: &serde_json::Error) -> anyhow::Error {
    let (line, column) = (error.line(), error.column());
    anyhow!("this is not what aliyun-cli writes, at line {line}, column {column}")
}

impl<'a> Profiles<'a> {
    pub(crate) fn read(text: &'a str) -> Result<Self> {
        let body = text.strip_prefix('\u{feff}').unwrap_or(text);
        let top: RawObject<'a> = serde_json::from_str(body).map_err(|it| unreadable(&it))?;
        let list: Option<Vec<&'a RawValue>> = match top.find("profiles")? {
            Some(list) => {
                serde_json::from_str(list.get()).map_err(|_| anyhow!("\"profiles\" is no list"))?
            }
            None => None,
        };
        let mut read = Vec::new();
        for profile in list.unwrap_or_default() {
            let object = serde_json::from_str(profile.get());
            read.push((
                profile,
                object.map_err(|_| anyhow!("a profile in it is no object"))?,
            ));
        }
        Ok(Self {
            text,
            top,
            list: read,
        })
    }

    /// Returns the name of the profile that aliyun-cli uses, if the file has no profile of this name.
    /// aliyun-cli then fails at once, also with `--profile`.
    pub(crate) fn missing_current(&self) -> Result<Option<String>> {
        const DEFAULT: &str = "default";
        let named = self.top.text("current")?;
        let current = named.unwrap_or_else(|| DEFAULT.to_owned());
        Ok((!self.has(&current)?).then_some(current))
    }

    /// Returns the text with this name as that of the profile which aliyun-cli uses.
    pub(crate) fn with_current(&self, name: &str) -> Result<String> {
        let mut text = self.text.to_owned();
        match self.top.find("current")? {
            Some(there) => text.replace_range(self.span(there.get()), &quoted(name)),
            None => {
                let open = text.find('{').context("an object begins so")? + 1;
                text.insert_str(open, &format!("\n\t{},", pair("current", name)));
            }
        }
        Ok(text)
    }

    /// Returns the value of a key in a profile.
    pub(crate) fn value(&self, name: &str, key: &str) -> Result<Option<String>> {
        match self.find(name)? {
            Some((_, profile)) => profile.text(key),
            None => Ok(None),
        }
    }

    pub(crate) fn has(&self, name: &str) -> Result<bool> {
        Ok(self.find(name)?.is_some())
    }

    fn find(&self, name: &str) -> Result<Option<&(&'a RawValue, RawObject<'a>)>> {
        let mut found = Vec::new();
        for profile in &self.list {
            if profile.1.text("name")?.as_deref() == Some(name) {
                found.push(profile);
            }
        }
        ensure!(found.len() < 2, "it has the profile \"{name}\" twice");
        Ok(found.pop())
    }

    /// Returns the text with these values in a profile. A new profile gets `more` as well.
    pub(crate) fn with(&self, pairs: &[(&str, &str)], more: &[(&str, &str)]) -> Result<String> {
        let name = pairs.first().context("a profile has a name")?.1;
        let mut edits: Vec<(Range<usize>, String)> = Vec::new();
        if let Some((raw, profile)) = self.find(name)? {
            let mut new = Vec::new();
            for (key, value) in pairs {
                match profile.find(key)? {
                    None => new.push(pair(key, value)),
                    Some(there)
                        if serde_json::from_str::<String>(there.get()).ok().as_deref()
                            == Some(value) => {}
                    Some(there) => edits.push((self.span(there.get()), quoted(value))),
                }
            }
            if !new.is_empty() {
                let (last, space) = self.end_of(raw, profile)?;
                let new: Vec<_> = new.iter().map(|it| format!(",{space}{it}")).collect();
                edits.push((last..last, new.concat()));
            }
        } else {
            let all: Vec<_> = pairs.iter().chain(more).map(|(k, v)| pair(k, v)).collect();
            edits.push(self.added(&all)?);
        }
        edits.sort_by_key(|it| it.0.start);
        let mut text = self.text.to_owned();
        for (range, new) in edits.into_iter().rev() {
            text.replace_range(range, &new);
        }
        Ok(text)
    }

    /// Returns the edit that appends a profile, indented like the existing ones.
    fn added(&self, pairs: &[String]) -> Result<(Range<usize>, String)> {
        let object = |space: &str| {
            let unit = match space.trim_start_matches(['\r', '\n']) {
                indent if indent.starts_with(' ') => &indent[..indent.len().div_ceil(2)],
                _ => "\t",
            };
            let below = if space.contains('\n') {
                format!("{space}{unit}")
            } else {
                String::new()
            };
            let body = pairs.join(&format!(",{below}"));
            format!("{{{below}{body}{space}}}")
        };
        if let Some((first, _)) = self.list.first() {
            let last = self.list.last().map_or(0, |it| self.span(it.0.get()).end);
            let space = self.space_before(self.span(first.get()).start);
            return Ok((last..last, format!(",{space}{}", object(space))));
        }
        let list = format!("[\n\t\t{}\n\t]", object("\n\t\t"));
        if let Some(there) = self.top.find("profiles")? {
            return Ok((self.span(there.get()), list));
        }
        let list = format!("\"profiles\": {list}");
        match self.top.0.last() {
            Some((_, last)) => {
                let end = self.span(last.get()).end;
                Ok((end..end, format!(",\n\t{list}")))
            }
            None => {
                let open = self.text.find('{').context("an object begins so")? + 1;
                Ok((open..open, format!("\n\t{list}\n")))
            }
        }
    }

    /// Returns the end of an object's last value, and the white space before its first key.
    fn end_of(&self, raw: &RawValue, object: &RawObject<'_>) -> Result<(usize, &'a str)> {
        let Some((_, last)) = object.0.last() else {
            bail!("a profile in it is empty");
        };
        let open = self.span(raw.get()).start + 1;
        let rest = &self.text[open..];
        let space = &rest[..rest.len() - rest.trim_start().len()];
        Ok((self.span(last.get()).end, space))
    }

    fn space_before(&self, at: usize) -> &'a str {
        let before = &self.text[..at];
        &before[before.trim_end().len()..]
    }

    /// Returns the range of a part of the text.
    fn span(&self, part: &str) -> Range<usize> {
        let start = part.as_ptr() as usize - self.text.as_ptr() as usize;
        start..start + part.len()
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn pair(key: &str, value: &str) -> String {
    format!("{}: {}", quoted(key), quoted(value))
}

#[cfg(test)]
mod tests {
    use super::Profiles;

    fn check(before: &str, after: &str) {
        let pairs = [
            ("name", "x"),
            ("mode", "External"),
            ("process_command", "/s x"),
        ];
        let with = |text: &str| {
            let profiles = Profiles::read(text).unwrap();
            profiles.with(&pairs, &[("region_id", "r")]).unwrap()
        };
        assert_eq!(with(before), after);
        assert_eq!(with(after), after, "a second time nothing changes");
        let body = after.trim_start_matches('\u{feff}');
        serde_json::from_str::<serde_json::Value>(body).unwrap();
    }

    #[test]
    fn json_edit_keeps_every_other_byte() {
        let ours = "\"name\": \"x\",\n\t\t\t\"mode\": \"External\",\n\t\t\t\
            \"process_command\": \"/s x\",\n\t\t\t\"region_id\": \"r\"";
        check(
            "{}",
            &format!("{{\n\t\"profiles\": [\n\t\t{{\n\t\t\t{ours}\n\t\t}}\n\t]\n}}"),
        );
        check(
            "{\"profiles\":null,\"b\":1e99}",
            &format!("{{\"profiles\":[\n\t\t{{\n\t\t\t{ours}\n\t\t}}\n\t],\"b\":1e99}}"),
        );
        check(
            "\u{feff}{\n\t\"z\": 12345678901234567890123,\n\t\"profiles\": [\n\t\t{\"name\":\"a\", \"é\": [ ]}\n\t],\n\t\"z\": 1\n}\r\n",
            &format!(
                "\u{feff}{{\n\t\"z\": 12345678901234567890123,\n\t\"profiles\": [\n\t\t\
                 {{\"name\":\"a\", \"é\": [ ]}},\n\t\t{{\n\t\t\t{ours}\n\t\t}}\n\t],\n\t\"z\": 1\n}}\r\n"
            ),
        );
        check(
            "{\"profiles\":[{\"name\":\"x\",\"u\":{\"k\":1.0},\"mode\":\"External\"},{\"name\":\"b\"}]}",
            "{\"profiles\":[{\"name\":\"x\",\"u\":{\"k\":1.0},\"mode\":\"External\",\"process_command\": \"/s x\"},{\"name\":\"b\"}]}",
        );
        check(
            "{\n  \"profiles\": [\n    {\n      \"process_command\" : \"/old \\u0041\",\n      \"name\": \"\\u0078\"\n    }\n  ]\n}",
            "{\n  \"profiles\": [\n    {\n      \"process_command\" : \"/s x\",\n      \"name\": \"\\u0078\",\n      \"mode\": \"External\"\n    }\n  ]\n}",
        );
        check(
            "{\n  \"profiles\": [\n    {\n      \"name\": \"a\"\n    }\n  ]\n}",
            "{\n  \"profiles\": [\n    {\n      \"name\": \"a\"\n    },\n    {\n      \"name\": \"x\",\n      \"mode\": \"External\",\n      \"process_command\": \"/s x\",\n      \"region_id\": \"r\"\n    }\n  ]\n}",
        );
    }

    #[test]
    fn invalid_json_config_is_rejected_unquoted() {
        for text in [
            "",
            "{",
            "[]",
            "null",
            "{} {}",
            "{\"profiles\":{}}",
            "{\"profiles\":[\"LTAISECRET\"]}",
            "{\"profiles\":\"LTAISECRET\"}",
            "\"LTAISECRET\"",
            "{\"profiles\":[],\"profiles\":[]}",
            "{// no comments\n}",
        ] {
            let Err(error) = Profiles::read(text) else {
                panic!("{text}")
            };
            assert!(!format!("{error:#}").contains("SECRET"), "{error:#}");
        }
        let twice = Profiles::read("{\"profiles\":[{\"name\":\"x\"},{\"name\":\"x\"}]}").unwrap();
        assert!(twice.with(&[("name", "x")], &[]).is_err());
    }
}
