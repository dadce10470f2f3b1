//! Every key of a configuration: its table, its type, and an example for the message of a wrong value.

/// A key of a table.
#[derive(Debug)]
pub(super) struct KnownKey {
    pub name: &'static str,
    pub shape: Shape,
    pub is_required: bool,
    /// A line of TOML that is valid for the key.
    pub example: &'static str,
}

/// The type of a value.
#[derive(Debug, Clone, Copy)]
pub(super) enum Shape {
    Text,
    /// A text that is a path.
    Path,
    Number,
    Switch,
    /// A list of texts.
    List,
    /// A list of texts that are paths.
    Paths,
    /// A list of texts: the path of a program, and its arguments.
    Program,
    /// A table of texts; the user chooses the keys.
    TextTable,
    /// A table with these keys.
    Table(&'static [KnownKey]),
    /// A table of tables with these keys; the user chooses their names.
    NamedTables(&'static [KnownKey]),
}

impl Shape {
    /// Returns `true` if the text at an index of a list is a path.
    pub(super) fn is_path(self, index: usize) -> bool {
        matches!(self, Self::Paths) || (matches!(self, Self::Program) && index == 0)
    }
}

/// The keys of the top level.
pub(super) const TOP_LEVEL: &[KnownKey] = &[
    optional("region", Shape::Text, "region = \"cn-hangzhou\""),
    optional("vpc", Shape::Switch, "vpc = true"),
    optional(
        "endpoint",
        Shape::Text,
        "endpoint = \"https://sts.cn-hangzhou.aliyuncs.com\"",
    ),
    optional(
        "endpoints",
        Shape::List,
        "endpoints = [\"https://sts.cn-hangzhou.aliyuncs.com\", \"https://sts.aliyuncs.com\"]",
    ),
    optional(
        "sts_calls_per_second",
        Shape::Number,
        "sts_calls_per_second = 20",
    ),
    optional("fleet_spread", Shape::Text, "fleet_spread = \"20m\""),
    optional("reload", Shape::Text, "reload = \"on-change\""),
    optional("keep_sessions", Shape::Switch, "keep_sessions = true"),
    optional("audit", Shape::Table(AUDIT), "[audit]"),
    optional("http", Shape::Table(HTTP), "[http]"),
    optional("metrics", Shape::Table(METRICS), "[metrics]"),
    optional("source", Shape::NamedTables(SOURCE), "[source.NAME]"),
    optional("profile", Shape::NamedTables(PROFILE), "[profile.NAME]"),
];

const AUDIT: &[KnownKey] = &[optional(
    "file",
    Shape::Path,
    "file = \"/var/log/stsd/audit.jsonl\"",
)];

const HTTP: &[KnownKey] = &[
    optional("listen", Shape::Text, "listen = \"127.0.0.1:7787\""),
    optional("secret_file", Shape::Path, "secret_file = \"http.secret\""),
];

const METRICS: &[KnownKey] = &[required(
    "listen",
    Shape::Text,
    "listen = \"127.0.0.1:9463\"",
)];

const SOURCE: &[KnownKey] = &[
    required("type", Shape::Text, "type = \"access-key\""),
    optional(
        "access_key_file",
        Shape::Path,
        "access_key_file = \"uploader.key\"",
    ),
    optional(
        "access_key_credential",
        Shape::Text,
        "access_key_credential = \"uploader.key\"",
    ),
    optional(
        "access_key_keyring",
        Shape::Text,
        "access_key_keyring = \"uploader\"",
    ),
    optional(
        "access_key_env",
        Shape::Table(KEY_VARIABLES),
        "access_key_env = { id = \"ID_VARIABLE\", secret = \"SECRET_VARIABLE\" }",
    ),
    optional(
        "provider_arn",
        Shape::Text,
        "provider_arn = \"acs:ram::123456789012:oidc-provider/NAME\"",
    ),
    optional("token_file", Shape::Path, "token_file = \"/run/token\""),
    optional(
        "token_command",
        Shape::Program,
        "token_command = [\"/usr/local/bin/token\", \"--flag\"]",
    ),
    optional(
        "assertion_file",
        Shape::Path,
        "assertion_file = \"/run/assertion\"",
    ),
    optional(
        "assertion_command",
        Shape::Program,
        "assertion_command = [\"/usr/local/bin/assertion\", \"--flag\"]",
    ),
    optional("role_name", Shape::Text, "role_name = \"ecs-uploader\""),
    optional("allow_v1", Shape::Switch, "allow_v1 = true"),
    optional(
        "metadata_endpoint",
        Shape::Text,
        "metadata_endpoint = \"http://100.100.100.200\"",
    ),
    optional("uri", Shape::Text, "uri = \"https://host/path\""),
    optional("uri_file", Shape::Path, "uri_file = \"uploader.uri\""),
    optional(
        "command",
        Shape::Program,
        "command = [\"/usr/local/bin/issue\", \"--flag\"]",
    ),
    optional(
        "writable",
        Shape::Paths,
        "writable = [\"/var/cache/issue\"]",
    ),
    optional("environment", Shape::List, "environment = [\"NAME\"]"),
];

const KEY_VARIABLES: &[KnownKey] = &[
    required("id", Shape::Text, "id = \"ID_VARIABLE\""),
    required("secret", Shape::Text, "secret = \"SECRET_VARIABLE\""),
];

const PROFILE: &[KnownKey] = &[
    required("source", Shape::Text, "source = \"uploader\""),
    optional(
        "role_arn",
        Shape::Text,
        "role_arn = \"acs:ram::123456789012:role/oss-upload\"",
    ),
    optional(
        "role_session_name",
        Shape::Text,
        "role_session_name = \"{user}-{host}\"",
    ),
    optional("duration", Shape::Text, "duration = \"1h\""),
    optional(
        "policy",
        Shape::Text,
        "policy = '{\"Version\": \"1\", \"Statement\": [ … ]}'",
    ),
    optional("policy_file", Shape::Path, "policy_file = \"narrow.json\""),
    optional("external_id", Shape::Text, "external_id = \"partner-42\""),
    optional(
        "source_identity",
        Shape::Text,
        "source_identity = \"backup\"",
    ),
    optional("keep_warm", Shape::Switch, "keep_warm = true"),
    optional("file", Shape::Table(FILE), "[profile.NAME.file]"),
    optional(
        "on_renewal",
        Shape::Program,
        "on_renewal = [\"/usr/bin/systemctl\", \"reload\", \"nginx\"]",
    ),
    optional(
        "on_failure",
        Shape::Program,
        "on_failure = [\"/usr/local/bin/page\", \"stsd\"]",
    ),
    optional(
        "writable",
        Shape::Paths,
        "writable = [\"/var/cache/issue\"]",
    ),
    optional("environment", Shape::List, "environment = [\"NAME\"]"),
    optional("allow", Shape::List, "allow = [\"user:backup\"]"),
];

const FILE: &[KnownKey] = &[
    required(
        "path",
        Shape::Path,
        "path = \"/run/backup/credentials.json\"",
    ),
    optional("format", Shape::Text, "format = \"aliyun\""),
    optional(
        "keys",
        Shape::TextTable,
        "keys = { sts_key_id = \"access_key_id\", sts_key_secret = \"access_key_secret\" }",
    ),
];

/// All tables, with their names in a message.
const TABLES: [(&str, &[KnownKey]); 8] = [
    ("the top level", TOP_LEVEL),
    ("[audit]", AUDIT),
    ("[http]", HTTP),
    ("[metrics]", METRICS),
    ("[source.NAME]", SOURCE),
    ("access_key_env", KEY_VARIABLES),
    ("[profile.NAME]", PROFILE),
    ("[profile.NAME.file]", FILE),
];

/// Returns the tables, the top level included, that have a key of a name.
pub(super) fn tables_with(name: &str) -> Vec<&'static str> {
    let having = TABLES
        .into_iter()
        .filter(|(_, keys)| keys.iter().any(|it| it.name == name));
    having.map(|(table, _)| table).collect()
}

/// Returns the example of a key that has one meaning in all tables; `None` for another name.
pub(super) fn example(name: &str) -> Option<&'static str> {
    let mut all = TABLES.into_iter().flat_map(|(_, keys)| keys);
    all.find(|it| it.name == name).map(|it| it.example)
}

