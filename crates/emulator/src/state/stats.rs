//! Counts calls by action and outcome, which is how a test or a demo sees what a
//! client really asked of the cloud.

use std::collections::BTreeMap;

use serde::Serialize;

/// Outcomes are codes of ours, but a scripted error's code is the script's.
const LIMIT: usize = 1000;

#[derive(Debug, Default, Serialize)]
#[serde(transparent)]
pub(crate) struct Stats {
    calls: BTreeMap<String, BTreeMap<String, u64>>,
}

impl Stats {
    pub(crate) fn count(&mut self, action: &str, outcome: &str) {
        let outcomes = self.calls.entry(action.to_owned()).or_default();
        let known = outcomes.contains_key(outcome) || outcomes.len() < LIMIT;
        let outcome = if known { outcome } else { "other" };
        *outcomes.entry(outcome.to_owned()).or_default() += 1;
    }

    pub(crate) fn clear(&mut self) {
        self.calls.clear();
    }
}
