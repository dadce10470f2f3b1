//! The text of a configuration, beside a key file and a policy that it may name.
#![no_main]

use std::{
    env, fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::{Arc, LazyLock},
};

use libfuzzer_sys::{Corpus, fuzz_target};
use stsd::{
    config::ConfigErrors, fuzzing::configuration, identity::ProcessEnvironment, profile::NameParts,
    runtime::program::ProgramContext,
};
use stsd_fuzz::MARKED;
use toml::{Table, Value};

/// The secret in the key file, which no message contains.
const KEY_SECRET: &str = "SECRETINTHEKEYFILE";

/// The environment variable with the same secret.
const KEY_VARIABLE: &str = "KEY";

/// The directory of the files that the seeds name.
static BASE: LazyLock<PathBuf> = LazyLock::new(|| {
    let program = env::current_exe().expect("a target has a path");
    let base = program.with_extension("files");
    fs::create_dir_all(&base).expect("files stand beside the program");
    let key = base.join("uploader.key");
    let text = format!("access_key_id = \"LTAIEXAMPLE\"\naccess_key_secret = \"{KEY_SECRET}\"\n");
    fs::write(&key, text).expect("a key file");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("mode 0600");
    let policy = r#"{"Version": "1", "Statement": []}"#;
    fs::write(base.join("policy.json"), policy).expect("a policy");
    base
});

fuzz_target!(|text: &str| -> Corpus {
    let parsed = toml::from_str::<Table>(text).ok();
    let leaves = match &parsed {
        Some(table) => leaves_the_base(table),
        // The parts that can be read are checked too.
        None => ["\"/", "'/", ".."].iter().any(|it| text.contains(it)),
    };
    if leaves {
        return Corpus::Reject;
    }
    let surroundings = ProcessEnvironment {
        parts: NameParts {
            user: "user".to_owned(),
            host: "host".to_owned(),
            pid: 7,
            instance_id: || None,
        },
        variable: |name| (name == KEY_VARIABLE).then(|| KEY_SECRET.into()),
        proxies: Arc::default(),
        programs: Arc::new(ProgramContext {
            environment: Vec::new(),
            variable: |_| None,
            temp_parents: Vec::new(),
        }),
        runtime_files: Vec::new(),
        http_port: 7787,
    };
    let printed = match configuration(text, &BASE.join("config.toml"), &surroundings) {
        Ok(config) => {
            assert!(!config.profiles.is_empty());
            format!("{config:?}")
        }
        Err(mistakes) => {
            let lines = 1 + text.matches('\n').count();
            check(&mistakes, lines);
            let printed = mistakes.to_string();
            let shown = printed.contains(MARKED);
            let named = parsed.map_or_else(|| may_be_a_key(text), |table| is_a_name(&table));
            assert!(!shown || named, "{printed}");
            printed
        }
    };
    assert!(!printed.contains(KEY_SECRET), "{printed}");
    Corpus::Keep
});

/// Checks that every error has a position and is one line.
fn check(mistakes: &ConfigErrors, lines: usize) {
    assert!(!mistakes.errors.is_empty());
    for mistake in &mistakes.errors {
        let is_in_file = |line| (1..=lines).contains(&line);
        assert!(mistake.line.is_some_and(is_in_file), "{mistake}");
        assert!(!mistake.problem.is_empty() && !mistake.hint.is_empty());
    }
    let printed = mistakes.to_string();
    assert!(
        !printed.replace('\n', "").contains(char::is_control),
        "{printed:?}"
    );
}

/// Returns `true` for a table that names a file outside of `BASE`. Such input is skipped, because
/// the daemon opens the files that a configuration names.
fn leaves_the_base(table: &Table) -> bool {
    table.values().any(|value| match value {
        Value::String(text) => Path::new(text).is_absolute() || text.contains(".."),
        Value::Table(table) => leaves_the_base(table),
        _ => false,
    })
}

/// The keys whose values no message shows.
const HIDDEN: [&str; 10] = [
    "allow",
    "allow_v1",
    "environment",
    "external_id",
    "id",
    "keep_warm",
    "policy",
    "secret",
    "uri",
    "vpc",
];

/// Returns `true` for a table whose secret is in a place that messages show: a key, or the value of a
/// key that is not hidden. A mistyped key is read as the key that was probably meant.
fn is_a_name(table: &Table) -> bool {
    table.iter().any(|(key, value)| {
        let is_hidden = HIDDEN.contains(&key.as_str());
        key.contains(MARKED)
            || match value {
                Value::String(text) => !is_hidden && text.contains(MARKED),
                // Messages show the program, and not its arguments.
                Value::Array(words) => {
                    let is_in = |it: &Value| it.as_str().is_some_and(|it| it.contains(MARKED));
                    !is_hidden
                        && (words.first().is_some_and(is_in)
                            || (key == "writable" && words.iter().any(is_in)))
                }
                Value::Table(table) => is_a_name(table),
                _ => false,
            }
    })
}

/// The errors for a text that is not TOML show the text at the position of a key, and the values that
/// could be read.
fn may_be_a_key(text: &str) -> bool {
    text.lines().any(|line| {
        let key = line.split('=').next().unwrap_or_default();
        key.contains(MARKED) || (line.contains(MARKED) && !HIDDEN.contains(&key.trim()))
    })
}
