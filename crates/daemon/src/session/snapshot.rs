//! The state of a profile as readers see it. A [`Snapshot`] has the session and the last failure
//! side by side: a failed renewal never hides credentials that are still valid.

use std::{
    sync::{Arc, OnceLock, atomic::AtomicBool},
    time::Duration,
};

use jiff::Timestamp;
use stsd_codes::Code;
use stsd_document::{Credentials, Format, MappedKey, Unwritable};
use stsd_secret::{SecretBytes, SecretText};
use zeroize::Zeroizing;

use crate::{profile::Cause, runtime::clock::BootTime, session::lifetime::Lifetime};

/// Minimum time for which the identity provider is not asked again after it had no newer session:
/// no rate limit applies to its requests, which a caller may cause.
const MIN_CONFIRMED: Duration = Duration::from_secs(1);

/// One role session.
#[derive(Debug)]
pub struct Session {
    /// The temporary AccessKey id.
    pub access_key_id: String,
    /// The temporary AccessKey secret.
    pub access_key_secret: SecretText,
    /// The security token of the session.
    pub security_token: SecretText,
    /// The expiration, by the service's clock.
    pub expiration: Timestamp,
    /// The time of issue, by the service's clock.
    pub issued: Timestamp,
    /// The beginning and the end on the boot-time clock, which decides about validity.
    pub lifetime: Lifetime,
    /// No renewal follows: the session lasts until the end of its lease.
    pub is_final: bool,
    /// The request ID of the call to STS.
    pub request_id: String,
    /// The session was served at least once: each further answer saves a call.
    pub served: AtomicBool,
    /// The encoded replies.
    pub answers: EncodedReplies,
}

/// The replies with a session, each encoded once. This module does not know their formats.
#[derive(Debug, Default)]
pub struct EncodedReplies {
    /// The frames. If they were encoded before the session was published, they own the secrets of
    /// the session.
    pub frames: OnceLock<Arc<SecretBytes>>,
    /// The document of the HTTP endpoint.
    pub document: OnceLock<Box<SecretBytes>>,
}

/// A failed renewal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefreshError {
    /// The kind of the failure.
    pub cause: Cause,
    /// The code.
    pub code: Code,
    /// The message for a person, without secrets.
    pub message: String,
    /// The hint: the correction by a person.
    pub hint: String,
    /// The time of the failure.
    pub at: BootTime,
    /// The number of failures since the last success.
    pub in_a_row: u32,
}

impl RefreshError {
    /// Returns the message with its code.
    #[must_use]
    pub fn coded_message(&self) -> String {
        format!("{} [{}]", self.message, self.code)
    }
}

/// A wait for an answer of another program or service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitingFor {
    /// The other party, with its host.
    pub subject: String,
    /// The beginning of the wait.
    pub since: BootTime,
}

/// The state of a profile at one moment.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// The newest session, which may have ended.
    pub session: Option<Arc<Session>>,
    /// The failure of the last attempt; `None` after a success.
    pub failed: Option<Arc<RefreshError>>,
    /// The advice for a person although renewals succeed.
    pub advice: Option<&'static str>,
    /// The problem with the export of the session.
    pub export_error: Option<&'static str>,
    /// The time of the next attempt, and the reason for that time; `None` while no attempt is
    /// planned.
    pub next_attempt: Option<(BootTime, &'static str)>,
    /// The party from which the present attempt waits for an answer.
    pub waiting_for: Option<Arc<WaitingFor>>,
    /// The number of attempts that have begun.
    pub begun: u64,
    /// The number of attempts that have ended.
    pub ended: u64,
    /// The time at which the identity provider last had no newer session; for a profile that
    /// passes on a session.
    pub confirmed: Option<BootTime>,
    /// A reload has removed or changed the profile.
    pub removed: bool,
}

/// The result of a wait for a session.
#[derive(Debug, Clone)]
pub enum SessionResult {
    /// A session with the requested minimum lifetime.
    Ready(Arc<Session>),
    /// The best available session, which is valid for less than the requested minimum.
    Short(Arc<Session>),
    /// No session, because the last attempt failed.
    Failed(Arc<RefreshError>),
    /// No session, and no attempt has ended yet; has the reason for the wait.
    NotYet(String),
    /// A reload has removed or changed the profile, which must be looked up again.
    Removed,
    /// The caller may not read the profile.
    NotAllowed,
}

impl Session {
    /// Returns the session as a document.
    ///
    /// # Errors
    /// [`Unwritable`] if the format cannot express the session.
    pub fn document(&self, format: Format) -> Result<Zeroizing<String>, Unwritable> {
        self.credentials().render(format)
    }

    /// Returns the session as a JSON object with these keys.
    ///
    /// # Errors
    /// [`Unwritable`] if the object cannot express the session.
    pub fn document_with_keys(&self, keys: &[MappedKey]) -> Result<Zeroizing<String>, Unwritable> {
        self.credentials().render_keys(keys, &self.request_id)
    }

