//! `stsd-oss-client`: a small OSS client whose credentials come from a credential
//! process, asked anew for each run. It signs with V4.

mod call;
mod credentials;
mod http;
mod sign;

pub use call::{Command, Failure, HELP, parse, run};
