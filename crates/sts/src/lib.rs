//! A client of Alibaba Cloud STS (API version 2015-04-01): it signs a request, sends it, and
//! returns a parsed answer or an error that names the next step.
//!
//! When to call is the caller's decision: the crate has no retries, no cache and no clock. The
//! caller passes the time to sign with and applies the server's `Date` of the answer.
//!
//! Sources of the service's facts: the public API metadata of STS 2015-04-01, the vendor's
//! page on RPC signatures, and signatures recorded from the official SDKs
//! (`tests/vectors/rpc_v1.json`).

mod answer;
mod authorities;
mod client;
mod connect_fault;
mod endpoint;
mod error;
mod network;
mod no_answer;
mod no_proxy;
mod proxy;
mod region;
mod sign;

pub use answer::{CallerIdentity, RoleSession};
pub use authorities::NoAuthority;
pub use client::{AssumeRole, Proof, SourceCredentials, Sts};
pub use connect_fault::ConnectFault;
pub use endpoint::{BadEndpoint, Endpoint};
pub use error::{Refusal, StsError};
pub use network::{SetupError, client_builder};
pub use no_answer::NoAnswer;
pub use proxy::{Proxies, Proxy, UnusableProxy};
pub use region::{is_known_region, similar_region};
pub use sign::{SignedForm, string_to_sign};
pub use stsd_secret::SecretText;

/// The parsers of the service's answers without a network, for the fuzz targets alone. Built with
/// `--cfg fuzzing` only.
#[cfg(fuzzing)]
pub mod fuzzing {
    use std::time::Duration;

    use crate::{RoleSession, SecretText, StsError, error::Circumstances};

    /// Reads the body of an AssumeRole answer with a status of success.
    ///
    /// # Errors
    /// As [`Sts::assume_role`](crate::Sts::assume_role).
    pub fn session(body: &[u8]) -> Result<RoleSession, StsError> {
        RoleSession::parse(body, None)
    }

    /// Reads the body of a refusal of a request that was signed as `signed`.
    #[must_use]
    pub fn refusal(
        body: &[u8],
        http_status: u16,
        retry_after: Option<Duration>,
        signed: &str,
        secrets: &[&SecretText],
    ) -> StsError {
        let circumstances = Circumstances {
            http_status,
            server_date: None,
            retry_after,
        };
        StsError::parse(body, &circumstances, signed, secrets)
    }
}
