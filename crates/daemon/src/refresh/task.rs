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
    profile::{Cause, SourceError},
    refresh::schedule,
    runtime::{
        backoff::{MAX_BACKOFF, retry_backoff},
        clock::{BootTime, Clock},
        panic::catch_panic,
    },
    session::{
        lifetime::Lifetime,
        snapshot::{RefreshError, Session, Snapshot},
        store::{ProfileEntry, Store},
    },
    sts::{
        remediation,
        server_clock::MAX_CALL_DURATION,
        upstream::{StsExchange, Upstream},
    },
};

/// By how much the two clocks may come apart before a session is renewed to be sure. Less
/// than the shortest window of any SDK (180 s), more than what daily corrections amount to.
const MAX_CLOCK_DRIFT: SignedDuration = SignedDuration::from_secs(60);

/// Sooner than this a source is not asked whether it has a newer session to hand on, nor one
/// that has failed whether it was mended.
const MIN_POLL_INTERVAL: Duration = Duration::from_secs(1);

/// How much later than we thought a session that is handed on may end and still be taken for the
/// one that is known. Not sooner by more than what a `Date` leaves out and an answer takes.
const MAX_END_LATER: Duration = Duration::from_secs(60);
const MAX_END_EARLIER: Duration = Duration::from_secs(5);

/// How long a glance at a source takes that a thread makes.
const SOURCE_POLL_WAIT: Duration = Duration::from_millis(50);

/// What one profile's task works with.
pub struct Refresher<X> {
    pub(super) entry: Arc<ProfileEntry>,
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
    pub(super) last_logged: Option<String>,
    /// The wall clock less the boot-time clock, when an attempt was last made.
    pub(super) clock_offset: SignedDuration,
    schedule: Schedule,
}

