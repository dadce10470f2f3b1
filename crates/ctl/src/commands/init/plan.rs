//! Decides what is wanted: by options, else by asking, and nothing that the daemon's program
//! would refuse. What it says of an answer is what somebody at a terminal reads.

use anyhow::{Result, bail};
use stsctl::aliyun_profiles::{access_key_id, access_key_secret, quoted};
use stsd_client::SecretText;

use super::{deferred_signals::Signals, key, key::Key, prompt::Person};
use crate::{
    cli::{Identity, Init},
    config_file::{Configuration, Judgement},
    error::usage,
    secret_store::Keeper,
};

/// What stands for what is not known yet, where the rest is tried.
const SOME_ROLE: &str = "acs:ram::1:role/some";

/// What is wanted.
pub(super) struct Wish {
    pub(super) profile: String,
    /// What the source is called, and the key with its keeper.
    pub(super) source: String,
    pub(super) region: Option<String>,
    endpoint: Option<String>,
    role: Option<String>,
    /// As the daemon reads it; none for an instance.
    pub(super) key: Option<SecretText>,
    pub(super) keeper: Option<Keeper>,
    /// There is no configuration yet that the lines at the top would be another's of.
    new: bool,
}

/// Where answers come from, and who judges them.
struct Asking<'a> {
    typed: &'a Init,
    person: Option<Person<'a>>,
    configuration: &'a Configuration,
    signals: &'a Signals,
}

impl Wish {
    /// Finds all of it out, or says all that is missing.
    pub(super) fn of(
        typed: &Init,
        configuration: &Configuration,
        there: &toml::Table,
        signals: &Signals,
    ) -> Result<Self> {
        let asking = Asking {
            typed,
            person: Person::look(signals),
            configuration,
            signals,
        };
        let mut wish = Self {
            profile: typed.profile.clone(),
            source: String::new(),
            region: None,
            endpoint: typed.endpoint.clone(),
            role: None,
            key: None,
            keeper: None,
            new: there.is_empty(),
        };
        wish.is_possible(typed, configuration, there)?;
        wish.source = source_beside(there, &wish.profile);
        asking.is_enough(wish.new)?;
        // What was typed with the command is judged before anything is asked.
        wish.region.clone_from(&typed.region);
        wish.role.clone_from(&typed.role_arn);
        if let Err(problem) = asking.judge(&wish)? {
            return usage(problem);
        }
        asking.greet(&wish)?;
        asking.region(&mut wish)?;
        if typed.source == Identity::AccessKey {
            asking.key(&mut wish)?;
        }
        asking.role(&mut wish)?;
        Ok(wish)
    }

    /// Refuses what a configuration that is there does not leave room for.
    fn is_possible(
        &self,
        typed: &Init,
        configuration: &Configuration,
        there: &toml::Table,
    ) -> Result<()> {
        let shown = configuration.path().display();
        if !self.fits(there) {
            return usage(format!(
                "{shown} has a profile {} already; choose another --profile",
                self.profile
            ));
        }
        for (option, key, wanted) in [
            ("--region", "region", &typed.region),
            ("--endpoint", "endpoint", &typed.endpoint),
        ] {
            let found = there.get(key).and_then(|it| it.as_str());
            if !self.new && wanted.is_some() && wanted.as_deref() != found {
                return usage(format!(
                    "{shown} is there already, and what it says of STS at its top is for all \
                     profiles: leave {option} out, or change it there"
                ));
            }
        }
        Ok(())
    }

    /// Tells whether there is no such profile yet, nor one that would be taken for ours.
    pub(super) fn fits(&self, there: &toml::Table) -> bool {
        let has = |kind: &str, name: &str| {
            let table = there.get(kind).and_then(|it| it.as_table());
            table.is_some_and(|it| it.contains_key(name))
        };
        !has("profile", &self.profile)
            && (self.source.is_empty() || !has("source", &self.source))
            && self.new == there.is_empty()
    }

    /// Returns the configuration: what is there, to the byte, and behind it what is new.
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
        let identity = match self.keeper {
            Some(keeper) => {
                let (key, value) = keeper.keeping()(&self.source);
                format!("type = \"access-key\"\n{key} = {}\n", quoted(&value))
            }
            None => "type = \"ecs-role\"\n".to_owned(),
        };
        let role = self.role.as_ref();
        let role = role.map_or_else(String::new, |it| format!("role_arn = {}\n", quoted(it)));
        format!(
            "[source.{}]\n{identity}\n[profile.{}]\nsource = {source}\n{role}",
            key_of(&self.source),
            key_of(&self.profile)
        )
    }
}

