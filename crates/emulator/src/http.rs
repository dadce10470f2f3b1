//! HTTP messages: a request with decoded parameters, a reply, and bodies that are cut off.

pub(crate) mod reply;
pub mod request;
pub(crate) mod truncated_body;
