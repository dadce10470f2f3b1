//! The requirements of a tool on a credentials document.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use serde_json::Value;

use crate::report::Severity;

/// The requirements of a tool.
pub(super) struct DocumentRequirements {
    /// Required keys with a text.
    pub(super) keys: &'static [&'static str],
    /// The remaining lifetime below which the tool refreshes at each call.
    pub(super) refresh_window: Duration,
    /// The tool reads stderr as a part of the document.
    pub(super) rejects_stderr: bool,
}

pub(super) const fn minutes(count: u64) -> Duration {
    Duration::from_secs(count * 60)
}

impl DocumentRequirements {
    /// Checks a document; the remark does not quote it.
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

/// Returns the remaining lifetime in seconds by the system clock, which the tools use as well.
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
    fn document_check_follows_the_rules_of_the_tool() {
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
