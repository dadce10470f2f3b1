//! The emulated STS.

pub mod error;
pub mod signature;

pub(crate) mod assume_role;
pub(crate) mod assume_role_with_oidc;
pub(crate) mod assume_role_with_saml;
pub(crate) mod issue;
pub(crate) mod request;
pub(crate) mod response;
pub mod service;
