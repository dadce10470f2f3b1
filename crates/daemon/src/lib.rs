//! The daemon of stsd: it holds an identity, renews role sessions in the background and
//! hands them out.
//!
//! Two flows, which meet only in [`store`]: **refresh** (rare, slow, may fail) obtains
//! sessions and publishes them; **serve** (frequent, fast, never calls the cloud) answers
//! peers from memory. [`run`] is the whole program but for what reads arguments, the
//! environment and signals.

pub mod access;
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

/// What the fuzz targets reach and nobody else may: the readers of foreign text, without
/// the files around them. Built with `--cfg fuzzing` only.
#[cfg(fuzzing)]
pub mod fuzzing {
    use std::path::Path;

    use stsd_sts::SourceCredentials;

    use crate::{
        config::{self, Config, Mistakes},
        profile::NameParts,
        source,
    };

    /// Checks the text of a configuration that stands at `path`.
    ///
    /// # Errors
    /// As [`config::load`].
    pub fn configuration(text: &str, path: &Path, parts: &NameParts) -> Result<Config, Mistakes> {
        config::parse(text.to_owned(), path, parts)
    }

    /// Checks the text of a key file.
    ///
    /// # Errors
    /// As [`source::Source::access_key_file`].
    pub fn key_file(text: &str) -> Result<SourceCredentials, source::KeyFileError> {
        source::access_key::parse(text)
    }
}

use std::sync::Arc;

use stsd_sts::StsError;
use tokio::{
    net::UnixListener,
    sync::{Notify, mpsc},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use access::Access;
use budget::Budget;
use clock::Clock;
use config::{Config, Mistakes};
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
    let budget = Arc::new(Budget::new(config.sts_calls_per_second, world.clock.boot()));
    let service = Arc::new(Service {
        store: Arc::clone(&store),
        budget: Arc::clone(&budget),
        clock: Arc::clone(&world.clock),
        access: world.access,
        reload,
        config_path: config.path.display().to_string(),
        started: world.clock.boot(),
    });
    let mut supervisor = Supervisor::new(store, world.connect, world.clock, world.machine, budget);
    supervisor.apply(config)?;

    let serving = server::serve(listeners, service, stop.clone());
    tokio::pin!(serving);
    loop {
        let answer = tokio::select! {
            () = &mut serving => break,
            () = world.hangup.notified() => None,
            Some(answer) = reloads.recv() => Some(answer),
        };
        let outcome = (world.load)().and_then(|config| {
            let path = config.path.clone();
            supervisor
                .apply(config)
                .map_err(|error| Mistakes::whole_file(&path, "endpoint", &error.to_string()))
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
    Ok(())
}
