//! The manual pages: each has the sections that its kind of page needs, and the variables and files
//! in them exist in the code.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use e2e::program;

/// The sections of a program's page.
const OF_PROGRAMS: [&str; 5] = [
    "EXAMPLES",
    "FILES",
    "ENVIRONMENT",
    "EXIT STATUS",
    "SEE ALSO",
];

/// Pages without a section, because the program has nothing to list in it.
const EXCEPTIONS: [(&str, &[&str]); 7] = [
    ("stsctl-explain.1", &["FILES"]),
    ("stsd-errors.7", &["FILES"]),
    ("stsd-emulator.1", &["ENVIRONMENT"]),
    ("stsd-oss-client.1", &["FILES", "ENVIRONMENT"]),
    ("stsctl-completions.1", &["FILES", "ENVIRONMENT"]),
    ("stsctl-demo.1", &["FILES", "ENVIRONMENT"]),
    ("stsctl-man.1", &["FILES"]),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Returns all pages by their names.
fn pages() -> BTreeMap<String, String> {
    let directory = tempfile::tempdir().unwrap();
    let mut stsctl = Command::new(program("stsctl"));
    stsctl.args(["man", "--directory"]).arg(directory.path());
    assert!(stsctl.status().unwrap().success());
    let directories = [directory.path(), &root().join("man")];
    let files = directories.map(|it| fs::read_dir(it).unwrap());
    let page = |file: fs::DirEntry| {
        let name = file.file_name().into_string().unwrap();
        (name, fs::read_to_string(file.path()).unwrap())
    };
    files
        .into_iter()
        .flatten()
        .map(|it| page(it.unwrap()))
        .collect()
}

/// Returns the sections of a page by their names, without the escapes of roff.
fn sections(page: &str) -> BTreeMap<String, String> {
    let page = page.replace("\\-", "-").replace("\\(ti", "~");
    let sections = page.split("\n.SH ").skip(1);
    let sections = sections.map(|it| it.split_once('\n').unwrap());
    let name = |it: &str| it.trim_matches('"').to_owned();
    sections
        .map(|(title, text)| (name(title), text.to_owned()))
        .collect()
}

/// Returns the sources of all programs as one text.
fn sources(directory: &Path, text: &mut String) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("tests") {
            sources(&path, text);
        } else if path.extension().is_some_and(|it| it == "rs") && !path.ends_with("sections.rs") {
            text.push_str(&fs::read_to_string(&path).unwrap());
        }
    }
}

/// Returns the names in the terms of a list: words of capitals, or paths.
fn terms(section: &str, is_name: impl Fn(&str) -> bool) -> Vec<String> {
    let lines: Vec<_> = section.lines().collect();
    let terms = lines.windows(2).filter(|it| it[0] == ".TP").map(|it| it[1]);
    let words = terms.flat_map(|it| it.split([' ', ',', '"']));
    let plain = |it: &str| {
        it.replace("\\fB", "")
            .replace("\\fI", "")
            .replace("\\fR", "")
    };
    words.map(plain).filter(|it| is_name(it)).collect()
}

#[test]
fn every_manual_page_has_the_sections_of_its_kind() {
    for (name, page) in pages() {
        let sections = sections(&page);
        let is_program = name.ends_with(".1") || name.ends_with(".8");
        let wanted: &[&str] = match is_program {
            true => &OF_PROGRAMS,
            false => &["EXAMPLES", "FILES", "ENVIRONMENT", "SEE ALSO"],
        };
        let missing = EXCEPTIONS
            .iter()
            .find(|it| it.0 == name)
            .map_or(&[][..], |it| it.1);
        for section in wanted.iter().filter(|it| !missing.contains(it)) {
            let text = sections.get(*section);
            assert!(
                text.is_some_and(|it| !it.trim().is_empty()),
                "{name}: {section}"
            );
        }
        for section in missing {
            assert!(!sections.contains_key(*section), "{name} has {section}");
        }
    }
}

#[test]
fn variables_and_files_of_the_manual_pages_are_in_the_code() {
    let mut code = String::new();
    sources(&root().join("crates"), &mut code);
    let is_variable = |it: &str| {
        it.len() > 2
            && it
                .chars()
                .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
    };
    for (name, page) in pages() {
        let sections = sections(&page);
        let section = |title: &str| sections.get(title).map_or("", String::as_str);
        let variables = terms(section("ENVIRONMENT"), is_variable);
        assert_eq!(
            variables.is_empty(),
            section("ENVIRONMENT").is_empty(),
            "{name}"
        );
        // A proxy variable is read under both of its names.
        for variable in variables {
            assert!(code.contains(&variable), "{name}: {variable}");
        }
        let files = terms(section("FILES"), |it| it.contains('/'));
        assert_eq!(files.is_empty(), section("FILES").is_empty(), "{name}");
        for file in files {
            let last = file.rsplit('/').find(|it| !it.is_empty()).unwrap();
            assert!(code.contains(last), "{name}: {file}");
        }
    }
}
