//! The emulated OSS: its operations on buckets, objects and uploads, its errors, and the verification of signatures.

mod bucket;
mod caller;
mod copy;
mod delete_objects;
mod endpoint;
pub mod error;
mod list;
mod multipart;
mod multipart_list;
mod object;
pub mod object_address;
pub(crate) mod operation;
mod operations;
mod range;
pub(crate) mod service;
pub mod signature;
mod xml;
