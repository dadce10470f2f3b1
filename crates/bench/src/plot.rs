//! Draws how far each figure is from its goal: one bar a figure, on one axis on which the
//! goal is 1 and less is better.

use std::fmt::Write as _;

use crate::table::{Goal, Row};

/// How wide one time the goal is drawn.
const UNIT: f64 = 220.0;

/// Bars end here, whatever the figure.
const LONGEST: f64 = 1.8;

const LABELS: f64 = 500.0;
const LINE: f64 = 20.0;

const STYLE: &str = "\
text{font:12px system-ui,sans-serif;fill:#24292f}\
.group{font-weight:600}.small{fill:#57606a}\
.met{fill:#2da44e}.missed{fill:#bf8700}.goal{stroke:#57606a;stroke-dasharray:3 3}\
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.small{fill:#9198a1}\
.met{fill:#3fb950}.missed{fill:#d29922}.goal{stroke:#9198a1}}";

pub(crate) fn draw(rows: &[Row]) -> String {
    let drawn: Vec<_> = rows
        .iter()
        .filter_map(|row| Some((row, part(row)?)))
        .collect();
    let mut body = String::new();
    let (mut y, mut group) = (30.0, "");
    for (row, part) in drawn {
        if row.group != group {
            group = row.group;
            y += LINE;
            text(&mut body, 8.0, y, "group", group);
            y += LINE;
        }
        let class = if row.met == Some(true) {
            "met"
        } else {
            "missed"
        };
        let width = part.min(LONGEST) * UNIT;
        let [what, figure, _, goal, _] = row.cells();
        text(&mut body, 20.0, y, "what", &what);
        let _ = writeln!(
            body,
            "<rect class=\"{class}\" x=\"{LABELS}\" y=\"{}\" width=\"{width:.1}\" height=\"12\" rx=\"2\"/>",
            y - 10.0
        );
        let beyond = if part > LONGEST { "… " } else { "" };
        let label = format!("{beyond}{figure} ({goal})");
        text(&mut body, LABELS + width + 6.0, y, "small", &label);
        y += LINE;
    }
    let (width, height) = (LABELS + LONGEST * UNIT + 190.0, y + 10.0);
    let goal = LABELS + UNIT;
    let mut all = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" role=\"img\" \
         aria-label=\"Each figure as a part of its goal\">\n<style>{STYLE}</style>\n"
    );
    let _ = writeln!(
        all,
        "<line class=\"goal\" x1=\"{goal}\" x2=\"{goal}\" y1=\"24\" y2=\"{y}\"/>"
    );
    text(&mut all, goal - 14.0, 18.0, "small", "goal");
    all + &body + "</svg>\n"
}

/// Returns a figure as a part of its goal; above 1 it misses it.
fn part(row: &Row) -> Option<f64> {
    let value = row.figure?.median;
    let part = match row.goal? {
        // Nothing is no part of nothing.
        Goal::AtMost(0.0) => 2.0 * LONGEST * f64::from(value > 0.0),
        Goal::AtMost(limit) => value / limit,
        Goal::AtLeast(limit) => limit / value,
    };
    part.is_finite().then_some(part)
}

fn text(into: &mut String, x: f64, y: f64, class: &str, text: &str) {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(
        into,
        "<text class=\"{class}\" x=\"{x:.0}\" y=\"{y:.0}\">{text}</text>"
    );
}

#[cfg(test)]
mod tests {
    use super::part;
    use crate::table::{Figure, Goal, Row, Unit};

    #[test]
    fn what_misses_its_goal_is_longer_than_one() {
        let part = |value, goal| {
            let figure = Figure::exactly(value, Unit::Count);
            part(&Row::new("", "", figure, Some(goal)))
        };
        assert_eq!(part(3.0, Goal::AtMost(2.0)), Some(1.5));
        assert_eq!(part(4.0, Goal::AtLeast(2.0)), Some(0.5));
        assert_eq!(part(0.0, Goal::AtMost(0.0)), Some(0.0));
        assert!(part(1.0, Goal::AtMost(0.0)) > Some(1.0));
    }
}
