//! Decides how the things of a picture look: shapes and words of an SVG, in pixels.

use std::fmt::Write as _;

use crate::process::Outcome;

/// Colours follow the reader's theme, and a
/// background of its own keeps it readable where a page's theme is another.
const STYLE: &str = "\
text{font:13px system-ui,'DejaVu Sans',sans-serif;fill:#1f2328}\
.name{font-weight:600}.small{font-size:12px;fill:#59636e}\
.paper{fill:#fff}.box{fill:#f6f8fa;stroke:#59636e}\
.frame{fill:none;stroke:#8c959f;stroke-dasharray:5 4}\
.line{stroke:#1f2328;fill:none}.at{stroke:#59636e;stroke-dasharray:2 3}.head{fill:#1f2328}\
.good{fill:#b4e8c0}.soon{fill:#fbdf9d}.plain{fill:#d8dee4}\
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.small{fill:#9aa4ae}\
.paper{fill:#0d1117}.box{fill:#161b22;stroke:#9aa4ae}.frame{stroke:#6e7681}\
.line{stroke:#e6edf3}.at{stroke:#9aa4ae}.head{fill:#e6edf3}\
.good{fill:#1c5c30}.soon{fill:#6b4f0c}.plain{fill:#343b44}}";

/// From one line of words to the next, and half of how high a letter is.
const LINE: f64 = 17.0;
const HALF_LETTER: f64 = 4.5;

type Point = (f64, f64);

/// Where a thing is.
#[derive(Clone, Copy)]
pub(super) struct Area {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) width: f64,
    pub(super) height: f64,
}

impl Area {
    fn middle(&self) -> Point {
        (self.x + self.width / 2.0, self.y + self.height / 2.0)
    }
}

/// What has been drawn.
#[derive(Default)]
pub(super) struct Canvas {
    drawn: String,
}

impl Canvas {
    pub(super) fn frame(&mut self, area: Area, words: &str) {
        self.rectangle("frame", area, 8);
        self.words("small", "start", (area.x + 8.0, area.y + LINE), words);
    }

    /// The first line is the box's name, and bold.
    pub(super) fn boxed(&mut self, area: Area, words: &str) {
        self.rectangle("box", area, 5);
        let (x, middle) = area.middle();
        let above = (words.split('|').count() as f64 - 1.0) * LINE / 2.0;
        let mut y = middle + HALF_LETTER - above;
        for (number, line) in words.split('|').enumerate() {
            let class = if number == 0 { "name" } else { "small" };
            self.words(class, "middle", (x, y), line);
            y += LINE;
        }
    }

    pub(super) fn bar(&mut self, tone: &str, (x, y): Point, width: f64, words: &str) {
        let height = LINE + 7.0;
        let area = Area {
            x,
            y,
            width,
            height,
        };
        self.rectangle(tone, area, 3);
        let (x, middle) = area.middle();
        self.words("", "middle", (x, middle + HALF_LETTER), words);
    }

    pub(super) fn moment(&mut self, (x, y): Point, end: f64, words: &str) {
        self.line("at", (x, y), (x, end));
        let above = words.split('|').count() as f64 * LINE - 11.0;
        self.words("small", "middle", (x, y - above), words);
    }

    /// Goes straight, through the middle of what the two have beside or below each other.
    pub(super) fn arrow(&mut self, from: Area, to: Area) -> Outcome {
        let beside = common((from.y, from.height), (to.y, to.height));
        let below = common((from.x, from.width), (to.x, to.width));
        match (beside, below) {
            (Some(y), _) => {
                let (start, back, end) = gap((from.x, from.width), (to.x, to.width));
                self.line("line", (start, y), (back, y));
                self.head((end, y), (back, y - 4.0), (back, y + 4.0));
            }
            (None, Some(x)) => {
                let (start, back, end) = gap((from.y, from.height), (to.y, to.height));
                self.line("line", (x, start), (x, back));
                self.head((x, end), (x - 4.0, back), (x + 4.0, back));
            }
            (None, None) => {
                return Err(
                    "an arrow goes straight, and these two are in no row or column".to_owned(),
                );
            }
        }
        Ok(())
    }

    /// Writes words with the foot of their first line at a place.
    pub(super) fn words(&mut self, class: &str, anchor: &str, (x, mut y): Point, words: &str) {
        for line in words.split('|').filter(|it| !it.is_empty()) {
            self.put(&format!(
                "<text class=\"{class}\" x=\"{x}\" y=\"{y}\" text-anchor=\"{anchor}\">{}</text>",
                escaped(line)
            ));
            y += LINE;
        }
    }

    /// Returns the image.
    pub(super) fn finish(&self, (width, height): Point, title: &str, about: &str) -> String {
        let (title, about, drawn) = (escaped(title), escaped(about), &self.drawn);
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
             viewBox=\"0 0 {width} {height}\" role=\"img\" aria-labelledby=\"title about\">\n\
             <title id=\"title\">{title}</title>\n<desc id=\"about\">{about}</desc>\n\
             <style>{STYLE}</style>\n\
             <rect class=\"paper\" width=\"{width}\" height=\"{height}\" rx=\"8\"/>\n{drawn}</svg>\n"
        )
    }

    fn rectangle(&mut self, class: &str, area: Area, round: u8) {
        let Area {
            x,
            y,
            width,
            height,
        } = area;
        self.put(&format!(
            "<rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" \
             rx=\"{round}\"/>"
        ));
    }

    fn line(&mut self, class: &str, (x1, y1): Point, (x2, y2): Point) {
        self.put(&format!(
            "<line class=\"{class}\" x1=\"{x1}\" y1=\"{y1}\" x2=\"{x2}\" y2=\"{y2}\"/>"
        ));
    }

    fn head(&mut self, tip: Point, left: Point, right: Point) {
        let [(x, y), (x1, y1), (x2, y2)] = [tip, left, right];
        self.put(&format!(
            "<path class=\"head\" d=\"M{x} {y}L{x1} {y1}L{x2} {y2}Z\"/>"
        ));
    }

    fn put(&mut self, element: &str) {
        let _ = writeln!(self.drawn, "{element}");
    }
}

/// Returns the middle of what two spans have in common.
fn common(one: Point, other: Point) -> Option<f64> {
    let start = one.0.max(other.0);
    let end = (one.0 + one.1).min(other.0 + other.1);
    (start < end).then_some((start + end) / 2.0)
}

/// Returns where an arrow from a span to another begins, where its head begins, and its tip.
fn gap(from: Point, to: Point) -> (f64, f64, f64) {
    const HEAD: f64 = 8.0;
    if to.0 > from.0 {
        (from.0 + from.1, to.0 - HEAD, to.0)
    } else {
        let tip = to.0 + to.1;
        (from.0, tip + HEAD, tip)
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
