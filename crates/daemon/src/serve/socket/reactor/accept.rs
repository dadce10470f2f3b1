//! Accepted connections: the kernel names the peer, the access policy and the connection limit
//! decide, and the event loop gets an entry.

use std::{
    io,
    os::{fd::AsFd as _, unix::net::UnixStream},
    sync::{Arc, Once},
};

use stsd_wire::Failure;
use tracing::{debug, error};

use super::entry::ConnectionEntry;
use crate::{
    access::{Operation, peer::Peer},
    audit::{AuditCaller, QuotaCell},
    serve::{
        connection_limit::{ConnectionPermit, Transport},
        context::ServerContext,
        socket::{client, client::Client, connection, failures, handlers::Handler},
    },
};

/// Returns the entry of an accepted connection; `None` if it was refused. A refused client
/// receives the reason.
pub(super) fn accept_connection(
    stream: UnixStream,
    context: &Arc<ServerContext>,
) -> Option<ConnectionEntry> {
    match identify_and_admit(&stream, context) {
        Ok((peer, permit)) => {
            let client = Client::new(Arc::clone(context), peer);
            Some(ConnectionEntry::new(Handler::new(stream, client, permit)))
        }
        Err(AdmitError::UnknownPeer(error)) => {
            report_unknown_peer(&error);
            None
        }
        Err(AdmitError::Refused(failure)) => {
            connection::refuse(&stream, &failure);
            None
        }
    }
}

/// The reason for which a connection is not admitted.
enum AdmitError {
    /// The kernel does not report the peer.
    UnknownPeer(io::Error),
    /// The connection is refused with this reply.
    Refused(Box<Failure>),
}

/// Logs a connection whose peer the kernel does not report: the first one as an error, because each
/// further connection ends in the same way.
fn report_unknown_peer(error: &io::Error) {
    static REPORTED: Once = Once::new();
    let mut is_first = false;
    REPORTED.call_once(|| is_first = true);
    if is_first {
        error!(
            hint = "allow getsockopt(2) with SO_PEERCRED: a seccomp filter or a security module \
                    forbids it to stsd",
            "connections are closed: cannot identify the peer: {error}"
        );
    } else {
        debug!("connection ended: cannot identify the peer: {error}");
    }
}

/// Returns the peer of a connection and its permit.
fn identify_and_admit(
    stream: &UnixStream,
    context: &ServerContext,
) -> Result<(Peer, ConnectionPermit), AdmitError> {
    let peer =
        Peer::of(stream, context.clock.boot(), context.lease).map_err(AdmitError::UnknownPeer)?;
    let refused = |failure: Failure| {
        let caller = AuditCaller {
            peer: &peer,
            socket: stream.as_fd(),
            quota: &QuotaCell::default(),
        };
        let reason = client::refusal(failure.kind);
        context
            .audit
            .refused(Operation::Connection, None, reason, caller);
        AdmitError::Refused(Box::new(failure))
    };
    if !context.access.can_connect(&peer) {
        return Err(refused(failures::not_allowed()));
    }
    if context.lease.is_some() && context.revoked.is_cancelled() {
        return Err(refused(failures::lease_ended()));
    }
    match context.limiter.admit(&peer, Transport::Frames) {
        Some(permit) => Ok((peer, permit)),
        None => Err(refused(failures::too_many_connections())),
    }
}
