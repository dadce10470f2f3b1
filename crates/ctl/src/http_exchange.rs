//! One HTTP/1.1 exchange without TLS, limited in time and in size.
//!
//! It is for a look at an address: a request without a body, and an answer that the end of
//! the connection ends. A library for that would be a dependency more in a program that
//! otherwise speaks to the daemon alone.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use zeroize::Zeroizing;

use crate::boot_time::boot_time;

/// The end of a head.
const BLANK_LINE: &[u8] = b"\r\n\r\n";

/// A request, and the limits of its exchange.
pub(crate) struct Request<'a> {
    pub(crate) method: &'a str,
    pub(crate) address: SocketAddr,
    /// The value of the header `Host`.
    pub(crate) host: &'a str,
    /// A path; its characters are visible ones of ASCII.
    pub(crate) target: &'a str,
    /// The time from the connection's start to the answer's end.
    pub(crate) timeout: Duration,
    /// The size of head and body together.
    pub(crate) max_answer_bytes: usize,
}

/// An answer. It may hold credentials, so its memory is wiped.
pub(crate) struct Answer {
    pub(crate) status: u16,
    bytes: Zeroizing<Vec<u8>>,
    head_bytes: usize,
}

impl Request<'_> {
    /// Sends the request and reads the answer: to the end of the head after a HEAD, otherwise
    /// to the end of the connection.
    pub(crate) fn send(&self) -> Result<Answer> {
        let Self { address, host, .. } = self;
        let deadline = boot_time() + self.timeout;
        let mut stream = TcpStream::connect_timeout(address, self.timeout)
            .with_context(|| format!("cannot connect to {address}"))?;
        stream.set_write_timeout(Some(self.timeout))?;
        // A target may hold the secret of a URL.
        let request = Zeroizing::new(format!(
            "{} {} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n",
            self.method, self.target
        ));
        let sent = stream.write_all(request.as_bytes());
        sent.with_context(|| format!("cannot send a request to {address}"))?;
        // A buffer that grew would leave copies behind.
        let mut bytes = Zeroizing::new(vec![0; self.max_answer_bytes]);
        let mut length = 0;
        let is_head = self.method == "HEAD";
        while !(is_head && end_of_head(&bytes[..length]).is_some()) {
            let left = deadline.saturating_sub(boot_time());
            ensure!(!left.is_zero(), "{address} does not answer in time");
            stream.set_read_timeout(Some(left))?;
            ensure!(
                length < bytes.len(),
                "the answer of {address} has {length} bytes or more"
            );
            match stream.read(&mut bytes[length..]) {
                Ok(0) => break,
                Ok(count) => length += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    bail!("{address} does not answer in time")
                }
                Err(error) => {
                    return Err(error).context(format!("the answer of {address} broke off"));
                }
            }
        }
        bytes.truncate(length);
        Answer::of(bytes).with_context(|| format!("the answer of {address} is not HTTP"))
    }
}

impl Answer {
    fn of(bytes: Zeroizing<Vec<u8>>) -> Option<Self> {
        let head_bytes = end_of_head(&bytes)?;
        let head = String::from_utf8_lossy(&bytes[..head_bytes]);
        let mut words = head.split(' ');
        words.next().filter(|it| it.starts_with("HTTP/1."))?;
        let status = words.next()?.get(..3)?.parse().ok()?;
        Some(Self {
            status,
            bytes,
            head_bytes,
        })
    }

    /// Returns the value of the first header with a name in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        let head = String::from_utf8_lossy(&self.bytes[..self.head_bytes]);
        head.lines().skip(1).find_map(|line| {
            let (known, value) = line.split_once(':')?;
            known
                .eq_ignore_ascii_case(name)
                .then(|| value.trim().to_owned())
        })
    }

    pub(crate) fn body(&self) -> &[u8] {
        &self.bytes[self.head_bytes..]
    }
}

