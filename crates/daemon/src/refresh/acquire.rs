//! Decides how one session is obtained: who we are, the budget's token, a call, and whether
//! the answer can be believed. Publishes nothing.

use std::{sync::atomic::AtomicBool, time::Duration};

use jiff::SignedDuration;
use stsd_sts::{Proof, StsError};
use tracing::{info, warn};

use super::task::{AttemptError, Refresher};
use crate::{
    profile::{Freshness, ResolveContext, ResolvedIdentity, RoleArn, SourceError},
    runtime::clock::BootTime,
    session::{
        counters::SOURCE,
        lifetime::Lifetime,
        snapshot::{EncodedReplies, Session},
    },
    sts::{
        rate_limit::Priority,
        upstream::{IssuedSession, StsExchange},
    },
};

/// How much longer than asked a session may claim to live before we call it a lie.
const LIFETIME_TOLERANCE: SignedDuration = SignedDuration::from_secs(300);

/// More than this fits into no answer on a socket, and no service issues it.
const MAX_SESSION_BYTES: usize = 32 * 1024;

/// How long a call that nobody waits for lets those go first that are waited for, when
/// there is no session whose end would say so.
const STARVATION_LIMIT: Duration = Duration::from_secs(60);

impl<X: StsExchange> Refresher<X> {
    /// Obtains one session: an attempt, and one more where the first told what to correct.
    pub(super) async fn acquire(&mut self) -> Result<Session, AttemptError> {
        // The key may have been exchanged since it was refused: that is what the hint says.
        // And a session that is handed on may have been replaced.
        let passes_through = self.entry.profile.role_arn.is_none();
        let freshness = if passes_through || self.entry.snapshot().refused() {
            Freshness::Fresh
        } else {
            Freshness::Cached
        };
        let mut source = self.resolve_identity(freshness).await?;
        let Some(role_arn) = self.entry.profile.role_arn.clone() else {
            return self.pass_through(source);
        };
        self.wait_for_token().await;
        if source.end.is_some() && !source.is_usable(self.clock.boot()) {
            source = self.resolve_identity(Freshness::Cached).await?;
        }
        match self.call(&role_arn, &source).await {
            Err(error @ StsError::SourceExpired(_)) => {
                let renewed = self
                    .resolve_identity(Freshness::Different(&source.proof))
                    .await?;
                if renewed.proof == source.proof {
                    return Err(error.into());
                }
                info!(profile = %self.entry.profile.name, "the source has renewed what had ended");
                self.wait_for_token().await;
                Ok(self.call(&role_arn, &renewed).await?)
            }
            Err(error) if is_retryable_now(&error) => {
                self.wait_for_token().await;
                Ok(self.call(&role_arn, &source).await?)
            }
            outcome => Ok(outcome?),
        }
    }

    /// Makes one call to STS, for which the budget has given its token.
    async fn call(
        &mut self,
        role_arn: &RoleArn,
        source: &ResolvedIdentity,
    ) -> Result<Session, StsError> {
        let began = self.clock.boot();
        self.entry.attempt_started(began);
        self.entry.stats.counters.call();
        let duration = self.entry.duration(began);
        self.asked = duration.get();
        let call = self
            .upstream
            .call(&self.entry.profile, role_arn, duration, &source.proof);
        let answer = call.await;
        self.call_took = self.clock.boot().since(began);
        let session = answer.and_then(|answer| self.validate(answer, began));
        if let Err(error) = &session {
            self.entry.stats.counters.failure(error.kind());
        }
        session
    }

    async fn resolve_identity(
        &mut self,
        freshness: Freshness<'_>,
    ) -> Result<ResolvedIdentity, AttemptError> {
        let snapshot = self.entry.snapshot();
        if snapshot.session.is_none() && snapshot.failed.is_none() {
            // What those hear whose patience ends before its answer.
            let why = "its source (a file, a command or a service) has not said yet who we are";
            self.entry.set_next_attempt(Some((self.clock.boot(), why)));
        }
        let obtained = self.entry.profile.source.resolve(ResolveContext {
            sessions: &*self.store,
            clock: &*self.clock,
            freshness,
        });
        let obtained = obtained.await;
        if obtained.is_err() {
            // An attempt that ends here has begun, for those who wait for its end.
            self.entry.attempt_started(self.clock.boot());
            // However long it took: it was no call that a suspend has spoiled.
            self.call_took = Duration::ZERO;
            self.entry.stats.counters.failure(SOURCE);
        }
        Ok(obtained?)
    }

