//! `stsctl import`: stores the keys first, then writes the configuration that refers to them, and
//! undoes the former if the latter fails. The imported file is never written.

mod verdict;

use std::{
    env,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, Result, bail, ensure};
use stsctl::{
    aliyun_profiles,
    aliyun_profiles::{
        Disposition, FileFormat, Plan,
        files::{ToolFile, find_default, read},
    },
};
use stsd_client::Client;

use crate::{
    cli::Import,
    commands::next_steps::{DaemonState, NextSteps},
    config_file::{CheckResult, ConfigFile},
    secret_store,
    secret_store::{SecretBackend, StoredSecret},
    term::stdout::{print_line, print_warnings},
};

/// Comment for a key without a role.
const NO_ROLE_COMMENT: &str = "\
# A key itself is never served. Name a role that the key can assume, and remove the # of each line:
# [profile.NAME]
# source = \"SOURCE\"
# role_arn = \"acs:ram::ACCOUNT:role/ROLE\"
";

pub(crate) fn run(client: &Client, socket: Option<&Path>, typed: &Import) -> Result<ExitCode> {
    let (path, other) = match &typed.file {
        Some(path) => (path.clone(), None),
        None => find_default()?,
    };
    let shown = path.display();
    let file = read(&path).with_context(|| format!("{shown}"))?;
    let mut plan = aliyun_profiles::plan(&file.bytes, typed.secret_backend.config_entry())
        .with_context(|| format!("{shown}"))?;
    let mut config = ConfigFile::open()?;
    let _lock = if typed.write {
        let lock = config.lock()?;
        // The previous holder of the lock may have written it.
        config = ConfigFile::open()?;
        Some(lock)
    } else {
        None
    };
    plan.merge_into(&config.table()?);
    if plan.exclude_without_variables(is_set) {
        plan.merge_into(&config.table()?);
    }
    let mut import = Importer {
        path: &path,
        plan,
        config,
        backend: typed.secret_backend,
    };
    import.check_secret_places()?;
    let refusal = import.exclude_rejected()?;
    import.print_report(&file, other.as_deref())?;
    if import.plan.tables.is_empty() {
        return import.report_nothing();
    }
    if let Some(reason) = refusal {
        return refused(&reason);
    }
    if typed.write {
        return import.write(client, socket);
    }
    import.print_preview()?;
    Ok(ExitCode::SUCCESS)
}

/// A running import.
struct Importer<'a> {
    path: &'a Path,
    plan: Plan,
    config: ConfigFile,
    backend: SecretBackend,
}

