//! The plan of an import: the tables and the secrets of all profiles of a file, merged into
//! an existing configuration.

use std::{collections::BTreeMap, fmt::Write as _};

use stsd_client::SecretText;

use super::{
    FileFormat, SecretLocation, chain, mapping, names,
    parsed_profile::ThirdPartyProfile,
    sources::{key_remark, required_tables, sources},
    stale_secrets::{SecretKind, stale_secrets},
    sts::Region,
    table::Table,
};

/// The result of converting a file.
#[derive(Debug)]
pub struct Plan {
    /// The format of the file.
    pub form: FileFormat,
    /// The outcome of each profile, in the order of the file.
    pub outcomes: Vec<Outcome>,
    /// The tables to add to the configuration.
    pub tables: Vec<Table>,
    /// The secrets to store for these tables.
    pub secrets: Vec<SecretToStore>,
    /// The region of STS, if the profiles name one.
    pub region: Option<Region>,
    /// The profiles whose long-lived AccessKeys stay in the imported file.
    pub long_lived: Vec<String>,
}

/// The outcome of one profile. All texts may be printed.
#[derive(Debug)]
pub struct Outcome {
    /// The name of the profile.
    pub label: String,
    /// The mode of the profile.
    pub mode: String,
    /// The disposition of the profile.
    pub disposition: Disposition,
    /// Remarks on secrets that remain in the profile.
    pub stale_secrets: Vec<String>,
    /// Other remarks; shown unless the profile is skipped.
    pub remarks: Vec<String>,
    /// The tables that the profile requires.
    pub(super) needs: Vec<Table>,
}

/// The disposition of a profile: converted, present already, or skipped with a reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Disposition {
    /// Tables are added for it.
    Converted,
    /// The configuration has all its tables already.
    AlreadyPresent,
    /// It is skipped for this reason.
    Skipped(String),
}

/// A text that is stored under a source's name.
#[derive(Debug)]
pub struct SecretToStore {
    /// The name of the source.
    pub name: String,
    /// The text to store.
    pub text: SecretText,
    /// The text with `…` for secret values.
    pub redacted: String,
    /// `true` for a URI, which only a file can store; `false` for an AccessKey.
    pub is_uri: bool,
}

impl Plan {
    pub(super) fn of(
        form: FileFormat,
        profiles: &[ThirdPartyProfile],
        location: SecretLocation,
    ) -> Self {
        let labels: Vec<_> = profiles.iter().map(ThirdPartyProfile::label).collect();
        let names = names::of(profiles);
        let mut conversions: chain::Conversions = names
            .iter()
            .zip(profiles)
            .map(|(name, profile)| name.clone().and_then(|_| mapping::convert(profile)))
            .collect();
        let mut places = BTreeMap::new();
        for (at, profile) in profiles.iter().enumerate() {
            if let Ok(name) = profile.name() {
                places.insert(name, at);
            }
        }
        chain::resolve_chains(&places, &labels, &mut conversions);
        let regions = regions(profiles, &mut conversions);
        let region = regions.iter().flatten().next().cloned();

        let sources = sources(&names, &conversions, location);
        let mut outcomes = Vec::new();
        for (at, profile) in profiles.iter().enumerate() {
            let mut remarks = Vec::new();
            let (disposition, needs) = match (&conversions[at], &names[at]) {
                (Ok(converted), Ok(name)) => {
                    remarks.extend(converted.remarks.iter().cloned());
                    if names[at].as_ref().ok() != profile.name().ok().as_ref() {
                        remarks.push(format!("its name is {name} with us"));
                    }
                    if converted.role.is_none() {
                        remarks.push(key_remark(&sources, at));
                    }
                    if let (Some(ours), Some(theirs)) = (&region, &regions[at])
                        && ours != theirs
                    {
                        remarks.push(format!(
                            "it asks STS in {}, and would be asking it in {} like the others",
                            described(theirs),
                            described(ours)
                        ));
                    }
                    let needs = required_tables(at, &places, &names, &conversions, &sources);
                    (Disposition::Converted, needs)
                }
                (Err(refusal), _) | (_, Err(refusal)) => {
                    (Disposition::Skipped(refusal.clone()), Vec::new())
                }
            };
            outcomes.push(Outcome {
                label: labels[at].clone(),
                mode: profile.mode_label(),
                disposition,
                stale_secrets: stale_secrets(profile),
                remarks,
                needs,
            });
        }
        let mut plan = Self {
            form,
            tables: Vec::new(),
            secrets: sources
                .list
                .into_iter()
                .filter_map(|it| it.secret)
                .collect(),
            region,
            long_lived: profiles
                .iter()
                .filter(|it| SecretKind::of(it) == Some(SecretKind::LongLived))
                .map(ThirdPartyProfile::label)
                .collect(),
            outcomes,
        };
        plan.merge_into(&toml::Table::new());
        plan
    }

