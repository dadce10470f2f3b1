//! Decides how one call to STS is made: within this machine's budget, and signed with the
//! time that STS believes in. All profiles share it, so what one learns helps the others.

use std::{future::Future, sync::Arc};

use jiff::Timestamp;
use stsd_sts::{AssumeRole, Proof, RoleSession, Sts, StsError};
use tokio::sync::Notify;

use crate::{
    profile::{Profile, RoleArn, SessionDuration},
    runtime::{
        backoff::MAX_BACKOFF,
        clock::{BootTime, Clock},
    },
    sts::{rate_limit::RateLimiter, server_clock::ServerClock},
};

/// The exchange of an identity for a role session.
pub trait StsExchange: Send + Sync + 'static {
    /// Makes one call to STS, at `now` by its clock.
    fn exchange(
        &self,
        proof: &Proof,
        request: AssumeRole<'_>,
        now: Timestamp,
    ) -> impl Future<Output = Result<RoleSession, StsError>> + Send;
}

impl StsExchange for Sts {
    async fn exchange(
        &self,
        proof: &Proof,
        request: AssumeRole<'_>,
        now: Timestamp,
    ) -> Result<RoleSession, StsError> {
        Sts::exchange(self, proof, request, now).await
    }
}

/// A role session, and when it was issued by the service's clock.
pub struct IssuedSession {
    /// What the service answered.
    pub session: RoleSession,
    /// The answer's `Date`; or what the service's clock must show by the answers before, if
    /// that is later: one front end whose clock is behind cannot prolong a session's life.
    pub at: Timestamp,
    /// When the request was sent.
    pub sent: BootTime,
}

/// The way to one STS endpoint.
pub struct Upstream<X> {
    exchange: X,
    clock: Arc<dyn Clock>,
    rate_limiter: Arc<RateLimiter>,
    server_clock: ServerClock,
    renewed: Arc<Notify>,
}

impl<X: StsExchange> Upstream<X> {
    /// Prepares the way; nothing is called yet.
    #[must_use]
    pub fn new(
        exchange: X,
        clock: Arc<dyn Clock>,
        rate_limiter: Arc<RateLimiter>,
        renewed: Arc<Notify>,
    ) -> Self {
        Self {
            exchange,
            clock,
            rate_limiter,
            server_clock: ServerClock::default(),
            renewed,
        }
    }

    /// Says that a session was renewed, to whoever keeps them.
    pub fn notify_renewed(&self) {
        self.renewed.notify_one();
    }

    /// Returns what limits the calls.
    #[must_use]
    pub fn rate_limiter(&self) -> &RateLimiter {
        &self.rate_limiter
    }

    /// Makes one call, for which the budget has given its token, and learns from the answer
    /// what the time is and whether all profiles must pause.
    ///
    /// # Errors
    /// [`StsError`], as it came.
    pub async fn call(
        &self,
        profile: &Profile,
        role_arn: &RoleArn,
        duration: SessionDuration,
        proof: &Proof,
    ) -> Result<IssuedSession, StsError> {
        let request = AssumeRole {
            role_arn: role_arn.as_str(),
            role_session_name: profile.role_session_name.as_str(),
            duration: duration.get(),
            policy: profile.policy.as_ref().map(|it| it.as_str()),
            external_id: profile.external_id.as_deref(),
            source_identity: profile.source_identity.as_deref(),
        };
        let sent = self.clock.boot();
        let signed = self.server_clock.at(sent);
        let signed = signed.unwrap_or_else(|| self.clock.wall());
        let answer = self.exchange.exchange(proof, request, signed).await;
        match answer {
            Ok(session) => Ok(self.issued(session, sent)),
            Err(error) => {
                self.apply_hints(&error);
                Err(error)
            }
        }
    }

    fn issued(&self, session: RoleSession, sent: BootTime) -> IssuedSession {
        let date = session.server_date.max(self.server_clock.at(sent));
        IssuedSession {
            at: date.unwrap_or_else(|| self.clock.wall()),
            session,
            sent,
        }
    }

    /// Learns what the time is from an answer that was found good.
    pub fn observe_date(&self, date: Option<Timestamp>, sent: BootTime) {
        if let Some(date) = date {
            self.server_clock.observe(date, sent, self.clock.boot());
        }
    }

    fn apply_hints(&self, error: &StsError) {
        let now = self.clock.boot();
        match error {
            StsError::Clock {
                server_date: Some(date),
                ..
            } => self.server_clock.reset_to(*date, now),
            StsError::Throttled {
                retry_after: Some(hint),
                ..
            } => self.rate_limiter.pause_for((*hint).min(MAX_BACKOFF), now),
            _ => {}
        }
    }
}
