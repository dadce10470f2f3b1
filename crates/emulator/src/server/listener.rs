//! The listener of one address: plain HTTP, and HTTPS on the same port where a certificate is
//! configured.
//!
//! The first byte of a connection decides: a TLS record of a handshake begins with 22 (RFC 8446,
//! section 5.1), and no method of HTTP does. The control address therefore needs no certificate.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::serve::Listener;
use rustls::ServerConfig;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};
use tokio_rustls::TlsAcceptor;

/// The first byte of a TLS handshake.
const HANDSHAKE_RECORD: u8 = 22;

/// Maximum time from the connection to its first byte and the end of its handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(60);

/// Number of connections that may wait between their handshake and the server.
const QUEUE_LENGTH: usize = 64;

/// A connection to the server.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

type Connection = (Box<dyn Stream>, SocketAddr);

/// The connections of one address.
pub(crate) struct ServiceListener {
    address: SocketAddr,
    source: Source,
}

enum Source {
    Plain(TcpListener),
    /// The connections whose handshake has ended, and those without one.
    WithTls(mpsc::Receiver<Connection>),
}

impl ServiceListener {
    /// Returns the listener of a bound socket. It must be called in a runtime: a handshake has a
    /// task, so that a slow client does not delay others.
    pub(crate) fn new(
        listener: std::net::TcpListener,
        tls: Option<Arc<ServerConfig>>,
    ) -> io::Result<Self> {
        let listener = TcpListener::from_std(listener)?;
        let address = listener.local_addr()?;
        let source = match tls {
            None => Source::Plain(listener),
            Some(config) => {
                let (sender, receiver) = mpsc::channel(QUEUE_LENGTH);
                tokio::spawn(accept_all(listener, TlsAcceptor::from(config), sender));
                Source::WithTls(receiver)
            }
        };
        Ok(Self { address, source })
    }
}

impl Listener for ServiceListener {
    type Io = Box<dyn Stream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> Connection {
        match &mut self.source {
            Source::Plain(listener) => {
                let (stream, peer) = Listener::accept(listener).await;
                (Box::new(stream), peer)
            }
            Source::WithTls(connections) => match connections.recv().await {
                Some(connection) => connection,
                // The task ends with the runtime alone.
                None => std::future::pending().await,
            },
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

async fn accept_all(
    mut listener: TcpListener,
    acceptor: TlsAcceptor,
    accepted: mpsc::Sender<Connection>,
) {
    loop {
        let (stream, peer) = Listener::accept(&mut listener).await;
        let (acceptor, accepted) = (acceptor.clone(), accepted.clone());
        tokio::spawn(async move {
            let prepared = tokio::time::timeout(HANDSHAKE_TIMEOUT, prepare(stream, &acceptor));
            // A failed handshake ends its connection.
            if let Ok(Ok(stream)) = prepared.await {
                let _ = accepted.send((stream, peer)).await;
            }
        });
    }
}

/// Returns the stream of a connection, after the handshake if its first byte begins one.
async fn prepare(stream: TcpStream, acceptor: &TlsAcceptor) -> io::Result<Box<dyn Stream>> {
    let mut first = [0];
    stream.peek(&mut first).await?;
    if first != [HANDSHAKE_RECORD] {
        return Ok(Box::new(stream));
    }
    Ok(Box::new(acceptor.accept(stream).await?))
}
