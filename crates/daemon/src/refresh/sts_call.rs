//! The calls of one attempt: a second call beside one that stays without an answer, and the next
//! endpoint after one that is not reachable.
//!
//! The second call is a hedged request: a packet that is lost on the way costs a caller without a
//! session seconds, not its patience. Each call takes a token of the rate limit.

use std::{pin::pin, time::Duration};

use stsd_sts::{Proof, StsError};
use tracing::{info, warn};

use crate::{
    profile::{RoleArn, SessionDuration},
    refresh::acquire::Attempt,
    sts::upstream::{IssuedSession, StsExchange},
};

/// Time without an answer after which a second call is made, if a caller waits and there is no
/// session. The kernel repeats a lost SYN after 1 s (RFC 6298), and an answer from a far region takes
/// about 1 s with TCP and TLS (three round trips of 0.3 s), so that a slow call alone is not doubled.
/// ARCHITECTURE.md has the sums with the patience of each client.
pub(super) const HEDGE_DELAY: Duration = Duration::from_millis(2500);

/// The calls of one attempt, for which the rate limit has given one token.
pub(super) struct StsCall<'a, X> {
    pub attempt: &'a Attempt<'a, X>,
    pub role_arn: &'a RoleArn,
    pub duration: SessionDuration,
    pub proof: &'a Proof,
}

impl<X: StsExchange> StsCall<'_, X> {
    /// Calls the endpoints in turn until one answers.
    pub(super) async fn run(&self) -> Result<IssuedSession, StsError> {
        let last = self.attempt.upstream.endpoint_count() - 1;
        let (mut result, mut endpoint) = self.hedged(0).await;
        while let Err(error) = &result
            && is_unreachable(error)
            && endpoint < last
        {
            let profile = &self.attempt.entry.profile.name;
            warn!(%profile, "the next endpoint is tried: {error}");
            self.wait_for_token(endpoint + 1).await;
            let (next, used) = self.hedged(endpoint + 1).await;
            (result, endpoint) = (combined(result, next), used);
        }
        result
    }

    /// Calls one endpoint, and beside a call without an answer the next one; returns the last
    /// endpoint that was called as well.
    async fn hedged(&self, endpoint: usize) -> (Result<IssuedSession, StsError>, usize) {
        let subject = || format!("STS at {}", self.host(endpoint));
        let entry = self.attempt.entry;
        entry.waiting_for(subject, self.attempt.clock.boot());
        let mut first = pin!(self.exchange(endpoint));
        tokio::select! {
            biased;
            answer = &mut first => return (answer, endpoint),
            () = self.silence() => {}
        }
        let other = (endpoint + 1).min(self.attempt.upstream.endpoint_count() - 1);
        let profile = &entry.profile.name;
        let (silent, host) = (self.host(endpoint), self.host(other));
        info!(%profile, "no answer of STS at {silent} for {HEDGE_DELAY:?}: a second call goes to {host}");
        let mut second = pin!(async {
            self.wait_for_token(other).await;
            match other == endpoint {
                true => (self.exchange(other).await, other),
                // Beside another endpoint that is silent as well, the one after it is called.
                false => Box::pin(self.hedged(other)).await,
            }
        });
        tokio::select! {
            biased;
            answer = &mut first => match is_final(&answer) {
                true => (answer, other),
                false => {
                    let (later, last) = second.await;
                    (combined(answer, later), last)
                }
            },
            (answer, last) = &mut second => match is_final(&answer) {
                true => (answer, last),
                false => (combined(answer, first.await), last),
            },
        }
    }

    /// Completes when a caller without a session has waited long enough for an answer.
    async fn silence(&self) {
        let (entry, clock) = (self.attempt.entry, self.attempt.clock);
        let now = clock.boot();
        if entry.snapshot().usable_for(Duration::ZERO, now).is_some() {
            return std::future::pending().await;
        }
        let due = now + HEDGE_DELAY;
        loop {
            let left = due.since(clock.boot());
            match left.is_zero() {
                false => clock.sleep_at_most(left).await,
                true if entry.has_waiters() => return,
                // A caller that begins to wait wakes the task.
                true => entry.wake.notified().await,
            }
        }
    }

    async fn exchange(&self, endpoint: usize) -> Result<IssuedSession, StsError> {
        let (entry, upstream) = (self.attempt.entry, self.attempt.upstream);
        entry.stats.counters.count_call();
        let profile = &entry.profile;
        let call = upstream.call(endpoint, profile, self.role_arn, self.duration, self.proof);
        let answer = call.await;
        if let Err(error) = &answer {
            entry.stats.counters.count_failure(error.kind());
        }
        answer
    }

    async fn wait_for_token(&self, endpoint: usize) {
        let quota = self.attempt.upstream.quota(endpoint, self.proof);
        self.attempt.wait_for_token(quota).await;
    }

    fn host(&self, endpoint: usize) -> &str {
        self.attempt.upstream.host(endpoint)
    }
}

/// Returns `true` for an answer of STS, which no other call improves.
fn is_final(answer: &Result<IssuedSession, StsError>) -> bool {
    !answer.as_ref().is_err_and(is_unreachable)
}

fn is_unreachable(error: &StsError) -> bool {
    matches!(error, StsError::Unreachable { .. })
}

/// Returns the later result, with the error of the earlier call if no endpoint was reachable.
fn combined(
    earlier: Result<IssuedSession, StsError>,
    later: Result<IssuedSession, StsError>,
) -> Result<IssuedSession, StsError> {
    match (earlier, later) {
        (
            Err(StsError::Unreachable {
                endpoint,
                reason,
                fault,
            }),
            Err(StsError::Unreachable {
                endpoint: other,
                reason: why,
                fault: also,
            }),
        ) if endpoint != other => Err(StsError::Unreachable {
            endpoint,
            reason: format!("{reason}; nor at {other}: {why}"),
            fault: fault.or(also),
        }),
        (_, later) => later,
    }
}
