//! The answers for `stsctl init`, from options or prompts, each checked by `stsd --check`, whose
//! messages are shown at the prompt.

use anyhow::{Result, bail};
use stsctl::aliyun_profiles::{access_key_id, access_key_secret, quoted};
use stsd_client::SecretText;
use stsd_model::ProfileName;

use super::{deferred_signals::SignalMask, key, key::AccessKey, prompt::Prompter};
use crate::{
    cli::{IdentityKind, Init},
    config_file::{CheckResult, ConfigFile},
    error::usage,
    secret_store::SecretBackend,
};

/// Placeholder for the role while the other answers are checked.
const PLACEHOLDER_ROLE: &str = "acs:ram::1:role/some";

/// Space for the suffix of a source's name: `-user` and a number.
const MAX_SUFFIX_CHARS: usize = 16;

/// The answers.
pub(super) struct InitPlan {
    pub(super) profile: String,
    /// The name of the source.
    pub(super) source: String,
    pub(super) region: Option<String>,
    endpoint: Option<String>,
    role: Option<String>,
    /// The text of the key file; `None` for an instance role.
    pub(super) key: Option<SecretText>,
    pub(super) backend: Option<SecretBackend>,
    /// There is no configuration yet, so its first lines are written as well.
    new: bool,
}

/// The sources of answers, and the configuration that checks them.
struct InputResolver<'a> {
    typed: &'a Init,
    prompter: Option<Prompter<'a>>,
    config: &'a ConfigFile,
    signals: &'a SignalMask,
}

impl InitPlan {
    /// Collects all answers; the error lists all missing options.
    pub(super) fn resolve(
        typed: &Init,
        config: &ConfigFile,
        table: &toml::Table,
        signals: &SignalMask,
    ) -> Result<Self> {
        let resolver = InputResolver {
            typed,
            prompter: Prompter::detect(signals),
            config,
            signals,
        };
        let mut plan = Self {
            profile: typed.profile.clone(),
            source: String::new(),
            region: None,
            endpoint: typed.endpoint.clone(),
            role: None,
            key: None,
            backend: None,
            new: table.is_empty(),
        };
        plan.check_conflicts(typed, config, table)?;
        plan.source = free_source_name(table, &plan.profile);
        resolver.check_complete(plan.new)?;
        // The options are checked before the first prompt.
        plan.region.clone_from(&typed.region);
        plan.role.clone_from(&typed.role_arn);
        if let Err(problem) = resolver.check(&plan)? {
            return usage(problem);
        }
        resolver.print_intro(&plan)?;
        resolver.region(&mut plan)?;
        if typed.source == IdentityKind::AccessKey {
            resolver.key(&mut plan)?;
        }
        resolver.role(&mut plan)?;
        Ok(plan)
    }

    /// Fails if an existing configuration conflicts with the options.
    fn check_conflicts(
        &self,
        typed: &Init,
        config: &ConfigFile,
        table: &toml::Table,
    ) -> Result<()> {
        let shown = config.path().display();
        if !self.is_compatible_with(table) {
            return usage(format!(
                "{shown} has a profile {} already; choose another --profile",
                self.profile
            ));
        }
        for (option, key, wanted) in [
            ("--region", "region", &typed.region),
            ("--endpoint", "endpoint", &typed.endpoint),
        ] {
            let found = table.get(key).and_then(|it| it.as_str());
            if !self.new && wanted.is_some() && wanted.as_deref() != found {
                return usage(format!(
                    "{shown} is there already, and what it says of STS at its top is for all \
                     profiles: leave {option} out, or change it there"
                ));
            }
        }
        Ok(())
    }

    /// Returns `true` if the profile and the source can be added to a configuration.
    pub(super) fn is_compatible_with(&self, table: &toml::Table) -> bool {
        let has = |kind: &str, name: &str| {
            let table = table.get(kind).and_then(|it| it.as_table());
            table.is_some_and(|it| it.contains_key(name))
        };
        !has("profile", &self.profile)
            && (self.source.is_empty() || !has("source", &self.source))
            && self.new == table.is_empty()
    }

    /// Returns the new configuration: the existing text, followed by the new tables.
    pub(super) fn text(&self, before: Option<&str>) -> String {
        let mut text = before.unwrap_or_default().to_owned();
        if !text.is_empty() {
            text.push_str(if text.ends_with('\n') { "\n" } else { "\n\n" });
        }
        if self.new {
            for (key, value) in [("region", &self.region), ("endpoint", &self.endpoint)] {
                if let Some(value) = value {
                    text += &format!("{key} = {}\n", quoted(value));
                }
            }
            text.push('\n');
        }
        text + &self.tables()
    }

