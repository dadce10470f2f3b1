//! The control address: counters, faults, key status, and what identity providers issue.

mod oidc_token;
mod request;
pub(crate) mod routes;
mod saml_assertion;
