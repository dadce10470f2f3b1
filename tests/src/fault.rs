//! The faults that the emulator can inject, and the actions that they apply to.
//!
//! The JSON is that of the emulator's control address, written here a second time: the kit shares
//! no code with the emulator.

use std::time::Duration;

use serde_json::{Value, json};

/// An action that the emulator counts, or a group of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Every action.
    Any,
    /// `AssumeRole`.
    AssumeRole,
    /// `AssumeRoleWithOIDC`.
    AssumeRoleWithOidc,
    /// `AssumeRoleWithSAML`.
    AssumeRoleWithSaml,
    /// An upload to the emulated OSS.
    OssPutObject,
    /// A download from the emulated OSS.
    OssGetObject,
    /// A deletion in the emulated OSS.
    OssDeleteObject,
    /// The start of an upload in parts.
    OssInitiateMultipartUpload,
    /// The upload of one part.
    OssUploadPart,
    /// The end of an upload in parts.
    OssCompleteMultipartUpload,
    /// An operation of OSS that is not emulated.
    OssOther,
    /// Every request to the instance metadata.
    ImdsAny,
    /// The request for a metadata token.
    ImdsToken,
    /// The request for the name of the instance's role.
    ImdsRole,
    /// The request for the credentials of the instance's role.
    ImdsCredentials,
}

impl Action {
    /// Returns the name of the action in the emulator's counters and fault scripts.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Any => "*",
            Self::AssumeRole => "AssumeRole",
            Self::AssumeRoleWithOidc => "AssumeRoleWithOIDC",
            Self::AssumeRoleWithSaml => "AssumeRoleWithSAML",
            Self::OssPutObject => "oss:PutObject",
            Self::OssGetObject => "oss:GetObject",
            Self::OssDeleteObject => "oss:DeleteObject",
            Self::OssInitiateMultipartUpload => "oss:InitiateMultipartUpload",
            Self::OssUploadPart => "oss:UploadPart",
            Self::OssCompleteMultipartUpload => "oss:CompleteMultipartUpload",
            Self::OssOther => "oss:other",
            Self::ImdsAny => "imds:*",
            Self::ImdsToken => "imds:Token",
            Self::ImdsRole => "imds:Role",
            Self::ImdsCredentials => "imds:Credentials",
        }
    }
}

/// A deviation from the correct reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// An error reply.
    Error {
        /// The error code of the service.
        code: &'static str,
        /// The HTTP status; `None` is the one that the code has in the service.
        status: Option<u16>,
    },
    /// The correct reply after a delay, which ends early when the faults are cleared.
    Delay(Duration),
    /// No reply until the faults are cleared; then the connection is closed.
    Hang,
    /// The connection is closed without a reply.
    Reset,
    /// A `Content-Length` of the whole body, with half of the body.
    HalfBody,
    /// A web page with status 200, as from a captive portal.
    Html,
    /// The server's clock is wrong by this many seconds; positive is ahead.
    WrongDate(i64),
    /// Credentials that have expired.
    Expired,
    /// Credentials with empty fields.
    Empty,
    /// Credentials whose expiration is a year too late.
    Beyond,
    /// A metadata document with this `Code` and without credentials.
    Unsuccessful(&'static str),
    /// The error `Throttling.User`, with the pause that the service asks for.
    Throttle(Option<Duration>),
}

impl Fault {
    /// Returns an error reply with the HTTP status that the code has in the service.
    #[must_use]
    pub const fn error(code: &'static str) -> Self {
        Self::Error { code, status: None }
    }

    /// Returns an error reply with an HTTP status.
    #[must_use]
    pub const fn error_with_status(code: &'static str, status: u16) -> Self {
        Self::Error {
            code,
            status: Some(status),
        }
    }

    /// Returns the fault as the control address takes it.
    pub(crate) fn to_json(self) -> Value {
        match self {
            Self::Error { code, status: None } => json!({"kind": "error", "code": code}),
            Self::Error { code, status } => {
                json!({"kind": "error", "code": code, "status": status})
            }
            Self::Delay(delay) => json!({"kind": "delay", "millis": millis(delay)}),
            Self::Hang => json!({"kind": "hang"}),
            Self::Reset => json!({"kind": "reset"}),
            Self::HalfBody => json!({"kind": "half-body"}),
            Self::Html => json!({"kind": "html"}),
            Self::WrongDate(seconds) => json!({"kind": "wrong-date", "offset_seconds": seconds}),
            Self::Expired => json!({"kind": "expired"}),
            Self::Empty => json!({"kind": "empty"}),
            Self::Beyond => json!({"kind": "beyond"}),
            Self::Unsuccessful(code) => json!({"kind": "unsuccessful", "code": code}),
            Self::Throttle(None) => json!({"kind": "throttle"}),
            Self::Throttle(Some(pause)) => {
                json!({"kind": "throttle", "retry_after_millis": millis(pause)})
            }
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap()
}
