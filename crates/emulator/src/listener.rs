//! Connections that a fault can break: cut off before an answer, or in its middle.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::IncomingStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

/// Says how the next write of a connection ends: nothing, everything but the last bytes,
/// or nothing at all.
#[derive(Debug, Clone, Default)]
pub(crate) struct Switch(Arc<AtomicUsize>);

/// Cuts whatever would be written.
const ALL: usize = usize::MAX;

impl Switch {
    /// The connection ends before anything is answered.
    pub(crate) fn cut_all(&self) {
        self.cut(ALL);
    }

    /// The connection ends `bytes` before the end of the answer.
    pub(crate) fn cut(&self, bytes: usize) {
        self.0.store(bytes, Ordering::SeqCst);
    }

    fn left_out(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

pub(crate) struct BreakableListener(pub(crate) TcpListener);

/// A connection with its switch.
pub(crate) struct Breakable {
    stream: TcpStream,
    switch: Switch,
}

impl axum::serve::Listener for BreakableListener {
    type Io = Breakable;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Breakable, SocketAddr) {
        loop {
            match self.0.accept().await {
                Ok((stream, peer)) => {
                    let switch = Switch::default();
                    return (Breakable { stream, switch }, peer);
                }
                // Out of descriptors, most likely: others will leave.
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

impl Connected<IncomingStream<'_, BreakableListener>> for Switch {
    fn connect_info(stream: IncomingStream<'_, BreakableListener>) -> Self {
        stream.io().switch.clone()
    }
}

impl AsyncRead for Breakable {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Breakable {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let left_out = self.switch.left_out();
        let kept = bytes.len().saturating_sub(left_out);
        if left_out == 0 {
            return Pin::new(&mut self.stream).poll_write(context, bytes);
        }
        if kept > 0 {
            let written = Pin::new(&mut self.stream).poll_write(context, &bytes[..kept]);
            if written.is_pending() {
                return Poll::Pending;
            }
        }
        Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
