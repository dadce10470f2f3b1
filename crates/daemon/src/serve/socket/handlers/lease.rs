//! Requests for a lease: the client names a profile and a session policy, passes a listening
//! socket, and keeps its connection open. The socket serves that one profile until the lease ends
//! or the client closes.
//!
//! The client creates the socket, because the client has access to directories that the daemon's
//! sandbox excludes, such as the directory of a container.

use std::{
    io::{self, ErrorKind, IoSliceMut},
    mem::MaybeUninit,
    os::{
        fd::{AsFd as _, BorrowedFd, OwnedFd},
        unix::net::UnixListener as StdUnixListener,
    },
    sync::Arc,
    time::Duration,
};

use rustix::{
    cmsg_space,
    net::{
        AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
        SocketType, recvmsg, sockopt,
    },
};
use stsd_codes::Code;
use stsd_wire::{Failure, FailureKind, Reply};
use tokio::{
    io::Interest,
    sync::{oneshot, watch},
    task::yield_now,
    time::timeout,
};
use tracing::debug;

use super::{
    Attach,
    accepted_streams::{self, AcceptedStreams},
    malformed,
};
use crate::{
    access::Operation,
    profile::{Profile, SessionPolicy},
    runtime::clock::{BootTime, Clock},
    serve::{
        connection_limit::ConnectionLimiter,
        context::{ServerContext, SupervisorCommand},
        socket::{
            client::Client,
            connection::{Connection, IO_TIMEOUT, connection_error},
            failures,
        },
    },
    session::{lease::LeaseHandle, profile_entry::ProfileEntry, snapshot::SessionResult},
};

/// Maximum duration of a lease.
const MAX_LEASE_DURATION: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// The parameters of a request.
pub(super) struct LeaseRequest<'a> {
    pub(super) profile: &'a str,
    /// The session policy; `None` if the profile has one.
    pub(super) policy: Option<String>,
    pub(super) ttl: Duration,
    /// The caller's timeout for the first session.
    pub(super) patience: Duration,
}

/// Revokes a lease when it is dropped, and closes the connections of its socket.
struct LeaseGuard<'a>(&'a LeaseHandle, &'a ConnectionLimiter);

/// Opens a lease and holds it; returns when the lease has ended.
pub(super) async fn lease(
    client: &Client,
    connection: &mut Connection,
    attach: Attach<'_>,
    request: LeaseRequest<'_>,
) -> io::Result<()> {
    let context = &client.context;
    let profile = request.profile;
    // Subscribed before the lookup, so that no replacement of the profile is missed.
    let replacements = context.store.replacements();
    let opened = open_lease(client, connection.as_fd(), request).await;
    let (base, lease, until) = match opened {
        Ok(opened) => opened,
        Err(failure) => return connection.reply(&Reply::Failure(failure)).await,
    };
    connection.reply(&Reply::Done).await?;
    let listener = match timeout(IO_TIMEOUT, recv_listener(connection)).await? {
        Err(error) if error.kind() == ErrorKind::InvalidInput => {
            let failure = malformed(&error.to_string());
            connection.reply(&Reply::Failure(failure)).await?;
            return Err(error);
        }
        listener => listener?,
    };
    let lease = Arc::new(lease);
    // The accept thread shares the handle, and must not keep the lease alive.
    let guard = LeaseGuard(&lease, &context.limiter);
    let streams = accepted_streams::accept(listener, Arc::clone(&lease))?;
    connection.reply(&Reply::Done).await?;
    debug!(profile, lease = lease.id.number, owner = %client.peer, "lease opened");

    let lease_context = Arc::new(context.for_lease(&lease));
    let end = tokio::select! {
        biased;
        () = lease.revoked.cancelled() => Reply::Failure(failures::lease_changed()),
        failure = wait_revoked(client, connection, profile, &base.profile, replacements) => {
            Reply::Failure(failure?)
        }
        () = sleep_until(until, &*context.clock) => Reply::Done,
        () = serve(streams, lease_context, attach) => {
            Reply::Failure(failures::lease_without_a_socket())
        }
    };
    debug!(profile, lease = lease.id.number, "lease ended");
    drop(guard);
    connection.reply(&end).await?;
    Err(connection_error("the lease has ended"))
}

