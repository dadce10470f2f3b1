//! Decides what a human sees of an import, and in which order it is done: keys first, then
//! the configuration that names them, and nothing at all where either goes wrong. The file
//! that is read is never written.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, Result, bail, ensure};
use stsctl::{
    aliyun_profiles,
    aliyun_profiles::{
        Form, Plan, Verdict,
        files::{Read, read, usual},
    },
};

use crate::{
    cli::Import,
    config_file::{Configuration, Judgement},
    secret_store,
    secret_store::{Keeper, Put},
    term::stdout::say,
};

/// What becomes of a key for which there is no role yet.
const NO_ROLE: &str = "\
# A key itself is never handed out. Name the role that programs get by it, and take the # away:
# [profile.NAME]
# source = \"SOURCE\"
# role_arn = \"acs:ram::ACCOUNT:role/ROLE\"
";

pub(crate) fn run(typed: &Import) -> Result<ExitCode> {
    let (path, other) = match &typed.file {
        Some(path) => (path.clone(), None),
        None => usual()?,
    };
    let shown = path.display();
    let read = read(&path).with_context(|| format!("{shown}"))?;
    let mut plan = aliyun_profiles::plan(&read.bytes, typed.keeper.keeping())
        .with_context(|| format!("{shown}"))?;
    let mut configuration = Configuration::find()?;
    let _lock = if typed.write {
        let lock = configuration.lock()?;
        // It may have been written by whoever had the lock before.
        configuration = Configuration::find()?;
        Some(lock)
    } else {
        None
    };
    plan.beside(&configuration.table()?);
    let mut import = Importing {
        path: &path,
        plan,
        configuration,
        keeper: typed.keeper,
    };
    import.foresee()?;
    import.tell(&read, other.as_deref())?;
    if import.plan.tables.is_empty() {
        return import.nothing();
    }
    if typed.write {
        return import.write();
    }
    import.text()?;
    import.show()?;
    Ok(ExitCode::SUCCESS)
}

/// What is being done.
struct Importing<'a> {
    path: &'a Path,
    plan: Plan,
    configuration: Configuration,
    keeper: Keeper,
}

