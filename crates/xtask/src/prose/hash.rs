//! Comments that begin with `#`: TOML, shell, YAML, Dockerfiles, systemd units.

use super::Text;

/// Returns the comments of a file.
pub(super) fn texts(source: &str) -> Vec<Text> {
    let comment = |(index, line): (usize, &str)| {
        Some(Text {
            line: index + 1,
            text: line[comment_start(line)?..].to_owned(),
            opens_doc: false,
        })
    };
    source.lines().enumerate().filter_map(comment).collect()
}

/// Returns the index of the first `#` outside quotes that begins a word. Quotes that span
/// lines are not followed.
fn comment_start(line: &str) -> Option<usize> {
    let mut quote = None;
    let mut previous = ' ';
    for (index, c) in line.char_indices() {
        match (quote, c) {
            (Some(open), _) if open == c && previous != '\\' => quote = None,
            (None, '"' | '\'') if previous != '\\' => quote = Some(c),
            (None, '#') if previous.is_whitespace() => return Some(index),
            _ => {}
        }
        previous = c;
    }
    None
}
