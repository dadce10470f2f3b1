//! Decides which tables and which secrets the profiles of a file come to, together and
//! beside what a configuration has already.

use std::{collections::BTreeMap, fmt::Write as _};

use stsd_client::SecretText;

use super::{
    Form, Keeping, chain, mapping, names,
    parsed_profile::Foreign,
    sources::{needs, never_handed_out, sources},
    stale_secrets::{leftovers, long_lived},
    sts::Region,
    table::Table,
};

/// What would come of a file.
#[derive(Debug)]
pub struct Plan {
    /// Whose file it is.
    pub form: Form,
    /// What becomes of each profile, in their order.
    pub outcomes: Vec<Outcome>,
    /// What would be added to the configuration.
    pub tables: Vec<Table>,
    /// What would be put away for the tables.
    pub kept: Vec<Kept>,
    /// Which STS the profiles ask, if they name one.
    pub region: Option<Region>,
    /// The profiles whose long-lived secrets stay in the file that was read.
    pub long_lived: Vec<String>,
}

/// What becomes of one profile. All texts may be printed.
#[derive(Debug)]
pub struct Outcome {
    /// The profile, by its name.
    pub label: String,
    /// Its mode.
    pub mode: String,
    /// What becomes of it.
    pub verdict: Verdict,
    /// What has to be said of secrets that were left in it.
    pub leftovers: Vec<String>,
    /// What has to be said besides, unless it is not taken.
    pub remarks: Vec<String>,
    /// The tables without which it would not work.
    needs: Vec<Table>,
}

/// Whether a profile is taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Something is added for it.
    Taken,
    /// All of it is there already.
    There,
    /// It is not taken, for this reason.
    Refused(String),
}

/// A text that is put away under a source's name.
#[derive(Debug)]
pub struct Kept {
    /// The source.
    pub name: String,
    /// What is put away.
    pub text: SecretText,
    /// The same with `…` for what is secret.
    pub shown: String,
    /// It is a URI, which a file alone can keep, and not an AccessKey.
    pub is_uri: bool,
}

