//! Decides whether STS can be reached from here, as the daemon reaches it: by its proxy and
//! with its authorities. Nothing is asked for.

use stsd_sts::{Endpoint, Sts, StsError};

use crate::sts::remediation;

/// What stands in the way, and what mends it.
#[derive(Debug, thiserror::Error)]
#[error("{error} (hint: {})", remediation::of_network(.error))]
pub struct Unreached {
    error: StsError,
}

/// Makes ready to connect.
///
/// # Errors
/// When this machine cannot speak TLS at all: it trusts nobody.
pub fn prepare(endpoint: Endpoint) -> Result<Sts, Unreached> {
    Sts::new(endpoint).map_err(|error| Unreached { error })
}

/// Connects once.
///
/// # Errors
/// What stands in the way.
pub async fn reach(endpoint: Endpoint) -> Result<(), Unreached> {
    let answer = prepare(endpoint)?.reach().await;
    answer.map_err(|error| Unreached { error })
}
