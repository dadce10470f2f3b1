//! A program that prints an identity. The program runs without a shell, for a limited time and with
//! a limited output, and no error quotes the output.

use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use zeroize::Zeroizing;

use super::ProcessEnvironment;
use crate::{
    profile::SourceError,
    runtime::{
        child_process::CommandError,
        clock::{BootTime, Clock},
        program::{Program, ProgramContext},
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
    program: Program,
    context: Arc<ProgramContext>,
    /// The time and the error of the last failure.
    last_failure: Mutex<Option<(BootTime, SourceError)>>,
}

/// The output of a program.
pub(super) struct PrintedText<'a> {
    /// The output.
    pub text: Zeroizing<String>,
    command: &'a IdentityCommand,
    stderr: Option<String>,
}

impl IdentityCommand {
    /// Returns a command.
    #[must_use]
    pub fn new(program: Program, environment: &ProcessEnvironment) -> Self {
        Self {
            program,
            context: Arc::clone(&environment.programs),
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
    ) -> Result<PrintedText<'_>, SourceError> {
        let lately = |at: &BootTime| clock.boot().since(*at) < FAILURE_CACHE_TTL;
        if let Some((_, error)) = self.last_failure().as_ref().filter(|(at, _)| lately(at)) {
            return Err(error.clone());
        }
        let printed = self.run(max_bytes).await;
        let error = printed.as_ref().err();
        *self.last_failure() = error.map(|error| (clock.boot(), error.clone()));
        printed
    }

    async fn run(&self, max_bytes: usize) -> Result<PrintedText<'_>, SourceError> {
        let printed = self
            .program
            .read(&self.context, COMMAND_TIMEOUT, max_bytes)
            .await;
        let printed = printed.map_err(|failure| {
            let hint = failure.error.trust_hint().unwrap_or_else(|| self.hint());
            let problem = match failure.error {
                CommandError::Start(error) => format!("does not start: {error}"),
                CommandError::Untrusted(loose) => format!("is not run: it {loose}"),
                CommandError::Redirectable(path, loose) => {
                    format!(
                        "is not run: the path {} in writable {loose}",
                        path.display()
                    )
                }
                CommandError::Failed(status) => format!("failed: {status}"),
                CommandError::TimedOut(bound) => {
                    format!("did not end within {} s and was killed", bound.as_secs())
                }
                CommandError::TooMuch(max_bytes) => {
                    format!("printed more than {max_bytes} bytes and was killed")
                }
            };
            self.error(&problem, failure.stderr.as_deref(), &hint)
        })?;
        match std::str::from_utf8(&printed.text) {
            Ok(text) => Ok(PrintedText {
                text: Zeroizing::new(text.to_owned()),
                command: self,
                stderr: printed.stderr,
            }),
            Err(_) => {
                let problem = "printed bytes that are not UTF-8";
                Err(self.error(problem, printed.stderr.as_deref(), &self.hint()))
            }
        }
    }

    fn last_failure(&self) -> MutexGuard<'_, Option<(BootTime, SourceError)>> {
        lock(&self.last_failure)
    }

    /// Returns the name of the program for messages, without its arguments: they may hold a secret.
    pub(super) fn describe(&self) -> String {
        format!("the command {}", self.program.path())
    }

    /// Returns an error of the program, with a line of its stderr.
    fn error(&self, problem: &str, stderr: Option<&str>, hint: &str) -> SourceError {
        let problem = match stderr {
            Some(line) => format!("{problem}; its stderr ends with: {line}"),
            None => problem.to_owned(),
        };
        SourceError::new(self.describe(), problem, hint)
    }

    fn hint(&self) -> String {
        let confinement = self.program.describe_confinement(&self.context);
        format!("compare with a run by hand as the daemon's user; {confinement}")
    }
}

impl PrintedText<'_> {
    /// Returns an error of the output, with a line of the program's stderr.
    pub(super) fn explain(&self, error: &SourceError) -> SourceError {
        let stderr = self.stderr.as_deref();
        self.command.error(&error.problem, stderr, &error.hint)
    }
}
