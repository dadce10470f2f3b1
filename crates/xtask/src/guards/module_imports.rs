//! The imports between the modules of a crate. They point one way: a cycle between folders
//! makes each of them incomprehensible without the other.

use std::collections::{BTreeMap, BTreeSet};

use super::import_scan::Modules;
use crate::process::Outcome;

/// For each crate its top-level modules, with the modules that each imports. These precede it.
const TABLES: [(&str, &[(&str, &str)]); 3] =
    [("daemon", &DAEMON), ("ctl", &CTL), ("emulator", &EMULATOR)];

const DAEMON: [(&str, &str); 15] = [
    ("runtime", ""),
    ("platform", "runtime"),
    ("profile", "runtime"),
    ("access", "profile runtime"),
    ("identity", "profile runtime"),
    ("sts", "profile runtime"),
    ("config", "identity profile runtime"),
    ("cli", "access config identity platform profile runtime"),
    ("session", "access profile runtime"),
    ("audit", "access runtime session"),
    ("export", "profile runtime session"),
    ("refresh", "access profile runtime session sts"),
    ("serve", "access audit profile runtime session"),
    (
        "daemon",
        "access audit config export platform refresh runtime serve session sts",
    ),
    ("fuzzing", "config identity profile serve session"),
];

const CTL: [(&str, &str); 22] = [
    ("edit", ""),
    ("error", ""),
    ("boot_time", ""),
    ("similar_name", ""),
    ("http_exchange", "boot_time"),
    ("json_object", ""),
    ("http_listener", ""),
    ("subprocess", ""),
    ("term", ""),
    ("token_file", ""),
    ("tool_name", ""),
    ("aliyun_profiles", "json_object"),
    ("config_fragments", ""),
    ("config_file", "config_fragments edit subprocess"),
    ("env_vars", "token_file"),
    ("report", "term"),
    ("waiting", "term"),
    ("systemd", "subprocess"),
    ("secret_store", "subprocess systemd"),
    ("cli", "secret_store tool_name"),
    ("help", "cli"),
    (
        "commands",
        "boot_time cli config_file config_fragments edit env_vars error help http_exchange http_listener \
         report secret_store similar_name subprocess systemd term token_file tool_name waiting",
    ),
];

const EMULATOR: [(&str, &str); 19] = [
    ("clock", ""),
    ("duration", ""),
    ("encoding", ""),
    ("sync", ""),
    ("shutdown", ""),
    ("http", "encoding"),
    ("jwt", "encoding"),
    ("saml", "clock encoding"),
    ("tls", "clock encoding"),
    ("account", "duration jwt"),
    ("fault", "clock duration sync"),
    ("state", "account clock encoding fault jwt saml sync"),
    ("sts", "account clock encoding fault http saml state sync"),
    ("oss", "account clock encoding http state sync"),
    ("imds", "account clock encoding fault http state sts sync"),
    ("control", "account clock http imds jwt saml state sync"),
    ("server", "clock control fault http imds oss state sts sync"),
    ("emulator", "account clock server state tls"),
    ("cli", "account duration emulator"),
];

/// The crates of the workspace, all of which are searched for cycles.
const CRATES: [&str; 14] = [
    "bench", "client", "ctl", "daemon", "document", "emulator", "keyring", "secret", "shim", "sts",
    "wire", "xtask", "model", "trust",
];

/// Checks the tables and searches every crate for cycles between folders.
pub(super) fn check() -> Outcome {
    let mut faults = Vec::new();
    for name in CRATES {
        let modules = Modules::read(name)?;
        let table = TABLES.iter().find(|it| it.0 == name);
        faults.extend(
            table
                .into_iter()
                .flat_map(|it| table_faults(&modules, it.1)),
        );
        faults.extend(cycles_between_folders(&modules));
    }
    match &faults[..] {
        [] => Ok(()),
        faults => Err(faults.join("\n")),
    }
}

