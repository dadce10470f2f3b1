//! One request to OSS: its signature of V4, the document of a credential process, and the error of a
//! refused request. The program `stsd-oss-client` sends the request.
//!
//! The crate depends on no other crate of the project, so that it takes credentials as any program
//! does.

mod credentials;
mod refusal;
mod sign;

pub use credentials::Credentials;
pub use refusal::{Refusal, element};
pub use sign::{SignedRequest, UnsignedRequest};
