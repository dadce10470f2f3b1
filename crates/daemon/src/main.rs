//! `stsd`: arguments, logging, listeners, signals, and then [`stsd::run`].

use std::{
    alloc::System,
    io::{self, IsTerminal as _, Write as _},
    process::ExitCode,
    sync::{Arc, Mutex},
};

use anyhow::{Context as _, Result};
use stsd::{
    Dependencies, ExitReason, PersistSessions, cli,
    cli::Action,
    config,
    platform::{
        exec_upgrade::UpgradeTarget, hardening, journald::Journal,
        nonblocking_stderr::NonBlockingWriter, signals, socket_watch::SocketWatch, sockets,
        systemd::NotifySocket,
    },
    runtime::clock::SystemClock,
    serve::{http::UrlSecret, socket::self_check},
    session::memfd,
    sts::connectivity,
};
use stsd_sts::Sts;
use tokio::sync::mpsc;
use tracing::{info, level_filters::LevelFilter};
use tracing_subscriber::{
    filter::Targets, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};
use zeroizing_alloc::ZeroAlloc;

/// Wipes all freed memory, also that of libraries that handle a secret.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<System> = ZeroAlloc(System);

fn main() -> ExitCode {
    let in_journal = log();
    let outcome = match cli::parse(lexopt::Parser::from_env()) {
        Ok(Action::Help) => io::stdout()
            .write_all(cli::HELP.as_bytes())
            .map_err(Into::into),
        Ok(Action::Version) => {
            writeln!(io::stdout(), "stsd {}", env!("CARGO_PKG_VERSION")).map_err(Into::into)
        }
        Ok(Action::Check(options)) => check(&options),
        Ok(Action::Connect(options)) => connect(&options),
        Ok(Action::Run(options)) => run(&options, in_journal),
        Err(error) => {
            let _ = writeln!(io::stderr(), "stsd: {error:#}; see stsd --help");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Not a log line: no filter may hide the reason of a failed start.
            let _ = writeln!(io::stderr(), "stsd: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Sets up the log: entries for the journal if the journal reads stderr, else lines on stderr. Returns
/// `true` for the journal.
fn log() -> bool {
    // By level and target: a filter by fields would add an engine for regular expressions.
    let level = std::env::var("RUST_LOG").unwrap_or_default();
    let filter = match level.parse::<Targets>() {
        Ok(filter) if !level.is_empty() => filter,
        _ => Targets::new().with_default(LevelFilter::INFO),
    };
    let journal = Journal::behind_stderr();
    let in_journal = journal.is_some();
    let lines = (!in_journal).then(|| {
        tracing_subscriber::fmt::layer()
            .with_ansi(io::stderr().is_terminal())
            .with_writer(Mutex::new(NonBlockingWriter::new(io::stderr())))
    });
    let registry = tracing_subscriber::registry();
    registry.with(filter).with(journal).with(lines).init();
    in_journal
}

fn check(options: &cli::Options) -> Result<()> {
    let config = config::load(&options.config, &cli::process_environment(options)?)?;
    // An upgrade runs the check under the confinement of the running daemon.
    stsd::check_runtime_files(&config)?;
    connectivity::client(config.endpoint.clone())?;
    let count = config.profiles.len();
    Ok(writeln!(
        io::stdout(),
        "{}: {count} profile{}, no mistakes",
        config.path.display(),
        if count == 1 { "" } else { "s" }
    )?)
}

// Local: the multi-thread scheduler that zbus enables, and libm with it, are then not linked.
#[tokio::main(flavor = "local")]
async fn connect(options: &cli::Options) -> Result<()> {
    let config = config::load(&options.config, &cli::process_environment(options)?)?;
    let endpoint = config.endpoint.authority().to_owned();
    connectivity::check(config.endpoint).await?;
    Ok(writeln!(io::stdout(), "{endpoint}: answers")?)
}

#[tokio::main(flavor = "local")]
async fn run(options: &cli::Options, in_journal: bool) -> Result<()> {
    let mut protections = hardening::apply();
    let upgrade_target =
        UpgradeTarget::find().context("the path of this program cannot be read")?;
    let process_environment = cli::process_environment(options)?;
    let config = config::load(&options.config, &process_environment)?;
    let signal_watcher = signals::watch().context("signal handlers cannot be installed")?;
    let mut inherited = sockets::open(options.scope(), || options.socket())?;
    let audited = config.audit_file.as_ref().and_then(|it| it.path.parent());
    let kept = config.files.iter().filter_map(|it| it.path.parent());
    let writable = inherited.writable().into_iter();
    let writable = writable.chain(audited.into_iter().chain(kept).map(Into::into));
    let writable: Vec<_> = writable.collect();
    protections.push(hardening::restrict_filesystem(&writable));
    hardening::warn_missing(&protections);
    let clock = Arc::new(SystemClock::with_alarm());
    let left = std::mem::take(&mut inherited.sessions);
    let mut restored = memfd::restore(left, &*clock);
    let token = inherited
        .own_directory()
        .map(|it| it.join(sockets::HTTP_TOKEN_FILE));
    let url_secret = UrlSecret::take_over(restored.url_secret.take(), token)?;
    let (sender, listeners) = mpsc::channel(4);
    let mut socket_watch =
        SocketWatch::new(inherited.sockets, clock.clone(), sender, |socket, limit| {
            Box::pin(self_check(socket, limit))
        })
        .await?;
    let status = format!("profiles: {}", config.profiles.len());
    info!(
        config = %config.path.display(),
        restored = restored.len(),
        "stsd {} is ready", env!("CARGO_PKG_VERSION")
    );

    let environment = Arc::clone(&process_environment.environment);
    let path = options.config.clone();
    let successor = upgrade_target.clone();
    let dependencies = Dependencies {
        load: Box::new(move || config::load(&path, &process_environment)),
        connect: Box::new(|endpoint| Sts::new(endpoint.clone())),
        clock,
        machine: cli::machine_id(),
        access: options.access(),
        environment,
        signals: signal_watcher.signals.clone(),
        open_files: hardening::open_files(),
        protections,
        in_journal,
        restored,
        url_secret,
        tcp: inherited.tcp,
        store_http_socket: NotifySocket::store_http_socket,
        persist: NotifySocket::is_present()
            .then(|| Box::new(NotifySocket::default().fd_store()) as PersistSessions),
        check_successor: Arc::new(move || successor.check()),
    };
    NotifySocket::ready(&status);
    let exit_reason = tokio::select! {
        exit_reason = stsd::run(config, listeners, dependencies) => exit_reason?,
        never = socket_watch.run() => match never {},
    };
    if let ExitReason::Replaced { sessions, tcp } = exit_reason {
        info!("executing the new program");
        let mut sockets = socket_watch.into_sockets();
        sockets.extend(tcp.map(|tcp| (tcp.into(), NotifySocket::HTTP_SOCKET)));
        signal_watcher.block_for_exec().await?;
        return Err(upgrade_target.exec(&sockets, sessions.as_ref()).into());
    }
    info!("stopped");
    Ok(())
}
