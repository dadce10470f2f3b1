//! The table of the platform's variables: it has each variable that the official SDKs read, and says of
//! `stsctl exec` what that command does.

use std::{collections::BTreeSet, fs, path::Path};

use e2e::{TestEnv, UPLOAD, clients};

/// The sources of the official credential libraries, below the clients of the stories.
const LIBRARIES: [&str; 2] = [
    "python/lib/python3.11/site-packages/alibabacloud_credentials",
    "node/node_modules/@alicloud/credentials/dist",
];

/// The rows of the table: the variables, and the column about `stsctl exec`.
fn table() -> Vec<(Vec<String>, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let text = fs::read_to_string(root.join("docs/configuration.md")).unwrap();
    let (_, section) = text
        .split_once("### The variables of the platform")
        .unwrap();
    let section = section.split("\n### ").next().unwrap();
    let rows = section.lines().filter(|it| it.starts_with("| `"));
    let row = |row: &str| {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let names = cells[1].split('`').skip(1).step_by(2);
        (names.map(str::to_owned).collect(), cells[3].to_owned())
    };
    rows.map(row).collect()
}

/// Adds the variables of the platform that the files of a directory name.
fn collect(directory: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|it| it == "py" || it == "js") {
            let text = fs::read_to_string(&path).unwrap();
            let is_part = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
            let words = text.split(|c| !is_part(c));
            let names = words.filter(|it| it.starts_with("ALIBABA_CLOUD_"));
            found.extend(names.map(|it| it.trim_end_matches('_').to_owned()));
        }
    }
}

#[test]
fn each_variable_of_the_official_libraries_is_in_the_table() {
    let mut found = BTreeSet::new();
    for library in LIBRARIES {
        collect(&clients().join(library), &mut found);
    }
    assert!(found.len() > 10, "{found:?}");
    let table = table();
    for name in found {
        let listed = table.iter().any(|(names, _)| names.contains(&name));
        assert!(listed, "{name} is in no row");
    }
}

#[test]
fn table_of_variables_describes_what_exec_does() {
    let env = TestEnv::with_http(&[], UPLOAD);
    let output = env.ctl(&["env", "oss-upload"]);
    assert!(output.status.success(), "{output:?}");
    let script = String::from_utf8(output.stdout).unwrap();
    let line = |name: &str| {
        let mut lines = script.lines();
        let is_of = |it: &&str| {
            *it == format!("unset {name}") || it.starts_with(&format!("export {name}="))
        };
        lines.find(is_of).map(str::to_owned)
    };
    for (names, effect) in table() {
        for name in names {
            let found = line(&name);
            let expected = match effect.split([':', ' ']).next().unwrap() {
                "untouched" => None,
                "removed" => Some(format!("unset {name}")),
                // A value with a secret is not compared.
                "set" => found.clone().filter(|it| it.starts_with("export ")),
                value if value.starts_with('`') && !value.contains("127.0.0.1") => {
                    Some(format!("export {name}='{}'", value.trim_matches('`')))
                }
                _ if name == "NO_PROXY" => found.clone().filter(|it| it.contains("127.0.0.1")),
                _ => None,
            };
            assert_eq!(found, expected, "{name}: {effect}");
        }
    }
}
