//! Decides how one profile stays fresh: obtain, publish, wait, be nudged. One task owns
//! one profile, so there is never a second call for the same thing in flight.

use std::{
    future::Future,
    pin::pin,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use jiff::SignedDuration;
use stsd_sts::StsError;
use tokio::time::sleep;
use tracing::{debug, info, warn};

use crate::{
    identity::SourceError,
    refresh::{
        schedule,
        schedule::{BACKOFF_CAP, Lifetime},
        supervisor,
    },
    runtime::clock::{BootTime, Clock},
    session::{
        snapshot::{Cause, Failed, Session, Snapshot},
        store::{Entry, Store},
    },
    sts::{
        remediation,
        server_clock::LONGEST_CALL,
        upstream::{Exchange, Upstream},
    },
};

/// By how much the two clocks may come apart before a session is renewed to be sure. Less
/// than the shortest window of any SDK (180 s), more than what daily corrections amount to.
const APART: SignedDuration = SignedDuration::from_secs(60);

/// Sooner than this a source is not asked whether it has a newer session to hand on, nor one
/// that has failed whether it was mended.
const SHORTEST_LOOK: Duration = Duration::from_secs(1);

/// How much later than we thought a session that is handed on may end and still be taken for the
/// one that is known. Not sooner by more than what a `Date` leaves out and an answer takes.
const LATER: Duration = Duration::from_secs(60);
const SOONER: Duration = Duration::from_secs(5);

/// How long a glance at a source takes that a thread makes.
const GLANCE: Duration = Duration::from_millis(50);

/// What one profile's task works with.
pub struct Refresher<X> {
    pub(super) entry: Arc<Entry>,
    pub(super) upstream: Arc<Upstream<X>>,
    pub(super) store: Arc<Store>,
    pub(super) clock: Arc<dyn Clock>,
    /// From 0 to 1, stable for this host and profile.
    pub(super) jitter: f64,
    /// How long the last session was asked to live.
    pub(super) asked: Duration,
    /// Failures in a row.
    pub(super) failures: u32,
    /// How long the last call took, suspends included.
    pub(super) call_took: Duration,
    /// The kind of failure that was said last, so that it is said once.
    pub(super) said: Option<String>,
    /// The wall clock less the boot-time clock, when an attempt was last made.
    pub(super) distance: SignedDuration,
    wait: Wait,
}

/// Why an attempt has failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// STS was asked.
    #[error(transparent)]
    Sts(#[from] StsError),
    /// STS could not be asked, because we cannot say who we are.
    #[error(transparent)]
    Source(#[from] SourceError),
}

/// What the task is waiting for.
#[derive(Debug, Clone, Copy)]
enum Wait {
    /// Until somebody asks.
    ForDemand,
    /// Until a moment, or until somebody asks for more than there is.
    Until(BootTime),
    /// Until a moment, whoever asks: only a human's explicit wish comes before it.
    HoldUntil(BootTime),
}

impl Wait {
    /// Returns when the next attempt is due, and why then.
    fn plan(self, refused: bool) -> Option<(BootTime, &'static str)> {
        match self {
            Self::ForDemand => None,
            Self::Until(at) => Some((at, "renewal near half of the session's life")),
            Self::HoldUntil(at) if refused => Some((at, "looking whether STS still refuses")),
            Self::HoldUntil(at) => Some((at, "trying again after a failure")),
        }
    }
}

impl<X: Exchange> Refresher<X> {
    /// Prepares the task of one profile; it starts where the entry's snapshot stands.
    pub fn new(
        entry: Arc<Entry>,
        upstream: Arc<Upstream<X>>,
        store: Arc<Store>,
        clock: Arc<dyn Clock>,
        jitter: f64,
    ) -> Self {
        Self {
            jitter,
            asked: entry.profile.duration.get(),
            failures: 0,
            call_took: Duration::ZERO,
            said: None,
            distance: distance(&*clock),
            wait: first_wait(&entry, &*clock, jitter),
            entry,
            upstream,
            store,
            clock,
        }
    }

    /// Keeps the profile fresh for ever. A call in flight is dropped with the task, and its
    /// result with it. Should it ever panic, it begins again: a bug must not leave one profile
    /// without renewals while all others go on.
    #[expect(
        clippy::manual_async_fn,
        reason = "an async function holds its arguments twice"
    )]
    pub fn run(mut self) -> impl Future<Output = ()> + Send {
        async move {
            while supervisor::panics(pin!(self.keep_fresh())).await {
                let now = self.clock.boot();
                self.entry.publish(|snapshot| snapshot.broke_off(now));
                sleep(BACKOFF_CAP).await;
                self.failures = 0;
                self.said = None;
                self.wait = first_wait(&self.entry, &*self.clock, self.jitter);
            }
        }
    }

    async fn keep_fresh(&mut self) {
        let plan = self.wait.plan(self.entry.snapshot().refused());
        self.entry.announce(plan);
        loop {
            self.until_due().await;
            if self.may_sleep() {
                self.fall_asleep();
                continue;
            }
            self.distance = distance(&*self.clock);
            // In a box: it is large and rare, and a thousand tasks wait without it.
            match Box::pin(self.obtain()).await {
                Ok(session) => self.succeed(session),
                Err(error) => self.fail(&error),
            }
        }
    }

    /// Lets everybody know what has become of an attempt, and in the same moment what comes
    /// next: who waits looks from another thread, and takes a plan that lies behind for a sign
    /// that more is to come.
    fn publish(&self, change: impl FnOnce(&mut Snapshot)) {
        let wait = self.wait;
        self.entry.publish(|snapshot| {
            change(snapshot);
            snapshot.next_attempt = wait.plan(snapshot.refused());
        });
    }

    async fn until_due(&self) {
        loop {
            let (due, demand) = match self.wait {
                Wait::ForDemand => (None, true),
                Wait::Until(at) => (Some(at), true),
                Wait::HoldUntil(at) => (Some(at), false),
            };
            let left = due.map(|at| at.since(self.clock.boot()));
            if left.is_some_and(|left| left.is_zero())
                || self.entry.forced.load(Ordering::Relaxed)
                || self.clocks_came_apart()
                || self.source_was_mended()
            {
                return;
            }
            tokio::select! {
                biased;
                () = self.entry.wake.notified() => {
                    if demand && self.wanted() {
                        return;
                    }
                }
                () = self.mended() => return,
                () = self.nap(left) => self.glance().await,
            }
        }
    }

    /// Ends after `left`, or sooner, when it is time to look at the clocks again.
    async fn nap(&self, left: Option<Duration>) {
        match left {
            Some(left) => self.clock.nap(left).await,
            // Asleep, with something that may still be handed out.
            None if self.lives() => self.clock.nap(Duration::MAX).await,
            None => std::future::pending().await,
        }
    }

    fn lives(&self) -> bool {
        let now = self.clock.boot();
        self.entry.snapshot().serving(Duration::ZERO, now).is_some()
    }

    /// A nudge that came while the session it asked for was being obtained is answered
    /// already.
    fn wanted(&self) -> bool {
        let now = self.clock.boot();
        let session = self.entry.snapshot().session;
        session.is_none_or(|session| {
            !session.last && self.entry.snapshot().may_do_better(now)
                || !session.lifetime.serves(Duration::ZERO, now)
        })
    }

    /// Whoever has exchanged a key that was refused need not wait until it is tried again.
    fn source_was_mended(&self) -> bool {
        let now = self.clock.boot();
        let source = &self.entry.profile.source;
        let rested = self.held_since().is_some_and(|it| now >= it);
        rested && source.changed(&self.store, now)
    }

    /// Returns from when on it is looked for the mending of what has failed, if anything has.
    /// Not at once, or what changes all the time would be asked all the time.
    fn held_since(&self) -> Option<BootTime> {
        let held = matches!(self.wait, Wait::HoldUntil(_)) && self.failures > 0;
        let failed = self.entry.snapshot().failed.filter(|_| held);
        failed.map(|it| it.at + SHORTEST_LOOK)
    }

    /// Ends when the source says by itself that it was mended. In a box, like all that few
    /// profiles wait for.
    async fn mended(&self) {
        let Some(since) = self.held_since() else {
            return std::future::pending().await;
        };
        let mended = async {
            sleep(since.since(self.clock.boot())).await;
            self.entry.profile.source.mended(&self.store).await;
        };
        Box::pin(mended).await;
    }

    /// Has the source looked at, so that what has come of it is known when this ends.
    async fn glance(&self) {
        let now = self.clock.boot();
        if self.held_since().is_some_and(|it| now >= it)
            && !self.entry.profile.source.changed(&self.store, now)
        {
            Box::pin(sleep(GLANCE)).await;
        }
    }

    /// Either somebody has set the wall clock, or a hypervisor has stood the whole machine
    /// still, boot-time clock included, while the service's time went on. The second would
    /// leave us with a session that ends before we think, so it is renewed, once for each
    /// time that they come apart.
    fn clocks_came_apart(&self) -> bool {
        (distance(&*self.clock) - self.distance).abs() > APART && self.lives()
    }

    fn may_sleep(&self) -> bool {
        let now = self.clock.boot();
        let profile = &self.entry.profile;
        let due = matches!(self.wait, Wait::Until(at) | Wait::HoldUntil(at) if at <= now);
        let session = self.entry.snapshot().session;
        let length = session.map_or(self.asked, |it| it.lifetime.length());
        due && !profile.is_kept_warm()
            && !self.entry.forced.load(Ordering::Relaxed)
            && !self.entry.is_followed()
            && schedule::may_sleep(self.entry.idle(now), length)
    }

    fn fall_asleep(&mut self) {
        info!(profile = %self.entry.profile.name, "nobody asks any more, renewals pause");
        self.wait = Wait::ForDemand;
        self.failures = 0;
        self.said = None;
        // A remembered refusal must not answer the caller who wakes us up.
        self.publish(|snapshot| snapshot.failed = None);
    }

    fn succeed(&mut self, session: Session) {
        if self.is_known(&session) {
            return self.confirm(&session.lifetime);
        }
        let name = &self.entry.profile.name;
        let now = self.clock.boot();
        let took = now.since(session.lifetime.began);
        info!(
            profile = %name,
            access_key_id = session.access_key_id,
            remaining_s = session.lifetime.remaining(now).as_secs(),
            request_id = session.request_id,
            took_ms = took.as_millis(),
            failures_before = self.failures,
            "credentials renewed"
        );
        // A lease is as short as its owner wants it.
        let advice = match self.entry.until {
            Some(_) => None,
            // Nor do we decide how long a session is that is handed on.
            None if self.entry.profile.role_arn.is_none() => None,
            None => schedule::advice(self.asked, session.lifetime.length()),
        };
        let before = self.entry.snapshot().advice;
        if let Some(advice) = advice.filter(|new| Some(*new) != before) {
            warn!(profile = %name, "{advice}");
        }
        self.failures = 0;
        self.said = None;
        let due = schedule::renewal_due(&session.lifetime, self.jitter);
        self.wait = match &self.entry.profile.role_arn {
            _ if session.last => Wait::ForDemand,
            Some(_) => Wait::Until(due),
            // No budget slows down who hands on what ends at once.
            None => Wait::Until(due.max(now + SHORTEST_LOOK)),
        };
        self.entry.record.counters.renewal(took);
        let session = Arc::new(self.store.prepare(session));
        self.publish(|snapshot| {
            snapshot.session = Some(session);
            snapshot.confirmed = None;
            snapshot.failed = None;
            snapshot.advice = advice;
            snapshot.ended = snapshot.begun;
        });
        self.upstream.renewed();
    }

    /// Tells whether this is the session that callers have: one that is handed on stays the
    /// same until whoever issues it replaces it. With another end it is not: the clock by which
    /// that was told was wrong, or it was further away than we look.
    fn is_known(&self, session: &Session) -> bool {
        let known = self.entry.snapshot().session;
        self.entry.profile.role_arn.is_none()
            && known.is_some_and(|it| {
                let (before, now) = (it.lifetime.ends, session.lifetime.ends);
                it.access_key_id == session.access_key_id
                    && it.security_token == session.security_token
                    && before.since(now) <= SOONER
                    && now.since(before) <= LATER
            })
    }

    /// Keeps the session that callers have, and looks again at half of what is left of it, or
    /// sooner.
    fn confirm(&mut self, rest: &Lifetime) {
        let now = self.clock.boot();
        self.failures = 0;
        self.said = None;
        let known = self.entry.snapshot().session;
        let whole = known.map_or(rest.length(), |it| it.lifetime.length());
        let due = schedule::look_due(rest, whole, self.jitter);
        self.wait = Wait::Until(due.max(now + SHORTEST_LOOK));
        self.publish(|snapshot| {
            snapshot.confirmed = Some(now);
            snapshot.failed = None;
            snapshot.ended = snapshot.begun;
        });
    }

    fn fail(&mut self, error: &Failure) {
        let now = self.clock.boot();
        let session = self.entry.snapshot().session;
        let remaining = session.map(|session| session.lifetime.remaining(now));
        if self.call_took > LONGEST_CALL {
            // It failed in a world that was left behind; this one has not been tried yet.
            self.failures = 0;
        }
        self.failures = self.failures.saturating_add(1);
        let (cause, hint) = match error {
            Failure::Sts(error) => remediation::of(error, &self.entry.profile.source),
            Failure::Source(error) => (error.cause, error.hint.clone()),
        };
        let random = fastrand::f64();
        let pause = match error {
            // What has ended is renewed by whoever issues it, and somewhere else than here.
            Failure::Sts(StsError::SourceExpired(_)) => {
                schedule::retry_pause(self.failures, remaining, None, random)
            }
            _ if cause == Cause::Denied => schedule::probe_pause(remaining, random),
            Failure::Sts(StsError::Throttled { retry_after, .. }) => {
                schedule::retry_pause(self.failures, remaining, *retry_after, random)
            }
            _ => schedule::retry_pause(self.failures, remaining, None, random),
        };
        self.wait = Wait::HoldUntil(now + pause);
        self.say(error, remaining.unwrap_or_default(), pause, &hint);
        let failed = Failed {
            cause,
            message: error.to_string(),
            hint,
            at: now,
            in_a_row: self.failures,
        };
        self.publish(|snapshot| {
            snapshot.failed = Some(Arc::new(failed));
            snapshot.ended = snapshot.begun;
        });
    }

    /// Says a failure when it is news; a repetition is for those who look for it.
    fn say(&mut self, error: &Failure, remaining: Duration, pause: Duration, hint: &str) {
        let kind = match error {
            Failure::Sts(error) => {
                let code = error.refusal().map_or("", |refusal| &refusal.code);
                format!("{} {code}", error.kind())
            }
            Failure::Source(error) => error.to_string(),
        };
        let (profile, in_a_row) = (&self.entry.profile.name, self.failures);
        let (remaining_s, next_attempt_ms) = (remaining.as_secs(), pause.as_millis());
        if self.said.as_ref() == Some(&kind) {
            debug!(%profile, remaining_s, next_attempt_ms, in_a_row, "renewal failed again: {error}");
            return;
        }
        warn!(%profile, remaining_s, next_attempt_ms, in_a_row, hint, "renewal failed: {error}");
        self.said = Some(kind);
    }
}

/// What a task waits for that begins with what its profile has.
fn first_wait(entry: &Entry, clock: &dyn Clock, jitter: f64) -> Wait {
    match entry.snapshot().session {
        Some(session) if session.last => Wait::ForDemand,
        Some(session) => Wait::Until(schedule::renewal_due(&session.lifetime, jitter)),
        None if entry.profile.is_kept_warm() => Wait::Until(clock.boot()),
        None => Wait::ForDemand,
    }
}

fn distance(clock: &dyn Clock) -> SignedDuration {
    let boot = clock.boot().since(BootTime::default());
    let wall = clock.wall().duration_since(jiff::Timestamp::UNIX_EPOCH);
    wall - SignedDuration::try_from(boot).unwrap_or_default()
}

#[cfg(test)]
mod tests;
