//! Decides whether STS can be reached from here, as the daemon reaches it: by its proxy and
//! with its authorities. Nothing is asked for.

use stsd_sts::{Endpoint, Sts, StsError};

use crate::sts::remediation;

/// What stands in the way, and what mends it.
#[derive(Debug, thiserror::Error)]
#[error("{error} (hint: {})", remediation::for_network(.error))]
pub struct ConnectError {
    error: StsError,
}

/// Makes ready to connect.
///
/// # Errors
/// When this machine cannot speak TLS at all: it trusts nobody.
pub fn client(endpoint: Endpoint) -> Result<Sts, ConnectError> {
    Sts::new(endpoint).map_err(|error| ConnectError { error })
}

/// Connects once.
///
/// # Errors
/// What stands in the way.
pub async fn check(endpoint: Endpoint) -> Result<(), ConnectError> {
    let answer = client(endpoint)?.reach().await;
    answer.map_err(|error| ConnectError { error })
}
