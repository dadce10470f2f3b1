//! The tasks of all profiles, one for each profile of the configuration. A profile that a reload does
//! not change keeps its task and its state.

use std::{collections::BTreeMap, io, mem, os::fd::OwnedFd, sync::Arc, time::Duration};

use stsd_secret::SecretText;
use stsd_sts::Endpoint;
use tokio::{sync::Notify, task::AbortHandle};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::info;

use crate::{
    access::peer::LeaseId,
    profile::{Endpoints, Profile, ProfileName},
    refresh::{schedule, task::Refresher},
    runtime::clock::{BootTime, Clock},
    session::{
        lease::LeaseHandle, memfd, memfd::RestoredSessions, profile_entry::ProfileEntry,
        store::Store,
    },
    sts::{
        rate_limit::RateLimiter,
        upstream::{EndpointClient, StsExchange, Upstream},
    },
};

/// Maximum number of a user's leases, and of leases that a user opens in a `LEASE_WINDOW`. Each
/// lease costs calls to STS and a thread.
const MAX_LEASES_PER_USER: usize = 64;

/// Maximum number of all leases.
const MAX_LEASES: usize = 256;

/// The leases among them that are kept for users without a lease.
const LEASES_FOR_NEW_USERS: usize = 16;

/// The period in which opened leases are counted.
const LEASE_WINDOW: Duration = Duration::from_secs(60);

/// Returns a client of an STS endpoint.
pub type Connect<X> = Box<dyn Fn(&Endpoint) -> X + Send>;

/// The dependencies of a supervisor.
pub struct SupervisorDeps<X> {
    /// The store of the sessions.
    pub store: Arc<Store>,
    /// Returns a client of an STS endpoint.
    pub connect: Connect<X>,
    /// The clocks.
    pub clock: Arc<dyn Clock>,
    /// The identity of the machine: machines that were booted together must not renew together.
    pub machine: Vec<u8>,
    /// The rate limit of the calls to STS.
    pub rate_limiter: Arc<RateLimiter>,
    /// The sessions of the previous process, for the first configuration.
    pub restored: RestoredSessions,
}

/// The part of a configuration that the supervisor applies.
#[derive(Debug, Clone)]
pub struct RefreshConfig {
    /// The endpoints of STS.
    pub endpoints: Endpoints,
    /// The rate limit of the calls to STS.
    pub sts_calls_per_second: u32,
    /// The time over which the machines of a fleet spread the calls for which no caller waits; zero
    /// for a machine of its own.
    pub fleet_spread: Duration,
    /// The profiles.
    pub profiles: BTreeMap<ProfileName, Arc<Profile>>,
}

/// Starts and ends the profiles' tasks.
pub struct Supervisor<X> {
    deps: SupervisorDeps<X>,
    upstream: Option<(Endpoints, Arc<Upstream<X>>)>,
    running: BTreeMap<ProfileName, Running>,
    leases: Vec<(u32, CancellationToken)>,
    lease_count: u32,
    /// The users that have opened a lease within a `LEASE_WINDOW`, and the times.
    recent_opens: Vec<(u32, BootTime)>,
    tasks: TaskTracker,
    renewed: Arc<Notify>,
    generation: u64,
}

struct Running {
    entry: Arc<ProfileEntry>,
    task: AbortHandle,
}

impl<X: StsExchange> Supervisor<X> {
    /// Returns a supervisor without a configuration.
    #[must_use]
    pub fn new(deps: SupervisorDeps<X>) -> Self {
        Self {
            // Larger than the generation of the previous process.
            generation: deps.clock.boot().as_millis(),
            deps,
            upstream: None,
            running: BTreeMap::new(),
            leases: Vec::new(),
            lease_count: 0,
            recent_opens: Vec::new(),
            tasks: TaskTracker::new(),
            renewed: Arc::default(),
        }
    }

    /// Returns the notification of renewed sessions.
    #[must_use]
    pub fn renewed(&self) -> Arc<Notify> {
        Arc::clone(&self.renewed)
    }

    /// Returns a sealed memfd with all valid sessions and the master secret of the URLs, for the next
    /// process; `None` before the first configuration.
    ///
    /// # Errors
    /// memfd_create(2) or a write has failed.
    pub fn seal(&mut self, url_master: SecretText) -> io::Result<Option<OwnedFd>> {
        let Some((endpoints, _)) = &self.upstream else {
            return Ok(None);
        };
        self.generation += 1;
        let deps = &self.deps;
        let sealed = memfd::seal(
            &deps.store,
            endpoints.first(),
            &*deps.clock,
            self.generation,
            url_master,
        );
        sealed.map(Some)
    }

