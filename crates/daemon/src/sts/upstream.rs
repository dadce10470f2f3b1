//! The calls to STS, shared by all profiles: one rate limit, one server clock, and one quota for each
//! region and API.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use stsd_sts::{AssumeRole, Proof, RoleSession, Sts, StsError};
use tokio::sync::Notify;

use crate::{
    profile::{Profile, RoleArn, SessionDuration},
    runtime::clock::{BootTime, Clock},
    sts::{
        quota::{self, Api, CallInFlight, Quota},
        rate_limit::RateLimiter,
        server_clock::ServerClock,
    },
};

/// The exchange of an identity for a role session.
pub trait StsExchange: Send + Sync + 'static {
    /// Makes one call to STS, dated `now` by the clock of STS.
    fn exchange(
        &self,
        proof: &Proof,
        request: AssumeRole<'_>,
        now: Timestamp,
    ) -> impl Future<Output = Result<RoleSession, StsError>> + Send;
}

impl StsExchange for Sts {
    async fn exchange(
        &self,
        proof: &Proof,
        request: AssumeRole<'_>,
        now: Timestamp,
    ) -> Result<RoleSession, StsError> {
        Sts::exchange(self, proof, request, now).await
    }
}

/// A role session with its time of issue.
pub struct IssuedSession {
    /// The answer of STS.
    pub session: RoleSession,
    /// The `Date` of the answer, or the estimate of the server clock if that is later: a front end
    /// whose clock is behind must not prolong the lifetime of a session.
    pub at: Timestamp,
    /// The time at which the request was sent.
    pub sent: BootTime,
}

/// A client of one endpoint.
pub struct EndpointClient<X> {
    /// The host and the port, for messages.
    pub host: String,
    /// The exchange.
    pub exchange: X,
}

/// The clients of the STS endpoints of one account, with rate limit and server clock.
pub struct Upstream<X> {
    clients: Vec<EndpointClient<X>>,
    /// The quotas of each client, by API.
    quotas: Vec<[Arc<Quota>; Api::ALL.len()]>,
    clock: Arc<dyn Clock>,
    rate_limiter: Arc<RateLimiter>,
    server_clock: ServerClock,
    renewed: Arc<Notify>,
    fleet_spread_millis: AtomicU64,
}

impl<X: StsExchange> Upstream<X> {
    /// Returns the clients of at least one endpoint, by preference; nothing is called yet. `renewed` is
    /// notified after each renewal.
    #[must_use]
    pub fn new(
        clients: Vec<EndpointClient<X>>,
        clock: Arc<dyn Clock>,
        rate_limiter: Arc<RateLimiter>,
        renewed: Arc<Notify>,
    ) -> Self {
        let of_client = |client: &EndpointClient<X>| {
            let region = quota::region(&client.host);
            Api::ALL.map(|api| rate_limiter.quota(region, api))
        };
        Self {
            quotas: clients.iter().map(of_client).collect(),
            clients,
            clock,
            rate_limiter,
            server_clock: ServerClock::default(),
            renewed,
            fleet_spread_millis: AtomicU64::new(0),
        }
    }

    /// Sets the time over which the machines of a fleet spread the calls for which no caller waits.
    pub fn set_fleet_spread(&self, spread: Duration) {
        let millis = u64::try_from(spread.as_millis()).unwrap_or(u64::MAX);
        self.fleet_spread_millis.store(millis, Ordering::Relaxed);
    }

    /// Returns the time over which the machines of a fleet spread the calls for which no caller waits.
    #[must_use]
    pub fn fleet_spread(&self) -> Duration {
        Duration::from_millis(self.fleet_spread_millis.load(Ordering::Relaxed))
    }

    /// Notifies the task that saves the sessions of a renewal.
    pub fn notify_renewed(&self) {
        self.renewed.notify_one();
    }

    /// Returns the rate limiter of the calls.
    #[must_use]
    pub fn rate_limiter(&self) -> &RateLimiter {
        &self.rate_limiter
    }

    /// Returns the quota of a call to an endpoint.
    #[must_use]
    pub fn quota(&self, endpoint: usize, proof: &Proof) -> &Quota {
        &self.quotas[endpoint][Api::from(proof) as usize]
    }

    /// Returns the number of endpoints.
    #[must_use]
    pub fn endpoint_count(&self) -> usize {
        self.clients.len()
    }

    /// Returns the host and the port of an endpoint, for messages.
    #[must_use]
    pub fn host(&self, endpoint: usize) -> &str {
        &self.clients[endpoint].host
    }

    /// Makes one call to an endpoint, for which the caller has taken a token of the rate limit. `Clock`
    /// resets the server clock, and `Throttled` pauses all calls of the quota.
    ///
    /// # Errors
    /// The [`StsError`] of the exchange; `Throttled` has the pause of the quota.
    pub async fn call(
        &self,
        endpoint: usize,
        profile: &Profile,
        role_arn: &RoleArn,
        duration: SessionDuration,
        proof: &Proof,
    ) -> Result<IssuedSession, StsError> {
        let request = AssumeRole {
            role_arn: role_arn.as_str(),
            role_session_name: profile.role_session_name.as_str(),
            duration: duration.get(),
            policy: profile.policy.as_ref().map(|it| it.as_str()),
            external_id: profile.external_id.as_deref(),
            source_identity: profile.source_identity.as_deref(),
        };
        let sent = self.clock.boot();
        let now = self.server_clock.at(sent);
        let now = now.unwrap_or_else(|| self.clock.wall());
        let result = self.clients[endpoint]
            .exchange
            .exchange(proof, request, now);
        let mut call = CallInFlight {
            quota: self.quota(endpoint, proof),
            sent,
            is_answered: false,
        };
        let mut result = result.await;
        self.observe(&mut call, &mut result);
        Ok(self.issued(result?, sent))
    }

    fn issued(&self, session: RoleSession, sent: BootTime) -> IssuedSession {
        let date = session.server_date.max(self.server_clock.at(sent));
        IssuedSession {
            at: date.unwrap_or_else(|| self.clock.wall()),
            session,
            sent,
        }
    }

    /// Updates the server clock from the `Date` of a valid answer.
    pub fn observe_date(&self, date: Option<Timestamp>, sent: BootTime) {
        if let Some(date) = date {
            self.server_clock.observe(date, sent, self.clock.boot());
        }
    }

    /// Applies the time that an error of STS contains, and an answer to the rate of its quota.
    fn observe(&self, call: &mut CallInFlight<'_>, result: &mut Result<RoleSession, StsError>) {
        let now = self.clock.boot();
        if let Err(StsError::Clock {
            server_date: Some(date),
            ..
        }) = result
        {
            self.server_clock.reset_to(*date, now);
        }
        match result {
            Err(StsError::Throttled { retry_after, .. }) => {
                *retry_after = Some(call.quota.refused(call.sent, now, *retry_after));
            }
            Err(
                StsError::Unreachable { .. }
                | StsError::Unreadable { .. }
                | StsError::Unavailable(_),
            ) => return,
            _ => call.quota.answered(now),
        }
        call.is_answered = true;
    }
}
