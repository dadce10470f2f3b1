//! The role of the profile, of which STS gives the first session.

use anyhow::Result;
use stsd_client::Credentials;

use super::{Questions, nothing_is_written};
use crate::{
    cli::IdentityKind,
    commands::init::{plan::InitPlan, prompt::Prompter},
    error::usage,
};

impl Questions<'_> {
    /// Asks for the role, and STS for its first session.
    pub(super) fn role(
        &self,
        plan: &mut InitPlan,
        account: Option<&str>,
    ) -> Result<Option<Credentials>> {
        let mut typed = self.typed.role.clone();
        loop {
            let role = match (typed.take(), &self.prompter) {
                (Some(role), _) => Some(role),
                (None, Some(prompter)) => self.ask_role(prompter)?,
                (None, None) => None,
            };
            plan.role_arn = match role.as_deref().map(|it| arn_of(it, account)).transpose() {
                Ok(arn) => arn,
                Err(problem) => match &self.prompter {
                    Some(prompter) => {
                        prompter.print(&format!("  {problem}"))?;
                        continue;
                    }
                    None => return usage(problem),
                },
            };
            if let Err(problem) = self.check(plan)? {
                match &self.prompter {
                    Some(prompter) => prompter.print(&format!("  {problem}"))?,
                    None => return usage(problem),
                }
                continue;
            }
            if self.typed.no_start || self.is_credential(&plan.source) {
                return Ok(None);
            }
            // A signal ends stsd before this program.
            let guard = self.signals.defer();
            let outcome = self.trial(plan).and_then(|it| it.credentials());
            drop(guard);
            match (outcome, &self.prompter) {
                (Ok(credentials), _) => return Ok(Some(credentials)),
                (Err(error), Some(prompter)) => prompter.print_error(&error)?,
                (Err(error), None) => return Err(nothing_is_written(error)),
            }
        }
    }

    fn ask_role(&self, prompter: &Prompter<'_>) -> Result<Option<String>> {
        if self.typed.source == IdentityKind::AccessKey {
            let question = "Role that programs get, its name or ARN";
            return prompter.ask(question, None, |_| Ok(Ok(()))).map(Some);
        }
        // The instance's own session can be served as it is.
        let question = "ARN of the role that programs get (Enter: the instance's own role)";
        let role = prompter.ask(question, Some(""), |_| Ok(Ok(())))?;
        Ok(Some(role).filter(|it| !it.is_empty()))
    }
}

pub(super) fn is_arn(role: &str) -> bool {
    role.contains(':')
}

/// Returns the ARN of a role that is given by its name or ARN.
fn arn_of(role: &str, account: Option<&str>) -> Result<String, String> {
    match account {
        _ if is_arn(role) => Ok(role.to_owned()),
        Some(account) => Ok(format!("acs:ram::{account}:role/{role}")),
        None => Err(
            "the account is not known here: give the ARN, acs:ram::ACCOUNT:role/ROLE".to_owned(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::arn_of;

    #[test]
    fn name_of_a_role_becomes_its_arn() {
        let arn = "acs:ram::1:role/r";
        assert_eq!(arn_of("r", Some("1")).as_deref(), Ok(arn));
        assert_eq!(arn_of(arn, None).as_deref(), Ok(arn));
        assert!(arn_of("r", None).is_err());
    }
}
