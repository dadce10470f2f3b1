//! Decides how one profile stays fresh: obtain, publish, wait, be nudged. One task owns
//! one profile, so there is never a second call for the same thing in flight.

use std::{
    future::Future,
    sync::{Arc, OnceLock, atomic::Ordering},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use stsd_sts::{AssumeRole, RoleSession, SourceCredentials, Sts, StsError};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    clock::{BootTime, Clock},
    schedule::{self, Lifetime},
    store::{Cause, Entry, Failed, Session},
};

/// tokio's timers stand still while the machine sleeps, so a long wait is made of naps,
/// each followed by a look at the boot-time clock.
const NAP: Duration = Duration::from_secs(20);

/// How much longer than asked a session may claim to live before we call it a lie.
const SLACK: SignedDuration = SignedDuration::from_secs(300);

/// The exchange of an identity for a role session.
pub trait Exchange: Send + Sync + 'static {
    /// Makes one call to STS, signed with `now`.
    fn assume_role(
        &self,
        source: &SourceCredentials,
        request: AssumeRole<'_>,
        now: Timestamp,
    ) -> impl Future<Output = Result<RoleSession, StsError>> + Send;
}

impl Exchange for Sts {
    async fn assume_role(
        &self,
        source: &SourceCredentials,
        request: AssumeRole<'_>,
        now: Timestamp,
    ) -> Result<RoleSession, StsError> {
        Sts::assume_role(self, source, request, now).await
    }
}

/// What one profile's task works with.
pub struct Refresher<X> {
    entry: Arc<Entry>,
    exchange: Arc<X>,
    clock: Arc<dyn Clock>,
    /// From 0 to 1, stable for this host and profile.
    jitter: f64,
    /// How far the service's clock is ahead of ours, as far as we know.
    offset: SignedDuration,
    /// Failures in a row.
    failures: u32,
    wait: Wait,
}

/// What the task is waiting for.
#[derive(Debug, Clone, Copy)]
enum Wait {
    /// Until somebody asks.
    ForDemand,
    /// Until a moment, or until somebody asks.
    Until(BootTime),
    /// Until a moment, whoever asks: only a human's explicit wish comes before it.
    HoldUntil(BootTime),
}

impl<X: Exchange> Refresher<X> {
    /// Prepares the task of one profile; it starts where the entry's snapshot stands.
    pub fn new(entry: Arc<Entry>, exchange: Arc<X>, clock: Arc<dyn Clock>, jitter: f64) -> Self {
        let session = entry.snapshot().session;
        let wait = match session {
            Some(session) => Wait::Until(schedule::renewal_due(&session.lifetime, jitter)),
            None if entry.profile.keep_warm => Wait::Until(clock.boot()),
            None => Wait::ForDemand,
        };
        Self {
            entry,
            exchange,
            clock,
            jitter,
            offset: SignedDuration::ZERO,
            failures: 0,
            wait,
        }
    }

