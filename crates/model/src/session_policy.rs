//! The session policy, which narrows a role.

use crate::Invalid;

/// A session policy, minified: at most 2,048 bytes of JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionPolicy(Box<str>);

impl SessionPolicy {
    /// Maximum size of a policy without white space, in bytes. The client's hint for a request that
    /// is too long states the same number.
    pub const MAX_BYTES: usize = 2048;

    /// Parses a policy document and removes its white space. The rest stays byte for byte, because a
    /// rewritten document could grant other rights.
    ///
    /// # Errors
    /// [`Invalid`], which never quotes the document.
    pub fn new(text: &str) -> Result<Self, Invalid> {
        // Editors of Windows write a byte order mark, which is no JSON.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let Ok(policy) = serde_json::from_str::<serde_json::Value>(text) else {
            return Err(Invalid::new("a policy is a JSON document"));
        };
        if policy.get("Version").and_then(|it| it.as_str()) != Some("1")
            || policy.get("Statement").is_none()
        {
            return Err(Invalid::new(
                "a policy holds \"Version\": \"1\" and a \"Statement\"",
            ));
        }
        let statements = match &policy["Statement"] {
            serde_json::Value::Array(list) => list.as_slice(),
            one => std::slice::from_ref(one),
        };
        if !statements.iter().all(is_statement) {
            return Err(Invalid::new(
                "a policy's Statement is one or a list of them; each has Effect (Allow or Deny), Action or \
                 NotAction, and Resource or NotResource: a text or a list of texts",
            ));
        }
        let minified = without_white_space(text);
        let length = minified.len();
        if length > Self::MAX_BYTES {
            return Err(Invalid::new(&format!(
                "a policy is at most {} bytes; this one has {length} without its white space",
                Self::MAX_BYTES
            )));
        }
        Ok(Self(minified.into()))
    }

    /// Returns the policy as the daemon sends the policy to STS.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Returns `true` if a statement has the grammar that all services share.
fn is_statement(statement: &serde_json::Value) -> bool {
    let texts = |it: &serde_json::Value| match it {
        serde_json::Value::String(text) => !text.is_empty(),
        serde_json::Value::Array(list) => !list.is_empty() && list.iter().all(|it| it.is_string()),
        _ => false,
    };
    let one_of = |keys: [&str; 2]| {
        let there: Vec<_> = keys.iter().filter_map(|key| statement.get(key)).collect();
        matches!(there[..], [it] if texts(it))
    };
    let effect = statement.get("Effect").and_then(|it| it.as_str());
    matches!(effect, Some("Allow" | "Deny"))
        && one_of(["Action", "NotAction"])
        && one_of(["Resource", "NotResource"])
}

/// Removes the white space between the tokens of a valid JSON document.
fn without_white_space(document: &str) -> String {
    let (mut quoted, mut escaped) = (false, false);
    let kept = |c: &char| {
        let quote = *c == '"' && !escaped;
        escaped = quoted && *c == '\\' && !escaped;
        quoted ^= quote;
        quoted || !matches!(c, ' ' | '\t' | '\n' | '\r')
    };
    document.chars().filter(kept).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policy_statement_has_effect_action_and_resource() {
        let check = |statement: &str, valid| {
            let policy = format!(r#"{{"Version":"1","Statement":{statement}}}"#);
            assert_eq!(SessionPolicy::new(&policy).is_ok(), valid, "{statement}");
        };
        let good = r#"{"Effect":"Allow","Action":["oss:Get*","oss:List*"],"Resource":"*"}"#;
        check(&format!("[{good}]"), true);
        check(good, true);
        check(
            &format!(
                r#"[{good},{{"Effect":"Deny","NotAction":"oss:GetObject","NotResource":["a"]}}]"#
            ),
            true,
        );
        for bad in [
            format!("[{good},1]"),
            format!("[{}]", good.replace("Allow", "Maybe")),
            format!("[{}]", good.replace("\"Effect\":\"Allow\",", "")),
            format!("[{}]", good.replace("Action", "Actions")),
            format!("[{}]", good.replace("[\"oss:Get*\",\"oss:List*\"]", "[]")),
            format!("[{}]", good.replace("\"*\"", "7")),
            format!("[{}]", good.replace("}", ",\"NotAction\":\"b\"}")),
            "\"all\"".to_owned(),
        ] {
            check(&bad, false);
        }
    }

    #[test]
    fn policy_is_minified_and_bounded() {
        let policy = SessionPolicy::new("{ \"Version\": \"1\",\n \"Statement\": [ ] }").unwrap();
        assert!(!policy.as_str().contains([' ', '\n']));
        let exact = r#"{"Version":"1","Statement":[{"Effect":"Allow","Action":"oss:*","Resource":"*","x":"\" a\\","x":[0.10,1E+2, 1e-400]}],"y":12345678901234567890123}"#;
        let sent = SessionPolicy::new(exact).unwrap();
        assert_eq!(sent.as_str(), exact.replace(", ", ","));
        let padded = |length: usize| {
            let rest = r#"{"Statement":[],"Version":"1","x":""}"#.len();
            format!(
                r#"{{"Statement":[],"Version":"1","x":"{}"}}"#,
                "y".repeat(length - rest)
            )
        };
        assert!(SessionPolicy::new(&padded(2048)).is_ok());
        assert!(SessionPolicy::new(&padded(2049)).is_err());
        for text in ["", "[]", "{}", r#"{"Version":"2","Statement":[]}"#, "{"] {
            assert!(SessionPolicy::new(text).is_err(), "{text}");
        }
    }
}
