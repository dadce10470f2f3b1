//! The other user: it requests credentials on a new connection each time, as the shim does.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use e2e::UnixUser;

/// The profile of the other user.
pub(crate) const PROFILE: &str = "friend";

/// The patience of a request. A longer delay is a refusal.
const PATIENCE: Duration = Duration::from_secs(10);

/// Requests before the first measurement.
const WARM_UP_REQUESTS: usize = 500;

/// The other user.
pub(crate) struct Client {
    client: stsd_client::Client,
    user: UnixUser,
}

/// Latencies in nanoseconds, and the number of refused requests.
#[derive(Default)]
pub(crate) struct Samples {
    pub(crate) latencies: Vec<u64>,
    pub(crate) refusals: Vec<String>,
}

impl Client {
    pub(crate) fn new(socket: PathBuf, user: UnixUser) -> Self {
        Self {
            client: stsd_client::Client::at(socket),
            user,
        }
    }

    pub(crate) fn warm_up(&self) {
        let samples = self.request(WARM_UP_REQUESTS);
        assert!(samples.refusals.is_empty(), "{:?}", samples.refusals);
    }

    /// Makes requests one after the other.
    pub(crate) fn request(&self, count: usize) -> Samples {
        let client = &self.client;
        self.user.run(|| {
            let mut samples = Samples::default();
            for _ in 0..count {
                let began = now();
                match client.credentials(PROFILE, Duration::ZERO, PATIENCE) {
                    Ok(_) => {
                        let nanoseconds = began.elapsed().as_nanos();
                        let nanoseconds = u64::try_from(nanoseconds).unwrap_or(u64::MAX);
                        samples.latencies.push(nanoseconds);
                    }
                    Err(error) => samples.refusals.push(error.to_string()),
                }
            }
            samples
        })
    }
}

impl Samples {
    /// Returns the latency that 99 % of the requests do not exceed.
    pub(crate) fn p99(&self) -> Duration {
        let mut sorted = self.latencies.clone();
        sorted.sort_unstable();
        let index = sorted.len() * 99 / 100;
        Duration::from_nanos(sorted.get(index).copied().unwrap_or(u64::MAX))
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the lint is about the daemon's schedules; this measures a latency"
)]
fn now() -> Instant {
    Instant::now()
}
