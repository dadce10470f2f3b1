//! Listening sockets: their protocol and their backlog.

/// The backlog of a listening socket: the kernel's default maximum (`somaxconn`). A thousand
/// programs may connect at once.
pub(crate) const LISTEN_BACKLOG: u32 = 4096;

/// The protocol of a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Frames, see `docs/protocol.md`.
    Frames,
    /// HTTP.
    Http,
}