    /// Keeps the profile fresh until `stop`. A call in flight is dropped with the task, and
    /// its result with it.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            self.announce();
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = self.until_due() => {}
            }
            if self.asleep() {
                info!(profile = %self.entry.profile.name, "nobody asks any more, renewals pause");
                self.wait = Wait::ForDemand;
                self.failures = 0;
                // A remembered refusal must not answer the caller who wakes us up.
                self.entry.publish(|snapshot| snapshot.failed = None);
                continue;
            }
            let obtained = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                obtained = self.obtain() => obtained,
            };
            match obtained {
                Ok(session) => self.succeed(session),
                Err(error) => self.fail(&error),
            }
        }
    }

    fn announce(&self) {
        let next = match self.wait {
            Wait::ForDemand => None,
            Wait::Until(at) if self.failures > 0 => Some((at, "trying again")),
            Wait::Until(at) => Some((at, "renewal near half of the session's life")),
            Wait::HoldUntil(at) if self.refused() => {
                Some((at, "looking whether STS still refuses"))
            }
            Wait::HoldUntil(at) => Some((at, "trying again after a failure")),
        };
        self.entry.publish(|snapshot| snapshot.next_attempt = next);
    }

    async fn until_due(&self) {
        loop {
            let (due, demand) = match self.wait {
                Wait::ForDemand => (None, true),
                Wait::Until(at) => (Some(at), true),
                Wait::HoldUntil(at) => (Some(at), false),
            };
            let left = due.map(|at| at.since(self.clock.boot()));
            if left.is_some_and(|left| left.is_zero()) {
                return;
            }
            tokio::select! {
                biased;
                () = self.entry.wake.notified() => {
                    let forced = self.entry.forced.swap(false, Ordering::Relaxed);
                    if forced || (demand && self.wanted()) {
                        return;
                    }
                }
                () = sleep(left.unwrap_or(NAP).min(NAP)) => {}
            }
        }
    }

    /// A nudge that came while the session it asked for was being obtained is answered
    /// already.
    fn wanted(&self) -> bool {
        let now = self.clock.boot();
        let session = self.entry.snapshot().session;
        session.is_none_or(|session| {
            session.lifetime.worth_renewing(now) || !session.lifetime.serves(Duration::ZERO, now)
        })
    }

    fn asleep(&self) -> bool {
        let profile = &self.entry.profile;
        let idle = self.entry.idle(self.clock.boot());
        let due =
            matches!(self.wait, Wait::Until(at) | Wait::HoldUntil(at) if at <= self.clock.boot());
        due && !profile.keep_warm && schedule::may_sleep(idle, profile.duration.get())
    }

    /// Obtains one session: a call, and one more where the first told us what to correct.
    async fn obtain(&mut self) -> Result<Session, StsError> {
        let session = match self.call().await {
            Err(StsError::Clock {
                refusal,
                server_date,
            }) => {
                let Some(date) = server_date else {
                    return Err(StsError::Clock {
                        refusal,
                        server_date,
                    });
                };
                self.offset = date.duration_since(self.clock.wall());
                warn!(
                    offset_s = self.offset.as_secs(),
                    "this machine's clock is wrong; signing by the clock of STS"
                );
                self.call().await
            }
            Err(StsError::NonceUsed(_)) => self.call().await,
            first => first,
        }?;
        Ok(session)
    }

    async fn call(&mut self) -> Result<Session, StsError> {
        let profile = Arc::clone(&self.entry.profile);
        let request = AssumeRole {
            role_arn: profile.role_arn.as_str(),
            role_session_name: profile.role_session_name.as_str(),
            duration: profile.duration.get(),
            policy: profile.policy.as_ref().map(|it| it.as_str()),
            external_id: profile.external_id.as_deref(),
            source_identity: profile.source_identity.as_deref(),
        };
        let began = self.clock.boot();
        let now = self.service_time();
        self.entry.sts_calls.fetch_add(1, Ordering::Relaxed);
        let answer = self
            .exchange
            .assume_role(profile.source.credentials(), request, now)
            .await
            .and_then(|answer| self.accept(answer, began));
        if answer.is_err() {
            self.entry.sts_failures.fetch_add(1, Ordering::Relaxed);
        }
        answer
    }

    /// Checks an answer before anybody sees it, and moves its end onto the boot-time clock.
    ///
    /// The life is counted from before the request was sent, and a second is taken off
    /// because `Date` is rounded down: the session we serve never outlives the real one.
    fn accept(&mut self, answer: RoleSession, began: BootTime) -> Result<Session, StsError> {
        let issued = answer.server_date.unwrap_or_else(|| self.service_time());
        if let Some(date) = answer.server_date {
            self.offset = date.duration_since(self.clock.wall());
        }
        let life = answer.expiration.duration_since(issued);
        let asked = SignedDuration::try_from(self.entry.profile.duration.get()).unwrap_or_default();
        let unusable = |reason: &str| StsError::Unreadable {
            reason: reason.to_owned(),
        };
        if life > asked + SLACK {
            return Err(unusable(
                "the session claims to live much longer than was asked",
            ));
        }
        let usable = Duration::try_from(life - SignedDuration::from_secs(1)).unwrap_or_default();
        if usable.is_zero() {
            return Err(unusable("the session has ended already"));
        }
        Ok(Session {
            access_key_id: answer.access_key_id,
            access_key_secret: answer.access_key_secret,
            security_token: answer.security_token,
            expiration: answer.expiration,
            issued,
            lifetime: Lifetime {
                began,
                ends: began + usable,
            },
            request_id: answer.request_id,
            prepared: OnceLock::new(),
        })
    }

    fn succeed(&mut self, session: Session) {
        self.failures = 0;
        self.wait = Wait::Until(schedule::renewal_due(&session.lifetime, self.jitter));
        info!(
            profile = %self.entry.profile.name,
            access_key_id = session.access_key_id,
            remaining_s = session.lifetime.remaining(self.clock.boot()).as_secs(),
            request_id = session.request_id,
            "credentials renewed"
        );
        self.entry.publish(|snapshot| {
            snapshot.session = Some(Arc::new(session));
            snapshot.failed = None;
            snapshot.attempts += 1;
        });
    }

    fn fail(&mut self, error: &StsError) {
        let now = self.clock.boot();
        let session = self.entry.snapshot().session;
        let remaining = session.map(|session| session.lifetime.remaining(now));
        self.failures = self.failures.saturating_add(1);
        let failed = describe(error, now);
        let pause = match error {
            StsError::Throttled { retry_after, .. } => {
                schedule::retry_pause(self.failures, remaining, *retry_after, fastrand::f64())
            }
            _ if failed.cause == Cause::Denied => schedule::probe_pause(fastrand::f64()),
            _ => schedule::retry_pause(self.failures, remaining, None, fastrand::f64()),
        };
        self.wait = Wait::HoldUntil(now + pause);
        warn!(
            profile = %self.entry.profile.name,
            remaining_s = remaining.unwrap_or_default().as_secs(),
            next_attempt_ms = pause.as_millis(),
            "renewal failed: {}", failed.message
        );
        self.entry.publish(|snapshot| {
            snapshot.failed = Some(Arc::new(failed));
            snapshot.attempts += 1;
        });
    }

    fn refused(&self) -> bool {
        let failed = self.entry.snapshot().failed;
        failed.is_some_and(|failed| failed.cause == Cause::Denied)
    }

    fn service_time(&self) -> Timestamp {
        let wall = self.clock.wall();
        wall.checked_add(self.offset).unwrap_or(wall)
    }
}

