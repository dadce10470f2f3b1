//! Text that another program has chosen, such as the name of a peer or a line of its output.

use stsd_document::printable_start;

/// Maximum number of characters of a text that another program has chosen.
const MAX_CHARS: usize = 200;

/// Returns a text that another program has chosen, cut to a length and with unprintable characters
/// escaped, so that it cannot forge other fields or lines.
pub(crate) fn sanitize(text: &str) -> String {
    printable_start(text, MAX_CHARS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sanitize_escapes_and_cuts_text_chosen_by_a_peer() {
        let check = |text: &str, expected: &str| assert_eq!(sanitize(text), expected);
        check("/usr/bin/sts-shim", "/usr/bin/sts-shim");
        check("worker@a\\x2db.service", "worker@a\\x2db.service");
        check("/home/jo é/x \"y\"", "/home/jo é/x \"y\"");
        check("x\nfake=1", "x\\nfake=1");
        check(
            "\u{1b}[31m\r\0\u{7f}\u{9b}",
            "\\u{1b}[31m\\r\\0\\u{7f}\\u{9b}",
        );
        check("a\u{202e}b\u{2028}c", "a\\u{202e}b\\u{2028}c");
        let long = "x".repeat(MAX_CHARS + 1);
        check(&long, &format!("{}…", &long[1..]));
    }
}
