//! The log layer for collectors: each event is a line of JSON on stderr, with its fields as keys.

use std::{
    fmt,
    io::{self, Write as _},
    sync::Mutex,
};

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use stsd_document::Printable;
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::layer::{Context, Layer};

use crate::{platform::nonblocking_stderr::NonBlockingWriter, runtime::sync::lock};

/// The log layer for lines of JSON.
pub(super) struct JsonLog(Mutex<NonBlockingWriter<io::Stderr>>);

impl JsonLog {
    pub(super) fn on_stderr() -> Self {
        Self(Mutex::new(NonBlockingWriter::new(io::stderr())))
    }
}

impl<S: Subscriber> Layer<S> for JsonLog {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        let mut fields = Fields(Map::new());
        event.record(&mut fields);
        let line = line(metadata.level(), metadata.target(), fields.0);
        let _ = lock(&self.0).write_all(line.as_bytes());
    }
}

/// Returns a line of the log, with its end.
#[expect(
    clippy::disallowed_methods,
    reason = "the time of a line; no schedule depends on it"
)]
pub(super) fn line(level: &Level, target: &str, mut fields: Map<String, Value>) -> String {
    let level = level.as_str().to_ascii_lowercase();
    let time = Timestamp::now().to_string();
    for (key, value) in [("time", &*time), ("level", &level), ("target", target)] {
        fields.insert(key.to_owned(), json!(value));
    }
    // JSON has no line break in a text.
    format!("{}\n", Value::Object(fields))
}

/// The fields of an event, with numbers and truth values as such.
struct Fields(Map<String, Value>);

impl Fields {
    fn add(&mut self, field: &Field, value: Value) {
        self.0.insert(field.name().to_owned(), value);
    }
}

impl Visit for Fields {
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, Printable(value).to_string().into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value, json};
    use tracing::Level;

    use super::line;

    #[test]
    fn line_is_one_object_whatever_a_text_holds() {
        let mut fields = Map::new();
        fields.insert("message".to_owned(), json!("a\n{\"level\":\"info\"}\u{1b}"));
        fields.insert("level".to_owned(), json!("forged"));
        let line = line(&Level::WARN, "audit", fields);
        assert_eq!(line.matches('\n').count(), 1, "{line}");
        let parsed: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(parsed["level"], "warn");
        assert_eq!(parsed["message"], "a\n{\"level\":\"info\"}\u{1b}");
        assert!(parsed["time"].as_str().unwrap().ends_with('Z'), "{line}");
    }
}
