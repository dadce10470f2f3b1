//! The daemon of stsd: it holds an identity, renews role sessions in the background and
//! hands them out.
//!
//! Two flows, which meet only in [`store`]: **refresh** (rare, slow, may fail) obtains
//! sessions and publishes them; **serve** (frequent, fast, never calls the cloud) answers
//! peers from memory. [`run`] is the whole program but for what reads arguments, the
//! environment and signals.

pub mod access;
pub mod audit;
pub mod budget;
pub mod clock;
pub mod config;
pub mod exchange;
mod file;
pub mod harden;
mod hint;
pub mod listen;
pub mod metrics;
pub mod options;
pub mod peer;
pub mod profile;
pub mod refresh;
pub mod schedule;
pub mod server;
pub mod service_time;
pub mod snapshot;
pub mod source;
pub mod store;
pub mod supervise;

use std::sync::Arc;

use stsd_sts::StsError;
use tokio::{
    net::UnixListener,
    sync::{Notify, mpsc},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use access::Access;
use audit::{Audit, AuditFile};
use budget::Budget;
use clock::Clock;
use config::{Config, Mistake, Mistakes};
use exchange::Exchange;
use server::Service;
use store::Store;
use supervise::{Connect, Supervisor};

/// What the daemon is given.
pub struct World<X> {
    /// Reads the configuration again.
    pub load: Box<dyn Fn() -> Result<Config, Mistakes> + Send>,
    /// Makes the way to an STS endpoint.
    pub connect: Connect<X>,
    /// What the time is.
    pub clock: Arc<dyn Clock>,
    /// What tells this machine from others, such as its machine-id.
    pub machine: Vec<u8>,
    /// Whom to serve.
    pub access: Access,
    /// Rings when a human wants the configuration read again.
    pub hangup: Arc<Notify>,
}

/// Why the daemon cannot run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The way to STS cannot even be set up.
    #[error(transparent)]
    Sts(#[from] StsError),
    /// What the configuration asks for cannot be had.
    #[error(transparent)]
    Config(#[from] Mistakes),
}

/// Runs the daemon on `config` until `stop`, then lets its connections end.
///
/// # Errors
/// [`RunError`], before anybody is served.
pub async fn run<X: Exchange>(
    config: Config,
    listeners: Vec<UnixListener>,
    world: World<X>,
    stop: CancellationToken,
) -> Result<(), RunError> {
    let access = world.access;
    let audit = Arc::new(Audit::new(Arc::clone(&world.clock)));
    audit.write_to(open_audit(&config)?);
    access.warn_of_closed(&config);
    let store = Arc::new(Store::default());
    let (reload, mut reloads) = mpsc::channel(16);
    let budget = Arc::new(Budget::new(config.sts_calls_per_second, world.clock.boot()));
    let service = Arc::new(Service {
        store: Arc::clone(&store),
        budget: Arc::clone(&budget),
        clock: Arc::clone(&world.clock),
        access,
        audit: Arc::clone(&audit),
        reload,
        config_path: config.path.display().to_string(),
        started: world.clock.boot(),
    });
    let mut supervisor = Supervisor::new(store, world.connect, world.clock, world.machine, budget);
    supervisor.apply(config)?;

    let serving = server::serve(listeners, service, stop.clone());
    let summing_up = audit.keep_summing_up();
    tokio::pin!(serving, summing_up);
    loop {
        let answer = tokio::select! {
            () = &mut serving => break,
            () = &mut summing_up => continue,
            () = world.hangup.notified() => None,
            Some(answer) = reloads.recv() => Some(answer),
        };
        let outcome = (world.load)().and_then(|config| {
            let path = config.path.clone();
            // Opened anew each time: whoever has moved the old one away wants that.
            let audit_file = open_audit(&config)?;
            access.warn_of_closed(&config);
            supervisor
                .apply(config)
                .map_err(|error| Mistakes::whole_file(&path, "endpoint", &error.to_string()))?;
            audit.write_to(audit_file);
            Ok(())
        });
        match &outcome {
            Ok(()) => info!("configuration read again"),
            Err(mistakes) => error!("the running configuration stays in force:\n{mistakes}"),
        }
        if let Some(answer) = answer {
            let _ = answer.send(outcome);
        }
    }
    supervisor.stop().await;
    audit.sum_up();
    Ok(())
}

fn open_audit(config: &Config) -> Result<Option<AuditFile>, Mistakes> {
    let Some(named) = &config.audit_file else {
        return Ok(None);
    };
    let opened = AuditFile::open(&named.path);
    opened.map(Some).map_err(|error| {
        Mistakes(vec![Mistake {
            file: config.path.clone(),
            line: named.line,
            key: "audit.file".to_owned(),
            problem: error.to_string(),
            hint: error.hint().to_owned(),
        }])
    })
}
