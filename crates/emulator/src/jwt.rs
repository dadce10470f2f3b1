//! JSON web tokens (RFC 7515, RFC 7519), signed and verified with RS256 or ES256.

mod algorithm;
pub(crate) mod key_set;
mod signing_keys;

pub use self::signing_keys::MARKER;
pub(crate) use self::{algorithm::Algorithm, signing_keys::SigningKeys};
