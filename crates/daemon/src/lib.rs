//! The daemon of stsd: it holds an identity, renews role sessions in the background and
//! hands them out.
//!
//! Two flows, which meet only in [`store`]: **refresh** (rare, slow, may fail) obtains
//! sessions and publishes them; **serve** (frequent, fast, never calls the cloud) answers
//! peers from memory. [`run`] is the whole program but for what reads arguments, the
//! environment and signals.

pub mod access;
pub mod clock;
pub mod config;
mod file;
pub mod harden;
pub mod listen;
pub mod options;
pub mod peer;
pub mod profile;
pub mod refresh;
pub mod schedule;
pub mod server;
pub mod source;
pub mod store;
mod supervise;

use std::sync::Arc;

use stsd_sts::{Endpoint, StsError};
use tokio::{
    net::UnixListener,
    sync::{Notify, mpsc},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use access::Access;
use clock::Clock;
use config::{Config, Mistakes};
use refresh::Exchange;
use server::Service;
use store::Store;
use supervise::Supervisor;

/// What the daemon is given.
pub struct World<X> {
    /// Reads the configuration again.
    pub load: Box<dyn Fn() -> Result<Config, Mistakes> + Send>,
    /// Makes the way to an STS endpoint.
    pub exchange: fn(&Endpoint) -> Result<X, StsError>,
    /// What the time is.
    pub clock: Arc<dyn Clock>,
    /// Whom to serve.
    pub access: Access,
    /// Rings when a human wants the configuration read again.
    pub hangup: Arc<Notify>,
}

/// Runs the daemon on `config` until `stop`, then lets its connections end.
///
/// # Errors
/// [`StsError`] when the way to STS cannot even be set up.
pub async fn run<X: Exchange>(
    config: Config,
    listeners: Vec<UnixListener>,
    world: World<X>,
    stop: CancellationToken,
) -> Result<(), StsError> {
    let store = Arc::new(Store::default());
    let (reload, mut reloads) = mpsc::channel(16);
    let service = Arc::new(Service {
        store: Arc::clone(&store),
        clock: Arc::clone(&world.clock),
        access: world.access,
        reload,
        config_path: config.path.display().to_string(),
        started: world.clock.boot(),
    });
    let mut supervisor = Supervisor::new(store, world.exchange, world.clock);
    supervisor.apply(config)?;

    let serving = server::serve(listeners, service, stop.clone());
    tokio::pin!(serving);
    loop {
        let answer = tokio::select! {
            () = &mut serving => break,
            () = world.hangup.notified() => None,
            Some(answer) = reloads.recv() => Some(answer),
        };
        let outcome = (world.load)();
        match &outcome {
            Ok(config) => info!(path = %config.path.display(), "configuration read again"),
            Err(mistakes) => error!("the running configuration stays in force:\n{mistakes}"),
        }
        let outcome = match outcome {
            Ok(config) => supervisor.apply(config).map(Ok)?,
            Err(mistakes) => Err(mistakes),
        };
        if let Some(answer) = answer {
            let _ = answer.send(outcome);
        }
    }
    supervisor.stop().await;
    Ok(())
}
