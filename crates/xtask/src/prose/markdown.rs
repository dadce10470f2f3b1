//! The prose of Markdown: everything but code blocks, code spans and the targets of links.

use super::Text;

/// Returns the lines of a page.
pub(super) fn texts(source: &str) -> Vec<Text> {
    let mut texts = Vec::new();
    let mut in_block = false;
    let mut in_code = false;
    for (index, line) in source.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            in_block = !in_block;
            continue;
        }
        if in_block {
            continue;
        }
        // A code span ends at the end of its paragraph at the latest.
        in_code &= !line.is_empty();
        texts.push(Text {
            line: index + 1,
            text: without_targets(&without_code(line, &mut in_code)),
            opens_doc: false,
        });
    }
    texts
}

/// Removes code spans, which may go on in the next line.
fn without_code(line: &str, in_code: &mut bool) -> String {
    let mut text = String::new();
    for (index, part) in line.split('`').enumerate() {
        if index > 0 {
            *in_code = !*in_code;
        }
        if !*in_code {
            text.push_str(part);
        }
        text.push(' ');
    }
    text
}

/// Removes the targets of links.
fn without_targets(line: &str) -> String {
    let mut parts = line.split("](");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        text.push(']');
        text.push_str(part.split_once(')').map_or("", |(_, rest)| rest));
    }
    text
}
