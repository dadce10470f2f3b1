//! The way by a URL: HTTP on loopback, for SDKs that take nothing else, and the same on a
//! Unix socket. Knows nothing of STS and of identities.
//!
//! On loopback anybody can knock, so three things have to be right: the user whose socket
//! it is, a secret in the URL (or in `Authorization`), and a request that comes neither from a
//! browser nor through a proxy. On the Unix socket the kernel says who it is.

mod body;
mod request_filter;
mod routes;
mod socket_owner;
mod url_secret;

use std::{
    collections::BTreeMap,
    convert::Infallible,
    io,
    net::{SocketAddr, TcpListener as StdTcpListener},
    os::{
        fd::{AsFd as _, BorrowedFd, OwnedFd},
        unix::net::UnixStream as StdUnixStream,
    },
    sync::{Arc, Mutex},
    time::Duration,
};

use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpSocket, TcpStream, UnixListener, UnixStream},
    sync::Semaphore,
    time::sleep,
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

pub use self::url_secret::UrlSecret;
use self::{request_filter::Refusal, routes::Asker, socket_owner::Owners};
use crate::{
    access::peer::Peer,
    audit::Operation,
    platform::sockets::LISTEN_BACKLOG,
    runtime::sync::lock,
    serve::{accept, connection_limit::Seated, context::Service},
};

/// How long a caller may take over the head of a request.
const DEADLINE: Duration = Duration::from_secs(10);

/// More than the largest head that any SDK sends; beyond it hyper answers 431 by itself.
const LARGEST_HEAD: usize = 16 * 1024;

/// What no SDK comes near.
const MOST_HEADERS: usize = 64;

/// How many at once are told that they get nothing; others just do not get it. They have no
/// place in the crowd, and must not use up what is there for those who have.
const STRANGERS: usize = 64;

/// How long they may take over hearing it.
const BRIEFLY: Duration = Duration::from_secs(1);

/// How long a port that is taken is left alone before it is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// The way by a URL, as a whole: where it is, what opens it, who was turned away.
pub struct Http {
    secret: UrlSecret,
    owners: Owners,
    at: Mutex<At>,
    refused: Mutex<BTreeMap<&'static str, u64>>,
    /// Stands in for the socket of a peer of which all is known already.
    stand_in: OwnedFd,
    /// Room for those who are only told that they get nothing.
    strangers: Semaphore,
}

#[derive(Default)]
struct At {
    /// What the configuration wants.
    wanted: Option<SocketAddr>,
    /// Where it is really.
    address: Option<SocketAddr>,
    /// Ends the listening there.
    stop: CancellationToken,
    /// A socket that another process of ours has left, or a copy for one that comes after us.
    kept: Option<StdTcpListener>,
}

impl Http {
    /// Prepares the way; nobody listens yet. `kept` is the socket of a process before us.
    ///
    /// # Errors
    /// When the system has no descriptor left.
    pub fn new(secret: UrlSecret, kept: Option<StdTcpListener>) -> io::Result<Self> {
        Ok(Self {
            stand_in: StdUnixStream::pair()?.0.into(),
            secret,
            owners: Owners::new(),
            at: Mutex::new(At {
                kept,
                ..At::default()
            }),
            refused: Mutex::default(),
            strangers: Semaphore::new(STRANGERS),
        })
    }

    /// Returns what opens the URLs.
    #[must_use]
    pub fn secret(&self) -> &UrlSecret {
        &self.secret
    }

    /// Returns the address of the loopback socket, if there is one.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        lock(&self.at).address
    }

    /// Returns a copy of the loopback socket, for a program that takes our place.
    #[must_use]
    pub fn copy(&self) -> Option<StdTcpListener> {
        lock(&self.at).kept.as_ref()?.try_clone().ok()
    }

    /// Returns how often callers were turned away, by reason.
    #[must_use]
    pub fn refused(&self) -> Vec<(&'static str, u64)> {
        let refused = lock(&self.refused);
        refused.iter().map(|(why, count)| (*why, *count)).collect()
    }

    /// Begins to answer at a socket, and keeps a copy for a process that comes after us.
    fn open(&self, listener: StdTcpListener) -> io::Result<TcpListener> {
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let mut at = lock(&self.at);
        at.kept = Some(listener.try_clone()?);
        at.address = Some(address);
        info!(%address, "answering by HTTP");
        self.secret.save();
        TcpListener::from_std(listener)
    }

    fn count(&self, refusal: Refusal) {
        let mut refused = lock(&self.refused);
        let count = refused.entry(refusal.name()).or_default();
        *count += 1;
        // Whoever does it in a loop is only counted.
        if *count == 1 {
            warn!(reason = refusal.name(), "a request by HTTP was refused");
        }
    }
}

impl Service {
    /// Listens where the configuration wants, or no longer. A port that cannot be had is tried
    /// again, and is no reason not to serve by the Unix socket.
    pub fn listen(self: &Arc<Self>, wanted: Option<SocketAddr>, stop: &CancellationToken) {
        let (kept, stop) = {
            let mut at = lock(&self.http.at);
            if at.wanted == wanted {
                return;
            }
            at.stop.cancel();
            let kept = at.kept.take();
            *at = At {
                wanted,
                stop: stop.child_token(),
                ..At::default()
            };
            (kept, at.stop.clone())
        };
        let Some(wanted) = wanted else { return };
        let fits = |kept: &StdTcpListener| kept.local_addr().is_ok_and(|it| serves(it, wanted));
        let opened = match kept.filter(fits) {
            Some(kept) => self.http.open(kept),
            None => bind(wanted).and_then(|it| self.http.open(it)),
        };
        let service = Arc::clone(self);
        let tasks = self.crowd.tasks();
        match opened {
            Ok(listener) => tasks.spawn(accept_tcp(listener, service, stop)),
            Err(error) => {
                warn!("HTTP at {wanted} is not answered yet: {error}; it is tried again");
                tasks.spawn(listen_later(service, wanted, stop))
            }
        };
    }
}

