//! The account model: users, keys, roles, identity providers, buckets and an instance.

pub(crate) mod arn;
pub mod load;
pub(crate) mod model;
pub mod policy;
pub(crate) mod schema;

pub use load::{AccountModelError, DEFAULT_MODEL, default_model, parse, read};
pub use model::AccountModel;
