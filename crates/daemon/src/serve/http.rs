//! The loopback endpoint for SDKs that take credentials from a URL, and the same on a Unix socket.
//! Uses neither STS nor identities.
//!
//! Any process can connect to a loopback port, so three things are checked: the user that owns the
//! client's socket, the secret in the URL (or in `Authorization`), which is of that user and of one
//! profile, and that the request comes neither from a browser nor through a proxy. On the Unix socket
//! the kernel names the peer.

mod body;
pub(super) mod endpoint;
mod header_marks;
pub(super) mod listener_state;
mod master_file;
mod request_filter;
mod routes;
mod socket_owner;
#[cfg(fuzzing)]
mod socketpair_exchange;
pub(super) mod url_secrets;

use std::{
    convert::Infallible,
    net::{SocketAddr, TcpListener as StdTcpListener},
    os::fd::{AsFd as _, BorrowedFd},
    sync::Arc,
    time::Duration,
};

use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    task::spawn_blocking,
    time::sleep,
};
use tokio_util::sync::CancellationToken;
use tracing::debug;

#[cfg(fuzzing)]
pub(crate) use self::socketpair_exchange::respond_for_fuzzing;
pub use self::{
    endpoint::HttpEndpoint,
    listener_state::ListenerState,
    master_file::MasterFile,
    url_secrets::{RotateError, UrlSecrets},
};
use self::{
    endpoint::Reconfigured,
    request_filter::{Rejection, Transport},
    routes::RequestContext,
};
use crate::{
    access::{Operation, Refusal, peer::Peer},
    audit::{AuditCaller, QuotaCell},
    serve::{
        accept, connection_limit,
        connection_limit::{Activity, ConnectionPermit},
        context::ServerContext,
    },
};

/// Timeout for the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Maximum length of the head of a request, above that of any SDK, and the least that hyper accepts.
/// hyper answers 431 to a longer head.
const MAX_HEAD_BYTES: usize = 8 * 1024;

/// The bytes that hyper allocates for a connection: its read buffer and its write buffer.
const HTTP_BUFFER_BYTES: usize = 2 * MAX_HEAD_BYTES;

/// Maximum number of headers of a request, above that of any SDK.
const MAX_HEADERS: usize = 64;

/// Timeout for a rejected connection.
const REJECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Interval between attempts to bind a port that is in use.
const BIND_RETRY_INTERVAL: Duration = Duration::from_secs(5);

/// Listens at the configured address, or stops listening. A port that is in use is tried again
/// later: the Unix sockets are served meanwhile.
pub fn listen(
    context: &Arc<ServerContext>,
    configured: Option<SocketAddr>,
    stop: &CancellationToken,
) {
    let http = &context.http;
    let Some(Reconfigured { stop, inherited }) = http.reconfigure(configured, stop) else {
        return;
    };
    let Some(configured) = configured else { return };
    let is_configured =
        |it: &StdTcpListener| it.local_addr().is_ok_and(|it| matches(it, configured));
    let bound = match inherited.filter(is_configured) {
        Some(inherited) => Ok(inherited),
        None => http.bind(configured),
    };
    let tasks = context.limiter.tasks();
    let opened = bound.and_then(|it| http.open(it));
    let context = Arc::clone(context);
    match opened {
        Ok(listener) => tasks.spawn(accept_tcp(listener, Arc::clone(&context), stop)),
        Err(_) => tasks.spawn(retry_listen(Arc::clone(&context), configured, stop)),
    };
}

/// Returns `true` if an address is the configured one; port 0 matches any port.
fn matches(address: SocketAddr, configured: SocketAddr) -> bool {
    let port = configured.port();
    address.ip() == configured.ip() && (port == 0 || port == address.port())
}

/// Tries to bind every [`BIND_RETRY_INTERVAL`], then serves the listener.
async fn retry_listen(
    context: Arc<ServerContext>,
    configured: SocketAddr,
    stop: CancellationToken,
) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(BIND_RETRY_INTERVAL) => {}
        }
        let endpoint = Arc::clone(&context.http);
        // The lookup of the port's holder may read a large table.
        let bound = spawn_blocking(move || endpoint.bind(configured)).await;
        let Ok(Ok(bound)) = bound else { continue };
        if stop.is_cancelled() {
            return;
        }
        match context.http.open(bound) {
            Ok(listener) => return accept_tcp(listener, context, stop).await,
            Err(error) => context.http.record_failure(configured, &error),
        }
    }
}

async fn accept_tcp(listener: TcpListener, context: Arc<ServerContext>, stop: CancellationToken) {
    accept::accept_loop(listener, &context.limiter, &stop, |stream| {
        let connection = serve_tcp(stream, Arc::clone(&context), stop.clone());
        context.limiter.tasks().spawn(connection);
    })
    .await;
}

