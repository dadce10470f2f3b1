//! The exchange with OSS: requests, answers, and the error of a refusal.

use std::io::{Read, Write};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use minreq::{Method, Response};
use percent_encoding::percent_decode_str;
use stsd_oss_client::{Credentials, Refusal, UnsignedRequest, element};

use crate::credential_process;

/// An exchange that takes longer is given up.
const EXCHANGE_TIMEOUT_SECONDS: u64 = 60;

/// An operation on OSS.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    Put,
    Get,
    Head,
    List,
    Delete,
}

/// One call as the command line describes it; a list is of several requests.
pub(crate) struct Call {
    /// Scheme, host and port.
    pub(crate) endpoint: String,
    pub(crate) region: String,
    pub(crate) credential_process: String,
    pub(crate) operation: Operation,
    pub(crate) bucket: String,
    /// A list's prefix, otherwise the object's key.
    pub(crate) key: String,
}

impl Operation {
    pub(crate) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "put" => Self::Put,
            "get" => Self::Get,
            "head" => Self::Head,
            "list" => Self::List,
            "delete" => Self::Delete,
            _ => return None,
        })
    }

    fn method(self) -> Method {
        match self {
            Self::Put => Method::Put,
            Self::Get | Self::List => Method::Get,
            Self::Head => Method::Head,
            Self::Delete => Method::Delete,
        }
    }
}

impl Call {
    /// Makes the call: a put reads the object from `input`, results go to `output`.
    ///
    /// No error holds a secret.
    pub(crate) fn run(&self, input: &mut dyn Read, output: &mut dyn Write) -> Result<()> {
        let mut body = Vec::new();
        if self.operation == Operation::Put {
            let read = input.read_to_end(&mut body);
            read.context("cannot read the object from standard input")?;
        }
        let credentials = credential_process::run(&self.credential_process)?;
        let mut continuation = None;
        loop {
            let answer = self.exchange(&credentials, continuation.as_deref(), &body)?;
            let written = show(self.operation, &answer, output).and_then(|()| output.flush());
            written.context("cannot write to standard output")?;
            continuation = match self.operation {
                Operation::List => element(&text(answer.as_bytes()), "NextContinuationToken"),
                _ => None,
            };
            if continuation.is_none() {
                return Ok(());
            }
        }
    }

    /// Sends one request and returns its answer, which is complete and no refusal.
    fn exchange(
        &self,
        credentials: &Credentials,
        continuation: Option<&str>,
        body: &[u8],
    ) -> Result<Response> {
        let method = self.operation.method();
        let (key, query) = match self.operation {
            Operation::List => ("", self.list_query(continuation)),
            _ => (self.key.as_str(), Vec::new()),
        };
        let signed = UnsignedRequest {
            method: &method.to_string(),
            bucket: &self.bucket,
            key,
            query: &query,
            region: &self.region,
        }
        .sign(credentials);
        let url = format!("{}{}", self.endpoint, signed.target);
        let request = minreq::Request::new(method, url)
            .with_headers(signed.headers)
            .with_header("connection", "close")
            .with_body(body)
            .with_timeout(EXCHANGE_TIMEOUT_SECONDS)
            // A signature is good for one host.
            .with_follow_redirects(false);
        let answer = request.send();
        let answer = answer.with_context(|| format!("no answer from {}", self.endpoint))?;
        if !(200..300).contains(&answer.status_code) {
            bail!(refusal(&answer));
        }
        // minreq takes the end of the connection for the end of the answer.
        let length = answer.header("content-length").map(str::parse::<usize>);
        let is_whole = self.operation == Operation::Head
            || length.is_none_or(|it| it == Ok(answer.as_bytes().len()));
        ensure!(is_whole, "the answer from {} broke off", self.endpoint);
        Ok(answer)
    }

    fn list_query<'a>(&'a self, continuation: Option<&'a str>) -> Vec<(&'static str, &'a str)> {
        let mut query = vec![
            ("list-type", "2"),
            ("encoding-type", "url"),
            ("max-keys", "1000"),
        ];
        // V4 signs an empty value as a bare name, so none is sent.
        if !self.key.is_empty() {
            query.push(("prefix", &self.key));
        }
        if let Some(token) = continuation {
            query.push(("continuation-token", token));
        }
        query
    }
}

fn show(operation: Operation, answer: &Response, output: &mut dyn Write) -> std::io::Result<()> {
    match operation {
        Operation::Put | Operation::Delete => {}
        Operation::Get => output.write_all(answer.as_bytes())?,
        Operation::Head => {
            for (name, value) in &answer.headers {
                writeln!(output, "{name}: {value}")?;
            }
        }
        Operation::List => {
            for part in text(answer.as_bytes()).split("<Contents>").skip(1) {
                let key = element(part, "Key").unwrap_or_default();
                writeln!(output, "{}", percent_decode_str(&key).decode_utf8_lossy())?;
            }
        }
    }
    Ok(())
}

/// Returns the error of a refused request; a missing code or message is that of HTTP.
fn refusal(answer: &Response) -> anyhow::Error {
    let refusal = Refusal::parse(answer.header("x-oss-err"), answer.as_bytes());
    let code = refusal.code;
    let code = code.unwrap_or_else(|| format!("HTTP {}", answer.status_code));
    let message = refusal.message;
    let message = message.unwrap_or_else(|| answer.reason_phrase.clone());
    anyhow!("{code}: {message}")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