    /// Hands on what a source gives, where there is no role to exchange it for.
    fn pass_through(&mut self, source: ResolvedIdentity) -> Result<Session, AttemptError> {
        self.entry.attempt_started(self.clock.boot());
        let subject = self.entry.profile.source.describe();
        let refuse = |problem: &str, hint: &str| {
            AttemptError::Source(SourceError::new(&subject, problem, hint))
        };
        let (Proof::Credentials(credentials), Some(end)) = (&*source.proof, source.end) else {
            return Err(refuse(
                "gives credentials without an end, and such are not handed out",
                "set role_arn, so that they are exchanged for a session of a role",
            ));
        };
        let Some(token) = credentials.security_token.clone() else {
            return Err(refuse(
                "gives a long-lived key, and such are not handed out",
                "set role_arn, so that it is exchanged for a session of a role",
            ));
        };
        self.call_took = self.clock.boot().since(source.asked);
        let lifetime = Lifetime {
            began: source.asked,
            ends: end.at,
        };
        self.asked = lifetime.length();
        if !lifetime.satisfies(Duration::ZERO, self.clock.boot()) {
            return Err(refuse(
                "gives credentials that have ended",
                "look at what renews them, and at this machine's clock",
            ));
        }
        if credentials.access_key_secret.expose().len() + token.expose().len() > MAX_SESSION_BYTES {
            return Err(refuse(
                "gives a token that is larger than any that is known",
                "look at what it prints",
            ));
        }
        Ok(Session {
            is_final: self.entry.covers_lease(&lifetime),
            access_key_id: credentials.access_key_id.clone(),
            access_key_secret: credentials.access_key_secret.clone(),
            security_token: token,
            expiration: end.expiration,
            issued: end.issued,
            lifetime,
            request_id: String::new(),
            served: AtomicBool::new(false),
            answers: EncodedReplies::default(),
        })
    }

    /// Waits for the budget's token; who begins to wait for us meanwhile puts us into the
    /// queue of those who are waited for.
    async fn wait_for_token(&self) {
        let (rate_limiter, clock) = (self.upstream.rate_limiter(), &*self.clock);
        if rate_limiter.try_take(self.priority(), clock.boot()) {
            return;
        }
        let deferred = "held back: many renewals at once, or STS asked us to pause";
        let open = rate_limiter.defer(clock.boot());
        self.entry.set_next_attempt(Some((open, deferred)));
        tokio::select! {
            biased;
            () = rate_limiter.take(self.priority(), clock) => {}
            () = self.priority_raised() => rate_limiter.take(Priority::Interactive, clock).await,
            () = self.starvation_timeout() => rate_limiter.take(Priority::Interactive, clock).await,
        }
    }

    /// Ends when a renewal that nobody waits for has let others go first for long enough:
    /// those who are waited for without end must not let a session die that is in use.
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

    /// Checks an answer before anybody sees it, and moves its end onto the boot-time clock.
    ///
    /// The life is counted from before the request was sent, a second is taken off because
    /// `Date` is rounded down, and no session lives longer than was asked, whatever the
    /// answer claims: the session we serve never outlives the real one.
    pub(super) fn validate(
        &self,
        issued: IssuedSession,
        began: BootTime,
    ) -> Result<Session, StsError> {
        let answer = issued.session;
        let size = answer.access_key_secret.expose().len() + answer.security_token.expose().len();
        let life = answer.expiration.duration_since(issued.at);
        let asked = self.asked;
        let unusable = |reason: &str| StsError::Unreadable {
            reason: reason.to_owned(),
        };
        if life > SignedDuration::try_from(asked).unwrap_or_default() + LIFETIME_TOLERANCE {
            return Err(unusable(
                "the session claims to live much longer than was asked",
            ));
        }
        if size > MAX_SESSION_BYTES {
            return Err(unusable(
                "the session's token is larger than any that is known",
            ));
        }
        let life = Duration::try_from(life).unwrap_or_default().min(asked);
        let usable = life.saturating_sub(Duration::from_secs(1));
        let ends = began + usable;
        if ends.since(self.clock.boot()).is_zero() {
            return Err(unusable("the session has ended already"));
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

/// Says what an error has told, if another call may succeed at once.
fn is_retryable_now(error: &StsError) -> bool {
    match error {
        StsError::NonceUsed(_) => true,
        StsError::Clock {
            server_date: Some(_),
            ..
        } => {
            warn!("this machine's clock is wrong; signing by the clock of STS");
            true
        }
        _ => false,
    }
}
