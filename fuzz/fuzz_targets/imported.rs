//! A file of aliyun-cli or the SDKs, as `stsctl import` reads it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use stsctl::aliyun_profiles::{Disposition, Plan, plan};
use stsd_fuzz::MARKED;
use toml::Table;

/// The fields of a profile that contain a secret. Messages may show all others.
const SECRET: [&str; 9] = [
    "access_key_secret",
    "sts_token",
    "private_key",
    "bearer_token",
    "access_token",
    "oauth_access_token",
    "oauth_refresh_token",
    "credentials_uri",
    "external_id",
];

fuzz_target!(|bytes: &[u8]| {
    let location = |name: &str| ("access_key_file", format!("{name}.key"));
    let plan = match plan(bytes, location) {
        Ok(plan) => plan,
        Err(error) => {
            let said = error.to_string();
            assert!(
                !said.contains(MARKED) && !said.contains(char::is_control),
                "{said}"
            );
            return;
        }
    };
    let shown = shown(&plan);
    let lines = shown.replace('\n', "");
    assert!(!lines.contains(char::is_control), "{shown:?}");
    if secret_alone(bytes) {
        assert!(!shown.contains(MARKED), "{shown}");
        assert!(!format!("{plan:?}").contains(MARKED), "{plan:?}");
    }
    is_ours(plan);
});

/// Returns the whole output for a person.
fn shown(plan: &Plan) -> String {
    let kept = plan
        .secrets
        .iter()
        .map(|it| format!("{} {}", it.name, it.redacted));
    let mut parts: Vec<_> = kept.collect();
    parts.push(plan.report());
    parts.push(plan.redacted_addition());
    parts.push(plan.long_lived.join(" "));
    parts.join("\n")
}

/// Checks that the written text is a configuration, and that a second import of the file adds nothing.
fn is_ours(mut plan: Plan) {
    let written: Table = toml::from_str(&plan.addition()).expect("it is TOML");
    let seen: Table = toml::from_str(&plan.redacted_addition()).expect("it is TOML");
    assert_eq!(seen.len(), written.len());
    if let Some(region) = &plan.region {
        toml::from_str::<Table>(&region.lines()).expect("it is TOML");
    }
    for kept in plan.secrets.iter().filter(|it| !it.is_uri) {
        let key: Table = toml::from_str(kept.text.expose()).expect("it is a key file");
        assert_eq!(key.len(), 2);
    }
    plan.merge_into(&written);
    assert!(plan.tables.is_empty() && plan.secrets.is_empty());
    let taken = |it: &stsctl::aliyun_profiles::Outcome| it.disposition == Disposition::Converted;
    assert!(!plan.outcomes.iter().any(taken), "{}", plan.report());
}

/// Returns `true` if the mark occurs only in values that are secrets.
fn secret_alone(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim_start_matches('\u{feff}');
    let all = text.matches(MARKED).count();
    if let Ok(value) = serde_json::from_str::<Value>(text) {
        let (mut secret, mut other) = (0, 0);
        count(&value, &mut secret, &mut other);
        return other == 0 && secret == all;
    }
    // The lines of an INI file.
    text.lines().filter(|it| it.contains(MARKED)).all(|line| {
        let rest = line.trim().strip_prefix("access_key_secret");
        rest.is_some_and(|it| it.trim_start().starts_with(['=', ':']))
    })
}

fn count(value: &Value, secret: &mut usize, other: &mut usize) {
    let marks = |text: &str| text.matches(MARKED).count();
    match value {
        Value::Object(entries) => {
            for (key, value) in entries {
                *other += marks(key);
                match value {
                    Value::String(text) if is_secret(key, text) => *secret += marks(text),
                    value => count(value, secret, other),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|it| count(it, secret, other)),
        Value::String(text) => *other += marks(text),
        _ => {}
    }
}

/// Returns `true` for a field that contains a secret. Messages show the program of a command, and
/// not its arguments.
fn is_secret(key: &str, text: &str) -> bool {
    if key == "process_command" {
        let program = text.split_whitespace().next().unwrap_or_default();
        return !program.contains(MARKED) && !text.contains(['"', '\'', '\\']);
    }
    // The URI of the metadata service names a role, which is shown.
    let names_role = key == "credentials_uri" && text.contains("security-credentials/");
    SECRET.contains(&key) && !names_role
}
