//! docs/configuration-reference.md and the list of keys in man/stsd-config.5, made of the types
//! that a configuration is read into: their keys, their doc comments, and the defaults that the
//! code itself uses.
//!
//! `UPDATE_GOLDEN=1 cargo test -p stsd reference` writes both again.

use std::{collections::BTreeMap, fs, path::Path};

use schemars::generate::SchemaSettings;
use serde_json::Value;
use stsd_document::{Format, MappedValue};
use stsd_sts::Endpoint;

use super::{
    DEFAULT_CALLS_PER_SECOND, MAX_CALLS_PER_SECOND, Raw,
    profile::{DEFAULT_SESSION_NAME, ROLE_VARIABLE, SESSION_NAME_VARIABLE},
    raw_source::{KEY_LOCATIONS, KINDS},
    source::{PROVIDER_VARIABLE, TOKEN_VARIABLE},
};
use crate::{identity::MetadataEndpoint, profile::SessionDuration};

const HEAD: &str = "# Configuration reference

Every table and every key, with its default. A test compares this page with the types that the
daemon reads its configuration into; [configuration.md](configuration.md) has the purpose of each,
with examples.

A relative path is relative to the file that names it, the configuration file or a
[fragment](configuration.md#fragments-several-owners). Any other key is refused. `stsd --schema` prints the same
keys as a [JSON Schema](configuration.md#a-schema-for-editors-and-ci).
";

/// The comments of the manual page before and after the list of keys.
const MANUAL_BEGIN: &str =
    ".\\\" Written by `UPDATE_GOLDEN=1 cargo test -p stsd reference` from here\n";
const MANUAL_END: &str = ".\\\" to here\n";

/// The header of a table in the file, and the section of its defaults: sources have a section for
/// each type.
type TableKey<'a> = (&'a str, &'a str);

/// Returns the defaults that the types do not have.
fn defaults() -> BTreeMap<TableKey<'static>, String> {
    let literal = |text: &str| format!("`{text}`");
    let quoted = |text: &str| format!("`\"{text}\"`");
    let of_environment = |variable: &str| format!("`${variable}`, else required");
    let hours = SessionDuration::DEFAULT.get().as_secs() / 3600;
    let duration = format!("{hours}h");
    assert_eq!(
        SessionDuration::new(&duration).unwrap(),
        SessionDuration::DEFAULT
    );
    let name = quoted(DEFAULT_SESSION_NAME);
    // The name that is read as the default format.
    let format = Format::NAMES
        .split(", ")
        .find(|it| Format::from_name(it) == Some(Format::default()))
        .unwrap();
    let endpoint = literal(Endpoint::global().authority());
    let mut defaults = BTreeMap::from([
        (("", "region"), format!("the variables, else {endpoint}")),
        (("", "endpoint"), "by `region` and `vpc`".to_owned()),
        (("", "endpoints"), "`endpoint` alone".to_owned()),
        (("", "vpc"), literal(&false.to_string())),
        (
            ("", "sts_calls_per_second"),
            literal(&DEFAULT_CALLS_PER_SECOND.to_string()),
        ),
        (("", "fleet_spread"), quoted("0s")),
        (("", "reload"), quoted("on-request")),
        (("audit", "file"), "the log alone".to_owned()),
        (
            ("http", "listen"),
            "20000 plus the last four digits of the uid; with `--system`, 7787".to_owned(),
        ),
        (
            ("http", "secret_file"),
            "the daemon's own secret, in its state directory".to_owned(),
        ),
        (("oidc", "provider_arn"), of_environment(PROVIDER_VARIABLE)),
        (("oidc", "token_file"), of_environment(TOKEN_VARIABLE)),
        (("saml", "provider_arn"), "required".to_owned()),
        (
            ("ecs-role", "role_name"),
            "the role in the metadata, read each time".to_owned(),
        ),
        (("ecs-role", "allow_v1"), literal(&false.to_string())),
        (
            ("ecs-role", "metadata_endpoint"),
            quoted(MetadataEndpoint::DEFAULT),
        ),
        (("process", "command"), "required".to_owned()),
        (
            ("profile.NAME", "role_arn"),
            format!("see there; with `oidc`, `${ROLE_VARIABLE}`"),
        ),
        (
            ("profile.NAME", "role_session_name"),
            format!("{name}; with `oidc`, `${SESSION_NAME_VARIABLE}` before it"),
        ),
        (("profile.NAME", "duration"), quoted(&duration)),
        (("profile.NAME", "on_renewal"), "no command".to_owned()),
        (("profile.NAME", "on_failure"), "no command".to_owned()),
        (
            ("profile.NAME", "allow"),
            "a user's daemon: its user; with `--system`: no caller".to_owned(),
        ),
        (("profile.NAME.file", "format"), quoted(format)),
    ]);
    let choices: [(&str, &[&str]); 3] = [
        ("access-key", &KEY_LOCATIONS),
        ("saml", &["assertion_file", "assertion_command"]),
        ("uri", &["uri", "uri_file"]),
    ];
    for (kind, keys) in choices {
        let all: Vec<_> = keys.iter().map(|it| literal(it)).collect();
        for key in keys {
            defaults.insert((kind, key), format!("exactly one of {}", all.join(", ")));
        }
    }
    defaults
}

/// One table of the file, or the keys of one type of source.
struct Section {
    title: String,
    /// 2 for a table, 3 for a part of a table.
    level: usize,
    /// The sentence about the table; empty if there is none.
    about: String,
    keys: Vec<Key>,
}

struct Key {
    name: String,
    shape: String,
    default: String,
    meaning: String,
}

/// The sections, while they are collected.
struct Reference {
    sections: Vec<Section>,
    /// The defaults of keys that have not been listed yet.
    defaults: BTreeMap<TableKey<'static>, String>,
}

impl Reference {
    /// Collects a table of the file and its inner tables.
    fn table(&mut self, name: &str, schema: &Value) {
        let (title, about) = match name {
            "" => ("Top level".to_owned(), String::new()),
            _ => (format!("`[{name}]`"), sentence(name, schema)),
        };
        if name == "source.NAME" {
            self.section(title, 2, about, (name, name), schema, &["type"]);
            self.source(name, schema);
        } else {
            self.section(title, 2, about, (name, name), schema, &sorted(schema));
        }
        for (key, inner) in properties(schema) {
            let path = [name, key].join(".").trim_matches('.').to_owned();
            if let Some(named) = of_any_name(inner) {
                let mut named = named.clone();
                named["description"] = inner["description"].clone();
                self.table(&format!("{path}.NAME"), &named);
            } else if is_table(inner) && name != "source.NAME" {
                self.table(&path, inner);
            }
        }
    }

    /// Collects the keys of each type of source.
    fn source(&mut self, name: &str, schema: &Value) {
        for (kind, keys) in KINDS {
            let title = format!("`[{name}]` with `type = \"{kind}\"`");
            self.section(title, 3, String::new(), (name, kind), schema, keys);
            for key in keys {
                let inner = &schema["properties"][key];
                if is_table(inner) {
                    let path = format!("{name}.{key}");
                    let title = format!("`[{path}]`");
                    let keys = sorted(inner);
                    self.section(title, 3, String::new(), (&path, &path), inner, &keys);
                }
            }
        }
    }

    /// Collects one section. `section` is the table's name and the section of its defaults.
    fn section(
        &mut self,
        title: String,
        level: usize,
        about: String,
        (name, section): TableKey<'_>,
        schema: &Value,
        keys: &[&str],
    ) {
        let mut listed = Vec::new();
        for key in keys {
            let property = &schema["properties"][*key];
            if holds_tables(name, property) {
                continue;
            }
            listed.push(Key {
                name: (*key).to_owned(),
                shape: shape(property),
                default: self.default(section, key, schema),
                meaning: sentence(&format!("{name}.{key}"), property),
            });
        }
        self.sections.push(Section {
            title,
            level,
            about,
            keys: listed,
        });
    }

    fn default(&mut self, section: &str, key: &str, schema: &Value) -> String {
        let known = self
            .defaults
            .keys()
            .find(|it| **it == (section, key))
            .copied();
        if let Some(default) = known.and_then(|it| self.defaults.remove(&it)) {
            return default;
        }
        let required = schema["required"].as_array().into_iter().flatten();
        if required.into_iter().any(|it| it == key) {
            return "required".to_owned();
        }
        match &schema["properties"][key]["default"] {
            Value::Null => "none".to_owned(),
            literal => format!("`{literal}`"),
        }
    }
}

fn properties(schema: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let properties = schema["properties"].as_object().into_iter().flatten();
    properties.map(|(key, value)| (key.as_str(), value))
}

/// Returns the keys, the required ones first.
fn sorted(schema: &Value) -> Vec<&str> {
    let required = schema["required"].as_array().into_iter().flatten();
    let required: Vec<_> = required.filter_map(Value::as_str).collect();
    let mut keys: Vec<_> = properties(schema).map(|(key, _)| key).collect();
    keys.sort_by_key(|key| !required.contains(key));
    keys
}

fn is_table(schema: &Value) -> bool {
    schema["properties"].is_object()
}

/// Returns the schema of tables whose names the user chooses.
fn of_any_name(schema: &Value) -> Option<&Value> {
    Some(&schema["additionalProperties"]).filter(|it| is_table(it))
}

/// Returns `true` for a table with a section of its own.
fn holds_tables(name: &str, schema: &Value) -> bool {
    of_any_name(schema).is_some() || (is_table(schema) && name != "source.NAME")
}

/// Returns the doc comment of a key, in one line.
fn sentence(key: &str, schema: &Value) -> String {
    let said = schema["description"].as_str().unwrap_or_default();
    assert!(!said.is_empty(), "{key} has no doc comment");
    assert!(
        !said.contains('|'),
        "{key}: a | ends a cell of a Markdown table"
    );
    said.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Returns the type, in the words of TOML.
fn shape(schema: &Value) -> String {
    if is_table(schema) {
        return "table".to_owned();
    }
    let kinds = &schema["type"];
    let kind = kinds.as_str().or_else(|| {
        let of_some = kinds.as_array()?.iter().filter_map(Value::as_str);
        of_some.into_iter().find(|it| *it != "null")
    });
    match kind.unwrap() {
        "array" => format!("array of {}s", shape(&schema["items"])),
        "object" => format!("table of {}s", shape(&schema["additionalProperties"])),
        kind => kind.to_owned(),
    }
}

fn reference() -> Vec<Section> {
    let mut settings = SchemaSettings::default();
    settings.inline_subschemas = true;
    let schema = settings.into_generator().into_root_schema_for::<Raw>();
    let mut reference = Reference {
        sections: Vec::new(),
        defaults: defaults(),
    };
    reference.table("", schema.as_value());
    let unused: Vec<_> = reference.defaults.keys().collect();
    assert!(unused.is_empty(), "defaults of no key: {unused:?}");
    reference.sections
}

fn markdown(sections: &[Section]) -> String {
    let mut text = HEAD.to_owned();
    for section in sections {
        let (level, title) = ("#".repeat(section.level), &section.title);
        text.push_str(&format!("\n{level} {title}\n"));
        if !section.about.is_empty() {
            text.push_str(&format!("\n{}\n", section.about));
        }
        if !section.keys.is_empty() {
            text.push_str("\n| key | type | default | meaning |\n|---|---|---|---|\n");
        }
        for key in &section.keys {
            let Key {
                name,
                shape,
                default,
                meaning,
            } = key;
            text.push_str(&format!("| `{name}` | {shape} | {default} | {meaning} |\n"));
        }
    }
    text
}

/// Returns the sections in the macros of man(7).
fn manual(sections: &[Section]) -> String {
    let mut text = String::new();
    for section in sections {
        // A quotation mark would end the argument of the macro.
        let title = section.title.replace('`', "");
        let title = roff(&title).replace('"', "\\(dq");
        text.push_str(&format!(".SS \"{title}\"\n"));
        if !section.about.is_empty() {
            text.push_str(&format!("{}\n", roff(&section.about)));
        }
        for key in &section.keys {
            let (name, shape, meaning) = (roff(&key.name), &key.shape, roff(&key.meaning));
            let default = match key.default.as_str() {
                "none" => "optional".to_owned(),
                it if it == "required" || it.starts_with("exactly one of") => roff(it),
                it => format!("default: {}", roff(it)),
            };
            let entry = format!(".TP\n\\fB{name}\\fR\n({shape}; {default})\n.br\n{meaning}\n");
            text.push_str(&entry);
        }
    }
    text
}

/// Returns a line of Markdown for man(7): code in bold, links as their text, without requests and
/// escapes of troff.
fn roff(line: &str) -> String {
    let plain = without_links(line);
    let mut out = String::new();
    let mut bold = false;
    for character in plain.chars() {
        match character {
            '`' => {
                bold = !bold;
                out.push_str(if bold { "\\fB" } else { "\\fR" });
            }
            '\\' => out.push_str("\\e"),
            '-' => out.push_str("\\-"),
            '\'' => out.push_str("\\(aq"),
            '^' => out.push_str("\\(ha"),
            '~' => out.push_str("\\(ti"),
            _ if character.is_ascii() => out.push(character),
            _ => out.push_str(&format!("\\[u{:04X}]", u32::from(character))),
        }
    }
    match out.starts_with('.') {
        true => format!("\\&{out}"),
        false => out,
    }
}

/// Returns a line of Markdown with the texts of its links alone.
pub(super) fn without_links(line: &str) -> String {
    let mut plain = line.to_owned();
    while let Some(middle) = plain.find("](") {
        let start = plain[..middle].rfind('[').expect("a link begins with [");
        let end = middle + plain[middle..].find(')').expect("a link ends with )");
        plain = [
            &plain[..start],
            &plain[start + 1..middle],
            &plain[end + 1..],
        ]
        .concat();
    }
    plain
}

/// Compares a file with a text; with `UPDATE_GOLDEN` set, writes the file.
pub(super) fn compare(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, text).unwrap();
    }
    let golden = fs::read_to_string(&path).unwrap_or_default();
    for (number, (is, should)) in golden.lines().zip(text.lines()).enumerate() {
        let at = format!("{name}:{}", number + 1);
        assert_eq!(is, should, "{at}: UPDATE_GOLDEN=1 writes the file again");
    }
    assert_eq!(golden, text);
}

