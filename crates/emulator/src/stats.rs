//! How often each action was called, and how it ended.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// Counts by action, then by outcome (`ok`, an error code, `fault:<kind>`).
#[derive(Debug, Default)]
pub(crate) struct Stats {
    calls: BTreeMap<String, BTreeMap<String, u64>>,
}

impl Stats {
    pub(crate) fn count(&mut self, action: &str, outcome: &str) {
        let outcomes = self.calls.entry(action.to_owned()).or_default();
        *outcomes.entry(outcome.to_owned()).or_default() += 1;
    }

    pub(crate) fn zero(&mut self) {
        self.calls.clear();
    }

    pub(crate) fn to_json(&self, sessions_live: usize) -> Value {
        json!({ "calls": self.calls, "sessions_live": sessions_live })
    }
}
