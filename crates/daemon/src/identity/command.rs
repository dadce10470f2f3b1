//! How a program is asked that knows who we are: its arguments one by one, no shell, a bounded
//! time and output, and nothing of what it says quoted.

use std::{
    process::Command,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use zeroize::Zeroizing;

use super::{SourceError, Surroundings};
use crate::{
    export::Environment,
    runtime::{
        child_process,
        child_process::CommandError,
        clock::{BootTime, Clock},
        sync::lock,
    },
};

/// How long it may take. Programs that ask another service retry, too.
const BOUND: Duration = Duration::from_secs(30);

/// For how long a failure answers those who come after it: a thousand profiles that try again,
/// each when it is due, do not start a program that fails a thousand times.
const MEMORY: Duration = Duration::from_secs(1);

/// A program of the configuration that prints who we are.
#[derive(Debug)]
pub struct Program {
    words: Vec<String>,
    environment: Arc<Environment>,
    /// When it failed last, and how.
    failed: Mutex<Option<(BootTime, SourceError)>>,
}

impl Program {
    /// Prepares to run a program, with its arguments; the first word is its full path.
    #[must_use]
    pub fn new(words: Vec<String>, surroundings: &Surroundings) -> Self {
        Self {
            words,
            environment: Arc::clone(&surroundings.environment),
            failed: Mutex::default(),
        }
    }

    /// Runs it and returns what it prints, of `most` bytes at the most.
    ///
    /// # Errors
    /// [`SourceError`], which quotes nothing of what it printed.
    pub(super) async fn text(
        &self,
        most: usize,
        clock: &dyn Clock,
    ) -> Result<Zeroizing<String>, SourceError> {
        let lately = |at: &BootTime| clock.boot().since(*at) < MEMORY;
        if let Some((_, error)) = self.failed().as_ref().filter(|(at, _)| lately(at)) {
            return Err(error.clone());
        }
        let printed = self.run(most).await;
        let error = printed.as_ref().err();
        *self.failed() = error.map(|error| (clock.boot(), error.clone()));
        printed
    }

    async fn run(&self, most: usize) -> Result<Zeroizing<String>, SourceError> {
        let (program, arguments) = self
            .words
            .split_first()
            .map_or(("", &[][..]), |(program, rest)| (program.as_str(), rest));
        let mut command = Command::new(program);
        command.args(arguments).env_clear();
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        let hint = "run it by hand as the daemon's user to see what it says; what it says to the \
                    daemon is not shown, because it may be a secret";
        let printed = child_process::read(command, BOUND, most).await;
        let printed = printed.map_err(|error| {
            let problem = match error {
                CommandError::Start(error) => format!("does not start: {error}"),
                CommandError::Failed(status) => format!("failed: {status}"),
                CommandError::Late(bound) => {
                    format!("did not end within {} s and was killed", bound.as_secs())
                }
                CommandError::TooMuch(most) => {
                    format!("printed more than {most} bytes and was killed")
                }
            };
            SourceError::new(self.subject(), problem, hint)
        })?;
        match std::str::from_utf8(&printed) {
            Ok(text) => Ok(Zeroizing::new(text.to_owned())),
            Err(_) => Err(SourceError::new(
                self.subject(),
                "printed what is not text",
                hint,
            )),
        }
    }

    fn failed(&self) -> MutexGuard<'_, Option<(BootTime, SourceError)>> {
        lock(&self.failed)
    }

    /// Names it, for a human; its arguments may hold a secret.
    pub(super) fn subject(&self) -> String {
        let program = self.words.first().map_or("", String::as_str);
        format!("the command {program}")
    }
}
