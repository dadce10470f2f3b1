//! The checks of an import before a secret is stored: a plan and `--write` have one verdict.

use anyhow::Result;
use rustix::fs::{Access, access};

use super::{Importer, uri_file_name};
use crate::{
    config_file::{AcceptedConfig, CheckResult},
    secret_store,
};

/// The text of `ENOENT` in an error of the daemon.
const NOT_FOUND: &str = "No such file or directory";

impl Importer<'_> {
    /// Excludes profiles that `stsd --check` rejects. Returns the refusal that is of no profile of the
    /// plan, and therefore of the whole configuration; `None` without one.
    pub(super) fn exclude_rejected(&mut self) -> Result<Option<String>> {
        let refusal = self.exclude_by(Self::check_elsewhere)?;
        // The text that the configuration has already may decide otherwise: it names an endpoint.
        if refusal.is_some() && self.config.text()?.is_none() {
            return Ok(refusal);
        }
        self.exclude_by(Self::check_in_place)
    }

    /// Excludes profiles that a check rejects, until it rejects none. Returns the remaining refusal.
    fn exclude_by(&mut self, check: fn(&Self) -> Result<CheckResult>) -> Result<Option<String>> {
        while !self.plan.tables.is_empty() {
            let CheckResult::Rejected(reason) = check(self)? else {
                return Ok(None);
            };
            let mistakes = reason.lines().filter_map(mistake);
            let excluded = mistakes.filter(|(key, problem)| self.plan.exclude(key, problem));
            if excluded.count() == 0 {
                return Ok(Some(reason));
            }
            self.plan.merge_into(&self.config.table()?);
        }
        Ok(None)
    }

    /// Checks the new tables in a temporary directory, with placeholders for the AccessKeys.
    fn check_elsewhere(&self) -> Result<CheckResult> {
        if !self.plan.has_profile() {
            return Ok(CheckResult::Accepted(AcceptedConfig::default()));
        }
        // A URI is checked as it will be stored.
        let uris = self.plan.secrets.iter().filter(|it| it.is_uri);
        let uris = uris.map(|it| (uri_file_name(&it.name), it.text.expose()));
        let uris: Vec<_> = uris.collect();
        let is_new = self.config.text()?.is_none();
        let top = if is_new { self.top() } else { String::new() };
        let text = top + &self.plan.dry_run_config();
        self.config.dry_run(&text, &uris)
    }

    /// Checks the whole configuration in its directory, where the secrets of the plan are missing
    /// yet. A directory that is missing, or that only another user can write to, is not checked.
    fn check_in_place(&self) -> Result<CheckResult> {
        let text = self.config_text()?;
        let directory = self.config.directory();
        if !directory.is_dir() || access(directory, Access::WRITE_OK | Access::EXEC_OK).is_err() {
            return Ok(CheckResult::Accepted(AcceptedConfig::default()));
        }
        let CheckResult::Rejected(reason) = self.check(&text)? else {
            return Ok(CheckResult::Accepted(AcceptedConfig::default()));
        };
        let remaining = reason.lines().filter(|it| !self.is_of_missing_secret(it));
        let remaining: Vec<_> = remaining.collect();
        Ok(match remaining.is_empty() {
            true => CheckResult::Accepted(AcceptedConfig::default()),
            false => CheckResult::Rejected(remaining.join("\n")),
        })
    }

    /// Returns `true` for a mistake that ends when the secrets of the plan are stored.
    fn is_of_missing_secret(&self, line: &str) -> bool {
        let Some((key, problem)) = mistake(line) else {
            return false;
        };
        let mut secrets = self.plan.secrets.iter();
        secrets.any(|secret| {
            let rest = key.strip_prefix("source.");
            let entry = rest.and_then(|it| it.strip_prefix(secret.name.as_str()));
            match entry {
                Some(".access_key_file" | ".uri_file") => problem.contains(NOT_FOUND),
                Some(".access_key_keyring") => true,
                _ => false,
            }
        })
    }

    /// Checks the new configuration, unless the existing one is rejected already.
    pub(super) fn check(&self, text: &str) -> Result<CheckResult> {
        let before = self.config.text()?;
        let profiles: toml::Table = toml::from_str(text)?;
        if !profiles.contains_key("profile") {
            let reason = "there is no profile yet, without which stsd does not start";
            return Ok(CheckResult::NotChecked(reason.to_owned()));
        }
        let result = self.config.check(text)?;
        // A problem of the existing text is not caused by the new tables. A text without a profile is
        // always refused by itself.
        if let (CheckResult::Rejected(_), Some(before)) = (&result, before)
            && toml::from_str::<toml::Table>(before)?.contains_key("profile")
            && let CheckResult::Rejected(reason) = self.config.check(before)?
        {
            let reason = format!("stsd refuses here what was there before:\n{reason}\n");
            return Ok(CheckResult::NotChecked(reason));
        }
        Ok(result)
    }

    /// Checks that no secret of the plan would replace another one.
    ///
    /// # Errors
    /// The error of storing the secret.
    pub(super) fn check_secret_places(&self) -> Result<()> {
        let directory = self.config.directory();
        for secret in &self.plan.secrets {
            if secret.is_uri {
                secret_store::find_file(&self.uri_file(&secret.name), &secret.text)?;
            } else {
                self.backend
                    .check_place(&secret.name, &secret.text, directory)?;
            }
        }
        Ok(())
    }
}

/// Returns the key and the problem of a mistake: `FILE:LINE: KEY: PROBLEM (hint: …)`. A warning is none.
pub(super) fn mistake(line: &str) -> Option<(&str, &str)> {
    if line.starts_with("warning: ") {
        return None;
    }
    let at = line.find(": source.").or_else(|| line.find(": profile."))?;
    line[at + 2..].split_once(": ")
}
