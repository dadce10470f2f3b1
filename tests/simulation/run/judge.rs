//! The checks of every answer, of the state after an outage, and of the number of calls.

use std::{sync::Arc, time::Duration};

use fastrand::Rng;
use stsd::{
    profile::Cause,
    refresh::schedule::MAX_REFUSED_BACKOFF,
    runtime::{backoff::MAX_BACKOFF, clock::Clock as _},
    session::snapshot::{Session, SessionResult},
    sts::congestion::MAX_THROTTLE_PAUSE,
};
use tokio::time::sleep;

use super::{Held, LONG_PATIENCE, MARGIN, Simulation};
use crate::{
    cloud::{Issued, Trouble},
    plan::{name, role},
};

/// Time in which the calls of six profiles follow each other after the longest pause: each answered
/// call raises the rate, so that they are 50, 27, 19, 14 and 11 s apart.
const RATE_RECOVERY: Duration = Duration::from_secs(121);

impl Simulation {
    /// Checks a request for a renewal: it causes a call, or returns the reason.
    pub(super) fn judge_refresh(
        &self,
        index: usize,
        outcome: &Result<(), SessionResult>,
        before: u64,
        asked: Duration,
    ) {
        let name = name(index);
        match outcome {
            Ok(()) if self.calls(index) == before => {
                self.fault(format!("{name}: reported as renewed without a call"));
            }
            Err(SessionResult::NotYet(_) | SessionResult::Short(_) | SessionResult::Failed(_))
                if !self.plan.is_herd() && !self.trouble_between(asked, self.clock.elapsed()) =>
            {
                self.fault(format!(
                    "{name}: not renewed though STS is available: {outcome:?}"
                ));
            }
            _ => {}
        }
    }

    pub(super) fn judge(
        &self,
        index: usize,
        outcome: &SessionResult,
        asked: Duration,
        minimum_life: Duration,
        patience: Duration,
    ) {
        let now = self.clock.elapsed();
        {
            let tally = &mut self.notes().tally;
            let code = match outcome {
                SessionResult::Ready(_) => {
                    tally.ready += 1;
                    1
                }
                SessionResult::Short(_) => {
                    tally.short += 1;
                    2
                }
                _ => {
                    tally.refused += 1;
                    3
                }
            };
            let millis = u64::try_from(now.as_millis()).unwrap();
            let answer = (millis << 20) ^ ((index as u64) << 8) ^ code;
            let mixed = Rng::with_seed(answer).u64(..);
            tally.trace = tally.trace.wrapping_add(mixed);
        }
        let name = name(index);
        let session = match outcome {
            SessionResult::Ready(session) | SessionResult::Short(session) => session,
            SessionResult::Removed => {
                if self.notes().grants.contains_key(&index) {
                    self.fault(format!(
                        "{name}: exists, and the caller was told that it is removed"
                    ));
                }
                return;
            }
            SessionResult::NotAllowed => {
                self.fault(format!(
                    "{name}: refused, though no rule excludes the caller"
                ));
                return;
            }
            SessionResult::Failed(_) | SessionResult::NotYet(_) => {
                self.must_be_refused_at_once(&name, outcome, asked);
                if !self.notes().grants.contains_key(&index) {
                    self.fault(format!(
                        "{name}: was removed, and the caller got another error"
                    ));
                }
                if let Some(left) = self.left_of_the_newest(index) {
                    self.fault(format!(
                        "{name}: refused, though a session is valid for {left:?}"
                    ));
                }
                if let Err(why) = self.may_refuse(asked, now, patience) {
                    self.fault(format!(
                        "{name}: asked at {asked:?} with {patience:?}, refused: {outcome:?}: {why}"
                    ));
                }
                return;
            }
        };
        let issued = self
            .cloud
            .state()
            .issued
            .get(&session.access_key_id)
            .cloned();
        let Some(issued) = issued else {
            self.fault(format!(
                "{name}: got {}, which was never issued",
                session.access_key_id
            ));
            return;
        };
        let left = issued.ends.saturating_sub(now);
        if left.is_zero() {
            self.fault(format!(
                "{name}: got a session that ended at {:?}",
                issued.ends
            ));
        }
        if issued.role != role(index) || self.notes().grants.get(&index) != Some(&issued.grant) {
            self.fault(format!(
                "{name}: got {issued:?}, which is not what it grants"
            ));
        }
        self.must_have_been_renewed_in_time(index, session, &issued, left);
        match outcome {
            SessionResult::Ready(_) if left < minimum_life => {
                self.fault(format!(
                    "{name}: {left:?} left of {minimum_life:?} asked, and reported as sufficient"
                ));
            }
            SessionResult::Short(_)
                if self.should_have_renewed(&issued, left, minimum_life, asked, now, patience) =>
            {
                self.fault(format!(
                    "{name}: {left:?} left of {minimum_life:?} asked, though STS was available"
                ));
            }
            _ => {}
        }
    }

