//! The signature of an STS request, RPC V1 or ACS3.

pub mod acs3;
pub mod claim;
pub mod rpc_v1;

use self::claim::ClaimedSignature;
use crate::{http::request::HttpRequest, sts::error::StsError};

/// Parses the signature of a request; `None` for an unsigned request.
///
/// # Errors
///
/// The signature is incomplete.
pub fn parse(request: &HttpRequest) -> Result<Option<ClaimedSignature>, StsError> {
    match acs3::parse(request)? {
        Some(claim) => Ok(Some(claim)),
        None => rpc_v1::parse(request),
    }
}
