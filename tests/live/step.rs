//! The result of a step, with what the services have answered, masked.

use std::{io, process::Output};

use crate::{mask::Mask, oss::Answer, sts_failure::StsFailure};

/// The result of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The step ended as expected.
    Ok,
    Failed,
    NotRun,
}

/// A step of the report.
pub(crate) struct Step {
    pub(crate) outcome: Outcome,
    /// The error code of the service.
    pub(crate) code: Option<String>,
    /// The status of HTTP.
    pub(crate) status: Option<u16>,
    pub(crate) millis: Option<u128>,
    pub(crate) request_id: Option<String>,
    /// A sentence for a person.
    pub(crate) remark: Option<String>,
}

impl Step {
    /// Returns a step without facts.
    pub(crate) fn new(outcome: Outcome) -> Self {
        Self {
            outcome,
            code: None,
            status: None,
            millis: None,
            request_id: None,
            remark: None,
        }
    }

    /// Returns a step that was left out.
    pub(crate) fn not_run(reason: &str) -> Self {
        Self {
            remark: Some(reason.to_owned()),
            ..Self::new(Outcome::NotRun)
        }
    }

    /// Returns a failed step.
    pub(crate) fn failed(reason: &str, mask: &Mask) -> Self {
        Self {
            remark: Some(mask.text(reason)),
            ..Self::new(Outcome::Failed)
        }
    }

    /// Returns the step of an action without an answer of a service.
    pub(crate) fn of_result(result: Result<(), String>, millis: u128, mask: &Mask) -> Self {
        let step = match result {
            Ok(()) => Self::new(Outcome::Ok),
            Err(reason) => Self::failed(&reason, mask),
        };
        Self {
            millis: Some(millis),
            ..step
        }
    }

    /// Returns the step of a program that has to succeed.
    pub(crate) fn of_program(output: io::Result<Output>, millis: u128, mask: &Mask) -> Self {
        let result = match output {
            Ok(output) if output.status.success() => Ok(()),
            Ok(output) => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
            Err(error) => Err(format!("the program does not start: {error}")),
        };
        Self::of_result(result, millis, mask)
    }

    /// Returns the step of a session that STS has issued by the call of an id.
    pub(crate) fn of_session(request_id: Option<String>, millis: u128, mask: &Mask) -> Self {
        Self {
            millis: Some(millis),
            request_id: request_id.map(|it| mask.request_id(&it)),
            ..Self::new(Outcome::Ok)
        }
    }

    /// Returns the step of a profile without a session.
    pub(crate) fn of_failure(
        outcome: Outcome,
        failure: StsFailure,
        millis: u128,
        mask: &Mask,
    ) -> Self {
        Self {
            code: failure.code.map(|it| mask.text(&it)),
            millis: Some(millis),
            request_id: failure.request_id.map(|it| mask.request_id(&it)),
            remark: Some(mask.text(&failure.text)),
            ..Self::new(outcome)
        }
    }

    /// Returns the step of an answer of OSS.
    pub(crate) fn of_answer(outcome: Outcome, answer: Answer, millis: u128, mask: &Mask) -> Self {
        Self {
            code: answer.code.map(|it| mask.text(&it)),
            status: Some(answer.status),
            millis: Some(millis),
            request_id: answer.request_id.map(|it| mask.request_id(&it)),
            ..Self::new(outcome)
        }
    }
}
