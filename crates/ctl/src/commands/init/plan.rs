//! The change of the configuration that `stsctl init` makes: comments and all other tables stay.

use std::path::Path;

use anyhow::{Result, anyhow};
use stsd_client::SecretText;
use stsd_model::ProfileName;
use toml_edit::{DocumentMut, InlineTable, Item, Table, value};

use crate::secret_store::SecretBackend;

/// The variables by which the daemon of a trial gets a key that is stored nowhere yet.
pub(super) const TRIAL_VARIABLES: [&str; 2] = ["STSD_TRIAL_KEY_ID", "STSD_TRIAL_KEY_SECRET"];

/// Placeholder for the role while the other answers are checked.
const PLACEHOLDER_ROLE: &str = "acs:ram::1:role/some";

/// Space for the suffix of a source's name: `-user` and a number.
const MAX_SUFFIX_CHARS: usize = 16;

/// The tables whose entries are profiles and sources.
const NAMED: [&str; 2] = ["profile", "source"];

/// The answers.
#[derive(Clone)]
pub(super) struct InitPlan {
    pub(super) profile: String,
    pub(super) source: Source,
    /// The region of a configuration that names no endpoint yet.
    pub(super) region: Option<String>,
    /// The URL of STS for a configuration that names no endpoint yet.
    pub(super) endpoint: Option<String>,
    pub(super) role_arn: Option<String>,
}

/// The source of the profile.
#[derive(Clone)]
pub(super) enum Source {
    /// A source of the configuration.
    Existing(String),
    /// A new source: the role of this instance.
    InstanceRole(String),
    /// A new source with a key.
    Key {
        name: String,
        key: NewKey,
        backend: SecretBackend,
    },
}

/// A key that is not stored yet.
#[derive(Clone)]
pub(super) struct NewKey {
    pub(super) id: String,
    pub(super) secret: SecretText,
}

impl Source {
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Existing(name) | Self::InstanceRole(name) | Self::Key { name, .. } => name,
        }
    }
}

impl InitPlan {
    /// Returns the configuration with the profile.
    pub(super) fn apply_to(&self, before: &DocumentMut) -> DocumentMut {
        let mut config = before.clone();
        self.set_endpoint(&mut config);
        if config.get("http").is_none() {
            config.insert("http", Item::Table(Table::new()));
        }
        match &self.source {
            Source::Existing(_) => {}
            Source::InstanceRole(name) => put(&mut config, "source", name, instance_role()),
            Source::Key { name, backend, .. } => {
                let (key, location) = backend.config_entry()(name);
                let mut source = access_key();
                source.insert(key, value(location));
                put(&mut config, "source", name, source);
            }
        }
        put(&mut config, "profile", &self.profile, self.profile_table());
        config
    }

    /// Returns a configuration for a trial: the profile alone, without anything that a daemon would
    /// write, execute or listen at. A new key is in the variables of the daemon.
    pub(super) fn for_trial(&self, before: &DocumentMut) -> DocumentMut {
        let mut config = before.clone();
        config.retain(|name, item| item.is_value() || name == "source");
        if let Some(sources) = config.get_mut("source").and_then(Item::as_table_like_mut) {
            let names: Vec<_> = sources.iter().map(|(name, _)| name.to_owned()).collect();
            for name in names.iter().filter(|it| *it != self.source.name()) {
                sources.remove(name);
            }
        }
        self.set_endpoint(&mut config);
        match &self.source {
            Source::Existing(_) => {}
            Source::InstanceRole(name) => put(&mut config, "source", name, instance_role()),
            Source::Key { name, .. } => {
                let [id, secret] = TRIAL_VARIABLES;
                let names = [("id", id), ("secret", secret)];
                let mut source = access_key();
                source.insert("access_key_env", value(InlineTable::from_iter(names)));
                put(&mut config, "source", name, source);
            }
        }
        let mut profile = self.profile_table();
        if self.role_arn.is_none() && !matches!(self.source, Source::InstanceRole(_)) {
            profile.insert("role_arn", value(PLACEHOLDER_ROLE));
        }
        put(&mut config, "profile", &self.profile, profile);
        config
    }

    fn set_endpoint(&self, config: &mut DocumentMut) {
        for (key, text) in [("region", &self.region), ("endpoint", &self.endpoint)] {
            if let Some(text) = text {
                config.insert(key, value(text));
            }
        }
    }

    fn profile_table(&self) -> Table {
        let mut profile = Table::new();
        profile.insert("source", value(self.source.name()));
        if let Some(role_arn) = &self.role_arn {
            profile.insert("role_arn", value(role_arn));
        }
        profile
    }
}

/// Parses a configuration.
pub(super) fn parse(text: &str, path: &Path) -> Result<DocumentMut> {
    // The parser's own message would quote the text.
    text.parse().map_err(|error: toml_edit::TomlError| {
        let at = error.span().map_or(0, |it| it.start);
        let line = line_of(text, at);
        let shown = path.display();
        anyhow!("{shown}:{line} is not TOML; `stsd --check` says more")
    })
}

/// Returns the line of a profile's table; `None` for a profile that the configuration lacks.
pub(super) fn line_of_profile(config: &str, name: &str) -> Option<usize> {
    let parsed = toml_edit::Document::parse(config).ok()?;
    let profile = parsed.get("profile")?.get(name)?;
    let at = profile.span().map_or(0, |it| it.start);
    Some(line_of(config, at))
}

fn line_of(text: &str, at: usize) -> usize {
    1 + text.bytes().take(at).filter(|it| *it == b'\n').count()
}