    fn credentials(&self) -> Credentials<'_> {
        Credentials {
            access_key_id: &self.access_key_id,
            access_key_secret: &self.access_key_secret,
            security_token: &self.security_token,
            expiration_unix_seconds: self.expiration.as_second(),
            issued_unix_seconds: self.issued.as_second(),
        }
    }
}

#[cfg(any(test, fuzzing))]
impl Session {
    /// Returns a session for tests, which lasts an hour from noon on.
    pub(crate) fn sample() -> Self {
        let issued = Timestamp::constant(1_795_003_200, 0);
        let began = BootTime::default();
        Self {
            access_key_id: "STS.SAMPLE".into(),
            access_key_secret: SecretText::from("secret".to_owned()),
            security_token: SecretText::from("token".to_owned()),
            expiration: issued + jiff::SignedDuration::from_hours(1),
            issued,
            lifetime: Lifetime {
                began,
                ends: began + Duration::from_secs(3600),
            },
            is_final: false,
            request_id: "R".into(),
            served: AtomicBool::new(false),
            answers: EncodedReplies::default(),
        }
    }
}

impl Snapshot {
    /// Returns the session if it is valid for at least `minimum_life`.
    #[must_use]
    pub fn usable_for(&self, minimum_life: Duration, now: BootTime) -> Option<&Arc<Session>> {
        let session = self.session.as_ref()?;
        session
            .lifetime
            .satisfies(minimum_life, now)
            .then_some(session)
    }

    /// Returns `true` if STS has denied the last attempt: a retry fails until a person changes
    /// something.
    #[must_use]
    pub fn is_denied(&self) -> bool {
        let failed = self.failed.as_ref();
        failed.is_some_and(|failed| failed.cause == Cause::Denied)
    }

    /// Returns `true` if the time of the next attempt has passed and the attempt has not begun. The
    /// machine was suspended meanwhile, and the last failure is no answer any more.
    fn is_overdue(&self, now: BootTime) -> bool {
        self.begun == self.ended && self.next_attempt.is_some_and(|(at, _)| at < now)
    }

    /// Returns `true` if a renewal would noticeably prolong the remaining lifetime.
    pub(crate) fn is_worth_renewing(&self, now: BootTime) -> bool {
        let Some(session) = &self.session else {
            return true;
        };
        let pause = (session.lifetime.length() / 10).max(MIN_CONFIRMED);
        let is_confirmed = self.confirmed.is_some_and(|at| now.since(at) < pause);
        session.lifetime.is_worth_renewing(now) && !is_confirmed
    }

    /// Records an attempt that ended by a panic of the daemon's own code.
    pub(crate) fn attempt_aborted(&mut self, now: BootTime, pause: Duration) {
        let in_a_row = self.failed.as_ref().map_or(0, |it| it.in_a_row);
        self.failed = Some(Arc::new(RefreshError {
            cause: Cause::Unreachable,
            code: Code::RenewalAborted,
            message: "the renewal broke off; the next attempt is within a minute".to_owned(),
            hint: "see the daemon's log; check that the system can still start threads".to_owned(),
            at: now,
            in_a_row: in_a_row.saturating_add(1),
        }));
        self.ended = self.begun;
        self.waiting_for = None;
        self.next_attempt = Some((now + pause, "retry after a failure"));
    }

    /// Returns the result for a caller that cannot wait any longer.
    pub(crate) fn best_available(&self, now: BootTime) -> SessionResult {
        match (self.usable_for(Duration::ZERO, now), &self.failed) {
            _ if self.removed => SessionResult::Removed,
            (Some(session), _) => SessionResult::Short(Arc::clone(session)),
            (None, Some(failed)) => SessionResult::Failed(Arc::clone(failed)),
            (None, None) => SessionResult::NotYet(self.reason_of_wait(now)),
        }
    }

    /// Returns the reason why there is no session yet: the party that has not answered for a second or
    /// more, or the state of the attempt.
    fn reason_of_wait(&self, now: BootTime) -> String {
        let seconds = |it: &WaitingFor| now.since(it.since).as_secs();
        match &self.waiting_for {
            Some(it) if seconds(it) > 0 => {
                format!("{} has not answered for {} s", it.subject, seconds(it))
            }
            _ => self.next_attempt.map_or("starting", |it| it.1).to_owned(),
        }
    }

    /// Returns the result that is final without a wait: the requested session, or the best
    /// available result if a wait cannot improve it. `None` if the caller must wait.
    pub(crate) fn result_now(
        &self,
        minimum_life: Duration,
        now: BootTime,
    ) -> Option<SessionResult> {
        if let Some(session) = self.usable_for(minimum_life, now) {
            return Some(SessionResult::Ready(Arc::clone(session)));
        }
        let is_best = self
            .usable_for(Duration::ZERO, now)
            .is_some_and(|session| session.is_final || !self.is_worth_renewing(now));
        let is_denied = self.is_denied() && !self.is_overdue(now);
        (self.removed || is_denied || is_best).then(|| self.best_available(now))
    }
}
