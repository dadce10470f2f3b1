//! Turns a page of `docs` into a manual page, so that the two cannot say different things.
//!
//! It knows the Markdown that those pages are written in, and no more: what it does not know
//! is an error that names the line, not a page that looks odd.

use super::roff::{self, Page};

/// Renders documents, each with its name, one behind the other. The heading of the first is the
/// page's own title and left out; those of the others tell where they begin.
pub(crate) fn render(page: &Page, documents: &[(&str, String)]) -> Result<String, String> {
    let mut out = page.head();
    out.push_str(".SH DESCRIPTION\n");
    for (index, (name, text)) in documents.iter().enumerate() {
        let title = text.lines().next().and_then(|it| it.strip_prefix("# "));
        if let Some(title) = title.filter(|_| index > 0) {
            out.push_str(&format!(".SH {}\n", heading(title)));
        }
        let mut lines = Lines::new(text);
        while let Some((number, line)) = lines.next() {
            block(&mut out, line, &mut lines).map_err(|what| {
                format!("{name}: line {number}: {what}, which no manual page is made of")
            })?;
        }
    }
    out.push_str(&page.foot());
    Ok(out)
}

fn block(out: &mut String, line: &str, lines: &mut Lines) -> Result<(), String> {
    if line.is_empty() {
        return Ok(());
    }
    if let Some(title) = line.strip_prefix("### ") {
        out.push_str(&format!(".SS {}\n", heading(title)));
    } else if let Some(title) = line.strip_prefix("## ") {
        out.push_str(&format!(".SH {}\n", heading(title)));
    } else if line.starts_with("# ") {
    } else if line.starts_with("```") {
        part(out);
        out.push_str(".RS 4\n.EX\n");
        while let Some((_, line)) = lines.next().filter(|(_, line)| *line != "```") {
            out.push_str(&roff::text(line));
            out.push('\n');
        }
        out.push_str(".EE\n.RE\n");
    } else if line.starts_with('|') {
        let labels = cells(line);
        let rule = lines.next();
        rule.filter(|(_, line)| line.starts_with("|---"))
            .ok_or("a table without a rule")?;
        while let Some(line) = lines.next_if(|line| line.starts_with('|')) {
            row(out, &labels, &cells(line));
        }
    } else if let Some(first) = line.strip_prefix("- ") {
        let text = lines.paragraph(first, |line| line.starts_with("- "));
        out.push_str(&format!(".IP \\(bu 2\n{}\n", inline(&text)));
    } else if line.starts_with(['>', '<', '!', '#', ' ', '*'].as_slice()) && !line.starts_with("**")
    {
        return Err(format!("{line:?}"));
    } else {
        let text = lines.paragraph(line, |line| line.starts_with("- "));
        part(out);
        out.push_str(&format!("{}\n", inline(&text)));
    }
    Ok(())
}

/// Begins a paragraph; what follows a heading is one already.
fn part(out: &mut String) {
    let last = out.lines().next_back().unwrap_or_default();
    if ![".SH ", ".SS "].iter().any(|it| last.starts_with(it)) {
        out.push_str(".PP\n");
    }
}

/// A row is a tagged paragraph: cells of a table are too wide for a terminal.
fn row(out: &mut String, labels: &[String], cells: &[String]) {
    let mut cells = labels.iter().zip(cells);
    let tag = cells.next().map_or("", |(_, cell)| cell);
    out.push_str(&format!(".TP\n{}\n", inline(tag)));
    let mut first = true;
    for (label, cell) in cells.filter(|(_, cell)| !matches!(cell.as_str(), "" | "–")) {
        if !first {
            out.push_str(".br\n");
        }
        // What a thing means needs no word before it.
        if labels.len() > 2 && label != "meaning" && label != "name" {
            out.push_str(&format!("{}: ", inline(label)));
        }
        out.push_str(&inline(cell));
        out.push('\n');
        first = false;
    }
    if first {
        out.push_str("\\&\n");
    }
}

fn cells(line: &str) -> Vec<String> {
    let line = line.trim().trim_matches('|');
    line.split('|').map(|it| it.trim().to_owned()).collect()
}

fn heading(title: &str) -> String {
    roff::argument(&title.replace(['`', '"'], ""))
}

/// Bold, literals, emphasis and links.
fn inline(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    let mut bold = false;
    while let Some(at) = rest.find(['`', '*', '[']) {
        out.push_str(&roff::words(&rest[..at]));
        let here = &rest[at..];
        if let Some((code, after)) = here.strip_prefix('`').and_then(|it| it.split_once('`')) {
            out.push_str(&format!("\\fB{}\\fR", roff::words(code)));
            rest = after;
        } else if let Some(after) = here.strip_prefix("**") {
            bold = !bold;
            out.push_str(if bold { "\\fB" } else { "\\fR" });
            rest = after;
        } else if let Some((label, target, after)) = link(here) {
            out.push_str(&reference(label, target));
            rest = after;
        } else if let Some((emphasis, after)) = here.strip_prefix('*').and_then(emphasis) {
            out.push_str(&format!("\\fI{}\\fR", roff::words(emphasis)));
            rest = after;
        } else {
            out.push_str(&roff::words(&here[..1]));
            rest = &here[1..];
        }
    }
    out.push_str(&roff::words(rest));
    roff::line(&out)
}

