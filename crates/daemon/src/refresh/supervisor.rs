//! Decides which profiles have a task: one each, started and ended as the configuration
//! says. A profile that a new configuration leaves as it was keeps its task with all it
//! knows.

use std::{collections::BTreeMap, io, mem, os::fd::OwnedFd, sync::Arc, time::Duration};

use stsd_secret::SecretText;
use stsd_sts::{Endpoint, StsError};
use tokio::{sync::Notify, task::AbortHandle};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::info;

use crate::{
    access::peer::LeaseId,
    profile::{Profile, ProfileName},
    refresh::{schedule, task::Refresher},
    runtime::clock::{BootTime, Clock},
    session::{
        lease::LeaseHandle,
        memfd,
        memfd::RestoredSessions,
        store::{ProfileEntry, Store},
    },
    sts::{
        rate_limit::RateLimiter,
        upstream::{StsExchange, Upstream},
    },
};

/// Each lease costs calls to STS and a thread; no user holds more of them at once, or opens
/// more of them in a minute.
const MAX_LEASES_PER_USER: usize = 64;

/// All users together hold no more.
const MAX_LEASES: usize = 256;

const LEASE_WINDOW: Duration = Duration::from_secs(60);

/// Makes the way to an STS endpoint.
pub type Connect<X> = Box<dyn Fn(&Endpoint) -> Result<X, StsError> + Send>;

/// What a supervisor works with.
pub struct SupervisorDeps<X> {
    /// Where sessions go.
    pub store: Arc<Store>,
    /// Makes the way to an STS endpoint.
    pub connect: Connect<X>,
    /// What the time is.
    pub clock: Arc<dyn Clock>,
    /// What tells this machine from others, so that machines that were started together do
    /// not renew together.
    pub machine: Vec<u8>,
    /// What limits the calls to STS.
    pub rate_limiter: Arc<RateLimiter>,
    /// What another process of ours has left; used by the first configuration.
    pub restored: RestoredSessions,
}

/// The part of a configuration that the supervisor applies.
#[derive(Debug, Clone)]
pub struct RefreshConfig {
    /// The endpoint of STS.
    pub endpoint: Endpoint,
    /// The rate limit of the calls to STS.
    pub sts_calls_per_second: u32,
    /// The profiles.
    pub profiles: BTreeMap<ProfileName, Arc<Profile>>,
}

