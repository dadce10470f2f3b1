//! The client of one connection: its peer, and the access checks of its requests.

use std::{os::fd::BorrowedFd, sync::Arc};

use stsd_wire::{Failure, FailureKind};

use super::failures;
use crate::{
    access::{Operation, Refusal, peer::Peer},
    audit::{AuditCaller, QuotaCell, ServedLifetime},
    profile::{Profile, Rule},
    runtime::clock::BootTime,
    serve::context::ServerContext,
    session::{profile_entry::ProfileEntry, snapshot::Session},
};

/// The client of one connection. `socket` is that connection in all methods: it binds the peer to
/// its process.
pub(super) struct Client {
    pub(super) context: Arc<ServerContext>,
    pub(super) peer: Peer,
    quota: QuotaCell,
}

impl Client {
    pub(super) fn new(context: Arc<ServerContext>, peer: Peer) -> Self {
        Self {
            context,
            peer,
            quota: QuotaCell::default(),
        }
    }

    /// Returns the client as the audit records it.
    pub(super) fn audit_caller<'a>(&'a self, socket: BorrowedFd<'a>) -> AuditCaller<'a> {
        AuditCaller {
            peer: &self.peer,
            socket,
            quota: &self.quota,
        }
    }

    pub(super) fn now(&self) -> BootTime {
        self.context.clock.boot()
    }

    /// Returns `true` if the client may see all profiles and reload the configuration.
    pub(super) fn can_administer(&self) -> bool {
        self.context.access.can_administer(&self.peer)
    }

    /// Takes the right to cause a call to STS or to an identity provider.
    ///
    /// # Errors
    /// The reply, if the client's user, or all users together, have caused too many calls.
    pub(super) fn take_call(&self) -> Result<(), Failure> {
        let has_call =
            self.can_administer() || self.context.calls.try_take(self.peer.uid, self.now());
        has_call.then_some(()).ok_or_else(failures::too_many_calls)
    }

    /// Returns `true` if the client may have the credentials of a profile.
    pub(super) fn can_read(&self, profile: &Profile, socket: BorrowedFd<'_>) -> bool {
        let access = &self.context.access;
        access.can_read(&profile.allow, &self.peer, socket)
    }

    /// Returns the rule by which the client may have a profile; `None` for a client that needs none.
    pub(super) fn rule<'a>(
        &self,
        profile: &'a Profile,
        socket: BorrowedFd<'_>,
    ) -> Option<&'a Rule> {
        let access = &self.context.access;
        access.matching_rule(&profile.allow, &self.peer, socket)
    }

    /// Returns the entry of a profile; an administrator may refresh any.
    ///
    /// # Errors
    /// The reply that denies the operation.
    pub(super) fn find(
        &self,
        operation: Operation,
        profile: &str,
        socket: BorrowedFd<'_>,
    ) -> Result<Arc<ProfileEntry>, Failure> {
        let Some(entry) = self.context.store.find(profile) else {
            return Err(self.unknown_profile_failure(operation, profile, socket));
        };
        let is_administrator = operation == Operation::Refresh && self.can_administer();
        if is_administrator || self.can_read(&entry.profile, socket) {
            Ok(entry)
        } else {
            Err(self.deny(operation, profile, socket))
        }
    }

    /// Returns the failure for a profile that does not exist. A client that may not see all
    /// profiles receives the same reply as for a profile that it may not have.
    pub(super) fn unknown_profile_failure(
        &self,
        operation: Operation,
        profile: &str,
        socket: BorrowedFd<'_>,
    ) -> Failure {
        if self.can_administer() {
            let failure = failures::unknown_profile(profile);
            self.refuse(operation, Some(profile), failure, socket)
        } else {
            self.deny(operation, profile, socket)
        }
    }

    /// Records a denied operation on a profile and returns the reply.
    pub(super) fn deny(
        &self,
        operation: Operation,
        profile: &str,
        socket: BorrowedFd<'_>,
    ) -> Failure {
        self.refuse(operation, Some(profile), failures::no_rule(), socket)
    }

    /// Records an operation that a lease does not permit and returns the reply.
    pub(super) fn deny_on_lease(&self, operation: Operation, socket: BorrowedFd<'_>) -> Failure {
        self.refuse(operation, None, failures::not_on_lease(), socket)
    }

    /// Records a denied administrative operation and returns the reply: `reason`, or on the socket
    /// of a lease [`not_on_lease`](failures::not_on_lease).
    pub(super) fn deny_admin(
        &self,
        operation: Operation,
        reason: Failure,
        socket: BorrowedFd<'_>,
    ) -> Failure {
        if !self.context.access.allows_lease_and_refresh() {
            return self.deny_on_lease(operation, socket);
        }
        self.refuse(operation, None, reason, socket)
    }

    /// Audits a refused operation, and returns the reply.
    pub(super) fn refuse(
        &self,
        operation: Operation,
        profile: Option<&str>,
        failure: Failure,
        socket: BorrowedFd<'_>,
    ) -> Failure {
        let (audit, caller) = (&self.context.audit, self.audit_caller(socket));
        audit.refused(operation, profile, refusal(failure.kind), caller);
        failure
    }

    /// Counts and audits served credentials.
    pub(super) fn record_served(
        &self,
        operation: Operation,
        entry: &ProfileEntry,
        session: &Session,
        lifetime: ServedLifetime,
        now: BootTime,
        socket: BorrowedFd<'_>,
    ) {
        entry.count_served(session);
        let name = entry.profile.name.as_str();
        let (audit, caller) = (&self.context.audit, self.audit_caller(socket));
        audit.served(operation, name, session, lifetime, now, caller);
        // After the audit, which may have inspected the process.
        self.record_access(operation, entry, now);
    }

    /// Records the time from a request for credentials to its answer, which was written just now.
    pub(super) fn observe_served(&self, began: BootTime) {
        let duration = self.now().since(began);
        self.context.serve_durations.observe(duration);
    }

    /// Records the last access to a profile.
    pub(super) fn record_access(&self, operation: Operation, entry: &ProfileEntry, now: BootTime) {
        let last_access = &entry.stats.last_access;
        last_access.record(&self.peer, operation, now);
    }
}

/// Returns the reason of a failure for the audit.
pub(super) fn refusal(kind: FailureKind) -> Refusal {
    match kind {
        FailureKind::NotAllowed => Refusal::NotAllowed,
        FailureKind::UnknownProfile => Refusal::UnknownProfile,
        FailureKind::NotYetAvailable => Refusal::NotYetAvailable,
        FailureKind::DeniedBySts => Refusal::DeniedBySts,
        FailureKind::Unreachable => Refusal::Unreachable,
        FailureKind::Throttled => Refusal::Throttled,
        FailureKind::Busy => Refusal::Busy,
        _ => Refusal::Invalid,
    }
}
