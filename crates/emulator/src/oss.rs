//! The emulated OSS.

pub mod error;
pub mod object_address;
pub mod signature;

pub(crate) mod list;
pub(crate) mod operations;
pub(crate) mod service;