/// Why an attempt has failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum AttemptError {
    /// STS was asked.
    #[error(transparent)]
    Sts(#[from] StsError),
    /// STS could not be asked, because we cannot say who we are.
    #[error(transparent)]
    Source(#[from] SourceError),
}

/// What the task is waiting for.
#[derive(Debug, Clone, Copy)]
enum Schedule {
    /// Until somebody asks.
    OnDemand,
    /// Until a moment, or until somebody asks for more than there is.
    At(BootTime),
    /// Until a moment, whoever asks: only a human's explicit wish comes before it.
    BackoffUntil(BootTime),
}

impl Schedule {
    /// Returns when the next attempt is due, and why then.
    fn plan(self, refused: bool) -> Option<(BootTime, &'static str)> {
        match self {
            Self::OnDemand => None,
            Self::At(at) => Some((at, "renewal near half of the session's life")),
            Self::BackoffUntil(at) if refused => Some((at, "looking whether STS still refuses")),
            Self::BackoffUntil(at) => Some((at, "trying again after a failure")),
        }
    }
}

impl<X: StsExchange> Refresher<X> {
    /// Prepares the task of one profile; it starts where the entry's snapshot stands.
    pub fn new(
        entry: Arc<ProfileEntry>,
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
            last_logged: None,
            clock_offset: clock_offset(&*clock),
            schedule: initial_schedule(&entry, &*clock, jitter),
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
            while catch_panic(pin!(self.run_forever())).await {
                let now = self.clock.boot();
                self.entry
                    .publish(|snapshot| snapshot.attempt_aborted(now, MAX_BACKOFF));
                sleep(MAX_BACKOFF).await;
                self.failures = 0;
                self.last_logged = None;
                self.schedule = initial_schedule(&self.entry, &*self.clock, self.jitter);
            }
        }
    }

    async fn run_forever(&mut self) {
        let plan = self.schedule.plan(self.entry.snapshot().refused());
        self.entry.set_next_attempt(plan);
        loop {
            self.until_due().await;
            if self.can_idle() {
                self.go_idle();
                continue;
            }
            self.clock_offset = clock_offset(&*self.clock);
            // In a box: it is large and rare, and a thousand tasks wait without it.
            match Box::pin(self.acquire()).await {
                Ok(session) => self.succeeded(session),
                Err(error) => self.failed(&error),
            }
        }
    }

    /// Lets everybody know what has become of an attempt, and in the same moment what comes
    /// next: who waits looks from another thread, and takes a plan that lies behind for a sign
    /// that more is to come.
    fn publish(&self, change: impl FnOnce(&mut Snapshot)) {
        let schedule = self.schedule;
        self.entry.publish(|snapshot| {
            change(snapshot);
            snapshot.next_attempt = schedule.plan(snapshot.refused());
        });
    }

    async fn until_due(&self) {
        loop {
            let (due, demand) = match self.schedule {
                Schedule::OnDemand => (None, true),
                Schedule::At(at) => (Some(at), true),
                Schedule::BackoffUntil(at) => (Some(at), false),
            };
            let left = due.map(|at| at.since(self.clock.boot()));
            if left.is_some_and(|left| left.is_zero())
                || self.entry.forced.load(Ordering::Relaxed)
                || self.clock_drifted()
                || self.source_changed()
            {
                return;
            }
            tokio::select! {
                biased;
                () = self.entry.wake.notified() => {
                    if demand && self.demand_unmet() {
                        return;
                    }
                }
                () = self.source_recovered() => return,
                () = self.sleep_boot_time(left) => self.poll_source().await,
            }
        }
    }

    /// Ends after `left`, or sooner, when it is time to look at the clocks again.
    async fn sleep_boot_time(&self, left: Option<Duration>) {
        match left {
            Some(left) => self.clock.sleep_at_most(left).await,
            // Asleep, with something that may still be handed out.
            None if self.has_live_session() => self.clock.sleep_at_most(Duration::MAX).await,
            None => std::future::pending().await,
        }
    }

    fn has_live_session(&self) -> bool {
        let now = self.clock.boot();
        self.entry
            .snapshot()
            .usable_for(Duration::ZERO, now)
            .is_some()
    }

    /// A nudge that came while the session it asked for was being obtained is answered
    /// already.
    fn demand_unmet(&self) -> bool {
        let now = self.clock.boot();
        let session = self.entry.snapshot().session;
        session.is_none_or(|session| {
            !session.is_final && self.entry.snapshot().may_do_better(now)
                || !session.lifetime.satisfies(Duration::ZERO, now)
        })
    }

    /// Whoever has exchanged a key that was refused need not wait until it is tried again.
    fn source_changed(&self) -> bool {
        let now = self.clock.boot();
        let source = &self.entry.profile.source;
        let rested = self.backoff_started().is_some_and(|it| now >= it);
        rested && source.has_changed(now)
    }

    /// Returns from when on it is looked for the mending of what has failed, if anything has.
    /// Not at once, or what changes all the time would be asked all the time.
    fn backoff_started(&self) -> Option<BootTime> {
        let held = matches!(self.schedule, Schedule::BackoffUntil(_)) && self.failures > 0;
        let failed = self.entry.snapshot().failed.filter(|_| held);
        failed.map(|it| it.at + MIN_POLL_INTERVAL)
    }

    /// Ends when the source says by itself that it was mended. In a box, like all that few
    /// profiles wait for.
    async fn source_recovered(&self) {
        let Some(since) = self.backoff_started() else {
            return std::future::pending().await;
        };
        let recovered = async {
            sleep(since.since(self.clock.boot())).await;
            self.entry.profile.source.recovered(&*self.store).await;
        };
        Box::pin(recovered).await;
    }

    /// Has the source looked at, so that what has come of it is known when this ends.
    async fn poll_source(&self) {
        let now = self.clock.boot();
        if self.backoff_started().is_some_and(|it| now >= it)
            && !self.entry.profile.source.has_changed(now)
        {
            Box::pin(sleep(SOURCE_POLL_WAIT)).await;
        }
    }

    /// Either somebody has set the wall clock, or a hypervisor has stood the whole machine
    /// still, boot-time clock included, while the service's time went on. The second would
    /// leave us with a session that ends before we think, so it is renewed, once for each
    /// time that they come apart.
    fn clock_drifted(&self) -> bool {
        (clock_offset(&*self.clock) - self.clock_offset).abs() > MAX_CLOCK_DRIFT
            && self.has_live_session()
    }

    fn can_idle(&self) -> bool {
        let now = self.clock.boot();
        let profile = &self.entry.profile;
        let due =
            matches!(self.schedule, Schedule::At(at) | Schedule::BackoffUntil(at) if at <= now);
        let session = self.entry.snapshot().session;
        let length = session.map_or(self.asked, |it| it.lifetime.length());
        due && !profile.is_kept_warm()
            && !self.entry.forced.load(Ordering::Relaxed)
            && !self.entry.has_followers()
            && schedule::can_idle(self.entry.idle(now), length)
    }

    fn go_idle(&mut self) {
        info!(profile = %self.entry.profile.name, "nobody asks any more, renewals pause");
        self.schedule = Schedule::OnDemand;
        self.failures = 0;
        self.last_logged = None;
        // A remembered refusal must not answer the caller who wakes us up.
        self.publish(|snapshot| snapshot.failed = None);
    }

    fn succeeded(&mut self, session: Session) {
        if self.is_known(&session) {
            return self.extend(&session.lifetime);
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
            None => schedule::warning(self.asked, session.lifetime.length()),
        };
        let before = self.entry.snapshot().advice;
        if let Some(advice) = advice.filter(|new| Some(*new) != before) {
            warn!(profile = %name, "{advice}");
        }
        self.failures = 0;
        self.last_logged = None;
        let due = schedule::renewal_due(&session.lifetime, self.jitter);
        self.schedule = match &self.entry.profile.role_arn {
            _ if session.is_final => Schedule::OnDemand,
            Some(_) => Schedule::At(due),
            // No budget slows down who hands on what ends at once.
            None => Schedule::At(due.max(now + MIN_POLL_INTERVAL)),
        };
        self.entry.stats.counters.renewal(took);
        let session = Arc::new(self.store.prepare(session));
        self.publish(|snapshot| {
            snapshot.session = Some(session);
            snapshot.confirmed = None;
            snapshot.failed = None;
            snapshot.advice = advice;
            snapshot.ended = snapshot.begun;
        });
        self.upstream.notify_renewed();
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
                    && before.since(now) <= MAX_END_EARLIER
                    && now.since(before) <= MAX_END_LATER
            })
    }

    /// Keeps the session that callers have, and looks again at half of what is left of it, or
    /// sooner.
    fn extend(&mut self, rest: &Lifetime) {
        let now = self.clock.boot();
        self.failures = 0;
        self.last_logged = None;
        let known = self.entry.snapshot().session;
        let whole = known.map_or(rest.length(), |it| it.lifetime.length());
        let due = schedule::poll_due(rest, whole, self.jitter);
        self.schedule = Schedule::At(due.max(now + MIN_POLL_INTERVAL));
        self.publish(|snapshot| {
            snapshot.confirmed = Some(now);
            snapshot.failed = None;
            snapshot.ended = snapshot.begun;
        });
    }

    fn failed(&mut self, error: &AttemptError) {
        let now = self.clock.boot();
        let session = self.entry.snapshot().session;
        let remaining = session.map(|session| session.lifetime.remaining(now));
        if self.call_took > MAX_CALL_DURATION {
            // It failed in a world that was left behind; this one has not been tried yet.
            self.failures = 0;
        }
        self.failures = self.failures.saturating_add(1);
        let (cause, hint) = match error {
            AttemptError::Sts(error) => {
                remediation::for_error(error, &self.entry.profile.source.describe())
            }
            AttemptError::Source(error) => (error.cause, error.hint.clone()),
        };
        let random = fastrand::f64();
        let pause = match error {
            // What has ended is renewed by whoever issues it, and somewhere else than here.
            AttemptError::Sts(StsError::SourceExpired(_)) => {
                retry_backoff(self.failures, remaining, None, random)
            }
            _ if cause == Cause::Denied => schedule::refused_backoff(remaining, random),
            AttemptError::Sts(StsError::Throttled { retry_after, .. }) => {
                retry_backoff(self.failures, remaining, *retry_after, random)
            }
            _ => retry_backoff(self.failures, remaining, None, random),
        };
        self.schedule = Schedule::BackoffUntil(now + pause);
        self.log_failure(error, remaining.unwrap_or_default(), pause, &hint);
        let failed = RefreshError {
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
    fn log_failure(
        &mut self,
        error: &AttemptError,
        remaining: Duration,
        pause: Duration,
        hint: &str,
    ) {
        let kind = match error {
            AttemptError::Sts(error) => {
                let code = error.refusal().map_or("", |refusal| &refusal.code);
                format!("{} {code}", error.kind())
            }
            AttemptError::Source(error) => error.to_string(),
        };
        let (profile, in_a_row) = (&self.entry.profile.name, self.failures);
        let (remaining_s, next_attempt_ms) = (remaining.as_secs(), pause.as_millis());
        if self.last_logged.as_ref() == Some(&kind) {
            debug!(%profile, remaining_s, next_attempt_ms, in_a_row, "renewal failed again: {error}");
            return;
        }
        warn!(%profile, remaining_s, next_attempt_ms, in_a_row, hint, "renewal failed: {error}");
        self.last_logged = Some(kind);
    }
}

/// What a task waits for that begins with what its profile has.
fn initial_schedule(entry: &ProfileEntry, clock: &dyn Clock, jitter: f64) -> Schedule {
    match entry.snapshot().session {
        Some(session) if session.is_final => Schedule::OnDemand,
        Some(session) => Schedule::At(schedule::renewal_due(&session.lifetime, jitter)),
        None if entry.profile.is_kept_warm() => Schedule::At(clock.boot()),
        None => Schedule::OnDemand,
    }
}

fn clock_offset(clock: &dyn Clock) -> SignedDuration {
    let boot = clock.boot().since(BootTime::default());
    let wall = clock.wall().duration_since(jiff::Timestamp::UNIX_EPOCH);
    wall - SignedDuration::try_from(boot).unwrap_or_default()
}

#[cfg(test)]
mod tests;
