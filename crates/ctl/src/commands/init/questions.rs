//! The answers for `stsctl init`, from options or prompts. `stsd --check` checks each answer, and STS
//! checks the key and the role; a message is shown at the prompt.

mod role;
mod source;

use std::env;

use anyhow::{Error, Result, bail};
use stsd_client::Credentials;
use stsd_model::ProfileName;
use toml_edit::{DocumentMut, Item};

use super::{
    deferred_signals::SignalMask,
    plan,
    plan::{InitPlan, Source},
    prompt::Prompter,
    trial::Trial,
};
use crate::{
    cli::{IdentityKind, Init},
    config_file::{CheckResult, ConfigFile},
    error::usage,
};

const DEFAULT_PROFILE: &str = "default";

/// The variables of the platform that name the endpoint of STS where the configuration names none.
const ENDPOINT_VARIABLES: [&str; 2] = ["ALIBABA_CLOUD_STS_ENDPOINT", "ALIBABA_CLOUD_STS_REGION"];

/// The answers, and what STS has answered about them.
pub(super) struct Answers {
    pub(super) plan: InitPlan,
    /// The first credentials; `None` if STS could not be asked.
    pub(super) credentials: Option<Credentials>,
}

/// Collects all answers; the error of missing options lists all of them.
pub(super) fn answers(typed: &Init, config: &ConfigFile, signals: &SignalMask) -> Result<Answers> {
    let text = config.text()?.unwrap_or_default();
    let questions = Questions {
        typed,
        prompter: Prompter::detect(signals),
        config,
        before: plan::parse(text, config.path())?,
        signals,
    };
    questions.ask()
}

struct Questions<'a> {
    typed: &'a Init,
    prompter: Option<Prompter<'a>>,
    config: &'a ConfigFile,
    before: DocumentMut,
    signals: &'a SignalMask,
}

