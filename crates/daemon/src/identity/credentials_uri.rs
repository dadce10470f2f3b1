//! The identity that a credentials URI supplies, the `ALIBABA_CLOUD_CREDENTIALS_URI` of the SDKs of
//! Alibaba Cloud. The URI often holds a secret.

use std::{
    borrow::Cow,
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use reqwest::{Method, StatusCode, Url};
use stsd_codes::Code;
use stsd_sts::{ConnectFault, Proxies, SecretText};
use tokio::time::timeout;
use url::Host;

use super::{
    PrivateFileError,
    credentials_document::ReceivedAt,
    http_client::{self, FetchError, TOTAL_TIMEOUT},
    secret_file,
};
use crate::{
    profile::{IdentityProvider, ResolveContext, ResolveFuture, ResolvedIdentity, SourceError},
    runtime::{clock::BootTime, file_watch::WatchedFile},
};

/// Maximum size of a file with a URI. A larger file is some other file.
const MAX_FILE_BYTES: usize = 16 * 1024;

const SERVER_HINT: &str = "check that its server runs and that this machine reaches the server";

/// A credentials URI, which may hold a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct UriAddress {
    text: SecretText,
    /// The host and the port.
    authority: String,
    /// The address on this machine; `None` if the URI has another host.
    loopback: Option<SocketAddr>,
}

/// The reason why a text is no credentials URI. No variant holds the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUri {
    /// The text is no absolute URL with a host.
    #[error("is no absolute URL, such as https://host/path")]
    NotAUrl,
    /// The network could read the credentials, and replace them.
    #[error("is neither https nor http to a literal loopback address")]
    Insecure,
    /// The URL has parts that no request has.
    #[error("has a user, a password or a fragment in it")]
    TooMuch,
}

/// The reason why a file with a credentials URI cannot be used. No variant holds its content.
#[derive(Debug, thiserror::Error)]
pub enum UriFileError {
    /// The file cannot be read, or is no private file.
    #[error(transparent)]
    Unusable(#[from] PrivateFileError),
    /// The content is no credentials URI.
    #[error("holds no credentials URI: its content {0}")]
    NotAUri(#[from] InvalidUri),
}

/// An identity that a credentials URI supplies.
#[derive(Debug)]
pub struct CredentialsUri {
    source: UriSource,
    proxies: Arc<Proxies>,
}

#[derive(Debug)]
enum UriSource {
    Here(UriAddress),
    File(WatchedFile),
}

impl UriAddress {
    /// Parses a credentials URI.
    ///
    /// # Errors
    /// [`InvalidUri`].
    pub fn new(text: &str) -> Result<Self, InvalidUri> {
        let url = Url::parse(text).map_err(|_| InvalidUri::NotAUrl)?;
        let port = url.port_or_known_default();
        let loopback = match url.host().ok_or(InvalidUri::NotAUrl)? {
            Host::Ipv4(it) if it.is_loopback() => Some(it.into()),
            Host::Ipv6(it) if it.is_loopback() => Some(it.into()),
            _ => None,
        };
        match url.scheme() {
            "https" => {}
            "http" if loopback.is_some() => {}
            _ => return Err(InvalidUri::Insecure),
        }
        let user = !url.username().is_empty() || url.password().is_some();
        if user || url.fragment().is_some() {
            return Err(InvalidUri::TooMuch);
        }
        Ok(Self {
            text: SecretText::from(text.to_owned()),
            authority: url.authority().to_owned(),
            loopback: loopback.and_then(|it| Some(SocketAddr::new(it, port?))),
        })
    }

    /// Returns the URI, which may hold a secret.
    pub(crate) fn expose(&self) -> &str {
        self.text.expose()
    }

    /// Returns `true` if the URI leads to a listener at `address`.
    #[must_use]
    pub fn leads_to(&self, address: SocketAddr) -> bool {
        self.loopback == Some(address)
    }

    fn describe(&self) -> String {
        format!("the credentials URI at {}", self.authority)
    }
}

impl fmt::Debug for UriAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Address").field(&self.authority).finish()
    }
}

impl UriFileError {
    /// Returns the code.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::Unusable(error) => error.code(),
            Self::NotAUri(_) => Code::ConfigKeyFile,
        }
    }

    /// Returns what to do about the error.
    #[must_use]
    pub fn hint(&self) -> Cow<'static, str> {
        const EXPECTED: &str = "one line with the URI: https, or http to 127.0.0.1";
        match self {
            Self::Unusable(error) => {
                error.hint("write the credentials URI there, mode 0600", EXPECTED)
            }
            Self::NotAUri(_) => EXPECTED.into(),
        }
    }
}