/// Opens a lease and waits for its first session, because the client should see a policy that STS
/// refuses. Returns the entry of the profile itself, the lease and its end.
///
/// # Errors
/// The reply that refuses the lease.
async fn open_lease(
    client: &Client,
    socket: BorrowedFd<'_>,
    request: LeaseRequest<'_>,
) -> Result<(Arc<ProfileEntry>, LeaseHandle, BootTime), Failure> {
    let context = &client.context;
    if !context.access.allows_lease_and_refresh() {
        return Err(client.deny_on_lease(Operation::Lease, socket));
    }
    let base = client.find(Operation::Lease, request.profile, socket)?;
    let refused = |failure| client.refuse(Operation::Lease, Some(request.profile), failure, socket);
    let narrowed = with_policy(&base.profile, request.policy).map_err(refused)?;
    if request.ttl.is_zero() || request.ttl > MAX_LEASE_DURATION {
        return Err(refused(refusal(
            "the duration of the lease is zero or above 30 days",
            "give a duration up to 30 days, such as 20m or 8h",
        )));
    }
    client.take_call().map_err(refused)?;
    let until = client.now() + request.ttl;
    let lease = spawn_refresher(client, narrowed, until)
        .await
        .map_err(refused)?;
    let (entry, clock) = (&lease.entry, &*context.clock);
    match entry
        .wait_for(Duration::ZERO, request.patience, clock)
        .await
    {
        SessionResult::Ready(session) | SessionResult::Short(session) => {
            let opened = (request.profile, lease.id.number);
            let caller = client.audit_caller(socket);
            context.audit.lease_opened(opened, &session, caller);
            Ok((base, lease, until))
        }
        other => Err(refused(failures::result_failure(&other))),
    }
}

/// Has the supervisor start a task for the profile of a lease.
async fn spawn_refresher(
    client: &Client,
    profile: Profile,
    until: BootTime,
) -> Result<LeaseHandle, Failure> {
    let (reply, result) = oneshot::channel();
    let command = SupervisorCommand::OpenLease {
        profile: Arc::new(profile),
        until,
        uid: client.peer.uid,
        reply,
    };
    let sent = client.context.commands.send(command).await;
    sent.map_err(|_| failures::shutting_down())?;
    let lease = result.await.map_err(|_| failures::shutting_down())?;
    lease.ok_or_else(failures::too_many_leases)
}

/// Receives the listening socket of the client.
///
/// # Errors
/// A descriptor of another kind is [`ErrorKind::InvalidInput`].
async fn recv_listener(connection: &Connection) -> io::Result<StdUnixListener> {
    let receive = |stream: &BorrowedFd<'_>| recv_fd(*stream);
    let socket = connection.async_io(Interest::READABLE, receive).await?;
    if !is_listening_socket(&socket) {
        let problem = "a lease needs a listening Unix stream socket";
        return Err(io::Error::new(ErrorKind::InvalidInput, problem));
    }
    Ok(StdUnixListener::from(socket))
}

/// Waits until the client has no right to the lease any more, and returns the reason.
///
/// # Errors
/// The client has closed, or has sent another request.
async fn wait_revoked(
    client: &Client,
    connection: &Connection,
    profile: &str,
    base: &Profile,
    mut replacements: watch::Receiver<()>,
) -> io::Result<Failure> {
    loop {
        tokio::select! {
            input = connection.readable() => {
                input?;
                let reason = "the client has sent a request on a connection that holds a lease";
                return Err(connection_error(reason));
            }
            changed = replacements.changed() => changed.map_err(connection_error)?,
        }
        match client.find(Operation::Lease, profile, connection.as_fd()) {
            Ok(entry) if entry.profile.grants_the_same(base) => {}
            Ok(_) => return Ok(failures::lease_changed()),
            Err(failure) => return Ok(failure),
        }
    }
}

