//! Decides which profiles have a task: one each, started and ended as the configuration
//! says. A profile that a new configuration leaves as it was keeps its task with all it
//! knows.

use std::{collections::BTreeMap, mem, sync::Arc};

use stsd_sts::{Endpoint, StsError};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::info;

use crate::{
    budget::Budget,
    clock::Clock,
    config::{Config, Profile},
    exchange::{Exchange, Upstream},
    profile::ProfileName,
    refresh::Refresher,
    schedule,
    store::{Entry, Store},
};

/// Makes the way to an STS endpoint.
pub type Connect<X> = Box<dyn Fn(&Endpoint) -> Result<X, StsError> + Send>;

/// Starts and ends the profiles' tasks.
pub struct Supervisor<X> {
    store: Arc<Store>,
    connect: Connect<X>,
    clock: Arc<dyn Clock>,
    /// What tells this machine from others.
    machine: Vec<u8>,
    budget: Arc<Budget>,
    upstream: Option<(Endpoint, Arc<Upstream<X>>)>,
    running: BTreeMap<ProfileName, Running>,
    tasks: TaskTracker,
}

struct Running {
    entry: Arc<Entry>,
    stop: CancellationToken,
}

impl<X: Exchange> Supervisor<X> {
    /// Prepares a supervisor that has no configuration yet. `machine` spreads the renewals
    /// of machines that were started together.
    #[must_use]
    pub fn new(
        store: Arc<Store>,
        connect: Connect<X>,
        clock: Arc<dyn Clock>,
        machine: Vec<u8>,
        budget: Arc<Budget>,
    ) -> Self {
        Self {
            store,
            connect,
            clock,
            machine,
            budget,
            upstream: None,
            running: BTreeMap::new(),
            tasks: TaskTracker::new(),
        }
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
        self.budget
            .set_rate(config.sts_calls_per_second, self.clock.boot());
        let mut old = mem::take(&mut self.running);
        let mut retired = Vec::new();
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
                None => self.start(Arc::new(Entry::new(profile)), &upstream),
            };
            self.running.insert(name, running);
        }
        self.store.replace(
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
        Ok(())
    }

    /// Ends every task.
    pub async fn stop(self) {
        for running in self.running.values() {
            running.stop.cancel();
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
        let exchange = (self.connect)(endpoint)?;
        let (clock, budget) = (Arc::clone(&self.clock), Arc::clone(&self.budget));
        let upstream = Arc::new(Upstream::new(exchange, clock, budget));
        self.upstream = Some((endpoint.clone(), Arc::clone(&upstream)));
        Ok((upstream, false))
    }

    fn start(&self, entry: Arc<Entry>, upstream: &Arc<Upstream<X>>) -> Running {
        let stop = CancellationToken::new();
        let refresher = Refresher::new(
            Arc::clone(&entry),
            Arc::clone(upstream),
            Arc::clone(&self.clock),
            schedule::jitter(&self.machine, entry.profile.name.as_str()),
        );
        self.tasks.spawn(refresher.run(stop.clone()));
        Running { entry, stop }
    }
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
    let session = old.snapshot().session.filter(|_| same_grant);
    Entry::succeeding(profile, old, session)
}

/// Ends a task, and tells those who wait for its profile that it is not this one any more.
/// A call in flight is dropped with its result.
fn retire(running: &Running) {
    running.stop.cancel();
    running.entry.publish(|snapshot| snapshot.removed = true);
}
