//! The line on stderr with the reason for which a request for credentials waits, for a person at a
//! terminal.

use std::{
    io::{self, IsTerminal as _},
    sync::mpsc::{self, RecvTimeoutError, TryRecvError},
    thread::Builder,
    time::Duration,
};

use stsd_client::{Client, Condition, Error, ProfileStatus};

use crate::term::{duration::format_duration, style};

/// The pause between the request and the line.
const WAITING_LINE_DELAY: Duration = Duration::from_secs(1);

/// Timeout of the status request for the reason; a daemon that serves answers from memory.
const STATUS_TIMEOUT: Duration = Duration::from_millis(500);

/// The state of the daemon while a request waits.
struct Reason {
    profile: Option<ProfileStatus>,
    conditions: Vec<Condition>,
}

/// Makes a request for a profile. If stderr is a terminal and the request takes more than a second,
/// another thread prints the reason once; the request does not wait for that thread.
pub(crate) fn with_waiting_line<T>(
    client: &Client,
    profile: &str,
    request: impl FnOnce() -> T,
) -> T {
    if !io::stderr().is_terminal() {
        return request();
    }
    let (done, waits) = mpsc::channel::<()>();
    let (client, profile) = (client.clone().without_retries(), profile.to_owned());
    // Without a thread the request is made all the same.
    let _ = Builder::new().spawn(move || {
        if waits.recv_timeout(WAITING_LINE_DELAY) != Err(RecvTimeoutError::Timeout) {
            return;
        }
        let line = line(&client, &profile);
        if waits.try_recv() == Err(TryRecvError::Empty) {
            style::print_note(&line);
        }
    });
    let answer = request();
    drop(done);
    answer
}

fn line(client: &Client, profile: &str) -> String {
    let (answer, answers) = mpsc::channel();
    let (asked, name) = (client.clone(), profile.to_owned());
    let _ = Builder::new().spawn(move || {
        let _ = answer.send(reason(&asked, &name));
    });
    let socket = client.socket().display();
    match answers.recv_timeout(STATUS_TIMEOUT) {
        Ok(Ok(reason)) => format!("waiting for credentials of {profile}{}", reason.text()),
        Ok(Err(error)) => format!("waiting for the daemon: {error}"),
        Err(_) => format!("waiting for the daemon at {socket}, which does not answer"),
    }
}

fn reason(client: &Client, name: &str) -> Result<Reason, Error> {
    let status = client.status()?;
    let mut profiles = status.profiles.into_iter();
    Ok(Reason {
        profile: profiles.find(|it| it.name == name),
        // The daemon of an older version has none, and a caller without rights gets none.
        conditions: client.conditions().unwrap_or_default(),
    })
}

impl Reason {
    /// Returns the reason with its colon; empty for a profile that the daemon does not show.
    fn text(&self) -> String {
        let Some(profile) = &self.profile else {
            return String::new();
        };
        if let Some(last) = &profile.last_failure {
            let age = format_duration(last.age_seconds);
            return format!(
                ": the attempt {age} ago failed: {}; {}",
                last.failure.message,
                next_attempt(profile)
            );
        }
        match profile.next_attempt_reason.as_str() {
            "renewal under way" => format!(": STS{} has not answered yet", self.sts_hosts()),
            other => format!(": {other}"),
        }
    }

    /// Returns the hosts of STS as ` at HOST`; empty if the daemon does not report them.
    fn sts_hosts(&self) -> String {
        let mut all = self.conditions.iter();
        let endpoint = all.find(|it| it.name == "sts_endpoint" && it.holds);
        // The URLs are followed by their origin in brackets.
        let urls = endpoint.and_then(|it| it.message.split(" (").next());
        let urls = urls.unwrap_or_default();
        let hosts = urls.replace("https://", "").replace("http://", "");
        if hosts.is_empty() {
            return String::new();
        }
        format!(" at {hosts}")
    }
}

fn next_attempt(profile: &ProfileStatus) -> String {
    match profile.next_attempt_seconds {
        None | Some(0) => profile.next_attempt_reason.clone(),
        Some(seconds) => format!("the next one is in {}", format_duration(seconds)),
    }
}

#[cfg(test)]
mod tests {
    use stsd_client::{Condition, Failure, FailureKind, LastFailure, ProfileStatus};

    use super::Reason;

    fn profile(reason: &str) -> ProfileStatus {
        ProfileStatus {
            name: "a".to_owned(),
            role_arn: String::new(),
            access_key_id: None,
            expiration_unix_seconds: None,
            remaining_seconds: None,
            lifetime_seconds: None,
            next_attempt_seconds: Some(0),
            next_attempt_reason: reason.to_owned(),
            last_failure: None,
            advice: None,
            hand_outs: 0,
            calls_saved: 0,
            sts_calls: 0,
            sts_failures: Vec::new(),
            renewals: 0,
            renewal_millis_total: 0,
            renewal_millis_last: 0,
        }
    }

    #[track_caller]
    fn check(profile: ProfileStatus, endpoint: &str, expected: &str) {
        let reason = Reason {
            profile: Some(profile),
            conditions: vec![Condition {
                name: "sts_endpoint".to_owned(),
                holds: true,
                message: endpoint.to_owned(),
                hint: String::new(),
                age_seconds: 0,
            }],
        };
        assert_eq!(reason.text(), expected);
    }

    #[test]
    fn reason_names_the_host_the_failure_or_the_source() {
        let host = "https://sts.cn-hangzhou.aliyuncs.com (region)";
        let at_host = ": STS at sts.cn-hangzhou.aliyuncs.com has not answered yet";
        check(profile("renewal under way"), host, at_host);
        let anywhere = ": STS has not answered yet";
        check(profile("renewal under way"), "", anywhere);
        check(
            profile("waiting for its source"),
            host,
            ": waiting for its source",
        );
        let last_failure = LastFailure {
            failure: Failure {
                kind: FailureKind::Unreachable,
                message: "STS is not reachable".to_owned(),
                hint: String::new(),
            },
            age_seconds: 3,
            in_a_row: 1,
        };
        let failed = ProfileStatus {
            next_attempt_seconds: Some(5),
            last_failure: Some(last_failure),
            ..profile("retry after a failure")
        };
        let expected = ": the attempt 3s ago failed: STS is not reachable; the next one is in 5s";
        check(failed, host, expected);
    }
}