impl Importer<'_> {
    /// Prints the outcome of each profile, and warnings about the file.
    fn print_report(&self, file: &ToolFile, other: Option<&Path>) -> Result<()> {
        let shown = self.path.display();
        let whose = match self.plan.form {
            FileFormat::Json => "aliyun-cli's",
            FileFormat::Ini => "the SDKs'",
        };
        print_line(&format!("{shown} ({whose}), which stays as it is:\n"))?;
        print_line(&self.plan.report())?;
        if aliyun_profiles::has_unreadable_mark(&file.bytes) {
            let problem = aliyun_profiles::MARK_PROBLEM;
            print_line(&format!(
                "warning: {shown}: {problem}: save it without the mark\n"
            ))?;
        }
        if file.mode & 0o077 != 0 {
            print_line(&format!(
                "warning: {shown} has mode {:04o}: others on this machine may read the secrets \
                 in it; run chmod 0600 on it, and consider them seen\n",
                file.mode
            ))?;
        }
        if !self.plan.long_lived.is_empty() {
            print_line(&format!(
                "warning: {shown} holds AccessKeys, which do not end, in clear text, and does so \
                 after an import: of {}. Once programs get their credentials here, give the \
                 user a new AccessKey, put that in the old one's place with stsd, disable the \
                 old one, and take the profile out there{}\n",
                self.plan.long_lived.join(", "),
                match self.plan.form {
                    FileFormat::Json => " (aliyun configure delete --profile NAME)",
                    FileFormat::Ini => "",
                }
            ))?;
        }
        if let Some(other) = other {
            let other = other.display();
            print_line(&format!(
                "There is {other} as well: stsctl import {other}\n"
            ))?;
        }
        Ok(())
    }

    /// Reports that there is nothing to add: a success only if all of it exists already.
    fn report_nothing(&self) -> Result<ExitCode> {
        let there = |it: &aliyun_profiles::Outcome| it.disposition == Disposition::AlreadyPresent;
        let config = self.config.path().display();
        if self.plan.outcomes.iter().any(there) {
            print_line(&format!("{config} has it all already; nothing is changed"))?;
            return Ok(ExitCode::SUCCESS);
        }
        print_line("there is nothing to take; nothing is changed")?;
        Ok(ExitCode::FAILURE)
    }

    /// Returns the new configuration: the existing text, followed by the new tables.
    fn config_text(&self) -> Result<String> {
        let before = self.config.text()?;
        let mut text = before.unwrap_or_default().to_owned();
        if before.is_none() {
            text.push_str(&self.top());
        }
        if !text.is_empty() {
            text.push_str(if text.ends_with('\n') { "\n" } else { "\n\n" });
        }
        text.push_str(&self.with_header(&self.plan.addition()));
        let whole: Result<toml::Table, _> = toml::from_str(&text);
        let config = self.config.path().display();
        ensure!(
            whole.is_ok(),
            "{config} is written in a way in which nothing can be added at its end (a table in \
             one line); make [source.NAME] and [profile.NAME] of it first"
        );
        Ok(text)
    }

    /// Returns the first lines of a new configuration: the region, and the HTTP endpoint, from which
    /// most programs take credentials.
    fn top(&self) -> String {
        let region = self.plan.region.as_ref();
        let region = region.map_or_else(String::new, aliyun_profiles::Region::lines);
        let separator = if region.is_empty() { "" } else { "\n" };
        format!("{region}{separator}[http]\n")
    }

    fn with_header(&self, tables: &str) -> String {
        let path = self.path.display().to_string();
        let from = if path.contains(char::is_control) {
            String::new()
        } else {
            format!("# Taken from {path} by stsctl import.\n")
        };
        let mut text = from + tables;
        if !self.plan.has_profile() {
            text.push('\n');
            text.push_str(NO_ROLE_COMMENT);
        }
        text
    }

    fn print_preview(&self) -> Result<()> {
        let config = self.config.path().display();
        let new = self.config.text()?.is_none();
        print_line(&if new {
            format!("This would be {config}:\n")
        } else {
            format!("This would be added to {config}:\n")
        })?;
        let top = if new { self.top() } else { String::new() };
        let top = if new { top + "\n" } else { top };
        print_line(&(top + &self.with_header(&self.plan.redacted_addition())))?;
        for secret in &self.plan.secrets {
            let place = if secret.is_uri {
                let path = self.uri_file(&secret.name);
                format!("{}, mode 0600", path.display())
            } else {
                self.backend.location(&secret.name, self.config.directory())
            };
            print_line(&format!(
                "This would be put into {place}:\n\n{}",
                secret.redacted
            ))?;
        }
        self.print_region()?;
        print_line("Nothing has been written: --write does it")
    }

    /// Stores the keys and checks the configuration, excluding rejected profiles until stsd
    /// accepts the rest; then writes the configuration.
    fn write(&mut self, client: &Client, socket: Option<&Path>) -> Result<ExitCode> {
        let (put, result) = loop {
            let text = self.config_text()?;
            let mut put = Vec::new();
            let done = self.store_secrets(&mut put).and_then(|()| {
                let result = self.check(&text)?;
                if !matches!(result, CheckResult::Rejected(_)) {
                    self.config.write(&text)?;
                }
                Ok(result)
            });
            match done {
                Ok(CheckResult::Rejected(reason)) => {
                    put.iter().for_each(StoredSecret::undo);
                    self.exclude(&reason)?;
                    if self.plan.tables.is_empty() {
                        return self.report_nothing();
                    }
                }
                Ok(result) => break (put, result),
                Err(error) => {
                    put.iter().for_each(StoredSecret::undo);
                    return Err(error);
                }
            }
        };
        for put in &put {
            print_line(&match put {
                StoredSecret::Created(path) => format!("{}: written, mode 0600", path.display()),
                StoredSecret::Unchanged(path) => format!("{}: is there already", path.display()),
                StoredSecret::External(place) => format!("{place}: has the key"),
            })?;
        }
        let config = self.config.path().display();
        print_line(&format!("{config}: written"))?;
        // The system's daemon may read the file as another user, so the mode is not changed.
        if self.config.is_readable_by_others()
            && self
                .plan
                .tables
                .iter()
                .any(aliyun_profiles::Table::has_command)
        {
            print_line(
                "Others may read it, and a command in it may be given a secret: chmod 0600, if the \
                 daemon runs as its owner",
            )?;
        }
        let no_profile = !self.plan.has_profile() && !self.config.table()?.contains_key("profile");
        match result {
            CheckResult::NotChecked(_) if no_profile => {
                print_line(
                    "there is no profile in it yet, without which stsd does not start: name the \
                     role there, and run stsd --check",
                )?;
            }
            CheckResult::NotChecked(reason) => print_line(&format!(
                "it could not be checked ({reason}): run stsd --check"
            ))?,
            CheckResult::Accepted(accepted) => print_warnings(&accepted.warnings)?,
            CheckResult::Rejected(_) => {}
        }
        self.print_region()?;
        let keys = self.plan.secrets.iter().filter(|it| !it.is_uri);
        let keys: Vec<_> = keys.map(|it| it.name.as_str()).collect();
        if let Some(rest) = self.backend.manual_steps(&keys, self.config.directory()) {
            print_line(&format!("\n{rest}"))?;
        }
        self.print_next_steps(client, socket)?;
        Ok(ExitCode::SUCCESS)
    }

    fn print_next_steps(&self, client: &Client, socket: Option<&Path>) -> Result<()> {
        let Some(profile) = self.plan.first_profile() else {
            return Ok(());
        };
        if !self.config.table()?.contains_key("http") && self.config.text()?.is_some() {
            print_line(
                "the configuration has no [http]: add that line, or use stsctl exec --static; \
                 without it no program gets a URL",
            )?;
        }
        let runs = client.clone().without_retries().status().is_ok();
        let next = NextSteps {
            profile,
            region: self.plan.region.as_ref().map(|it| it.name.as_str()),
            socket,
            daemon: match runs {
                true => DaemonState::Outdated,
                false => DaemonState::NotRunning,
            },
        };
        next.print()
    }

    /// Leaves out the profiles in whose tables the daemon's program finds mistakes: a file
    /// that is not there need not keep the others from being taken.
    fn exclude(&mut self, reason: &str) -> Result<()> {
        let mistakes: Vec<_> = reason.lines().filter_map(verdict::mistake).collect();
        let count = self.plan.outcomes.iter().filter(is_converted).count();
        for (key, problem) in mistakes {
            self.plan.exclude(key, problem);
        }
        if self.plan.outcomes.iter().filter(is_converted).count() == count {
            return refused(reason);
        }
        self.plan.merge_into(&self.config.table()?);
        print_line(&format!(
            "stsd --check refuses some of it, which is left:\n{reason}\n"
        ))
    }

    fn store_secrets(&self, put: &mut Vec<StoredSecret>) -> Result<()> {
        let directory = self.config.directory();
        for secret in &self.plan.secrets {
            put.push(if secret.is_uri {
                secret_store::store_file(&self.uri_file(&secret.name), &secret.text)?
            } else {
                self.backend.store(&secret.name, &secret.text, directory)?
            });
        }
        Ok(())
    }

    fn uri_file(&self, name: &str) -> PathBuf {
        self.config.directory().join(uri_file_name(name))
    }

    /// Prints the region that the profiles need, if an existing configuration has another one.
    fn print_region(&self) -> Result<()> {
        let (Some(region), Some(_)) = (&self.plan.region, self.config.text()?) else {
            return Ok(());
        };
        let table = self.config.table()?;
        let same = |it: &toml::Value| it.as_str() == Some(&region.name);
        if table.get("region").is_some_and(same) {
            return Ok(());
        }
        print_line(&format!(
            "the profiles ask STS in {}; for that, the configuration needs at its top:\n{}",
            region.name,
            region.lines()
        ))
    }
}

/// Returns `true` if a variable is set and not empty, as the daemon reads variables.
fn is_set(name: &str) -> bool {
    env::var_os(name).is_some_and(|it| !it.is_empty())
}

fn refused<T>(reason: &str) -> Result<T> {
    bail!("stsd would refuse the configuration, so nothing is changed:\n{reason}")
}

/// Returns the name of the file that has a source's URI.
fn uri_file_name(source: &str) -> String {
    format!("{source}.uri")
}

fn is_converted(outcome: &&aliyun_profiles::Outcome) -> bool {
    outcome.disposition == Disposition::Converted
}
