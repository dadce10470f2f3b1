//! The dependencies between the top-level modules, which point one way.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

/// Each module with the modules that it uses, which precede it in this table.
const MODULES: &[(&str, &str)] = &[
    ("clock", ""),
    ("duration", ""),
    ("encoding", ""),
    ("sync", ""),
    ("shutdown", ""),
    ("http", "encoding"),
    ("jwt", "encoding"),
    ("saml", "clock encoding"),
    ("account", "duration"),
    ("fault", "clock duration sync"),
    ("state", "account clock encoding fault jwt saml sync"),
    ("sts", "account clock encoding fault http saml state sync"),
    ("oss", "account clock encoding http state sync"),
    ("imds", "account clock encoding fault http state sts sync"),
    ("control", "account clock http imds jwt saml state sync"),
    ("server", "clock control fault http imds oss state sts sync"),
    ("emulator", "account clock server state"),
    ("cli", "account duration emulator"),
];

#[test]
fn modules_use_the_modules_of_the_table_only() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut used: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    collect(&source, None, &mut used);
    let table: BTreeMap<String, BTreeSet<String>> = MODULES
        .iter()
        .map(|(module, uses)| {
            let uses = uses.split_whitespace().map(str::to_owned).collect();
            ((*module).to_owned(), uses)
        })
        .collect();
    assert_eq!(used, table);
}

#[test]
fn table_has_no_cycle() {
    for (position, (module, uses)) in MODULES.iter().enumerate() {
        for used in uses.split_whitespace() {
            let precedes = MODULES[..position].iter().any(|(name, _)| *name == used);
            assert!(precedes, "{module} uses {used}, which must precede it");
        }
    }
}

/// Adds the modules that the files of a folder use, by top-level module.
fn collect(folder: &Path, module: Option<&str>, used: &mut BTreeMap<String, BTreeSet<String>>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        let module = module.unwrap_or(name);
        if path.is_dir() {
            collect(&path, Some(module), used);
        } else if path.extension().is_some_and(|end| end == "rs")
            && module != "lib"
            && module != "main"
        {
            let uses = used.entry(module.to_owned()).or_default();
            uses.extend(crate_paths(&fs::read_to_string(&path).unwrap()));
            uses.remove(module);
        }
    }
}

/// Returns the first names of all paths after `crate::`, also in a group.
fn crate_paths(source: &str) -> BTreeSet<String> {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let mut names = BTreeSet::new();
    for rest in source.split("crate::").skip(1) {
        let Some(group) = rest.strip_prefix('{') else {
            names.extend(rest.split(|c| !is_name(c)).next().map(str::to_owned));
            continue;
        };
        let mut depth = 0;
        for part in group.split_inclusive([',', '{', '}', ';']) {
            let name: String = part
                .trim_start()
                .chars()
                .take_while(|c| is_name(*c))
                .collect();
            if depth == 0 && !name.is_empty() {
                names.insert(name);
            }
            match part.chars().last() {
                Some('{') => depth += 1,
                Some('}') => depth -= 1,
                _ => {}
            }
            if depth < 0 {
                break;
            }
        }
    }
    names
}
