//! STS with a quota that the machines of a fleet share with other users of the account.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use jiff::SignedDuration;
use stsd::sts::upstream::StsExchange;
use stsd_sts::{AssumeRole, Proof, Refusal, RoleSession, SecretText, StsError};
use tokio::time::sleep;

use crate::clock::SimClock;

/// The duration of a call.
const ANSWER_TIME: Duration = Duration::from_millis(40);

/// A token bucket: the quota of one region and API.
#[derive(Debug, Clone)]
pub(super) struct QuotaBucket {
    pub per_second: f64,
    tokens: f64,
    filled_at: Duration,
}

impl QuotaBucket {
    /// The largest number of calls at once, in each quota: the calls of a second at 100 a second. Chance
    /// refuses calls by their number, so that a burst is not scaled with the quota.
    const BURST: f64 = 100.0;

    /// Returns a bucket with the calls of a second.
    pub(super) fn new(per_second: f64) -> Self {
        Self {
            per_second,
            tokens: per_second,
            filled_at: Duration::ZERO,
        }
    }

    /// Takes a token; returns `false` for a call that is throttled.
    pub(super) fn take(&mut self, now: Duration) -> bool {
        let gained = (now - self.filled_at).as_secs_f64() * self.per_second;
        self.tokens = (self.tokens + gained).min(Self::BURST);
        self.filled_at = now;
        let is_served = self.tokens >= 1.0;
        self.tokens -= f64::from(u8::from(is_served));
        is_served
    }
}

/// STS.
pub(super) struct FleetCloud {
    pub clock: Arc<SimClock>,
    machines: usize,
    /// The time in which STS is not reachable.
    pub outage: Option<(Duration, Duration)>,
    /// The pause that a refusal asks for.
    pub hint: Option<Duration>,
    state: Mutex<CloudState>,
}

/// The calls so far.
pub(super) struct CloudState {
    pub bucket: QuotaBucket,
    /// The times of the first session of each machine.
    pub first: BTreeMap<usize, Duration>,
    /// The end of the last session of each machine.
    ends: BTreeMap<usize, Duration>,
    pub served: u64,
    pub refused: u64,
    /// The refused calls until each machine had a session.
    pub refused_at_start: u64,
    /// The calls of the fleet, by second.
    pub offered: BTreeMap<u64, u64>,
    /// The sessions that had ended before the next one was issued.
    pub expired: u64,
    /// The calls that other users need until each machine has a session, and those of them that
    /// were served in the end.
    pub others_asked: u64,
    pub others_served: u64,
}

impl FleetCloud {
    pub(super) fn new(clock: Arc<SimClock>, per_second: f64, machines: usize) -> Self {
        Self {
            clock,
            machines,
            outage: None,
            hint: None,
            state: Mutex::new(CloudState {
                bucket: QuotaBucket::new(per_second),
                first: BTreeMap::new(),
                ends: BTreeMap::new(),
                served: 0,
                refused: 0,
                refused_at_start: 0,
                offered: BTreeMap::new(),
                expired: 0,
                others_asked: 0,
                others_served: 0,
            }),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, CloudState> {
        self.state.lock().unwrap()
    }

    /// Makes the calls of the other users until the end of the run, at a mean rate. Each is tried
    /// four times with doubled pauses, as SDKs do.
    pub(super) async fn run_others(self: Arc<Self>, per_second: f64, mut random: fastrand::Rng) {
        loop {
            let pause = -random.f64().max(1e-9).ln() / per_second;
            sleep(Duration::from_secs_f64(pause)).await;
            tokio::spawn(Arc::clone(&self).call_of_others(random.fork()));
        }
    }

    async fn call_of_others(self: Arc<Self>, mut random: fastrand::Rng) {
        let counts = {
            let mut state = self.state();
            let counts = u64::from(state.first.len() < self.machines);
            state.others_asked += counts;
            counts
        };
        for pause in [0.5, 1.0, 2.0, 0.0] {
            let now = self.clock.elapsed();
            let is_served = {
                let mut state = self.state();
                let is_served = state.bucket.take(now);
                state.others_served += u64::from(is_served) * counts;
                is_served
            };
            if is_served {
                return;
            }
            sleep(Duration::from_secs_f64(pause * (0.5 + random.f64()))).await;
        }
    }

    fn answer(&self, machine: usize, length: Duration) -> Result<RoleSession, StsError> {
        let now = self.clock.elapsed();
        let mut state = self.state();
        *state.offered.entry(now.as_secs()).or_default() += 1;
        if !state.bucket.take(now) {
            state.refused += 1;
            state.refused_at_start += u64::from(state.first.len() < self.machines);
            return Err(StsError::Throttled {
                refusal: refusal(),
                retry_after: self.hint,
            });
        }
        state.served += 1;
        state.first.entry(machine).or_insert(now);
        let before = state.ends.insert(machine, now + length);
        state.expired += u64::from(before.is_some_and(|end| end < now));
        let time = self.clock.truth();
        Ok(RoleSession {
            access_key_id: format!("STS.{}", state.served),
            access_key_secret: SecretText::from("secret".to_owned()),
            security_token: SecretText::from("token".to_owned()),
            expiration: time + SignedDuration::try_from(length).unwrap(),
            server_date: Some(time),
            request_id: "R".to_owned(),
        })
    }
}

/// The STS client of one machine.
pub(super) struct MachineClient {
    pub cloud: Arc<FleetCloud>,
    pub machine: usize,
}

impl StsExchange for MachineClient {
    async fn exchange(
        &self,
        _: &Proof,
        request: AssumeRole<'_>,
        _: jiff::Timestamp,
    ) -> Result<RoleSession, StsError> {
        sleep(ANSWER_TIME / 2).await;
        let now = self.cloud.clock.elapsed();
        let is_away = |(begins, ends): (Duration, Duration)| (begins..ends).contains(&now);
        let answer = match self.cloud.outage {
            Some(outage) if is_away(outage) => Err(StsError::Unreachable {
                endpoint: "sts".into(),
                reason: "gone".into(),
                fault: None,
            }),
            _ => self.cloud.answer(self.machine, request.duration),
        };
        sleep(ANSWER_TIME / 2).await;
        answer
    }
}

fn refusal() -> Refusal {
    Refusal {
        code: "Throttling.User".to_owned(),
        message: "simulated".to_owned(),
        request_id: "R".to_owned(),
        http_status: 400,
    }
}