impl Plan {
    pub(super) fn of(form: Form, profiles: &[Foreign], keeping: Keeping) -> Self {
        let labels: Vec<_> = profiles.iter().map(Foreign::label).collect();
        let names = names::of(profiles);
        let mut decided: chain::Decided = names
            .iter()
            .zip(profiles)
            .map(|(name, foreign)| name.clone().and_then(|_| mapping::map(foreign)))
            .collect();
        let mut places = BTreeMap::new();
        for (at, foreign) in profiles.iter().enumerate() {
            if let Ok(name) = foreign.name() {
                places.insert(name, at);
            }
        }
        chain::settle(&places, &labels, &mut decided);
        let regions = regions(profiles, &mut decided);
        let region = regions.iter().flatten().next().cloned();

        let sources = sources(&names, &decided, keeping);
        let mut outcomes = Vec::new();
        for (at, foreign) in profiles.iter().enumerate() {
            let mut remarks = Vec::new();
            let (verdict, needs) = match (&decided[at], &names[at]) {
                (Ok(mapped), Ok(name)) => {
                    remarks.extend(mapped.remarks.iter().cloned());
                    if names[at].as_ref().ok() != foreign.name().ok().as_ref() {
                        remarks.push(format!("its name is {name} with us"));
                    }
                    if mapped.role.is_none() {
                        remarks.push(never_handed_out(&sources, at));
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
                    let needs = needs(at, &places, &names, &decided, &sources);
                    (Verdict::Taken, needs)
                }
                (Err(refusal), _) | (_, Err(refusal)) => {
                    (Verdict::Refused(refusal.clone()), Vec::new())
                }
            };
            outcomes.push(Outcome {
                label: labels[at].clone(),
                mode: foreign.mode(),
                verdict,
                leftovers: leftovers(foreign),
                remarks,
                needs,
            });
        }
        let mut plan = Self {
            form,
            tables: Vec::new(),
            kept: sources.list.into_iter().filter_map(|it| it.kept).collect(),
            region,
            long_lived: long_lived(profiles),
            outcomes,
        };
        plan.beside(&toml::Table::new());
        plan
    }

    /// Looks what a configuration has already. What it has stays; who would need it to be
    /// otherwise is not taken.
    pub fn beside(&mut self, config: &toml::Table) {
        let mut tables: Vec<Table> = Vec::new();
        for outcome in &mut self.outcomes {
            if outcome.verdict != Verdict::Taken {
                continue;
            }
            let there: Vec<_> = outcome.needs.iter().map(|it| it.is_in(config)).collect();
            let other_sense = |it: &Table| other_sense(it, &outcome.needs, config);
            if let Some(problem) = outcome.needs.iter().find_map(other_sense) {
                outcome.verdict = Verdict::Refused(problem);
            } else if let Some(other) = there.iter().position(|it| *it == Some(false)) {
                outcome.verdict = Verdict::Refused(format!(
                    "{} is there already and says something else; it stays as it is",
                    outcome.needs[other].header()
                ));
            } else if there.iter().all(|it| *it == Some(true)) {
                outcome.verdict = Verdict::There;
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
        self.kept.retain(|kept| {
            let is_it = |it: &Table| it.kind == "source" && it.name == kept.name;
            tables.iter().any(is_it)
        });
    }

    /// Leaves those out who need a table that the daemon has refused by a mistake in one of
    /// its keys (`profile.NAME.KEY`), with what it said. Tells whether there is such a table.
    pub fn refuse(&mut self, key: &str, problem: &str) -> bool {
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
            if outcome.verdict == Verdict::Taken && outcome.needs.contains(&table) {
                outcome.verdict = Verdict::Refused(problem.to_owned());
            }
        }
        true
    }

    /// Returns every table that the profiles need which are taken, those included that a
    /// configuration has already, with the files `key` and `uri` in the place of whatever
    /// keeps a secret: text to be judged before anything is put away.
    #[must_use]
    pub fn rehearsal(&self) -> String {
        let mut tables: Vec<Table> = Vec::new();
        let taken = |it: &&Outcome| it.verdict == Verdict::Taken;
        for table in self.outcomes.iter().filter(taken).flat_map(|it| &it.needs) {
            let table = table.with_stand_ins();
            if !tables.contains(&table) {
                tables.push(table);
            }
        }
        let each: Vec<_> = tables.iter().map(Table::text).collect();
        each.join("\n")
    }

    /// Returns what would be added to a configuration. With `whole` as it is written, else
    /// as it is shown.
    #[must_use]
    pub fn addition(&self, whole: bool) -> String {
        let each = self.tables.iter();
        let each = each.map(|it| if whole { it.text() } else { it.shown() });
        each.collect::<Vec<_>>().join("\n")
    }

    /// Tells whether a profile is among what would be added.
    #[must_use]
    pub fn has_profile(&self) -> bool {
        self.tables.iter().any(|it| it.kind == "profile")
    }

    /// Returns what becomes of each profile, in lines.
    #[must_use]
    pub fn report(&self) -> String {
        let mut text = String::new();
        for outcome in &self.outcomes {
            let Outcome { label, mode, .. } = outcome;
            let verdict = match &outcome.verdict {
                Verdict::Taken => {
                    let tables: Vec<_> = outcome.needs.iter().map(Table::header).collect();
                    format!("taken: {}", tables.join(" "))
                }
                Verdict::There => "there already".to_owned(),
                Verdict::Refused(reason) => format!("not taken: {reason}"),
            };
            let _ = writeln!(text, "{label} ({mode}): {verdict}");
            let remarks = match outcome.verdict {
                // They tell how to go on with it.
                Verdict::Refused(_) => &[][..],
                Verdict::Taken | Verdict::There => &outcome.remarks,
            };
            for remark in outcome.leftovers.iter().chain(remarks) {
                let _ = writeln!(text, "    {remark}");
            }
        }
        text
    }
}

/// Says which name would mean something else: of a source and a profile that are called alike,
/// `source = "NAME"` means the source. What is new must not come between others and the profile
/// that they build on, nor build on what is there when it means what it brings.
fn other_sense(table: &Table, needs: &[Table], config: &toml::Table) -> Option<String> {
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

/// Returns which STS each profile asks that asks any. One that cannot be said is refused.
fn regions(profiles: &[Foreign], decided: &mut chain::Decided) -> Vec<Option<Region>> {
    let each = profiles.iter().zip(decided).map(|(foreign, decided)| {
        if !decided.as_ref().is_ok_and(|it| !it.is_no_role()) {
            return None;
        }
        Region::of(foreign).unwrap_or_else(|problem| {
            if let Ok(mapped) = decided {
                mapped.remarks.push(problem);
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
