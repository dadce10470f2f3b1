//! The check of the counts against `budget.toml`.

use std::{collections::BTreeMap, env};

use anyhow::{Context as _, Result, bail};

use crate::{instruction_counts::BudgetedRow, report::print_line, table::Row};

const BUDGET: &str = include_str!("../budget.toml");

/// Prints each count with its limit.
///
/// # Errors
///
/// A count exceeds its limit.
pub(crate) fn check(counted: &[BudgetedRow]) -> Result<()> {
    if env::consts::ARCH != "x86_64" {
        print_line("NOT RUN: the budget is for x86_64");
        return Ok(());
    }
    let budget: BTreeMap<String, f64> = toml::from_str(BUDGET).context("budget.toml")?;
    let mut exceeded = Vec::new();
    for it in counted.iter().filter(|it| it.in_budget) {
        let limit = *budget
            .get(it.key)
            .with_context(|| format!("budget.toml lacks {}", it.key))?;
        match verdict(&it.row, limit) {
            Verdict::Within(value) => print_line(&format!("{}: {value} of {limit}", it.key)),
            Verdict::Unknown => print_line(&format!("NOT RUN: {}: {}", it.key, it.row.remark)),
            Verdict::Exceeded(value) => {
                print_line(&format!("{}: {value} exceeds {limit}", it.key));
                exceeded.push(it.key);
            }
        }
    }
    match exceeded.is_empty() {
        true => Ok(()),
        false => bail!(
            "{} cost more than crates/bench/budget.toml allows; make them cheaper, or change the \
             budget and give the reason",
            exceeded.join(", ")
        ),
    }
}

enum Verdict {
    Within(f64),
    Exceeded(f64),
    Unknown,
}

fn verdict(row: &Row, limit: f64) -> Verdict {
    match row.figure {
        None => Verdict::Unknown,
        Some(it) if it.median <= limit => Verdict::Within(it.median),
        Some(it) => Verdict::Exceeded(it.median),
    }
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::{
        instruction_counts::BudgetedRow,
        table::{Figure, Row, Unit},
    };

    fn row_with(value: f64) -> [BudgetedRow; 1] {
        let row = Row::new("", "", Figure::exactly(value, Unit::Count), None);
        [BudgetedRow {
            key: "hit-allocations",
            in_budget: true,
            row,
        }]
    }

    #[test]
    fn count_above_limit_is_an_error() {
        check(&row_with(0.0)).unwrap();
        let error = check(&row_with(1e9)).unwrap_err().to_string();
        assert!(error.starts_with("hit-allocations cost more"), "{error}");
    }
}
