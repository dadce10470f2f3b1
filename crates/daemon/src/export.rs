//! The exports of a profile: a file that holds the newest session, a command that runs after each
//! renewal, and one that runs when renewals begin to fail. Each exported profile has a task of its own, so that a failure delays no renewal and no
//! caller.

mod failure_watch;
mod file;
mod hook;

use std::{
    collections::BTreeMap,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{sync::watch, task::JoinHandle, time::sleep};
use tokio_util::sync::CancellationToken;

use self::{
    failure_watch::{Failure, FailureWatch},
    file::CredentialsFile,
    hook::Hook,
};
use crate::{
    profile::{ExportConfig, ProfileName},
    runtime::{
        backoff::{MAX_BACKOFF, retry_backoff},
        clock::Clock,
        panic::catch_panic,
        program::{Program, ProgramContext},
    },
    session::{profile_entry::ProfileEntry, snapshot::Session, store::Store},
};

/// The export error of a profile whose file is not up to date.
const UNWRITTEN_HINT: &str =
    "its file cannot be written; the daemon's log has the error and a hint";

/// The export error of a profile whose file another daemon writes too.
const CONTENDED_HINT: &str =
    "another process writes its file too; give each daemon a file of its own";

/// The exports of all profiles.
pub struct Exporters {
    clock: Arc<dyn Clock>,
    programs: Arc<ProgramContext>,
    /// Keep the files when their tasks end.
    keep_files: Arc<AtomicBool>,
    running: BTreeMap<ProfileName, Running>,
}

struct Running {
    plan: ExportConfig,
    /// The profile's entry, which a reload may replace.
    entry: watch::Sender<Arc<ProfileEntry>>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// The exports of one profile.
#[derive(Clone)]
struct Exporter {
    plan: ExportConfig,
    entry: watch::Receiver<Arc<ProfileEntry>>,
    clock: Arc<dyn Clock>,
    programs: Arc<ProgramContext>,
    keep_files: Arc<AtomicBool>,
}

impl Exporters {
    /// Returns exports without a profile.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, programs: Arc<ProgramContext>) -> Self {
        Self {
            clock,
            programs,
            keep_files: Arc::default(),
            running: BTreeMap::new(),
        }
    }

    /// Starts and stops tasks according to the profiles in the store. The task of an export that is
    /// no longer configured removes its file. An unchanged export keeps its task, whatever else of
    /// its profile has changed.
    pub fn sync_with(&mut self, store: &Store) {
        let mut old = std::mem::take(&mut self.running);
        let planned =
            |entry: Arc<ProfileEntry>| Some((entry.profile.export.as_deref()?.clone(), entry));
        let wanted: Vec<_> = store.all().into_iter().filter_map(planned).collect();
        for (plan, entry) in &wanted {
            let name = &entry.profile.name;
            if old.get(name).is_some_and(|it| it.plan == *plan)
                && let Some(running) = old.remove(name)
            {
                running.entry.send_if_modified(|entry_sender| {
                    let changed = !Arc::ptr_eq(entry_sender, entry);
                    *entry_sender = Arc::clone(entry);
                    changed
                });
                self.running.insert(name.clone(), running);
            }
        }
        let mut ending: Vec<_> = old.into_values().map(Running::end).collect();
        for (plan, entry) in wanted {
            if !self.running.contains_key(&entry.profile.name) {
                // The previous task with the same file removes the file first.
                let path = plan.file.as_ref().map(|it| &it.path);
                let before = ending.iter().position(|(its, _)| its.as_ref() == path);
                let before = before.map(|index| ending.swap_remove(index).1);
                let name = entry.profile.name.clone();
                let running = self.start(plan, entry, before);
                self.running.insert(name, running);
            }
        }
    }

    /// Stops all tasks, which remove their files; `keep_files` keeps them for the next program.
    pub async fn stop(self, keep_files: bool) {
        self.keep_files.store(keep_files, Ordering::Relaxed);
        let tasks: Vec<_> = self.running.into_values().map(Running::end).collect();
        for (_, task) in tasks {
            let _ = task.await;
        }
    }

    fn start(
        &self,
        plan: ExportConfig,
        entry: Arc<ProfileEntry>,
        before: Option<JoinHandle<()>>,
    ) -> Running {
        let (entry_sender, entry_watch) = watch::channel(entry);
        let exporter = Exporter {
            plan: plan.clone(),
            entry: entry_watch,
            clock: Arc::clone(&self.clock),
            programs: Arc::clone(&self.programs),
            keep_files: Arc::clone(&self.keep_files),
        };
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            if let Some(before) = before {
                let _ = before.await;
            }
            while catch_panic(pin!(exporter.clone().run(&stopped))).await && !stopped.is_cancelled()
            {
                let rest = sleep(MAX_BACKOFF);
                stopped.run_until_cancelled(rest).await;
            }
        });
        Running {
            plan,
            entry: entry_sender,
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

impl Exporter {
    async fn run(self, stop: &CancellationToken) {
        // The previous process has run the command for a session that was there before this task.
        let now = self.clock.boot();
        let before = self.entry.borrow().snapshot();
        let before = before.usable_for(Duration::ZERO, now).cloned();
        let (out, news) = watch::channel(before);
        let (failing, failures) = watch::channel(None);
        let hooks = async {
            tokio::join!(self.run_on_renewal(news), self.run_on_failure(failures));
        };
        tokio::join!(
            self.maintain_file(&out, &failing, stop),
            stop.run_until_cancelled(hooks)
        );
    }

    /// Keeps the newest valid session in the file until `stop`. Sends each exported session to `out`, and
    /// the beginning of each outage to `failing`.
    async fn maintain_file(
        &self,
        out: &watch::Sender<Option<Arc<Session>>>,
        failing: &watch::Sender<Option<Failure>>,
        stop: &CancellationToken,
    ) {
        let mut failure_watch = FailureWatch::default();
        let mut file = self.plan.file.clone().map(CredentialsFile::new);
        let mut entry_sender = self.entry.clone();
        let mut entry = Arc::clone(&entry_sender.borrow_and_update());
        let mut changes = entry.subscribe();
        while !stop.is_cancelled() {
            let now = self.clock.boot();
            let session = changes.latest().usable_for(Duration::ZERO, now).cloned();
            if let Some(failure) = failure_watch.look(&changes.latest()) {
                failing.send_replace(Some(failure));
            }
            let left = |it: &Arc<Session>| it.lifetime.remaining(now);
            let mut pause = Duration::MAX;
            let mut written = true;
            if let Some(file) = &mut file {
                let failures = file.sync(session.as_ref(), &entry.profile.name, now).await;
                written = failures == 0;
                if !written {
                    let retry = retry_backoff(failures, None, fastrand::f64());
                    pause = pause.min(retry);
                }
                // After a failure, the session in the file may be older than the newest one.
                pause = file.current().map(left).map_or(pause, |it| it.min(pause));
                entry.set_export_error(match (written, file.is_contended()) {
                    (false, _) => Some(UNWRITTEN_HINT),
                    (true, true) => Some(CONTENDED_HINT),
                    (true, false) => None,
                });
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
                Ok(()) = entry_sender.changed() => {
                    entry = Arc::clone(&entry_sender.borrow_and_update());
                    changes = entry.subscribe();
                }
                () = changes.changed() => {}
                () = self.clock.sleep_at_most(pause) => {}
            }
        }
        if let Some(file) = &mut file
            && !self.keep_files.load(Ordering::Relaxed)
        {
            let now = self.clock.boot();
            file.sync(None, &entry.profile.name, now).await;
        }
    }

    /// Returns the state of a command. The program may also write to the directory of the profile's file.
    fn hook(&self, key: &'static str, program: Option<&Program>) -> Option<Hook> {
        let mut program = program?.clone();
        let file = self.plan.file.as_ref();
        let directory = file.and_then(|it| it.path.parent());
        program.writable.extend(directory.map(Into::into));
        let profile = self.entry.borrow().profile.name.clone();
        Some(Hook::new(key, program, profile))
    }

    /// Runs the command for each new session, one run at a time. All sessions that arrive during a run
    /// cause one further run.
    async fn run_on_renewal(&self, mut news: watch::Receiver<Option<Arc<Session>>>) {
        let Some(mut hook) = self.hook("on_renewal", self.plan.on_renewal.as_ref()) else {
            return;
        };
        while news.changed().await.is_ok() {
            hook.run(&self.programs, &[]).await;
        }
    }

    /// Runs the command for each outage, one run at a time.
    async fn run_on_failure(&self, mut failures: watch::Receiver<Option<Failure>>) {
        let Some(mut hook) = self.hook("on_failure", self.plan.on_failure.as_ref()) else {
            return;
        };
        while failures.changed().await.is_ok() {
            let Some(failure) = *failures.borrow_and_update() else {
                continue;
            };
            let variables = failure.variables(self.clock.boot());
            hook.run(&self.programs, &variables).await;
        }
    }
}
