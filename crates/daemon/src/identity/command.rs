//! A program that prints an identity. The program runs without a shell, for a limited time and with
//! a limited output, and no error quotes the output.

use std::{
    process::Command,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use zeroize::Zeroizing;

use super::ProcessEnvironment;
use crate::{
    profile::SourceError,
    runtime::{
        child_process,
        child_process::{CommandError, Environment},
        clock::{BootTime, Clock},
        sync::lock,
    },
};

/// Timeout for the program, which may itself retry requests to a service.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(30);

/// TTL of a cached failure: a thousand profiles with a back-off each do not start a failing program
/// a thousand times.
const FAILURE_CACHE_TTL: Duration = Duration::from_secs(1);

/// A program of the configuration that prints an identity or a token.
#[derive(Debug)]
pub struct IdentityCommand {
    words: Vec<String>,
    environment: Arc<Environment>,
    /// The time and the error of the last failure.
    last_failure: Mutex<Option<(BootTime, SourceError)>>,
}

impl IdentityCommand {
    /// Returns a command; the first word is the full path of the program.
    #[must_use]
    pub fn new(words: Vec<String>, environment: &ProcessEnvironment) -> Self {
        Self {
            words,
            environment: Arc::clone(&environment.environment),
            last_failure: Mutex::default(),
        }
    }

    /// Runs the program and returns its output, `max_bytes` at most.
    ///
    /// # Errors
    /// [`SourceError`], which never quotes the output.
    pub(super) async fn text(
        &self,
        max_bytes: usize,
        clock: &dyn Clock,
    ) -> Result<Zeroizing<String>, SourceError> {
        let lately = |at: &BootTime| clock.boot().since(*at) < FAILURE_CACHE_TTL;
        if let Some((_, error)) = self.last_failure().as_ref().filter(|(at, _)| lately(at)) {
            return Err(error.clone());
        }
        let printed = self.run(max_bytes).await;
        let error = printed.as_ref().err();
        *self.last_failure() = error.map(|error| (clock.boot(), error.clone()));
        printed
    }

    async fn run(&self, max_bytes: usize) -> Result<Zeroizing<String>, SourceError> {
        let (program, arguments) = self
            .words
            .split_first()
            .map_or(("", &[][..]), |(program, rest)| (program.as_str(), rest));
        let mut command = Command::new(program);
        command.args(arguments).env_clear();
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        let hint = "run the command by hand as the daemon's user to see its output; stsd does not show \
                    the output, because it may hold a secret";
        let printed = child_process::read(command, COMMAND_TIMEOUT, max_bytes).await;
        let printed = printed.map_err(|error| {
            let problem = match error {
                CommandError::Start(error) => format!("does not start: {error}"),
                CommandError::Failed(status) => format!("failed: {status}"),
                CommandError::TimedOut(bound) => {
                    format!("did not end within {} s and was killed", bound.as_secs())
                }
                CommandError::TooMuch(max_bytes) => {
                    format!("printed more than {max_bytes} bytes and was killed")
                }
            };
            SourceError::new(self.describe(), problem, hint)
        })?;
        match std::str::from_utf8(&printed) {
            Ok(text) => Ok(Zeroizing::new(text.to_owned())),
            Err(_) => Err(SourceError::new(
                self.describe(),
                "printed bytes that are not UTF-8",
                hint,
            )),
        }
    }

    fn last_failure(&self) -> MutexGuard<'_, Option<(BootTime, SourceError)>> {
        lock(&self.last_failure)
    }

    /// Returns the name of the program for messages, without its arguments: they may hold a secret.
    pub(super) fn describe(&self) -> String {
        let program = self.words.first().map_or("", String::as_str);
        format!("the command {program}")
    }
}