/// Puts an error of STS into the words of a caller, with what a human can do.
fn describe(error: &StsError, at: BootTime) -> Failed {
    let (cause, hint) = match error {
        StsError::Denied(refusal) | StsError::SourceExpired(refusal) => {
            (Cause::Denied, denied_hint(&refusal.code))
        }
        StsError::Clock { .. } => (Cause::Denied, "set this machine's clock"),
        StsError::Throttled { .. } => (
            Cause::Throttled,
            "it will pass; other programs of this account call STS too often",
        ),
        StsError::Unreachable { .. } => (
            Cause::Unreachable,
            "check the network, the proxy and the endpoint",
        ),
        StsError::Unreadable { .. } => (
            Cause::Unreachable,
            "check that nothing between here and STS answers in its place",
        ),
        StsError::Unavailable(_) | StsError::NonceUsed(_) => {
            (Cause::Unreachable, "it will pass; nothing to do here")
        }
    };
    Failed {
        cause,
        message: error.to_string(),
        hint: hint.to_owned(),
        at,
    }
}

/// What mends a refusal, by its code.
fn denied_hint(code: &str) -> &'static str {
    match code {
        "NoPermission" => {
            "let the RAM user call AssumeRole (AliyunSTSAssumeRoleAccess) and the role trust it"
        }
        "EntityNotExist.Role" | "EntityNotExist.RoleArn" => "check role_arn, or create the role",
        "InvalidParameter.DurationSeconds" => {
            "lower duration, or raise the role's maximum session duration"
        }
        "InvalidAccessKeyId.NotFound" => "check the AccessKey id in the key file",
        "InvalidAccessKeyId.Inactive" | "Forbidden.AccessKeyDisabled" => {
            "enable the AccessKey in the console, or put another one in the key file"
        }
        "SignatureDoesNotMatch" => "check the AccessKey secret in the key file",
        "InvalidParameter.PolicyGrammar" | "InvalidParameter.PolicySize" => "correct policy_file",
        "InvalidParameter.ExternalId" => "correct external_id",
        _ => "look the code up in the documentation of STS",
    }
}
