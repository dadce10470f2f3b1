//! The lasting problems that the daemon reports about itself.

use stsd_client::Condition;

use crate::{report::Finding, term::duration::format_duration};

/// Returns the endpoint of STS and its origin, as the daemon reports them: `URL (ORIGIN)`.
pub(super) fn endpoint_note(conditions: &[Condition]) -> Option<&str> {
    let mut all = conditions.iter();
    let endpoint = all.find(|it| it.name == "sts_endpoint" && it.holds)?;
    (!endpoint.message.is_empty()).then_some(endpoint.message.as_str())
}

pub(super) fn check(conditions: &[Condition]) -> Vec<Finding> {
    let problems = conditions.iter().filter(|it| !it.holds);
    let finding = |it: &Condition| {
        let age = format_duration(it.age_seconds);
        let subject = format!("daemon's {}", it.name.replace('_', " "));
        Finding::fault(subject, format!("for {age}: {}", it.message), &it.hint)
    };
    problems.map(finding).collect()
}
