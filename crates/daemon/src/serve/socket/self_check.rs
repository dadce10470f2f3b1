//! Decides whether we answer: by asking ourselves, the way a client does.

use std::{io, path::Path, time::Duration};

use stsd_wire::{HEADER, Message as _, Request, VERSION};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
    time::timeout,
};

/// Connects to a socket of ours, asks what is answered from memory, and waits for the
/// first of the answer for `patience`.
///
/// # Errors
/// Why there is no answer.
pub async fn probe(socket: &Path, patience: Duration) -> io::Result<()> {
    timeout(patience, ask(socket)).await?
}

async fn ask(socket: &Path) -> io::Result<()> {
    // No name of a profile sorts after this one, so the answer is short.
    let after = char::MAX.to_string();
    let mut question = Request::Hello { version: VERSION }
        .frame()
        .map_err(io::Error::other)?;
    question.extend_from_slice(
        &Request::Status { after }
            .frame()
            .map_err(io::Error::other)?,
    );
    let mut stream = UnixStream::connect(socket).await?;
    stream.write_all(&question).await?;
    stream.read_exact(&mut [0; HEADER]).await?;
    Ok(())
}
