//! How a program is asked that knows who we are: its arguments one by one, no shell, a bounded
//! time and output, and nothing of what it says quoted.

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

/// How long it may take. Programs that ask another service retry, too.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(30);

/// For how long a failure answers those who come after it: a thousand profiles that try again,
/// each when it is due, do not start a program that fails a thousand times.
const FAILURE_CACHE_TTL: Duration = Duration::from_secs(1);

/// A program of the configuration that prints who we are.
#[derive(Debug)]
pub struct IdentityCommand {
    words: Vec<String>,
    environment: Arc<Environment>,
    /// When it failed last, and how.
    last_failure: Mutex<Option<(BootTime, SourceError)>>,
}

impl IdentityCommand {
    /// Prepares to run a program, with its arguments; the first word is its full path.
    #[must_use]
    pub fn new(words: Vec<String>, environment: &ProcessEnvironment) -> Self {
        Self {
            words,
            environment: Arc::clone(&environment.environment),
            last_failure: Mutex::default(),
        }
    }

    /// Runs it and returns what it prints, of `max_bytes` bytes at the most.
    ///
    /// # Errors
    /// [`SourceError`], which quotes nothing of what it printed.
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
        let hint = "run it by hand as the daemon's user to see what it says; what it says to the \
                    daemon is not shown, because it may be a secret";
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
                "printed what is not text",
                hint,
            )),
        }
    }

    fn last_failure(&self) -> MutexGuard<'_, Option<(BootTime, SourceError)>> {
        lock(&self.last_failure)
    }

    /// Names it, for a human; its arguments may hold a secret.
    pub(super) fn describe(&self) -> String {
        let program = self.words.first().map_or("", String::as_str);
        format!("the command {program}")
    }
}
