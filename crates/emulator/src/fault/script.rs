//! Scripted faults: which call goes wrong, how, and how often.

use std::sync::Mutex;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, futures::Notified};

use crate::{account::model::parse_duration, clock::shifted, state::hold};

/// What a script may name: every action that is counted, and three wildcards.
const ACTIONS: &[&str] = &[
    "*",
    "AssumeRole",
    "AssumeRoleWithOIDC",
    "AssumeRoleWithSAML",
    "GetCallerIdentity",
    "other",
    "oss:*",
    "oss:PutObject",
    "oss:GetObject",
    "oss:HeadObject",
    "oss:GetObjectMeta",
    "oss:DeleteObject",
    "oss:ListObjects",
    "oss:other",
    "imds:*",
    "imds:Token",
    "imds:Role",
    "imds:Credentials",
    "imds:other",
];

/// The actions that give a credential, which a fault can bend.
const CREDENTIALS: &[&str] = &[
    "AssumeRole",
    "AssumeRoleWithOIDC",
    "AssumeRoleWithSAML",
    "imds:Credentials",
];

/// How many faults may wait in the queue.
const LIMIT: usize = 1000;

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Fault {
    /// An error answer.
    Error {
        /// Its code.
        code: String,
        /// Its HTTP status; without it, 500 for `InternalError`, 503 for
        /// `ServiceUnavailable`, 403 for `NoPermission`, 404 for what does not exist, and
        /// otherwise 403 for OSS, 404 for metadata and 400 for STS.
        #[serde(skip_serializing_if = "Option::is_none")]
        status: Option<u16>,
        /// Its message.
        #[serde(skip_serializing_if = "Option::is_none")]
        message: Option<String>,
    },
    /// The answer comes late, or when the faults are cleared.
    Delay {
        /// The most by which it is late.
        millis: u64,
    },
    /// No answer until the faults are cleared, or for a minute; then a reset.
    Hang {},
    /// The connection is closed without an answer.
    Reset {},
    /// `Content-Length` promises the whole body; half of it comes.
    HalfBody {},
    /// A web page with status 200, as a captive portal sends.
    Html {},
    /// The server's clock is wrong.
    WrongDate {
        /// By how much; positive is ahead.
        offset_seconds: i64,
    },
    /// A credential that has already expired.
    Expired {},
    /// A credential with empty fields.
    Empty {},
    /// An `Expiration` far beyond what was asked.
    Beyond {},
    /// A document of metadata that has a `Code` and no credential.
    Unsuccessful {
        /// Any but `Success`.
        code: String,
    },
    /// `Throttling.User`.
    Throttle {
        /// Sent as `x-acs-retry-after`.
        #[serde(skip_serializing_if = "Option::is_none")]
        retry_after_millis: Option<u64>,
    },
}

impl Fault {
    /// Its name in a script, and after `fault:` in the counters.
    #[must_use]
    pub fn kind(&self) -> &'static str {
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

    /// Whether a call of that action can go wrong so.
    fn fits(&self, action: &str) -> bool {
        match self {
            Self::Expired {} | Self::Empty {} | Self::Beyond {} => CREDENTIALS.contains(&action),
            Self::Unsuccessful { .. } => action == "imds:Credentials",
            _ => true,
        }
    }
}

/// A script as it is posted.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Script {
    action: String,
    times: Option<u64>,
    #[serde(rename = "for")]
    lasts: Option<String>,
    fault: Fault,
}

/// A fault in the queue.
#[derive(Debug, Clone, Serialize)]
struct Queued {
    action: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    times: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_text")]
    until: Option<Timestamp>,
    fault: Fault,
}

impl Queued {
    fn hits(&self, action: &str) -> bool {
        let named = match self.action.as_str() {
            "*" => true,
            "oss:*" => action.starts_with("oss:"),
            "imds:*" => action.starts_with("imds:"),
            name => name == action,
        };
        named && self.fault.fits(action)
    }

    fn is_over(&self, now: Timestamp) -> bool {
        self.times == Some(0) || self.until.is_some_and(|until| until <= now)
    }
}

/// The queue; the first fault in it that fits a call applies to that call.
#[derive(Debug, Default)]
pub struct Faults {
    queue: Mutex<Vec<Queued>>,
    cleared: Notify,
}