impl Drop for LeaseGuard<'_> {
    fn drop(&mut self) {
        self.0.revoked.cancel();
        self.1.end_lease(self.0.id.number);
    }
}

/// Returns the profile of a lease: `base` with a session policy.
///
/// # Errors
/// The reply, if the profile cannot be narrowed.
fn with_policy(base: &Profile, policy: Option<String>) -> Result<Profile, Failure> {
    if base.role_arn.is_none() {
        return Err(refusal(
            "the profile has no role_arn, and a session policy narrows only the session of a role",
            "lease a profile with a role_arn",
        ));
    }
    let policy = match (policy, &base.policy) {
        (Some(_), Some(_)) => {
            return Err(refusal(
                "the profile has a policy of its own, and STS takes one policy for a session",
                "lease the profile without a policy, or lease a profile that has none",
            ));
        }
        (None, None) => {
            return Err(refusal(
                "a lease needs a session policy, and neither the request nor the profile has one",
                "stsctl lease PROFILE --policy FILE",
            ));
        }
        (None, Some(own)) => own.clone(),
        (Some(text), None) => SessionPolicy::new(&text)
            .map_err(|invalid| refusal(&invalid.to_string(), "correct the file of the policy"))?,
    };
    Ok(Profile {
        policy: Some(policy),
        keep_warm: false,
        export: None,
        // `Access::Lease` is the whole access policy of the socket.
        allow: Box::default(),
        ..base.clone()
    })
}

fn refusal(problem: &str, hint: &str) -> Failure {
    failures::failure(FailureKind::BadConfig, Code::LeaseRefused, problem, hint)
}

/// Sleeps until a moment on the boot-time clock, in steps: tokio's timers do not advance while the
/// machine is suspended.
async fn sleep_until(moment: BootTime, clock: &dyn Clock) {
    loop {
        let left = moment.since(clock.boot());
        if left.is_zero() {
            return;
        }
        clock.sleep_at_most(left).await;
    }
}

/// Receives one byte and the file descriptor that is passed with it.
fn recv_fd(stream: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let mut byte = [0];
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut bytes = [IoSliceMut::new(&mut byte)];
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    let received = recvmsg(stream, &mut bytes, &mut ancillary, flags)?;
    if received.bytes == 0 {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    // The kernel rounds the space up to two descriptors, and closes those that do not fit.
    let truncated = received.flags.contains(ReturnFlags::CTRUNC);
    let mut descriptors = ancillary.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
        _ => None,
    });
    let mut descriptors = descriptors.by_ref().flatten();
    let (first, second) = (descriptors.next(), descriptors.next());
    let invalid = |problem| Err(io::Error::new(ErrorKind::InvalidInput, problem));
    match (first, second) {
        (Some(only), None) if !truncated => Ok(only),
        (None, _) if !truncated => invalid("no socket was passed"),
        _ => invalid("a lease takes one descriptor, and more were passed"),
    }
}

/// Returns `true` if a descriptor is a listening Unix stream socket. For a descriptor that is no
/// socket all three options fail.
fn is_listening_socket(descriptor: &OwnedFd) -> bool {
    sockopt::socket_domain(descriptor) == Ok(AddressFamily::UNIX)
        && sockopt::socket_type(descriptor) == Ok(SocketType::STREAM)
        && sockopt::socket_acceptconn(descriptor) == Ok(true)
}

/// Serves the connections of a lease's socket, until the socket does not listen any more.
async fn serve(mut streams: AcceptedStreams, context: Arc<ServerContext>, attach: Attach<'_>) {
    while let Some(stream) = streams.next().await {
        attach(stream, &context);
        if context.limiter.is_full() {
            yield_now().await;
        }
    }
}
