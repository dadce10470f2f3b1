//! One HTTP/1.1 exchange over a plain socket: one request, one answer, closed.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

/// No exchange takes longer without a byte moving.
const PATIENCE: Duration = Duration::from_secs(30);

/// More than any answer's head here; the rest would be a mistake or an attack.
const LONGEST_HEAD: u64 = 64 * 1024;

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    pub(crate) fn headers(&self) -> &[(String, String)] {
        &self.headers
    }
}

/// Sends a request to `authority` (host and port) and reads the answer.
pub(crate) fn exchange(
    authority: &str,
    method: &str,
    target: &str,
    headers: &[(&str, String)],
    body: &[u8],
) -> io::Result<Answer> {
    let mut stream = TcpStream::connect(authority)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut head = format!("{method} {target} HTTP/1.1\r\nhost: {authority}\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!(
        "content-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    ));
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)?;
    read_answer(BufReader::new(stream), method)
}

fn read_answer(mut stream: BufReader<TcpStream>, method: &str) -> io::Result<Answer> {
    let broken = |text| io::Error::new(io::ErrorKind::InvalidData, text);
    let mut lines = Vec::new();
    let mut head = (&mut stream).take(LONGEST_HEAD);
    loop {
        let mut line = String::new();
        if head.read_line(&mut line)? == 0 {
            return Err(broken("the connection closed before an answer"));
        }
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        lines.push(line.to_owned());
    }
    let status = lines
        .first()
        .and_then(|line| line.split(' ').nth(1)?.parse().ok())
        .ok_or_else(|| broken("the answer is not HTTP"))?;
    let headers: Vec<(String, String)> = lines
        .iter()
        .skip(1)
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let mut answer = Answer {
        status,
        headers,
        body: Vec::new(),
    };
    let has_body = method != "HEAD" && status != 204 && status != 304;
    if !has_body {
        return Ok(answer);
    }
    let length: Option<usize> = answer
        .header("content-length")
        .and_then(|text| text.parse().ok());
    // The request asked for the connection's end, so without a length that ends the body.
    stream.read_to_end(&mut answer.body)?;
    match length {
        Some(length) if answer.body.len() != length => {
            Err(broken("the answer broke off before its end"))
        }
        None if answer.header("transfer-encoding").is_some() => {
            Err(broken("the answer came in chunks, which are not read here"))
        }
        _ => Ok(answer),
    }
}
