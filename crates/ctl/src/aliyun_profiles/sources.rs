//! The sources of the profiles, shared where the identity is the same, and the tables that each
//! profile requires.

use std::collections::BTreeMap;

use super::{
    SecretLocation, SecretToStore, chain,
    mapping::{ConvertedProfile, Identity},
    names::SourceNames,
    parsed_profile::SkipReason,
    table::{Entry, Table, Value, quoted},
};

/// A source, which several profiles may share.
pub(super) struct Source {
    name: String,
    table: Table,
    pub(super) secret: Option<SecretToStore>,
}

/// The sources of all profiles, and the index of each profile's source.
pub(super) struct SourceTable {
    pub(super) list: Vec<Source>,
    of: Vec<Option<usize>>,
}

pub(super) fn sources(
    names: &[Result<String, SkipReason>],
    conversions: &chain::Conversions,
    location: SecretLocation,
) -> SourceTable {
    let mut fresh = SourceNames::beside(names.iter().flatten());
    let mut all = SourceTable {
        list: Vec::new(),
        of: vec![None; conversions.len()],
    };
    // A source that is also a profile of the file keeps that name for all its users.
    for own in [true, false] {
        for (at, converted) in conversions.iter().enumerate() {
            let (Ok(converted), Ok(name)) = (converted, &names[at]) else {
                continue;
            };
            let chained = matches!(converted.identity, Identity::Chain(_));
            if converted.role.is_none() != own || chained {
                continue;
            }
            let before = conversions.iter().enumerate().find(|(other, it)| {
                let same = |it: &ConvertedProfile| it.identity == converted.identity;
                all.of[*other].is_some() && it.as_ref().is_ok_and(same)
            });
            let shared = before.and_then(|it| all.of[it.0]);
            all.of[at] = shared.or_else(|| {
                let name = if own {
                    name.clone()
                } else {
                    fresh.name(name, converted.identity.name_suffix())
                };
                all.list.push(source(name, &converted.identity, location));
                Some(all.list.len() - 1)
            });
        }
    }
    all
}

fn source(name: String, identity: &Identity, location: SecretLocation) -> Source {
    let mut stored = None;
    let (kind, mut entries) = match identity {
        Identity::Key { id, secret } => {
            let lines = |secret: &str| {
                format!(
                    "access_key_id = {}\naccess_key_secret = {secret}\n",
                    quoted(id)
                )
            };
            stored = Some(SecretToStore {
                name: name.clone(),
                text: lines(&quoted(secret.expose())).into(),
                redacted: lines("\"…\""),
                is_uri: false,
            });
            let (key, value) = location(&name);
            ("access-key", vec![Entry::new(key, value)])
        }
        Identity::Instance { role_name } => {
            let role = role_name.iter().map(|it| Entry::new("role_name", it));
            ("ecs-role", role.collect())
        }
        Identity::Process(words) => {
            let value = Value::Command(words.clone());
            (
                "process",
                vec![Entry {
                    key: "command",
                    value,
                }],
            )
        }
        Identity::Uri(uri) => {
            stored = Some(SecretToStore {
                name: name.clone(),
                text: format!("{}\n", uri.expose()).into(),
                redacted: "…\n".to_owned(),
                is_uri: true,
            });
            ("uri", vec![Entry::new("uri_file", format!("{name}.uri"))])
        }
        Identity::Oidc(entries) => ("oidc", entries.clone()),
        Identity::Chain(_) => ("", Vec::new()),
    };
    entries.insert(0, Entry::new("type", kind));
    let table = Table {
        kind: "source",
        name: name.clone(),
        entries,
    };
    Source {
        name,
        table,
        secret: stored,
    }
}

/// Returns the tables that a profile requires, its own last.
pub(super) fn required_tables(
    at: usize,
    places: &BTreeMap<String, usize>,
    names: &[Result<String, SkipReason>],
    conversions: &chain::Conversions,
    sources: &SourceTable,
) -> Vec<Table> {
    let mut tables = Vec::new();
    let mut place = Some(at);
    // Follows the chain to the profile with a source of its own; cycles are excluded by now.
    while let Some(at) = place.take() {
        let (Ok(converted), Ok(name)) = (&conversions[at], &names[at]) else {
            break;
        };
        let below = match &converted.identity {
            Identity::Chain(other) => places.get(other).copied(),
            _ => None,
        };
        let own = |at: usize| sources.of[at].map(|it| &sources.list[it]);
        // Only role profiles can be chained; otherwise chain on the source.
        let is_none = |at: usize| {
            conversions[at]
                .as_ref()
                .is_ok_and(ConvertedProfile::assumes_no_role)
        };
        let source = match below {
            Some(below) if is_none(below) => own(below),
            Some(_) => None,
            None => own(at),
        };
        let from = match (source, below.map(|it| &names[it])) {
            (Some(source), _) => source.name.clone(),
            (None, Some(Ok(name))) => name.clone(),
            _ => break,
        };
        if let Some(role) = &converted.role {
            let mut entries = vec![Entry::new("source", from)];
            entries.extend(role.0.iter().cloned());
            tables.push(Table {
                kind: "profile",
                name: name.clone(),
                entries,
            });
        }
        match source {
            Some(source) => tables.push(source.table.clone()),
            None => place = below,
        }
    }
    tables.reverse();
    tables
}

pub(super) fn key_remark(sources: &SourceTable, at: usize) -> String {
    let Some(source) = sources.of[at].map(|it| &sources.list[it]) else {
        return String::new();
    };
    format!(
        "a key itself is never served; for credentials of a role that the key can assume, add a \
         [profile.NAME] with source = {} and a role_arn",
        quoted(&source.name)
    )
}
