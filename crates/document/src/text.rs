//! Writers of JSON, shell and `NAME=value` text that escape or refuse what would end a value.
//! Every buffer has its final capacity from the start: one that grows leaves copies of a secret
//! behind.

use std::fmt::Write as _;

use zeroize::Zeroizing;

/// A value of [`mapped_object`].
pub(super) enum Field<'a> {
    Text(&'a str),
    Number(i64),
    /// A number in quotes.
    QuotedNumber(i64),
}

/// One compact line. `Version` is AWS's and the only number. With `unescaped` no value has
/// anything to escape.
pub(super) fn object(
    parts: &[&[(&str, &str)]],
    version: bool,
    unescaped: bool,
) -> Zeroizing<String> {
    let mut text = buffer(parts, if unescaped { 1 } else { 6 });
    let mut before = if version { "{\"Version\":1,\"" } else { "{\"" };
    for (name, value) in parts.iter().copied().flatten() {
        text.push_str(before);
        text.push_str(name);
        text.push_str("\":\"");
        match unescaped {
            true => text.push_str(value),
            false => value.chars().for_each(|c| push_escaped(&mut text, c)),
        }
        before = "\",\"";
    }
    text.push_str("\"}\n");
    text
}

/// One compact line, in which keys and texts may hold any character.
pub(super) fn mapped_object(fields: &[(&str, Field<'_>)]) -> Zeroizing<String> {
    let lengths = fields.iter().map(|(name, field)| match field {
        Field::Text(value) => name.len() + value.len(),
        Field::Number(_) | Field::QuotedNumber(_) => name.len(),
    });
    // An escape sequence has 6 bytes; a number has 20 at most, and the punctuation 6.
    let size: usize = lengths.map(|it| 6 * it + 32).sum();
    let mut text = Zeroizing::new(String::with_capacity(size + 4));
    let mut before = '{';
    for (name, field) in fields {
        text.push(before);
        push_quoted(&mut text, name);
        text.push(':');
        // Writing to a string cannot fail.
        let _ = match field {
            Field::Text(value) => {
                push_quoted(&mut text, value);
                Ok(())
            }
            Field::Number(number) => write!(text, "{number}"),
            Field::QuotedNumber(number) => write!(text, "\"{number}\""),
        };
        before = ',';
    }
    text.push_str("}\n");
    text
}

fn push_quoted(text: &mut String, value: &str) {
    text.push('"');
    value.chars().for_each(|c| push_escaped(text, c));
    text.push('"');
}

/// Returns `true` if JSON needs no escape sequences for the value; values of STS need none. Eight
/// bytes are compared at once, because this is a large part of the shim's work.
pub(super) fn is_plain(value: &str) -> bool {
    let (words, rest) = value.as_bytes().as_chunks();
    let mut last = [b'_'; 8];
    last[..rest.len()].copy_from_slice(rest);
    let mut found = special(last);
    for word in words {
        found |= special(*word);
    }
    found == 0
}

/// Returns a bit for each byte that is special: a difference borrows the highest bit of a byte
/// if that byte was the smaller one.
#[inline]
fn special(word: [u8; 8]) -> u64 {
    let word = u64::from_ne_bytes(word);
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGHS: u64 = ONES << 7;
    let control = word.wrapping_sub(ONES * u64::from(b' ')) & !word;
    let quote = word ^ (ONES * u64::from(b'"'));
    let quote = quote.wrapping_sub(ONES) & !quote;
    let backslash = word ^ (ONES * u64::from(b'\\'));
    let backslash = backslash.wrapping_sub(ONES) & !backslash;
    (control | quote | backslash) & HIGHS
}

fn push_escaped(text: &mut String, c: char) {
    match c {
        '"' | '\\' => {
            text.push('\\');
            text.push(c);
        }
        '\0'..='\x1f' => {
            const HEX: [char; 16] = [
                '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f',
            ];
            text.push_str("\\u00");
            text.push(HEX[c as usize >> 4]);
            text.push(HEX[c as usize & 15]);
        }
        _ => text.push(c),
    }
}

/// Values in single quotes, in which a shell sees nothing but the closing quote.
pub(super) fn exports(variables: &[(&str, &str)]) -> Zeroizing<String> {
    let mut text = buffer(&[variables], 4);
    for (name, value) in variables {
        text.push_str("export ");
        text.push_str(name);
        text.push_str("='");
        for c in value.chars() {
            match c {
                '\'' => text.push_str("'\\''"),
                _ => text.push(c),
            }
        }
        text.push_str("'\n");
    }
    text
}

/// Values as they are. Some readers take quotes for a part of the value and others do not,
/// so there are none for a value that would need them; what STS issues is Base64.
pub(super) fn assignments(variables: &[(&str, &str)]) -> Option<Zeroizing<String>> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "+/=._-".contains(c);
    let mut text = buffer(&[variables], 1);
    for (name, value) in variables {
        if !value.chars().all(plain) {
            return None;
        }
        text.push_str(name);
        text.push('=');
        text.push_str(value);
        text.push('\n');
    }
    Some(text)
}

/// `widest` is how many bytes a byte of a value takes at most.
fn buffer(parts: &[&[(&str, &str)]], widest: usize) -> Zeroizing<String> {
    let sizes = parts.iter().copied().flatten();
    let size: usize = sizes.map(|(k, v)| k.len() + widest * v.len() + 16).sum();
    Zeroizing::new(String::with_capacity(size + 16))
}