    /// Returns the remaining lifetime of the session that the profile has served last; `None` if
    /// STS has issued a newer one, or the session has expired.
    fn left_of_the_newest(&self, index: usize) -> Option<Duration> {
        let newest = self.cloud.state().newest.get(&role(index)).cloned()?;
        let notes = self.notes();
        let session = &notes.held.get(&index)?.session;
        let left = session.lifetime.remaining(self.clock.boot());
        (session.access_key_id == newest && !left.is_zero()).then_some(left)
    }

    /// Checks that a used profile was renewed long before the expiration: a request gets the old
    /// session near its expiration only after a failure.
    fn must_have_been_renewed_in_time(
        &self,
        index: usize,
        session: &Arc<Session>,
        issued: &Issued,
        left: Duration,
    ) {
        let (now, awake) = (self.clock.elapsed(), self.clock.awake());
        let mut notes = self.notes();
        let held = notes
            .held
            .get(&index)
            .filter(|held| Arc::ptr_eq(&held.session, session));
        let Some(held) = held else {
            let held = Held {
                session: Arc::clone(session),
                issued: issued.clone(),
                since: (now, awake),
            };
            notes.held.insert(index, held);
            return;
        };
        let (since, awake_since) = held.since;
        // The renewal is due at 55 % of the lifetime at the latest; for an idle profile, at the first
        // request. A suspend delays it by one nap.
        let due = (issued.ends - issued.length.mul_f64(0.45)).max(since);
        let slept = (now - since) - (awake - awake_since);
        let late = now > due + slept + MARGIN * 2 && left < issued.length.mul_f64(0.4);
        drop(notes);
        if late && !self.plan.is_herd() && !self.trouble_between(due, now) {
            let name = name(index);
            self.fault(format!(
                "{name}: {left:?} left, seen {:?} ago, and not renewed",
                now - since
            ));
        }
    }

    /// Checks that a refusal that a wait cannot change is answered at once: at the request, or when
    /// STS refuses.
    fn must_be_refused_at_once(&self, name: &str, outcome: &SessionResult, asked: Duration) {
        let SessionResult::Failed(failed) = outcome else {
            return;
        };
        let waited = self.clock.boot().since(failed.at);
        let waited = waited.min(self.clock.elapsed() - asked);
        if failed.cause == Cause::Denied && waited > Duration::from_millis(2) {
            self.fault(format!("{name}: refused only after {waited:?}"));
        }
    }

    /// Checks that a refusal has a reason: an outage, or a patience shorter than a first call. An
    /// outage is no reason if it ended more than a capped back-off ago, or if a valid session
    /// should have lasted through it.
    ///
    /// # Errors
    /// A description of the fault.
    fn may_refuse(&self, asked: Duration, now: Duration, patience: Duration) -> Result<(), String> {
        if patience < LONG_PATIENCE || self.plan.is_herd() && patience < 6 * LONG_PATIENCE {
            return Ok(());
        }
        match self.trouble_between(asked, now) {
            true => Ok(()),
            false => Err("STS was available for long enough".to_owned()),
        }
    }

