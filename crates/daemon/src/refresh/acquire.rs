//! Decides how one session is obtained: who we are, the budget's token, a call, and whether
//! the answer can be believed. Publishes nothing.

use std::{sync::atomic::AtomicBool, time::Duration};

use jiff::SignedDuration;
use stsd_sts::{Proof, StsError};
use tracing::{info, warn};

use super::task::{Failure, Refresher};
use crate::{
    identity::{Ask, Obtained, SourceError, Wish},
    profile::RoleArn,
    refresh::schedule::Lifetime,
    runtime::clock::BootTime,
    session::{
        counters::SOURCE,
        snapshot::{Answers, Session},
    },
    sts::{
        rate_limit::Urgency,
        upstream::{Exchange, Issued},
    },
};

/// How much longer than asked a session may claim to live before we call it a lie.
const SLACK: SignedDuration = SignedDuration::from_secs(300);

/// More than this fits into no answer on a socket, and no service issues it.
const LARGEST_SESSION: usize = 32 * 1024;

/// How long a call that nobody waits for lets those go first that are waited for, when
/// there is no session whose end would say so.
const COURTESY: Duration = Duration::from_secs(60);

impl<X: Exchange> Refresher<X> {
    /// Obtains one session: an attempt, and one more where the first told what to correct.
    pub(super) async fn obtain(&mut self) -> Result<Session, Failure> {
        // The key may have been exchanged since it was refused: that is what the hint says.
        // And a session that is handed on may have been replaced.
        let hands_on = self.entry.profile.role_arn.is_none();
        let wish = if hands_on || self.entry.snapshot().refused() {
            Wish::Newest
        } else {
            Wish::Usable
        };
        let mut source = self.ask_source(wish).await?;
        let Some(role_arn) = self.entry.profile.role_arn.clone() else {
            return self.hand_on(source);
        };
        self.wait_for_budget().await;
        if source.end.is_some() && !source.lasts(self.clock.boot()) {
            source = self.ask_source(Wish::Usable).await?;
        }
        match self.call(&role_arn, &source).await {
            Err(error @ StsError::SourceExpired(_)) => {
                let renewed = self.ask_source(Wish::Another(&source.proof)).await?;
                if renewed.proof == source.proof {
                    return Err(error.into());
                }
                info!(profile = %self.entry.profile.name, "the source has renewed what had ended");
                self.wait_for_budget().await;
                Ok(self.call(&role_arn, &renewed).await?)
            }
            Err(error) if corrected(&error) => {
                self.wait_for_budget().await;
                Ok(self.call(&role_arn, &source).await?)
            }
            outcome => Ok(outcome?),
        }
    }

    /// Makes one call to STS, for which the budget has given its token.
    async fn call(&mut self, role_arn: &RoleArn, source: &Obtained) -> Result<Session, StsError> {
        let began = self.clock.boot();
        self.entry.begin(began);
        self.entry.record.counters.call();
        let duration = self.entry.duration(began);
        self.asked = duration.get();
        let call = self
            .upstream
            .call(&self.entry.profile, role_arn, duration, &source.proof);
        let answer = call.await;
        self.call_took = self.clock.boot().since(began);
        let session = answer.and_then(|answer| self.accept(answer, began));
        if let Err(error) = &session {
            self.entry.record.counters.failure(error.kind());
        }
        session
    }

    async fn ask_source(&mut self, wish: Wish<'_>) -> Result<Obtained, Failure> {
        let snapshot = self.entry.snapshot();
        if snapshot.session.is_none() && snapshot.failed.is_none() {
            // What those hear whose patience ends before its answer.
            let why = "its source (a file, a command or a service) has not said yet who we are";
            self.entry.announce(Some((self.clock.boot(), why)));
        }
        let obtained = self.entry.profile.source.obtain(Ask {
            store: &self.store,
            clock: &*self.clock,
            wish,
        });
        let obtained = obtained.await;
        if obtained.is_err() {
            // An attempt that ends here has begun, for those who wait for its end.
            self.entry.begin(self.clock.boot());
            // However long it took: it was no call that a suspend has spoiled.
            self.call_took = Duration::ZERO;
            self.entry.record.counters.failure(SOURCE);
        }
        Ok(obtained?)
    }

