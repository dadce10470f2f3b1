//! The rows of the result: a median with its quartiles, and a goal.

use serde::Serialize;

/// One line of the result.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Row {
    /// The table of the row.
    pub(crate) group: &'static str,
    /// The measured quantity, and the program of comparison.
    pub(crate) what: String,
    pub(crate) figure: Option<Figure>,
    pub(crate) goal: Option<Goal>,
    /// `true` if the goal was met; `None` without a figure or without a goal.
    pub(crate) met: Option<bool>,
    /// `true` if the measurement failed.
    pub(crate) failed: bool,
    /// A remark, or the reason for a missing figure.
    pub(crate) remark: String,
}

/// A median and the two quartiles of the measurements.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Figure {
    pub(crate) median: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
    pub(crate) count: usize,
    pub(crate) unit: Unit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Unit {
    /// Our value divided by that of the other program.
    Ratio,
    /// A count.
    Count,
    Kilobytes,
    Nanoseconds,
}

/// A bound for the median.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Goal {
    AtMost(f64),
    AtLeast(f64),
}

impl Row {
    pub(crate) fn new(
        group: &'static str,
        what: impl Into<String>,
        figure: Figure,
        goal: Option<Goal>,
    ) -> Self {
        Self {
            group,
            what: what.into(),
            met: goal.map(|it| it.is_met(figure.median)),
            figure: Some(figure),
            goal,
            failed: false,
            remark: String::new(),
        }
    }

    /// Returns a row without a figure, with the reason.
    pub(crate) fn missing(
        group: &'static str,
        what: impl Into<String>,
        goal: Option<Goal>,
        why: impl Into<String>,
    ) -> Self {
        Self {
            group,
            what: what.into(),
            figure: None,
            goal,
            met: None,
            failed: false,
            remark: why.into(),
        }
    }

    /// Returns a row for a part of the run that failed.
    pub(crate) fn failed(group: &'static str, error: &anyhow::Error) -> Self {
        Self {
            failed: true,
            ..Self::missing(
                group,
                "all of it",
                None,
                format!("failed: {error:#}").replace('\n', " "),
            )
        }
    }

    pub(crate) fn remark(mut self, remark: impl Into<String>) -> Self {
        self.remark = remark.into();
        self
    }

    /// Returns the cells of the row.
    pub(crate) fn cells(&self) -> [String; 5] {
        let (figure, spread) = match &self.figure {
            Some(it) if it.count > 1 => {
                let spread = format!("{} to {}", it.unit.show(it.low), it.unit.show(it.high));
                (it.unit.show(it.median), spread)
            }
            Some(it) => (it.unit.show(it.median), String::new()),
            None => ("NOT RUN".to_owned(), String::new()),
        };
        let unit = self.figure.map_or(Unit::Ratio, |it| it.unit);
        let goal = match self.goal {
            Some(Goal::AtMost(limit)) => format!("≤ {}", unit.show(limit)),
            Some(Goal::AtLeast(limit)) => format!("≥ {}", unit.show(limit)),
            None => String::new(),
        };
        let verdict = match self.met {
            Some(true) => "met",
            Some(false) => "MISSED",
            None => "",
        };
        let verdict = match (verdict, self.remark.as_str()) {
            ("", remark) => remark.to_owned(),
            (verdict, "") => verdict.to_owned(),
            (verdict, remark) => format!("{verdict}; {remark}"),
        };
        [self.what.clone(), figure, spread, goal, verdict]
    }
}

impl Figure {
    /// Returns the figure of some measurements.
    pub(crate) fn of(mut all: Vec<f64>, unit: Unit) -> Self {
        all.sort_unstable_by(f64::total_cmp);
        Self {
            median: quantile(&all, 0.5),
            low: quantile(&all, 0.25),
            high: quantile(&all, 0.75),
            count: all.len(),
            unit,
        }
    }

    /// Returns the figure of a single measurement.
    pub(crate) fn exactly(value: f64, unit: Unit) -> Self {
        Self::of(vec![value], unit)
    }

    /// Returns the figure of the ratios of each round, because a disturbance affects both values of a
    /// round.
    pub(crate) fn ratio(ours: &[f64], theirs: &[f64]) -> Self {
        let ratios = ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs);
        Self::of(ratios.collect(), Unit::Ratio)
    }
}

impl Goal {
    fn is_met(self, value: f64) -> bool {
        match self {
            Self::AtMost(limit) => value <= limit,
            Self::AtLeast(limit) => value >= limit,
        }
    }
}

impl Unit {
    pub(crate) fn show(self, value: f64) -> String {
        match self {
            Self::Ratio if value >= 20.0 => format!("{value:.0} ×"),
            Self::Ratio => format!("{value:.2} ×"),
            Self::Count if value.fract() == 0.0 => format!("{value}"),
            Self::Count => format!("{value:.2}"),
            Self::Kilobytes if value >= 100.0 => format!("{value:.0} KB"),
            Self::Kilobytes => format!("{value:.2} KB"),
            Self::Nanoseconds => format!("{value:.1} ns"),
        }
    }
}

/// Returns the value below which that part of the sorted values lies.
pub(crate) fn quantile(sorted: &[f64], part: f64) -> f64 {
    let last = sorted.len().saturating_sub(1) as f64;
    let at = last * part;
    let value = |index: f64| sorted.get(index as usize).copied().unwrap_or(f64::NAN);
    let (below, above) = (value(at.floor()), value(at.ceil()));
    below + (above - below) * at.fract()
}

#[cfg(test)]
mod tests {
    use super::{Figure, Goal, Row, Unit};

    #[test]
    fn figure_has_median_and_quartiles() {
        let figure = Figure::of(vec![9.0, 1.0, 3.0, 2.0], Unit::Count);
        assert_eq!((figure.low, figure.median, figure.high), (1.75, 2.5, 4.5));
    }

    #[test]
    fn ratio_is_computed_for_each_round() {
        // The second round was ten times slower for both.
        let figure = Figure::ratio(&[2.0, 20.0, 2.0], &[4.0, 40.0, 4.0]);
        assert_eq!((figure.low, figure.median, figure.high), (0.5, 0.5, 0.5));
    }

    #[test]
    fn cells_name_met_and_missed_goals() {
        let figure = Figure::exactly(3.0, Unit::Count);
        let verdict = |goal| Row::new("", "", figure, Some(goal)).cells()[4].clone();
        assert_eq!(verdict(Goal::AtMost(3.0)), "met");
        assert_eq!(verdict(Goal::AtMost(2.9)), "MISSED");
        assert_eq!(verdict(Goal::AtLeast(3.1)), "MISSED");
        let missing = Row::missing("", "", Some(Goal::AtMost(1.0)), "no cc");
        assert_eq!(missing.cells()[1], "NOT RUN");
        assert_eq!(missing.cells()[4], "no cc");
    }
}
