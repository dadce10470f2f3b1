//! The task of one profile: it waits until a refresh is due, makes an attempt, and publishes the
//! result. One task owns one profile, so that two calls for the same session are never in flight.

mod plan;

use std::{
    future::Future,
    pin::pin,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use jiff::SignedDuration;
use stsd_codes::Code;
use stsd_sts::StsError;
use tokio::time::sleep;
use tracing::{debug, info, warn};

use self::plan::Schedule;
use crate::{
    profile::Cause,
    refresh::{
        acquire::{Attempt, AttemptError, Outcome, clock_offset},
        outage::{Outage, in_words},
        schedule,
    },
    runtime::{
        backoff::{MAX_BACKOFF, retry_backoff},
        clock::{BootTime, Clock},
        panic::catch_panic,
    },
    session::{
        lifetime::Lifetime,
        profile_entry::ProfileEntry,
        snapshot::{RefreshError, Session, Snapshot},
        store::Store,
    },
    sts::{
        remediation,
        server_clock::MAX_CALL_DURATION,
        upstream::{StsExchange, Upstream},
    },
};

/// Maximum drift between the two clocks before a session is renewed. The value is less than the
/// shortest renewal window of an SDK (180 s) and more than a daily correction of the clock.
const MAX_CLOCK_DRIFT: SignedDuration = SignedDuration::from_secs(60);

/// Minimum interval between two resolutions of a passed-through session, and between a failure and
/// the first poll for a change of the identity.
const MIN_POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Maximum difference between two expirations of the same passed-through session. An earlier
/// expiration differs by the resolution of `Date` and the duration of the response.
const MAX_EXPIRATION_DELAY: Duration = Duration::from_secs(60);
const MAX_EXPIRATION_ADVANCE: Duration = Duration::from_secs(5);

/// Time for a thread to poll the file of an identity.
const SOURCE_POLL_WAIT: Duration = Duration::from_millis(50);

/// The task of one profile.
pub struct Refresher<X> {
    entry: Arc<ProfileEntry>,
    upstream: Arc<Upstream<X>>,
    store: Arc<Store>,
    clock: Arc<dyn Clock>,
    /// From 0 to 1, stable for this host and profile.
    jitter: f64,
    /// The requested lifetime of the last session.
    requested: Duration,
    /// The number of failures in a row.
    failures: u32,
    outage: Outage,
    /// The duration of the last call, suspends included.
    call_duration: Duration,
    /// The kind of the last logged failure, so that a failure is logged once.
    last_logged: Option<String>,
    /// The wall clock minus the boot-time clock at the last attempt.
    clock_offset: SignedDuration,
    schedule: Schedule,
}

impl<X: StsExchange> Refresher<X> {
    /// Returns the task of a profile. The first attempt depends on the session of the entry.
    pub fn new(
        entry: Arc<ProfileEntry>,
        upstream: Arc<Upstream<X>>,
        store: Arc<Store>,
        clock: Arc<dyn Clock>,
        jitter: f64,
    ) -> Self {
        Self {
            jitter,
            requested: entry.profile.duration.get(),
            failures: 0,
            outage: Outage::default(),
            call_duration: Duration::ZERO,
            last_logged: None,
            clock_offset: clock_offset(&*clock),
            schedule: Schedule::first(&entry, &*clock, jitter, upstream.fleet_spread()),
            entry,
            upstream,
            store,
            clock,
        }
    }

    /// Refreshes the profile until the task is aborted, which drops a call in flight and its
    /// result. After a panic the loop starts again: a bug must not leave one profile without
    /// renewals while the others continue.
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
                self.schedule =
                    Schedule::first(&self.entry, &*self.clock, self.jitter, Duration::ZERO);
            }
        }
    }

    async fn run_forever(&mut self) {
        let plan = self.schedule.plan(self.entry.snapshot().is_denied());
        self.entry.set_next_attempt(plan);
        loop {
            self.until_due().await;
            if self.can_idle() {
                self.go_idle();
                continue;
            }
            self.clock_offset = clock_offset(&*self.clock);
            let outcome = self.run_attempt().await;
            self.requested = outcome.requested;
            self.call_duration = outcome.call_duration;
            self.clock_offset = outcome.clock_offset;
            match outcome.session {
                Ok(session) => self.succeeded(session),
                Err(error) => self.failed(&error),
            }
        }
    }

    /// Makes an attempt, and watches the session that callers have meanwhile.
    async fn run_attempt(&mut self) -> Outcome {
        let mut outage = std::mem::take(&mut self.outage);
        let this = &*self;
        // Boxed: the future is large and short-lived, and a thousand tasks wait without one.
        let attempt = Box::pin(async {
            let mut attempt = pin!(this.attempt().run());
            tokio::select! {
                biased;
                outcome = &mut attempt => return outcome,
                () = outage.watch_attempt(&this.entry, &*this.clock) => {}
            }
            attempt.await
        });
        let outcome = attempt.await;
        self.outage = outage;
        outcome
    }

    fn attempt(&self) -> Attempt<'_, X> {
        Attempt {
            entry: &self.entry,
            upstream: &self.upstream,
            sessions: &*self.store,
            clock: &*self.clock,
            requested: self.requested,
            call_duration: Duration::ZERO,
            clock_offset: self.clock_offset,
        }
    }

    /// Publishes the result of an attempt together with the time of the next one. A waiting caller
    /// on another thread that saw an old time, in the past, would go on waiting.
    fn publish(&self, change: impl FnOnce(&mut Snapshot)) {
        let schedule = self.schedule;
        self.entry.publish(|snapshot| {
            change(snapshot);
            snapshot.waiting_for = None;
            snapshot.next_attempt = schedule.plan(snapshot.is_denied());
        });
    }

    async fn until_due(&mut self) {
        loop {
            self.outage.check(&self.entry, self.clock.boot());
            let now = self.clock.boot();
            let has_caller = self.entry.has_waiters() && self.demand_unmet();
            let (due, demand) = self.schedule.due(has_caller, now);
            let left = due.map(|at| at.since(now));
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

    /// Waits for `left` at most; shorter waits are for the comparison of the clocks, and for the end of
    /// the session.
    async fn sleep_boot_time(&self, left: Option<Duration>) {
        let end = self.outage.time_to_end(&self.entry, self.clock.boot());
        match left.map(|left| left.min(end.unwrap_or(left))) {
            Some(left) => self.clock.sleep_at_most(left).await,
            // Without a planned attempt, but with a session that may be served.
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

    /// Returns `true` if the session does not satisfy the request that has woken the task. A
    /// request during an attempt is satisfied by the session of that attempt.
    fn demand_unmet(&self) -> bool {
        let now = self.clock.boot();
        let session = self.entry.snapshot().session;
        session.is_none_or(|session| {
            !session.is_final && self.entry.snapshot().is_worth_renewing(now)
                || !session.lifetime.satisfies(Duration::ZERO, now)
        })
    }

    /// Returns `true` if the identity has changed after a failure, so that a replaced key is tried
    /// at once.
    fn source_changed(&self) -> bool {
        let now = self.clock.boot();
        let source = &self.entry.profile.source;
        let may_poll = self.poll_start().is_some_and(|it| now >= it);
        may_poll && source.has_changed(now)
    }

    /// Returns the time from which the identity is polled for a change; `None` without a failure.
    /// An identity that changes all the time would otherwise be resolved all the time.
    fn poll_start(&self) -> Option<BootTime> {
        let held = matches!(self.schedule, Schedule::BackoffUntil { .. }) && self.failures > 0;
        let failed = self.entry.snapshot().failed.filter(|_| held);
        failed.map(|it| it.at + MIN_POLL_INTERVAL)
    }

    /// Completes when the identity provider is notified of a recovery. Boxed, because few profiles
    /// wait for one.
    async fn source_recovered(&self) {
        let Some(since) = self.poll_start() else {
            return std::future::pending().await;
        };
        let recovered = async {
            sleep(since.since(self.clock.boot())).await;
            self.entry.profile.source.recovered(&*self.store).await;
        };
        Box::pin(recovered).await;
    }

    /// Polls the identity for a change, and waits until the thread that polls has a result.
    async fn poll_source(&self) {
        let now = self.clock.boot();
        if self.poll_start().is_some_and(|it| now >= it)
            && !self.entry.profile.source.has_changed(now)
        {
            Box::pin(sleep(SOURCE_POLL_WAIT)).await;
        }
    }

    /// Returns `true` after a drift between the two clocks: the wall clock was set, or a
    /// hypervisor has paused the machine with its boot-time clock. After a pause the session
    /// expires earlier than calculated, so that each drift causes one renewal.
    fn clock_drifted(&self) -> bool {
        (clock_offset(&*self.clock) - self.clock_offset).abs() > MAX_CLOCK_DRIFT
            && self.has_live_session()
    }

    fn can_idle(&self) -> bool {
        let now = self.clock.boot();
        let profile = &self.entry.profile;
        let session = self.entry.snapshot().session;
        let length = session.map_or(self.requested, |it| it.lifetime.length());
        self.schedule.is_due(now)
            && !profile.is_kept_warm()
            && !self.entry.forced.load(Ordering::Relaxed)
            && !self.entry.has_followers()
            && schedule::can_idle(self.entry.time_since_request(now), length)
    }

    fn go_idle(&mut self) {
        info!(profile = %self.entry.profile.name, "profile idle, renewals paused");
        self.schedule = Schedule::OnDemand;
        self.failures = 0;
        self.outage = Outage::default();
        self.last_logged = None;
        // An old refusal must not be the reply to the request that wakes the task.
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
        // The owner of a lease chooses its duration.
        let advice = match self.entry.until {
            Some(_) => None,
            // The issuer of a passed-through session chooses its lifetime.
            None if self.entry.profile.role_arn.is_none() => None,
            None => schedule::warning(self.requested, session.lifetime.length()),
        };
        let before = self.entry.snapshot().advice;
        if let Some(advice) = advice.filter(|new| Some(*new) != before) {
            warn!(profile = %name, "{advice}");
        }
        self.outage.recovered(&self.entry, self.failures, now);
        self.failures = 0;
        self.last_logged = None;
        let due = schedule::renewal_due(&session.lifetime, self.jitter);
        self.schedule = match &self.entry.profile.role_arn {
            _ if session.is_final => Schedule::OnDemand,
            Some(_) => Schedule::At(due),
            // The rate limit does not apply to passed-through sessions, which may expire at once.
            None => Schedule::At(due.max(now + MIN_POLL_INTERVAL)),
        };
        self.entry.stats.counters.count_renewal(took);
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

    /// Returns `true` if a passed-through session is the one that callers have: the identity
    /// returns the same one until the issuer replaces it. A session with another expiration is a
    /// new one, because a clock was wrong or the expiration was beyond the longest lifetime.
    fn is_known(&self, session: &Session) -> bool {
        let known = self.entry.snapshot().session;
        self.entry.profile.role_arn.is_none()
            && known.is_some_and(|it| {
                let (before, now) = (it.lifetime.ends, session.lifetime.ends);
                it.access_key_id == session.access_key_id
                    && it.security_token == session.security_token
                    && before.since(now) <= MAX_EXPIRATION_ADVANCE
                    && now.since(before) <= MAX_EXPIRATION_DELAY
            })
    }

    /// Keeps the session that callers have. The next attempt is at half of its remaining lifetime
    /// at the latest.
    fn extend(&mut self, rest: &Lifetime) {
        let now = self.clock.boot();
        if self.last_logged.take().is_some() {
            let (profile, failures_before) = (&self.entry.profile.name, self.failures);
            info!(%profile, failures_before, "the source answers again, with the same session");
        }
        self.outage.recovered(&self.entry, self.failures, now);
        self.failures = 0;
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
        if self.call_duration > MAX_CALL_DURATION {
            // The machine was suspended during the call, so that the failure says nothing about
            // the network now.
            self.failures = 0;
        }
        self.failures = self.failures.saturating_add(1);
        self.outage.failed(now);
        let (cause, code, hint) = match error {
            AttemptError::Sts(error) => remediation::for_error(error, &self.entry.profile),
            AttemptError::Source(error) => (error.cause, Code::SourceFailed, error.hint.clone()),
        };
        let random = fastrand::f64();
        let pause = match error {
            // The issuer renews expired source credentials without a change on this machine.
            AttemptError::Sts(StsError::SourceExpired(_)) => {
                retry_backoff(self.failures, remaining, random)
            }
            _ if cause == Cause::Denied => schedule::refused_backoff(remaining, random),
            AttemptError::Sts(StsError::Throttled {
                retry_after: Some(pause),
                ..
            }) => schedule::throttled_backoff(*pause, remaining),
            _ => retry_backoff(self.failures, remaining, random),
        };
        let failures = match cause {
            // The calls of the fleet do not fit into the quota now, which an outage does not say.
            Cause::Throttled => self.failures.saturating_mul(2),
            _ => self.failures,
        };
        let without_caller = match error {
            AttemptError::Sts(_) if cause != Cause::Denied => {
                let spread = self.upstream.fleet_spread();
                pause.max(schedule::fleet_backoff(failures, remaining, spread, random))
            }
            _ => pause,
        };
        self.schedule = Schedule::BackoffUntil {
            with_caller: now + pause,
            at: now + without_caller,
        };
        self.log_failure(error, code, remaining.unwrap_or_default(), pause, &hint);
        let failed = RefreshError {
            cause,
            code,
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

    /// Logs a failure: a warning for a new kind, a debug line for a repetition.
    fn log_failure(
        &mut self,
        error: &AttemptError,
        code: Code,
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
        let (remaining_s, next_attempt) = (remaining.as_secs(), in_words(pause));
        if self.last_logged.as_ref() == Some(&kind) {
            debug!(%profile, %code, remaining_s, next_attempt, in_a_row, "renewal failed again: {error}");
            return;
        }
        warn!(%profile, %code, remaining_s, next_attempt, in_a_row, hint, "renewal failed: {error}");
        self.last_logged = Some(kind);
    }
}

#[cfg(test)]
mod tests;
