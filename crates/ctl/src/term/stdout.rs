//! Decides how a result gets out: it is there, or the command has failed. A stdout that is closed
//! is none of our matter: the standard library has put `/dev/null` there before `main`.

use std::{
    fmt,
    io::{self, ErrorKind, Write as _},
};

use anyhow::Result;
use signal_hook::{consts::SIGPIPE, low_level::emulate_default_handler};

/// A result did not get out.
#[derive(Debug)]
struct StdoutError(io::Error);

impl fmt::Display for StdoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the result cannot be written: {}", self.0)
    }
}

impl std::error::Error for StdoutError {}

/// Writes to stdout, all of it and now.
pub(crate) fn write(bytes: &[u8]) -> Result<()> {
    let mut stdout = io::stdout().lock();
    let written = stdout.write_all(bytes).and_then(|()| stdout.flush());
    Ok(written.map_err(StdoutError)?)
}

/// Prints a line.
pub(crate) fn print_line(line: &str) -> Result<()> {
    write(format!("{line}\n").as_bytes())
}

/// Ends us as any small program ends whose reader has left: by the signal, without a word. All
/// that is to be put back is by now.
pub(crate) fn exit_on_broken_pipe(error: &anyhow::Error) {
    let unwritten = error.downcast_ref::<StdoutError>();
    if unwritten.is_some_and(|it| it.0.kind() == ErrorKind::BrokenPipe) {
        let _ = emulate_default_handler(SIGPIPE);
    }
}
