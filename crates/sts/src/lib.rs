//! Speaks with Alibaba Cloud STS (API version 2015-04-01): signs a request, sends it,
//! and returns a parsed answer or an error that says what to do next.
//!
//! The crate decides nothing about when to call: no retries, no cache, no clock. The
//! caller passes the time to sign with and applies the server's `Date` that comes back.
//!
//! Sources of the service's facts: the public API metadata of STS 2015-04-01, the vendor's
//! page on RPC signatures, and signatures recorded from the official SDKs
//! (`tests/vectors/rpc_v1.json`).

mod answer;
mod client;
mod endpoint;
mod error;
mod sign;

pub use answer::{CallerIdentity, RoleSession};
pub use client::{AssumeRole, SourceCredentials, Sts};
pub use endpoint::{BadEndpoint, Endpoint};
pub use error::{Refusal, StsError};
pub use sign::{SignedForm, string_to_sign};
pub use stsd_secret::SecretText;
