//! The state that all connections share, however they arrived.

use std::{
    sync::{Arc, atomic::AtomicI64},
    time::Duration,
};

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::{
    access::{Access, peer::LeaseId},
    audit::Audit,
    profile::Profile,
    runtime::{
        clock::{BootTime, Clock},
        conditions::Conditions,
        protection_report::{Protection, SecretPages},
    },
    serve::{
        call_limit::CallLimiter,
        connection_limit::ConnectionLimiter,
        duration_histogram::DurationHistogram,
        http::{endpoint::HttpEndpoint, url_secrets::RotateError},
    },
    session::{lease::LeaseHandle, store::Store},
};

/// The state that all connections share.
pub struct ServerContext {
    /// The sessions of all profiles.
    pub store: Arc<Store>,
    /// The clocks.
    pub clock: Arc<dyn Clock>,
    /// The access policy.
    pub access: Access,
    /// The record of served and refused requests.
    pub audit: Arc<Audit>,
    /// Commands to the supervisor.
    pub commands: mpsc::Sender<SupervisorCommand>,
    /// The limit on the number of connections.
    pub limiter: Arc<ConnectionLimiter>,
    /// The limit of the calls that callers cause.
    pub calls: Arc<CallLimiter>,
    /// The loopback endpoint.
    pub http: Arc<HttpEndpoint>,
    /// The times from requests for credentials to their answers.
    pub serve_durations: Arc<DurationHistogram>,
    /// The lease whose socket this context serves; `None` for the daemon's own sockets.
    pub lease: Option<LeaseId>,
    /// Cancelled when the lease ends.
    pub revoked: CancellationToken,
    /// The state that only `stsctl status` shows; `None` for the socket of a lease.
    pub status: Option<Arc<StatusContext>>,
}

/// The state that only `stsctl status` and `stsctl log` show.
pub struct StatusContext {
    /// Returns the number of calls that the rate limit has delayed.
    pub deferred_calls: Box<dyn Fn() -> u64 + Send + Sync>,
    /// Returns the time that those calls have waited.
    pub deferred_time: Box<dyn Fn() -> Duration + Send + Sync>,
    /// The protections of the process.
    pub protections: Vec<Protection>,
    /// The states of the daemon that last.
    pub conditions: Arc<Conditions>,
    /// The log goes to systemd's journal, and the audit with it.
    pub in_journal: bool,
    /// The state of the pages that hold secrets.
    pub secret_pages: SecretPages,
    /// The path of the configuration.
    pub config_path: String,
    /// The time at which the configuration in force was applied, in seconds since 1970.
    pub config_applied_seconds: AtomicI64,
    /// The start of the daemon.
    pub started: BootTime,
}

/// A command of a client to the supervisor, with the sender of its result.
pub enum SupervisorCommand {
    /// Reload the configuration; receives the errors as text.
    Reload(oneshot::Sender<Result<(), String>>),
    /// Replace the secrets in the URLs.
    RotateUrls(oneshot::Sender<Result<(), RotateError>>),
    /// Start a task for the profile of a lease.
    OpenLease {
        /// The profile, with the narrowed policy.
        profile: Arc<Profile>,
        /// The end of the lease.
        until: BootTime,
        /// The user that opens the lease.
        uid: u32,
        /// Receives `None` if the user holds too many leases, or opens too many.
        reply: oneshot::Sender<Option<LeaseHandle>>,
    },
}

impl ServerContext {
    /// Returns the context for the socket of a lease: its profile, and nothing of the daemon.
    pub(crate) fn for_lease(&self, lease: &LeaseHandle) -> Self {
        let store = Store::default();
        store.replace([Arc::clone(&lease.entry)]);
        Self {
            store: Arc::new(store),
            clock: Arc::clone(&self.clock),
            access: Access::Lease {
                uid: lease.id.owner,
            },
            audit: Arc::clone(&self.audit),
            commands: self.commands.clone(),
            limiter: Arc::clone(&self.limiter),
            calls: Arc::clone(&self.calls),
            http: Arc::clone(&self.http),
            serve_durations: Arc::clone(&self.serve_durations),
            lease: Some(lease.id),
            revoked: lease.revoked.clone(),
            status: None,
        }
    }
}
