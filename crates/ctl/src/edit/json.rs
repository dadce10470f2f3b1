//! An editor for one profile of aliyun-cli's file. It replaces values within the text: every
//! other byte stays.

use std::ops::Range;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use serde_json::value::RawValue;
use stsctl::json_object::{RawObject, folded};

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
        let list: Option<Vec<&'a RawValue>> = match top.find("profiles") {
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

    /// Returns the first value that aliyun-cli cannot read: aliyun-cli reads the whole file into texts
    /// and numbers, and fails at once for another type. `None` without such a value.
    pub(crate) fn mistyped(&self) -> Option<String> {
        let at_top = self.top.0.iter().find(|it| match folded(&it.0).as_str() {
            "current" | "meta_path" => !is_text(it.1),
            _ => false,
        });
        if let Some((key, _)) = at_top {
            return Some(format!("{key} is no text"));
        }
        let of = |(at, (_, profile)): (usize, &(&RawValue, RawObject<'_>))| {
            let mut keys = profile.0.iter();
            let problem = keys.find_map(|(key, value)| mistyped(key, value))?;
            let name = profile.text("name");
            let name = name.unwrap_or_else(|| format!("number {}", at + 1));
            Some(format!("{problem} in its profile {name}"))
        };
        self.list.iter().enumerate().find_map(of)
    }

    /// Returns the name of the profile that aliyun-cli uses, if the file has no profile of this name.
    /// aliyun-cli then fails at once, also with `--profile`.
    pub(crate) fn missing_current(&self) -> Result<Option<String>> {
        const DEFAULT: &str = "default";
        let named = self.top.text("current");
        let current = named.unwrap_or_else(|| DEFAULT.to_owned());
        Ok((!self.has(&current)?).then_some(current))
    }

    /// Returns the text with this name as that of the profile which aliyun-cli uses.
    pub(crate) fn with_current(&self, name: &str) -> Result<String> {
        let mut text = self.text.to_owned();
        match self.top.find("current") {
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
            Some((_, profile)) => Ok(profile.text(key)),
            None => Ok(None),
        }
    }

    pub(crate) fn has(&self, name: &str) -> Result<bool> {
        Ok(self.find(name)?.is_some())
    }

    fn find(&self, name: &str) -> Result<Option<&(&'a RawValue, RawObject<'a>)>> {
        let mut found = Vec::new();
        for profile in &self.list {
            if profile.1.text("name").as_deref() == Some(name) {
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
                match profile.find(key) {
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
        if let Some(there) = self.top.find("profiles") {
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

/// The keys of a profile that aliyun-cli 3.5 (`config/profile.go`) reads into whole numbers.
const NUMBERS: [&str; 8] = [
    "expired_seconds",
    "retry_timeout",
    "connect_timeout",
    "retry_count",
    "cloud_sso_access_token_expire",
    "sts_expiration",
    "oauth_access_token_expire",
    "oauth_refresh_token_expire",
];

/// The keys that it reads into truth values.
const FLAGS: [&str; 2] = ["auto_plugin_install", "auto_plugin_install_enable_pre"];

/// The keys that it reads into texts.
const TEXTS: [&str; 34] = [
    "name",
    "mode",
    "access_key_id",
    "access_key_secret",
    "sts_token",
    "sts_region",
    "ram_role_name",
    "ram_role_arn",
    "ram_session_name",
    "external_id",
    "source_profile",
    "private_key",
    "key_pair_name",
    "verified",
    "region_id",
    "output_format",
    "language",
    "site",
    "process_command",
    "credentials_uri",
    "oidc_provider_arn",
    "oidc_token_file",
    "cloud_sso_sign_in_url",
    "access_token",
    "cloud_sso_access_config",
    "cloud_sso_account_id",
    "oauth_access_token",
    "oauth_refresh_token",
    "oauth_site_type",
    "endpoint_type",
    "endpoint",
    "external_account_type",
    "bearer_token",
    "bearer_token_header_key",
];

/// Returns the problem of a value of another type than aliyun-cli reads; `None` for a valid one, for
/// `null`, and for a key that aliyun-cli does not know.
fn mistyped(key: &str, value: &RawValue) -> Option<String> {
    let text = value.get();
    let known = folded(key);
    let known = known.as_str();
    let (is_valid, wanted) = if NUMBERS.contains(&known) {
        (text.parse::<i64>().is_ok(), "whole number")
    } else if FLAGS.contains(&known) {
        (["true", "false"].contains(&text), "true or false")
    } else if TEXTS.contains(&known) {
        (text.starts_with('"'), "text")
    } else {
        return None;
    };
    let problem = || format!("{key} is no {wanted}");
    (!is_valid && text != "null").then(problem)
}

fn is_text(value: &RawValue) -> bool {
    value.get().starts_with('"') || value.get() == "null"
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
    fn edit_keeps_the_spelling_of_a_key() {
        check(
            "{\"Profiles\":[{\"NAME\":\"x\",\"Mode\":\"AK\",\"mode\":null,\"Process_Command\":\"/old\"}]}",
            "{\"Profiles\":[{\"NAME\":\"x\",\"Mode\":\"AK\",\"mode\":\"External\",\"Process_Command\":\"/s x\"}]}",
        );
        let profiles = Profiles::read("{\"Current\":\"d\",\"profiles\":[{\"Name\":\"d\"}]}");
        assert_eq!(profiles.unwrap().missing_current().unwrap(), None);
        let profiles = Profiles::read("{\"Current\":\"e\",\"profiles\":[{\"Name\":\"d\"}]}");
        let with_current = profiles.unwrap().with_current("d").unwrap();
        assert_eq!(
            with_current,
            "{\"Current\":\"d\",\"profiles\":[{\"Name\":\"d\"}]}"
        );
    }

    #[test]
    fn value_of_another_type_is_one_that_aliyun_cli_cannot_read() {
        let mistyped = |fields: &str| {
            let text = format!("{{\"profiles\":[{{\"name\":\"a\"}},{{\"name\":\"b\",{fields}}}]}}");
            Profiles::read(&text).unwrap().mistyped()
        };
        for fields in [
            "\"expired_seconds\":900",
            "\"expired_seconds\":null",
            "\"other\":[1]",
            "\"auto_plugin_install\":true",
        ] {
            assert_eq!(mistyped(fields), None, "{fields}");
        }
        for (fields, problem) in [
            (
                "\"expired_seconds\":\"900\"",
                "expired_seconds is no whole number",
            ),
            ("\"Retry_Count\":1.5", "Retry_Count is no whole number"),
            ("\"region_id\":5", "region_id is no text"),
            (
                "\"access_key_secret\":[\"LTAISECRET\"]",
                "access_key_secret is no text",
            ),
            (
                "\"auto_plugin_install\":1",
                "auto_plugin_install is no true or false",
            ),
        ] {
            let found = mistyped(fields).unwrap();
            assert_eq!(found, format!("{problem} in its profile b"));
        }
        let name = Profiles::read("{\"profiles\":[{\"name\":5}]}").unwrap();
        assert_eq!(
            name.mistyped().as_deref(),
            Some("name is no text in its profile number 1")
        );
        let current = Profiles::read("{\"current\":5,\"profiles\":[]}").unwrap();
        assert_eq!(current.mistyped().as_deref(), Some("current is no text"));
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
