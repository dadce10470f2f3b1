//! A command of a profile, with the log lines of its failures.

use std::time::Duration;

use tracing::{info, warn};

use crate::{
    profile::ProfileName,
    runtime::program::{Program, ProgramContext},
};

/// Timeout for a command.
const HOOK_TIMEOUT: Duration = Duration::from_secs(30);

/// A command of a profile.
pub(super) struct Hook {
    /// The key of the configuration.
    key: &'static str,
    program: Program,
    profile: ProfileName,
    /// The failure of the last run, so that a repeated one is logged once.
    last_logged: Option<String>,
}

impl Hook {
    pub(super) fn new(key: &'static str, program: Program, profile: ProfileName) -> Self {
        Self {
            key,
            program,
            profile,
            last_logged: None,
        }
    }

    /// Runs the command with further variables.
    pub(super) async fn run(&mut self, programs: &ProgramContext, further: &[(&str, String)]) {
        let further = further.iter().map(|(name, value)| (*name, value.as_str()));
        let variables: Vec<_> = [("STSD_PROFILE", self.profile.as_str())]
            .into_iter()
            .chain(further)
            .collect();
        let run = self.program.run(programs, &variables, HOOK_TIMEOUT).await;
        let (key, profile) = (self.key, &self.profile);
        // A line of stderr may differ each time.
        let failed = run.as_ref().err().map(|it| it.error.to_string());
        if let Err(failure) = &run
            && self.last_logged != failed
        {
            let hint = failure
                .error
                .trust_hint()
                .unwrap_or_else(|| self.program.describe_confinement(programs));
            warn!(%profile, hint, "{key}: {failure}");
        }
        if failed.is_none() && self.last_logged.is_some() {
            info!(%profile, "{key} succeeds again");
        }
        self.last_logged = failed;
    }
}