    /// Compares the plan with a configuration. Existing tables stay; a profile that needs a
    /// different table of the same name is skipped.
    pub fn merge_into(&mut self, config: &toml::Table) {
        let mut tables: Vec<Table> = Vec::new();
        for outcome in &mut self.outcomes {
            if outcome.disposition != Disposition::Converted {
                continue;
            }
            let there: Vec<_> = outcome.needs.iter().map(|it| it.is_in(config)).collect();
            let name_conflict = |it: &Table| name_conflict(it, &outcome.needs, config);
            if let Some(problem) = outcome.needs.iter().find_map(name_conflict) {
                outcome.disposition = Disposition::Skipped(problem);
            } else if let Some(other) = there.iter().position(|it| *it == Some(false)) {
                outcome.disposition = Disposition::Skipped(format!(
                    "{} exists with other values; it stays as it is",
                    outcome.needs[other].header()
                ));
            } else if there.iter().all(|it| *it == Some(true)) {
                outcome.disposition = Disposition::AlreadyPresent;
            } else {
                let new = outcome.needs.iter().zip(there);
                let new = new.filter(|it| it.1.is_none()).map(|it| it.0);
                for table in new {
                    if !tables.contains(table) {
                        tables.push(table.clone());
                    }
                }
            }
        }
        self.tables = tables;
        let tables = &self.tables;
        self.secrets.retain(|kept| {
            let is_it = |it: &Table| it.kind == "source" && it.name == kept.name;
            tables.iter().any(is_it)
        });
    }

    /// Skips the profiles that require a table which the daemon rejects because of a key
    /// (`profile.NAME.KEY`). Returns `true` if the plan has such a table.
    pub fn exclude(&mut self, key: &str, problem: &str) -> bool {
        let is_in = |it: &&Table| {
            let rest = key.strip_prefix(it.kind)?.strip_prefix('.')?;
            let rest = rest.strip_prefix(it.name.as_str())?;
            (rest.is_empty() || rest.starts_with('.')).then_some(())
        };
        let matching = self.tables.iter().filter(|it| is_in(it).is_some());
        // A name may have a dot in it.
        let Some(table) = matching.max_by_key(|it| it.name.len()).cloned() else {
            return false;
        };
        for outcome in &mut self.outcomes {
            if outcome.disposition == Disposition::Converted && outcome.needs.contains(&table) {
                outcome.disposition = Disposition::Skipped(problem.to_owned());
            }
        }
        true
    }

    /// Returns all tables of the converted profiles, existing ones included: the text for a check
    /// before secrets are stored. The file `key` stands for each AccessKey, and `uri` for each URI
    /// that is not one of [`secrets`](Self::secrets).
    #[must_use]
    pub fn dry_run_config(&self) -> String {
        let mut tables: Vec<Table> = Vec::new();
        let taken = |it: &&Outcome| it.disposition == Disposition::Converted;
        let is_stored = |name: &str| self.secrets.iter().any(|it| it.is_uri && it.name == name);
        for table in self.outcomes.iter().filter(taken).flat_map(|it| &it.needs) {
            let table = table.with_placeholders(is_stored(&table.name));
            if !tables.contains(&table) {
                tables.push(table);
            }
        }
        let each: Vec<_> = tables.iter().map(Table::text).collect();
        each.join("\n")
    }

