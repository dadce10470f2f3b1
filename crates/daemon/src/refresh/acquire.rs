//! One attempt to obtain a session: identity, rate limit, call, and the checks of the response.
//! The attempt publishes nothing.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use jiff::SignedDuration;
use stsd_sts::{Proof, SecretText, StsError};
use tracing::{info, warn};

use crate::{
    profile::{Freshness, ResolveContext, ResolvedIdentity, RoleArn, Sessions, SourceError},
    refresh::sts_call::StsCall,
    runtime::clock::{BootTime, Clock},
    session::{
        counters::SOURCE,
        lifetime::Lifetime,
        profile_entry::ProfileEntry,
        snapshot::{EncodedReplies, Session},
    },
    sts::{
        quota::Quota,
        rate_limit::Priority,
        upstream::{IssuedSession, StsExchange, Upstream},
    },
};

/// Maximum lifetime of a session beyond the requested one; a longer session is an invalid response.
const LIFETIME_TOLERANCE: SignedDuration = SignedDuration::from_secs(300);

/// Maximum size of a session's secrets. A larger session fits into no reply, and no known service
/// issues one.
const MAX_SESSION_BYTES: usize = 32 * 1024;

/// Maximum time for which a background refresh yields to interactive ones, if the profile has no
/// session.
const STARVATION_LIMIT: Duration = Duration::from_secs(60);

/// The reason why an attempt has failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum AttemptError {
    /// The call to STS has failed.
    #[error(transparent)]
    Sts(#[from] StsError),
    /// The identity could not be resolved, so that STS was not called.
    #[error(transparent)]
    Source(#[from] SourceError),
}

/// An attempt to obtain a session.
pub(super) struct Attempt<'a, X> {
    pub entry: &'a ProfileEntry,
    pub upstream: &'a Upstream<X>,
    pub sessions: &'a dyn Sessions,
    pub clock: &'a dyn Clock,
    /// The requested lifetime of the session.
    pub requested: Duration,
    /// The duration of the last call, suspends included.
    pub call_duration: Duration,
    /// The wall clock minus the boot-time clock at the last call, which may have waited for its
    /// token for minutes.
    pub clock_offset: SignedDuration,
}

/// The result of an attempt.
pub(super) struct Outcome {
    /// The session.
    pub session: Result<Session, AttemptError>,
    /// The requested lifetime of the session.
    pub requested: Duration,
    /// The duration of the last call, suspends included.
    pub call_duration: Duration,
    /// The wall clock minus the boot-time clock at the last call, which may have waited for its
    /// token for minutes.
    pub clock_offset: SignedDuration,
}

