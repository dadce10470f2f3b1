//! The simulated STS: it checks the time of requests, issues sessions, fails as the plan has it, and
//! counts every call.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use stsd::sts::upstream::StsExchange;
use stsd_sts::{AssumeRole, Proof, Refusal, RoleSession, SecretText, StsError};
use tokio::time::sleep;

use crate::{clock::SimClock, plan::HOUR};

/// Maximum number of calls for one role in a minute.
const MAX_CALLS_PER_MINUTE: usize = 45;

/// The failure of the calls in an outage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// No route: a call fails at once.
    Unreachable,
    /// No answer: a call fails at the daemon's timeout of ten seconds.
    Hangs,
    /// The error `ServiceUnavailable` of STS.
    Unavailable,
    /// An HTML page of another server.
    Unreadable,
    /// Sessions that have expired already.
    Expired,
    /// Sessions with an expiration beyond the maximum of STS.
    Beyond,
    /// Throttling, with or without `Retry-After` in seconds.
    Throttled(Option<u64>),
    /// A missing permission.
    Denied,
}

/// An interval of true time in which no call succeeds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outage {
    pub begins: Duration,
    pub ends: Duration,
    pub trouble: Trouble,
}

/// An issued session.
#[derive(Debug, Clone)]
pub(crate) struct Issued {
    pub role: String,
    /// The external id of the request, which changes with the rights of a profile.
    pub grant: String,
    pub ends: Duration,
    pub length: Duration,
}

/// The behaviour of STS in one simulation.
#[derive(Debug, Clone)]
pub(crate) struct Manners {
    pub outages: Vec<Outage>,
    /// The error of the clock of STS.
    pub skew_seconds: i64,
    /// Maximum lifetime of a session, whatever a request asks for.
    pub longest_session: Duration,
    /// Number of answers in a thousand whose `Date` is missing or wrong.
    pub bad_dates: u32,
    /// Number of answers in a thousand that reject the nonce as used.
    pub used_nonces: u32,
    pub slowest_answer: Duration,
}

pub(crate) struct Cloud {
    clock: Arc<SimClock>,
    pub manners: Manners,
    state: Mutex<State>,
}

pub(crate) struct State {
    random: fastrand::Rng,
    pub issued: BTreeMap<String, Issued>,
    /// The times of the calls in the last ten seconds.
    recent: VecDeque<Duration>,
    pub most_in_a_second: usize,
    pub most_in_ten_seconds: usize,
    pub calls: BTreeMap<String, u64>,
    pub failures: BTreeMap<String, u64>,
    /// The number of calls in flight, by role.
    in_flight: BTreeMap<String, u32>,
    /// The beginning of the last call beside another one, by role.
    last_hedged: BTreeMap<String, Duration>,
    /// The newest session of each role; it may expire before an older one.
    pub newest: BTreeMap<String, String>,
    /// Faults: calls that no schedule permits.
    pub needless: Vec<String>,
    /// The time of the last change of a profile, or of the last request for a renewal.
    pub disturbed: Duration,
    /// The calls of each role within a minute.
    busy: BTreeMap<String, VecDeque<Duration>>,
    /// The time at which the last session of each role was issued.
    renewed: BTreeMap<String, Duration>,
    /// The time of the last answer with a bad date or a rejected nonce.
    pub last_spoilt: Option<Duration>,
}

impl Cloud {
    pub(crate) fn new(clock: Arc<SimClock>, manners: Manners, random: fastrand::Rng) -> Self {
        Self {
            clock,
            manners,
            state: Mutex::new(State {
                random,
                issued: BTreeMap::new(),
                recent: VecDeque::new(),
                most_in_a_second: 0,
                most_in_ten_seconds: 0,
                calls: BTreeMap::new(),
                failures: BTreeMap::new(),
                in_flight: BTreeMap::new(),
                last_hedged: BTreeMap::new(),
                newest: BTreeMap::new(),
                last_spoilt: None,
                needless: Vec::new(),
                disturbed: Duration::ZERO,
                busy: BTreeMap::new(),
                renewed: BTreeMap::new(),
            }),
        }
    }

    pub(crate) fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(crate) fn trouble(&self, at: Duration) -> Option<Trouble> {
        let outages = self.outages_until(at);
        outages
            .last()
            .filter(|it| at < it.ends)
            .map(|it| it.trouble)
    }

