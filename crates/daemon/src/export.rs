//! Decides what becomes of a profile's sessions besides being asked for, where the
//! configuration wants that: a file holds the newest one, a command is run after each
//! renewal. One task a profile, beside the one that renews; what it runs into costs the file
//! and nobody who asks.

pub mod file;

use std::{
    collections::BTreeMap,
    ffi::OsString,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{sync::watch, task::JoinHandle, time::sleep};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use self::file::Keeper;
use crate::{
    config::{Config, Mistakes},
    profile::{Plan, ProfileName},
    refresh::{schedule, supervisor},
    runtime::{child_process, clock::Clock},
    session::{
        snapshot::Session,
        store::{Entry, Store},
    },
};

/// How long a command may take.
const BOUND: Duration = Duration::from_secs(30);

const UNWRITTEN: &str = "its file cannot be written; the daemon's log says why and what to do";

/// Variables that a command gets.
pub type Environment = Vec<(OsString, OsString)>;

/// The files and commands of all profiles.
pub struct Sinks {
    clock: Arc<dyn Clock>,
    environment: Arc<Environment>,
    /// Files stay when their tasks end.
    leave: Arc<AtomicBool>,
    running: BTreeMap<ProfileName, Running>,
}

struct Running {
    plan: Plan,
    /// The profile's place, which a reload may exchange.
    place: watch::Sender<Arc<Entry>>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// What the task of one profile works with.
#[derive(Clone)]
struct Sink {
    plan: Plan,
    place: watch::Receiver<Arc<Entry>>,
    clock: Arc<dyn Clock>,
    environment: Arc<Environment>,
    leave: Arc<AtomicBool>,
}

impl Sinks {
    /// Prepares for profiles that may want a file or a command.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, environment: Arc<Environment>) -> Self {
        Self {
            clock,
            environment,
            leave: Arc::default(),
            running: BTreeMap::new(),
        }
    }

    /// Has the tasks be those that the profiles in the store want. A file that is not wanted
    /// any more goes; one that is stays, whatever else of its profile has changed, if its
    /// session does.
    pub fn follow(&mut self, store: &Store) {
        let mut old = std::mem::take(&mut self.running);
        let planned = |entry: Arc<Entry>| Some((entry.profile.sink.as_deref()?.clone(), entry));
        let wanted: Vec<_> = store.all().into_iter().filter_map(planned).collect();
        for (plan, entry) in &wanted {
            let name = &entry.profile.name;
            if old.get(name).is_some_and(|it| it.plan == *plan)
                && let Some(running) = old.remove(name)
            {
                running.place.send_if_modified(|place| {
                    let changed = !Arc::ptr_eq(place, entry);
                    *place = Arc::clone(entry);
                    changed
                });
                self.running.insert(name.clone(), running);
            }
        }
        let mut ending: Vec<_> = old.into_values().map(Running::end).collect();
        for (plan, entry) in wanted {
            if !self.running.contains_key(&entry.profile.name) {
                // Whoever had the file before takes it away first.
                let path = plan.file.as_ref().map(|it| &it.path);
                let before = ending.iter().position(|(its, _)| its.as_ref() == path);
                let before = before.map(|index| ending.swap_remove(index).1);
                let name = entry.profile.name.clone();
                let running = self.start(plan, entry, before);
                self.running.insert(name, running);
            }
        }
    }

    /// Ends every task; the files go, or stay for a program that takes our place.
    pub async fn stop(self, leave: bool) {
        self.leave.store(leave, Ordering::Relaxed);
        let tasks: Vec<_> = self.running.into_values().map(Running::end).collect();
        for (_, task) in tasks {
            let _ = task.await;
        }
    }

    fn start(&self, plan: Plan, entry: Arc<Entry>, before: Option<JoinHandle<()>>) -> Running {
        let (place, its_place) = watch::channel(entry);
        let sink = Sink {
            plan: plan.clone(),
            place: its_place,
            clock: Arc::clone(&self.clock),
            environment: Arc::clone(&self.environment),
            leave: Arc::clone(&self.leave),
        };
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            if let Some(before) = before {
                let _ = before.await;
            }
            while supervisor::panics(pin!(sink.clone().run(&stopped))).await
                && !stopped.is_cancelled()
            {
                let rest = sleep(schedule::BACKOFF_CAP);
                stopped.run_until_cancelled(rest).await;
            }
        });
        Running {
            plan,
            place,
            stop,
            task,
        }
    }
}

