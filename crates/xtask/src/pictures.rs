//! Decides how the pictures of `docs` are drawn: each is a text in `docs/pictures`, and the
//! image beside it is what comes of that, which the gate compares.
//!
//! A text has a thing a line, and a `#` before what is only for its readers. Places and sizes
//! are in units, from the top left:
//!
//! ```text
//! title WORDS                    what a screen reader says first
//! about WORDS                    what the picture shows, in words; several are one text
//! size UNIT WIDTH HEIGHT         the unit in pixels, then units
//! frame X Y WIDTH HEIGHT WORDS   what belongs together, named at its top
//! box NAME X Y WIDTH HEIGHT WORDS
//! bar TONE X Y WIDTH WORDS       a span of time; good, soon or plain
//! arrow NAME NAME                between two boxes, one beside or below the other
//! at X Y Y WORDS                 a moment: a line down, its name above
//! note start X Y WORDS           words alone, from there on; or end, up to there
//! ```
//!
//! `|` begins another line of words. The first one of a box is its name.

mod canvas;

use std::{collections::BTreeMap, fs, path::Path};

use canvas::{Area, Canvas};

use crate::process::{Outcome, root, say};

/// The pictures that there are.
const PICTURES: [&str; 2] = ["flows", "session"];

/// Draws them all.
pub(crate) fn draw() -> Outcome {
    each(|path, drawn| fs::write(path, drawn).map_err(|error| error.to_string()))
}

/// Fails where an image is not what its text gives.
pub(crate) fn check() -> Outcome {
    each(|path, drawn| match fs::read_to_string(path) {
        Ok(there) if there == drawn => Ok(()),
        Ok(_) => Err("not what its text gives; run cargo xtask pictures".to_owned()),
        Err(error) => Err(error.to_string()),
    })
}

fn each(with: impl Fn(&Path, &str) -> Outcome) -> Outcome {
    for name in PICTURES {
        let text = root().join(format!("docs/pictures/{name}.txt"));
        let image = text.with_extension("svg");
        let at = |path: &Path, what: String| format!("{}: {what}", path.display());
        let source = fs::read_to_string(&text).map_err(|error| at(&text, error.to_string()))?;
        let drawn = Picture::of(&source).map_err(|what| at(&text, what))?;
        with(&image, &drawn).map_err(|what| at(&image, what))?;
        say(&format!("docs/pictures/{name}.svg"));
    }
    Ok(())
}

/// What has been read of a text, and drawn.
#[derive(Default)]
struct Picture {
    unit: f64,
    size: (f64, f64),
    title: String,
    about: Vec<String>,
    boxes: BTreeMap<String, Area>,
    canvas: Canvas,
}

impl Picture {
    fn of(text: &str) -> Result<String, String> {
        let mut picture = Self::default();
        for (number, line) in text.lines().enumerate() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let known = picture.thing(line);
            known.map_err(|what| format!("line {}: {what}", number + 1))?;
        }
        let about = picture.about.join(" ");
        Ok(picture.canvas.finish(picture.size, &picture.title, &about))
    }

    fn thing(&mut self, line: &str) -> Outcome {
        let mut words = Words(line);
        let unit = self.unit;
        match words.next()? {
            "title" => self.title = words.rest().to_owned(),
            "about" => self.about.push(words.rest().to_owned()),
            "size" => {
                self.unit = words.number(1.0)?;
                self.size = words.point(self.unit)?;
            }
            "frame" => self.canvas.frame(words.area(unit)?, words.rest()),
            "box" => {
                let name = words.next()?.to_owned();
                let area = words.area(unit)?;
                self.canvas.boxed(area, words.rest());
                self.boxes.insert(name, area);
            }
            "bar" => {
                let tone = words.next()?;
                let (start, width) = (words.point(unit)?, words.number(unit)?);
                self.canvas.bar(tone, start, width, words.rest());
            }
            "arrow" => {
                let (from, to) = (words.next()?, words.next()?);
                self.canvas.arrow(self.named(from)?, self.named(to)?)?;
            }
            "at" => {
                let (top, end) = (words.point(unit)?, words.number(unit)?);
                self.canvas.moment(top, end, words.rest());
            }
            "note" => {
                let anchor = words.next()?;
                let place = words.point(unit)?;
                self.canvas.words("small", anchor, place, words.rest());
            }
            other => return Err(format!("{other} is nothing that can be drawn")),
        }
        Ok(())
    }

    fn named(&self, name: &str) -> Result<Area, String> {
        let area = self.boxes.get(name).copied();
        area.ok_or_else(|| format!("there is no box {name}"))
    }
}

/// What of a line has not been read yet.
struct Words<'a>(&'a str);

impl<'a> Words<'a> {
    fn next(&mut self) -> Result<&'a str, String> {
        let (word, rest) = self.0.split_once(' ').unwrap_or((self.0, ""));
        self.0 = rest.trim_start();
        if word.is_empty() {
            return Err("something is missing at its end".to_owned());
        }
        Ok(word)
    }

    fn number(&mut self, unit: f64) -> Result<f64, String> {
        let word = self.next()?;
        let number: f64 = word.parse().map_err(|_| format!("{word} is no number"))?;
        Ok((number * unit * 10.0).round() / 10.0)
    }

    fn point(&mut self, unit: f64) -> Result<(f64, f64), String> {
        Ok((self.number(unit)?, self.number(unit)?))
    }

    fn area(&mut self, unit: f64) -> Result<Area, String> {
        Ok(Area {
            x: self.number(unit)?,
            y: self.number(unit)?,
            width: self.number(unit)?,
            height: self.number(unit)?,
        })
    }

    fn rest(&self) -> &'a str {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::Picture;

    #[test]
    fn what_is_wrong_with_a_text_is_named_with_its_line() {
        let check = |text: &str, expected: &str| {
            let outcome = Picture::of(&format!("size 10 40 20\n{text}\n"));
            assert_eq!(outcome, Err(format!("line {expected}")), "{text}");
        };
        check("circle 1 1", "2: circle is nothing that can be drawn");
        check("note end 1 x words", "2: x is no number");
        check("box store 1 1 4", "2: something is missing at its end");
        check("arrow a b", "2: there is no box a");
        check(
            "box a 0 0 2 2 a\nbox b 5 5 2 2 b\narrow a b",
            "4: an arrow goes straight, and these two are in no row or column",
        );
    }

    #[test]
    fn words_are_text_whatever_they_are() {
        let drawn = Picture::of("size 10 40 20\nnote start 1 1 a<b & c|d").unwrap();
        assert!(drawn.contains(">a&lt;b &amp; c</text>"), "{drawn}");
        assert!(
            drawn.contains("x=\"10\" y=\"27\" text-anchor=\"start\">d</text>"),
            "{drawn}"
        );
    }
}