#[test]
fn reference_page_agrees_with_the_types() {
    let page = markdown(&reference());
    // Texts of doc comments that repeat a constant.
    let formats: Vec<_> = Format::NAMES
        .split(", ")
        .map(|it| format!("`{it}`"))
        .collect();
    for name in MappedValue::NAMES.split(", ") {
        assert!(page.contains(&format!("`{name}`")), "no key says {name}");
    }
    for words in [formats.join(", "), format!("1 to {MAX_CALLS_PER_SECOND}, ")] {
        assert!(page.contains(&words), "no key says {words}");
    }
    compare("docs/configuration-reference.md", &page);
}

#[test]
fn manual_page_agrees_with_the_types() {
    let name = "man/stsd-config.5";
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(name);
    let page = fs::read_to_string(path).unwrap();
    let (before, rest) = page.split_once(MANUAL_BEGIN).expect("the first comment");
    let (_, after) = rest.split_once(MANUAL_END).expect("the second comment");
    let list = manual(&reference());
    compare(
        name,
        &[before, MANUAL_BEGIN, &list, MANUAL_END, after].concat(),
    );
}

#[test]
fn roff_line_has_no_links_and_no_requests() {
    let line = ".a [`b`](c.md#d) `[e-f]` g\u{2026}";
    assert_eq!(roff(line), "\\&.a \\fBb\\fR \\fB[e\\-f]\\fR g\\[u2026]");
}