    fn tables(&self) -> String {
        let source = quoted(&self.source);
        let identity = match self.backend {
            Some(backend) => {
                let (key, value) = backend.config_entry()(&self.source);
                format!("type = \"access-key\"\n{key} = {}\n", quoted(&value))
            }
            None => "type = \"ecs-role\"\n".to_owned(),
        };
        let role = self.role.as_ref();
        let role = role.map_or_else(String::new, |it| format!("role_arn = {}\n", quoted(it)));
        format!(
            "[source.{}]\n{identity}\n[profile.{}]\nsource = {source}\n{role}",
            toml_key(&self.source),
            toml_key(&self.profile)
        )
    }
}

impl InputResolver<'_> {
    /// Fails with the missing options if there is no terminal.
    fn check_complete(&self, new: bool) -> Result<()> {
        if self.prompter.is_some() {
            return Ok(());
        }
        let typed = self.typed;
        let mut missing = Vec::new();
        if new && typed.region.is_none() && typed.endpoint.is_none() {
            missing.push("--region");
        }
        if typed.source == IdentityKind::AccessKey {
            if typed.access_key_id.is_none() && typed.key_file.is_none() {
                missing.push("--access-key-id");
            }
            if !typed.secret_stdin && typed.key_file.is_none() {
                missing.push("--secret-stdin or --key-file");
            }
            if typed.role_arn.is_none() {
                missing.push("--role-arn");
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        usage(format!(
            "there is no terminal to ask at, so this is missing: {}",
            missing.join(", ")
        ))
    }

    fn print_intro(&self, plan: &InitPlan) -> Result<()> {
        let Some(prompter) = &self.prompter else {
            return Ok(());
        };
        let path = self.config.path().display();
        prompter.print(&format!(
            "This makes the profile {} in {path}. Nothing is written before all is asked.\n",
            plan.profile
        ))
    }

    fn region(&self, plan: &mut InitPlan) -> Result<()> {
        if plan.region.is_some() || plan.endpoint.is_some() || !plan.new {
            return Ok(());
        }
        if let Some(prompter) = &self.prompter {
            let answer = prompter.ask("Region of STS, such as cn-hangzhou", None, |answer| {
                self.check(&plan.with(|it| it.region = Some(answer.to_owned())))
            })?;
            plan.region = Some(answer);
        }
        Ok(())
    }

    fn key(&self, plan: &mut InitPlan) -> Result<()> {
        let typed = self.typed;
        let found = match &typed.key_file {
            Some(path) => Some(AccessKey::from_file(path)?),
            // At a terminal, a prompt without echo reads the secret.
            None if typed.secret_stdin && self.prompter.is_none() => Some(AccessKey::from_stdin()?),
            None => None,
        };
        let in_file = found.as_ref().and_then(|it| it.id.clone());
        let id = match (typed.access_key_id.clone(), in_file) {
            (Some(id), Some(other)) if id != other => {
                return usage("--access-key-id is not that of the --key-file");
            }
            (Some(id), _) | (None, Some(id)) => match self.id(&id) {
                Ok(()) => id,
                Err(problem) => return usage(problem),
            },
            (None, None) => match &self.prompter {
                Some(prompter) => prompter.ask("AccessKey id of the RAM user", None, |answer| {
                    Ok(self.id(answer))
                })?,
                None => return usage("the file has the secret alone: --access-key-id is missing"),
            },
        };
        let secret = match (found, &self.prompter) {
            (Some(key), _) => match self.secret(key.secret.expose()) {
                Ok(()) => key.secret,
                Err(problem) => return usage(problem),
            },
            (None, Some(prompter)) => {
                prompter.ask_secret("Its AccessKey secret", |it| self.secret(it))?
            }
            (None, None) => return usage("--secret-stdin or --key-file is missing"),
        };
        plan.key = Some(key::key_file_text(&id, &secret));
        plan.backend = Some(match (typed.secret_backend, &self.prompter) {
            (Some(backend), _) => backend,
            (None, Some(prompter)) => self.backend(prompter)?,
            (None, None) => SecretBackend::File,
        });
        Ok(())
    }

    fn backend(&self, prompter: &Prompter<'_>) -> Result<SecretBackend> {
        use clap::ValueEnum as _;

        let read = |answer: &str| SecretBackend::from_str(answer, true);
        let question =
            "Where to store the key: file (mode 0600), credential (systemd), keyring (desktop)";
        let answer = prompter.ask(question, Some("file"), |answer| {
            Ok(read(answer)
                .map(|_| ())
                .map_err(|_| "one of file, credential, keyring".to_owned()))
        })?;
        read(&answer).map_err(anyhow::Error::msg)
    }

    fn role(&self, plan: &mut InitPlan) -> Result<()> {
        let (None, Some(prompter)) = (&plan.role, &self.prompter) else {
            return Ok(());
        };
        // The instance's own session can be served as it is.
        let usual = (self.typed.source == IdentityKind::EcsRole).then_some("");
        let question = "Role that programs get: acs:ram::ACCOUNT:role/ROLE";
        let answer = prompter.ask(question, usual, |answer| match answer {
            "" => Ok(Ok(())),
            answer => self.check(&plan.with(|it| it.role = Some(answer.to_owned()))),
        })?;
        plan.role = Some(answer).filter(|it| !it.is_empty());
        Ok(())
    }

    fn id(&self, id: &str) -> Result<(), String> {
        match id {
            "" => Err("an AccessKey id is not empty".to_owned()),
            id => access_key_id(id).map_err(without_possessive),
        }
    }

    fn secret(&self, secret: &str) -> Result<(), String> {
        match secret {
            "" => Err("an AccessKey secret is not empty".to_owned()),
            secret => access_key_secret(secret).map_err(without_possessive),
        }
    }

    /// Checks the answers so far, with placeholders for missing ones.
    fn check(&self, plan: &InitPlan) -> Result<Result<(), String>> {
        let _guard = self.signals.defer();
        let key = self.typed.source == IdentityKind::AccessKey;
        let tried = plan.with(|it| {
            it.new = true;
            it.source = "some".to_owned();
            it.backend = key.then_some(SecretBackend::Credential);
            if key && it.role.is_none() {
                it.role = Some(PLACEHOLDER_ROLE.to_owned());
            }
        });
        let directory = tempfile::tempdir()?;
        let text = tried.text(None);
        match self.config.check_in(&text, directory.path())? {
            CheckResult::Accepted(_) => Ok(Ok(())),
            CheckResult::NotChecked(reason) => bail!("nothing can be checked: {reason}"),
            CheckResult::Rejected(reason) => {
                let first = reason.lines().next().unwrap_or("stsd refuses it");
                let path = self.config.path().display().to_string();
                let told = first.strip_prefix(&format!("{path}:"));
                let told = told.and_then(|it| it.split_once(": ")).map(|it| it.1);
                Ok(Err(told.unwrap_or(first).to_owned()))
            }
        }
    }
}

impl InitPlan {
    /// Returns a copy without the key and with a change, for a check.
    fn with(&self, change: impl FnOnce(&mut Self)) -> Self {
        let mut other = Self {
            profile: self.profile.clone(),
            source: self.source.clone(),
            region: self.region.clone(),
            endpoint: self.endpoint.clone(),
            role: self.role.clone(),
            key: None,
            backend: self.backend,
            new: self.new,
        };
        change(&mut other);
        other
    }
}

/// Returns a source name that no source and no profile has.
fn free_source_name(table: &toml::Table, profile: &str) -> String {
    let has = |name: &str| {
        let mut tables = table.values().filter_map(|it| it.as_table());
        tables.any(|it| it.contains_key(name))
    };
    let head_chars = ProfileName::MAX_CHARS - MAX_SUFFIX_CHARS;
    let head: String = profile.chars().take(head_chars).collect();
    let name = format!("{head}-user");
    let mut numbered = (2_u32..).map(|it| format!("{name}{it}"));
    if has(&name) {
        return numbered.find(|it| !has(it)).unwrap_or(name);
    }
    name
}

/// Returns a name for a header, quoted where TOML requires it.
fn toml_key(name: &str) -> String {
    let plain = |it: u8| it.is_ascii_alphanumeric() || b"_-".contains(&it);
    match !name.is_empty() && name.bytes().all(plain) {
        true => name.to_owned(),
        false => quoted(name),
    }
}

/// Returns a message about an imported profile without its leading "its".
fn without_possessive(problem: String) -> String {
    problem
        .strip_prefix("its ")
        .map_or(problem.clone(), str::to_owned)
}
