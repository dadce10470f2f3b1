//! A request for the document of a URL, as the tools make it: on loopback, without their
//! libraries.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context as _, Result, ensure};

use crate::http_exchange::{Answer, Request};

/// Longer than the 10 s for which the daemon delays a response without a session.
const TIMEOUT: Duration = Duration::from_secs(12);

/// Larger than any credentials document.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// Requests `http://127.0.0.1:PORT/…` and returns the response.
pub(super) fn get(url: &str) -> Result<Answer> {
    const SHAPE: &str = "it is not as in http://127.0.0.1:7787/…";
    let rest = url.strip_prefix("http://").context(SHAPE)?;
    let (host, target) = rest.split_at(rest.find('/').context(SHAPE)?);
    let address: SocketAddr = host.parse().ok().context(SHAPE)?;
    ensure!(address.ip().is_loopback(), SHAPE);
    ensure!(target.bytes().all(|it| it.is_ascii_graphic()), SHAPE);
    let request = Request {
        method: "GET",
        address,
        host,
        target,
        timeout: TIMEOUT,
        max_answer_bytes: MAX_ANSWER_BYTES,
    };
    request.send()
}
