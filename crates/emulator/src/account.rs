//! The account model: users, keys, roles, identity providers, buckets and an instance.

pub(crate) mod arn;
pub(crate) mod load;
pub(crate) mod schema;

pub mod model;
pub mod policy;