/// Serves the connections of a Unix socket.
pub(crate) async fn accept_unix(
    listener: UnixListener,
    context: Arc<ServerContext>,
    stop: CancellationToken,
) {
    accept::accept_loop(listener, &context.limiter, &stop, |stream| {
        let connection = serve_unix(stream, Arc::clone(&context), stop.clone());
        context.limiter.tasks().spawn(connection);
    })
    .await;
}

async fn serve_tcp(stream: TcpStream, context: Arc<ServerContext>, stop: CancellationToken) {
    let addresses = stream
        .peer_addr()
        .and_then(|peer| Ok((peer, stream.local_addr()?)));
    let Ok((client, server)) = addresses else {
        return;
    };
    // A reply is one small packet; waiting for more data only delays it.
    let _ = stream.set_nodelay(true);
    let caller = match context.http.owners.of(client, server).await {
        Some(uid) => identify(&context, Peer::of_user(uid), stream.as_fd()),
        None => Err(Rejection::UnknownUser),
    };
    serve_connection(stream, context, caller, Transport::Tcp, stop).await;
}

async fn serve_unix(stream: UnixStream, context: Arc<ServerContext>, stop: CancellationToken) {
    let caller = match Peer::of(&stream, context.clock.boot(), context.lease) {
        Ok(peer) => {
            // hyper owns the socket from here on.
            peer.resolve(stream.as_fd());
            identify(&context, peer, stream.as_fd())
        }
        Err(_) => Err(Rejection::UnknownUser),
    };
    serve_connection(stream, context, caller, Transport::Unix, stop).await;
}

/// Returns the peer with its permit.
///
/// # Errors
/// The reason for which the connection is rejected.
fn identify(
    context: &ServerContext,
    peer: Peer,
    socket: BorrowedFd<'_>,
) -> Result<(Peer, ConnectionPermit), Rejection> {
    let refused = |reason| {
        let caller = AuditCaller {
            peer: &peer,
            socket,
            quota: &QuotaCell::default(),
        };
        context
            .audit
            .refused(Operation::Connection, None, reason, caller);
    };
    if !context.access.can_connect(&peer) {
        refused(Refusal::NotAllowed);
        return Err(Rejection::OtherUser);
    }
    let permit = context
        .limiter
        .admit(&peer, connection_limit::Transport::Http);
    if permit.is_none() {
        refused(Refusal::Busy);
    }
    permit.map(|permit| (peer, permit)).ok_or(Rejection::Full)
}

/// Serves the requests of one connection. A rejected caller receives the reason for any request.
async fn serve_connection<S>(
    stream: S,
    context: Arc<ServerContext>,
    caller: Result<(Peer, ConnectionPermit), Rejection>,
    transport: Transport,
    stop: CancellationToken,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let rejection = caller.as_ref().err().copied();
    let reject_slot = rejection.map(|_| context.http.rejected_slots.try_acquire());
    if let (Some(Err(_)), Some(rejection)) = (&reject_slot, rejection) {
        return context.http.count(rejection);
    }
    let request_context = caller.as_ref().ok().map(|(peer, _)| RequestContext {
        server: &context,
        peer,
        socket: context.http.placeholder.as_fd(),
        quota: QuotaCell::default(),
        transport,
    });
    let permit = caller.as_ref().ok().map(|(_, permit)| permit);
    if let Some(permit) = permit {
        permit.set_buffered(HTTP_BUFFER_BYTES);
    }
    let (context, request_context) = (&*context, &request_context);
    let respond = |request: Request<Incoming>| async move {
        let response = match (rejection, request_context) {
            (Some(rejection), _) => Err(rejection),
            (None, Some(request_context)) => {
                if let Some(permit) = permit {
                    permit.mark(Activity::Waiting);
                    permit.set_buffered(0);
                }
                request_context.respond(&request).await
            }
            (None, None) => Err(Rejection::UnknownUser),
        };
        if let Some(permit) = permit {
            permit.mark_idle();
            permit.set_buffered(HTTP_BUFFER_BYTES);
        }
        let response = response.unwrap_or_else(|rejection| {
            context.http.count(rejection);
            if let Some(request_context) = request_context {
                request_context.audit_rejection(rejection);
            }
            routes::rejection_response(rejection)
        });
        Ok::<_, Infallible>(response)
    };
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD_BYTES)
        .max_headers(MAX_HEADERS)
        .serve_connection(TokioIo::new(stream), service_fn(respond));
    let close_requested = async {
        match permit {
            Some(permit) => permit.close_signal().requested().await,
            None => sleep(REJECT_TIMEOUT).await,
        }
    };
    let outcome = tokio::select! {
        biased;
        () = stop.cancelled() => return,
        () = context.revoked.cancelled() => return,
        () = close_requested => return,
        outcome = connection => outcome,
    };
    if let Err(error) = outcome {
        if error.is_parse_too_large() {
            context.http.count(Rejection::Head);
        }
        // hyper's error names the part that is malformed, and quotes nothing of it.
        debug!("HTTP connection ended: {error}");
    }
}
