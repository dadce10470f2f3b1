//! The report.

use crate::{
    mask::LEGEND,
    step::{Outcome, Step},
};

/// The report: lines about the machine and the endpoints, and the steps.
pub(crate) struct Report {
    lines: Vec<(&'static str, String)>,
    steps: Vec<(&'static str, Step)>,
}

impl Report {
    pub(crate) fn new(lines: Vec<(&'static str, String)>) -> Self {
        Self {
            lines,
            steps: Vec::new(),
        }
    }

    pub(crate) fn add(&mut self, name: &'static str, step: Step) {
        self.steps.push((name, step));
    }

    /// Returns `true` if every step ended as expected.
    pub(crate) fn is_as_expected(&self) -> bool {
        self.unexpected() == 0
    }

    fn unexpected(&self) -> usize {
        let outcomes = self.steps.iter().map(|(_, step)| step.outcome);
        outcomes.filter(|it| *it != Outcome::Ok).count()
    }

    /// Returns the report as text.
    pub(crate) fn text(&self) -> String {
        let mut text = "stsd live report\n\n".to_owned();
        for (name, value) in &self.lines {
            text.push_str(&format!("{name:<10} {value}\n"));
        }
        text.push_str(&format!(
            "\n{:<14} {:<8} {:<24} {:>6} {:>7}  request id\n",
            "step", "result", "code", "status", "ms"
        ));
        for (name, step) in &self.steps {
            text.push_str(&line(name, step));
        }
        let remarks = self.steps.iter();
        let remarks: Vec<_> = remarks
            .filter_map(|(name, step)| Some(format!("{name}: {}\n", step.remark.as_ref()?)))
            .collect();
        if !remarks.is_empty() {
            text.push_str(&format!("\n{}", remarks.concat()));
        }
        let result = match self.unexpected() {
            0 => "exit code  0: every step ended as expected".to_owned(),
            1 => "exit code  1: one step failed or was not run".to_owned(),
            count => format!("exit code  1: {count} steps failed or were not run"),
        };
        format!("{text}\n{LEGEND}\n{result}\n")
    }
}

fn line(name: &str, step: &Step) -> String {
    let outcome = match step.outcome {
        Outcome::Ok => "ok",
        Outcome::Failed => "failed",
        Outcome::NotRun => "not run",
    };
    let code = step.code.as_deref().unwrap_or("-");
    let number = |it: Option<u128>| it.map_or_else(|| "-".to_owned(), |it| it.to_string());
    let status = number(step.status.map(u128::from));
    let millis = number(step.millis);
    let request_id = step.request_id.as_deref().unwrap_or("-");
    format!("{name:<14} {outcome:<8} {code:<24} {status:>6} {millis:>7}  {request_id}\n")
}
