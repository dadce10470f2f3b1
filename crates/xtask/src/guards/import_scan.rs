//! The imports of a crate, read from the paths in its source files.

use std::{collections::BTreeMap, fs};

use crate::process::root;

/// An import of one module by another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Import {
    pub(super) line: usize,
    /// The imported module; empty for the root of the crate.
    pub(super) module: String,
}

/// The modules of a crate by path (`session::store`; empty for the root), without its tests.
#[derive(Debug, Default)]
pub(super) struct Modules {
    pub(super) by_path: BTreeMap<String, Module>,
}

#[derive(Debug, Default)]
pub(super) struct Module {
    /// The source file, from the root of the repository.
    pub(super) file: String,
    pub(super) imports: Vec<Import>,
}

impl Modules {
    /// Reads the modules of the crate in `crates/NAME`.
    ///
    /// # Errors
    /// The name of a file or folder that cannot be read.
    pub(super) fn read(name: &str) -> Result<Self, String> {
        let mut sources = BTreeMap::new();
        let folder = format!("crates/{name}/src");
        read_folder(&folder, "", &mut sources)?;
        Ok(Self::parse(&sources))
    }

    /// Returns the modules of a crate, given file and source by module path.
    pub(super) fn parse(sources: &BTreeMap<String, (String, String)>) -> Self {
        let mut modules = Self::default();
        for (path, (file, source)) in sources {
            let module = Module {
                file: file.clone(),
                imports: imports(path, source, sources),
            };
            modules.by_path.insert(path.clone(), module);
        }
        modules
    }

    /// Returns the folder of a module: a module with submodules belongs to the folder of these.
    pub(super) fn folder<'a>(&self, path: &'a str) -> &'a str {
        let prefix = format!("{path}::");
        if self.by_path.keys().any(|it| it.starts_with(&prefix)) {
            return path;
        }
        path.rsplit_once("::").map_or("", |(parent, _)| parent)
    }
}

/// Adds the sources below a folder, by module path.
fn read_folder(
    folder: &str,
    parent: &str,
    sources: &mut BTreeMap<String, (String, String)>,
) -> Result<(), String> {
    let unreadable = |error| format!("{folder}: {error}");
    for entry in fs::read_dir(root().join(folder)).map_err(unreadable)? {
        let name = entry.map_err(unreadable)?.file_name();
        let name = name.to_string_lossy();
        let file = format!("{folder}/{name}");
        let stem = name.strip_suffix(".rs");
        let module = joined(parent, stem.unwrap_or(&name));
        if is_test(&module) {
            continue;
        }
        if root().join(&file).is_dir() {
            read_folder(&file, &module, sources)?;
        } else if stem.is_some() {
            // A library and a program in one package have one root here.
            let module = if matches!(&*module, "lib" | "main") {
                ""
            } else {
                &module
            };
            let source = fs::read_to_string(root().join(&file));
            let source = source.map_err(|error| format!("{file}: {error}"))?;
            let both = sources.entry(module.to_owned()).or_default();
            both.0 = file;
            both.1.push_str(&source);
        }
    }
    Ok(())
}

fn is_test(module: &str) -> bool {
    let last = module.rsplit("::").next();
    matches!(last, Some("tests" | "testing"))
}

fn joined(parent: &str, name: &str) -> String {
    let separator = if parent.is_empty() { "" } else { "::" };
    format!("{parent}{separator}{name}")
}

/// Returns the modules that the paths of a source lead to, except for the module itself.
fn imports(path: &str, source: &str, sources: &BTreeMap<String, (String, String)>) -> Vec<Import> {
    let mut imports = Vec::new();
    // The module of the unit tests is the last item of a file.
    let product = source.split("#[cfg(test)]\nmod ").next().unwrap_or(source);
    let text: String = product
        .lines()
        .map(|line| format!("{}\n", code(line)))
        .collect();
    // A visibility is no import.
    let text = text.replace("pub(in crate::", "pub(in ");
    let mut line = 1;
    let mut rest = text.as_str();
    let mut before = "";
    while !rest.is_empty() {
        let length = word_length(rest).max(rest.chars().next().map_or(1, char::len_utf8));
        let (word, behind) = rest.split_at(length);
        let starts_path = behind.starts_with("::") && before != "::";
        if starts_path && let Some(first) = first_module(word, path, sources) {
            let mut ends = Vec::new();
            leaves(&first, &behind[2..], line, sources, &mut ends);
            imports.extend(ends.into_iter().filter(|it| it.module != path));
        }
        line += word.matches('\n').count();
        // `::` is read as one token, so that only the first word of a path begins one.
        (before, rest) = match behind.strip_prefix("::") {
            Some(next) => ("::", next),
            None => ("", behind),
        };
    }
    imports
}

