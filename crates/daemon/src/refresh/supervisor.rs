//! Decides which profiles have a task: one each, started and ended as the configuration
//! says. A profile that a new configuration leaves as it was keeps its task with all it
//! knows.

use std::{
    collections::BTreeMap,
    future::{Future, poll_fn},
    io, mem,
    os::fd::OwnedFd,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use stsd_secret::SecretText;
use stsd_sts::{Endpoint, StsError};
use tokio::{sync::Notify, task::AbortHandle};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{error, info};

use crate::{
    access::peer::LeaseId,
    config::Config,
    profile::{Profile, ProfileName},
    refresh::{schedule, task::Refresher},
    runtime::clock::{BootTime, Clock},
    session::{
        memfd,
        memfd::Restored,
        store::{Entry, Store},
    },
    sts::{
        rate_limit::Budget,
        upstream::{Exchange, Upstream},
    },
};

/// Each lease costs calls to STS and a thread; no user holds more of them at once, or opens
/// more of them in a minute.
const MOST_LEASES: usize = 64;

/// All users together hold no more.
const ALL_LEASES: usize = 256;

const MINUTE: Duration = Duration::from_secs(60);

/// Makes the way to an STS endpoint.
pub type Connect<X> = Box<dyn Fn(&Endpoint) -> Result<X, StsError> + Send>;

/// What a supervisor works with.
pub struct Setting<X> {
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
    pub budget: Arc<Budget>,
    /// What another process of ours has left; used by the first configuration.
    pub restored: Restored,
}

/// Starts and ends the profiles' tasks.
pub struct Supervisor<X> {
    setting: Setting<X>,
    upstream: Option<(Endpoint, Arc<Upstream<X>>)>,
    running: BTreeMap<ProfileName, Running>,
    leases: Vec<(u32, CancellationToken)>,
    leases_before: u32,
    /// Who has opened a lease lately, and when.
    opened: Vec<(u32, BootTime)>,
    tasks: TaskTracker,
    renewed: Arc<Notify>,
    generation: u64,
}

/// A place of its own for a profile, with a task that keeps it fresh until this is dropped.
pub struct Leased {
    /// Which one it is.
    pub id: LeaseId,
    /// The place.
    pub entry: Arc<Entry>,
    /// Cancelled when it cannot go on; a new endpoint does that.
    pub over: CancellationToken,
}

struct Running {
    entry: Arc<Entry>,
    task: AbortHandle,
}

impl<X: Exchange> Supervisor<X> {
    /// Prepares a supervisor that has no configuration yet.
    #[must_use]
    pub fn new(setting: Setting<X>) -> Self {
        Self {
            // What is left by us has to be newer than what was left to us.
            generation: setting.clock.boot().as_millis(),
            setting,
            upstream: None,
            running: BTreeMap::new(),
            leases: Vec::new(),
            leases_before: 0,
            opened: Vec::new(),
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
        let setting = &self.setting;
        let sealed = memfd::seal(
            &setting.store,
            endpoint,
            &*setting.clock,
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
    pub fn apply(&mut self, config: Config) -> Result<(), StsError> {
        let (upstream, same_endpoint) = self.upstream(&config.endpoint)?;
        let now = self.setting.clock.boot();
        self.setting
            .budget
            .set_rate(config.sts_calls_per_second, now);
        if !same_endpoint {
            self.leases.drain(..).for_each(|(_, over)| over.cancel());
        }
        let mut restored = mem::take(&mut self.setting.restored);
        let mut old = mem::take(&mut self.running);
        let (mut new, mut retired) = (Vec::new(), Vec::new());
        for (name, profile) in config.profiles {
            let running = match old.remove(&name) {
                Some(running) if same_endpoint && *running.entry.profile == *profile => {
                    look_again(&running.entry);
                    running
                }
                Some(changed) => {
                    let entry = Arc::new(succeed(&changed.entry, profile, same_endpoint));
                    retired.push(changed);
                    self.start(entry, &upstream)
                }
                None => {
                    let left = restored.take(&config.endpoint, &profile, now);
                    let entry = match left {
                        Some((session, asked)) => {
                            let session = self.setting.store.prepare(session);
                            Entry::restored(profile, session, asked)
                        }
                        None => Entry::new(profile),
                    };
                    self.start(Arc::new(entry), &upstream)
                }
            };
            new.push((name, running));
        }
        self.running = new.into_iter().collect();
        self.setting.store.replace(
            self.running
                .values()
                .map(|running| Arc::clone(&running.entry)),
        );
        for (name, running) in old {
            info!(profile = %name, "profile removed");
            retired.push(running);
        }
        // Who waits looks its profile up again, so the new ones have to be there.
        retired.iter().for_each(retire);
        // What was removed or changed must not come back.
        self.renewed.notify_one();
        Ok(())
    }

    /// Starts a task for a profile that is not configured, for a user who holds few of
    /// them; it ends with the lease. Nothing of it survives a restart.
    #[must_use]
    pub fn lease(&mut self, profile: Arc<Profile>, until: BootTime, uid: u32) -> Option<Leased> {
        self.leases.retain(|(_, over)| !over.is_cancelled());
        let now = self.setting.clock.boot();
        self.opened.retain(|(_, at)| now.since(*at) < MINUTE);
        let held = self.leases.iter().filter(|(owner, _)| *owner == uid);
        let opened = self.opened.iter().filter(|(owner, _)| *owner == uid);
        if held.count() >= MOST_LEASES
            || opened.count() >= MOST_LEASES
            || self.leases.len() >= ALL_LEASES
        {
            return None;
        }
        self.opened.push((uid, now));
        let (_, upstream) = self.upstream.as_ref()?;
        let entry = Arc::new(Entry::leased(profile, until));
        let over = CancellationToken::new();
        let refresher = self.refresher(&entry, upstream);
        let refreshing = over.clone().run_until_cancelled_owned(refresher.run());
        self.tasks.spawn(refreshing);
        self.leases.push((uid, over.clone()));
        self.leases_before += 1;
        Some(Leased {
            id: LeaseId {
                number: self.leases_before,
                owner: uid,
            },
            entry,
            over,
        })
    }

    /// Ends every task.
    pub async fn stop(self) {
        self.leases.iter().for_each(|(_, over)| over.cancel());
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
        let setting = &self.setting;
        let exchange = (setting.connect)(endpoint)?;
        let upstream = Arc::new(Upstream::new(
            exchange,
            Arc::clone(&setting.clock),
            Arc::clone(&setting.budget),
            Arc::clone(&self.renewed),
        ));
        self.upstream = Some((endpoint.clone(), Arc::clone(&upstream)));
        Ok((upstream, false))
    }

    fn start(&self, entry: Arc<Entry>, upstream: &Arc<Upstream<X>>) -> Running {
        let refresher = self.refresher(&entry, upstream);
        let task = self.tasks.spawn(refresher.run()).abort_handle();
        Running { entry, task }
    }

    fn refresher(&self, entry: &Arc<Entry>, upstream: &Arc<Upstream<X>>) -> Refresher<X> {
        let setting = &self.setting;
        let jitter = schedule::jitter(&setting.machine, entry.profile.name.as_str());
        let (store, clock) = (Arc::clone(&setting.store), Arc::clone(&setting.clock));
        Refresher::new(
            Arc::clone(entry),
            Arc::clone(upstream),
            store,
            clock,
            jitter,
        )
    }
}

impl Drop for Leased {
    fn drop(&mut self) {
        self.over.cancel();
    }
}

/// Does what is to be done for a profile until it ends; tells whether a bug has ended it.
pub(crate) fn panics<'a>(
    mut work: Pin<&'a mut (impl Future<Output = ()> + ?Sized)>,
) -> impl Future<Output = bool> + 'a {
    poll_fn(move |context| {
        // What is left behind is only dropped.
        let step = AssertUnwindSafe(|| work.as_mut().poll(context));
        match catch_unwind(step) {
            Ok(step) => step.map(|()| false),
            Err(_) => {
                error!("a bug ended a profile's task; it begins again");
                Poll::Ready(true)
            }
        }
    })
}

/// What was refused may be allowed now; whoever reloads wants to know.
fn look_again(entry: &Entry) {
    if entry.snapshot().refused() {
        entry.publish(|snapshot| snapshot.failed = None);
        entry.force();
    }
}

/// Makes the place of a changed profile. Its session goes on being served if it grants
/// just what the new one would: a longer duration must not make callers wait.
fn succeed(old: &Entry, profile: Arc<Profile>, same_endpoint: bool) -> Entry {
    let same_grant = same_endpoint && profile.grants_the_same(&old.profile);
    let snapshot = old.snapshot();
    let session = snapshot.session.filter(|_| same_grant);
    // A sleeper is not woken by a reload, and a session that is over needs no successor.
    let awake = snapshot.next_attempt.is_some();
    let wanted = awake && session.is_some() && profile.duration != old.profile.duration;
    let entry = Entry::succeeding(profile, old, session);
    if wanted {
        entry.force();
    }
    entry
}

/// Ends a task, and tells those who wait for its profile that it is not this one any more.
/// A call in flight is dropped with its result.
fn retire(running: &Running) {
    running.task.abort();
    running.entry.publish(|snapshot| snapshot.removed = true);
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use jiff::{SignedDuration, Timestamp};
    use stsd_sts::{AssumeRole, Proof, RoleSession};

    use super::*;
    use crate::{runtime::clock::SystemClock, session::snapshot::Outcome};

    /// Panics at the first call, and answers from then on.
    struct Fragile(AtomicBool);

    impl Exchange for Fragile {
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
        let mut supervisor = Supervisor::new(Setting {
            store: Arc::clone(&store),
            connect: Box::new(|_| Ok(Fragile(AtomicBool::new(false)))),
            clock: Arc::clone(&clock),
            machine: Vec::new(),
            budget: Arc::new(Budget::new(1, clock.boot())),
            restored: Restored::default(),
        });
        let profile = Profile::sample();
        let config = Config {
            path: Default::default(),
            endpoint: Endpoint::custom("http://127.0.0.1:1").unwrap(),
            sts_calls_per_second: 1,
            http: None,
            audit_file: None,
            files: Default::default(),
            profiles: [(profile.name.clone(), Arc::new(profile))].into(),
        };
        supervisor.apply(config).unwrap();
        let ask = |seconds| {
            let patience = Duration::from_secs(seconds);
            store.session("oss-upload", Duration::ZERO, patience, &*clock)
        };
        match ask(5).await {
            Outcome::Failed(failed) => assert!(failed.message.contains("broke off")),
            other => panic!("{other:?}"),
        }
        assert!(matches!(ask(120).await, Outcome::Ready(_)));
        supervisor.stop().await;
    }
}