fn emphasis(after_star: &str) -> Option<(&str, &str)> {
    let spaced = after_star.starts_with(' ');
    after_star.split_once('*').filter(|_| !spaced)
}

fn link(text: &str) -> Option<(&str, &str, &str)> {
    let (label, rest) = text.strip_prefix('[')?.split_once("](")?;
    let (target, after) = rest.split_once(')')?;
    Some((label, target, after))
}

/// A link in words: a place on the page needs none, and a document is where it is installed.
fn reference(label: &str, target: &str) -> String {
    let file = target.split('#').next().unwrap_or_default();
    if file.is_empty() {
        return inline(label);
    }
    let place = match file.strip_prefix("../") {
        Some(above) => above.to_owned(),
        None if file.contains("://") => target.to_owned(),
        None => format!("docs/{file}"),
    };
    if label == file {
        return roff::words(&place);
    }
    format!("{} ({})", inline(label), roff::words(&place))
}

struct Lines<'a> {
    lines: std::iter::Peekable<std::iter::Enumerate<std::str::Lines<'a>>>,
}

impl<'a> Lines<'a> {
    fn new(text: &'a str) -> Self {
        Self {
            lines: text.lines().enumerate().peekable(),
        }
    }

    fn next(&mut self) -> Option<(usize, &'a str)> {
        self.lines.next().map(|(index, line)| (index + 1, line))
    }

    fn next_if(&mut self, wanted: impl Fn(&str) -> bool) -> Option<&'a str> {
        self.lines.next_if(|(_, line)| wanted(line)).map(|it| it.1)
    }

    /// Joins what belongs to a paragraph that has begun.
    fn paragraph(&mut self, first: &str, ends: impl Fn(&str) -> bool) -> String {
        let mut text = first.trim().to_owned();
        let goes_on = |line: &str| {
            let other = ["#", "|", "```"];
            !line.is_empty() && !ends(line) && !other.iter().any(|it| line.starts_with(it))
        };
        while let Some(line) = self.next_if(goes_on) {
            text.push('\n');
            text.push_str(line.trim());
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::{Page, render};

    fn page() -> Page {
        Page {
            name: "stsd-config",
            what: "what it is",
            section: 5,
            date: "2026-11-24".to_owned(),
            version: "1.2.3".to_owned(),
        }
    }

    #[test]
    fn what_a_document_consists_of_has_its_shape_in_a_manual_page() {
        let check = |document: &str, shape: &str| {
            let page = render(&page(), &[("a.md", document.to_owned())]).unwrap();
            let (_, body) = page.split_once(".SH DESCRIPTION\n").unwrap();
            let (body, _) = body.split_once(".SH SEE ALSO\n").unwrap();
            assert_eq!(body, shape, "{document}");
        };
        check(
            "# Title\n\nOne\ntwo.\n\nThree.\n",
            "One\ntwo.\n.PP\nThree.\n",
        );
        check("## `a`: b\n\nText", ".SH \"a: b\"\nText\n");
        check(
            "```toml\n.a = \"\\n\"\n```",
            ".RS 4\n.EX\n\\&.a = \"\\en\"\n.EE\n.RE\n".trim_start(),
        );
        check(
            "- one\n  two\n- three",
            ".IP \\(bu 2\none\ntwo\n.IP \\(bu 2\nthree\n",
        );
        check(
            "a `--b` **c** *d*",
            "a \\fB\\-\\-b\\fR \\fBc\\fR \\fId\\fR\n",
        );
        check(
            "[a](#b) [c](d.md#e) [f.md](f.md)",
            "a c (docs/d.md) docs/f.md\n",
        );
        check(
            "| key | meaning | default |\n|---|---|---|\n| `a` | b | c |\n| `d` | – | – |",
            ".TP\n\\fBa\\fR\nb\n.br\ndefault: c\n.TP\n\\fBd\\fR\n\\&\n",
        );
    }

    #[test]
    fn what_no_manual_page_is_made_of_is_refused_with_its_line() {
        for strange in [
            "> quoted",
            "<b>html</b>",
            "#### deep",
            "    code",
            "| a |\n| b |",
        ] {
            let text = format!("# T\n\n{strange}\n");
            let error = render(&page(), &[("a.md", text)]).unwrap_err();
            assert!(error.starts_with("a.md: line 3: "), "{strange}: {error}");
        }
    }

    #[test]
    fn of_two_documents_the_second_begins_with_its_title() {
        let documents = ["# One\n\nText\n", "# Two\n\nMore\n"];
        let page = render(&page(), &documents.map(|it| ("a.md", it.to_owned()))).unwrap();
        assert!(
            page.contains(".SH DESCRIPTION\nText\n.SH \"Two\"\nMore\n"),
            "{page}"
        );
    }
}
