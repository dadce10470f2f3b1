//! `stsd --schema`: a validator accepts each configuration of the documents and refuses mistakes.

use std::{fs, path::Path, process::Command};

use e2e::{TestEnv, clients, program};
use toml::Table;

use super::{
    configuration,
    page::{blocks, root},
};

/// Configurations with a mistake that the schema finds.
const MISTAKES: [&str; 14] = [
    "regoin = \"cn-hongkong\"",
    "vpc = \"yes\"",
    "sts_calls_per_second = 1000",
    "endpoints = []",
    "[http]\nlisten = 7787",
    "[metrics]",
    "[source.a]\naccess_key_file = \"a.key\"",
    "[source.a]\ntype = \"access_key\"\naccess_key_file = \"a.key\"",
    "[source.a]\ntype = \"access-key\"",
    "[source.a]\ntype = \"access-key\"\naccess_key_file = \"a\"\naccess_key_keyring = \"a\"",
    "[source.a]\ntype = \"ecs-role\"\nuri = \"https://host/\"",
    "[profile.a]\nrole_arn = \"acs:ram::100000000000001:role/r\"",
    "[profile.a]\nsource = \"a\"\nduration = 3600",
    "[profile.a]\nsource = \"a\"\n[profile.a.file]\npath = \"f\"\nformat = \"yaml\"",
];

#[test]
fn schema_accepts_the_documents_and_refuses_mistakes() {
    let env = TestEnv::without_daemon(&[]);
    let printed = Command::new(program("stsd")).arg("--schema").output();
    let printed = printed.unwrap();
    assert!(printed.status.success());
    fs::write(env.path("schema.json"), printed.stdout).unwrap();
    let mut files: Vec<(String, String)> = Vec::new();
    let add = |files: &mut Vec<_>, place: String, text: &str| {
        let name = format!("{}.toml", files.len());
        env.write(&name, text, 0o600);
        files.push((name, place));
    };
    for block in blocks(&["toml"]) {
        let Ok(table) = toml::from_str::<Table>(&block.text) else {
            continue;
        };
        // A key file is TOML too.
        if !table.contains_key("access_key_id") {
            let text = configuration::whole(&block.text, &table);
            add(&mut files, block.place(), &text);
        }
    }
    for path in examples(&root().join("examples")) {
        add(
            &mut files,
            path.clone(),
            &fs::read_to_string(&path).unwrap(),
        );
    }
    let accepted = files.len();
    assert!(accepted > 30, "{accepted} configurations");
    for mistake in MISTAKES {
        add(&mut files, mistake.to_owned(), mistake);
    }
    let mut validator = Command::new(clients().join("schema/bin/python"));
    validator.arg(root().join("tests/clients/python/schema.py"));
    validator.arg(env.path("schema.json"));
    validator.args(files.iter().map(|(name, _)| env.path(name)));
    let output = validator.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    assert_eq!(said.lines().count(), files.len());
    for (index, (line, (_, place))) in said.lines().zip(&files).enumerate() {
        assert_eq!(line == "valid", index < accepted, "{place}: {line}");
    }
}

/// Returns the configurations of the examples.
fn examples(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap().flatten() {
        let path = entry.path();
        let is_fragment = path.parent().is_some_and(|it| it.ends_with("config.d"));
        if path.is_dir() && !path.ends_with("target") && !path.ends_with("node_modules") {
            found.extend(examples(&path));
        } else if is_fragment && path.extension().is_some_and(|it| it == "toml") {
            found.push(path.display().to_string());
        }
    }
    found
}
