//! RAM policies of roles, users and sessions.
//!
//! The parser refuses each element that the emulator does not evaluate (`Condition`,
//! `NotAction`, `NotResource`, `Principal`, …), because a policy without such an element would
//! grant or deny something else than its text.

use serde_json::{Map, Value};

/// A policy.
#[derive(Debug, Clone)]
pub struct Policy {
    statements: Vec<Statement>,
}

#[derive(Debug, Clone)]
struct Statement {
    effect: Effect,
    actions: Vec<String>,
    resources: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    Allow,
    Deny,
}

/// The result of one policy for one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// A statement allows the action and none denies it.
    Allowed,
    /// No statement covers the action and the resource.
    NotMentioned,
    /// A statement denies the action. A denial overrides each `Allow`.
    Denied,
}

/// The reason for which a text is no policy.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PolicyError {
    /// The text is no JSON.
    #[error("the policy is not JSON: {0}")]
    NotJson(String),
    /// An element breaks RAM's grammar.
    #[error("{0}")]
    Grammar(String),
    /// The emulator does not evaluate this element.
    #[error("the emulator does not evaluate the policy element {0}")]
    Unsupported(String),
}

impl Policy {
    /// Parses a policy document.
    ///
    /// # Errors
    ///
    /// The text is no JSON, breaks RAM's grammar, or has an element that the emulator does not
    /// evaluate.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        let document: Value =
            serde_json::from_str(text).map_err(|error| PolicyError::NotJson(error.to_string()))?;
        let document = as_object(&document, "the policy")?;
        check_keys(document, &["Version", "Statement"])?;
        if document.get("Version").and_then(Value::as_str) != Some("1") {
            return Err(grammar("Version must be \"1\""));
        }
        let statements = match document.get("Statement") {
            Some(Value::Array(list)) if !list.is_empty() => list
                .iter()
                .map(Statement::parse)
                .collect::<Result<_, _>>()?,
            Some(one @ Value::Object(_)) => vec![Statement::parse(one)?],
            _ => return Err(grammar("Statement must be an object or a list of them")),
        };
        Ok(Self { statements })
    }

    /// Returns the verdict on `action` (such as `oss:GetObject`) for a resource with `names`, the
    /// equivalent spellings of its ARN.
    #[must_use]
    pub fn verdict(&self, action: &str, names: &[String]) -> Verdict {
        let mut verdict = Verdict::NotMentioned;
        for statement in &self.statements {
            if !statement.covers(action, names) {
                continue;
            }
            match statement.effect {
                Effect::Deny => return Verdict::Denied,
                Effect::Allow => verdict = Verdict::Allowed,
            }
        }
        verdict
    }

    /// Returns `true` if a statement allows the action and none denies it.
    #[must_use]
    pub fn allows(&self, action: &str, names: &[String]) -> bool {
        self.verdict(action, names) == Verdict::Allowed
    }
}

impl Statement {
    fn parse(value: &Value) -> Result<Self, PolicyError> {
        let statement = as_object(value, "a statement")?;
        check_keys(statement, &["Effect", "Action", "Resource"])?;
        let effect = match statement.get("Effect").and_then(Value::as_str) {
            Some("Allow") => Effect::Allow,
            Some("Deny") => Effect::Deny,
            _ => return Err(grammar("Effect must be Allow or Deny")),
        };
        let actions = string_list(statement, "Action")?;
        if let Some(other) = actions.iter().find(|a| *a != "*" && !a.contains(':')) {
            return Err(grammar(&format!("the action {other:?} names no service")));
        }
        let resources = string_list(statement, "Resource")?;
        if let Some(other) = resources
            .iter()
            .find(|r| *r != "*" && !r.starts_with("acs:"))
        {
            return Err(grammar(&format!(
                "the resource {other:?} does not begin with acs:"
            )));
        }
        Ok(Self {
            effect,
            actions,
            resources,
        })
    }

    fn covers(&self, action: &str, names: &[String]) -> bool {
        let action = action.to_ascii_lowercase();
        let covers_action = self
            .actions
            .iter()
            .any(|pattern| matches(&pattern.to_ascii_lowercase(), &action));
        covers_action
            && self
                .resources
                .iter()
                .any(|pattern| names.iter().any(|name| matches(pattern, name)))
    }
}

fn grammar(text: &str) -> PolicyError {
    PolicyError::Grammar(text.to_owned())
}

fn as_object<'a>(value: &'a Value, what: &str) -> Result<&'a Map<String, Value>, PolicyError> {
    value
        .as_object()
        .ok_or_else(|| grammar(&format!("{what} must be an object")))
}

fn check_keys(object: &Map<String, Value>, known: &[&str]) -> Result<(), PolicyError> {
    match object.keys().find(|key| !known.contains(&key.as_str())) {
        Some(unknown) => Err(PolicyError::Unsupported(unknown.clone())),
        None => Ok(()),
    }
}

fn string_list(statement: &Map<String, Value>, key: &str) -> Result<Vec<String>, PolicyError> {
    let error = || grammar(&format!("{key} must be a string or a list of strings"));
    match statement.get(key) {
        Some(Value::String(one)) => Ok(vec![one.clone()]),
        Some(Value::Array(list)) if !list.is_empty() => list
            .iter()
            .map(|item| item.as_str().map(str::to_owned).ok_or_else(error))
            .collect(),
        _ => Err(error()),
    }
}

/// Returns `true` if the text matches the pattern, in which `*` is any text, slashes included,
/// and `?` any character.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let text: Vec<char> = text.chars().collect();
    let (mut p, mut t) = (0, 0);
    // The position of the last star, and the end of the text that it covers.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(&wanted) if wanted == '?' || wanted == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((at, covered)) => {
                    star = Some((at, covered + 1));
                    p = at + 1;
                    t = covered + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&rest| rest == '*')
}
