//! The lasting problems that the daemon reports about itself.

use stsd_client::Condition;

use crate::{report::Finding, term::duration::format_duration};

pub(super) fn check(conditions: &[Condition]) -> Vec<Finding> {
    let problems = conditions.iter().filter(|it| !it.holds);
    let finding = |it: &Condition| {
        let age = format_duration(it.age_seconds);
        let subject = format!("daemon's {}", it.name.replace('_', " "));
        Finding::fault(subject, format!("for {age}: {}", it.message), &it.hint)
    };
    problems.map(finding).collect()
}
