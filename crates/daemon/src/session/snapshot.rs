//! Decides what readers see of a profile. Both facts stand side by side in a [`Snapshot`]:
//! a failed renewal never hides credentials that still live.

use std::{
    sync::{Arc, OnceLock, atomic::AtomicBool},
    time::Duration,
};

use jiff::Timestamp;
use stsd_document::{Credentials, Format, Unwritable};
use stsd_secret::{SecretBytes, SecretText};
use zeroize::Zeroizing;

use crate::{profile::Cause, runtime::clock::BootTime, session::lifetime::Lifetime};

/// One role session, ready to be handed out.
#[derive(Debug)]
pub struct Session {
    /// The temporary AccessKey id.
    pub access_key_id: String,
    /// The temporary AccessKey secret.
    pub access_key_secret: SecretText,
    /// The token that goes with the key.
    pub security_token: SecretText,
    /// When the session ends, by the service's clock.
    pub expiration: Timestamp,
    /// When it was obtained, by the service's clock.
    pub issued: Timestamp,
    /// When it ends by the clock that counts.
    pub lifetime: Lifetime,
    /// No other will follow: it lasts for as long as anybody will ask.
    pub is_final: bool,
    /// The service's name for the call it came from.
    pub request_id: String,
    /// Somebody has got it: all further hand-outs save a call.
    pub served: AtomicBool,
    /// The answers with it.
    pub answers: EncodedReplies,
}

/// A session's answers as they are written, each made once. What they mean is not our matter.
#[derive(Debug, Default)]
pub struct EncodedReplies {
    /// The frames. What is secret of the session stands in them, when they were made before
    /// anybody had it.
    pub frames: OnceLock<Arc<SecretBytes>>,
    /// The document that is had by a URL.
    pub document: OnceLock<Box<SecretBytes>>,
}

/// What a renewal came to when it failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefreshError {
    /// What kind of failure it was.
    pub cause: Cause,
    /// What happened, for a human, without secrets.
    pub message: String,
    /// What to do about it.
    pub hint: String,
    /// When it happened.
    pub at: BootTime,
    /// How many failures there have been since the last success.
    pub in_a_row: u32,
}

/// What is known about a profile now.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// The newest session. It may have ended since.
    pub session: Option<Arc<Session>>,
    /// Why the last attempt failed; none after a success.
    pub failed: Option<Arc<RefreshError>>,
    /// What a human should change though renewals succeed.
    pub advice: Option<&'static str>,
    /// What is wrong with the file that should hold the session.
    pub export_error: Option<&'static str>,
    /// When the next attempt is due, and why then; none while nothing is planned.
    pub next_attempt: Option<(BootTime, &'static str)>,
    /// How many attempts have begun.
    pub begun: u64,
    /// How many attempts have ended.
    pub ended: u64,
    /// When its source last said that it has no newer session; for one that is handed on.
    pub confirmed: Option<BootTime>,
    /// The profile is no longer configured like this.
    pub removed: bool,
}

/// What a caller gets after waiting.
#[derive(Debug, Clone)]
pub enum SessionResult {
    /// A session that lives as long as was asked.
    Ready(Arc<Session>),
    /// The best session there is; it still lives, for less long than was asked.
    Short(Arc<Session>),
    /// No session, because the last attempt failed.
    Failed(Arc<RefreshError>),
    /// No session, and no attempt has ended yet; what is being waited for.
    NotYet(&'static str),
    /// The profile was removed or changed by a reload; look it up again.
    Removed,
    /// This caller may not have the profile, or not any more.
    NotAllowed,
}

impl Session {
    /// Renders the session as a document.
    ///
    /// # Errors
    /// [`Unwritable`], when it cannot be written in that format.
    pub fn document(&self, format: Format) -> Result<Zeroizing<String>, Unwritable> {
        let credentials = Credentials {
            access_key_id: &self.access_key_id,
            access_key_secret: &self.access_key_secret,
            security_token: &self.security_token,
            expiration_unix_seconds: self.expiration.as_second(),
            issued_unix_seconds: self.issued.as_second(),
        };
        credentials.render(format)
    }
}

#[cfg(any(test, fuzzing))]
impl Session {
    /// Makes a session for the tests of other rooms: an hour from noon on.
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
    /// Returns the session if it may be handed out for `minimum_life`.
    #[must_use]
    pub fn usable_for(&self, minimum_life: Duration, now: BootTime) -> Option<&Arc<Session>> {
        let session = self.session.as_ref()?;
        session
            .lifetime
            .satisfies(minimum_life, now)
            .then_some(session)
    }

    /// Tells whether STS refuses the profile until somebody changes something.
    #[must_use]
    pub fn refused(&self) -> bool {
        let failed = self.failed.as_ref();
        failed.is_some_and(|failed| failed.cause == Cause::Denied)
    }

    /// Tells whether an attempt should have begun: the machine has slept since it was planned,
    /// and what was known before is no answer any more.
    fn is_overdue(&self, now: BootTime) -> bool {
        self.begun == self.ended && self.next_attempt.is_some_and(|(at, _)| at < now)
    }

    /// Tells whether a renewal would give a caller noticeably more life.
    pub(crate) fn may_do_better(&self, now: BootTime) -> bool {
        let Some(session) = &self.session else {
            return true;
        };
        let pause = session.lifetime.length() / 10;
        let asked_lately = self.confirmed.is_some_and(|at| now.since(at) < pause);
        session.lifetime.is_worth_renewing(now) && !asked_lately
    }

    /// Notes that an attempt has come to nothing because the program has failed, not STS.
    pub(crate) fn attempt_aborted(&mut self, now: BootTime, pause: Duration) {
        let in_a_row = self.failed.as_ref().map_or(0, |it| it.in_a_row);
        self.failed = Some(Arc::new(RefreshError {
            cause: Cause::Unreachable,
            message: "the renewal broke off; it is tried again within a minute".to_owned(),
            hint: "the daemon's log says where; can the system still start threads?".to_owned(),
            at: now,
            in_a_row: in_a_row.saturating_add(1),
        }));
        self.ended = self.begun;
        self.next_attempt = Some((now + pause, "retry after a failure"));
    }

    /// What a caller gets who cannot wait any longer.
    pub(crate) fn best_available(&self, now: BootTime) -> SessionResult {
        match (self.usable_for(Duration::ZERO, now), &self.failed) {
            _ if self.removed => SessionResult::Removed,
            (Some(session), _) => SessionResult::Short(Arc::clone(session)),
            (None, Some(failed)) => SessionResult::Failed(Arc::clone(failed)),
            (None, None) => {
                SessionResult::NotYet(self.next_attempt.map_or("starting", |(_, why)| why))
            }
        }
    }

    /// What a caller gets at once: what was asked for, or the certainty that waiting will
    /// not help.
    pub(crate) fn result_now(
        &self,
        minimum_life: Duration,
        now: BootTime,
    ) -> Option<SessionResult> {
        if let Some(session) = self.usable_for(minimum_life, now) {
            return Some(SessionResult::Ready(Arc::clone(session)));
        }
        let longest = self
            .usable_for(Duration::ZERO, now)
            .is_some_and(|session| session.is_final || !self.may_do_better(now));
        let refused = self.refused() && !self.is_overdue(now);
        (self.removed || refused || longest).then(|| self.best_available(now))
    }
}
