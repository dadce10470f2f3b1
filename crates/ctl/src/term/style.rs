//! Styled lines: width, colours, and escaped unprintable characters.
//!
//! Without a terminal, lines are not wrapped, because programs read lines. Colour is used on
//! terminals unless `NO_COLOR` is set or `TERM=dumb`.

use std::io::{self, IsTerminal, Write as _};

use anstream::{AutoStream, ColorChoice, adapter::strip_str};
use anstyle::{AnsiColor, Style};
use anyhow::Result;
use rustix::{fd::AsFd, termios::tcgetwinsize};
use stsd_document::printable_lines;

use crate::term::stdout;

/// Width of a terminal that reports none.
const DEFAULT_COLUMNS: usize = 80;

/// Headings and names.
pub(crate) const BOLD: Style = Style::new().bold();
/// Details.
pub(crate) const DIM: Style = Style::new().dimmed();
/// A good state.
pub(crate) const OK: Style = AnsiColor::Green.on_default();
/// A warning.
pub(crate) const WARN: Style = AnsiColor::Yellow.on_default();
/// A fault.
pub(crate) const ERROR: Style = AnsiColor::Red.on_default();
/// Text without a style.
pub(crate) const PLAIN: Style = Style::new();

/// One line of text with its styles.
#[derive(Debug, Clone, Default)]
pub(crate) struct Line(Vec<(Style, String)>);

impl Line {
    /// Creates a line with one span.
    pub(crate) fn new(style: Style, text: impl AsRef<str>) -> Self {
        Self::default().with(style, text)
    }

    /// Adds a span.
    pub(crate) fn with(mut self, style: Style, text: impl AsRef<str>) -> Self {
        self.0.push((style, printable_lines(text.as_ref())));
        self
    }

    /// Adds the spans of another line.
    pub(crate) fn append(mut self, line: Self) -> Self {
        self.0.extend(line.0);
        self
    }

    /// Returns the text with escape sequences, cut to a width.
    pub(crate) fn render(&self, width: Option<usize>) -> String {
        let mut left = width.unwrap_or(usize::MAX);
        let mut shown = String::new();
        for (style, text) in &self.0 {
            let count = text.chars().count();
            if count > left {
                let cut: String = text.chars().take(left.saturating_sub(1)).collect();
                return shown + &format!("{style}{cut}…{style:#}");
            }
            left -= count;
            shown += &format!("{style}{text}{style:#}");
        }
        shown
    }
}

/// Returns a text as lines of one style, wrapped between words; lines after the first start
/// with `rest`.
pub(crate) fn wrap(
    style: Style,
    (first, rest): (&str, &str),
    text: &str,
    width: Option<usize>,
) -> Vec<Line> {
    let width = width.unwrap_or(usize::MAX).max(rest.len() + 8);
    let mut lines = vec![first.to_owned()];
    let mut fresh = true;
    for word in printable_lines(text).split_whitespace() {
        let mut word: Vec<char> = word.chars().collect();
        while !word.is_empty() {
            let line = lines.last_mut().expect("one at least");
            let used = line.chars().count() + usize::from(!fresh);
            // Only a word that is longer than a line is broken.
            let fits = used + word.len() <= width;
            let whole = rest.len() + word.len() <= width;
            if fits || (!whole && used < width) {
                let taken = word.len().min(width - used);
                if !fresh {
                    line.push(' ');
                }
                line.extend(word.drain(..taken));
                fresh = false;
            }
            if !word.is_empty() {
                lines.push(rest.to_owned());
                fresh = true;
            }
        }
    }
    lines.iter().map(|line| Line::new(style, line)).collect()
}

/// Returns the width of an output's terminal; `None` without a terminal.
pub(crate) fn terminal_width(output: &(impl AsFd + IsTerminal)) -> Option<usize> {
    terminal_size(output).map(|(_, width)| width)
}

/// Returns the rows and columns of an output's terminal; `None` without a terminal.
pub(crate) fn terminal_size(output: &(impl AsFd + IsTerminal)) -> Option<(usize, usize)> {
    if !output.is_terminal() {
        return None;
    }
    let size = tcgetwinsize(output).ok();
    let or = |size: Option<u16>, default| match size {
        None | Some(0) => default,
        Some(number) => usize::from(number),
    };
    Some((
        or(size.map(|it| it.ws_row), 24),
        or(size.map(|it| it.ws_col), DEFAULT_COLUMNS),
    ))
}

