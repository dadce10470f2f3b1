//! Tables of cases.

mod file;
mod merge;
mod modes;
mod names;

use super::{Disposition, Plan, plan};

fn read(text: &str) -> Plan {
    plan(text.as_bytes(), |name| {
        ("access_key_file", format!("{name}.key"))
    })
    .unwrap()
}

/// One profile, named `p`, with these fields.
fn one(fields: &str) -> Plan {
    read(&format!("{{\"profiles\":[{{\"name\":\"p\",{fields}}}]}}"))
}

#[track_caller]
fn check(fields: &str, added: &str) {
    let plan = one(fields);
    assert_eq!(plan.addition(), added, "{}", plan.report());
    toml::from_str::<toml::Table>(added).unwrap();
}

#[track_caller]
fn refused(fields: &str, reason: &str) {
    let plan = one(fields);
    let Disposition::Skipped(said) = &plan.outcomes[0].disposition else {
        panic!("{fields} is taken: {}", plan.addition());
    };
    assert!(said.contains(reason), "{said}");
    assert!(plan.tables.is_empty() && plan.secrets.is_empty());
    assert!(!plan.report().contains("SECRET"), "{}", plan.report());
}

const KEY: &str = r#""access_key_id":"LTAIX","access_key_secret":"SECRET""#;
const ROLE: &str = r#""ram_role_arn":"acs:ram::1:role/r","ram_session_name":"app""#;