impl Importing<'_> {
    /// Leaves out what the daemon's program would refuse, so that a human sees before what
    /// is done after.
    fn foresee(&mut self) -> Result<()> {
        while self.plan.has_profile() {
            let Judgement::Refused(reason) = self.configuration.foresee(&self.plan.rehearsal())?
            else {
                return Ok(());
            };
            let mistakes = reason.lines().filter_map(mistake);
            let refused = mistakes.filter(|(key, problem)| self.plan.refuse(key, problem));
            if refused.count() == 0 {
                return Ok(());
            }
            self.plan.beside(&self.configuration.table()?);
        }
        Ok(())
    }

    /// Says what becomes of each profile, and what a human should know of the file.
    fn tell(&self, read: &Read, other: Option<&Path>) -> Result<()> {
        let shown = self.path.display();
        let whose = match self.plan.form {
            Form::Json => "aliyun-cli's",
            Form::Ini => "the SDKs'",
        };
        say(&format!("{shown} ({whose}), which stays as it is:\n"))?;
        say(&self.plan.report())?;
        if read.mode & 0o077 != 0 {
            say(&format!(
                "warning: {shown} has mode {:04o}: others on this machine may read the secrets \
                 in it; run chmod 0600 on it, and consider them seen\n",
                read.mode
            ))?;
        }
        if !self.plan.long_lived.is_empty() {
            say(&format!(
                "warning: {shown} holds secrets that do not end, in clear text, and does so \
                 after an import: of {}. Once programs get their credentials here, give the \
                 user a new AccessKey, put that in the old one's place with stsd, disable the \
                 old one, and take the profile out there{}\n",
                self.plan.long_lived.join(", "),
                match self.plan.form {
                    Form::Json => " (aliyun configure delete --profile NAME)",
                    Form::Ini => "",
                }
            ))?;
        }
        if let Some(other) = other {
            let other = other.display();
            say(&format!(
                "There is {other} as well: stsctl import {other}\n"
            ))?;
        }
        Ok(())
    }

    /// Nothing is to be done; whether that is well depends on why.
    fn nothing(&self) -> Result<ExitCode> {
        let there = |it: &aliyun_profiles::Outcome| it.verdict == Verdict::There;
        let config = self.configuration.path().display();
        if self.plan.outcomes.iter().any(there) {
            say(&format!("{config} has it all already; nothing is changed"))?;
            return Ok(ExitCode::SUCCESS);
        }
        say("there is nothing to take; nothing is changed")?;
        Ok(ExitCode::FAILURE)
    }

    /// Returns what the configuration would be: what is there, to the byte, and behind it
    /// what is new.
    fn text(&self) -> Result<String> {
        let before = self.configuration.text()?;
        let mut text = before.unwrap_or_default().to_owned();
        if before.is_none() {
            text.push_str(&self.top());
        }
        if !text.is_empty() {
            text.push_str(if text.ends_with('\n') { "\n" } else { "\n\n" });
        }
        text.push_str(&self.addition(true));
        let whole: Result<toml::Table, _> = toml::from_str(&text);
        let config = self.configuration.path().display();
        ensure!(
            whole.is_ok(),
            "{config} is written in a way in which nothing can be added at its end (a table in \
             one line); make [source.NAME] and [profile.NAME] of it first"
        );
        Ok(text)
    }

    /// The lines at the top of a new configuration.
    fn top(&self) -> String {
        self.plan
            .region
            .as_ref()
            .map_or_else(String::new, aliyun_profiles::Region::lines)
    }

    fn addition(&self, whole: bool) -> String {
        let path = self.path.display().to_string();
        let from = if path.contains(char::is_control) {
            String::new()
        } else {
            format!("# Taken from {path} by stsctl import.\n")
        };
        let mut text = from + &self.plan.addition(whole);
        if !self.plan.has_profile() {
            text.push('\n');
            text.push_str(NO_ROLE);
        }
        text
    }

    fn show(&self) -> Result<()> {
        let config = self.configuration.path().display();
        let new = self.configuration.text()?.is_none();
        say(&if new {
            format!("This would be {config}:\n")
        } else {
            format!("This would be added to {config}:\n")
        })?;
        let top = if new { self.top() } else { String::new() };
        let top = if top.is_empty() { top } else { top + "\n" };
        say(&(top + &self.addition(false)))?;
        for kept in &self.plan.kept {
            let place = if kept.is_uri {
                let path = self.uri_file(&kept.name);
                format!("{}, mode 0600", path.display())
            } else {
                self.keeper
                    .place(&kept.name, self.configuration.directory())
            };
            say(&format!(
                "This would be put into {place}:\n\n{}",
                kept.shown
            ))?;
        }
        self.region_of_others()?;
        say("Nothing has been written: --write does it")
    }

    /// Puts the keys away and asks the daemon's program, until what is left of the plan is
    /// good; then the configuration stands in its place.
    fn write(&mut self) -> Result<ExitCode> {
        let (put, judgement) = loop {
            let text = self.text()?;
            let mut put = Vec::new();
            let done = self.put_away(&mut put).and_then(|()| {
                let judgement = self.judge(&text)?;
                if !matches!(judgement, Judgement::Refused(_)) {
                    self.configuration.put(&text)?;
                }
                Ok(judgement)
            });
            match done {
                Ok(Judgement::Refused(reason)) => {
                    put.iter().for_each(Put::undo);
                    self.leave(&reason)?;
                    if self.plan.tables.is_empty() {
                        return self.nothing();
                    }
                }
                Ok(judgement) => break (put, judgement),
                Err(error) => {
                    put.iter().for_each(Put::undo);
                    return Err(error);
                }
            }
        };
        for put in &put {
            say(&match put {
                Put::New(path) => format!("{}: written, mode 0600", path.display()),
                Put::There(path) => format!("{}: is there already", path.display()),
                Put::Elsewhere(place) => format!("{place}: has the key"),
            })?;
        }
        let config = self.configuration.path().display();
        say(&format!("{config}: written"))?;
        // A machine's daemon may have to read it as another user, so its mode is not ours.
        if self.configuration.is_open()
            && self
                .plan
                .tables
                .iter()
                .any(aliyun_profiles::Table::has_command)
        {
            say(
                "Others may read it, and a command in it may be given a secret: chmod 0600, if the \
                 daemon runs as its owner",
            )?;
        }
        let no_profile =
            !self.plan.has_profile() && !self.configuration.table()?.contains_key("profile");
        match judgement {
            Judgement::Unknown(_) if no_profile => {
                say(
                    "there is no profile in it yet, without which stsd does not start: name the \
                     role there, and run stsd --check",
                )?;
            }
            Judgement::Unknown(reason) => say(&format!(
                "it could not be checked ({reason}): run stsd --check"
            ))?,
            Judgement::Good | Judgement::Refused(_) => {}
        }
        self.region_of_others()?;
        let keys = self.plan.kept.iter().filter(|it| !it.is_uri);
        let keys: Vec<_> = keys.map(|it| it.name.as_str()).collect();
        if let Some(rest) = self.keeper.rest(&keys, self.configuration.directory()) {
            say(&format!("\n{rest}"))?;
        }
        if !no_profile {
            say("a daemon that runs already takes it up with `stsctl reload`")?;
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Leaves out the profiles in whose tables the daemon's program finds mistakes: a file
    /// that is not there need not keep the others from being taken.
    fn leave(&mut self, reason: &str) -> Result<()> {
        let mistakes: Vec<_> = reason.lines().filter_map(mistake).collect();
        let count = self.plan.outcomes.iter().filter(is_taken).count();
        for (key, problem) in mistakes {
            self.plan.refuse(key, problem);
        }
        if self.plan.outcomes.iter().filter(is_taken).count() == count {
            bail!("stsd would refuse the configuration, so nothing is changed:\n{reason}");
        }
        self.plan.beside(&self.configuration.table()?);
        say(&format!(
            "stsd --check refuses some of it, which is left:\n{reason}\n"
        ))
    }

    fn put_away(&self, put: &mut Vec<Put>) -> Result<()> {
        let directory = self.configuration.directory();
        for kept in &self.plan.kept {
            put.push(if kept.is_uri {
                secret_store::put_file(&self.uri_file(&kept.name), &kept.text)?
            } else {
                self.keeper.put(&kept.name, &kept.text, directory)?
            });
        }
        Ok(())
    }

    fn uri_file(&self, name: &str) -> PathBuf {
        self.configuration.directory().join(format!("{name}.uri"))
    }

    /// Asks the daemon's program, where its answer is about what is added.
    fn judge(&self, text: &str) -> Result<Judgement> {
        let before = self.configuration.text()?;
        let profiles: toml::Table = toml::from_str(text)?;
        if !profiles.contains_key("profile") {
            let reason = "there is no profile yet, without which stsd does not start";
            return Ok(Judgement::Unknown(reason.to_owned()));
        }
        let judgement = self.configuration.judge(text)?;
        // What was refused before need not be the fault of what is new.
        if let (Judgement::Refused(_), Some(before)) = (&judgement, before)
            && let Judgement::Refused(reason) = self.configuration.judge(before)?
        {
            let reason = format!("stsd refuses here what was there before:\n{reason}\n");
            return Ok(Judgement::Unknown(reason));
        }
        Ok(judgement)
    }

    /// A configuration that is there keeps its first lines, and with them its STS.
    fn region_of_others(&self) -> Result<()> {
        let (Some(region), Some(_)) = (&self.plan.region, self.configuration.text()?) else {
            return Ok(());
        };
        let table = self.configuration.table()?;
        let same = |it: &toml::Value| it.as_str() == Some(&region.name);
        if table.get("region").is_some_and(same) {
            return Ok(());
        }
        say(&format!(
            "the profiles ask STS in {}; for that, the configuration needs at its top:\n{}",
            region.name,
            region.lines()
        ))
    }
}

fn is_taken(outcome: &&aliyun_profiles::Outcome) -> bool {
    outcome.verdict == Verdict::Taken
}

/// Returns the key and the problem of a mistake: `FILE:LINE: KEY: PROBLEM (hint: …)`.
fn mistake(line: &str) -> Option<(&str, &str)> {
    let at = line.find(": source.").or_else(|| line.find(": profile."))?;
    line[at + 2..].split_once(": ")
}
