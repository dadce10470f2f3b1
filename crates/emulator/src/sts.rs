//! The emulated STS: its actions, its replies, and the verification of signatures.

mod assume_role;
mod assume_role_with_oidc;
mod assume_role_with_saml;
mod caller;
pub mod error;
mod get_caller_identity;
pub(crate) mod issue;
mod request;
pub(crate) mod response;
pub(crate) mod service;
pub mod signature;
