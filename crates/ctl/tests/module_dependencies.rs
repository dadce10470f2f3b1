//! The dependencies between the modules of `stsctl`, as ARCHITECTURE.md describes them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// The modules that each module may import. `commands` may import all of them.
const ALLOWED: &[(&str, &[&str])] = &[
    ("aliyun_profiles", &["json_object"]),
    ("cli", &["secret_store", "tool_name"]),
    ("config_file", &["edit", "subprocess"]),
    ("edit", &[]),
    ("env_vars", &["token_file"]),
    ("error", &[]),
    ("http_exchange", &[]),
    ("json_object", &[]),
    ("lib", &[]),
    ("main", &["cli", "commands", "error", "term"]),
    ("report", &["term"]),
    ("secret_store", &["subprocess"]),
    ("subprocess", &[]),
    ("term", &[]),
    ("token_file", &[]),
    ("tool_name", &[]),
];

#[test]
fn modules_import_only_the_allowed_ones() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for file in rust_files(&source) {
        let module = file.strip_prefix(&source).unwrap().components().next();
        let module = Path::new(module.unwrap().as_os_str()).with_extension("");
        let module = module.to_str().unwrap();
        let text = fs::read_to_string(&file).unwrap();
        let mut imported = imported_modules(&text);
        // A folder's own modules may import each other.
        imported.remove(module);
        if module == "commands" {
            continue;
        }
        let allowed = ALLOWED.iter().find(|it| it.0 == module);
        let (_, allowed) = allowed.unwrap_or_else(|| panic!("{module} is not in the table"));
        for name in imported {
            assert!(
                allowed.contains(&name.as_str()),
                "{} uses {name}",
                file.display()
            );
        }
    }
}

fn rust_files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .flat_map(|path| match path.is_dir() {
            true => rust_files(&path),
            false => vec![path],
        })
        .collect()
}

/// Returns the first segment of each path behind `crate::`.
fn imported_modules(text: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for rest in text.split("crate::").skip(1) {
        match rest.strip_prefix('{') {
            Some(list) => names.extend(outer_segments(list)),
            None => names.extend(segment(rest)),
        }
    }
    names
}

/// Returns the first segments of the elements of a list, up to its closing brace.
fn outer_segments(list: &str) -> Vec<String> {
    let mut depth = 1;
    let mut outer = String::new();
    for c in list.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            c if depth == 1 => outer.push(c),
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    outer.split(',').filter_map(segment).collect()
}

fn segment(path: &str) -> Option<String> {
    let is_name = |c: &char| c.is_ascii_alphanumeric() || *c == '_';
    let name: String = path.trim_start().chars().take_while(is_name).collect();
    (!name.is_empty()).then_some(name)
}

#[test]
fn imported_modules_are_found_in_nested_lists() {
    let text = "use crate::{\n    a::{b, c},\n    d::e,\n};\nuse crate::f::g;\n";
    assert_eq!(
        imported_modules(text),
        BTreeSet::from(["a", "d", "f"].map(str::to_owned))
    );
}