impl Running {
    fn end(self) -> (Option<std::path::PathBuf>, JoinHandle<()>) {
        self.stop.cancel();
        (self.plan.file.map(|it| it.path), self.task)
    }
}

impl Sink {
    async fn run(self, stop: &CancellationToken) {
        // Somebody was told of a session that was there before us, if anybody wanted that.
        let now = self.clock.boot();
        let before = self.place.borrow().snapshot();
        let before = before.serving(Duration::ZERO, now).cloned();
        let (out, news) = watch::channel(before);
        tokio::join!(self.keep_file(&out, stop), self.keep_telling(news, stop));
    }

    /// Has the file hold the newest session that lives, until `stop`; says in `out` which one
    /// is to be had now.
    async fn keep_file(&self, out: &watch::Sender<Option<Arc<Session>>>, stop: &CancellationToken) {
        let mut keeper = self.plan.file.clone().map(Keeper::new);
        let mut place = self.place.clone();
        let mut entry = Arc::clone(&place.borrow_and_update());
        let mut changes = entry.subscribe();
        while !stop.is_cancelled() {
            let now = self.clock.boot();
            let session = changes.look().serving(Duration::ZERO, now).cloned();
            let left = |it: &Arc<Session>| it.lifetime.remaining(now);
            let mut pause = Duration::MAX;
            let mut written = true;
            if let Some(keeper) = &mut keeper {
                let failures = keeper
                    .settle(session.as_ref(), &entry.profile.name, now)
                    .await;
                written = failures == 0;
                if !written {
                    let retry = schedule::retry_pause(failures, None, None, fastrand::f64());
                    pause = pause.min(retry);
                }
                // What is there may be older than what should be.
                pause = keeper.held().map(left).map_or(pause, |it| it.min(pause));
                entry.remark((!written).then_some(UNWRITTEN));
            }
            pause = session.as_ref().map(left).map_or(pause, |it| it.min(pause));
            if written && let Some(session) = session {
                out.send_if_modified(|told| {
                    let news = !told.as_ref().is_some_and(|it| Arc::ptr_eq(it, &session));
                    *told = Some(session);
                    news
                });
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                Ok(()) = place.changed() => {
                    entry = Arc::clone(&place.borrow_and_update());
                    changes = entry.subscribe();
                }
                () = changes.changed() => {}
                () = self.clock.nap(pause) => {}
            }
        }
        if let Some(keeper) = &mut keeper
            && !self.leave.load(Ordering::Relaxed)
        {
            let now = self.clock.boot();
            keeper.settle(None, &entry.profile.name, now).await;
        }
    }

    /// Runs the command for each new session, one at a time; what comes while one runs is
    /// told once, after it.
    async fn keep_telling(
        &self,
        mut news: watch::Receiver<Option<Arc<Session>>>,
        stop: &CancellationToken,
    ) {
        let Some((program, arguments)) = self.plan.command.split_first() else {
            return;
        };
        let name = self.place.borrow().profile.name.clone();
        let mut said = None;
        let tell = async {
            while news.changed().await.is_ok() {
                let mut command = std::process::Command::new(program);
                command.args(arguments).env_clear();
                command.envs(self.environment.iter().map(|(name, value)| (name, value)));
                command.env("STSD_PROFILE", name.as_str());
                let failed = child_process::run(command, BOUND).await.err();
                let failed = failed.map(|it| it.to_string());
                if let Some(failed) = failed.as_ref().filter(|it| said.as_ref() != Some(*it)) {
                    warn!(profile = %name, "on_renewal: {failed}");
                }
                said = failed;
            }
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = tell => {}
        }
    }
}

/// Tries whether the files of a configuration can be written by us, as we are confined.
///
/// # Errors
/// [`Mistakes`], one for each that cannot.
pub fn try_out(config: &Config) -> Result<(), Mistakes> {
    let tried = config.files.iter().filter_map(|named| {
        let error = file::try_out(&named.path).err()?;
        Some(config.refuse(named, &error, error.hint()))
    });
    match tried.collect::<Vec<_>>() {
        none if none.is_empty() => Ok(()),
        mistakes => Err(Mistakes(mistakes)),
    }
}
