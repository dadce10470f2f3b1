//! Decides which sources the profiles come to, who shares one, and which tables a profile
//! needs to work.

use std::collections::BTreeMap;

use super::{
    Keeping, Kept, chain,
    mapping::{Identity, Mapped},
    names::Sources,
    parsed_profile::Refusal,
    table::{Entry, Table, Value, quoted},
};

/// A source that profiles share.
pub(super) struct Source {
    name: String,
    table: Table,
    pub(super) kept: Option<Kept>,
}

/// The sources of all profiles, and whose each is.
pub(super) struct All {
    pub(super) list: Vec<Source>,
    of: Vec<Option<usize>>,
}

pub(super) fn sources(
    names: &[Result<String, Refusal>],
    decided: &chain::Decided,
    keeping: Keeping,
) -> All {
    let mut fresh = Sources::beside(names.iter().flatten());
    let mut all = All {
        list: Vec::new(),
        of: vec![None; decided.len()],
    };
    // Keys that are profiles of their own give their names to those who share them.
    for own in [true, false] {
        for (at, mapped) in decided.iter().enumerate() {
            let (Ok(mapped), Ok(name)) = (mapped, &names[at]) else {
                continue;
            };
            let chained = matches!(mapped.identity, Identity::Chain(_));
            if mapped.role.is_none() != own || chained {
                continue;
            }
            let before = decided.iter().enumerate().find(|(other, it)| {
                let same = |it: &Mapped| it.identity == mapped.identity;
                all.of[*other].is_some() && it.as_ref().is_ok_and(same)
            });
            let shared = before.and_then(|it| all.of[it.0]);
            all.of[at] = shared.or_else(|| {
                let name = if own {
                    name.clone()
                } else {
                    fresh.name(name, mapped.identity.word())
                };
                all.list.push(source(name, &mapped.identity, keeping));
                Some(all.list.len() - 1)
            });
        }
    }
    all
}

fn source(name: String, identity: &Identity, keeping: Keeping) -> Source {
    let mut kept = None;
    let (kind, mut entries) = match identity {
        Identity::Key { id, secret } => {
            let lines = |secret: &str| {
                format!(
                    "access_key_id = {}\naccess_key_secret = {secret}\n",
                    quoted(id)
                )
            };
            kept = Some(Kept {
                name: name.clone(),
                text: lines(&quoted(secret.expose())).into(),
                shown: lines("\"…\""),
                is_uri: false,
            });
            let (key, value) = keeping(&name);
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
            kept = Some(Kept {
                name: name.clone(),
                text: format!("{}\n", uri.expose()).into(),
                shown: "…\n".to_owned(),
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
    Source { name, table, kept }
}

/// Returns the tables that a profile needs, its own last.
pub(super) fn needs(
    at: usize,
    places: &BTreeMap<String, usize>,
    names: &[Result<String, Refusal>],
    decided: &chain::Decided,
    sources: &All,
) -> Vec<Table> {
    let mut tables = Vec::new();
    let mut place = Some(at);
    // From the profile down to the one whose source is its own; no circles are left.
    while let Some(at) = place.take() {
        let (Ok(mapped), Ok(name)) = (&decided[at], &names[at]) else {
            break;
        };
        let below = match &mapped.identity {
            Identity::Chain(other) => places.get(other).copied(),
            _ => None,
        };
        let own = |at: usize| sources.of[at].map(|it| &sources.list[it]);
        // Who is no role is none to chain on: its source is.
        let is_none = |at: usize| decided[at].as_ref().is_ok_and(Mapped::is_no_role);
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
        if let Some(role) = &mapped.role {
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

pub(super) fn never_handed_out(sources: &All, at: usize) -> String {
    let Some(source) = sources.of[at].map(|it| &sources.list[it]) else {
        return String::new();
    };
    format!(
        "a key itself is never handed out, but credentials of a role for which it stands: a \
         [profile.NAME] with source = {} and a role_arn",
        quoted(&source.name)
    )
}
