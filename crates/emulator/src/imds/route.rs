//! The routes of the metadata service.

use crate::http::request::HttpRequest;

const TOKEN_PATH: &str = "/latest/api/token";
const ROLE_PATH: &str = "/latest/meta-data/ram/security-credentials";

/// The document that a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route<'a> {
    Token,
    /// The name of the instance's role.
    Role,
    /// The credentials of that role.
    Credentials(&'a str),
    /// Any other path.
    Other(&'a str),
}

impl<'a> Route<'a> {
    pub(crate) fn from_request(request: &'a HttpRequest) -> Self {
        if request.path == TOKEN_PATH {
            return Self::Token;
        }
        match request.path.strip_prefix(ROLE_PATH) {
            Some("" | "/") => Self::Role,
            Some(rest) => match rest.strip_prefix('/') {
                Some(role) => Self::Credentials(role.trim_end_matches('/')),
                None => Self::Other(&request.path),
            },
            None => Self::Other(&request.path),
        }
    }

    /// Returns the name of the route in counters and fault scripts.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Token => "imds:Token",
            Self::Role => "imds:Role",
            Self::Credentials(_) => "imds:Credentials",
            Self::Other(_) => "imds:other",
        }
    }
}