/// Why a script was refused.
#[derive(Debug, thiserror::Error)]
pub enum ScriptError {
    /// Not JSON, an unknown key, or a value of another type.
    #[error("not a fault: {0}")]
    Json(#[from] serde_json::Error),
    /// Two ends.
    #[error("\"times\" and \"for\" exclude each other")]
    TwoEnds,
    /// No call at all.
    #[error("\"times\" must be at least 1")]
    Never,
    /// `for` is not a duration.
    #[error("\"for\": {0:?} is not a duration like \"5s\"")]
    Duration(String),
    /// Nothing has that name.
    #[error("{0:?} is no action here; there are {list}", list = ACTIONS.join(", "))]
    Action(String),
    /// A fault of credentials for an action that gives none, or not in such a document.
    #[error("{kind} cannot happen to {action}: there is nothing in its answer to bend so")]
    Unfit {
        /// The fault's kind.
        kind: &'static str,
        /// The action asked for.
        action: String,
    },
    /// A status out of HTTP's range.
    #[error("{0} is not an HTTP status between 200 and 599")]
    Status(u16),
    /// Too many faults.
    #[error("the queue of faults is full")]
    Full,
}

impl Faults {
    /// Queues a fault from its JSON.
    ///
    /// # Errors
    ///
    /// The script cannot mean anything; the text says why.
    pub fn add(&self, json: &[u8], now: Timestamp) -> Result<(), ScriptError> {
        let script: Script = serde_json::from_slice(json)?;
        check(&script)?;
        let until = match &script.lasts {
            None => None,
            Some(text) => {
                let lasts = parse_duration(text)
                    .and_then(|duration| SignedDuration::try_from(duration).ok())
                    .ok_or_else(|| ScriptError::Duration(text.clone()))?;
                Some(shifted(now, lasts))
            }
        };
        let mut queue = hold(&self.queue);
        queue.retain(|queued| !queued.is_over(now));
        if queue.len() >= LIMIT {
            return Err(ScriptError::Full);
        }
        queue.push(Queued {
            action: script.action,
            times: script.times,
            until,
            fault: script.fault,
        });
        Ok(())
    }

    /// The fault for a call of `action`, used up by one.
    pub fn strike(&self, action: &str, now: Timestamp) -> Option<Fault> {
        let mut queue = hold(&self.queue);
        queue.retain(|queued| !queued.is_over(now));
        let queued = queue.iter_mut().find(|queued| queued.hits(action))?;
        if let Some(times) = &mut queued.times {
            *times -= 1;
        }
        Some(queued.fault.clone())
    }

    /// The queue as JSON.
    #[must_use]
    pub fn list(&self, now: Timestamp) -> serde_json::Value {
        let mut queue = hold(&self.queue);
        queue.retain(|queued| !queued.is_over(now));
        serde_json::to_value(&*queue).unwrap_or_default()
    }

    /// Empties the queue and ends what hangs and what is delayed.
    pub fn clear(&self) {
        hold(&self.queue).clear();
        self.cleared.notify_waiters();
    }

    /// Returns what ends at the next [`Faults::clear`] from now on, polled by then or not.
    pub(crate) fn cleared(&self) -> Notified<'_> {
        self.cleared.notified()
    }
}

fn check(script: &Script) -> Result<(), ScriptError> {
    let action = script.action.as_str();
    if !ACTIONS.contains(&action) {
        return Err(ScriptError::Action(script.action.clone()));
    }
    if script.times.is_some() && script.lasts.is_some() {
        return Err(ScriptError::TwoEnds);
    }
    if script.times == Some(0) {
        return Err(ScriptError::Never);
    }
    if !matches!(action, "*" | "imds:*") && !script.fault.fits(action) {
        return Err(ScriptError::Unfit {
            kind: script.fault.kind(),
            action: script.action.clone(),
        });
    }
    match script.fault {
        Fault::Error {
            status: Some(status),
            ..
        } if !(200..600).contains(&status) => Err(ScriptError::Status(status)),
        _ => Ok(()),
    }
}

fn as_text<S: serde::Serializer>(
    until: &Option<Timestamp>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match until {
        Some(until) => serializer.collect_str(until),
        None => serializer.serialize_none(),
    }
}
