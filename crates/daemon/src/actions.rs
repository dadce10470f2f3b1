//! The actions of the program `stsd`: check the configuration, connect to STS, run the daemon.

mod check;

use std::{
    env, fs,
    fs::File,
    io::{self, Write as _},
    path::{Path, PathBuf},
    pin::pin,
    sync::Arc,
};

use anyhow::{Context as _, Result};
pub(crate) use check::check;
use stsd::{
    Dependencies, ExitReason, PersistSessions, RunError,
    cli::{self, Options},
    config::{self, Config, Scope},
    platform::{
        exec_upgrade::UpgradeTarget,
        hardening, orphans,
        signals::{self, SignalWatcher},
        socket_watch::SocketWatch,
        sockets::{self, InheritedSockets},
        state_directory,
        systemd::NotifySocket,
    },
    runtime::{clock::SystemClock, conditions::Conditions, temp_dir},
    serve::{
        http::{MasterFile, UrlSecrets},
        socket::self_check,
    },
    session::{
        memfd::{self, RestoredSessions},
        session_file::SessionFile,
        store::Store,
    },
    sts::{caller_identity, connectivity},
};
use stsd_document::printable_lines;
use stsd_sts::Sts;
use tokio::sync::mpsc;
use tracing::{error, info, warn};

/// Prints the help, the version or the schema.
pub(crate) fn print(text: &str) -> Result<()> {
    Ok(io::stdout().write_all(text.as_bytes())?)
}

/// Connects to the configured STS once.
// Local: the multi-thread scheduler that zbus enables, and libm with it, are then not linked.
#[tokio::main(flavor = "local")]
pub(crate) async fn connect(options: &Options) -> Result<()> {
    let environment = cli::process_environment(options)?;
    let config = config::load(&options.config, &environment, Scope::Host)?;
    let (answers, errors) = connectivity::check(&config.endpoints, &environment.proxies).await?;
    for error in errors {
        writeln!(
            io::stderr(),
            "warning: {}",
            printable_lines(&error.to_string())
        )?;
    }
    Ok(writeln!(io::stdout(), "{}", answers.join("\n"))?)
}

/// Prints the owners of the identities that sign calls to STS.
#[tokio::main(flavor = "local")]
pub(crate) async fn caller_identity(options: &Options) -> Result<()> {
    let environment = cli::process_environment(options)?;
    let config = config::load(&options.config, &environment, Scope::Host)?;
    let (sessions, clock) = (Store::with_encoder(|_| {}), SystemClock::default());
    let lines = caller_identity::lines(
        config.profiles.values().map(|it| &**it),
        &config.endpoints,
        &environment.proxies,
        &sessions,
        &clock,
    );
    let lines = lines.await?.join("\n");
    Ok(writeln!(io::stdout(), "{}", printable_lines(&lines))?)
}

/// Runs the daemon until a signal stops it or a new program replaces this one.
#[tokio::main(flavor = "local")]
pub(crate) async fn run(options: &Options, in_journal: bool) -> Result<()> {
    // Until then the kernel's action for SIGHUP and SIGUSR2 would end the process.
    signals::block().context("the signals cannot be blocked")?;
    let mut protections = hardening::apply();
    let upgrade_target = UpgradeTarget::find();
    let process_environment = cli::process_environment(options)?;
    let config = config::load(&options.config, &process_environment, Scope::Host)?;
    let mut signal_watcher = signals::watch().context("signal handlers cannot be installed")?;
    orphans::reap().context("the signal handler of child processes cannot be installed")?;
    let mut inherited = sockets::open(options.scope(), || options.socket())?;
    if let Some(directory) = inherited.own_directory() {
        temp_dir::remove_stale(&directory);
    }
    let state = options.state_directory();
    // Without it the HTTP endpoint reports that its URLs change with a reboot.
    let _ = state.as_deref().map(state_directory::create);
    let mut writable = writable_paths(&inherited, &config);
    writable.extend(state.clone());
    protections.push(hardening::restrict_filesystem(&writable));
    hardening::warn_missing(&protections);
    let clock = Arc::new(SystemClock::with_alarm());
    let session_file = inherited.own_directory();
    let session_file = session_file.map(|it| SessionFile::at(it.join(sockets::SESSION_FILE)));
    let stored = session_file
        .as_ref()
        .and_then(|it| take_sessions(it, &config));
    let (restored, url_secrets) = restore(&mut inherited, stored, state, &clock)?;
    let (sender, listeners) = mpsc::channel(4);
    let conditions = Arc::new(Conditions::default());
    let mut socket_watch = SocketWatch::new(
        inherited.sockets,
        clock.clone(),
        sender,
        |socket, limit| Box::pin(self_check(socket, limit)),
        Arc::clone(&conditions),
        inherited.problem,
    )
    .await
    .context("the listening sockets cannot be watched")?;
    let programs = Arc::clone(&process_environment.programs);
    let path = options.config.clone();
    let successor = upgrade_target.clone();
    let stop = signal_watcher.signals.stop.clone();
    let proxies = Arc::clone(&process_environment.proxies);
    let for_connect = Arc::clone(&proxies);
    let dependencies = Dependencies {
        load: Box::new(move || config::load(&path, &process_environment, Scope::Host)),
        connect: Box::new(move |endpoint| Sts::new(endpoint.clone(), Arc::clone(&for_connect))),
        proxies,
        clock,
        machine: cli::machine_id(),
        access: options.access(),
        programs,
        signals: signal_watcher.signals.clone(),
        open_files: hardening::open_files(),
        protections,
        conditions,
        in_journal,
        restored,
        url_secrets,
        session_file,
        tcp: inherited.tcp,
        store_http_socket: NotifySocket::store_http_socket,
        persist: NotifySocket::is_present()
            .then(|| Box::new(NotifySocket::default().fd_store()) as PersistSessions),
        check_successor: Arc::new(move || successor.check(&stop)),
    };
    let running = stsd::run(config, listeners, dependencies);
    let exit_reason = run_reachable(running, &mut socket_watch, &mut signal_watcher).await?;
    end(exit_reason, socket_watch, &signal_watcher, &upgrade_target).await
}