impl CredentialsUri {
    /// Returns the provider of a URI.
    #[must_use]
    pub fn new(address: UriAddress, proxies: Arc<Proxies>) -> Self {
        Self {
            source: UriSource::Here(address),
            proxies,
        }
    }

    /// Returns the provider of a URI in a file, which each resolution reads again, and the URI that
    /// the file holds now.
    ///
    /// # Errors
    /// [`UriFileError`].
    pub fn in_file(
        path: PathBuf,
        proxies: Arc<Proxies>,
    ) -> Result<(Self, UriAddress), UriFileError> {
        let address = read(&path)?;
        let this = Self {
            source: UriSource::File(WatchedFile::new(path)),
            proxies,
        };
        Ok((this, address))
    }

    async fn address(&self) -> Result<UriAddress, SourceError> {
        let watched_file = match &self.source {
            UriSource::Here(address) => return Ok(address.clone()),
            UriSource::File(watched_file) => watched_file,
        };
        let read = watched_file.read(read).await;
        read.unwrap_or_else(|late| Err(PrivateFileError::from(late).into()))
            .map_err(|error| {
                let subject = format!("the file {}", watched_file.path().display());
                SourceError::new(subject, error.to_string(), error.hint())
            })
    }

    async fn fetch(
        &self,
        address: &UriAddress,
        context: ResolveContext<'_>,
    ) -> Result<ResolvedIdentity, SourceError> {
        let subject = address.describe();
        let silent = |error: FetchError| {
            let hint = match &error {
                FetchError::Setup(error) => error.fault().hint(),
                FetchError::Unreachable(why) => hint_for(why.fault),
                _ => SERVER_HINT,
            };
            SourceError::new(&subject, error.to_string(), hint)
        };
        let url = Url::parse(address.expose());
        let url = url.map_err(|_| SourceError::new(&subject, "is no URL", "correct the URI"))?;
        let request = http_client::request(Method::GET, url, &[]).map_err(silent)?;
        let got = ReceivedAt {
            asked: context.clock.boot(),
            date: None,
            clock: context.clock,
        };
        let answer = timeout(TOTAL_TIMEOUT, http_client::send(request, &self.proxies)).await;
        let answer = answer
            .unwrap_or(Err(FetchError::TimedOut))
            .map_err(silent)?;
        if answer.status != StatusCode::OK {
            let problem = format!("answers with status {}, not 200", answer.status.as_u16());
            let hint = match answer.status.as_u16() {
                300..=399 => "name the target of the redirect: stsd does not follow redirects",
                401 | 403 | 404 => "check that the URI is correct and still valid",
                _ => "the error may be temporary; stsd retries",
            };
            return Err(SourceError::new(&subject, problem, hint));
        }
        answer.session(&subject, got)
    }
}

impl IdentityProvider for CredentialsUri {
    fn resolve<'a>(&'a self, context: ResolveContext<'a>) -> ResolveFuture<'a> {
        Box::pin(async move {
            let address = self.address().await?;
            self.fetch(&address, context).await
        })
    }

    fn describe(&self) -> String {
        match &self.source {
            UriSource::Here(address) => address.describe(),
            UriSource::File(watched_file) => {
                format!("the credentials URI in {}", watched_file.path().display())
            }
        }
    }

    fn may_use_proxy(&self) -> bool {
        match &self.source {
            UriSource::Here(address) => address.expose().starts_with("https"),
            // Its scheme may change with the file.
            UriSource::File(_) => true,
        }
    }

    fn has_changed(&self, now: BootTime) -> bool {
        match &self.source {
            UriSource::Here(_) => false,
            UriSource::File(watched_file) => watched_file.has_changed(now),
        }
    }
}

/// Returns the hint for a failed connection.
fn hint_for(fault: Option<ConnectFault>) -> &'static str {
    match fault {
        None => SERVER_HINT,
        Some(ConnectFault::OtherName) => {
            "correct the URI: the certificate of its server is for other names; if the URI is right, a \
             proxy answers in the place of the server"
        }
        Some(ConnectFault::NotTls) => "correct the URI: its server speaks no TLS at this port",
        Some(ConnectFault::OtherTls) => {
            "the server needs TLS 1.2 or 1.3 and a certificate that is valid for its name"
        }
        Some(other) => other.hint(),
    }
}

fn read(path: &Path) -> Result<UriAddress, UriFileError> {
    let text = secret_file::read(path, MAX_FILE_BYTES)?;
    Ok(UriAddress::new(text.trim())?)
}

#[cfg(test)]
mod tests;
