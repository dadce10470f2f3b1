//! The exceptions: `PATH-PREFIX<TAB>WORD<TAB>REASON`, one a line; `*` stands for every word.
//! Empty lines and lines that begin with `#` are left out.

use super::Hit;

/// The entries of the file.
#[derive(Debug)]
pub(super) struct AllowList<'a> {
    entries: Vec<Entry<'a>>,
}

#[derive(Debug)]
struct Entry<'a> {
    line: usize,
    prefix: &'a str,
    word: &'a str,
    used: bool,
}

impl<'a> AllowList<'a> {
    /// Reads the file. The error begins with the number of the line.
    pub(super) fn parse(text: &'a str) -> Result<Self, String> {
        let lines = text.lines().enumerate();
        let lines = lines.filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
        let entry = |(index, line): (usize, &'a str)| {
            let fields: Vec<_> = line.split('\t').map(str::trim).collect();
            match fields[..] {
                [prefix, word, reason]
                    if !prefix.is_empty() && !word.is_empty() && !reason.is_empty() =>
                {
                    Ok(Entry {
                        line: index + 1,
                        prefix,
                        word,
                        used: false,
                    })
                }
                _ => Err(format!(
                    "{}: an entry is PATH-PREFIX<TAB>WORD<TAB>REASON",
                    index + 1
                )),
            }
        };
        let entries = lines.map(entry).collect::<Result<_, _>>()?;
        Ok(Self { entries })
    }

    /// Returns `true` if an entry covers the hit, and marks every entry that does as used.
    pub(super) fn permits(&mut self, hit: &Hit) -> bool {
        let mut permitted = false;
        for entry in &mut self.entries {
            let word = entry.word == "*" || entry.word == hit.word;
            if word && hit.path.starts_with(entry.prefix) {
                entry.used = true;
                permitted = true;
            }
        }
        permitted
    }

    /// Returns a message for each entry that has covered no hit.
    pub(super) fn unused(&self) -> Vec<String> {
        let unused = self.entries.iter().filter(|entry| !entry.used);
        unused
            .map(|it| {
                format!(
                    "{}: {} is no longer in {}, remove the entry",
                    it.line, it.word, it.prefix
                )
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{AllowList, Hit};

    fn hit(path: &str, word: &'static str) -> Hit {
        Hit {
            path: path.to_owned(),
            word,
            report: String::new(),
        }
    }

    #[test]
    fn entry_covers_its_word_below_its_prefix_and_nothing_else() {
        let mut list =
            AllowList::parse("# comment\n\ncrates/a\twho\ta person\nb\t*\tnames\n").unwrap();
        assert!(list.permits(&hit("crates/a/x.rs", "who")));
        assert!(!list.permits(&hit("crates/a/x.rs", "door")));
        assert!(!list.permits(&hit("crates/c/x.rs", "who")));
        assert_eq!(list.unused(), ["4: * is no longer in b, remove the entry"]);
        assert!(list.permits(&hit("b.rs", "door")));
        assert!(list.unused().is_empty());
    }

    #[test]
    fn entry_without_a_reason_is_an_error_with_its_line() {
        for text in ["\na\twho", "\na\twho\t", "\na\twho\t \n", "\na who reason"] {
            let error = AllowList::parse(text).unwrap_err();
            assert!(error.starts_with("2: "), "{error}");
        }
    }
}
