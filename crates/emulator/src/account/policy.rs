//! RAM policies: what a role, a user or a session may do.
//!
//! Read strictly: an element this cloud does not evaluate (`Condition`,
//! `NotAction`, `NotResource`, `Principal`, …) is refused. A policy that is only
//! half understood would grant or deny something its author did not write.

use serde_json::{Map, Value};

/// A policy in force.
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

/// What one policy says about one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// A statement allows it and none denies it.
    Allowed,
    /// No statement speaks of it.
    NotMentioned,
    /// A statement denies it, whatever the others say.
    Denied,
}

/// Why a policy cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PolicyError {
    /// Not JSON at all.
    #[error("the policy is not JSON: {0}")]
    NotJson(String),
    /// An element of another shape than RAM's grammar has.
    #[error("{0}")]
    Grammar(String),
    /// An element this cloud does not evaluate.
    #[error("the policy element {0} is not supported here")]
    Unsupported(String),
}

impl Policy {
    /// Reads a policy document.
    ///
    /// # Errors
    ///
    /// The text is not JSON, breaks RAM's grammar, or uses an element that is
    /// not evaluated here.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        let document: Value =
            serde_json::from_str(text).map_err(|error| PolicyError::NotJson(error.to_string()))?;
        let document = object(&document, "the policy")?;
        only(document, &["Version", "Statement"])?;
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

    /// Judges `action` (like `oss:GetObject`) on a resource known by any of `names`.
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

    /// Whether the policy allows it, which silence does not.
    #[must_use]
    pub fn allows(&self, action: &str, names: &[String]) -> bool {
        self.verdict(action, names) == Verdict::Allowed
    }
}

impl Statement {
    fn parse(value: &Value) -> Result<Self, PolicyError> {
        let statement = object(value, "a statement")?;
        only(statement, &["Effect", "Action", "Resource"])?;
        let effect = match statement.get("Effect").and_then(Value::as_str) {
            Some("Allow") => Effect::Allow,
            Some("Deny") => Effect::Deny,
            _ => return Err(grammar("Effect must be Allow or Deny")),
        };
        let actions = strings(statement, "Action")?;
        if let Some(odd) = actions.iter().find(|a| *a != "*" && !a.contains(':')) {
            return Err(grammar(&format!("the action {odd:?} names no service")));
        }
        let resources = strings(statement, "Resource")?;
        if let Some(odd) = resources
            .iter()
            .find(|r| *r != "*" && !r.starts_with("acs:"))
        {
            return Err(grammar(&format!(
                "the resource {odd:?} does not begin with acs:"
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
        let says_action = self
            .actions
            .iter()
            .any(|pattern| matches(&pattern.to_ascii_lowercase(), &action));
        says_action
            && self
                .resources
                .iter()
                .any(|pattern| names.iter().any(|name| matches(pattern, name)))
    }
}

fn grammar(text: &str) -> PolicyError {
    PolicyError::Grammar(text.to_owned())
}

fn object<'a>(value: &'a Value, what: &str) -> Result<&'a Map<String, Value>, PolicyError> {
    value
        .as_object()
        .ok_or_else(|| grammar(&format!("{what} must be an object")))
}

fn only(object: &Map<String, Value>, known: &[&str]) -> Result<(), PolicyError> {
    match object.keys().find(|key| !known.contains(&key.as_str())) {
        Some(odd) => Err(PolicyError::Unsupported(odd.clone())),
        None => Ok(()),
    }
}

fn strings(statement: &Map<String, Value>, key: &str) -> Result<Vec<String>, PolicyError> {
    let wrong = || grammar(&format!("{key} must be a string or a list of strings"));
    match statement.get(key) {
        Some(Value::String(one)) => Ok(vec![one.clone()]),
        Some(Value::Array(list)) if !list.is_empty() => list
            .iter()
            .map(|item| item.as_str().map(str::to_owned).ok_or_else(wrong))
            .collect(),
        _ => Err(wrong()),
    }
}

/// Matches `*` (any run, slashes too) and `?` (any one character).
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let text: Vec<char> = text.chars().collect();
    let (mut p, mut t) = (0, 0);
    // Where the last star stood, and how much of the text it has swallowed.
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
                Some((at, swallowed)) => {
                    star = Some((at, swallowed + 1));
                    p = at + 1;
                    t = swallowed + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&rest| rest == '*')
}