/// Tells whether a socket is the one that is wanted; port 0 is any.
fn serves(address: SocketAddr, wanted: SocketAddr) -> bool {
    address.ip() == wanted.ip() && (wanted.port() == 0 || wanted.port() == address.port())
}

/// As many callers as the kernel allows may wait to be accepted, as at the Unix sockets. The
/// port of a daemon that has just ended can be had at once.
fn bind(wanted: SocketAddr) -> io::Result<StdTcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(wanted)?;
    socket.listen(LISTEN_BACKLOG)?.into_std()
}

async fn listen_later(service: Arc<Service>, wanted: SocketAddr, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(RETRY) => {}
        }
        let opened = bind(wanted).and_then(|it| service.http.open(it));
        if let Ok(listener) = opened {
            return accept_tcp(listener, service, stop).await;
        }
    }
}

async fn accept_tcp(listener: TcpListener, service: Arc<Service>, stop: CancellationToken) {
    accept::all(listener, &service.crowd, &stop, |stream| {
        let conversation = by_tcp(stream, Arc::clone(&service), stop.clone());
        service.crowd.tasks().spawn(conversation);
    })
    .await;
}

/// Serves whoever connects to a Unix socket.
pub(crate) async fn accept_unix(
    listener: UnixListener,
    service: Arc<Service>,
    stop: CancellationToken,
) {
    accept::all(listener, &service.crowd, &stop, |stream| {
        let conversation = by_unix(stream, Arc::clone(&service), stop.clone());
        service.crowd.tasks().spawn(conversation);
    })
    .await;
}

async fn by_tcp(stream: TcpStream, service: Arc<Service>, stop: CancellationToken) {
    let addresses = stream
        .peer_addr()
        .and_then(|peer| Ok((peer, stream.local_addr()?)));
    let Ok((client, server)) = addresses else {
        return;
    };
    // The kernel's answer is small; waiting to fill a packet helps nobody.
    let _ = stream.set_nodelay(true);
    let caller = match service.http.owners.of(client, server).await {
        Some(uid) => caller(&service, Peer::of_user(uid), stream.as_fd()),
        None => Err(Refusal::UnknownUser),
    };
    converse(stream, service, caller, Some(server), stop).await;
}

async fn by_unix(stream: UnixStream, service: Arc<Service>, stop: CancellationToken) {
    let caller = match Peer::of(&stream, service.clock.boot(), service.lease) {
        Ok(peer) => {
            // The socket is hyper's from here on.
            peer.resolve(stream.as_fd());
            caller(&service, peer, stream.as_fd())
        }
        Err(_) => Err(Refusal::UnknownUser),
    };
    converse(stream, service, caller, None, stop).await;
}

/// Decides whether a peer may speak to us at all.
fn caller(
    service: &Service,
    peer: Peer,
    socket: BorrowedFd<'_>,
) -> Result<(Peer, Seated), Refusal> {
    if !service.access.can_connect(&peer) {
        service
            .audit
            .refused(Operation::Connection, None, (&peer, socket));
        return Err(Refusal::OtherUser);
    }
    let seated = service.crowd.admit(&peer);
    seated.map(|seated| (peer, seated)).ok_or(Refusal::Full)
}

/// Answers the requests of one connection. Who may not speak is told so, whatever it asks.
async fn converse<S>(
    stream: S,
    service: Arc<Service>,
    caller: Result<(Peer, Seated), Refusal>,
    tcp: Option<SocketAddr>,
    stop: CancellationToken,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let refused = caller.as_ref().err().copied();
    let stranger = refused.map(|_| service.http.strangers.try_acquire());
    if let (Some(Err(_)), Some(refusal)) = (&stranger, refused) {
        return service.http.count(refusal);
    }
    let asker = caller.as_ref().ok().map(|(peer, _)| Asker {
        peer,
        socket: service.http.stand_in.as_fd(),
        tcp,
    });
    let seated = caller.as_ref().ok().map(|(_, seated)| seated);
    let (service, asker) = (&*service, &asker);
    let answer = |request: Request<Incoming>| async move {
        let answer = match (refused, asker) {
            (Some(refusal), _) => Err(refusal),
            (None, Some(asker)) => {
                if let Some(seated) = seated {
                    seated.has_asked();
                }
                service.answer(asker, &request).await
            }
            (None, None) => Err(Refusal::UnknownUser),
        };
        if let Some(seated) = seated {
            seated.falls_silent();
        }
        let response = answer.unwrap_or_else(|refusal| {
            service.http.count(refusal);
            routes::refusal(refusal)
        });
        Ok::<_, Infallible>(response)
    };
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(DEADLINE)
        .max_buf_size(LARGEST_HEAD)
        .max_headers(MOST_HEADERS)
        .serve_connection(TokioIo::new(stream), service_fn(answer));
    let told_to_leave = async {
        match seated {
            Some(seated) => seated.told_to_leave().await,
            None => sleep(BRIEFLY).await,
        }
    };
    let outcome = tokio::select! {
        biased;
        () = stop.cancelled() => return,
        () = service.over.cancelled() => return,
        () = told_to_leave => return,
        outcome = connection => outcome,
    };
    if let Err(error) = outcome {
        if error.is_parse_too_large() {
            service.http.count(Refusal::Head);
        }
        // Its text names what could not be read, and quotes nothing of it.
        debug!("connection by HTTP ended: {error}");
    }
}

#[cfg(fuzzing)]
mod fuzz;
#[cfg(fuzzing)]
pub(crate) use self::fuzz::attempt;
