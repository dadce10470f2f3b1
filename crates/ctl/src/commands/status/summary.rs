//! The state of a profile in one word, and the state of the daemon in one line.

use stsd_client::{Condition, ListenerState, ProfileStatus};

use super::report::StatusReport;
use crate::term::duration::format_duration;

/// The state of a profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ProfileState {
    /// The last attempt failed; a session from before may still be served.
    Failing,
    /// A session is served.
    Ready,
    /// The first session is being obtained.
    Pending,
    /// No session, because no program asks for one.
    Idle,
}

impl ProfileState {
    const ALL: [Self; 4] = [Self::Failing, Self::Ready, Self::Pending, Self::Idle];

    pub(super) fn of(profile: &ProfileStatus) -> Self {
        let has_session = profile.remaining_seconds.is_some();
        match (&profile.last_failure, profile.next_attempt_seconds) {
            (Some(_), _) => Self::Failing,
            (None, _) if has_session => Self::Ready,
            (None, Some(_)) => Self::Pending,
            (None, None) => Self::Idle,
        }
    }

    /// Returns the name in the summary and in JSON.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Failing => "failing",
            Self::Ready => "ready",
            Self::Pending => "pending",
            Self::Idle => "idle",
        }
    }
}

/// Returns the profiles in the order of the table: the failing ones first, then by name.
pub(super) fn in_order(profiles: &[ProfileStatus]) -> Vec<&ProfileStatus> {
    let is_healthy = |it: &ProfileStatus| ProfileState::of(it) != ProfileState::Failing;
    let mut all: Vec<_> = profiles.iter().collect();
    all.sort_by(|a, b| (is_healthy(a), &a.name).cmp(&(is_healthy(b), &b.name)));
    all
}

/// Returns `true` if a profile of the report fails.
pub(super) fn has_failure(report: &StatusReport) -> bool {
    let mut profiles = report.status.profiles.iter();
    profiles.any(|it| ProfileState::of(it) == ProfileState::Failing)
}

/// Returns the number of profiles in each state, the HTTP endpoint, and the result of the last
/// reload. A daemon of an older version, and the socket of a lease, report less.
pub(super) fn line(report: &StatusReport) -> String {
    let parts = [
        counts(&report.status.profiles),
        http(report),
        configuration(report),
    ];
    let parts: Vec<_> = parts.into_iter().flatten().collect();
    parts.join("; ")
}

fn counts(profiles: &[ProfileStatus]) -> Option<String> {
    let in_state = |state| {
        let all = profiles.iter();
        let count = all.filter(|it| ProfileState::of(it) == state).count();
        (count > 0).then(|| format!("{count} {}", state.name()))
    };
    let states: Vec<_> = ProfileState::ALL.into_iter().filter_map(in_state).collect();
    let total = match profiles.len() {
        0 => return None,
        1 => "1 profile".to_owned(),
        many => format!("{many} profiles"),
    };
    Some(format!("{total}: {}", states.join(", ")))
}

fn http(report: &StatusReport) -> Option<String> {
    let Some(listener) = &report.http else {
        let address = report.status.http_address.as_ref()?;
        return Some(format!("HTTP endpoint http://{address}"));
    };
    let address = listener.address.as_deref().unwrap_or_default();
    Some(match listener.state {
        ListenerState::NotConfigured => "HTTP endpoint not configured".to_owned(),
        ListenerState::Listening => format!("HTTP endpoint http://{address}"),
        _ => format!("HTTP endpoint http://{address}, not listening"),
    })
}

fn configuration(report: &StatusReport) -> Option<String> {
    let mut all = report.conditions.iter().flatten();
    let it: &Condition = all.find(|it| it.name == "configuration")?;
    Some(match it.holds {
        true => "configuration accepted".to_owned(),
        false => {
            let age = format_duration(it.age_seconds);
            format!("configuration refused {age} ago, the one before is in force")
        }
    })
}
