//! What was typed means.

use std::fs;
use std::net::SocketAddr;

use anyhow::{Context as _, Result, bail};
use lexopt::prelude::*;

use crate::Setup;
use crate::clock::Clock;
use crate::world::{World, parse_duration};

/// What `--help` prints.
pub const HELP: &str = "\
A cloud small enough to carry: Alibaba Cloud STS and OSS on loopback.

Usage: stsd-emulator [OPTIONS]

Options:
  --sts ADDRESS          where STS listens (default 127.0.0.1:0; port 0 picks one)
  --oss ADDRESS          where OSS listens (default 127.0.0.1:0)
  --world FILE           what exists, instead of the built-in world
  --print-world          print the built-in world and leave
  --session-life TIME    sessions end this early, such as 60s, however long they were asked for
  --exit-with-stdin      leave when standard input ends
  --help, --version

Prints one line of JSON with both addresses when it is ready.
";

/// What to do.
#[derive(Debug)]
pub enum Action {
    /// Print a text and leave.
    Print(String),
    /// Serve, and leave with standard input if told so.
    Serve(Box<Setup>, bool),
}

/// Reads the arguments, and the world if one is named.
///
/// # Errors
/// What cannot be understood.
pub fn parse(mut parser: lexopt::Parser) -> Result<Action> {
    let any: SocketAddr = ([127, 0, 0, 1], 0).into();
    let mut setup = Setup {
        sts: any,
        oss: any,
        world: World::built_in(),
        session_life: None,
        clock: Clock::system(),
    };
    let mut exit_with_stdin = false;
    while let Some(argument) = parser.next()? {
        match argument {
            Long("help") | Short('h') => return Ok(Action::Print(HELP.to_owned())),
            Long("version") | Short('V') => {
                let version = concat!("stsd-emulator ", env!("CARGO_PKG_VERSION"), "\n");
                return Ok(Action::Print(version.to_owned()));
            }
            Long("print-world") => return Ok(Action::Print(crate::world::BUILT_IN.to_owned())),
            Long("sts") => setup.sts = parser.value()?.parse()?,
            Long("oss") => setup.oss = parser.value()?.parse()?,
            Long("world") => {
                let path = parser.value()?;
                let shown = path.to_string_lossy().into_owned();
                let text = fs::read_to_string(&path).with_context(|| shown.clone())?;
                setup.world = World::parse(&text).with_context(|| shown)?;
            }
            Long("session-life") => {
                let text = parser.value()?.string()?;
                match parse_duration(&text).filter(|it| !it.is_zero()) {
                    Some(life) => setup.session_life = Some(life),
                    None => bail!("--session-life takes a time with its unit, such as 60s"),
                }
            }
            Long("exit-with-stdin") => exit_with_stdin = true,
            _ => return Err(argument.unexpected().into()),
        }
    }
    Ok(Action::Serve(Box::new(setup), exit_with_stdin))
}
