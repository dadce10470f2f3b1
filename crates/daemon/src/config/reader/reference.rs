//! Decides how docs/configuration-reference.md looks, which is made of the types that a
//! configuration is read into: their keys, their doc comments, and the defaults that the code
//! itself uses.
//!
//! `UPDATE_GOLDEN=1 cargo test -p stsd reference` writes the page anew.

use std::{collections::BTreeMap, fs, path::Path};

use schemars::generate::SchemaSettings;
use serde_json::Value;
use stsd_document::Format;
use stsd_sts::Endpoint;

use super::{
    DEFAULT_CALLS_PER_SECOND, MOST_CALLS_PER_SECOND, Raw,
    profile::{DEFAULT_SESSION_NAME, ROLE_VARIABLE, SESSION_NAME_VARIABLE},
    source::{KEEPERS, KINDS, PROVIDER_VARIABLE, TOKEN_VARIABLE},
};
use crate::{profile::SessionDuration, source::MetadataEndpoint};

const HEAD: &str = "# Configuration reference

Every table and every key, with what is so without it. This page is made of the types that the
daemon reads its configuration into, and a test compares the two; [configuration.md](configuration.md)
has what they are for, with examples.

Files are named relative to the configuration file. A key that is not here is refused.
";

/// Where a table stands, as a header in the file; sources have a page's part for each type.
type Place<'a> = (&'a str, &'a str);

/// What is so without a key, where its type does not say it.
fn defaults() -> BTreeMap<Place<'static>, String> {
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
    // The one whose name is read as the default.
    let format = Format::NAMES
        .split(", ")
        .find(|it| Format::from_name(it) == Some(Format::default()))
        .unwrap();
    let endpoint = literal(Endpoint::global().authority());
    let mut defaults = BTreeMap::from([
        (("", "region"), format!("the global {endpoint}")),
        (("", "endpoint"), "by `region`, `vpc` or neither".to_owned()),
        (
            ("", "sts_calls_per_second"),
            literal(&DEFAULT_CALLS_PER_SECOND.to_string()),
        ),
        (("audit", "file"), "the log alone".to_owned()),
        (("oidc", "provider_arn"), of_environment(PROVIDER_VARIABLE)),
        (("oidc", "token_file"), of_environment(TOKEN_VARIABLE)),
        (("saml", "provider_arn"), "required".to_owned()),
        (
            ("ecs-role", "role_name"),
            "the one that its metadata name, asked for each time".to_owned(),
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
        (("profile.NAME", "on_renewal"), "nothing is run".to_owned()),
        (
            ("profile.NAME", "allow"),
            "a user's daemon: its user; with `--system`: nobody".to_owned(),
        ),
        (("profile.NAME.file", "format"), quoted(format)),
    ]);
    let choices: [(&str, &[&str]); 3] = [
        ("access-key", &KEEPERS),
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

/// The page, while it is written.
struct Page {
    text: String,
    /// Those that have not been needed so far.
    defaults: BTreeMap<Place<'static>, String>,
}

impl Page {
    /// Writes a table of the file, and those in it.
    fn table(&mut self, name: &str, schema: &Value) {
        let title = match name {
            "" => "Top level".to_owned(),
            _ => format!("`[{name}]`"),
        };
        self.text.push_str(&format!("\n## {title}\n"));
        if !name.is_empty() {
            self.text
                .push_str(&format!("\n{}\n", sentence(name, schema)));
        }
        if name == "source.NAME" {
            self.source(name, schema);
        } else {
            self.keys(name, name, schema, &sorted(schema));
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

    /// A source's type decides which keys there are.
    fn source(&mut self, name: &str, schema: &Value) {
        self.keys(name, name, schema, &["type"]);
        for (kind, keys) in KINDS {
            let title = format!("\n### `[{name}]` with `type = \"{kind}\"`\n");
            self.text.push_str(&title);
            self.keys(name, kind, schema, keys);
            for key in keys {
                let inner = &schema["properties"][key];
                if is_table(inner) {
                    let path = format!("{name}.{key}");
                    self.text.push_str(&format!("\n### `[{path}]`\n"));
                    self.keys(&path, &path, inner, &sorted(inner));
                }
            }
        }
    }

    fn keys(&mut self, name: &str, place: &str, schema: &Value, keys: &[&str]) {
        let rows = keys
            .iter()
            .filter(|it| !holds_tables(name, &schema["properties"][**it]));
        let rows: Vec<_> = rows.collect();
        if rows.is_empty() {
            return;
        }
        self.text
            .push_str("\n| key | type | default | meaning |\n|---|---|---|---|\n");
        for key in rows {
            let property = &schema["properties"][*key];
            let meaning = sentence(&format!("{name}.{key}"), property);
            let default = self.default(place, key, schema);
            let shape = shape(property);
            self.text
                .push_str(&format!("| `{key}` | {shape} | {default} | {meaning} |\n"));
        }
    }

    fn default(&mut self, place: &str, key: &str, schema: &Value) -> String {
        let known = self
            .defaults
            .keys()
            .find(|it| **it == (place, key))
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

/// What a table has to have comes first.
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

/// The schema of the tables whose names are up to who writes them.
fn of_any_name(schema: &Value) -> Option<&Value> {
    Some(&schema["additionalProperties"]).filter(|it| is_table(it))
}

/// Those have a part of the page for themselves.
fn holds_tables(name: &str, schema: &Value) -> bool {
    of_any_name(schema).is_some() || (is_table(schema) && name != "source.NAME")
}

/// What is said of a key, in one line.
fn sentence(key: &str, schema: &Value) -> String {
    let said = schema["description"].as_str().unwrap_or_default();
    assert!(
        !said.is_empty(),
        "nothing is said of {key}: give it a doc comment"
    );
    assert!(!said.contains('|'), "{key}: a cell of a table ends at |");
    said.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The type, in TOML's words.
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
        kind => kind.to_owned(),
    }
}

fn page() -> String {
    let mut settings = SchemaSettings::default();
    settings.inline_subschemas = true;
    let schema = settings.into_generator().into_root_schema_for::<Raw>();
    let mut page = Page {
        text: HEAD.to_owned(),
        defaults: defaults(),
    };
    page.table("", schema.as_value());
    // What a sentence has of a constant.
    let formats: Vec<_> = Format::NAMES
        .split(", ")
        .map(|it| format!("`{it}`"))
        .collect();
    for words in [
        formats.join(", "),
        format!("1 to {MOST_CALLS_PER_SECOND}, "),
    ] {
        assert!(page.text.contains(&words), "no key says {words}");
    }
    let unused: Vec<_> = page.defaults.keys().collect();
    assert!(unused.is_empty(), "defaults of no key: {unused:?}");
    page.text
}

#[test]
fn the_reference_says_what_the_types_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration-reference.md");
    let page = page();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, &page).unwrap();
    }
    let golden = fs::read_to_string(&path).unwrap_or_default();
    for (number, (is, should)) in golden.lines().zip(page.lines()).enumerate() {
        let at = format!("docs/configuration-reference.md:{}", number + 1);
        assert_eq!(is, should, "{at}: UPDATE_GOLDEN=1 writes it anew");
    }
    assert_eq!(golden, page);
}