    /// Hands on what a source gives, where there is no role to exchange it for.
    fn hand_on(&mut self, source: Obtained) -> Result<Session, Failure> {
        self.entry.begin(self.clock.boot());
        let subject = self.entry.profile.source.subject();
        let refuse =
            |problem: &str, hint: &str| Failure::Source(SourceError::new(&subject, problem, hint));
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
        if !lifetime.serves(Duration::ZERO, self.clock.boot()) {
            return Err(refuse(
                "gives credentials that have ended",
                "look at what renews them, and at this machine's clock",
            ));
        }
        if credentials.access_key_secret.expose().len() + token.expose().len() > LARGEST_SESSION {
            return Err(refuse(
                "gives a token that is larger than any that is known",
                "look at what it prints",
            ));
        }
        Ok(Session {
            last: self.entry.lasts(&lifetime),
            access_key_id: credentials.access_key_id.clone(),
            access_key_secret: credentials.access_key_secret.clone(),
            security_token: token,
            expiration: end.expiration,
            issued: end.issued,
            lifetime,
            request_id: String::new(),
            handed_out: AtomicBool::new(false),
            answers: Answers::default(),
        })
    }

    /// Waits for the budget's token; who begins to wait for us meanwhile puts us into the
    /// queue of those who are waited for.
    async fn wait_for_budget(&self) {
        let (budget, clock) = (self.upstream.budget(), &*self.clock);
        if budget.try_take(self.entry.urgency(), clock.boot()) {
            return;
        }
        let held_back = "held back: many renewals at once, or STS asked us to pause";
        let open = budget.hold_back(clock.boot());
        self.entry.announce(Some((open, held_back)));
        tokio::select! {
            biased;
            () = budget.take(self.entry.urgency(), clock) => {}
            () = self.becoming_urgent() => budget.take(Urgency::Waiting, clock).await,
            () = self.courtesy() => budget.take(Urgency::Waiting, clock).await,
        }
    }

    /// Ends when a renewal that nobody waits for has let others go first for long enough:
    /// those who are waited for without end must not let a session die that is in use.
    async fn courtesy(&self) {
        let now = self.clock.boot();
        let session = self.entry.snapshot().session;
        let spare = session.map_or(COURTESY, |session| {
            let lifetime = session.lifetime;
            lifetime
                .remaining(now)
                .saturating_sub(lifetime.length() / 4)
        });
        let until = now + spare.min(COURTESY * 10);
        while !until.since(self.clock.boot()).is_zero() {
            self.clock.nap(until.since(self.clock.boot())).await;
        }
    }

    async fn becoming_urgent(&self) {
        if self.entry.urgency() == Urgency::Waiting {
            return std::future::pending().await;
        }
        while self.entry.urgency() == Urgency::Background {
            self.entry.wake.notified().await;
        }
    }

    /// Checks an answer before anybody sees it, and moves its end onto the boot-time clock.
    ///
    /// The life is counted from before the request was sent, a second is taken off because
    /// `Date` is rounded down, and no session lives longer than was asked, whatever the
    /// answer claims: the session we serve never outlives the real one.
    pub(super) fn accept(&self, issued: Issued, began: BootTime) -> Result<Session, StsError> {
        let answer = issued.session;
        let size = answer.access_key_secret.expose().len() + answer.security_token.expose().len();
        let life = answer.expiration.duration_since(issued.at);
        let asked = self.asked;
        let unusable = |reason: &str| StsError::Unreadable {
            reason: reason.to_owned(),
        };
        if life > SignedDuration::try_from(asked).unwrap_or_default() + SLACK {
            return Err(unusable(
                "the session claims to live much longer than was asked",
            ));
        }
        if size > LARGEST_SESSION {
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
        self.upstream.learn(answer.server_date, issued.sent);
        let lifetime = Lifetime { began, ends };
        Ok(Session {
            last: self.entry.lasts(&lifetime),
            access_key_id: answer.access_key_id,
            access_key_secret: answer.access_key_secret,
            security_token: answer.security_token,
            expiration: answer.expiration,
            issued: issued.at,
            lifetime,
            request_id: answer.request_id,
            handed_out: AtomicBool::new(false),
            answers: Answers::default(),
        })
    }
}

/// Says what an error has told, if another call may succeed at once.
fn corrected(error: &StsError) -> bool {
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