impl<X: StsExchange> Attempt<'_, X> {
    /// Makes the attempt.
    pub(super) async fn run(mut self) -> Outcome {
        let session = self.acquire().await;
        Outcome {
            session,
            requested: self.requested,
            call_duration: self.call_duration,
            clock_offset: self.clock_offset,
        }
    }

    /// Obtains a session, with a second call if the first error says what to correct.
    async fn acquire(&mut self) -> Result<Session, AttemptError> {
        let Some(role_arn) = self.entry.profile.role_arn.clone() else {
            // The issuer may have replaced the session.
            let identity = self.resolve_identity(Freshness::Fresh).await?;
            return self.pass_through(&identity);
        };
        // After a refusal the key may have been replaced, as the hint of the error asks.
        let freshness = if self.entry.snapshot().is_denied() {
            Freshness::Fresh
        } else {
            Freshness::Cached
        };
        let mut identity = self.resolve_identity(freshness).await?;
        self.wait_for_first(&identity).await;
        if identity.end.is_some() && !identity.is_usable(self.clock.boot()) {
            identity = self.resolve_identity(Freshness::Cached).await?;
        }
        match self.call(&role_arn, &identity).await {
            Err(error @ StsError::SourceExpired(_)) => {
                let expired = Freshness::Different(&identity.proof);
                let renewed = self.resolve_identity(expired).await?;
                if renewed.proof == identity.proof {
                    return Err(error.into());
                }
                info!(profile = %self.entry.profile.name, "expired source credentials were renewed");
                self.wait_for_first(&renewed).await;
                Ok(self.call(&role_arn, &renewed).await?)
            }
            Err(error) if is_retryable_now(&error) => {
                self.wait_for_first(&identity).await;
                Ok(self.call(&role_arn, &identity).await?)
            }
            outcome => Ok(outcome?),
        }
    }

    /// Calls STS, for which the rate limit has given a token.
    async fn call(
        &mut self,
        role_arn: &RoleArn,
        identity: &ResolvedIdentity,
    ) -> Result<Session, StsError> {
        let began = self.clock.boot();
        self.clock_offset = clock_offset(self.clock);
        self.entry.attempt_started(began);
        let duration = self.entry.duration(began);
        self.requested = duration.get();
        let calls = StsCall {
            attempt: self,
            role_arn,
            duration,
            proof: &identity.proof,
        };
        let answer = calls.run().await;
        self.call_duration = self.clock.boot().since(began);
        let session = self.validate(answer?, began);
        if let Err(error) = &session {
            self.entry.stats.counters.count_failure(error.kind());
        }
        session
    }

    async fn resolve_identity(
        &mut self,
        freshness: Freshness<'_>,
    ) -> Result<ResolvedIdentity, AttemptError> {
        let snapshot = self.entry.snapshot();
        if snapshot.session.is_none() && snapshot.failed.is_none() {
            // The reply to callers whose patience ends during the resolution.
            let why = "waiting for its source (a file, a command or a service)";
            self.entry.set_next_attempt(Some((self.clock.boot(), why)));
        }
        let source = &self.entry.profile.source;
        self.entry
            .waiting_for(|| source.describe(), self.clock.boot());
        let resolved = source.resolve(ResolveContext {
            sessions: self.sessions,
            clock: self.clock,
            freshness,
        });
        let resolved = resolved.await;
        self.entry.waits_no_more();
        if resolved.is_err() {
            // The attempt ends here, and callers wait for the end of one that has begun.
            self.entry.attempt_started(self.clock.boot());
            // No call was made, so that a suspend has not spoiled one.
            self.call_duration = Duration::ZERO;
            self.entry.stats.counters.count_failure(SOURCE);
        }
        Ok(resolved?)
    }

    /// Returns the credentials of the identity as a session, for a profile without a role.
    fn pass_through(&mut self, identity: &ResolvedIdentity) -> Result<Session, AttemptError> {
        self.entry.attempt_started(self.clock.boot());
        let subject = self.entry.profile.source.describe();
        let refuse = |problem: &str, hint: &str| {
            AttemptError::Source(SourceError::new(&subject, problem, hint))
        };
        let (Proof::Credentials(credentials), Some(end)) = (&*identity.proof, identity.end) else {
            return Err(refuse(
                "gives credentials without an expiration, which stsd does not serve",
                "set role_arn, so that they are exchanged for a session of a role",
            ));
        };
        let Some(security_token) = credentials.security_token.clone() else {
            if credentials.access_key_id.starts_with("STS.") {
                return Err(refuse(
                    "gives the key of a session (STS.…) without its security token",
                    "check its output: the token belongs to the session as the key and the secret do",
                ));
            }
            return Err(refuse(
                "gives a long-lived key, which stsd does not serve",
                "set role_arn, so that the key is exchanged for a session of a role",
            ));
        };
        self.call_duration = self.clock.boot().since(identity.asked);
        let lifetime = Lifetime {
            began: identity.asked,
            ends: end.at,
        };
        self.requested = lifetime.length();
        if !lifetime.satisfies(Duration::ZERO, self.clock.boot()) {
            return Err(refuse(
                "gives expired credentials",
                "check the program that renews them, and the clock of this machine",
            ));
        }
        if secret_bytes(&credentials.access_key_secret, &security_token) > MAX_SESSION_BYTES {
            return Err(refuse(
                "gives a token of more than 32 KiB, larger than any known one",
                "check its output",
            ));
        }
        Ok(Session {
            is_final: self.entry.covers_lease(&lifetime),
            access_key_id: credentials.access_key_id.clone(),
            access_key_secret: credentials.access_key_secret.clone(),
            security_token,
            expiration: end.expiration,
            issued: end.issued,
            lifetime,
            request_id: String::new(),
            served: AtomicBool::new(false),
            answers: EncodedReplies::default(),
        })
    }

    /// Waits for a token for a call to the first endpoint.
    async fn wait_for_first(&self, identity: &ResolvedIdentity) {
        let quota = self.upstream.quota(0, &identity.proof);
        if self.is_urgent() {
            quota.end_pause();
        }
        self.wait_for_token(quota).await;
    }

    /// Returns `true` if the pause of another profile's throttling must not delay the attempt: a
    /// person has asked for it, or the session in use ends soon. Its own throttling has a pause in the
    /// schedule of the profile.
    fn is_urgent(&self) -> bool {
        let session = self.entry.snapshot().session;
        let ends_soon = session.is_some_and(|session| {
            let remaining = session.lifetime.remaining(self.clock.boot());
            !remaining.is_zero() && remaining < session.lifetime.length() / 4
        });
        ends_soon || self.entry.forced.load(Ordering::Relaxed)
    }

    /// Waits for a token of the rate limit. The first caller that begins to wait for the session
    /// moves the attempt to the queue of interactive refreshes.
    pub(super) async fn wait_for_token(&self, quota: &Quota) {
        let (rate_limiter, clock) = (self.upstream.rate_limiter(), self.clock);
        if rate_limiter.try_take(quota, self.priority(), clock.boot()) {
            return;
        }
        let deferred = "delayed by the rate limit: many renewals at once, or throttling by STS";
        let began = clock.boot();
        let open = rate_limiter.defer(quota, began);
        self.entry.set_next_attempt(Some((open, deferred)));
        let interactive = || rate_limiter.take(quota, Priority::Interactive, clock);
        tokio::select! {
            biased;
            () = rate_limiter.take(quota, self.priority(), clock) => {}
            () = self.priority_raised() => interactive().await,
            () = self.starvation_timeout() => interactive().await,
        }
        rate_limiter.count_wait(clock.boot().since(began));
    }

    /// Completes when a background refresh has yielded long enough: an endless queue of
    /// interactive ones must not let a session expire that is in use.
    async fn starvation_timeout(&self) {
        let now = self.clock.boot();
        let session = self.entry.snapshot().session;
        let spare = session.map_or(STARVATION_LIMIT, |session| {
            let lifetime = session.lifetime;
            lifetime
                .remaining(now)
                .saturating_sub(lifetime.length() / 4)
        });
        let until = now + spare.min(STARVATION_LIMIT * 10);
        while !until.since(self.clock.boot()).is_zero() {
            self.clock
                .sleep_at_most(until.since(self.clock.boot()))
                .await;
        }
    }

    fn priority(&self) -> Priority {
        match self.entry.has_waiters() {
            true => Priority::Interactive,
            false => Priority::Background,
        }
    }

    async fn priority_raised(&self) {
        if self.priority() == Priority::Interactive {
            return std::future::pending().await;
        }
        while self.priority() == Priority::Background {
            self.entry.wake.notified().await;
        }
    }

    /// Checks a response, and converts the expiration to the boot-time clock.
    ///
    /// The lifetime counts from before the request, is shorter by a second because `Date` is
    /// rounded down, and is at most the requested one, whatever the response claims: the session
    /// that the daemon serves never outlives the real one.
    pub(super) fn validate(
        &self,
        issued: IssuedSession,
        began: BootTime,
    ) -> Result<Session, StsError> {
        let answer = issued.session;
        let lifetime = answer.expiration.duration_since(issued.at);
        let requested = self.requested;
        let invalid = |reason: &str| StsError::Unreadable {
            reason: reason.to_owned(),
        };
        let longest = SignedDuration::try_from(requested).unwrap_or_default() + LIFETIME_TOLERANCE;
        if lifetime > longest {
            return Err(invalid(
                "the session's lifetime is much longer than requested",
            ));
        }
        if secret_bytes(&answer.access_key_secret, &answer.security_token) > MAX_SESSION_BYTES {
            return Err(invalid("the session's token is larger than any known one"));
        }
        let lifetime = Duration::try_from(lifetime).unwrap_or_default();
        let usable = lifetime
            .min(requested)
            .saturating_sub(Duration::from_secs(1));
        let ends = began + usable;
        if ends.since(self.clock.boot()).is_zero() {
            return Err(invalid("the session has expired already"));
        }
        self.upstream.observe_date(answer.server_date, issued.sent);
        let lifetime = Lifetime { began, ends };
        Ok(Session {
            is_final: self.entry.covers_lease(&lifetime),
            access_key_id: answer.access_key_id,
            access_key_secret: answer.access_key_secret,
            security_token: answer.security_token,
            expiration: answer.expiration,
            issued: issued.at,
            lifetime,
            request_id: answer.request_id,
            served: AtomicBool::new(false),
            answers: EncodedReplies::default(),
        })
    }
}

/// Returns the wall clock minus the boot-time clock.
pub(super) fn clock_offset(clock: &dyn Clock) -> SignedDuration {
    let boot = clock.boot().since(BootTime::default());
    let wall = clock.wall().duration_since(jiff::Timestamp::UNIX_EPOCH);
    wall - SignedDuration::try_from(boot).unwrap_or_default()
}

fn secret_bytes(secret: &SecretText, token: &SecretText) -> usize {
    secret.expose().len() + token.expose().len()
}

/// Returns `true` if a second call may succeed at once.
fn is_retryable_now(error: &StsError) -> bool {
    match error {
        StsError::NonceUsed(_) => true,
        StsError::Clock {
            server_date: Some(_),
            ..
        } => {
            warn!("the clock of this machine is wrong, signing with the time of STS");
            true
        }
        _ => false,
    }
}
