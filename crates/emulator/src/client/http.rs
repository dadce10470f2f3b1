//! One HTTP/1.1 exchange over a plain socket: enough for loopback, and nothing to learn.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

/// How long any step may take.
const TIMEOUT: Duration = Duration::from_secs(20);

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The head, for a human.
    pub head: String,
    /// The body.
    pub body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// Only plain HTTP is spoken here.
    #[error("the endpoint must be http://HOST:PORT")]
    Endpoint,
    /// The connection failed.
    #[error("no answer: {0}")]
    Io(#[from] io::Error),
    /// The answer is not HTTP, or ends too early.
    #[error("the answer is not complete HTTP")]
    Incomplete,
}

pub(super) fn exchange(
    endpoint: &str,
    method: &str,
    path: &str,
    headers: &[(&'static str, String)],
    body: &[u8],
) -> Result<Answer, HttpError> {
    let host = endpoint
        .strip_prefix("http://")
        .ok_or(HttpError::Endpoint)?;
    let mut stream = TcpStream::connect(host)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let mut request = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
    for (name, value) in headers {
        request += &format!("{name}: {value}\r\n");
    }
    request += &format!("Content-Length: {}\r\n\r\n", body.len());
    stream.write_all(request.as_bytes())?;
    stream.write_all(body)?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;

    let end = bytes
        .windows(4)
        .position(|it| it == b"\r\n\r\n")
        .ok_or(HttpError::Incomplete)?;
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let status = head.split(' ').nth(1).and_then(|text| text.parse().ok());
    let body = bytes.split_off(end + 4);
    let promised = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find_map(|(name, value)| {
            let length = name.eq_ignore_ascii_case("content-length");
            length.then(|| value.trim().parse::<usize>().ok()).flatten()
        });
    if method != "HEAD" && promised.is_some_and(|length| length != body.len()) {
        return Err(HttpError::Incomplete);
    }
    Ok(Answer {
        status: status.ok_or(HttpError::Incomplete)?,
        head,
        body,
    })
}
