//! Decides how a result gets out: it is there, or the command has failed. The one file of this
//! program with unsafe code.

use std::{
    fmt,
    io::{self, ErrorKind, Write as _},
    sync::atomic::{AtomicBool, Ordering},
};

use anyhow::Result;
use rustix::{
    io::{Errno, fcntl_getfd},
    stdio::stdout,
};
use signal_hook::{consts::SIGPIPE, low_level::emulate_default_handler};

/// Nobody has given us a stdout.
static IS_CLOSED: AtomicBool = AtomicBool::new(false);

/// The standard library opens `/dev/null` where a stream is closed, before `main`, and whatever
/// is written there has been written. It has to be looked at earlier.
#[expect(
    unsafe_code,
    reason = "the C library calls what stands in this section, once and before anything else; \
              what it calls touches a number and an atomic"
)]
#[used]
#[unsafe(link_section = ".init_array")]
static EARLY: extern "C" fn() = look;

extern "C" fn look() {
    IS_CLOSED.store(fcntl_getfd(stdout()).is_err(), Ordering::Relaxed);
}

/// A result did not get out.
#[derive(Debug)]
struct Unwritten(io::Error);

impl fmt::Display for Unwritten {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the result cannot be written: {}", self.0)
    }
}

impl std::error::Error for Unwritten {}

/// Writes to stdout, all of it and now.
pub(crate) fn write(bytes: &[u8]) -> Result<()> {
    let written = if IS_CLOSED.load(Ordering::Relaxed) {
        Err(Errno::BADF.into())
    } else {
        let mut stdout = io::stdout().lock();
        stdout.write_all(bytes).and_then(|()| stdout.flush())
    };
    Ok(written.map_err(Unwritten)?)
}

/// Prints a line.
pub(crate) fn say(line: &str) -> Result<()> {
    write(format!("{line}\n").as_bytes())
}

/// Ends us as any small program ends whose reader has left: by the signal, without a word. All
/// that is to be put back is by now.
pub(crate) fn end_with_its_reader(error: &anyhow::Error) {
    let unwritten = error.downcast_ref::<Unwritten>();
    if unwritten.is_some_and(|it| it.0.kind() == ErrorKind::BrokenPipe) {
        let _ = emulate_default_handler(SIGPIPE);
    }
}
