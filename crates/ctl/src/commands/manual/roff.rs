//! The macros of man(7).

/// The lines that the crate roff writes before all output: they define `\*(Aq`, an apostrophe.
pub(super) const PREAMBLE: &str = ".ie \\n(.g .ds Aq \\(aq\n.el .ds Aq '\n";

/// Returns the beginning of a section.
pub(super) fn section(name: &str) -> String {
    format!(".SH \"{name}\"\n")
}

/// Returns an item of a list: a term that is formatted already, and its description.
pub(super) fn item(term: &str, description: &str) -> String {
    format!(".TP\n{term}\n{}", text(description))
}

/// Returns a line of text, in which no character has a meaning of its own.
pub(super) fn text(text: &str) -> String {
    format!("{}\n", escape(text))
}

/// Returns a text in bold.
pub(super) fn bold(text: &str) -> String {
    format!("\\fB{}\\fR", escape(text))
}

/// Returns a text in italics, as for paths.
pub(super) fn italic(text: &str) -> String {
    format!("\\fI{}\\fR", escape(text))
}

fn escape(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    let text = text.replace('\'', "\\(aq").replace('~', "\\(ti");
    match text.starts_with('.') {
        true => format!("\\&{text}"),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::text;

    #[test]
    fn text_has_no_macro_and_no_escape() {
        assert_eq!(text(".x a-b\\c"), "\\&.x a\\-b\\ec\n");
        assert_eq!(text("'it'"), "\\(aqit\\(aq\n");
    }
}