    fn should_have_renewed(
        &self,
        issued: &Issued,
        left: Duration,
        minimum_life: Duration,
        asked: Duration,
        now: Duration,
        patience: Duration,
    ) -> bool {
        let possible = minimum_life + MARGIN < issued.length.mul_f64(0.9) - Duration::from_secs(2);
        possible
            && left + MARGIN < minimum_life
            && patience >= LONG_PATIENCE
            && !self.plan.is_herd()
            && !self.trouble_between(asked, now)
    }

    /// Returns `true` if an outage or an invalid answer explains failures between two times.
    fn trouble_between(&self, from: Duration, to: Duration) -> bool {
        let spoilt = self.cloud.state().last_spoilt;
        if spoilt.is_some_and(|at| from <= at + after(Trouble::Unavailable)) {
            return true;
        }
        let begun = self.cloud.outages_until(to).iter().rev();
        // Throttling has the longest pause.
        let longest = after(Trouble::Throttled(None));
        let mut recent = begun.take_while(|it| from <= it.ends + longest);
        recent.any(|it| from <= it.ends + after(it.trouble))
    }

    /// Checks after each outage that every profile is renewed in time.
    pub(super) async fn inspect(self: Arc<Self>) {
        for outage in self.cloud.manners.outages.clone() {
            let due = outage.ends + after(outage.trouble);
            // A sleep counts awake time, which falls behind the true time at each suspend.
            while self.clock.elapsed() < due {
                sleep((due - self.clock.elapsed()).min(Duration::from_secs(60))).await;
            }
            let now = self.clock.elapsed();
            let disturbed = |at: &Duration| *at + MARGIN >= outage.ends && *at <= now;
            let quiet = {
                let notes = self.notes();
                !notes.suspends.iter().chain(&notes.reloads).any(disturbed)
            };
            let others = self
                .cloud
                .manners
                .outages
                .iter()
                .any(|other| other.begins > outage.begins && other.begins <= now);
            let spoilt = self.cloud.state().last_spoilt;
            let spoilt = spoilt.is_some_and(|at| at >= outage.ends);
            if quiet && !others && !spoilt && !self.plan.is_herd() {
                self.must_be_fresh(&outage.trouble);
            }
        }
    }

    fn must_be_fresh(&self, trouble: &Trouble) {
        let now = self.clock.boot();
        for entry in self.store.all() {
            let snapshot = entry.snapshot();
            if let Some(failed) = &snapshot.failed {
                let age = now.since(failed.at);
                // The renewal may have failed again just now, by another cause.
                if age > MARGIN {
                    self.fault(format!(
                        "{}: not fresh after {trouble:?}: {failed:?}",
                        entry.profile.name
                    ));
                }
            }
            let alive = snapshot.usable_for(Duration::ZERO, now).is_some();
            if entry.profile.keep_warm && !alive {
                self.fault(format!(
                    "{}: kept warm, and without a session after {trouble:?}",
                    entry.profile.name
                ));
            }
            self.notes().tally.recoveries += 1;
        }
    }

    /// Checks that the number of calls is within the rate limit.
    pub(super) fn check_calls(&self) {
        let rate = self.plan.calls_per_second as usize;
        let (second, ten) = {
            let state = self.cloud.state();
            (state.most_in_a_second, state.most_in_ten_seconds)
        };
        if second > 2 * rate.max(2) + 1 || ten > 11 * rate.max(2) + 1 {
            self.fault(format!(
                "{second} calls in a second, {ten} in ten, at {rate} a second"
            ));
        }
    }
}

/// Returns the time after an outage in which failures may still be caused by it: the back-off that
/// began during the outage, and the call under way.
fn after(trouble: Trouble) -> Duration {
    match trouble {
        Trouble::Denied => MAX_REFUSED_BACKOFF + MARGIN,
        Trouble::Throttled(_) => MAX_THROTTLE_PAUSE + RATE_RECOVERY + MARGIN,
        _ => MAX_BACKOFF + MARGIN,
    }
}