/// Returns the length of a head, with its blank line.
fn end_of_head(bytes: &[u8]) -> Option<usize> {
    let mut windows = bytes.windows(BLANK_LINE.len());
    Some(windows.position(|it| it == BLANK_LINE)? + BLANK_LINE.len())
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        net::TcpListener,
        thread,
        time::Duration,
    };

    use super::{Answer, Request};

    /// Has a server send the pieces of an answer, with a pause after each, to a request of a
    /// method; returns the outcome and the request that the server has read.
    fn exchange(
        method: &str,
        pieces: &'static [&'static str],
        pause: Duration,
    ) -> (anyhow::Result<Answer>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                request.push(byte[0]);
            }
            for piece in pieces {
                // The other side may have given up.
                if stream.write_all(piece.as_bytes()).is_err() {
                    break;
                }
                thread::sleep(pause);
            }
            String::from_utf8(request).unwrap()
        });
        let request = Request {
            method,
            address,
            host: "sts.example",
            target: "/a/b",
            timeout: Duration::from_millis(500),
            max_answer_bytes: 1024,
        };
        let outcome = request.send();
        (outcome, server.join().unwrap())
    }

    fn refusal(pieces: &'static [&'static str], pause: Duration) -> String {
        let (outcome, _) = exchange("GET", pieces, pause);
        format!("{:#}", outcome.map(|it| it.status).unwrap_err())
    }

    const OK: &str = "HTTP/1.1 200 OK\r\nDATE:  Thu, 01 Jan 2026 00:00:00 GMT \r\n\r\n";

    #[test]
    fn http_response_has_status_headers_and_body() {
        let (answer, request) = exchange("GET", &[OK, "one\r\n\r\n", "two"], Duration::ZERO);
        let answer = answer.unwrap();
        assert_eq!(answer.status, 200);
        let date = answer.header("date");
        assert_eq!(date.as_deref(), Some("Thu, 01 Jan 2026 00:00:00 GMT"));
        assert_eq!(answer.header("one"), None);
        assert_eq!(answer.body(), b"one\r\n\r\ntwo");
        assert_eq!(
            request,
            "GET /a/b HTTP/1.1\r\nHost: sts.example\r\nConnection: close\r\n\r\n"
        );
    }

    #[test]
    fn head_request_does_not_wait_for_a_body() {
        let (answer, _) = exchange("HEAD", &[OK], Duration::from_secs(1));
        assert_eq!(answer.unwrap().status, 200);
    }

    #[test]
    fn endless_http_response_times_out() {
        let said = refusal(&["x"; 20], Duration::from_millis(100));
        assert!(said.ends_with("does not answer in time"), "{said}");
        let said = refusal(&[""], Duration::from_secs(1));
        assert!(said.ends_with("does not answer in time"), "{said}");
    }

    #[test]
    fn http_response_too_large_or_malformed_is_rejected() {
        let said = refusal(&["HTTP/1.1 200 OK\r\n\r\n"; 60], Duration::ZERO);
        assert!(said.ends_with("has 1024 bytes or more"), "{said}");
        for pieces in [
            &[""] as &[_],
            &["SSH-2.0-x\r\n"],
            &["SSH-2.0 200 x\r\n\r\n"],
            &["HTTP/1.1 200 OK\r\nDate: x"],
            &["HTTP/1.1\r\n\r\n"],
        ] {
            let said = refusal(pieces, Duration::ZERO);
            assert!(said.ends_with("is not HTTP"), "{pieces:?}: {said}");
        }
    }

    #[test]
    fn connection_error_has_the_address() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let request = Request {
            method: "GET",
            address,
            host: "x",
            target: "/",
            timeout: Duration::from_secs(1),
            max_answer_bytes: 1024,
        };
        let said = format!("{:#}", request.send().map(|it| it.status).unwrap_err());
        assert!(
            said.starts_with(&format!("cannot connect to {address}: ")),
            "{said}"
        );
    }
}