    /// Applies a configuration. An unchanged profile at the same endpoint keeps its task. The other
    /// profiles get new tasks, and no session that grants other rights.
    pub fn apply(&mut self, config: RefreshConfig) {
        let same_account = self.upstream.as_ref();
        let same_account = same_account.is_some_and(|it| it.0.shares_one_with(&config.endpoints));
        let (upstream, same_endpoints) = self.upstream(&config.endpoints);
        let now = self.deps.clock.boot();
        self.deps
            .rate_limiter
            .set_rate(config.sts_calls_per_second, now);
        upstream.set_fleet_spread(config.fleet_spread);
        if !same_endpoints {
            self.leases
                .drain(..)
                .for_each(|(_, revoked)| revoked.cancel());
        }
        let mut restored = mem::take(&mut self.deps.restored);
        let mut old = mem::take(&mut self.running);
        let (mut new, mut stopped) = (Vec::new(), Vec::new());
        for (name, profile) in config.profiles {
            let running = match old.remove(&name) {
                Some(running) if same_endpoints && *running.entry.profile == *profile => {
                    retry_refused(&running.entry);
                    running
                }
                Some(changed) => {
                    let entry = Arc::new(inherit_entry(&changed.entry, profile, same_account));
                    stopped.push(changed);
                    self.start(entry, &upstream)
                }
                None => {
                    let left = restored.take(config.endpoints.all(), &profile, now);
                    let entry = match left {
                        Some((session, asked)) => {
                            let session = self.deps.store.prepare(session);
                            ProfileEntry::from_saved(profile, session, asked)
                        }
                        None => ProfileEntry::new(profile),
                    };
                    self.start(Arc::new(entry), &upstream)
                }
            };
            new.push((name, running));
        }
        self.running = new.into_iter().collect();
        self.deps.store.replace(
            self.running
                .values()
                .map(|running| Arc::clone(&running.entry)),
        );
        for (name, running) in old {
            info!(profile = %name, "profile removed");
            stopped.push(running);
        }
        // A pending request looks its profile up again, so that the store must have the new ones.
        stopped.iter().for_each(stop_task);
        // The persisted sessions must not hold those of removed and changed profiles.
        self.renewed.notify_one();
    }

    /// Starts the task of a lease, which ends with the lease and does not survive a restart; `None`
    /// beyond the limits of a user or of all leases.
    #[must_use]
    pub fn lease(
        &mut self,
        profile: Arc<Profile>,
        until: BootTime,
        uid: u32,
    ) -> Option<LeaseHandle> {
        self.leases.retain(|(_, revoked)| !revoked.is_cancelled());
        let now = self.deps.clock.boot();
        self.recent_opens
            .retain(|(_, at)| now.since(*at) < LEASE_WINDOW);
        let held = self.leases.iter().filter(|(owner, _)| *owner == uid);
        let opened = self.recent_opens.iter().filter(|(owner, _)| *owner == uid);
        let held = held.count();
        let max_leases = match held {
            0 => MAX_LEASES,
            _ => MAX_LEASES - LEASES_FOR_NEW_USERS,
        };
        if held >= MAX_LEASES_PER_USER
            || opened.count() >= MAX_LEASES_PER_USER
            || self.leases.len() >= max_leases
        {
            return None;
        }
        self.recent_opens.push((uid, now));
        let (_, upstream) = self.upstream.as_ref()?;
        let entry = Arc::new(ProfileEntry::for_lease(profile, until));
        let revoked = CancellationToken::new();
        let refresher = self.refresher(&entry, upstream);
        let refreshing = revoked.clone().run_until_cancelled_owned(refresher.run());
        self.tasks.spawn(refreshing);
        self.leases.push((uid, revoked.clone()));
        self.lease_count += 1;
        Some(LeaseHandle {
            id: LeaseId {
                number: self.lease_count,
                owner: uid,
            },
            entry,
            revoked,
        })
    }