impl Questions<'_> {
    fn ask(&self) -> Result<Answers> {
        let existing = self.existing_source()?;
        self.check_complete(existing.is_some())?;
        self.check_endpoint()?;
        if let Some(prompter) = &self.prompter {
            let path = self.config.path().display();
            prompter.print(&format!(
                "This sets up a profile in {path}. Nothing is written before STS has answered.\n"
            ))?;
        }
        let mut plan = self.first_plan(existing)?;
        self.region(&mut plan)?;
        let account = self.key(&mut plan)?;
        let credentials = self.role(&mut plan, account.as_deref())?;
        self.backend(&mut plan)?;
        Ok(Answers { plan, credentials })
    }

    /// Returns a plan with the profile's name and all options.
    fn first_plan(&self, existing: Option<String>) -> Result<InitPlan> {
        let typed = self.typed;
        let profile = self.profile()?;
        let source = match existing {
            Some(name) => Source::Existing(name),
            None => Source::InstanceRole(plan::free_source_name(&self.before, &profile)),
        };
        let plan = InitPlan {
            profile,
            source,
            region: typed.region.clone(),
            endpoint: typed.endpoint.clone(),
            role_arn: typed.role.clone().filter(|it| role::is_arn(it)),
        };
        // The options are checked before the next prompt.
        match self.check(&plan)? {
            Ok(warnings) => self.warn(&warnings)?,
            Err(problem) => return usage(problem),
        }
        Ok(plan)
    }

    fn profile(&self) -> Result<String> {
        let name = match (&self.typed.profile, &self.prompter) {
            (Some(name), _) => name.clone(),
            (None, None) => DEFAULT_PROFILE.to_owned(),
            (None, Some(prompter)) => {
                return prompter.ask("Name of the profile", Some(DEFAULT_PROFILE), |name| {
                    Ok(self.check_name(name))
                });
            }
        };
        match self.check_name(&name) {
            Ok(()) => Ok(name),
            Err(problem) => usage(problem),
        }
    }

    fn check_name(&self, name: &str) -> Result<(), String> {
        if !ProfileName::is_valid(name) {
            return Err(format!("a profile's name is {}", ProfileName::SYNTAX));
        }
        let text = self.config.text().ok().flatten().unwrap_or_default();
        match plan::line_of_profile(text, name) {
            Some(line) if !self.typed.force => Err(format!(
                "{}:{line} has a profile {name}: choose another name, or replace that one by --force",
                self.config.path().display()
            )),
            _ => Ok(()),
        }
    }

    /// Fails with the missing options if there is no terminal.
    fn check_complete(&self, has_source: bool) -> Result<()> {
        if self.prompter.is_some() {
            return Ok(());
        }
        let typed = self.typed;
        let mut missing = Vec::new();
        if self.asks_for_region() {
            missing.push("--region");
        }
        if typed.source == IdentityKind::AccessKey {
            if !has_source {
                if typed.access_key_id.is_none() && typed.key_file.is_none() {
                    missing.push("--access-key-id");
                }
                if !typed.secret_stdin && typed.key_file.is_none() {
                    missing.push("--secret-stdin or --key-file");
                }
            }
            if typed.role.is_none() {
                missing.push("--role");
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        usage(format!(
            "without a terminal no question is asked, and these options are missing: {}",
            missing.join(", ")
        ))
    }

    fn asks_for_region(&self) -> bool {
        let names_one = ["region", "endpoint", "endpoints"];
        let is_named = names_one.iter().any(|it| self.before.contains_key(it));
        let is_set = |name: &&str| env::var_os(name).is_some_and(|it| !it.is_empty());
        let by_variable = ENDPOINT_VARIABLES.iter().any(is_set);
        !is_named && !by_variable && self.typed.region.is_none() && self.typed.endpoint.is_none()
    }

    /// Fails if an option differs from the endpoint of the configuration, which is that of all profiles.
    fn check_endpoint(&self) -> Result<()> {
        if plan::names(&self.before, "profile").is_empty() {
            return Ok(());
        }
        let typed = self.typed;
        for (option, key, wanted) in [
            ("--region", "region", &typed.region),
            ("--endpoint", "endpoint", &typed.endpoint),
        ] {
            let found = self.before.get(key).and_then(Item::as_str);
            if wanted.is_some() && wanted.as_deref() != found {
                return usage(format!(
                    "{}: its region or endpoint is that of all its profiles: leave {option} out, or \
                     change the file",
                    self.config.path().display()
                ));
            }
        }
        Ok(())
    }

    fn region(&self, plan: &mut InitPlan) -> Result<()> {
        let Some(prompter) = self.prompter.as_ref().filter(|_| self.asks_for_region()) else {
            return Ok(());
        };
        let mut last: Option<String> = None;
        loop {
            let answer = prompter.ask(
                "Region of STS, such as cn-hangzhou",
                last.as_deref(),
                |it| {
                    let tried = InitPlan {
                        region: Some(it.to_owned()),
                        ..plan.clone()
                    };
                    Ok(self.check(&tried)?.map(drop))
                },
            )?;
            let is_repeated = last.as_deref() == Some(&answer);
            plan.region = Some(answer.clone());
            let Ok(warnings) = self.check(plan)? else {
                continue;
            };
            if warnings.is_empty() || is_repeated {
                return Ok(());
            }
            // The same answer once more is accepted: a region may be newer than this program.
            self.warn(&warnings)?;
            last = Some(answer);
        }
    }

    /// Prepares a trial of the plan.
    fn trial<'p>(&self, plan: &'p InitPlan) -> Result<Trial<'p>> {
        Trial::new(plan, &self.before, self.config.directory())
    }

    /// Checks the answers so far, with placeholders for missing ones; returns the warnings.
    fn check(&self, plan: &InitPlan) -> Result<Result<Vec<String>, String>> {
        let _guard = self.signals.defer();
        let directory = tempfile::tempdir()?;
        let tried = InitPlan {
            // Without the files of existing sources: the check is one of the answers.
            source: match &plan.source {
                Source::Existing(name) => Source::InstanceRole(name.clone()),
                other => other.clone(),
            },
            ..plan.clone()
        };
        let text = tried.for_trial(&self.before).to_string();
        match self.config.check_in(&text, directory.path())? {
            CheckResult::Accepted(accepted) => Ok(Ok(accepted.warnings)),
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

    /// Shows warnings at the prompt; without one they are printed with the result.
    fn warn(&self, warnings: &[String]) -> Result<()> {
        let Some(prompter) = &self.prompter else {
            return Ok(());
        };
        let place = format!("{}: ", self.config.path().display());
        warnings
            .iter()
            .try_for_each(|it| prompter.print(&format!("  {}", it.trim_start_matches(&place))))
    }
}

fn nothing_is_written(error: Error) -> Error {
    error.context("nothing is written")
}