    /// Returns the tables to add to a configuration, as they are written.
    #[must_use]
    pub fn addition(&self) -> String {
        let tables: Vec<_> = self.tables.iter().map(Table::text).collect();
        tables.join("\n")
    }

    /// Returns the same tables with `"…"` for values that may be secret.
    #[must_use]
    pub fn redacted_addition(&self) -> String {
        let tables: Vec<_> = self.tables.iter().map(Table::redacted).collect();
        tables.join("\n")
    }

    /// Returns `true` if the tables to add include a profile.
    #[must_use]
    pub fn has_profile(&self) -> bool {
        self.first_profile().is_some()
    }

    /// Returns the name of the first profile to add.
    #[must_use]
    pub fn first_profile(&self) -> Option<&str> {
        let mut profiles = self.tables.iter().filter(|it| it.kind == "profile");
        profiles.next().map(|it| it.name.as_str())
    }

    /// Returns the outcome of each profile as lines of text.
    #[must_use]
    pub fn report(&self) -> String {
        let mut text = String::new();
        for outcome in &self.outcomes {
            let Outcome { label, mode, .. } = outcome;
            let disposition = match &outcome.disposition {
                Disposition::Converted => {
                    let tables: Vec<_> = outcome.needs.iter().map(Table::header).collect();
                    format!("taken: {}", tables.join(" "))
                }
                Disposition::AlreadyPresent => "there already".to_owned(),
                Disposition::Skipped(reason) => format!("not taken: {reason}"),
            };
            let _ = writeln!(text, "{label} ({mode}): {disposition}");
            let remarks = match outcome.disposition {
                // The remarks are about the use of the profile.
                Disposition::Skipped(_) => &[][..],
                Disposition::Converted | Disposition::AlreadyPresent => &outcome.remarks,
            };
            for remark in outcome.stale_secrets.iter().chain(remarks) {
                let _ = writeln!(text, "    {remark}");
            }
        }
        text
    }
}

/// Returns an error text if a name would change its meaning: for a source and a profile with one
/// name, `source = "NAME"` refers to the source. A new source must not hide the profile that other
/// profiles build on, and a new profile must not build on an existing source by mistake.
fn name_conflict(table: &Table, needs: &[Table], config: &toml::Table) -> Option<String> {
    let named = |kind: &str, name: &str| config.get(kind)?.get(name);
    let name = table.name.as_str();
    match table.kind {
        "source" => {
            named("profile", name)?;
            let builds_on_it = |profile: &toml::Value| {
                profile.get("source").and_then(toml::Value::as_str) == Some(name)
            };
            let mut profiles = config.get("profile")?.as_table()?.iter();
            let (other, _) = profiles.find(|it| builds_on_it(it.1))?;
            named("source", name).is_none().then(|| {
                let header = table.header();
                format!(
                    "[profile.{other}] there builds on the profile {name}, and would build on \
                     {header} instead; rename one of them"
                )
            })
        }
        _ => {
            let base = table.source()?;
            let brings_it = |kind: &str| needs.iter().any(|it| it.kind == kind && it.name == base);
            let chains = brings_it("profile") && !brings_it("source");
            (chains && named("source", base).is_some()).then(|| {
                format!(
                    "it builds on the profile {base}, and [source.{base}] is there already, \
                     which would be taken for it; rename one of them"
                )
            })
        }
    }
}

/// Returns the region of STS of each profile that assumes a role. An invalid one is a remark.
fn regions(
    profiles: &[ThirdPartyProfile],
    conversions: &mut chain::Conversions,
) -> Vec<Option<Region>> {
    let each = profiles
        .iter()
        .zip(conversions)
        .map(|(profile, conversions)| {
            if !conversions.as_ref().is_ok_and(|it| !it.assumes_no_role()) {
                return None;
            }
            Region::of(profile).unwrap_or_else(|problem| {
                if let Ok(converted) = conversions {
                    converted.remarks.push(problem);
                }
                None
            })
        });
    each.collect()
}

fn described(region: &Region) -> String {
    let way = if region.vpc { " by way of the VPC" } else { "" };
    format!("{}{way}", region.name)
}