    /// Ends all tasks.
    pub async fn stop(self) {
        self.leases.iter().for_each(|(_, revoked)| revoked.cancel());
        for running in self.running.values() {
            running.task.abort();
        }
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Returns the clients of the endpoints, and `true` if the endpoints are unchanged.
    fn upstream(&mut self, endpoints: &Endpoints) -> (Arc<Upstream<X>>, bool) {
        if let Some((known, upstream)) = &self.upstream
            && known.all() == endpoints.all()
        {
            return (Arc::clone(upstream), true);
        }
        let deps = &self.deps;
        let client = |endpoint: &Endpoint| EndpointClient {
            host: endpoint.authority().to_owned(),
            exchange: (deps.connect)(endpoint),
        };
        let upstream = Arc::new(Upstream::new(
            endpoints.all().iter().map(client).collect(),
            Arc::clone(&deps.clock),
            Arc::clone(&deps.rate_limiter),
            Arc::clone(&self.renewed),
        ));
        self.upstream = Some((endpoints.clone(), Arc::clone(&upstream)));
        (upstream, false)
    }

    fn start(&self, entry: Arc<ProfileEntry>, upstream: &Arc<Upstream<X>>) -> Running {
        let refresher = self.refresher(&entry, upstream);
        let task = self.tasks.spawn(refresher.run()).abort_handle();
        Running { entry, task }
    }

    fn refresher(&self, entry: &Arc<ProfileEntry>, upstream: &Arc<Upstream<X>>) -> Refresher<X> {
        let deps = &self.deps;
        let jitter = schedule::jitter(&deps.machine, entry.profile.name.as_str());
        let (store, clock) = (Arc::clone(&deps.store), Arc::clone(&deps.clock));
        Refresher::new(
            Arc::clone(entry),
            Arc::clone(upstream),
            store,
            clock,
            jitter,
        )
    }
}

/// Retries a refused profile at a reload: the account may have been corrected.
fn retry_refused(entry: &ProfileEntry) {
    if entry.snapshot().is_denied() {
        entry.publish(|snapshot| snapshot.failed = None);
        entry.force_refresh();
    }
}

/// Returns the entry of a changed profile. The entry keeps the session if both profiles grant the
/// same rights: a longer duration must not make callers wait.
fn inherit_entry(old: &ProfileEntry, profile: Arc<Profile>, same_account: bool) -> ProfileEntry {
    let same_grant = same_account && profile.grants_the_same(&old.profile);
    let snapshot = old.snapshot();
    let session = snapshot.session.filter(|_| same_grant);
    // A reload wakes no idle profile, and an expired session needs no successor.
    let awake = snapshot.next_attempt.is_some();
    let wanted = awake && session.is_some() && profile.duration != old.profile.duration;
    let entry = ProfileEntry::from_previous(profile, old, session);
    if wanted {
        entry.force_refresh();
    }
    entry
}

/// Aborts a task, which drops a call in flight with its result, and notifies pending requests of the
/// removal.
fn stop_task(running: &Running) {
    running.task.abort();
    running.entry.publish(|snapshot| snapshot.removed = true);
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use jiff::{SignedDuration, Timestamp};
    use stsd_sts::{AssumeRole, Proof, RoleSession, StsError};

    use super::*;
    use crate::{
        profile::EndpointOrigin, runtime::clock::SystemClock, session::snapshot::SessionResult,
    };

    /// An exchange whose first call panics.
    struct PanickingOnce(AtomicBool);

    impl StsExchange for PanickingOnce {
        async fn exchange(
            &self,
            _: &Proof,
            _: AssumeRole<'_>,
            now: Timestamp,
        ) -> Result<RoleSession, StsError> {
            assert!(
                self.0.swap(true, Ordering::Relaxed),
                "the panic of the test"
            );
            Ok(RoleSession {
                access_key_id: "STS.X".into(),
                access_key_secret: "secret".to_owned().into(),
                security_token: "token".to_owned().into(),
                expiration: now + SignedDuration::from_hours(1),
                server_date: Some(now),
                request_id: "R".into(),
            })
        }
    }

    #[tokio::test(start_paused = true)]
    async fn panicking_task_publishes_an_error_and_restarts() {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
        let store = Arc::<Store>::default();
        let mut supervisor = Supervisor::new(SupervisorDeps {
            store: Arc::clone(&store),
            connect: Box::new(|_| PanickingOnce(AtomicBool::new(false))),
            clock: Arc::clone(&clock),
            machine: Vec::new(),
            rate_limiter: Arc::new(RateLimiter::new(1, clock.boot())),
            restored: RestoredSessions::default(),
        });
        let profile = Profile::sample();
        let config = RefreshConfig {
            endpoints: Endpoints::one(
                Endpoint::custom("http://127.0.0.1:1").unwrap(),
                EndpointOrigin::Default,
            ),
            sts_calls_per_second: 1,
            fleet_spread: Duration::ZERO,
            profiles: [(profile.name.clone(), Arc::new(profile))].into(),
        };
        supervisor.apply(config);
        let ask = |seconds| {
            let patience = Duration::from_secs(seconds);
            store.session("oss-upload", Duration::ZERO, patience, &*clock)
        };
        match ask(5).await {
            SessionResult::Failed(failed) => assert!(failed.message.contains("broke off")),
            other => panic!("{other:?}"),
        }
        assert!(matches!(ask(120).await, SessionResult::Ready(_)));
        supervisor.stop().await;
    }
}