/// Returns a line without its comment.
fn code(line: &str) -> &str {
    line.find("//").map_or(line, |start| &line[..start])
}

fn word_length(text: &str) -> usize {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    text.len() - text.trim_start_matches(is_word).len()
}

/// Returns the module that the first word of a path names, seen from the module `here`.
fn first_module(
    word: &str,
    here: &str,
    sources: &BTreeMap<String, (String, String)>,
) -> Option<String> {
    let parent = here.rsplit_once("::").map_or("", |(parent, _)| parent);
    match word {
        "crate" => Some(String::new()),
        "self" => Some(here.to_owned()),
        "super" => Some(parent.to_owned()),
        _ => Some(joined(here, word)).filter(|module| sources.contains_key(module)),
    }
}

/// Adds the modules that a path or a group of paths behind `module` leads to. Returns the text
/// behind it, and its line.
fn leaves<'a>(
    module: &str,
    text: &'a str,
    mut line: usize,
    sources: &BTreeMap<String, (String, String)>,
    ends: &mut Vec<Import>,
) -> (&'a str, usize) {
    let Some(mut rest) = text.strip_prefix('{') else {
        let (word, behind) = text.split_at(word_length(text));
        let next = match word {
            "super" => module.rsplit_once("::").map_or("", |it| it.0).to_owned(),
            _ => joined(module, word),
        };
        return match behind.strip_prefix("::") {
            Some(behind) if word == "super" || sources.contains_key(&next) => {
                leaves(&next, behind, line, sources, ends)
            }
            _ => {
                let module = if sources.contains_key(&next) {
                    &next
                } else {
                    module
                };
                ends.push(Import {
                    line,
                    module: module.to_owned(),
                });
                // The rest of a path names items, whose own groups end with it.
                (behind, line)
            }
        };
    };
    loop {
        let skipped = rest.len() - rest.trim_start_matches([' ', '\n', ',']).len();
        line += rest[..skipped].matches('\n').count();
        rest = &rest[skipped..];
        if let Some(behind) = rest.strip_prefix('}') {
            return (behind, line);
        }
        if rest.is_empty() {
            return (rest, line);
        }
        (rest, line) = leaves(module, rest, line, sources, ends);
        rest = skip_item(rest, &mut line);
    }
}

/// Returns the text behind the rest of an item in a group: up to its comma or the group's end.
fn skip_item<'a>(text: &'a str, line: &mut usize) -> &'a str {
    let mut depth = 0;
    for (index, c) in text.char_indices() {
        match c {
            ',' if depth == 0 => return &text[index..],
            '}' if depth == 0 => return &text[index..],
            '{' => depth += 1,
            '}' => depth -= 1,
            '\n' => *line += 1,
            _ => {}
        }
    }
    ""
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the imports of `session::store` in a crate with a few modules.
    fn imports_of_store(source: &str) -> Vec<(usize, String)> {
        let files = [
            "",
            "config",
            "session",
            "session::memfd",
            "session::store",
            "session::store::slot",
        ];
        let sources = files.map(|it| (it.to_owned(), (format!("{it}.rs"), String::new())));
        let found = imports("session::store", source, &sources.into());
        found.into_iter().map(|it| (it.line, it.module)).collect()
    }

    #[test]
    fn each_form_of_a_path_is_read() {
        let table: [(&str, &[(usize, &str)]); 10] = [
            ("use crate::config::Config;", &[(1, "config")]),
            ("use super::memfd;", &[(1, "session::memfd")]),
            ("use super::super::config;", &[(1, "config")]),
            ("use self::slot::Slot;", &[(1, "session::store::slot")]),
            ("fn f() { slot::open(); }", &[(1, "session::store::slot")]),
            ("// crate::config\nuse std::config::C;", &[]),
            ("use crate::Root;", &[(1, "")]),
            ("pub(in crate::config) fn f() {}", &[]),
            (
                "use crate::{\n    config::{A, B},\n    session::{\n        self, memfd::{C, D},\n    },\n};",
                &[
                    (2, "config"),
                    (2, "config"),
                    (4, "session"),
                    (4, "session::memfd"),
                    (4, "session::memfd"),
                ],
            ),
            ("#[cfg(test)]\nmod tests {\n use crate::config::C; }", &[]),
        ];
        for (source, expected) in table {
            let expected: Vec<_> = expected.iter().map(|it| (it.0, it.1.to_owned())).collect();
            assert_eq!(imports_of_store(source), expected, "{source}");
        }
    }
}
