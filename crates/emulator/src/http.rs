//! HTTP messages: a request read to its end, and a reply.

pub(crate) mod reply;
pub mod request;
pub(crate) mod truncated_body;
