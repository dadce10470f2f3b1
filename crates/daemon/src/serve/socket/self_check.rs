//! The daemon's own health check: a request through its socket, as a client sends it.

use std::{io, path::Path, time::Duration};

use stsd_wire::{HEADER, Message as _, Request, VERSION};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
    time::timeout,
};

/// Connects to a socket of the daemon, sends a request that is answered from memory, and waits for
/// the header of the reply, for `limit` at most.
///
/// # Errors
/// The daemon has not answered.
pub async fn self_check(socket: &Path, limit: Duration) -> io::Result<()> {
    timeout(limit, request_status(socket)).await?
}

async fn request_status(socket: &Path) -> io::Result<()> {
    // No profile name sorts after this one, so that the reply is short.
    let after = char::MAX.to_string();
    let mut request = Request::Hello { version: VERSION }
        .frame()
        .map_err(io::Error::other)?;
    request.extend_from_slice(
        &Request::Status { after }
            .frame()
            .map_err(io::Error::other)?,
    );
    let mut stream = UnixStream::connect(socket).await?;
    stream.write_all(&request).await?;
    stream.read_exact(&mut [0; HEADER]).await?;
    Ok(())
}
