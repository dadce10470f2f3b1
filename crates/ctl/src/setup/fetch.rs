//! Decides how a URL is asked, as the tools ask it, without their libraries: one request on
//! loopback, bounded in time and size.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use zeroize::Zeroizing;

/// The daemon lets a caller wait for ten seconds where it has nothing yet.
const PATIENCE: Duration = Duration::from_secs(12);

/// No document is longer.
const LARGEST: u64 = 64 * 1024;

/// Asks `http://127.0.0.1:PORT/…`; returns the answer's status and body.
pub(super) fn get(url: &str) -> Result<(u16, Zeroizing<Vec<u8>>)> {
    const SHAPE: &str = "it is not as in http://127.0.0.1:7787/…";
    let rest = url.strip_prefix("http://").context(SHAPE)?;
    let (authority, path) = rest.split_once('/').context(SHAPE)?;
    let address: SocketAddr = authority.parse().ok().context(SHAPE)?;
    ensure!(address.ip().is_loopback(), SHAPE);
    ensure!(path.bytes().all(|it| it.is_ascii_graphic()), SHAPE);
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)
        .with_context(|| format!("nobody answers at {address}"))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let request = Zeroizing::new(format!(
        "GET /{path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n"
    ));
    stream.write_all(request.as_bytes())?;
    let mut answer = Zeroizing::new(Vec::with_capacity(16 * 1024));
    stream
        .take(LARGEST)
        .read_to_end(&mut answer)
        .context("the answer broke off")?;
    let ends = answer.windows(4).position(|it| it == b"\r\n\r\n");
    let ends = ends.context("what answers there does not speak HTTP")?;
    let head = std::str::from_utf8(&answer[..ends]).unwrap_or_default();
    let status = head.split(' ').nth(1).and_then(|it| it.parse().ok());
    let status = status.context("what answers there does not speak HTTP")?;
    Ok((status, Zeroizing::new(answer[ends + 4..].to_vec())))
}
