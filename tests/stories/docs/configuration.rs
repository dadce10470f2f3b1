//! The configurations in the documents: a fragment is completed, its files are created, and
//! `stsd --check` reads it.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use toml::{Table, Value};

use super::{page::Block, world::World};

/// The top-level keys of a configuration; a fragment with other keys is a part of a profile.
const TOP: [&str; 13] = [
    "region",
    "vpc",
    "endpoint",
    "endpoints",
    "sts_calls_per_second",
    "fleet_spread",
    "reload",
    "keep_sessions",
    "audit",
    "http",
    "metrics",
    "source",
    "profile",
];

const PROFILE: &str =
    "source = \"uploader\"\nrole_arn = \"acs:ram::100000000000001:role/oss-upload\"\n";

const KEY: &str = "access_key_id = \"LTAIEXAMPLEUPLOADER01\"\naccess_key_secret = \"ExampleSecretOfUploader000001\"\n";

/// Checks a block.
///
/// # Errors
/// The place of the block, and the error of the daemon.
pub(crate) fn check(block: &Block) -> Result<(), String> {
    let world = World::without_daemon(&[]);
    let mistake = |error: &dyn std::fmt::Display| format!("{}: {error}", block.place());
    let text = names_of_this_machine(&world.here(&block.text));
    let table: Table = toml::from_str(&text).map_err(|error| mistake(&error))?;
    let place = world.env.path("home/.config/stsd");
    fs::create_dir(&place).unwrap();
    let (config, key) = match table.contains_key("access_key_id") {
        true => (whole("", &Table::new()), text.clone()),
        false => (whole(&text, &table), KEY.to_owned()),
    };
    let table: Table = toml::from_str(&config).map_err(|error| mistake(&error))?;
    plant(&place, "", &Value::Table(table));
    put(&place.join("uploader.key"), &key, 0o600);
    put(&place.join("config.toml"), &config, 0o600);
    let mut command = world.command("stsd");
    command.env("CREDENTIALS_DIRECTORY", &place);
    let output = command.arg("--check").output().unwrap();
    match output.status.success() {
        true => Ok(()),
        false => Err(mistake(&format!(
            "{}\nof\n{config}",
            String::from_utf8_lossy(&output.stderr)
        ))),
    }
}

/// Replaces users and groups of the documents by root, which every machine has.
fn names_of_this_machine(text: &str) -> String {
    let mut text = text.to_owned();
    for kind in ["\"user:", "\"group:"] {
        let parts: Vec<_> = text.split(kind).map(str::to_owned).collect();
        let mut parts = parts.into_iter();
        let mut replaced = parts.next().unwrap_or_default();
        for part in parts {
            let rest = part.split_once('"').map_or("", |(_, rest)| rest);
            replaced.push_str(&format!("{kind}root\"{rest}"));
        }
        text = replaced;
    }
    text
}

/// Returns a fragment as a complete configuration.
pub(crate) fn whole(text: &str, table: &Table) -> String {
    let part_of_profile = table.keys().any(|it| !TOP.contains(&it.as_str()));
    if part_of_profile {
        return format!(
            "[profile.oss-upload]\n{PROFILE}{text}{}",
            source("uploader")
        );
    }
    let names = |key: &str| {
        let table = table.get(key).and_then(Value::as_table);
        table.into_iter().flatten().collect::<Vec<_>>()
    };
    let (sources, profiles) = (names("source"), names("profile"));
    let mut config = text.to_owned();
    let mut wanted: Vec<String> = Vec::new();
    for (name, profile) in &profiles {
        match profile.get("source").and_then(Value::as_str) {
            Some(source) => wanted.push(source.to_owned()),
            None => {
                config.push_str(&format!("[profile.{name}]\n{PROFILE}"));
                wanted.push("uploader".to_owned());
            }
        }
    }
    for (name, _) in &sources {
        if !wanted.contains(name) {
            let profile = PROFILE.replace("uploader", name);
            config.push_str(&format!("[profile.with-{name}]\n{profile}"));
        }
    }
    if profiles.is_empty() && sources.is_empty() {
        config.push_str(&format!("[profile.oss-upload]\n{PROFILE}"));
        wanted.push("uploader".to_owned());
    }
    wanted.sort();
    wanted.dedup();
    for name in wanted {
        let known = |all: &[(&String, &Value)]| all.iter().any(|(it, _)| **it == name);
        if !known(&sources) && !known(&profiles) {
            config.push_str(&source(&name));
        }
    }
    config
}

fn source(name: &str) -> String {
    format!("[source.{name}]\ntype = \"access-key\"\naccess_key_file = \"uploader.key\"\n")
}

/// Creates the files that a value names.
fn plant(place: &Path, key: &str, value: &Value) {
    match value {
        Value::Table(table) => {
            for (key, value) in table {
                plant(place, key, value);
            }
        }
        Value::Array(words) if key.ends_with("command") || key.starts_with("on_") => {
            let program = words.first().and_then(Value::as_str).unwrap_or_default();
            put(Path::new(program), "#!/bin/sh\n", 0o755);
        }
        Value::Array(paths) if key == "writable" => {
            for path in paths {
                fs::create_dir_all(place.join(path.as_str().unwrap_or_default())).unwrap();
            }
        }
        Value::String(name) => {
            let path = place.join(name);
            match key {
                "access_key_file" | "access_key_credential" => put(&path, KEY, 0o600),
                "uri_file" => put(&path, "https://credentials.example.com/s\n", 0o600),
                "token_file" | "assertion_file" => put(&path, "a.b.c\n", 0o600),
                "policy_file" => put(&path, "{\"Version\":\"1\",\"Statement\":[]}", 0o600),
                "path" | "file" => {
                    // With any umask, other users cannot write here.
                    let parent = path.parent().unwrap();
                    fs::create_dir_all(parent).unwrap();
                    fs::set_permissions(parent, fs::Permissions::from_mode(0o700)).unwrap();
                }
                _ => {}
            }
        }
        _ => {}
    }
}

fn put(path: &Path, text: &str, mode: u32) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}