impl Asking<'_> {
    /// Says what is missing where nobody can be asked.
    fn is_enough(&self, new: bool) -> Result<()> {
        if self.person.is_some() {
            return Ok(());
        }
        let typed = self.typed;
        let mut missing = Vec::new();
        if new && typed.region.is_none() && typed.endpoint.is_none() {
            missing.push("--region");
        }
        if typed.source == Identity::AccessKey {
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

    fn greet(&self, wish: &Wish) -> Result<()> {
        let Some(person) = &self.person else {
            return Ok(());
        };
        let path = self.configuration.path().display();
        person.tell(&format!(
            "This makes the profile {} in {path}. Nothing is written before all is asked.\n",
            wish.profile
        ))
    }

    fn region(&self, wish: &mut Wish) -> Result<()> {
        if wish.region.is_some() || wish.endpoint.is_some() || !wish.new {
            return Ok(());
        }
        if let Some(person) = &self.person {
            let answer = person.ask("Region of STS, such as cn-hangzhou", None, |answer| {
                self.judge(&wish.with(|it| it.region = Some(answer.to_owned())))
            })?;
            wish.region = Some(answer);
        }
        Ok(())
    }

    fn key(&self, wish: &mut Wish) -> Result<()> {
        let typed = self.typed;
        let found = match &typed.key_file {
            Some(path) => Some(Key::from_file(path)?),
            // At a terminal it is asked for, where it is not shown.
            None if typed.secret_stdin && self.person.is_none() => Some(Key::from_stdin()?),
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
            (None, None) => match &self.person {
                Some(person) => person.ask("AccessKey id of the RAM user", None, |answer| {
                    Ok(self.id(answer))
                })?,
                None => return usage("the file has the secret alone: --access-key-id is missing"),
            },
        };
        let secret = match (found, &self.person) {
            (Some(key), _) => match self.secret(key.secret.expose()) {
                Ok(()) => key.secret,
                Err(problem) => return usage(problem),
            },
            (None, Some(person)) => {
                person.ask_secret("Its AccessKey secret", |it| self.secret(it))?
            }
            (None, None) => return usage("--secret-stdin or --key-file is missing"),
        };
        wish.key = Some(key::document(&id, &secret));
        wish.keeper = Some(match (typed.keeper, &self.person) {
            (Some(keeper), _) => keeper,
            (None, Some(person)) => self.keeper(person)?,
            (None, None) => Keeper::File,
        });
        Ok(())
    }

    fn keeper(&self, person: &Person<'_>) -> Result<Keeper> {
        use clap::ValueEnum as _;

        let read = |answer: &str| Keeper::from_str(answer, true);
        let question =
            "Who keeps the key: file (mode 0600), credential (systemd), keyring (desktop)";
        let answer = person.ask(question, Some("file"), |answer| {
            Ok(read(answer)
                .map(|_| ())
                .map_err(|_| "one of file, credential, keyring".to_owned()))
        })?;
        read(&answer).map_err(anyhow::Error::msg)
    }

    fn role(&self, wish: &mut Wish) -> Result<()> {
        let (None, Some(person)) = (&wish.role, &self.person) else {
            return Ok(());
        };
        // An instance's own session can be handed on as it is.
        let usual = (self.typed.source == Identity::EcsRole).then_some("");
        let question = "Role that programs get: acs:ram::ACCOUNT:role/ROLE";
        let answer = person.ask(question, usual, |answer| match answer {
            "" => Ok(Ok(())),
            answer => self.judge(&wish.with(|it| it.role = Some(answer.to_owned()))),
        })?;
        wish.role = Some(answer).filter(|it| !it.is_empty());
        Ok(())
    }

    fn id(&self, id: &str) -> Result<(), String> {
        match id {
            "" => Err("an AccessKey id is not empty".to_owned()),
            id => access_key_id(id).map_err(without_its),
        }
    }

    fn secret(&self, secret: &str) -> Result<(), String> {
        match secret {
            "" => Err("an AccessKey secret is not empty".to_owned()),
            secret => access_key_secret(secret).map_err(without_its),
        }
    }

    /// Asks the daemon's program what it says to a wish, with stand-ins for what is not known.
    fn judge(&self, wish: &Wish) -> Result<Result<(), String>> {
        let _held = self.signals.hold();
        let key = self.typed.source == Identity::AccessKey;
        let tried = wish.with(|it| {
            it.new = true;
            it.source = "some".to_owned();
            it.keeper = key.then_some(Keeper::Credential);
            if key && it.role.is_none() {
                it.role = Some(SOME_ROLE.to_owned());
            }
        });
        let directory = tempfile::tempdir()?;
        let text = tried.text(None);
        match self.configuration.judge_in(&text, directory.path())? {
            Judgement::Good => Ok(Ok(())),
            Judgement::Unknown(reason) => bail!("nothing can be checked: {reason}"),
            Judgement::Refused(reason) => {
                let first = reason.lines().next().unwrap_or("stsd refuses it");
                let path = self.configuration.path().display().to_string();
                let told = first.strip_prefix(&format!("{path}:"));
                let told = told.and_then(|it| it.split_once(": ")).map(|it| it.1);
                Ok(Err(told.unwrap_or(first).to_owned()))
            }
        }
    }
}

impl Wish {
    /// Returns the same without its key, and with a change, to be tried.
    fn with(&self, change: impl FnOnce(&mut Self)) -> Self {
        let mut other = Self {
            profile: self.profile.clone(),
            source: self.source.clone(),
            region: self.region.clone(),
            endpoint: self.endpoint.clone(),
            role: self.role.clone(),
            key: None,
            keeper: self.keeper,
            new: self.new,
        };
        change(&mut other);
        other
    }
}

/// Returns a name for the source that neither a source nor a profile has.
fn source_beside(there: &toml::Table, profile: &str) -> String {
    let has = |name: &str| {
        let mut tables = there.values().filter_map(|it| it.as_table());
        tables.any(|it| it.contains_key(name))
    };
    // Whatever the profile is called, this is short enough.
    let head: String = profile.chars().take(48).collect();
    let name = format!("{head}-user");
    let mut numbered = (2_u32..).map(|it| format!("{name}{it}"));
    if has(&name) {
        return numbered.find(|it| !has(it)).unwrap_or(name);
    }
    name
}

/// Returns a name as a header has it; only what is plain needs no quotes.
fn key_of(name: &str) -> String {
    let plain = |it: u8| it.is_ascii_alphanumeric() || b"_-".contains(&it);
    match !name.is_empty() && name.bytes().all(plain) {
        true => name.to_owned(),
        false => quoted(name),
    }
}

/// The words are about a profile that is imported.
fn without_its(problem: String) -> String {
    problem
        .strip_prefix("its ")
        .map_or(problem.clone(), str::to_owned)
}
