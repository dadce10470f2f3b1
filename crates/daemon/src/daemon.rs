//! The daemon: it applies configurations and runs until a signal or an upgrade ends it.

mod dependencies;
mod endpoint_report;
mod exit;
mod handover;
mod runtime_files;

use std::{
    future::pending,
    io,
    net::TcpListener,
    os::fd::OwnedFd,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use stsd_sts::Proxies;
use tokio::{
    net::UnixListener,
    sync::mpsc,
    task::{JoinHandle, spawn_blocking},
    time::sleep,
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use self::handover::Handover;
pub use self::{
    dependencies::{Dependencies, PersistSessions},
    exit::{ExitReason, RunError},
    runtime_files::check_runtime_files,
};
use crate::{
    access::Access,
    audit::Audit,
    config::{Config, ConfigErrors, ReloadTrigger},
    export::Exporters,
    platform::{signals::ControlSignals, systemd::NotifySocket},
    refresh::supervisor::{RefreshConfig, Supervisor, SupervisorDeps},
    runtime::{
        change_watch::ChangeWatch,
        conditions::{Condition, Conditions},
        listener::Protocol,
        protection_report::SecretPages,
    },
    serve,
    serve::{
        ServeError,
        connection_limit::{ConnectionLimiter, UserQuota},
        context::{ServerContext, StatusContext, SupervisorCommand},
        http,
        http::{HttpEndpoint, RotateError},
        metrics::MetricsListener,
        socket,
        socket::{ReactorHandle, ReactorThread},
    },
    session::store::Store,
    sts::{rate_limit::RateLimiter, upstream::StsExchange},
};

/// Pause for further renewals before all sessions are persisted.
const PERSIST_DEBOUNCE: Duration = Duration::from_millis(50);

/// The parts of the running daemon.
struct Daemon<X> {
    context: Arc<ServerContext>,
    supervisor: Supervisor<X>,
    exporters: Exporters,
    metrics: MetricsListener,
    signals: ControlSignals,
    load: Box<dyn Fn() -> Result<Config, ConfigErrors> + Send>,
    config_watch: Arc<ChangeWatch>,
    handover: Handover,
    store_http_socket: fn(Option<&TcpListener>) -> io::Result<()>,
    check_successor: Arc<dyn Fn() -> io::Result<()> + Send + Sync>,
    conditions: Arc<Conditions>,
    proxies: Arc<Proxies>,
}

/// Runs the daemon with `config` until a stop or an upgrade, then waits for its connections to end.
///
/// # Errors
/// [`RunError`]: before the first connection is accepted, or because the daemon cannot answer requests
/// any more.
pub async fn run<X: StsExchange>(
    config: Config,
    listeners: mpsc::Receiver<(Protocol, UnixListener)>,
    dependencies: Dependencies<X>,
) -> Result<ExitReason, RunError> {
    let (sender, commands) = mpsc::channel(16);
    let (path, restored) = (config.path.clone(), dependencies.restored.len());
    let fragments = config.fragments.len();
    let mut daemon = Daemon::new(&config, sender, dependencies)?;
    daemon.config_watch.set_read(config.read_files.clone());
    daemon.apply(config)?;
    let context = Arc::clone(&daemon.context);
    let reactor = ReactorHandle::new();
    let reactor = Arc::new(reactor.map_err(failed("the epoll set cannot be created"))?);
    // Joined when this function returns, which is before an upgrade replaces the program.
    let mut event_loop = socket::start_event_loop(&reactor, Arc::clone(&context.clock))
        .map_err(failed("the thread of the event loop cannot be started"))?;
    // Nothing after this line can end the start.
    info!(
        config = %path.display(),
        fragments,
        restored,
        "stsd {} is ready", env!("CARGO_PKG_VERSION")
    );
    NotifySocket::ready(&daemon.service_status());
    let serving = serve::serve(listeners, context, reactor, daemon.signals.stop.clone());
    let outcome = daemon
        .handle_events(commands, serving, &mut event_loop)
        .await;
    let exit_reason = daemon.shut_down(matches!(outcome, Ok(true))).await;
    outcome.map(|_| exit_reason)
}

impl<X: StsExchange> Daemon<X> {
    /// Returns the daemon before its first configuration; `config` has the limits that no reload
    /// changes.
    fn new(
        config: &Config,
        commands: mpsc::Sender<SupervisorCommand>,
        dependencies: Dependencies<X>,
    ) -> Result<Self, RunError> {
        let (access, clock) = (dependencies.access, dependencies.clock);
        let conditions = dependencies.conditions;
        let store = Arc::new(Store::with_encoder(socket::encode_reply));
        let rate_limiter = Arc::new(RateLimiter::new(config.sts_calls_per_second, clock.boot()));
        let [counted, timed] = [&rate_limiter, &rate_limiter].map(Arc::clone);
        let status = StatusContext {
            deferred_calls: Box::new(move || counted.deferred_calls()),
            deferred_time: Box::new(move || timed.deferred_time()),
            protections: dependencies.protections,
            conditions: Arc::clone(&conditions),
            in_journal: dependencies.in_journal,
            secret_pages: SecretPages::default(),
            config_path: config.path.display().to_string(),
            config_applied_seconds: AtomicI64::new(0),
            started: clock.boot(),
        };
        let http = HttpEndpoint::new(
            dependencies.url_secrets,
            dependencies.tcp,
            Arc::clone(&clock),
            Arc::clone(&conditions),
        )
        .map_err(failed("the HTTP endpoint cannot be prepared"))?;
        let limiter = ConnectionLimiter::new(dependencies.open_files, user_quota(access));
        let context = Arc::new(ServerContext {
            store: Arc::clone(&store),
            clock: Arc::clone(&clock),
            access,
            audit: Arc::new(Audit::new(Arc::clone(&clock), Arc::clone(&conditions))),
            commands,
            limiter: Arc::new(limiter),
            calls: Arc::default(),
            http: Arc::new(http),
            serve_durations: Arc::default(),
            lease: None,
            revoked: CancellationToken::new(),
            status: Some(Arc::new(status)),
        });
        Ok(Self {
            metrics: MetricsListener::default(),
            exporters: Exporters::new(Arc::clone(&clock), dependencies.programs),
            supervisor: Supervisor::new(SupervisorDeps {
                store,
                connect: dependencies.connect,
                clock,
                machine: dependencies.machine,
                rate_limiter,
                restored: dependencies.restored,
            }),
            signals: dependencies.signals,
            load: dependencies.load,
            config_watch: Arc::new(ChangeWatch::new(Arc::clone(&context.clock))),
            handover: Handover::new(
                dependencies.persist,
                dependencies.session_file,
                Arc::clone(&conditions),
            ),
            store_http_socket: dependencies.store_http_socket,
            check_successor: dependencies.check_successor,
            conditions,
            proxies: dependencies.proxies,
            context,
        })
    }

    /// Handles signals, commands and renewals until `serving` ends, which a stop causes. Returns
    /// `true` if a new program replaces this one.
    ///
    /// # Errors
    /// [`RunError::EventLoop`] and [`RunError::Serve`], after the connections have ended.
    async fn handle_events(
        &mut self,
        mut commands: mpsc::Receiver<SupervisorCommand>,
        serving: impl Future<Output = Result<(), ServeError>>,
        event_loop: &mut ReactorThread,
    ) -> Result<bool, RunError> {
        let (mut is_replaced, mut is_stopping, mut failure) = (false, false, None);
        let mut successor_check = None;
        let renewed = self.supervisor.renewed();
        let conditions = Arc::clone(&self.conditions);
        let context = Arc::clone(&self.context);
        let summaries = context.audit.run_summaries();
        let config_watch = Arc::clone(&self.config_watch);
        let watching = config_watch.run();
        tokio::pin!(serving, summaries, watching);
        let served = loop {
            tokio::select! {
                served = &mut serving => break served,
                error = event_loop.failed(), if failure.is_none() => {
                    error!("the event loop has failed: {error}");
                    // Ends the connections, the files and the tasks as a stop does.
                    failure = Some(RunError::EventLoop(error));
                    self.signals.stop.cancel();
                }
                () = self.signals.stop.cancelled(), if !is_stopping => {
                    is_stopping = true;
                    notify_stopping(is_replaced);
                }
                () = conditions.changed() => NotifySocket::status(&self.service_status()),
                () = &mut summaries => {}
                () = renewed.notified(), if self.handover.is_possible() => {
                    sleep(PERSIST_DEBOUNCE).await;
                    self.persist_sessions();
                }
                () = context.http.secrets().replaced() => self.persist_sessions(),
                () = self.signals.replace.notified(), if successor_check.is_none() => {
                    // On a blocking thread: reloads, leases and a stop do not wait for the check.
                    let check = Arc::clone(&self.check_successor);
                    successor_check = Some(spawn_blocking(move || check()));
                }
                checked = ended(&mut successor_check) => {
                    successor_check = None;
                    if is_approved(checked) && !is_stopping {
                        is_replaced = true;
                        self.signals.stop.cancel();
                    }
                }
                () = &mut watching => {}
                () = config_watch.changed() => {
                    info!("a file of the configuration has changed");
                    drop(self.reload());
                }
                // An error is logged, and a signal has no reply.
                () = self.signals.reload.notified() => drop(self.reload()),
                Some(command) = commands.recv() => self.execute(command),
            }
        };
        if !is_stopping {
            // The last connection has ended as soon as the stop began.
            notify_stopping(is_replaced);
        }
        match failure {
            Some(failure) => Err(failure),
            None => Ok(served.map(|()| is_replaced)?),
        }
    }

    /// Executes a command of a client. A client that has closed drops the receiver of the reply, and
    /// with it a lease.
    fn execute(&mut self, command: SupervisorCommand) {
        match command {
            SupervisorCommand::Reload(reply) => {
                let outcome = self.reload();
                let _ = reply.send(outcome.map_err(|errors| errors.to_string()));
            }
            SupervisorCommand::RotateUrls(reply) => {
                let _ = reply.send(self.rotate_urls());
            }
            SupervisorCommand::OpenLease {
                profile,
                until,
                uid,
                reply,
            } => {
                let _ = reply.send(self.supervisor.lease(profile, until, uid));
            }
        }
    }

    /// Persists the sessions and ends all tasks.
    async fn shut_down(mut self, is_replaced: bool) -> ExitReason {
        self.persist_sessions();
        if !is_replaced && self.handover.keeps_at_stop() {
            let sessions = self.seal_sessions();
            self.handover.write_at_stop(sessions.as_ref());
        }
        let exit_reason = if is_replaced {
            ExitReason::Replaced {
                sessions: self.seal_sessions(),
                tcp: self.context.http.try_clone_listener(),
            }
        } else {
            ExitReason::Stopped
        };
        self.exporters.stop(is_replaced).await;
        self.supervisor.stop().await;
        self.context.audit.flush_summary();
        exit_reason
    }

    /// Applies a configuration. All checks precede the first effect, so that after an error the
    /// previous configuration is in force as a whole.
    ///
    /// # Errors
    /// [`RunError`].
    fn apply(&mut self, config: Config) -> Result<(), RunError> {
        // Opened at each reload: a file that was rotated is created again.
        let audit_output = runtime_files::open_audit(&config)?;
        runtime_files::check_writable_paths(&config)?;
        let rules = config.profiles.values();
        let rules = rules.map(|it| (&it.name, &*it.allow));
        self.context.access.warn_unreachable_profiles(rules);
        let now = self.context.clock.boot();
        self.handover.keep_at_stop(config.keep_sessions, now);
        let watches = config.reload == ReloadTrigger::Change;
        self.config_watch.enable(watches);
        endpoint_report::report(&config, &self.proxies, &self.conditions, now);
        let (address, master) = match config.http {
            Some(http) => (Some(http.address), http.master),
            None => (None, None),
        };
        self.supervisor.apply(RefreshConfig {
            endpoints: config.endpoints,
            sts_calls_per_second: config.sts_calls_per_second,
            fleet_spread: config.fleet_spread,
            profiles: config.profiles,
        });
        self.exporters.sync_with(&self.context.store);
        self.context.audit.write_to(audit_output);
        self.context.http.secrets().configure(master);
        if address.is_some() {
            self.context.http.secrets().save();
        }
        http::listen(&self.context, address, &self.signals.stop);
        self.metrics
            .listen(&self.context, config.metrics, &self.signals.stop);
        if let Err(error) =
            (self.store_http_socket)(self.context.http.try_clone_listener().as_ref())
        {
            warn!("HTTP clients will be refused during a restart: {error}");
        }
        if let Some(status) = &self.context.status {
            let now = self.context.clock.wall().as_second();
            status.config_applied_seconds.store(now, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Reloads the configuration; an error is logged.
    ///
    /// # Errors
    /// [`ConfigErrors`]; the previous configuration stays in force.
    fn reload(&mut self) -> Result<(), ConfigErrors> {
        NotifySocket::reloading();
        let loaded = (self.load)();
        match &loaded {
            Ok(config) => self.config_watch.set_read(config.read_files.clone()),
            Err(errors) => self.config_watch.set_read(errors.read_files.clone()),
        }
        let outcome = loaded.and_then(|config| {
            let path = config.path.clone();
            self.apply(config).map_err(|error| match error {
                RunError::Config(errors) => errors,
                error => ConfigErrors::whole_file(&path, "", &error.to_string()),
            })
        });
        match &outcome {
            Ok(()) => {
                self.conditions.recover(Condition::Configuration);
                info!("configuration reloaded");
            }
            Err(errors) => self.reload_refused(errors),
        }
        // Before the reply to `stsctl reload`, which is the last step of `systemctl reload`.
        NotifySocket::ready(&self.service_status());
        outcome
    }

    /// Logs the errors and warnings of a refused configuration, and records the first error.
    fn reload_refused(&self, refused: &ConfigErrors) {
        for error in &refused.errors {
            error!("the running configuration stays in force: {error}");
        }
        for warning in &refused.warnings {
            warn!("in the refused configuration: {warning}");
        }
        let first = refused.errors.first().map(ToString::to_string);
        let more = match refused.errors.len() {
            0 | 1 => String::new(),
            count => format!(" (and {} more)", count - 1),
        };
        let message = format!(
            "the last reload was refused, and the configuration before is in force: {}{more}",
            first.unwrap_or_default()
        );
        let hint = match self.config_watch.is_enabled() {
            true => {
                "correct the file, which is read again after a change; stsd --check lists all errors"
            }
            false => "correct the file, then stsctl reload; stsd --check lists all errors",
        };
        let now = self.context.clock.boot();
        let condition = Condition::Configuration;
        self.conditions.fail(condition, &message, hint, now);
    }

    /// Returns the status text for the service manager.
    fn service_status(&self) -> String {
        self.conditions.summary(self.context.store.all().len())
    }

    /// Replaces the secrets of all URLs.
    ///
    /// # Errors
    /// [`RotateError`].
    fn rotate_urls(&self) -> Result<(), RotateError> {
        let outcome = self.context.http.rotate();
        match &outcome {
            Ok(()) => info!("all URLs have changed"),
            Err(error) => error!("{error} (hint: {})", error.hint()),
        }
        outcome
    }

    /// Persists all sessions for the next process.
    fn persist_sessions(&mut self) {
        if self.handover.is_possible()
            && let Some(sessions) = self.seal_sessions()
        {
            self.handover.persist(&sessions, self.context.clock.boot());
        }
    }

    /// Returns the sessions and the master secret of the URLs in a sealed memfd; `None` on an error.
    fn seal_sessions(&mut self) -> Option<OwnedFd> {
        let url_master = self.context.http.secrets().own_master();
        self.supervisor.seal(url_master).unwrap_or_else(|error| {
            warn!("the sessions cannot be handed over: {error}");
            None
        })
    }
}

/// Returns a function that names the step of the start that has failed.
fn failed(step: &'static str) -> impl FnOnce(io::Error) -> RunError {
    move |error| RunError::Start(step, error)
}

/// Notifies the service manager of a stop; the program of an upgrade continues the service.
fn notify_stopping(is_replaced: bool) {
    if !is_replaced {
        NotifySocket::stopping();
    }
}

/// Waits for the end of a check of the next program; forever without one.
async fn ended(check: &mut Option<JoinHandle<io::Result<()>>>) -> io::Result<()> {
    match check {
        Some(check) => check.await.unwrap_or_else(|bug| Err(io::Error::other(bug))),
        None => pending().await,
    }
}

/// Returns `true` if the check of the next program has succeeded; an error is logged.
fn is_approved(checked: io::Result<()>) -> bool {
    match checked {
        Ok(()) => true,
        Err(problem) => {
            error!("upgrade rejected, keeping the running program: {problem}");
            false
        }
    }
}

/// Returns the share of all connections that one user may hold.
fn user_quota(access: Access) -> UserQuota {
    match access {
        Access::System { .. } => UserQuota::Half,
        Access::User { .. } | Access::Lease { .. } => UserQuota::All,
    }
}