/// Returns the imports that a table does not have, by line, and the unused entries of the table.
fn table_faults(modules: &Modules, table: &[(&str, &str)]) -> Vec<String> {
    let mut faults = Vec::new();
    let mut unused: BTreeSet<(&str, &str)> = BTreeSet::new();
    for (position, (module, imported)) in table.iter().enumerate() {
        for imported in imported.split_whitespace() {
            unused.insert((module, imported));
            if !table[..position].iter().any(|it| it.0 == imported) {
                faults.push(format!(
                    "the table lets {module} import {imported}, which does not precede it"
                ));
            }
        }
    }
    let allowed = unused.clone();
    for (path, module) in &modules.by_path {
        let importer = top(path);
        for import in &module.imports {
            let edge = (importer, top(&import.module));
            if importer.is_empty() || edge.0 == edge.1 {
                continue;
            }
            unused.remove(&edge);
            if !allowed.contains(&edge) {
                faults.push(format!(
                    "{}:{}: {importer} must not import {}",
                    module.file,
                    import.line,
                    if edge.1.is_empty() {
                        "the root of the crate"
                    } else {
                        edge.1
                    },
                ));
            }
        }
    }
    faults.extend(unused.iter().map(|(module, imported)| {
        format!("the table lets {module} import {imported}, and no file does")
    }));
    faults
}

fn top(path: &str) -> &str {
    path.split("::").next().unwrap_or_default()
}

/// Returns a line for each import that is part of a cycle between files of different folders.
fn cycles_between_folders(modules: &Modules) -> Vec<String> {
    let reached: BTreeMap<&str, BTreeSet<&str>> = modules
        .by_path
        .keys()
        .map(|path| (path.as_str(), reachable(modules, path)))
        .collect();
    let mut faults = Vec::new();
    for (path, module) in &modules.by_path {
        for import in &module.imports {
            let goes_back = reached
                .get(&*import.module)
                .is_some_and(|it| it.contains(&**path));
            if goes_back && modules.folder(path) != modules.folder(&import.module) {
                faults.push(format!(
                    "{}:{}: a cycle between folders: {path} imports {}, which leads back to it",
                    module.file, import.line, import.module,
                ));
            }
        }
    }
    faults.dedup();
    faults
}

/// Returns the modules that a module imports, directly or through others.
fn reachable<'a>(modules: &'a Modules, from: &str) -> BTreeSet<&'a str> {
    let mut found = BTreeSet::new();
    let mut pending = vec![from];
    while let Some(path) = pending.pop() {
        for import in modules
            .by_path
            .get(path)
            .into_iter()
            .flat_map(|it| &it.imports)
        {
            if found.insert(&*import.module) {
                pending.push(&import.module);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn modules(files: &[(&str, &str)]) -> Modules {
        let sources = files.iter().map(|(path, source)| {
            let file = format!("{path}.rs");
            ((*path).to_owned(), (file, (*source).to_owned()))
        });
        Modules::parse(&sources.collect())
    }

    #[test]
    fn import_that_the_table_lacks_is_named_with_its_line() {
        let modules = modules(&[
            ("session", ""),
            ("session::store", "\nuse crate::config::Config;"),
            ("config", "use crate::profile::Profile;"),
            ("profile", ""),
        ]);
        let table = [
            ("profile", ""),
            ("config", "profile"),
            ("session", "profile"),
        ];
        assert_eq!(
            table_faults(&modules, &table),
            [
                "session::store.rs:2: session must not import config",
                "the table lets session import profile, and no file does",
            ]
        );
        let backwards = [
            ("config", "profile"),
            ("profile", ""),
            ("session", "config"),
        ];
        assert_eq!(
            table_faults(&modules, &backwards),
            ["the table lets config import profile, which does not precede it"]
        );
    }

    #[test]
    fn cycle_counts_between_folders_only() {
        let within = [
            ("serve", "use self::http::Http;"),
            ("serve::http", "use super::Context;"),
        ];
        assert_eq!(cycles_between_folders(&modules(&within)), [""; 0]);
        let between = [
            ("serve::context", "use super::http::Endpoint;"),
            ("serve::http", ""),
            (
                "serve::http::endpoint",
                "use super::super::context::Context;",
            ),
            ("serve::http::routes", ""),
        ];
        assert_eq!(cycles_between_folders(&modules(&between)), [""; 0]);
        let closed = [
            ("serve::context", "use super::http::endpoint::Endpoint;"),
            ("serve::http", ""),
            (
                "serve::http::endpoint",
                "use super::super::context::Context;",
            ),
        ];
        assert_eq!(cycles_between_folders(&modules(&closed)).len(), 2);
    }
}
