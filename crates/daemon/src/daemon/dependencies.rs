//! The dependencies of the daemon, from `main` or from the simulation.

use std::{io, net::TcpListener, os::fd::OwnedFd, sync::Arc};

use stsd_sts::Proxies;

use crate::{
    access::Access,
    config::{Config, ConfigErrors},
    platform::signals::ControlSignals,
    refresh::supervisor::Connect,
    runtime::{
        clock::Clock, conditions::Conditions, program::ProgramContext,
        protection_report::Protection,
    },
    serve::http::UrlSecrets,
    session::{memfd::RestoredSessions, session_file::SessionFile},
};

/// Persists sealed sessions for the next process.
pub type PersistSessions = Box<dyn FnMut(&OwnedFd) -> io::Result<()> + Send>;

/// The dependencies of the daemon.
pub struct Dependencies<X> {
    /// Loads the configuration.
    pub load: Box<dyn Fn() -> Result<Config, ConfigErrors> + Send>,
    /// Returns a client of an STS endpoint.
    pub connect: Connect<X>,
    /// The proxies that the environment names.
    pub proxies: Arc<Proxies>,
    /// The clocks.
    pub clock: Arc<dyn Clock>,
    /// The identity of the machine, such as its machine-id.
    pub machine: Vec<u8>,
    /// The access policy.
    pub access: Access,
    /// The surroundings of the programs in the configuration.
    pub programs: Arc<ProgramContext>,
    /// The requests of signals.
    pub signals: ControlSignals,
    /// The limit of open files.
    pub open_files: u64,
    /// The protections of the process.
    pub protections: Vec<Protection>,
    /// The states of the daemon that last.
    pub conditions: Arc<Conditions>,
    /// The log goes to systemd's journal.
    pub in_journal: bool,
    /// The sessions of the previous process.
    pub restored: RestoredSessions,
    /// The secrets of the URLs.
    pub url_secrets: UrlSecrets,
    /// The loopback socket of the previous process.
    pub tcp: Option<TcpListener>,
    /// Persists sessions for the next process; `None` without a file descriptor store.
    pub persist: Option<PersistSessions>,
    /// The place of the sessions between a stop and the next start; `None` without a directory of the
    /// daemon's own.
    pub session_file: Option<SessionFile>,
    /// Stores the loopback socket for the next process.
    pub store_http_socket: fn(Option<&TcpListener>) -> io::Result<()>,
    /// Checks the program that is to replace this one; may block.
    pub check_successor: Arc<dyn Fn() -> io::Result<()> + Send + Sync>,
}
