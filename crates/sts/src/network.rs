//! The HTTP clients: with the authorities of this machine for HTTPS, and by the proxy that the
//! environment names for the host.

use reqwest::{ClientBuilder, Url, redirect::Policy};
use rustls::{ClientConfig, RootCertStore};

use crate::{ConnectFault, NoAuthority, Proxies, UnusableProxy, authorities};

/// The reason why no client can be built for an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SetupError {
    /// No authority was loaded.
    #[error(transparent)]
    NoAuthority(#[from] NoAuthority),
    /// The proxy for the host cannot be used.
    #[error(transparent)]
    Proxy(#[from] UnusableProxy),
}

impl SetupError {
    /// Returns the cause of the failed connection.
    #[must_use]
    pub fn fault(&self) -> ConnectFault {
        match self {
            Self::NoAuthority(error) if error.is_of_variable() => ConnectFault::UnusableAuthorities,
            Self::NoAuthority(_) => ConnectFault::NoAuthority,
            Self::Proxy(_) => ConnectFault::UnusableProxy,
        }
    }
}

/// Returns the builder of a client for requests to the host of `url`, without redirects and without
/// kept connections. The authorities are loaded for HTTPS alone; this takes some milliseconds.
///
/// # Errors
/// [`SetupError`].
pub fn client_builder(url: &Url, proxies: &Proxies) -> Result<ClientBuilder, SetupError> {
    // The default provider of rustls in this process. Fails for a second call, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let authorities = match url.scheme() {
        "https" => authorities::load()?,
        _ => RootCertStore::empty(),
    };
    let tls = ClientConfig::builder()
        .with_root_certificates(authorities)
        .with_no_client_auth();
    let builder = reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .user_agent(concat!("stsd/", env!("CARGO_PKG_VERSION")))
        .redirect(Policy::none())
        // A request comes once in many minutes: an idle connection would only add a timer that wakes
        // the process.
        .pool_max_idle_per_host(0);
    Ok(match proxies.route(url)? {
        Some(proxy) => builder.proxy(proxy.for_reqwest()?),
        None => builder.no_proxy(),
    })
}
