//! The emulated OSS: its operations on objects, its errors, and the verification of signatures.

mod caller;
pub mod error;
mod list;
pub mod object_address;
pub(crate) mod operation;
mod operations;
pub(crate) mod service;
pub mod signature;
