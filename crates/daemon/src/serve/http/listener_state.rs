//! The state of the loopback listener: not configured, listening, or not bound, with the reason.

use std::net::SocketAddr;

/// The result of the last attempt to listen.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ListenerState {
    /// The configuration has no `[http]`.
    #[default]
    NotConfigured,
    /// Connections are accepted at this address.
    Listening(SocketAddr),
    /// Another process holds the port.
    PortTaken {
        /// The configured address.
        address: SocketAddr,
        /// The user of that process; `None` if the kernel reports none.
        holder: Option<u32>,
    },
    /// The system has refused the address for another reason.
    Failed {
        /// The configured address.
        address: SocketAddr,
        /// The error of the system.
        error: String,
    },
}

impl ListenerState {
    /// Returns the bound address; `None` without one.
    #[must_use]
    pub fn bound(&self) -> Option<SocketAddr> {
        match self {
            Self::Listening(address) => Some(*address),
            _ => None,
        }
    }

    /// Returns why no URL is served, with the fix; `None` for a listener.
    #[must_use]
    pub fn problem(&self) -> Option<(String, &'static str)> {
        match self {
            Self::Listening(_) => None,
            Self::NotConfigured => Some((
                "the HTTP endpoint is not configured".to_owned(),
                "add [http] to the configuration, then stsctl reload",
            )),
            Self::PortTaken { address, holder } => Some((
                format!(
                    "the HTTP endpoint does not listen: {address} is held by {}",
                    holder_name(*holder)
                ),
                "set listen of [http] to another port, or to 127.0.0.1:0 for any free one, then \
                 stsctl reload; or end the process that ss -ltnp shows: stsd tries again every 5 s",
            )),
            Self::Failed { address, error } => Some((
                format!("the HTTP endpoint does not listen at {address}: {error}"),
                "set listen of [http] to another port, then stsctl reload",
            )),
        }
    }
}

/// Returns the user of another process, in words.
pub(super) fn holder_name(holder: Option<u32>) -> String {
    /// `/proc/sys/kernel/overflowuid`, in nearly every system.
    const OVERFLOW_UID: u32 = 65_534;
    match holder {
        Some(OVERFLOW_UID) => {
            format!("uid {OVERFLOW_UID} (also of users outside this user namespace)")
        }
        Some(uid) => format!("uid {uid}"),
        None => "a process whose user the kernel does not report".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::ListenerState;

    #[test]
    fn each_state_but_listening_has_its_own_problem_and_hint() {
        let address = "127.0.0.1:7787".parse().unwrap();
        let check = |state: ListenerState, words: Option<(&str, &str)>| {
            let problem = state.problem();
            assert_eq!(problem.is_some(), words.is_some(), "{state:?}");
            if let (Some((problem, hint)), Some((in_problem, in_hint))) = (&problem, words) {
                assert!(problem.contains(in_problem), "{problem}");
                assert!(hint.contains(in_hint), "{hint}");
            }
        };
        check(ListenerState::Listening(address), None);
        let not_configured = Some(("not configured", "add [http]"));
        check(ListenerState::NotConfigured, not_configured);
        let taken = |holder| ListenerState::PortTaken { address, holder };
        let words = "127.0.0.1:7787 is held by uid 1002";
        check(taken(Some(1002)), Some((words, "another port")));
        let words = "held by a process whose user the kernel does not report";
        check(taken(None), Some((words, "another port")));
        let error = "permission denied".to_owned();
        let failed = ListenerState::Failed { address, error };
        let words = "at 127.0.0.1:7787: permission denied";
        check(failed, Some((words, "another port")));
    }
}
