//! What `stsd-emulator` was told on its command line.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use lexopt::prelude::*;

use crate::{
    account::model::{World, WorldError, parse_duration},
    emulator::Options,
};

/// The help text.
pub const HELP: &str = "\
stsd-emulator: STS, OSS and instance metadata on loopback, for demos and tests

Usage: stsd-emulator [OPTIONS]

  --sts ADDRESS         where STS listens [default: 127.0.0.1:0, any free port]
  --oss ADDRESS         where OSS listens [default: 127.0.0.1:0, any free port]
  --imds ADDRESS        where instance metadata is [default: 127.0.0.1:0, any free port]
  --world FILE          who and what exists [default: the built-in world]
  --session-life TIME   sessions end this early, like 60s, however long they were asked for
  --print-world         print the built-in world and exit
  --exit-with-stdin     stop when standard input ends, too
  --help, --version

When ready, prints one line: {\"sts\":\"http://…\",\"oss\":\"http://…\",\"imds\":\"http://…\"}
Counters are at GET /_emulator/stats of the STS address, faults at /_emulator/faults; POST to
/_emulator/oidc/token and /_emulator/saml/assertion mints what identity providers sign, and to
/_emulator/imds/rotate replaces the instance's credential.
";

/// What to do.
#[derive(Debug)]
pub enum Command {
    /// Print the help text.
    Help,
    /// Print the version.
    Version,
    /// Print the built-in world.
    PrintWorld,
    /// Run a cloud.
    Run(Run),
}

/// How to run a cloud.
#[derive(Debug, Default)]
pub struct Run {
    /// Where STS listens.
    pub sts: Option<SocketAddr>,
    /// Where OSS listens.
    pub oss: Option<SocketAddr>,
    /// Where the instance's metadata is.
    pub imds: Option<SocketAddr>,
    /// The world's file; without one, the built-in world.
    pub world: Option<PathBuf>,
    /// The longest life of a session.
    pub session_life: Option<Duration>,
    /// Whether the end of standard input is the end of it all.
    pub exit_with_stdin: bool,
}

impl Run {
    /// The world to run.
    ///
    /// # Errors
    ///
    /// Its file cannot be read, or makes no sense.
    pub fn world(&self) -> Result<World, WorldError> {
        self.world
            .as_deref()
            .map_or_else(|| Ok(World::built_in()), World::read)
    }

    /// How to run it.
    #[must_use]
    pub fn options(&self) -> Options {
        let defaults = Options::default();
        Options {
            sts: self.sts.unwrap_or(defaults.sts),
            oss: self.oss.unwrap_or(defaults.oss),
            imds: self.imds.unwrap_or(defaults.imds),
            session_life: self.session_life,
            clock: defaults.clock,
        }
    }
}

/// Reads a command line.
///
/// # Errors
///
/// An option is unknown, or its value has another form.
pub fn parse(mut parser: lexopt::Parser) -> Result<Command, lexopt::Error> {
    let mut run = Run::default();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("sts") => run.sts = Some(address(&mut parser)?),
            Long("oss") => run.oss = Some(address(&mut parser)?),
            Long("imds") => run.imds = Some(address(&mut parser)?),
            Long("world") => run.world = Some(parser.value()?.into()),
            Long("session-life") => {
                let text = parser.value()?.string()?;
                let life = parse_duration(&text)
                    .filter(|life| life.as_secs() > 0)
                    .ok_or_else(|| format!("{text:?} is not a time like 60s or 15m"))?;
                run.session_life = Some(life);
            }
            Long("print-world") => return Ok(Command::PrintWorld),
            Long("exit-with-stdin") => run.exit_with_stdin = true,
            Long("help") | Short('h') => return Ok(Command::Help),
            Long("version") | Short('V') => return Ok(Command::Version),
            other => return Err(other.unexpected()),
        }
    }
    Ok(Command::Run(run))
}

fn address(parser: &mut lexopt::Parser) -> Result<SocketAddr, lexopt::Error> {
    let text = parser.value()?.string()?;
    text.parse()
        .map_err(|_| format!("{text:?} is not an address like 127.0.0.1:0").into())
}
