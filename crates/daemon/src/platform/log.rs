//! The log: entries for systemd's journal, lines of text on stderr, or lines of JSON on stderr.

use std::{
    io::{self, IsTerminal as _, Write as _},
    sync::Mutex,
};

use serde_json::{Map, json};
use stsd_codes::Code;
use stsd_document::printable_lines;
use tracing::{Level, level_filters::LevelFilter, warn};
use tracing_subscriber::{
    filter::Targets, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

use crate::platform::{
    journald::Journal,
    json_log::{self, JsonLog},
    log_fields,
    nonblocking_stderr::NonBlockingWriter,
};

/// The variable that selects lines of JSON.
const FORMAT_VARIABLE: &str = "STSD_LOG_FORMAT";

/// The form of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Entries of systemd's journal.
    Journal,
    /// Lines of text on stderr.
    Text,
    /// Lines of JSON on stderr.
    Json,
}

/// Sets up the log: entries for the journal if the journal reads stderr, else lines on stderr. `level` is
/// the value of `RUST_LOG`, `format` that of `STSD_LOG_FORMAT`: `json` selects lines of JSON, also under
/// systemd.
#[must_use]
pub fn init(level: &str, format: &str) -> LogFormat {
    // By level and target: a filter by fields would add an engine for regular expressions.
    let filter = match level.parse::<Targets>() {
        Ok(filter) if !level.is_empty() => filter,
        _ => Targets::new().with_default(LevelFilter::INFO),
    };
    let is_json = format == "json";
    let journal = (!is_json).then(Journal::behind_stderr).flatten();
    let log_format = match &journal {
        _ if is_json => LogFormat::Json,
        Some(_) => LogFormat::Journal,
        None => LogFormat::Text,
    };
    let json = is_json.then(JsonLog::on_stderr);
    let lines = (log_format == LogFormat::Text).then(|| {
        tracing_subscriber::fmt::layer()
            .with_ansi(io::stderr().is_terminal())
            .fmt_fields(log_fields::printable())
            .with_writer(Mutex::new(NonBlockingWriter::new(io::stderr())))
    });
    let registry = tracing_subscriber::registry();
    let registry = registry.with(filter).with(journal);
    registry.with(json).with(lines).init();
    if !["", "json", "text"].contains(&format) {
        warn!(
            "{FORMAT_VARIABLE} is neither json nor text; the log is text [{}]",
            Code::ConfigVariable
        );
    }
    log_format
}

/// Prints an error that ends the program to stderr, which no filter hides. Its lines may quote files and
/// other programs.
pub fn print_error(error: &str, format: LogFormat) {
    let text = match format {
        LogFormat::Json => {
            let message = Map::from_iter([("message".to_owned(), json!(printable_lines(error)))]);
            json_log::line(&Level::ERROR, "stsd", message)
        }
        LogFormat::Journal | LogFormat::Text => format!("stsd: {}\n", printable_lines(error)),
    };
    let _ = NonBlockingWriter::new(io::stderr()).write_all(text.as_bytes());
}
