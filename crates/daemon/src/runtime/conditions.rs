//! The conditions of the daemon: states that last, and that a person must see while a problem lasts.
//! Whatever detects the problem records its beginning and its end; `stsctl` and the service manager
//! show it meanwhile.

use std::{collections::BTreeMap, fmt::Write as _, sync::Mutex};

use tokio::sync::Notify;

use crate::runtime::{clock::BootTime, sync::lock};

/// A state of the daemon that lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Condition {
    /// The configuration in force is that of the last reload.
    Configuration,
    /// Clients can find the sockets.
    Socket,
    /// The file of the audit is written.
    AuditFile,
    /// The sessions are stored for the next process.
    Handover,
    /// The HTTP endpoint listens, if it is configured.
    HttpEndpoint,
    /// Metrics are served, if they are configured.
    MetricsEndpoint,
    /// The endpoint of STS can be called, as far as the configuration and the environment decide. The
    /// note has the endpoint and its origin.
    StsEndpoint,
}

/// Why a condition does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The message for a person, without secrets.
    pub message: String,
    /// The hint: the correction by a person.
    pub hint: String,
    /// The beginning of the problem.
    pub since: BootTime,
}

/// The conditions, each with its problem; `None` if it holds.
#[derive(Debug)]
pub struct Conditions {
    problems: Mutex<BTreeMap<Condition, Option<Problem>>>,
    /// The message of a condition that holds, for the conditions that have one.
    notes: Mutex<BTreeMap<Condition, String>>,
    changed: Notify,
}

impl Condition {
    const ALL: [Self; 7] = [
        Self::Configuration,
        Self::Socket,
        Self::AuditFile,
        Self::Handover,
        Self::HttpEndpoint,
        Self::MetricsEndpoint,
        Self::StsEndpoint,
    ];

    /// Returns the name in the status, the metrics and the status of the service.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Configuration => "configuration",
            Self::Socket => "socket",
            Self::AuditFile => "audit_file",
            Self::Handover => "handover",
            Self::HttpEndpoint => "http_endpoint",
            Self::MetricsEndpoint => "metrics_endpoint",
            Self::StsEndpoint => "sts_endpoint",
        }
    }
}

impl Default for Conditions {
    fn default() -> Self {
        let all = Condition::ALL.into_iter().map(|it| (it, None));
        Self {
            problems: Mutex::new(all.collect()),
            notes: Mutex::default(),
            changed: Notify::new(),
        }
    }
}

impl Conditions {
    /// Records a problem, or another message for one that lasts. Returns `true` if the condition held
    /// before.
    pub fn fail(&self, condition: Condition, message: &str, hint: &str, now: BootTime) -> bool {
        let mut problems = lock(&self.problems);
        let problem = problems.entry(condition).or_default();
        let since = problem.as_ref().map_or(now, |it| it.since);
        let new = Problem {
            message: message.to_owned(),
            hint: hint.to_owned(),
            since,
        };
        if problem.as_ref() != Some(&new) {
            self.changed.notify_one();
        }
        problem.replace(new).is_none()
    }

    /// Records the end of a problem. Returns `true` if there was one.
    pub fn recover(&self, condition: Condition) -> bool {
        let ended = lock(&self.problems).insert(condition, None).flatten();
        if ended.is_some() {
            self.changed.notify_one();
        }
        ended.is_some()
    }

    /// Sets the message of a condition while it holds.
    pub fn set_note(&self, condition: Condition, note: String) {
        lock(&self.notes).insert(condition, note);
    }

    /// Returns the message of a condition that holds; `None` without one.
    #[must_use]
    pub fn note(&self, condition: Condition) -> Option<String> {
        lock(&self.notes).get(&condition).cloned()
    }

    /// Returns all conditions, by name.
    #[must_use]
    pub fn all(&self) -> Vec<(Condition, Option<Problem>)> {
        let problems = lock(&self.problems);
        problems.iter().map(|it| (*it.0, it.1.clone())).collect()
    }

    /// Completes after a change.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Returns the status of the service in one line: the number of profiles, and the problems.
    #[must_use]
    pub fn summary(&self, profiles: usize) -> String {
        let mut summary = format!("profiles: {profiles}");
        for (condition, problem) in self.all() {
            if let Some(problem) = problem {
                // Writing to a string cannot fail.
                let _ = write!(summary, "; {}: {}", condition.name(), problem.message);
            }
        }
        summary
    }
}

#[cfg(test)]
mod tests {
    use super::{Condition, Conditions};
    use crate::runtime::clock::BootTime;

    #[test]
    fn problem_keeps_its_beginning_until_its_end() {
        let (conditions, at) = (Conditions::default(), BootTime::from_millis);
        let problem = |condition| {
            let found = conditions.all().into_iter().find(|it| it.0 == condition);
            found.unwrap().1
        };
        assert_eq!(conditions.summary(2), "profiles: 2");
        assert!(!conditions.recover(Condition::Socket));
        assert!(conditions.fail(Condition::Socket, "removed", "", at(1000)));
        assert!(!conditions.fail(Condition::Socket, "still removed", "", at(2000)));
        let lasting = problem(Condition::Socket).unwrap();
        assert_eq!(lasting.since, at(1000));
        assert_eq!(conditions.summary(2), "profiles: 2; socket: still removed");
        assert!(problem(Condition::Configuration).is_none());
        assert!(conditions.recover(Condition::Socket));
        assert!(problem(Condition::Socket).is_none());
    }
}