/// Returns the names in a table of tables, such as the sources.
pub(super) fn names<'a>(config: &'a DocumentMut, kind: &str) -> Vec<&'a str> {
    let table = config.get(kind).and_then(Item::as_table_like);
    let entries = table.into_iter().flat_map(|it| it.iter());
    entries.map(|(name, _)| name).collect()
}

/// Returns a source name that no source and no profile has.
pub(super) fn free_source_name(config: &DocumentMut, profile: &str) -> String {
    let has = |name: &str| NAMED.iter().any(|kind| names(config, kind).contains(&name));
    let head_chars = ProfileName::MAX_CHARS - MAX_SUFFIX_CHARS;
    let head: String = profile.chars().take(head_chars).collect();
    let name = format!("{head}-user");
    let mut numbered = (2_u32..).map(|it| format!("{name}{it}"));
    if has(&name) {
        return numbered.find(|it| !has(it)).unwrap_or(name);
    }
    name
}

fn access_key() -> Table {
    let mut source = Table::new();
    source.insert("type", value("access-key"));
    source
}

fn instance_role() -> Table {
    let mut source = Table::new();
    source.insert("type", value("ecs-role"));
    source
}

/// Puts a table into a table of tables, in place of one of that name.
fn put(config: &mut DocumentMut, kind: &str, name: &str, table: Table) {
    let parent = config.entry(kind).or_insert_with(|| {
        let mut parent = Table::new();
        parent.set_implicit(true);
        Item::Table(parent)
    });
    if let Some(parent) = parent.as_table_like_mut() {
        parent.insert(name, Item::Table(table));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(source: Source) -> InitPlan {
        InitPlan {
            profile: "oss-upload".to_owned(),
            source,
            region: None,
            endpoint: None,
            role_arn: Some("acs:ram::1:role/r".to_owned()),
        }
    }

    fn key(name: &str) -> Source {
        Source::Key {
            name: name.to_owned(),
            key: NewKey {
                id: "LTAI1".to_owned(),
                secret: "marker".to_owned().into(),
            },
            backend: SecretBackend::File,
        }
    }

    fn applied(plan: &InitPlan, before: &str) -> String {
        plan.apply_to(&before.parse().unwrap()).to_string()
    }

    #[test]
    fn new_configuration_has_the_endpoint_http_and_both_tables() {
        let mut plan = plan(key("oss-upload-user"));
        plan.region = Some("cn-hongkong".to_owned());
        let expected = "region = \"cn-hongkong\"\n\n[http]\n\n[source.oss-upload-user]\n\
                        type = \"access-key\"\naccess_key_file = \"oss-upload-user.key\"\n\n\
                        [profile.oss-upload]\nsource = \"oss-upload-user\"\n\
                        role_arn = \"acs:ram::1:role/r\"\n";
        assert_eq!(applied(&plan, ""), expected);
    }

    #[test]
    fn comments_and_other_tables_stay() {
        let before = "# mine\nregion = \"cn-hongkong\" # near\n\n[http]\nlisten = \"127.0.0.1:7787\"\n\n\
                      [source.a]\ntype = \"ecs-role\"\n\n[profile.b]\n# of b\nsource = \"a\"\n";
        let text = applied(&plan(Source::Existing("a".to_owned())), before);
        let (old, new) = text.split_once("\n[profile.oss-upload]\n").unwrap();
        assert_eq!(format!("{old}"), before);
        assert!(new.starts_with("source = \"a\"\n"), "{new}");
    }

    #[test]
    fn forced_profile_replaces_the_one_of_its_name() {
        let before = "[source.a]\ntype = \"ecs-role\"\n\n[profile.oss-upload]\nsource = \"x\"\n\
                      duration = \"1h\"\n\n[profile.z]\nsource = \"a\"\n";
        let text = applied(&plan(Source::Existing("a".to_owned())), before);
        assert!(!text.contains("duration"), "{text}");
        assert!(text.contains("[profile.z]\nsource = \"a\"\n"), "{text}");
    }

    #[test]
    fn trial_has_no_file_no_listener_and_no_other_profile() {
        let before = "region = \"cn-hongkong\"\n[http]\n[audit]\nfile = \"/a\"\n[source.a]\n\
                      type = \"ecs-role\"\n[source.b]\ntype = \"process\"\n[profile.p]\n\
                      source = \"b\"\n[profile.p.file]\npath = \"/f\"\n";
        let text = plan(key("k"))
            .for_trial(&before.parse().unwrap())
            .to_string();
        for gone in [
            "http",
            "audit",
            "[source.a]",
            "process",
            "profile.p]",
            "/f",
            "marker",
        ] {
            assert!(!text.contains(gone), "{gone}: {text}");
        }
        for kept in ["cn-hongkong", "STSD_TRIAL_KEY_ID", "[profile.oss-upload]"] {
            assert!(text.contains(kept), "{kept}: {text}");
        }
    }

    #[test]
    fn source_name_is_that_of_no_other_table() {
        let check = |text: &str, expected: &str| {
            let config = text.parse().unwrap();
            assert_eq!(free_source_name(&config, "p"), expected, "{text}");
        };
        check("", "p-user");
        check("[source.p-user]\n", "p-user2");
        check("[source.p-user]\n[profile.p-user2]\n", "p-user3");
    }

    #[test]
    fn line_of_an_existing_profile_is_that_of_its_header() {
        let config = "# 1\n[profile.a]\nsource = \"s\"\n\n[profile.b]\nsource = \"s\"\n";
        assert_eq!(line_of_profile(config, "a"), Some(2));
        assert_eq!(line_of_profile(config, "b"), Some(5));
        assert_eq!(line_of_profile(config, "c"), None);
    }
}
