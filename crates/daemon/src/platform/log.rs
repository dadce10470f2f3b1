//! The log: entries for systemd's journal, or lines on stderr.

use std::{
    io::{self, IsTerminal as _},
    sync::Mutex,
};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::{
    filter::Targets, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

use crate::platform::{journald::Journal, log_fields, nonblocking_stderr::NonBlockingWriter};

/// Sets up the log: entries for the journal if the journal reads stderr, else lines on stderr. Returns
/// `true` for the journal. `level` is the value of `RUST_LOG`.
#[must_use]
pub fn init(level: &str) -> bool {
    // By level and target: a filter by fields would add an engine for regular expressions.
    let filter = match level.parse::<Targets>() {
        Ok(filter) if !level.is_empty() => filter,
        _ => Targets::new().with_default(LevelFilter::INFO),
    };
    let journal = Journal::behind_stderr();
    let in_journal = journal.is_some();
    let lines = (!in_journal).then(|| {
        tracing_subscriber::fmt::layer()
            .with_ansi(io::stderr().is_terminal())
            .fmt_fields(log_fields::printable())
            .with_writer(Mutex::new(NonBlockingWriter::new(io::stderr())))
    });
    let registry = tracing_subscriber::registry();
    registry.with(filter).with(journal).with(lines).init();
    in_journal
}
