//! Decides whether what is counted is within what `budget.toml` allows.

use std::{collections::BTreeMap, env};

use anyhow::{Context as _, Result, bail};

use crate::{counts::Counted, page::say, table::Row};

const BUDGET: &str = include_str!("../budget.toml");

/// Fails when something costs more than it may. Says what could not be counted.
pub(crate) fn check(counted: &[Counted]) -> Result<()> {
    if env::consts::ARCH != "x86_64" {
        say("NOT RUN: the budget is for x86_64");
        return Ok(());
    }
    let budget: BTreeMap<String, f64> = toml::from_str(BUDGET).context("budget.toml")?;
    let mut dearer = Vec::new();
    for it in counted.iter().filter(|it| it.in_budget) {
        let limit = *budget
            .get(it.key)
            .with_context(|| format!("budget.toml lacks {}", it.key))?;
        match verdict(&it.row, limit) {
            Verdict::Within(value) => say(&format!("{}: {value} of {limit}", it.key)),
            Verdict::Unknown => say(&format!("NOT RUN: {}: {}", it.key, it.row.remark)),
            Verdict::Dearer(value) => {
                say(&format!("{}: {value}, allowed are {limit}", it.key));
                dearer.push(it.key);
            }
        }
    }
    match dearer.is_empty() {
        true => Ok(()),
        false => bail!(
            "{} cost more than crates/bench/budget.toml allows; change what has become dearer, or \
             the budget with the reason",
            dearer.join(", ")
        ),
    }
}

enum Verdict {
    Within(f64),
    Dearer(f64),
    Unknown,
}

fn verdict(row: &Row, limit: f64) -> Verdict {
    match row.figure {
        None => Verdict::Unknown,
        Some(it) if it.median <= limit => Verdict::Within(it.median),
        Some(it) => Verdict::Dearer(it.median),
    }
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::{
        counts::Counted,
        table::{Figure, Row, Unit},
    };

    fn counted(value: f64) -> [Counted; 1] {
        let row = Row::new("", "", Figure::exactly(value, Unit::Count), None);
        [Counted {
            key: "hit-allocations",
            in_budget: true,
            row,
        }]
    }

    #[test]
    fn what_costs_more_than_it_may_is_a_failure() {
        check(&counted(0.0)).unwrap();
        let error = check(&counted(1e9)).unwrap_err().to_string();
        assert!(error.starts_with("hit-allocations cost more"), "{error}");
    }
}
