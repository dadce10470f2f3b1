//! The AccessKey id of a RAM user or a session.

/// Maximum length of an AccessKey id in bytes; a longer text is something else.
const MAX_ID_BYTES: usize = 128;

/// Returns `true` if a text has the shape of an AccessKey id. An id is printed, and therefore must
/// not hold control characters.
#[must_use]
pub fn is_access_key_id(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    (1..=MAX_ID_BYTES).contains(&text.len()) && text.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::is_access_key_id;

    #[test]
    fn access_key_id_is_printable() {
        let check = |text: &str, valid| assert_eq!(is_access_key_id(text), valid, "{text:?}");
        check("LTAI5tExample", true);
        check("STS.NUexample", true);
        check(&"x".repeat(128), true);
        check(&"x".repeat(129), false);
        for text in ["", "a b", "a\n", "\u{1b}[2J", "é", "a=b"] {
            check(text, false);
        }
    }
}
