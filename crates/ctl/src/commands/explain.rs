//! `stsctl explain`: the cause and the fix of an error code, from the documents.

use std::env;

use anyhow::Result;

use crate::{
    cli::{Explain, Language},
    error::usage,
    similar_name,
    term::stdout,
};

/// The pages with a section for each code.
const ENGLISH: &str = include_str!("../../../../docs/errors.md");
const CHINESE: &str = include_str!("../../../../docs/zh/errors.md");

/// Width of the codes in the list.
const CODE_WIDTH: usize = 24;

/// The beginning of the line with the codes of STS, in each language.
const STS_CODES: [&str; 3] = ["Code of STS: ", "Codes of STS: ", "STS 的错误码："];

/// The variables of the locale, by precedence. Source: locale(7).
const LOCALE_VARIABLES: [&str; 3] = ["LC_ALL", "LC_MESSAGES", "LANG"];

/// Prints the section of a code, or those of a code of STS; without a code, the list of all codes with
/// their causes.
pub(crate) fn run(typed: &Explain) -> Result<()> {
    let page = match typed.lang.unwrap_or_else(language_of_locale) {
        Language::En => ENGLISH,
        Language::Zh => CHINESE,
    };
    let Some(code) = &typed.code else {
        let list: String = sections(page).map(|it| it.summary()).collect();
        return stdout::write(list.as_bytes());
    };
    // A code is often pasted with its brackets.
    let code = code.trim_matches(['[', ']']).to_ascii_lowercase();
    if let Some(found) = sections(page).find(|it| it.code == code) {
        return stdout::write(found.plain().as_bytes());
    }
    let of_sts: String = sections(page)
        .filter(|it| it.has_sts_code(&code))
        .map(|it| format!("{}\n", it.plain()))
        .collect();
    if !of_sts.is_empty() {
        return stdout::write(of_sts.trim_end_matches('\n').as_bytes());
    }
    let hint = similar_name::hint(&code, sections(page).map(|it| it.code));
    let hint = hint.unwrap_or_else(|| "stsctl explain lists all codes".to_owned());
    usage(format!("there is no error code {code:?}; {hint}"))
}

/// One code of a page.
struct Section<'a> {
    code: &'a str,
    text: &'a str,
}

impl Section<'_> {
    /// Returns the text without marks of Markdown.
    fn plain(&self) -> String {
        format!("{}\n\n{}\n", self.code, self.text.replace('`', ""))
    }

    /// Returns `true` if the section names a code of STS, which is in lower case here. A `*` stands for
    /// the rest of a code.
    fn has_sts_code(&self, code: &str) -> bool {
        let mut lines = self.text.lines();
        let line = lines.find(|it| STS_CODES.iter().any(|start| it.starts_with(start)));
        let names = line
            .into_iter()
            .flat_map(|it| it.split('`').skip(1).step_by(2));
        let mut names = names.map(str::to_ascii_lowercase);
        names.any(|name| match name.strip_suffix('*') {
            Some(start) => code.starts_with(start),
            None => code == name,
        })
    }

    /// Returns the line of the list: the code and the first sentence of its cause.
    fn summary(&self) -> String {
        let cause = self.text.split("\n\n").next().unwrap_or_default();
        let cause = cause.replace('\n', " ").replace('`', "");
        let end = cause.find([':', ';']).or(cause.find(". "));
        let sentence = cause[..end.unwrap_or(cause.len())].trim_end_matches('.');
        format!("{:CODE_WIDTH$}  {sentence}\n", self.code)
    }
}

fn sections(page: &str) -> impl Iterator<Item = Section<'_>> {
    page.split("\n### ").skip(1).map(|section| {
        let (code, text) = section.split_once('\n').unwrap_or((section, ""));
        // The heading of the next group follows the last code of a group.
        let text = text.split("\n## ").next().unwrap_or_default().trim();
        Section { code, text }
    })
}

fn language_of_locale() -> Language {
    let set = LOCALE_VARIABLES.iter().filter_map(env::var_os);
    let locale = set.into_iter().find(|it| !it.is_empty());
    match locale {
        Some(locale) if locale.to_string_lossy().starts_with("zh") => Language::Zh,
        _ => Language::En,
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use stsd_codes::Code;

    use super::{CHINESE, ENGLISH, sections};

    /// The comment of the manual page before the list of codes.
    const MANUAL_BEGIN: &str =
        ".\\\" Written by `UPDATE_GOLDEN=1 cargo test -p stsctl explain` from here\n";
    const MANUAL_END: &str = ".\\\" to here\n";

    #[test]
    fn every_code_has_a_cause_and_a_fix_in_both_languages() {
        let expected: Vec<_> = Code::ALL.iter().map(|it| it.name()).collect();
        for (page, fix) in [(ENGLISH, "\nFix: "), (CHINESE, "\n处理：")] {
            let codes: Vec<_> = sections(page).map(|it| it.code).collect();
            assert_eq!(codes, expected);
            for section in sections(page) {
                assert!(
                    section.text.contains(fix),
                    "{}: {}",
                    section.code,
                    section.text
                );
            }
        }
    }

    #[test]
    fn codes_of_sts_lead_to_their_sections_in_both_languages() {
        let check = |code: &str, expected: &[&str]| {
            for page in [ENGLISH, CHINESE] {
                let found = sections(page).filter(|it| it.has_sts_code(code));
                let found: Vec<_> = found.map(|it| it.code).collect();
                assert_eq!(found, expected, "{code}");
            }
        };
        let denied = [
            "sts-no-permission",
            "sts-root-account",
            "sts-untrusted-provider",
        ];
        check("nopermission", &denied);
        check("signaturedoesnotmatch", &["sts-wrong-secret"]);
        check("entitynotexist.role", &["sts-no-such-role"]);
        check("no", &[]);
    }

    /// Returns a paragraph of Markdown for man(7).
    fn roff(text: &str) -> String {
        let escaped = text
            .replace('\\', "\\e")
            .replace('-', "\\-")
            .replace('~', "\\(ti");
        let mut is_code = false;
        let mut roff = String::new();
        for part in escaped.split_inclusive('`') {
            roff += part.trim_end_matches('`');
            if part.ends_with('`') {
                is_code = !is_code;
                roff += if is_code { "\\fB" } else { "\\fR" };
            }
        }
        roff.replace('…', "\\[u2026]")
    }

    #[test]
    fn manual_page_has_every_code() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../man/stsd-errors.7");
        let page = fs::read_to_string(&path).unwrap();
        let (before, rest) = page.split_once(MANUAL_BEGIN).expect("the first comment");
        let (_, after) = rest.split_once(MANUAL_END).expect("the second comment");
        let entry = |section: super::Section<'_>| {
            let text = section.text.replace("\n\n", "\n.br\n");
            format!(".TP\n\\fB{}\\fR\n{}\n", roff(section.code), roff(&text))
        };
        let list: String = sections(ENGLISH).map(entry).collect();
        let expected = [before, MANUAL_BEGIN, &list, MANUAL_END, after].concat();
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&path, &expected).unwrap();
        }
        assert!(
            page == expected,
            "UPDATE_GOLDEN=1 writes {} again",
            path.display()
        );
    }
}
