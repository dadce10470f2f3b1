//! `stsd-oss-client`: one OSS call with credentials of a credential process.
//!
//! It depends on no other crate of the project, so that it takes credentials as any program
//! does: it runs the process at each start and signs with what the process prints.

mod call;
mod credential_process;

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use anyhow::{Context as _, Result};
use call::{Call, Operation};
use lexopt::prelude::*;

const HELP: &str = "\
stsd-oss-client: one OSS call with credentials from a credential process

Usage: stsd-oss-client [OPTIONS] put|get|head|delete BUCKET KEY
       stsd-oss-client [OPTIONS] list BUCKET [PREFIX]

  --endpoint URL              like http://127.0.0.1:PORT (required)
  --region REGION             like cn-hongkong (required)
  --credential-process 'CMD'  prints AccessKeyId, AccessKeySecret and SecurityToken as
                              JSON (required); split at spaces, no shell
  --help, --version

put reads standard input, get writes standard output, head prints the headers and
list the keys. A refusal is printed on standard error; the exit code is 1.
";

enum Command {
    Help,
    Version,
    Call(Call),
}

fn main() -> ExitCode {
    let command = match parse(lexopt::Parser::from_env()) {
        Ok(command) => command,
        Err(error) => {
            complain(&format!("{error}; see stsd-oss-client --help"));
            return ExitCode::from(2);
        }
    };
    let done = match command {
        Command::Help => print(HELP),
        Command::Version => print(concat!("stsd-oss-client ", env!("CARGO_PKG_VERSION"), "\n")),
        Command::Call(call) => call.run(&mut io::stdin().lock(), &mut io::stdout().lock()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn parse(mut parser: lexopt::Parser) -> Result<Command, lexopt::Error> {
    let (mut endpoint, mut region, mut process) = (None, None, None);
    let mut words = Vec::new();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("endpoint") => endpoint = Some(parser.value()?.string()?),
            Long("region") => region = Some(parser.value()?.string()?),
            Long("credential-process") => process = Some(parser.value()?.string()?),
            Long("help") | Short('h') => return Ok(Command::Help),
            Long("version") | Short('V') => return Ok(Command::Version),
            Value(word) => words.push(word.string()?),
            other => return Err(other.unexpected()),
        }
    }
    let mut words = words.into_iter();
    let name = words.next().ok_or("no operation")?;
    let operation = Operation::named(&name)
        .ok_or_else(|| format!("{name:?} is none of put, get, head, list, delete"))?;
    let bucket = words.next().ok_or("no bucket")?;
    let key = words.next().unwrap_or_default();
    if key.is_empty() && operation != Operation::List {
        return Err("no key".into());
    }
    if let Some(extra) = words.next() {
        return Err(format!("{extra:?} is one word too many").into());
    }
    let endpoint = endpoint.ok_or("--endpoint is missing")?;
    let endpoint = endpoint.trim_end_matches('/');
    let host = endpoint.strip_prefix("http://").unwrap_or_default();
    if host.is_empty() || host.contains(['/', '?', '#']) {
        return Err("--endpoint must be like http://127.0.0.1:PORT".into());
    }
    Ok(Command::Call(Call {
        endpoint: endpoint.to_owned(),
        region: region.ok_or("--region is missing")?,
        credential_process: process.ok_or("--credential-process is missing")?,
        operation,
        bucket,
        key,
    }))
}

fn print(text: &str) -> Result<()> {
    let written = io::stdout().lock().write_all(text.as_bytes());
    written.context("cannot write to standard output")
}

fn complain(text: &str) {
    let _ = writeln!(io::stderr(), "stsd-oss-client: {text}");
}
