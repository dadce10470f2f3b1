//! Decides how text stands in a manual page.

/// What a manual page says of itself.
#[derive(Debug, Clone)]
pub(crate) struct Page {
    /// Its name.
    pub name: &'static str,
    /// What it is, after the name.
    pub what: &'static str,
    pub section: u8,
    /// The day of the sources, as `2026-11-24`.
    pub date: String,
    pub version: String,
}

/// Where a reader goes on, each with its section.
const SEE_ALSO: [(&str, u8); 6] = [
    ("sts-shim", 1),
    ("stsctl", 1),
    ("stsd-emulator", 1),
    ("stsd-config", 5),
    ("stsd-protocol", 7),
    ("stsd", 8),
];

impl Page {
    pub(crate) fn file(&self) -> String {
        format!("{}.{}", self.name, self.section)
    }

    pub(crate) fn head(&self) -> String {
        format!(
            ".TH \"{}\" {} \"{}\" \"stsd {}\"\n.SH NAME\n{} \\- {}\n",
            self.name,
            self.section,
            self.date,
            self.version,
            words(self.name),
            words(self.what)
        )
    }

    pub(crate) fn foot(&self) -> String {
        let others = SEE_ALSO.iter().filter(|(name, _)| *name != self.name);
        let others = others.map(|(name, section)| format!(".BR {} ({section})", words(name)));
        let others: Vec<_> = others.collect();
        let more = "The documents are in share/doc/stsd.";
        format!(".SH SEE ALSO\n{}\n.PP\n{more}\n", others.join(" ,\n"))
    }
}

/// Escapes a whole line.
pub(crate) fn text(written: &str) -> String {
    line(&words(written))
}

/// Escapes what is part of a line. What is not ASCII has a name that every renderer knows.
pub(crate) fn words(written: &str) -> String {
    let mut out = String::new();
    for character in written.chars() {
        match character {
            '\\' => out.push_str("\\e"),
            '-' => out.push_str("\\-"),
            '\'' => out.push_str("\\(aq"),
            '`' => out.push_str("\\(ga"),
            '^' => out.push_str("\\(ha"),
            '~' => out.push_str("\\(ti"),
            _ if character.is_ascii() => out.push(character),
            _ => out.push_str(&format!("\\[u{:04X}]", u32::from(character))),
        }
    }
    out
}

/// Keeps the beginning of each line from being a request.
pub(crate) fn line(escaped: &str) -> String {
    let lines = escaped.split('\n').map(|line| match line.starts_with('.') {
        true => format!("\\&{line}"),
        false => line.to_owned(),
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Quotes an argument of a request.
pub(crate) fn argument(written: &str) -> String {
    format!("\"{}\"", words(written))
}
