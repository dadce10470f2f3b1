//! The samples of a text of metrics.

use crate::TestEnv;

/// Returns the value of the sample in the metrics that stsctl prints; the name has the labels.
///
/// # Panics
/// When there is no such sample.
#[must_use]
pub fn metric(env: &TestEnv, name: &str) -> f64 {
    let text = String::from_utf8(env.ctl(&["metrics"]).stdout).unwrap();
    sample(&text, name).unwrap_or_else(|| panic!("{name}: {text}"))
}

/// Returns the value of the sample in a text of metrics; the name has the labels. `None` without the
/// sample.
///
/// # Panics
/// When the value is not a number.
#[must_use]
pub fn sample(text: &str, name: &str) -> Option<f64> {
    let mut lines = text.lines();
    let value = lines.find_map(|it| it.strip_prefix(name)?.strip_prefix(' '));
    value.map(|it| it.parse().unwrap())
}
