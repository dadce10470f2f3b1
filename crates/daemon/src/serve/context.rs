//! Decides nothing: what every connection works with, however it came.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::{
    access::{Access, peer::LeaseId},
    audit::Audit,
    config::ConfigErrors,
    platform::hardening::{Protection, SecretPages},
    profile::Profile,
    refresh::supervisor::LeaseHandle,
    runtime::clock::{BootTime, Clock},
    serve::{connection_limit::Crowd, http::Http, socket::Front},
    session::store::Store,
    sts::rate_limit::RateLimiter,
};

/// What every connection works with.
pub struct Service {
    /// Where credentials are.
    pub store: Arc<Store>,
    /// What limits the calls to STS.
    pub rate_limiter: Arc<RateLimiter>,
    /// What the time is.
    pub clock: Arc<dyn Clock>,
    /// Whom we serve.
    pub access: Access,
    /// Who is told of it.
    pub audit: Arc<Audit>,
    /// Where orders go.
    pub orders: mpsc::Sender<Order>,
    /// Who is connected.
    pub crowd: Arc<Crowd>,
    /// Where they are answered.
    pub front: Arc<Front>,
    /// The way by a URL.
    pub http: Arc<Http>,
    /// The lease that this is the service of.
    pub lease: Option<LeaseId>,
    /// Cancelled when a lease is over.
    pub over: CancellationToken,
    /// What the process has given up, for status.
    pub protections: Vec<Protection>,
    /// The log goes to systemd's journal, and the audit with it.
    pub in_journal: bool,
    /// How the secrets are kept, for status.
    pub secret_pages: Arc<SecretPages>,
    /// The configuration's path, for status.
    pub config_path: String,
    /// When the daemon started.
    pub started: BootTime,
}

/// What a peer wants of whoever decides which profiles have a task, and where the outcome
/// goes.
pub enum Order {
    /// The configuration read again.
    Reload(oneshot::Sender<Result<(), ConfigErrors>>),
    /// A new secret in the URLs.
    Rotate(oneshot::Sender<()>),
    /// A task for a profile that is not configured.
    Lease {
        /// The profile.
        profile: Arc<Profile>,
        /// When the lease ends.
        until: BootTime,
        /// Whose it is.
        uid: u32,
        /// Nothing is told when that user has too many, or opens too many.
        tell: oneshot::Sender<Option<LeaseHandle>>,
    },
}
