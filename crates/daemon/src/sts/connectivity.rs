//! The connectivity check: a connection to STS as the daemon makes it, through its proxy and with
//! its certificate authorities. No request is sent.

use stsd_sts::{Endpoint, Sts, StsError};

use crate::sts::remediation;

/// The error of a connection to STS, with its hint.
#[derive(Debug, thiserror::Error)]
#[error("{error} (hint: {})", remediation::for_network(.error))]
pub struct ConnectError {
    error: StsError,
}

/// Returns a client of STS; nothing is connected yet.
///
/// # Errors
/// TLS cannot be used, because the system has no certificate authority.
pub fn client(endpoint: Endpoint) -> Result<Sts, ConnectError> {
    Sts::new(endpoint).map_err(|error| ConnectError { error })
}

/// Connects to STS once.
///
/// # Errors
/// The connection or the TLS handshake has failed.
pub async fn check(endpoint: Endpoint) -> Result<(), ConnectError> {
    let result = client(endpoint)?.reach().await;
    result.map_err(|error| ConnectError { error })
}