const fn optional(name: &'static str, shape: Shape, example: &'static str) -> KnownKey {
    KnownKey {
        name,
        shape,
        is_required: false,
        example,
    }
}

const fn required(name: &'static str, shape: Shape, example: &'static str) -> KnownKey {
    KnownKey {
        name,
        shape,
        is_required: true,
        example,
    }
}

#[cfg(test)]
mod tests {
    use schemars::generate::SchemaSettings;
    use serde_json::Value;

    use super::{super::Raw, KnownKey, Shape, TOP_LEVEL};

    /// Checks a table against the schema of the type that it is read into.
    fn check(path: &str, keys: &[KnownKey], schema: &Value) {
        let names = |schema: &Value| {
            let all = schema["properties"].as_object().into_iter().flatten();
            all.map(|it| it.0.clone()).collect::<Vec<_>>()
        };
        let mut known: Vec<_> = keys.iter().map(|it| it.name.to_owned()).collect();
        known.sort();
        assert_eq!(known, names(schema), "[{path}]");
        for key in keys {
            let property = &schema["properties"][key.name];
            let path = format!("{path}.{}", key.name);
            let kind = match property["type"].as_array() {
                Some(kinds) => kinds[0].as_str(),
                None => property["type"].as_str(),
            };
            let required = schema["required"].as_array().into_iter().flatten();
            let is_required = required.into_iter().any(|it| it == key.name);
            assert_eq!(key.is_required, is_required, "{path}");
            let expected = match key.shape {
                Shape::Text | Shape::Path => "string",
                Shape::Number => "integer",
                Shape::Switch => "boolean",
                Shape::List | Shape::Paths | Shape::Program => "array",
                Shape::TextTable | Shape::Table(_) | Shape::NamedTables(_) => "object",
            };
            assert_eq!(kind, Some(expected), "{path}");
            match key.shape {
                Shape::Table(keys) => check(&path, keys, property),
                Shape::NamedTables(keys) => check(&path, keys, &property["additionalProperties"]),
                _ => {}
            }
            let is_header = key.example.starts_with('[');
            assert!(
                is_header || toml::from_str::<toml::Table>(key.example).is_ok(),
                "{path}"
            );
        }
    }

    #[test]
    fn known_keys_are_those_of_the_types() {
        let mut settings = SchemaSettings::default();
        settings.inline_subschemas = true;
        let schema = settings.into_generator().into_root_schema_for::<Raw>();
        check("", TOP_LEVEL, schema.as_value());
    }
}
