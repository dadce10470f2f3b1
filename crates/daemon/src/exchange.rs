//! Decides how one call to STS is made: within this machine's budget, and signed with the
//! time that STS believes in. All profiles share it, so what one learns helps the others.

use std::{
    future::Future,
    sync::{Arc, Mutex, MutexGuard},
};

use jiff::{SignedDuration, Timestamp};
use stsd_sts::{AssumeRole, RoleSession, SourceCredentials, Sts, StsError};

use crate::{
    budget::Budget,
    clock::{BootTime, Clock},
    config::Profile,
};

/// The exchange of an identity for a role session.
pub trait Exchange: Send + Sync + 'static {
    /// Makes one call to STS, signed with `now`.
    fn assume_role(
        &self,
        source: &SourceCredentials,
        request: AssumeRole<'_>,
        now: Timestamp,
    ) -> impl Future<Output = Result<RoleSession, StsError>> + Send;
}

impl Exchange for Sts {
    async fn assume_role(
        &self,
        source: &SourceCredentials,
        request: AssumeRole<'_>,
        now: Timestamp,
    ) -> Result<RoleSession, StsError> {
        Sts::assume_role(self, source, request, now).await
    }
}

/// The way to one STS endpoint.
pub struct Upstream<X> {
    exchange: X,
    clock: Arc<dyn Clock>,
    budget: Arc<Budget>,
    /// What STS's clock shows when the boot-time clock shows zero; none before the first
    /// answer. Kept on the boot-time clock, so that setting the wall clock costs nothing.
    epoch: Mutex<Option<Timestamp>>,
}

impl<X: Exchange> Upstream<X> {
    /// Prepares the way; nothing is called yet.
    #[must_use]
    pub fn new(exchange: X, clock: Arc<dyn Clock>, budget: Arc<Budget>) -> Self {
        Self {
            exchange,
            clock,
            budget,
            epoch: Mutex::new(None),
        }
    }

    /// Returns what limits the calls.
    #[must_use]
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    /// Makes one call, for which the budget has given its token, and learns from the answer
    /// what the time is and whether all profiles must pause.
    ///
    /// # Errors
    /// [`StsError`], as it came.
    pub async fn call(
        &self,
        profile: &Profile,
        source: &SourceCredentials,
    ) -> Result<RoleSession, StsError> {
        let request = AssumeRole {
            role_arn: profile.role_arn.as_str(),
            role_session_name: profile.role_session_name.as_str(),
            duration: profile.duration.get(),
            policy: profile.policy.as_ref().map(|it| it.as_str()),
            external_id: profile.external_id.as_deref(),
            source_identity: profile.source_identity.as_deref(),
        };
        let answer = self
            .exchange
            .assume_role(source, request, self.service_time())
            .await;
        match &answer {
            Ok(session) => self.learn(session.server_date),
            Err(StsError::Clock { server_date, .. }) => self.learn(*server_date),
            Err(StsError::Throttled {
                retry_after: Some(hint),
                ..
            }) => self
                .budget
                .close_for((*hint).min(crate::schedule::BACKOFF_CAP), self.clock.boot()),
            Err(_) => {}
        }
        answer
    }

    /// Returns the time by the service's clock, as far as it is known.
    #[must_use]
    pub fn service_time(&self) -> Timestamp {
        let known = *self.epoch();
        let wall = || self.clock.wall();
        known.map_or_else(wall, |epoch| {
            epoch
                .checked_add(since_boot(self.clock.boot()))
                .unwrap_or_else(|_| wall())
        })
    }

    fn learn(&self, server_date: Option<Timestamp>) {
        let Some(date) = server_date else { return };
        if let Ok(epoch) = date.checked_sub(since_boot(self.clock.boot())) {
            *self.epoch() = Some(epoch);
        }
    }

    fn epoch(&self) -> MutexGuard<'_, Option<Timestamp>> {
        self.epoch
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

fn since_boot(now: BootTime) -> SignedDuration {
    SignedDuration::try_from(now.since(BootTime::default())).unwrap_or_default()
}
