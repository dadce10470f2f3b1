//! Decides whether a document is one that a tool takes, and for how long.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use serde_json::Value;

use crate::report::Severity;

/// What a tool insists on.
pub(super) struct DocumentRequirements {
    /// Keys that have to be there, all of them texts.
    pub(super) keys: &'static [&'static str],
    /// With less life than this it asks again at each call.
    pub(super) refresh_window: Duration,
    /// It reads what is said to stderr as a part of the document.
    pub(super) rejects_stderr: bool,
}

pub(super) const fn minutes(count: u64) -> Duration {
    Duration::from_secs(count * 60)
}

impl DocumentRequirements {
    /// Judges a document; nothing that it holds is told.
    pub(super) fn check(&self, document: &[u8]) -> (Severity, String) {
        let Ok(document) = serde_json::from_slice::<Value>(document) else {
            return (Severity::Fault, "what came is not JSON".to_owned());
        };
        let text = |key: &str| document[key].as_str().filter(|it| !it.is_empty());
        if let Some(key) = self.keys.iter().find(|key| text(key).is_none()) {
            return (Severity::Fault, format!("what came has no \"{key}\""));
        }
        if self.keys.contains(&"SessionToken") && document["Version"] != 1 {
            return (
                Severity::Fault,
                "what came is of another \"Version\"".to_owned(),
            );
        }
        let expiration = text("Expiration").or_else(|| text("expiration"));
        let Some(left) = expiration.and_then(remaining) else {
            let what = "its expiration is not as in 2026-11-23T23:15:58Z";
            return (Severity::Fault, what.to_owned());
        };
        match left {
            0 => (
                Severity::Fault,
                "by this machine's clock it has expired".to_owned(),
            ),
            _ if left < self.refresh_window.as_secs() => (
                Severity::Warning,
                format!(
                    "it lives for {left} s more, and with less than {} s this tool asks again at \
                     each call; a longer `duration` of the profile mends that",
                    self.refresh_window.as_secs()
                ),
            ),
            _ => (Severity::Ok, format!("it lives for {left} s more")),
        }
    }
}

/// Returns how many seconds are left, by the clock that the tools look at. One that is wrong
/// is wrong for them as well.
fn remaining(expiration: &str) -> Option<u64> {
    const SHAPE: &[u8] = b"0000-00-00T00:00:00Z";
    let fits = |(found, shape): (u8, &u8)| match shape {
        b'0' => found.is_ascii_digit(),
        _ => found == *shape,
    };
    let shaped = expiration.len() == SHAPE.len() && expiration.bytes().zip(SHAPE).all(fits);
    let at: jiff::Timestamp = shaped.then(|| expiration.parse().ok())??;
    let now = clock_gettime(ClockId::Realtime).tv_sec;
    Some(u64::try_from(at.as_second() - now).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::{DocumentRequirements, minutes};
    use crate::report::Severity;

    #[test]
    fn a_document_is_judged_as_the_tool_would() {
        let needs = DocumentRequirements {
            keys: &["AccessKeyId", "SessionToken"],
            refresh_window: minutes(15),
            rejects_stderr: false,
        };
        let good = r#"{"Version":1,"AccessKeyId":"a","SessionToken":"t","Expiration":"2999-01-01T00:00:00Z"}"#;
        assert_eq!(needs.check(good.as_bytes()).0, Severity::Ok);
        for (old, new, says) in [
            ("{", "", "not JSON"),
            ("\"a\"", "\"\"", "AccessKeyId"),
            ("\"a\"", "7", "AccessKeyId"),
            ("\"SessionToken\"", "\"Token\"", "SessionToken"),
            (":1,", ":\"1\",", "Version"),
            ("2999", "1999", "expired"),
            ("00Z", "00.5Z", "expiration"),
            ("00Z", "00+00:00", "expiration"),
            ("-01-01T", "-13-01T", "expiration"),
        ] {
            let (severity, remark) = needs.check(good.replacen(old, new, 1).as_bytes());
            assert_eq!(severity, Severity::Fault, "{new}");
            assert!(remark.contains(says), "{new}: {remark}");
        }
    }
}
