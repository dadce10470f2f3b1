//! Fault scripts: the JSON that a test posts to the control address.

use serde::{Deserialize, Serialize};

/// The actions of a script: each counted action, and three wildcards.
const ACTIONS: &[&str] = &[
    "*",
    "AssumeRole",
    "AssumeRoleWithOIDC",
    "AssumeRoleWithSAML",
    "GetCallerIdentity",
    "other",
    "oss:*",
    "oss:ListBuckets",
    "oss:PutBucket",
    "oss:DeleteBucket",
    "oss:HeadBucket",
    "oss:GetBucketInfo",
    "oss:GetBucketLocation",
    "oss:ListObjects",
    "oss:ListMultipartUploads",
    "oss:DeleteMultipleObjects",
    "oss:PutObject",
    "oss:CopyObject",
    "oss:GetObject",
    "oss:HeadObject",
    "oss:GetObjectMeta",
    "oss:DeleteObject",
    "oss:InitiateMultipartUpload",
    "oss:UploadPart",
    "oss:UploadPartCopy",
    "oss:CompleteMultipartUpload",
    "oss:AbortMultipartUpload",
    "oss:ListParts",
    "oss:other",
    "imds:*",
    "imds:Token",
    "imds:Role",
    "imds:Credentials",
    "imds:other",
];

/// The actions whose reply contains credentials.
const CREDENTIAL_ACTIONS: &[&str] = &[
    "AssumeRole",
    "AssumeRoleWithOIDC",
    "AssumeRoleWithSAML",
    "imds:Credentials",
];

/// A deviation from the correct reply.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Fault {
    /// An error reply.
    Error {
        code: String,
        /// The HTTP status; `None` is the one that the code has in the service.
        #[serde(skip_serializing_if = "Option::is_none")]
        status: Option<u16>,
        #[serde(skip_serializing_if = "Option::is_none")]
        message: Option<String>,
    },
    /// The correct reply, after a delay that ends early when the faults are cleared.
    Delay { millis: u64 },
    /// No reply until the faults are cleared, or for a minute; then the connection is closed.
    Hang {},
    /// The connection is closed without a reply.
    Reset {},
    /// A `Content-Length` of the whole body, with half of the body.
    HalfBody {},
    /// A web page with status 200, as from a captive portal.
    Html {},
    /// The server's clock is wrong.
    WrongDate {
        /// The shift; positive is ahead of the actual time.
        offset_seconds: i64,
    },
    /// Credentials that have expired.
    Expired {},
    /// Credentials with empty fields.
    Empty {},
    /// Credentials whose `Expiration` is a year too late.
    Beyond {},
    /// A metadata document with a `Code` and without credentials.
    Unsuccessful { code: String },
    /// The error `Throttling.User`.
    Throttle {
        /// The value of the header `x-acs-retry-after`.
        #[serde(skip_serializing_if = "Option::is_none")]
        retry_after_millis: Option<u64>,
    },
}

/// A fault that alters the credentials of an otherwise correct reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CredentialFault {
    /// The credentials have expired a minute ago, and are refused as expired.
    Expired,
    /// All fields are empty.
    Empty,
    /// The `Expiration` is a year too late. The session itself expires in time.
    Beyond,
}

/// A fault script, as it was posted.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Script {
    pub(crate) action: String,
    pub(crate) times: Option<u64>,
    #[serde(rename = "for")]
    pub(crate) lasts: Option<String>,
    pub(crate) fault: Fault,
}

/// The reason for which a script was refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ScriptError {
    /// The text is no JSON, or a key is unknown or of another type.
    #[error("not a fault: {0}")]
    Json(#[from] serde_json::Error),
    /// The script has two limits.
    #[error("\"times\" and \"for\" exclude each other")]
    TwoLimits,
    /// The fault would apply to no call.
    #[error("\"times\" must be at least 1")]
    ZeroTimes,
    /// `for` is no duration.
    #[error("\"for\": {0:?} is not a duration like \"5s\"")]
    Duration(String),
    /// No action has that name.
    #[error("unknown action {0:?}; the actions are {list}", list = ACTIONS.join(", "))]
    Action(String),
    /// The reply of the action has nothing that the fault alters.
    #[error("the fault {kind} does not apply to the action {action}, whose reply it cannot alter")]
    NotApplicable { kind: &'static str, action: String },
    /// The status is outside the range of HTTP.
    #[error("{0} is not an HTTP status between 200 and 599")]
    Status(u16),
    /// The queue has no capacity left.
    #[error("the queue of faults is full; DELETE /_emulator/faults empties it")]
    QueueFull,
}

impl Fault {
    /// Returns the name of the fault in a script, and in the counters after `fault:`.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Error { .. } => "error",
            Self::Delay { .. } => "delay",
            Self::Hang {} => "hang",
            Self::Reset {} => "reset",
            Self::HalfBody {} => "half-body",
            Self::Html {} => "html",
            Self::WrongDate { .. } => "wrong-date",
            Self::Expired {} => "expired",
            Self::Empty {} => "empty",
            Self::Beyond {} => "beyond",
            Self::Unsuccessful { .. } => "unsuccessful",
            Self::Throttle { .. } => "throttle",
        }
    }

    /// Returns `true` if the reply of that action can have this fault.
    pub(crate) fn applies_to(&self, action: &str) -> bool {
        match self {
            Self::Expired {} | Self::Empty {} | Self::Beyond {} => {
                CREDENTIAL_ACTIONS.contains(&action)
            }
            Self::Unsuccessful { .. } => action == "imds:Credentials",
            _ => true,
        }
    }
}

impl Script {
    /// Parses and checks a script, but for the text of `for`.
    ///
    /// # Errors
    ///
    /// The script is no JSON, or contradicts itself.
    pub(crate) fn parse(json: &[u8]) -> Result<Self, ScriptError> {
        let script: Self = serde_json::from_slice(json)?;
        let action = script.action.as_str();
        if !ACTIONS.contains(&action) {
            return Err(ScriptError::Action(script.action));
        }
        if script.times.is_some() && script.lasts.is_some() {
            return Err(ScriptError::TwoLimits);
        }
        if script.times == Some(0) {
            return Err(ScriptError::ZeroTimes);
        }
        if !matches!(action, "*" | "imds:*") && !script.fault.applies_to(action) {
            return Err(ScriptError::NotApplicable {
                kind: script.fault.kind(),
                action: script.action,
            });
        }
        match script.fault {
            Fault::Error {
                status: Some(status),
                ..
            } if !(200..600).contains(&status) => Err(ScriptError::Status(status)),
            _ => Ok(script),
        }
    }
}