/// Starts and ends the profiles' tasks.
pub struct Supervisor<X> {
    deps: SupervisorDeps<X>,
    upstream: Option<(Endpoint, Arc<Upstream<X>>)>,
    running: BTreeMap<ProfileName, Running>,
    leases: Vec<(u32, CancellationToken)>,
    lease_count: u32,
    /// Who has opened a lease lately, and when.
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
    /// Prepares a supervisor that has no configuration yet.
    #[must_use]
    pub fn new(deps: SupervisorDeps<X>) -> Self {
        Self {
            // What is left by us has to be newer than what was left to us.
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

    /// Rings when a session was renewed.
    #[must_use]
    pub fn renewed(&self) -> Arc<Notify> {
        Arc::clone(&self.renewed)
    }

    /// Writes all sessions that live, and what opens the URLs, for another process of ours.
    ///
    /// # Errors
    /// When the system has no memory for it.
    pub fn seal(&mut self, url_secret: SecretText) -> io::Result<Option<OwnedFd>> {
        let Some((endpoint, _)) = &self.upstream else {
            return Ok(None);
        };
        self.generation += 1;
        let deps = &self.deps;
        let sealed = memfd::seal(
            &deps.store,
            endpoint,
            &*deps.clock,
            self.generation,
            url_secret,
        );
        sealed.map(Some)
    }

    /// Puts a configuration in force. A profile that stayed the same, at the same endpoint,
    /// keeps its task; the others start anew, without a session that was made for
    /// something else.
    ///
    /// # Errors
    /// [`StsError`] when the way to a new endpoint cannot be set up; then what was in force
    /// stays in force.
    pub fn apply(&mut self, config: RefreshConfig) -> Result<(), StsError> {
        let (upstream, same_endpoint) = self.upstream(&config.endpoint)?;
        let now = self.deps.clock.boot();
        self.deps
            .rate_limiter
            .set_rate(config.sts_calls_per_second, now);
        if !same_endpoint {
            self.leases
                .drain(..)
                .for_each(|(_, revoked)| revoked.cancel());
        }
        let mut restored = mem::take(&mut self.deps.restored);
        let mut old = mem::take(&mut self.running);
        let (mut new, mut stopped) = (Vec::new(), Vec::new());
        for (name, profile) in config.profiles {
            let running = match old.remove(&name) {
                Some(running) if same_endpoint && *running.entry.profile == *profile => {
                    retry_refused(&running.entry);
                    running
                }
                Some(changed) => {
                    let entry = Arc::new(inherit_entry(&changed.entry, profile, same_endpoint));
                    stopped.push(changed);
                    self.start(entry, &upstream)
                }
                None => {
                    let left = restored.take(&config.endpoint, &profile, now);
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
        // Who waits looks its profile up again, so the new ones have to be there.
        stopped.iter().for_each(stop_task);
        // What was removed or changed must not come back.
        self.renewed.notify_one();
        Ok(())
    }

    /// Starts a task for a profile that is not configured, for a user who holds few of
    /// them; it ends with the lease. Nothing of it survives a restart.
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
        if held.count() >= MAX_LEASES_PER_USER
            || opened.count() >= MAX_LEASES_PER_USER
            || self.leases.len() >= MAX_LEASES
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

    /// Ends every task.
    pub async fn stop(self) {
        self.leases.iter().for_each(|(_, revoked)| revoked.cancel());
        for running in self.running.values() {
            running.task.abort();
        }
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Returns the way to an endpoint, and whether it is the one that was used so far.
    fn upstream(&mut self, endpoint: &Endpoint) -> Result<(Arc<Upstream<X>>, bool), StsError> {
        if let Some((known, upstream)) = &self.upstream
            && known == endpoint
        {
            return Ok((Arc::clone(upstream), true));
        }
        let deps = &self.deps;
        let exchange = (deps.connect)(endpoint)?;
        let upstream = Arc::new(Upstream::new(
            exchange,
            Arc::clone(&deps.clock),
            Arc::clone(&deps.rate_limiter),
            Arc::clone(&self.renewed),
        ));
        self.upstream = Some((endpoint.clone(), Arc::clone(&upstream)));
        Ok((upstream, false))
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

/// What was refused may be allowed now; whoever reloads wants to know.
fn retry_refused(entry: &ProfileEntry) {
    if entry.snapshot().refused() {
        entry.publish(|snapshot| snapshot.failed = None);
        entry.force_refresh();
    }
}

/// Makes the place of a changed profile. Its session goes on being served if it grants
/// just what the new one would: a longer duration must not make callers wait.
fn inherit_entry(old: &ProfileEntry, profile: Arc<Profile>, same_endpoint: bool) -> ProfileEntry {
    let same_grant = same_endpoint && profile.grants_the_same(&old.profile);
    let snapshot = old.snapshot();
    let session = snapshot.session.filter(|_| same_grant);
    // A sleeper is not woken by a reload, and a session that is over needs no successor.
    let awake = snapshot.next_attempt.is_some();
    let wanted = awake && session.is_some() && profile.duration != old.profile.duration;
    let entry = ProfileEntry::from_previous(profile, old, session);
    if wanted {
        entry.force_refresh();
    }
    entry
}

/// Ends a task, and tells those who wait for its profile that it is not this one any more.
/// A call in flight is dropped with its result.
fn stop_task(running: &Running) {
    running.task.abort();
    running.entry.publish(|snapshot| snapshot.removed = true);
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use jiff::{SignedDuration, Timestamp};
    use stsd_sts::{AssumeRole, Proof, RoleSession};

    use super::*;
    use crate::{runtime::clock::SystemClock, session::snapshot::SessionResult};

    /// Panics at the first call, and answers from then on.
    struct Fragile(AtomicBool);

    impl StsExchange for Fragile {
        async fn exchange(
            &self,
            _: &Proof,
            _: AssumeRole<'_>,
            now: Timestamp,
        ) -> Result<RoleSession, StsError> {
            assert!(self.0.swap(true, Ordering::Relaxed), "the planted bug");
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
    async fn a_task_that_a_bug_ends_says_so_and_begins_again() {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
        let store = Arc::<Store>::default();
        let mut supervisor = Supervisor::new(SupervisorDeps {
            store: Arc::clone(&store),
            connect: Box::new(|_| Ok(Fragile(AtomicBool::new(false)))),
            clock: Arc::clone(&clock),
            machine: Vec::new(),
            rate_limiter: Arc::new(RateLimiter::new(1, clock.boot())),
            restored: RestoredSessions::default(),
        });
        let profile = Profile::sample();
        let config = RefreshConfig {
            endpoint: Endpoint::custom("http://127.0.0.1:1").unwrap(),
            sts_calls_per_second: 1,
            profiles: [(profile.name.clone(), Arc::new(profile))].into(),
        };
        supervisor.apply(config).unwrap();
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
