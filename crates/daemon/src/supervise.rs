//! Decides which profiles have a task: one each, started and ended as the configuration
//! says. A profile that a new configuration leaves as it was keeps its session.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::{Arc, atomic::Ordering},
};

use stsd_sts::{Endpoint, StsError};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::info;

use crate::{
    clock::Clock,
    config::Config,
    profile::ProfileName,
    refresh::{Exchange, Refresher},
    store::{Cause, Entry, Store},
};

/// Starts and ends the profiles' tasks.
pub(crate) struct Supervisor<X> {
    store: Arc<Store>,
    connect: fn(&Endpoint) -> Result<X, StsError>,
    clock: Arc<dyn Clock>,
    running: BTreeMap<ProfileName, Running>,
    endpoint: Option<Endpoint>,
    tasks: TaskTracker,
}

struct Running {
    entry: Arc<Entry>,
    stop: CancellationToken,
}

impl<X: Exchange> Supervisor<X> {
    pub(crate) fn new(
        store: Arc<Store>,
        connect: fn(&Endpoint) -> Result<X, StsError>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            store,
            connect,
            clock,
            running: BTreeMap::new(),
            endpoint: None,
            tasks: TaskTracker::new(),
        }
    }

    /// Puts a configuration in force. A profile that stayed the same, at the same endpoint,
    /// keeps its task with all it knows; the others start anew, without a session that was
    /// made for something else.
    pub(crate) fn apply(&mut self, config: Config) -> Result<(), StsError> {
        let exchange = Arc::new((self.connect)(&config.endpoint)?);
        let mut old = std::mem::take(&mut self.running);
        let same_endpoint = self.endpoint.as_ref() == Some(&config.endpoint);
        self.endpoint = Some(config.endpoint);
        for (name, profile) in config.profiles {
            match old.remove(&name) {
                Some(running) if same_endpoint && *running.entry.profile == *profile => {
                    look_again(&running.entry);
                    self.running.insert(name, running);
                    continue;
                }
                changed => retire(changed),
            }
            let entry = Arc::new(Entry::new(profile));
            let stop = CancellationToken::new();
            let refresher = Refresher::new(
                Arc::clone(&entry),
                Arc::clone(&exchange),
                Arc::clone(&self.clock),
                jitter(&name),
            );
            self.tasks.spawn(refresher.run(stop.clone()));
            self.running.insert(name, Running { entry, stop });
        }
        self.store.replace(
            self.running
                .values()
                .map(|running| Arc::clone(&running.entry)),
        );
        for (name, running) in old {
            info!(profile = %name, "profile removed");
            retire(Some(running));
        }
        Ok(())
    }

    /// Ends every task.
    pub(crate) async fn stop(self) {
        for running in self.running.values() {
            running.stop.cancel();
        }
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// What was refused may be allowed now; whoever reloads wants to know.
fn look_again(entry: &Entry) {
    let failed = entry.snapshot().failed;
    if failed.is_some_and(|failed| failed.cause == Cause::Denied) {
        entry.publish(|snapshot| snapshot.failed = None);
        entry.forced.store(true, Ordering::Relaxed);
        entry.wake.notify_one();
    }
}

/// Ends a task, and tells those who wait for its profile that it is not this one any more.
/// A call in flight is dropped with its result.
fn retire(running: Option<Running>) {
    if let Some(running) = running {
        running.stop.cancel();
        running.entry.publish(|snapshot| snapshot.removed = true);
    }
}

/// A number from 0 to 1 that is always the same for a profile on a machine, and spread
/// over machines, so that hosts booted together do not meet at STS.
fn jitter(name: &ProfileName) -> f64 {
    let mut hasher = DefaultHasher::new();
    std::fs::read("/etc/machine-id")
        .unwrap_or_default()
        .hash(&mut hasher);
    name.hash(&mut hasher);
    f64::from(hasher.finish() as u32) / f64::from(u32::MAX)
}
