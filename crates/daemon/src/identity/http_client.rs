//! The HTTP client of identity providers: with a timeout and a maximum size, without redirects. An
//! error holds neither the URL's path nor the response: both may be secret.

use std::{error::Error as _, fmt, io, sync::OnceLock, thread, time::Duration};

use jiff::{Timestamp, fmt::rfc2822};
use reqwest::{
    Client, Method, RequestBuilder, StatusCode, Url,
    header::{DATE, HeaderValue},
    redirect::Policy,
};
use stsd_sts::Proof;
use tokio::{
    runtime::{self, LocalOptions},
    sync::oneshot,
    time::timeout,
};
use zeroize::Zeroizing;

use super::{credentials_document, credentials_document::ReceivedAt};
use crate::profile::{ResolvedIdentity, SourceError};

/// Timeout for a connection. A host on this machine or its network accepts at once.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Timeout for one request and its response.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Extra time for a thread that is kept from noticing its own timeout.
const HANG_GRACE: Duration = Duration::from_secs(1);

/// Timeout for all requests of one resolution.
pub(super) const TOTAL_TIMEOUT: Duration = Duration::from_secs(10);

/// Maximum size of a response: larger than a document, because other programs add fields, and small
/// enough that a hostile response costs little memory.
const MAX_BODY_BYTES: usize = 4 * credentials_document::MAX_DOCUMENT_BYTES;

/// The use of the proxy that the environment names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ProxyPolicy {
    /// No proxy: a proxy cannot reach this machine and must not see its requests.
    Direct,
    /// The proxy of the environment.
    AsConfigured,
}

/// A request.
pub(super) struct Request<'a> {
    pub method: Method,
    pub url: Url,
    pub headers: &'a [(&'static str, &'a str)],
    pub proxy: ProxyPolicy,
}

/// A response with any status.
pub(super) struct Answer {
    pub status: StatusCode,
    /// The server's clock; `None` if the response has no `Date`.
    pub date: Option<Timestamp>,
    pub text: Zeroizing<String>,
}

/// The reason why there is no response.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("is not reachable: {0}")]
    Unreachable(String),
    #[error("gives no answer: {0}")]
    NoAnswer(String),
    #[error("does not answer in time: {} s for a request, {} s in all", REQUEST_TIMEOUT.as_secs(), TOTAL_TIMEOUT.as_secs())]
    TimedOut,
    #[error("ends its answer early")]
    Truncated,
    #[error("answers with more than {MAX_BODY_BYTES} bytes")]
    TooMuch,
    #[error("answers with bytes that are not UTF-8")]
    NotText,
}

/// An HTTP client. TLS is set up by the first request.
#[derive(Default)]
pub(super) struct HttpFetcher {
    direct: OnceLock<Client>,
    configured: OnceLock<Client>,
}

impl HttpFetcher {
    /// Sends a request and reads the response, on a thread of its own: a server may send many
    /// informational responses that the client skips, such as a thousand `100 Continue` in one
    /// packet, and callers that are served from memory must not wait for them.
    pub(super) async fn send(&self, request: Request<'_>) -> Result<Answer, FetchError> {
        let client = self.client(request.proxy)?;
        let mut builder = client.request(request.method, request.url);
        for (name, value) in request.headers {
            let mut value = HeaderValue::from_str(value)
                .map_err(|_| FetchError::NoAnswer("a header cannot hold this".to_owned()))?;
            value.set_sensitive(true);
            builder = builder.header(*name, value);
        }
        let thread_error = |error: io::Error| FetchError::NoAnswer(error.to_string());
        let (sender, receiver) = oneshot::channel();
        let fetch = move || {
            let runtime = runtime::Builder::new_current_thread()
                .enable_all()
                .build_local(LocalOptions::default());
            let runtime = match runtime {
                Ok(runtime) => runtime,
                Err(error) => return drop(sender.send(Err(thread_error(error)))),
            };
            let _ = sender.send(runtime.block_on(fetch(builder)));
            // Without waiting for a name resolution that is still running.
            runtime.shutdown_background();
        };
        // The thread ends by itself: the request has its timeout there too.
        thread::Builder::new()
            .name("fetch".into())
            .spawn(fetch)
            .map_err(thread_error)?;
        match timeout(REQUEST_TIMEOUT + HANG_GRACE, receiver).await {
            Ok(answer) => answer.unwrap_or(Err(FetchError::Truncated)),
            Err(_) => Err(FetchError::TimedOut),
        }
    }

