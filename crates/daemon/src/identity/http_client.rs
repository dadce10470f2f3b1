//! The HTTP client of identity providers: with a timeout and a maximum size, without redirects. An
//! error holds neither the URL's path nor the response: both may be secret.

use std::{io, sync::Arc, thread, time::Duration};

use jiff::{Timestamp, fmt::rfc2822};
use reqwest::{
    Method, Request, StatusCode, Url,
    header::{DATE, HeaderValue},
};
use stsd_sts::{NoAnswer, Proof, Proxies, SetupError, client_builder};
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
    #[error("is not reachable: {}", .0.cause())]
    Unreachable(NoAnswer),
    #[error("cannot be asked: {0}")]
    Setup(#[from] SetupError),
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

/// Returns a request.
///
/// # Errors
/// [`FetchError::NoAnswer`], for a value that no header can hold.
pub(super) fn request(
    method: Method,
    url: Url,
    headers: &[(&'static str, &str)],
) -> Result<Request, FetchError> {
    let mut request = Request::new(method, url);
    for (name, value) in headers {
        let mut value = HeaderValue::from_str(value)
            .map_err(|_| FetchError::NoAnswer("a header cannot hold this".to_owned()))?;
        value.set_sensitive(true);
        request.headers_mut().insert(*name, value);
    }
    Ok(request)
}

/// Sends a request and reads the response, on a thread of its own: a server may send many
/// informational responses that the client skips, such as a thousand `100 Continue` in one packet,
/// and callers that are served from memory must not wait for them. Nor must they wait for the
/// certificate authorities, which each HTTPS request loads.
pub(super) async fn send(request: Request, proxies: &Arc<Proxies>) -> Result<Answer, FetchError> {
    let thread_error = |error: io::Error| FetchError::NoAnswer(error.to_string());
    let (sender, receiver) = oneshot::channel();
    let proxies = Arc::clone(proxies);
    let fetch = move || {
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build_local(LocalOptions::default());
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(error) => return drop(sender.send(Err(thread_error(error)))),
        };
        let _ = sender.send(runtime.block_on(fetch(request, &proxies)));
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

async fn fetch(request: Request, proxies: &Proxies) -> Result<Answer, FetchError> {
    let client = client_builder(request.url(), proxies)?
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(REQUEST_TIMEOUT)
        .build()
        .map_err(|error| FetchError::NoAnswer(error.without_url().to_string()))?;
    let url = request.url().clone();
    let mut response = match client.execute(request).await {
        Ok(response) => response,
        Err(error) => return Err(no_answer(NoAnswer::of(error, &url, proxies).await)),
    };
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

fn no_answer(why: NoAnswer) -> FetchError {
    if why.is_timeout() {
        FetchError::TimedOut
    } else if why.is_connection() {
        FetchError::Unreachable(why)
    } else {
        FetchError::NoAnswer(why.cause())
    }
}
