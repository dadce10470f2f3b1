//! The control address.

pub(crate) mod request;
pub(crate) mod routes;