/// Returns the paths that the daemon and its programs write to: the directories of its sockets, of
/// the audit file and of the exports, and those that the configuration names.
fn writable_paths(inherited: &InheritedSockets, config: &Config) -> Vec<PathBuf> {
    let audit_file = config.audit_file();
    let files = audit_file.into_iter().chain(&config.files);
    let parents = files.filter_map(|it| it.path.parent().map(Path::to_owned));
    let programs = config.writable.iter().map(|it| it.path.clone());
    let mut paths: Vec<_> = parents
        .chain(programs)
        .chain(inherited.writable())
        .collect();
    if inherited.own_directory().is_none() {
        // Beside a socket of systemd the daemon may not write, and programs need temporary files.
        paths.push(env::temp_dir());
    }
    paths
}

/// Opens and removes the file of the previous process's sessions. Without `keep_sessions` the file is
/// removed unread.
fn take_sessions(place: &SessionFile, config: &Config) -> Option<File> {
    if !config.keep_sessions {
        place.remove();
        return None;
    }
    place.take().unwrap_or_else(|error| {
        warn!("ignoring saved sessions: {error}");
        None
    })
}

/// Returns the sessions and the secrets of the URLs that the previous process has left. The master
/// secret is kept in the directory `state`.
fn restore(
    inherited: &mut InheritedSockets,
    stored: Option<File>,
    state: Option<PathBuf>,
    clock: &SystemClock,
) -> Result<(RestoredSessions, UrlSecrets)> {
    let mut restored = memfd::restore(std::mem::take(&mut inherited.sessions), clock);
    if let Some(stored) = stored.filter(|_| restored.is_empty()) {
        restored = memfd::restore_file(stored, clock);
    }
    let runtime = inherited.own_directory();
    if let Some(directory) = &runtime {
        let _ = fs::remove_file(directory.join(sockets::OLD_TOKEN_FILE));
    }
    let [state, runtime] =
        [state, runtime].map(|it| it.map(|it| it.join(sockets::MASTER_SECRET_FILE)));
    let file = MasterFile { state, runtime };
    let url_secrets = UrlSecrets::take_over(restored.url_master.take(), file)
        .context("the system gives no random bytes for the secrets of the URLs")?;
    Ok((restored, url_secrets))
}

/// Completes with the daemon. If no client can find its sockets, or no signal is received any more,
/// the daemon ends as by a stop, and the reason is the error.
async fn run_reachable(
    running: impl Future<Output = Result<ExitReason, RunError>>,
    socket_watch: &mut SocketWatch,
    signal_watcher: &mut SignalWatcher,
) -> Result<ExitReason> {
    let mut running = pin!(running);
    let problem = tokio::select! {
        exit_reason = &mut running => return Ok(exit_reason?),
        unreachable = socket_watch.run() => anyhow::Error::from(unreachable),
        ended = signal_watcher.ended() => ended.into(),
    };
    error!("{problem}");
    // Ends the connections, the files and the tasks.
    signal_watcher.signals.stop.cancel();
    running.await?;
    Err(problem)
}

/// Ends the process, or executes the new program with the sockets and sessions of this one.
async fn end(
    exit_reason: ExitReason,
    socket_watch: SocketWatch,
    signal_watcher: &SignalWatcher,
    upgrade_target: &UpgradeTarget,
) -> Result<()> {
    let ExitReason::Replaced { sessions, tcp } = exit_reason else {
        info!("stopped");
        return Ok(());
    };
    info!("executing the new program");
    let mut sockets = socket_watch.into_sockets();
    sockets.extend(tcp.map(|tcp| (tcp.into(), NotifySocket::HTTP_SOCKET)));
    signal_watcher.block_for_exec().await?;
    Err(upgrade_target.exec(&sockets, sessions.as_ref()).into())
}
