//! Output to stdout. A failed write is an error of the command. For a closed stdout, the standard
//! library opens `/dev/null` before `main`.

use std::{
    fmt,
    io::{self, ErrorKind, Write as _},
};

use anyhow::Result;
use signal_hook::{consts::SIGPIPE, low_level::emulate_default_handler};

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

/// Terminates the process by SIGPIPE if the error is a broken pipe on stdout, as filters do. All
/// terminal settings are restored by now.
pub(crate) fn exit_on_broken_pipe(error: &anyhow::Error) {
    let unwritten = error.downcast_ref::<StdoutError>();
    if unwritten.is_some_and(|it| it.0.kind() == ErrorKind::BrokenPipe) {
        let _ = emulate_default_handler(SIGPIPE);
    }
}
