//! The emulated instance metadata service.

pub(crate) mod service;
