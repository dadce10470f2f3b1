//! Text of others, as output shows it.

use std::fmt::{self, Display, Write};

/// A text that a peer, a service, a file or another program chose, with each character escaped that
/// a terminal does not print as itself: control characters, line breaks, and the characters that
/// reorder, hide or combine. Quotes and backslashes stay.
///
/// Every output uses this rule, so that no text can forge a line or a field.
#[derive(Debug, Clone, Copy)]
pub struct Printable<'a>(pub &'a str);

/// Returns a text with unprintable characters escaped; line feeds stay, for a text whose lines are
/// the program's own.
#[must_use]
pub fn printable_lines(text: &str) -> String {
    let mut lines = String::with_capacity(text.len());
    for (index, line) in text.split('\n').enumerate() {
        if index > 0 {
            lines.push('\n');
        }
        // Writing to a string cannot fail.
        let _ = write!(lines, "{}", Printable(line));
    }
    lines
}

/// Returns the first `max_chars` characters of a text with unprintable characters escaped, and an
/// ellipsis if the text is longer.
#[must_use]
pub fn printable_start(text: &str, max_chars: usize) -> String {
    match text.char_indices().nth(max_chars) {
        Some((end, _)) => format!("{}…", Printable(&text[..end])),
        None => Printable(text).to_string(),
    }
}

impl Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0;
        let mut start = 0;
        for (index, c) in text.char_indices() {
            if is_printable(c) {
                continue;
            }
            f.write_str(&text[start..index])?;
            write!(f, "{}", c.escape_debug())?;
            start = index + c.len_utf8();
        }
        f.write_str(&text[start..])
    }
}

/// Returns `true` for a character that is shown as itself.
#[must_use]
pub fn is_printable(c: char) -> bool {
    matches!(c, ' '..='~') || c.escape_debug().len() == 1
}

#[cfg(test)]
mod tests {
    use super::{Printable, printable_lines, printable_start};

    fn check(text: &str, expected: &str) {
        assert_eq!(Printable(text).to_string(), expected, "{text:?}");
    }

    #[test]
    fn printable_text_stays() {
        for text in [
            "",
            "/usr/bin/sts-shim",
            "worker@a\\x2db.service",
            "/home/jo é/x \"y\" 'z'",
            "生产",
            "🦀",
        ] {
            check(text, text);
        }
    }

    #[test]
    fn characters_that_a_terminal_interprets_are_escaped() {
        check("x\nfake=1", "x\\nfake=1");
        check(
            "\u{1b}[31m\r\0\u{7f}\u{9b}\t",
            "\\u{1b}[31m\\r\\0\\u{7f}\\u{9b}\\t",
        );
        // Overrides, isolates, marks, invisible characters, separators, a byte order mark, a tag.
        check("a\u{202e}b\u{2028}c", "a\\u{202e}b\\u{2028}c");
        for c in [
            '\u{200b}',
            '\u{200e}',
            '\u{2066}',
            '\u{2069}',
            '\u{61c}',
            '\u{feff}',
            '\u{ad}',
            '\u{301}',
            '\u{e0041}',
            '\u{2029}',
            '\u{85}',
            '\u{e000}',
            '\u{fff9}',
        ] {
            check(&c.to_string(), &format!("\\u{{{:x}}}", u32::from(c)));
        }
    }

    #[test]
    fn long_text_is_cut_before_it_is_escaped() {
        assert_eq!(printable_start("a\nb", 3), "a\\nb");
        assert_eq!(printable_start("é\nbc", 2), "é\\n…");
        assert_eq!(printable_start("", 0), "");
    }

    #[test]
    fn line_feeds_of_the_program_itself_stay() {
        assert_eq!(printable_lines("a\nb\u{1b}\n"), "a\nb\\u{1b}\n");
    }
}