    /// Returns the outages that have begun by a moment, in order.
    pub(crate) fn outages_until(&self, at: Duration) -> &[Outage] {
        let outages = &self.manners.outages;
        &outages[..outages.partition_point(|it| it.begins <= at)]
    }

    /// Returns the time of STS.
    fn time(&self) -> Timestamp {
        self.clock.truth() + SignedDuration::from_secs(self.manners.skew_seconds)
    }

    fn count(&self, role: &str) {
        let now = self.clock.elapsed();
        let mut state = self.state();
        *state.calls.entry(role.to_owned()).or_default() += 1;
        state.recent.push_back(now);
        let busy = state.busy.entry(role.to_owned()).or_default();
        busy.push_back(now);
        busy.retain(|at| *at + Duration::from_secs(60) >= now);
        // A restarted back-off makes a dozen attempts in its first minute.
        let count = busy.len();
        if count > MAX_CALLS_PER_MINUTE {
            state
                .needless
                .push(format!("{role}: {count} calls in a minute at {now:?}"));
        }
        while state
            .recent
            .front()
            .is_some_and(|at| *at + Duration::from_secs(10) < now)
        {
            state.recent.pop_front();
        }
        let second = state.recent.iter().rev();
        let second = second
            .take_while(|at| **at + Duration::from_secs(1) >= now)
            .count();
        state.most_in_a_second = state.most_in_a_second.max(second);
        state.most_in_ten_seconds = state.most_in_ten_seconds.max(state.recent.len());
    }

    async fn judge(
        &self,
        request: AssumeRole<'_>,
        signed: Timestamp,
    ) -> Result<RoleSession, StsError> {
        let slowest = self.manners.slowest_answer;
        let (way_there, way_back, bad_date, used_nonce) = {
            let mut state = self.state();
            // A wrong `Date` on the first answers and a session shorter than requested cannot be
            // told apart by the daemon, so they do not occur together.
            let known = state.issued.len() > 20 || self.manners.longest_session >= 12 * HOUR;
            let random = &mut state.random;
            let bad_date = random.u32(..1000) < self.manners.bad_dates;
            (
                slowest.mul_f64(random.f64() / 2.0),
                slowest.mul_f64(random.f64() / 2.0),
                (bad_date && known).then(|| random.bool().then(|| random.i64(-7200..=7200))),
                random.u32(..1000) < self.manners.used_nonces,
            )
        };
        sleep(way_there).await;
        let trouble = self.trouble(self.clock.elapsed());
        if trouble == Some(Trouble::Hangs) {
            sleep(Duration::from_secs(10)).await;
        }
        if bad_date.is_some() || used_nonce {
            self.state().last_spoilt = Some(self.clock.elapsed());
        }
        let now = self.time();
        // `Date` has whole seconds, rounded down.
        let date = Timestamp::from_second(now.as_second()).unwrap();
        let date = match bad_date {
            None => Some(date),
            Some(None) => None,
            Some(Some(error)) => Some(date + SignedDuration::from_secs(error)),
        };
        let answer = self.answer(request, signed, now, date, trouble, used_nonce);
        sleep(way_back).await;
        answer
    }

