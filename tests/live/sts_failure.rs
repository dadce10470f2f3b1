//! The failure of a profile, as the daemon prints it: the code and the request id of STS, the message and
//! the hint.

use serde_json::Value;

/// A profile without a session.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct StsFailure {
    /// The error code of STS; `None` if STS has not refused the call.
    pub(crate) code: Option<String>,
    pub(crate) request_id: Option<String>,
    /// The message and the hint, not masked.
    pub(crate) text: String,
}

impl StsFailure {
    /// Reads the last failure of a profile in the output of `stsctl status --json`; `None` without one.
    pub(crate) fn of_status(status: &[u8], profile: &str) -> Option<Self> {
        let status: Value = serde_json::from_slice(status).ok()?;
        let profiles = status["profiles"].as_array()?;
        let found = profiles.iter().find(|it| it["name"] == profile)?;
        let failure = &found["last_failure"];
        Some(Self::new(
            failure["message"].as_str()?,
            failure["hint"].as_str().unwrap_or_default(),
        ))
    }

    /// Returns a failure without the daemon's words.
    pub(crate) fn unknown(text: String) -> Self {
        Self {
            code: None,
            request_id: None,
            text,
        }
    }

    /// Reads a message of the daemon. A refusal is `sts …: CODE: MESSAGE (request ID) [error-code]`.
    pub(crate) fn new(message: &str, hint: &str) -> Self {
        let request_id = message.rsplit_once("(request ");
        let request_id = request_id.and_then(|(_, it)| Some(it.split_once(')')?.0));
        let code = message
            .strip_prefix("sts ")
            .and_then(|it| it.split_once(": "));
        let code = code.and_then(|(_, rest)| rest.split([':', ' ']).next());
        Self {
            // Every refusal of STS has an id; a connection that has failed has none.
            code: request_id.and(code).map(str::to_owned),
            request_id: request_id.map(str::to_owned),
            text: match hint {
                "" => message.to_owned(),
                hint => format!("{message}; hint: {hint}"),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::StsFailure;

    #[test]
    fn code_and_request_id_are_read_from_a_refusal_only() {
        let check = |message: &str, code: Option<&str>, id: Option<&str>| {
            let failure = StsFailure::new(message, "a hint");
            assert_eq!(failure.code.as_deref(), code, "{message}");
            assert_eq!(failure.request_id.as_deref(), id, "{message}");
            assert_eq!(failure.text, format!("{message}; hint: a hint"));
        };
        check(
            "sts refused: EntityNotExist.Role: The role: none. (request A-1) [sts-no-such-role]",
            Some("EntityNotExist.Role"),
            Some("A-1"),
        );
        check(
            "sts refused the request's time: IllegalTimestamp (request B) [wrong-clock]",
            Some("IllegalTimestamp"),
            Some("B"),
        );
        check("sts is not reachable at h:443: timed out", None, None);
        check("sts answered what cannot be used: x", None, None);
    }
}
