//! crates/daemon/src/config/schema.json, which `stsd --schema` prints, made of the types that a
//! configuration is read into. The generator is a test, so that the daemon has the text alone.
//!
//! `UPDATE_GOLDEN=1 cargo test -p stsd schema` writes the file again.

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};
use stsd_document::Format;

use super::{
    MAX_CALLS_PER_SECOND, Raw,
    raw_source::{KEY_LOCATIONS, KINDS},
    reference,
};

/// The keys of which a source needs exactly one, by its type.
const CHOICES: [(&str, &[&str]); 4] = [
    ("access-key", &KEY_LOCATIONS),
    ("saml", &["assertion_file", "assertion_command"]),
    ("uri", &["uri", "uri_file"]),
    ("process", &["command"]),
];

#[test]
fn schema_agrees_with_the_types() {
    let mut settings = SchemaSettings::draft07();
    settings.inline_subschemas = true;
    let schema = settings.into_generator().into_root_schema_for::<Raw>();
    let mut schema = schema.to_value();
    simplify(&mut schema);
    schema["title"] = json!("stsd");
    schema["description"] = json!("A configuration of stsd, or a fragment of one.");
    let properties = &mut schema["properties"];
    properties["endpoints"]["minItems"] = json!(1);
    properties["endpoints"]["maxItems"] = json!(3);
    properties["sts_calls_per_second"]["minimum"] = json!(1);
    properties["sts_calls_per_second"]["maximum"] = json!(MAX_CALLS_PER_SECOND);
    let name = json!({"pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"});
    properties["profile"]["propertyNames"] = name;
    let formats: Vec<_> = Format::NAMES.split(", ").collect();
    let profile = &mut properties["profile"]["additionalProperties"];
    profile["properties"]["file"]["properties"]["format"]["enum"] = json!(formats);
    restrict_source(&mut properties["source"]["additionalProperties"]);
    let text = format!("{schema:#}\n").replace("  ", " ");
    reference::compare("crates/daemon/src/config/schema.json", &text);
}

/// Adds the types of a source, and the keys of each.
fn restrict_source(source: &mut Value) {
    let kinds = KINDS.map(|(kind, _)| kind);
    source["properties"]["type"]["enum"] = json!(kinds);
    let of_kind = KINDS.map(|(kind, keys)| {
        let names = [&["type"], keys].concat();
        let mut then = json!({"propertyNames": {"enum": names}});
        if let Some((_, choices)) = CHOICES.iter().find(|(it, _)| *it == kind) {
            let choices = choices.iter().map(|it| json!({"required": [it]}));
            then["oneOf"] = choices.collect();
        }
        let of_type = json!({"properties": {"type": {"const": kind}}, "required": ["type"]});
        json!({"if": of_type, "then": then})
    });
    source["allOf"] = json!(of_kind);
}

/// Removes the parts that have no meaning in TOML, which has no null, and the links of the reference.
fn simplify(schema: &mut Value) {
    let Value::Object(object) = schema else {
        return;
    };
    simplify_one(object);
    if let Some(Value::Object(properties)) = object.get_mut("properties") {
        properties.values_mut().for_each(simplify);
    }
    for inner in ["items", "additionalProperties"] {
        object.get_mut(inner).into_iter().for_each(simplify);
    }
}

fn simplify_one(object: &mut Map<String, Value>) {
    object.remove("format");
    object.retain(|key, value| key != "default" || value.is_boolean());
    if let Some(Value::Array(kinds)) = object.get("type") {
        let kind = kinds.iter().find(|it| *it != "null").cloned();
        object.insert("type".to_owned(), kind.unwrap_or_default());
    }
    if let Some(Value::String(said)) = object.get("description") {
        let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
        let said = reference::without_links(&said).replace('`', "");
        object.insert("description".to_owned(), said.into());
    }
}