    fn answer(
        &self,
        request: AssumeRole<'_>,
        signed: Timestamp,
        now: Timestamp,
        date: Option<Timestamp>,
        trouble: Option<Trouble>,
        used_nonce: bool,
    ) -> Result<RoleSession, StsError> {
        match trouble {
            None => {}
            Some(Trouble::Unreachable | Trouble::Hangs) => {
                return Err(StsError::Unreachable {
                    endpoint: "sts".into(),
                    reason: "gone".into(),
                    fault: None,
                });
            }
            Some(Trouble::Unavailable) => {
                return Err(StsError::Unavailable(refusal("ServiceUnavailable")));
            }
            Some(Trouble::Unreadable) => {
                return Err(StsError::Unreadable {
                    reason: "HTML".into(),
                });
            }
            Some(Trouble::Expired) => return Ok(session("STS.expired", now, date)),
            Some(Trouble::Beyond) => {
                let ends = now + SignedDuration::from_hours(72);
                return Ok(session("STS.beyond", ends, date));
            }
            Some(Trouble::Throttled(hint)) => {
                return Err(StsError::Throttled {
                    refusal: refusal("Throttling.User"),
                    retry_after: hint.map(Duration::from_secs),
                });
            }
            Some(Trouble::Denied) => return Err(StsError::Denied(refusal("NoPermission"))),
        }
        if signed.duration_since(now).abs() > SignedDuration::from_mins(15) {
            return Err(StsError::Clock {
                refusal: refusal("InvalidTimeStamp.Expired"),
                server_date: Some(now),
            });
        }
        if used_nonce {
            return Err(StsError::NonceUsed(refusal("SignatureNonceUsed")));
        }
        let length = request.duration.min(self.manners.longest_session);
        let ends = now + SignedDuration::try_from(length).unwrap();
        // `Expiration` has whole seconds too.
        let ends = Timestamp::from_second(ends.as_second()).unwrap();
        let mut state = self.state();
        let key = format!("STS.{}", state.issued.len());
        let lives = Duration::try_from(ends.duration_since(now)).unwrap();
        let role = request.role_arn.to_owned();
        self.must_be_due(&mut state, &role);
        state.newest.insert(role, key.clone());
        state.issued.insert(
            key.clone(),
            Issued {
                role: request.role_arn.to_owned(),
                grant: request.external_id.unwrap_or_default().to_owned(),
                ends: self.clock.elapsed() + lives,
                length,
            },
        );
        Ok(session(&key, ends, date))
    }
}

impl Cloud {
    /// Records a fault if a valid session is renewed in the first tenth of its lifetime: no request
    /// may cause this.
    fn must_be_due(&self, state: &mut State, role: &str) {
        let now = self.clock.elapsed();
        let before = state.renewed.insert(role.to_owned(), now);
        let Some(before) = before else { return };
        let newest = &state.newest[role];
        let length = state.issued[newest].length;
        // A request during a call is answered by the next call.
        let is_hedged = |at: &Duration| *at + Duration::from_secs(30) >= now;
        let excused = state.disturbed + Duration::from_secs(30) >= before
            || state.last_spoilt.is_some_and(|at| at >= before)
            || state.last_hedged.get(role).is_some_and(is_hedged);
        let early = now < before + length / 10 - Duration::from_secs(5);
        if early && !excused {
            let age = now - before;
            state.needless.push(format!(
                "{role}: renewed after {age:?} of {length:?} at {now:?}"
            ));
        }
    }
}

/// The STS client of the simulated daemon.
pub(crate) struct SimulatedClient(pub Arc<Cloud>);

impl StsExchange for SimulatedClient {
    async fn exchange(
        &self,
        _: &Proof,
        request: AssumeRole<'_>,
        now: Timestamp,
    ) -> Result<RoleSession, StsError> {
        self.0.count(request.role_arn);
        let _in_flight = InFlight::begin(&self.0, request.role_arn);
        let answer = self.0.judge(request, now).await;
        if answer.is_err() {
            let mut state = self.0.state();
            *state
                .failures
                .entry(request.role_arn.to_owned())
                .or_default() += 1;
        }
        answer
    }
}

/// A call in flight, which its caller may drop.
struct InFlight<'a> {
    cloud: &'a Cloud,
    role: String,
}

impl<'a> InFlight<'a> {
    fn begin(cloud: &'a Cloud, role: &str) -> Self {
        let now = cloud.clock.elapsed();
        let mut state = cloud.state();
        let in_flight = state.in_flight.entry(role.to_owned()).or_default();
        *in_flight += 1;
        if *in_flight > 1 {
            state.last_hedged.insert(role.to_owned(), now);
        }
        drop(state);
        Self {
            cloud,
            role: role.to_owned(),
        }
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        if let Some(in_flight) = self.cloud.state().in_flight.get_mut(&self.role) {
            *in_flight -= 1;
        }
    }
}

fn session(key: &str, expiration: Timestamp, server_date: Option<Timestamp>) -> RoleSession {
    RoleSession {
        access_key_id: key.to_owned(),
        access_key_secret: SecretText::from("secret".to_owned()),
        security_token: SecretText::from("token".to_owned()),
        expiration,
        server_date,
        request_id: "R".to_owned(),
    }
}

fn refusal(code: &str) -> Refusal {
    Refusal {
        code: code.to_owned(),
        message: "simulated".to_owned(),
        request_id: "R".to_owned(),
        http_status: 400,
    }
}
