//! Decides whether STS can be reached from here, as the daemon reaches it: by its proxy and
//! with its authorities. Nothing is asked for.

use stsd_sts::{Endpoint, Sts, StsError};

use crate::hint;

/// What stands in the way, and what mends it.
#[derive(Debug, thiserror::Error)]
#[error("{error} (hint: {})", hint::of_network(.error))]
pub struct Unreached {
    error: StsError,
}

/// Connects once.
///
/// # Errors
/// What stands in the way.
pub async fn reach(endpoint: Endpoint) -> Result<(), Unreached> {
    let unreached = |error| Unreached { error };
    let sts = Sts::new(endpoint).map_err(unreached)?;
    sts.reach().await.map_err(unreached)
}
