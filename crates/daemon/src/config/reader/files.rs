//! The texts of the files of a configuration, one after another, so that one byte offset is a place in
//! one of them.

use std::path::{Path, PathBuf};

/// The texts of all files.
#[derive(Debug, Default)]
pub(super) struct ConfigText {
    text: String,
    files: Vec<ConfigFile>,
    /// The byte offset of each line but the first.
    line_starts: Vec<usize>,
}

/// One file, with the byte offset of its text.
#[derive(Debug)]
struct ConfigFile {
    path: PathBuf,
    start: usize,
    end: usize,
}

impl ConfigText {
    /// Adds a file. Its text begins a line.
    pub(super) fn push(&mut self, path: PathBuf, text: &str) {
        if !self.files.is_empty() {
            self.text.push('\n');
        }
        let start = self.text.len();
        self.text.push_str(text);
        let end = self.text.len();
        let newlines = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let line_starts = newlines.map(|(index, _)| start + index + 1);
        self.line_starts.extend(line_starts);
        self.files.push(ConfigFile { path, start, end });
    }

    /// Returns the byte offset and the text of each file.
    pub(super) fn texts(&self) -> impl Iterator<Item = (usize, &str)> {
        let files = self.files.iter();
        files.map(|it| (it.start, &self.text[it.start..it.end]))
    }

    /// Returns the paths of the files.
    pub(super) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(|it| it.path.as_path())
    }

    /// Returns the text of the file at a byte offset, and the offset in that text.
    pub(super) fn text_at(&self, at: usize) -> (&str, usize) {
        match self.file_at(at) {
            Some(file) => {
                let text = &self.text[file.start..file.end];
                (text, (at - file.start).min(text.len()))
            }
            None => ("", 0),
        }
    }

    /// Returns the file at a byte offset; `None` without any file.
    pub(super) fn path_at(&self, at: usize) -> Option<&Path> {
        self.file_at(at).map(|it| it.path.as_path())
    }

    /// Returns the line of a byte offset in its file, from 1.
    pub(super) fn line_at(&self, at: usize) -> usize {
        let before = |at: usize| self.line_starts.partition_point(|start| *start <= at);
        let first = self.file_at(at).map_or(0, |it| it.start);
        1 + before(at) - before(first)
    }

    /// Returns the byte offset of the end of the first file.
    pub(super) fn first_end(&self) -> usize {
        self.files.first().map_or(0, |it| it.end)
    }

    /// Returns the length of all texts.
    pub(super) fn len(&self) -> usize {
        self.text.len()
    }

    fn file_at(&self, at: usize) -> Option<&ConfigFile> {
        let after = self.files.partition_point(|it| it.start <= at);
        self.files.get(after.checked_sub(1)?)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::ConfigText;

    #[test]
    fn offset_has_the_file_and_the_line() {
        let mut all = ConfigText::default();
        all.push("a".into(), "one\ntwo\n");
        all.push("b".into(), "");
        all.push("c".into(), "three\nfour");
        let texts: Vec<_> = all.texts().collect();
        assert_eq!(texts, [(0, "one\ntwo\n"), (9, ""), (10, "three\nfour")]);
        let place = |at| (all.path_at(at).unwrap(), all.line_at(at));
        let check = |at: usize, file: &str, line: usize| {
            assert_eq!(place(at), (Path::new(file), line), "{at}");
        };
        check(0, "a", 1);
        check(4, "a", 2);
        check(all.first_end(), "a", 3);
        check(9, "b", 1);
        check(10, "c", 1);
        check(16, "c", 2);
        check(all.len(), "c", 2);
        assert_eq!(all.text_at(17), ("three\nfour", 7));
        assert_eq!(ConfigText::default().line_at(0), 1);
    }
}
