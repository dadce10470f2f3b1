//! A lexer for Rust that keeps comments and string literals and drops everything else.

use super::{Text, words::is_word_part};

/// The marks of doc comments.
const DOC_MARKS: [&str; 4] = ["///", "//!", "/**", "/*!"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    Comment,
    /// A string literal of any kind.
    Literal,
    Other,
}

/// Returns the text of all comments and string literals, line by line.
pub(super) fn texts(source: &str) -> Vec<Text> {
    let mut texts = Vec::new();
    let (mut rest, mut line) = (source, 1);
    // The last doc comment: its mark and its line.
    let mut doc = None;
    while !rest.is_empty() {
        let (kind, length) = token(rest);
        let (token, behind) = rest.split_at(length);
        let mark = DOC_MARKS.into_iter().find(|it| token.starts_with(it));
        let mark = mark.filter(|_| !token.starts_with("////"));
        let continues = mark.is_some_and(|mark| doc == Some((mark, line - 1)));
        doc = mark.map(|mark| (mark, line)).or(doc);
        let clean = match kind {
            Token::Comment => without_code,
            Token::Literal => without_escapes,
            Token::Other => |_: &str| String::new(),
        };
        for (index, text) in token.split('\n').enumerate() {
            texts.push(Text {
                line: line + index,
                text: clean(text),
                opens_doc: mark.is_some() && !continues && index == 0,
            });
        }
        line += token.matches('\n').count();
        rest = behind;
    }
    texts.retain(|it| !it.text.is_empty());
    texts
}

/// Returns the kind and the length in bytes of the token at the beginning of `text`.
fn token(text: &str) -> (Token, usize) {
    let word = text.len() - text.trim_start_matches(is_word_part).len();
    let (prefix, behind) = text.split_at(word);
    let hashes = behind.len() - behind.trim_start_matches('#').len();
    let is_raw = matches!(prefix, "r" | "br" | "cr") && behind[hashes..].starts_with('"');
    if text.starts_with("//") {
        (Token::Comment, text.find('\n').unwrap_or(text.len()))
    } else if text.starts_with("/*") {
        (Token::Comment, block_comment_length(text))
    } else if is_raw {
        let end = format!("\"{}", "#".repeat(hashes));
        (Token::Literal, length_to(text, &end, word + hashes + 1))
    } else if matches!(prefix, "" | "b" | "c") && behind.starts_with('"') {
        (Token::Literal, word + string_length(behind))
    } else if word > 0 {
        (Token::Other, word)
    } else if text.starts_with('\'') {
        (Token::Other, quote_length(text))
    } else {
        (Token::Other, text.chars().next().map_or(1, char::len_utf8))
    }
}

/// Returns the length of `text` up to and with the first `end` at or behind `from`.
fn length_to(text: &str, end: &str, from: usize) -> usize {
    let found = text[from..].find(end);
    found.map_or(text.len(), |index| from + index + end.len())
}

fn string_length(text: &str) -> usize {
    let mut chars = text.char_indices().skip(1);
    while let Some((index, c)) = chars.next() {
        match c {
            '"' => return index + 1,
            '\\' => chars.next(),
            _ => None,
        };
    }
    text.len()
}

/// Returns the length of a character literal, or 1 for the `'` of a lifetime or label.
fn quote_length(text: &str) -> usize {
    let mut chars = text.char_indices().skip(1);
    match (chars.next(), chars.next()) {
        // The character behind the backslash may be a `'`.
        (Some((_, '\\')), Some((index, c))) => length_to(text, "'", index + c.len_utf8()),
        (Some(_), Some((index, '\''))) => index + 1,
        _ => 1,
    }
}

/// Returns the length of a block comment with the block comments in it.
fn block_comment_length(text: &str) -> usize {
    let mut depth = 0;
    let mut index = 0;
    while let Some(pair) = text.as_bytes().get(index..index + 2) {
        match pair {
            b"/*" => depth += 1,
            b"*/" if depth == 1 => return index + 2,
            b"*/" => depth -= 1,
            _ => {
                index += 1;
                continue;
            }
        }
        index += 2;
    }
    text.len()
}

/// Returns a line of a comment without its marks and its code spans, which hold names. A span
/// that ends on another line is kept.
fn without_code(line: &str) -> String {
    let line = line.trim_start_matches(['/', '*', '!', ' ']);
    let parts: Vec<_> = line.split('`').collect();
    if parts.len() % 2 == 0 {
        return line.to_owned();
    }
    parts.into_iter().step_by(2).collect::<Vec<_>>().join(" ")
}

/// Returns a line of a literal with a space for each escape sequence.
fn without_escapes(line: &str) -> String {
    let mut chars = line.chars();
    let mut text = String::new();
    while let Some(c) = chars.next() {
        text.push(if c == '\\' { ' ' } else { c });
        if c == '\\' {
            chars.next();
        }
    }
    text
}