/// Returns a text, without its styles if the output shows none.
pub(crate) fn strip_if_needed(text: String, output: &impl anstream::stream::RawStream) -> String {
    // anstream detects CI machines as coloured even with TERM=dumb.
    let is_set = |name, value: &str| std::env::var_os(name).is_some_and(|it| it == value);
    let is_dumb = is_set("TERM", "dumb") && !is_set("CLICOLOR_FORCE", "1");
    match AutoStream::choice(output) {
        _ if is_dumb => strip_str(&text).to_string(),
        ColorChoice::Never => strip_str(&text).to_string(),
        _ => text,
    }
}

/// Prints lines to stdout.
pub(crate) fn print_lines(lines: &[Line], width: Option<usize>) -> Result<()> {
    let text: String = lines.iter().map(|line| line.render(width) + "\n").collect();
    let text = strip_if_needed(text, &io::stdout());
    stdout::write(text.as_bytes())
}

/// Prints an error and its hint to stderr.
pub(crate) fn print_error(error: &str, hint: &str) {
    print_with_hint(ERROR, "stsctl: ", error, hint);
}

/// Prints a warning and its hint to stderr, beside the result of a command.
pub(crate) fn print_warning(warning: &str, hint: &str) {
    print_with_hint(WARN, "stsctl: warning: ", warning, hint);
}

/// Prints a note to stderr, for a person at a terminal.
pub(crate) fn print_note(note: &str) {
    print_with_hint(DIM, "stsctl: ", note, "");
}

fn print_with_hint(style: Style, name: &str, message: &str, hint: &str) {
    let width = terminal_width(&io::stderr());
    let mut text = String::new();
    let mut add = |style: Style, name: &str, said: &str| {
        for (index, part) in said.split('\n').enumerate() {
            let first = if index == 0 { name } else { "" };
            // Without a terminal nothing is wrapped, and white space is significant.
            let lines = match width {
                Some(_) => wrap(PLAIN, (first, "    "), part, width),
                None => vec![Line::new(PLAIN, format!("{first}{part}"))],
            };
            for line in lines {
                let line = line.render(None);
                let styled = match line.strip_prefix(first) {
                    Some(rest) if !first.is_empty() => format!("{style}{first}{style:#}{rest}"),
                    _ => line,
                };
                text += &(styled + "\n");
            }
        }
    };
    add(style, name, message);
    if !hint.is_empty() {
        add(BOLD, "hint: ", hint);
    }
    let text = strip_if_needed(text, &io::stderr());
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use anstream::adapter::strip_str;

    use super::{ERROR, Line, PLAIN, wrap};

    fn check(text: &str, width: Option<usize>, expected: &[&str]) {
        let lines = wrap(ERROR, ("", "  "), text, width);
        let lines: Vec<_> = lines
            .iter()
            .map(|line| strip_str(&line.render(width)).to_string())
            .collect();
        assert_eq!(lines, expected, "{text} at {width:?}");
    }

    #[test]
    fn text_is_wrapped_between_words_without_loss() {
        check(
            "one two three four",
            Some(10),
            &["one two", "  three", "  four"],
        );
        check("one two three four", None, &["one two three four"]);
        check("", Some(10), &[""]);
        check(
            "acs:ram::1000:role/x",
            Some(10),
            &["acs:ram::1", "  000:role", "  /x"],
        );
        check(
            "a acs:ram::1000:role/x",
            Some(10),
            &["a acs:ram:", "  :1000:ro", "  le/x"],
        );
    }

    #[test]
    fn line_is_truncated_to_the_terminal_width() {
        let line = Line::new(PLAIN, "0123").with(ERROR, "456789");
        let shown = |width| strip_str(&line.render(width)).to_string();
        assert_eq!(shown(None), "0123456789");
        assert_eq!(shown(Some(10)), "0123456789");
        assert_eq!(shown(Some(9)), "01234567…");
        assert_eq!(shown(Some(3)), "01…");
    }

    #[test]
    fn unprintable_characters_are_escaped() {
        let line = Line::new(PLAIN, "a\u{1b}[2Jb\r\u{9b}c\u{202e}d");
        assert_eq!(line.render(None), "a\\u{1b}[2Jb\\r\\u{9b}c\\u{202e}d");
    }
}
