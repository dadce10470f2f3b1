//! The gate: a list of steps, fastest first, and how a run of them is reported.
//!
//! `check` runs the steps of [`Tier::Check`], `test` those and the steps of [`Tier::Test`],
//! `test --full` everything. A step that a slower one contains is left out where the slower
//! one runs.

mod report;
mod steps;

use std::time::Instant;

use report::{Ending, Report};
pub(crate) use steps::demo;
use steps::{PROGRAMS, STEPS};

use crate::{
    nextest,
    notes::Notes,
    process::{Outcome, build_programs, heading, say},
    tier::Tier,
};

/// One step of the gate.
struct Step {
    name: &'static str,
    /// The loss if the step is not run, for a person.
    about: &'static str,
    tier: Tier,
    /// A step of the full run that contains this one.
    replaced_by: Option<&'static str>,
    run: fn(&mut Notes) -> Outcome,
}

/// Runs the steps of a tier, beginning with the step `from`; stops at the first that fails.
pub(crate) fn run(tier: Tier, from: Option<&str>) -> Outcome {
    let steps: Vec<&Step> = STEPS.iter().filter(|step| step.belongs_to(tier)).collect();
    let first = match from {
        None => 0,
        Some(name) => steps
            .iter()
            .position(|step| step.name == name)
            .ok_or_else(|| unknown(name, &steps))?,
    };
    let mut report = Report::open(tier, from.is_some())?;
    let mut notes = Notes::default();
    let mut failure = None;
    if steps[..first].iter().any(|step| step.name == PROGRAMS) {
        // The programs of an earlier run can be those of another commit.
        build_programs()?;
    }
    for step in &steps[first..] {
        heading(step.name);
        let started = now();
        let outcome = (step.run)(&mut notes);
        let seconds = started.elapsed().as_secs_f64();
        let ending = match outcome {
            Ok(()) => Ending::Passed,
            Err(_) => Ending::Failed,
        };
        report.add(step.name, seconds, ending)?;
        if let Err(error) = outcome {
            failure = Some(format!("{}: {error}", step.name));
            break;
        }
    }
    report.print_table();
    if tier == Tier::Test {
        say("\nOnly `cargo xtask test --full` runs:");
        for step in STEPS.iter().filter(|step| step.tier == Tier::Full) {
            say(&format!("  {}: {}", step.name, step.about));
        }
        for (name, reason) in nextest::FULL_ONLY {
            say(&format!("  long-stories: {name}…: {reason}"));
        }
    }
    notes.print();
    if let Some(error) = failure {
        return Err(error);
    }
    say(&report.last_line());
    Ok(())
}

impl Step {
    fn belongs_to(&self, tier: Tier) -> bool {
        match tier {
            Tier::Check => self.tier == Tier::Check,
            Tier::Test => self.tier != Tier::Full,
            Tier::Full => self.replaced_by.is_none(),
        }
    }
}

fn unknown(name: &str, steps: &[&Step]) -> String {
    let names: Vec<_> = steps.iter().map(|step| step.name).collect();
    format!(
        "there is no step {name:?}; the steps are {}",
        names.join(", ")
    )
}

#[expect(
    clippy::disallowed_methods,
    reason = "the lint is about the daemon's schedules; this measures the steps of a run"
)]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_have_unique_names_and_replacements_exist() {
        for (index, step) in STEPS.iter().enumerate() {
            let same = STEPS[..index].iter().any(|it| it.name == step.name);
            assert!(!same, "{} is there twice", step.name);
            let Some(other) = step.replaced_by else {
                continue;
            };
            let other = STEPS.iter().find(|it| it.name == other);
            let is_full = other.is_some_and(|it| it.tier == Tier::Full);
            assert!(is_full, "{} is replaced by no full step", step.name);
        }
    }
}
