//! The emulated metadata service of an instance.

pub(crate) mod credentials;
mod route;
pub(crate) mod service;
