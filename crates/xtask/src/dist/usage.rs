//! Turns what a program says to `--help` into a manual page: paragraphs, `Usage:`, options
//! with what they mean, and paragraphs that begin with a title, such as `Exit codes:`.

use super::roff::{self, Page};

pub(crate) fn render(page: &Page, help: &str) -> String {
    let mut out = page.head();
    let (about, rest) = help.split_once("Usage:").unwrap_or(("", help));
    let (usage, rest) = rest.split_once("\n\n").unwrap_or((rest, ""));
    out.push_str(".SH SYNOPSIS\n");
    let usages: Vec<_> = usage.lines().map(|line| roff::text(line.trim())).collect();
    out.push_str(&format!("{}\n.SH DESCRIPTION\n", usages.join("\n.br\n")));
    // Some begin with their own name, which the page has already.
    let about = about.trim().trim_start_matches(page.name);
    paragraph(&mut out, about.trim_start_matches(": "), true);
    let mut options = false;
    for block in rest.split("\n\n").filter(|it| !it.trim().is_empty()) {
        let listed = block.strip_prefix("Options:\n").unwrap_or(block);
        if listed.starts_with("  ") {
            if !options {
                out.push_str(".SH OPTIONS\n");
            }
            options = true;
            list(&mut out, listed);
        } else {
            sections(&mut out, block);
        }
    }
    out.push_str(&page.foot());
    out
}

/// An option, two spaces or more, and what it means; what is further in goes on.
fn list(out: &mut String, block: &str) {
    for line in block.lines() {
        let (option, meaning) = match line.trim_start_matches(' ') {
            entry if line.len() - entry.len() <= 2 => entry.split_once("  ").unwrap_or((entry, "")),
            goes_on => ("", goes_on),
        };
        if !option.is_empty() {
            out.push_str(&format!(".TP\n\\fB{}\\fR\n", roff::words(option)));
        }
        let meaning = meaning.trim();
        if !meaning.is_empty() {
            out.push_str(&format!("{}\n", roff::text(meaning)));
        } else if option.starts_with("--help") {
            out.push_str("Print the help or the version, and exit.\n");
        }
    }
}

/// Paragraphs, of which some have a title.
fn sections(out: &mut String, block: &str) {
    for (title, section) in [
        ("Environment: ", "ENVIRONMENT"),
        ("Exit codes: ", "EXIT STATUS"),
    ] {
        if let Some(text) = block.strip_prefix(title) {
            out.push_str(&format!(".SH {section}\n"));
            return paragraph(out, text, true);
        }
    }
    paragraph(out, block, false);
}

fn paragraph(out: &mut String, text: &str, first: bool) {
    if !first {
        out.push_str(".PP\n");
    }
    let lines = text.trim().lines().map(|line| roff::text(line.trim()));
    out.push_str(&lines.collect::<Vec<_>>().join("\n"));
    out.push('\n');
}
