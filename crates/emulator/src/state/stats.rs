//! The counters of calls by action and outcome.

use std::collections::BTreeMap;

use serde::Serialize;

/// Maximum number of outcomes of one action. A fault script may name any code, so that the
/// outcomes need a bound; further ones are counted as `other`.
const MAX_OUTCOMES: usize = 1000;

/// The number of calls, by action and outcome.
#[derive(Debug, Default, Serialize)]
#[serde(transparent)]
pub(crate) struct Stats {
    calls: BTreeMap<String, BTreeMap<String, u64>>,
}

impl Stats {
    pub(crate) fn count(&mut self, action: &str, outcome: &str) {
        let outcomes = self.calls.entry(action.to_owned()).or_default();
        let fits = outcomes.contains_key(outcome) || outcomes.len() < MAX_OUTCOMES;
        let outcome = if fits { outcome } else { "other" };
        *outcomes.entry(outcome.to_owned()).or_default() += 1;
    }

    pub(crate) fn clear(&mut self) {
        self.calls.clear();
    }
}