    fn client(&self, proxy: ProxyPolicy) -> Result<&Client, FetchError> {
        let place = match proxy {
            ProxyPolicy::Direct => &self.direct,
            ProxyPolicy::AsConfigured => &self.configured,
        };
        if let Some(client) = place.get() {
            return Ok(client);
        }
        stsd_sts::prepare_tls();
        let mut builder = Client::builder();
        if proxy == ProxyPolicy::Direct {
            builder = builder.no_proxy();
        }
        let client = builder
            .user_agent(concat!("stsd/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(REQUEST_TIMEOUT)
            .redirect(Policy::none())
            // As for STS: a kept connection would only be a timer that wakes the daemon.
            .pool_max_idle_per_host(0)
            .build()
            .map_err(no_answer)?;
        Ok(place.get_or_init(|| client))
    }
}

async fn fetch(request: RequestBuilder) -> Result<Answer, FetchError> {
    let mut response = request.send().await.map_err(no_answer)?;
    let status = response.status();
    let date = response.headers().get(DATE);
    let date = date.and_then(|it| rfc2822::parse(it.to_str().ok()?).ok());
    let mut body = Zeroizing::new(Vec::with_capacity(8 * 1024));
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() > MAX_BODY_BYTES => {
                return Err(FetchError::TooMuch);
            }
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => break,
            Err(error) if error.is_timeout() => return Err(FetchError::TimedOut),
            Err(_) => return Err(FetchError::Truncated),
        }
    }
    let text = std::str::from_utf8(&body).map_err(|_| FetchError::NotText)?;
    Ok(Answer {
        status,
        date: date.map(|it| it.timestamp()),
        text: Zeroizing::new(text.to_owned()),
    })
}

impl fmt::Debug for HttpFetcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fetcher").finish_non_exhaustive()
    }
}

impl Answer {
    /// Returns the session of the response: credentials with a token and an expiration.
    ///
    /// # Errors
    /// [`SourceError`], which never quotes the response.
    pub(super) fn session(
        &self,
        subject: &str,
        got: ReceivedAt<'_>,
    ) -> Result<ResolvedIdentity, SourceError> {
        let date = self.date;
        let obtained = credentials_document::read(&self.text, subject, ReceivedAt { date, ..got })?;
        let missing = match (&*obtained.proof, obtained.end) {
            (Proof::Credentials(it), _) if it.security_token.is_none() => "a security token",
            (_, None) => "an expiration",
            _ => return Ok(obtained),
        };
        let problem = format!("gave credentials without {missing}");
        let hint = "AccessKeyId, AccessKeySecret, SecurityToken and Expiration are all needed; a \
                    long-lived key belongs into a source of type access-key";
        Err(SourceError::new(subject, problem, hint))
    }
}

/// Returns the innermost cause of an error, on which a user can act. `reqwest::Error` prints the
/// whole URL without `without_url`.
fn no_answer(error: reqwest::Error) -> FetchError {
    let error = error.without_url();
    if error.is_timeout() {
        return FetchError::TimedOut;
    }
    let mut cause = error.source();
    while let Some(deeper) = cause.and_then(std::error::Error::source) {
        cause = Some(deeper);
    }
    let cause = cause.map_or_else(|| error.to_string(), ToString::to_string);
    match error.is_connect() {
        true => FetchError::Unreachable(cause),
        false => FetchError::NoAnswer(cause),
    }
}
