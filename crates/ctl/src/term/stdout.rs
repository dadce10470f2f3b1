//! Output to stdout. A failed write is an error of the command. For a closed stdout, the standard
//! library opens `/dev/null` before `main`.

use std::{
    fmt::{self, Write as _},
    io::{self, ErrorKind, Write as _},
};

use anyhow::Result;
use serde::Serialize;
use signal_hook::{consts::SIGPIPE, low_level::emulate_default_handler};
use stsd_document::is_printable;

/// A failed write to stdout.
#[derive(Debug)]
struct StdoutError(io::Error);

impl fmt::Display for StdoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the result cannot be written: {}", self.0)
    }
}

impl std::error::Error for StdoutError {}

/// Writes bytes to stdout and flushes them.
pub(crate) fn write(bytes: &[u8]) -> Result<()> {
    let mut stdout = io::stdout().lock();
    let written = stdout.write_all(bytes).and_then(|()| stdout.flush());
    Ok(written.map_err(StdoutError)?)
}

/// Prints a line.
pub(crate) fn print_line(line: &str) -> Result<()> {
    write(format!("{line}\n").as_bytes())
}

/// Prints the warnings of another program, one line each.
pub(crate) fn print_warnings(warnings: &[String]) -> Result<()> {
    let mut lines = warnings.iter();
    lines.try_for_each(|it| print_line(&format!("warning: {it}")))
}

/// Prints a document as JSON.
pub(crate) fn print_json(document: &impl Serialize) -> Result<()> {
    print_json_text(&serde_json::to_string_pretty(document)?)
}

/// Prints the text of a JSON document. Unprintable characters become JSON escapes, which a program
/// decodes and a terminal does not interpret.
pub(crate) fn print_json_text(text: &str) -> Result<()> {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if c == '\n' || is_printable(c) {
            escaped.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            write!(escaped, "\\u{unit:04x}")?;
        }
    }
    print_line(&escaped)
}

/// Terminates the process by SIGPIPE if the error is a broken pipe on stdout, as filters do. All
/// terminal settings are restored by now.
pub(crate) fn exit_on_broken_pipe(error: &anyhow::Error) {
    let unwritten = error.downcast_ref::<StdoutError>();
    if unwritten.is_some_and(|it| it.0.kind() == ErrorKind::BrokenPipe) {
        let _ = emulate_default_handler(SIGPIPE);
    }
}
