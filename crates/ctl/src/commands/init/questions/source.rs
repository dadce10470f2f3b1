//! The source of the profile: one of the configuration, or a new key, whose owner STS names.

use anyhow::{Error, Result};
use clap::ValueEnum as _;
use stsctl::aliyun_profiles::{access_key_id, access_key_secret};

use super::{DEFAULT_PROFILE, Questions, nothing_is_written};
use crate::{
    cli::IdentityKind,
    commands::init::{
        key::AccessKey,
        plan,
        plan::{InitPlan, NewKey, Source},
        prompt::Prompter,
    },
    error::usage,
    secret_store::SecretBackend,
};

/// The key of a source that only systemd gives to the daemon.
const CREDENTIAL_KEY: &str = "access_key_credential";

impl Questions<'_> {
    /// Returns the source of the configuration that the profile uses, if no new key is given.
    pub(super) fn existing_source(&self) -> Result<Option<String>> {
        let typed = self.typed;
        let all = plan::names(&self.before, "source");
        if let Some(name) = &typed.use_source {
            if all.contains(&name.as_str()) {
                return Ok(Some(name.clone()));
            }
            return usage(format!(
                "{} has no source {name}; it has: {}",
                self.config.path().display(),
                all.join(", ")
            ));
        }
        if typed.access_key_id.is_some() || typed.secret_stdin || typed.key_file.is_some() {
            return Ok(None);
        }
        let kind = match typed.source {
            IdentityKind::AccessKey => "access-key",
            IdentityKind::EcsRole => "ecs-role",
        };
        let is_of_kind = |name: &&str| self.text_of("source", name, "type") == Some(kind);
        let fit: Vec<_> = all.into_iter().filter(is_of_kind).collect();
        // A profile that is replaced keeps its source.
        let replaced = typed.profile.as_deref().unwrap_or(DEFAULT_PROFILE);
        let own = self.text_of("profile", replaced, "source");
        match (own.filter(|it| fit.contains(it)), &fit[..]) {
            (Some(own), _) => Ok(Some(own.to_owned())),
            (None, [one]) => Ok(Some((*one).to_owned())),
            (None, [_, _, ..]) if self.prompter.is_none() => usage(format!(
                "name the source, --use-source {}, or a new key",
                fit.join(" or ")
            )),
            _ => Ok(None),
        }
    }

    /// Returns a text of a named table, such as the type of a source.
    fn text_of(&self, kind: &str, name: &str, key: &str) -> Option<&str> {
        self.before.get(kind)?.get(name)?.get(key)?.as_str()
    }

    /// Asks for the key, and STS for its owner; returns the owner's account.
    pub(super) fn key(&self, plan: &mut InitPlan) -> Result<Option<String>> {
        if self.typed.source == IdentityKind::EcsRole && self.typed.use_source.is_none() {
            return Ok(None);
        }
        let name = plan::free_source_name(&self.before, &plan.profile);
        loop {
            let is_new = !matches!(plan.source, Source::Existing(_)) || self.offers_other_key();
            if is_new && let Some(key) = self.new_key(plan)? {
                plan.source = match self.source_with(&key) {
                    Some(existing) => Source::Existing(existing),
                    None => Source::Key {
                        name: name.clone(),
                        key,
                        backend: self.typed.secret_backend.unwrap_or(SecretBackend::File),
                    },
                };
            }
            if self.typed.no_start || self.is_credential(&plan.source) {
                return Ok(None);
            }
            // A signal ends stsd before this program.
            let guard = self.signals.defer();
            let outcome = self.trial(plan).and_then(|it| it.owner());
            drop(guard);
            match (outcome, &self.prompter) {
                (Ok(arn), prompter) => {
                    if let Some(prompter) = prompter {
                        prompter.print(&format!("  it is the key of {arn}"))?;
                    }
                    return Ok(account_of(&arn));
                }
                (Err(error), Some(prompter)) if !matches!(plan.source, Source::Existing(_)) => {
                    prompter.print_error(&error)?;
                }
                (Err(error), _) => return Err(nothing_is_written(error)),
            }
        }
    }

    /// Returns `true` if the dialog offers the existing source and a new key.
    fn offers_other_key(&self) -> bool {
        self.prompter.is_some() && self.typed.use_source.is_none()
    }

    /// Returns a new key from the options or the prompts; `None` for the key of the existing source.
    fn new_key(&self, plan: &InitPlan) -> Result<Option<NewKey>> {
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
            (Some(id), _) | (None, Some(id)) => match check_id(&id) {
                Ok(()) => id,
                Err(problem) => return usage(problem),
            },
            (None, None) => match &self.prompter {
                Some(prompter) => match self.ask_id(prompter, plan)? {
                    Some(id) => id,
                    None => return Ok(None),
                },
                None => return usage("the file has the secret alone: --access-key-id is missing"),
            },
        };
        let secret = match (found, &self.prompter) {
            (Some(key), _) => match check_secret(key.secret.expose()) {
                Ok(()) => key.secret,
                Err(problem) => return usage(problem),
            },
            (None, Some(prompter)) => prompter.ask_secret("Its AccessKey secret", check_secret)?,
            (None, None) => return usage("--secret-stdin or --key-file is missing"),
        };
        Ok(Some(NewKey { id, secret }))
    }

    fn ask_id(&self, prompter: &Prompter<'_>, plan: &InitPlan) -> Result<Option<String>> {
        let Source::Existing(name) = &plan.source else {
            let question = "AccessKey id of the RAM user";
            return prompter
                .ask(question, None, |it| Ok(check_id(it)))
                .map(Some);
        };
        let question = format!("AccessKey id of the RAM user (Enter: the key of source {name})");
        let id = prompter.ask(&question, Some(""), |it| match it {
            "" => Ok(Ok(())),
            id => Ok(check_id(id)),
        })?;
        Ok(Some(id).filter(|it| !it.is_empty()))
    }

    /// Returns the source whose file has the same key: no second copy of a secret is written.
    fn source_with(&self, key: &NewKey) -> Option<String> {
        let names = plan::names(&self.before, "source");
        let has_it = |name: &&str| {
            let file = self.text_of("source", name, "access_key_file")?;
            let there = AccessKey::from_file(&self.config.directory().join(file)).ok()?;
            let same = there.id.as_deref() == Some(&key.id) && there.secret == key.secret;
            same.then_some(())
        };
        let found = names.into_iter().find(|it| has_it(it).is_some());
        found.map(str::to_owned)
    }

    /// Returns `true` if only systemd gives the key to the daemon, so that no trial has it.
    pub(super) fn is_credential(&self, source: &Source) -> bool {
        let Source::Existing(name) = source else {
            return false;
        };
        self.text_of("source", name, CREDENTIAL_KEY).is_some()
    }

    pub(super) fn backend(&self, plan: &mut InitPlan) -> Result<()> {
        let (Source::Key { backend, .. }, Some(prompter)) = (&mut plan.source, &self.prompter)
        else {
            return Ok(());
        };
        if self.typed.secret_backend.is_some() {
            return Ok(());
        }
        let read = |answer: &str| SecretBackend::from_str(answer, true);
        let question = "Store the key in a file (mode 0600), a systemd credential, the keyring";
        let answer = prompter.ask(question, Some("file"), |answer| {
            let read = read(answer).map(drop);
            Ok(read.map_err(|_| "one of file, credential, keyring".to_owned()))
        })?;
        *backend = read(&answer).map_err(Error::msg)?;
        Ok(())
    }
}

/// Returns the account of `acs:ram::ACCOUNT:user/NAME`.
fn account_of(arn: &str) -> Option<String> {
    let account = arn.split(':').nth(3)?;
    let is_number = !account.is_empty() && account.bytes().all(|it| it.is_ascii_digit());
    is_number.then(|| account.to_owned())
}

fn check_id(id: &str) -> Result<(), String> {
    match id {
        "" => Err("an AccessKey id is not empty".to_owned()),
        id => access_key_id(id).map_err(without_possessive),
    }
}

fn check_secret(secret: &str) -> Result<(), String> {
    match secret {
        "" => Err("an AccessKey secret is not empty".to_owned()),
        secret => access_key_secret(secret).map_err(without_possessive),
    }
}

/// Returns a message about an imported profile without its leading "its".
fn without_possessive(problem: String) -> String {
    problem
        .strip_prefix("its ")
        .map_or(problem.clone(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::account_of;

    #[test]
    fn account_is_a_part_of_the_arn() {
        assert_eq!(account_of("acs:ram::12:user/u").as_deref(), Some("12"));
        assert_eq!(account_of("acs:ram::12:root").as_deref(), Some("12"));
        assert_eq!(account_of("nothing"), None);
    }
}
