//! `stsd-oss-client`: one OSS operation with credentials of a credential process.

use std::io::{self, Read as _, Write as _};
use std::process::ExitCode;

use anyhow::{Result, bail};
use lexopt::prelude::*;
use stsd_emulator::client::{Client, Credentials};

const USAGE: &str = "\
Usage: stsd-oss-client --endpoint URL --region REGION --credential-process COMMAND
                       put|get|head|list|delete BUCKET [KEY]

put reads the object from standard input, get writes it to standard output.
";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "stsd-oss-client: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let (mut endpoint, mut region, mut process) = (None, None, None);
    let mut words = Vec::new();
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("endpoint") => endpoint = Some(parser.value()?.string()?),
            Long("region") => region = Some(parser.value()?.string()?),
            Long("credential-process") => process = Some(parser.value()?.string()?),
            Long("help") => return Ok(io::stdout().write_all(USAGE.as_bytes())?),
            Value(word) => words.push(word.string()?),
            _ => return Err(argument.unexpected().into()),
        }
    }
    let (Some(endpoint), Some(region), Some(process)) = (endpoint, region, process) else {
        bail!("an option is missing\n{USAGE}");
    };
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (method, bucket, key) = match words[..] {
        ["put", bucket, key] => ("PUT", bucket, key),
        ["get", bucket, key] => ("GET", bucket, key),
        ["head", bucket, key] => ("HEAD", bucket, key),
        ["delete", bucket, key] => ("DELETE", bucket, key),
        ["list", bucket] => ("GET", bucket, ""),
        _ => bail!("no such operation\n{USAGE}"),
    };
    let mut body = Vec::new();
    if method == "PUT" {
        io::stdin().read_to_end(&mut body)?;
    }
    let client = Client {
        endpoint,
        region,
        credentials: Credentials::from_process(&process)?,
    };
    let answer = client.request(method, bucket, key, &body)?;
    let shown = if method == "HEAD" {
        answer.head.into_bytes()
    } else {
        answer.body
    };
    Ok(io::stdout().write_all(&shown)?)
}
