//! The command line of `stsd-emulator`.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use lexopt::prelude::*;

use crate::{
    account::{self, AccountModel, AccountModelError},
    duration::parse_duration,
    emulator::Options,
};

/// The help text.
pub const HELP: &str = "\
stsd-emulator: STS, OSS and instance metadata on loopback, for demos and tests

Usage: stsd-emulator [OPTIONS]

  --sts ADDRESS         address of STS [default: 127.0.0.1:0, any free port]
  --oss ADDRESS         address of OSS [default: 127.0.0.1:0, any free port]
  --imds ADDRESS        address of the instance metadata [default: 127.0.0.1:0, any free port]
  --world FILE          account model: users, keys, roles, buckets [default: --print-world]
  --session-life TIME   maximum lifetime of each session, like 60s
  --tls DIR             serve HTTPS too, and write the CA of this start to DIR/ca.pem
  --print-world         print the default account model and exit
  --exit-with-stdin     also stop at the end of standard input
  --help, --version

When ready, prints one line: {\"sts\":\"http://…\",\"oss\":\"http://…\",\"imds\":\"http://…\"}
With --tls it also has \"sts_https\", \"oss_https\" and \"ca\", the file of the CA.

On the STS address:
  GET, DELETE  /_emulator/stats           return the counters, or set them to zero
  POST         /_emulator/faults          add a fault to the queue
  GET, DELETE  /_emulator/faults          return the queue, or empty it
  POST         /_emulator/keys            {\"id\":\"LTAI…\",\"status\":\"inactive\"} or \"active\"
  POST         /_emulator/imds/rotate     replace the credentials of the instance
  GET          /_emulator/oidc/keys       the public keys of the OIDC providers
  POST         /_emulator/oidc/token      {\"provider\":\"demo\",\"subject\":\"s\"}
  POST         /_emulator/saml/assertion  {\"provider\":\"demo\",\"subject\":\"s\",\"roles\":[\"oss-upload\"]}

A fault: {\"action\":\"oss:UploadPart\",\"times\":2,\"fault\":{\"kind\":\"error\",\"code\":\"InternalError\"}}
  action   AssumeRole, AssumeRoleWithOIDC, AssumeRoleWithSAML, GetCallerIdentity, other,
           oss:OPERATION, oss:other, oss:*, imds:Token, imds:Role, imds:Credentials,
           imds:other, imds:*, *
  limit    \"times\":N calls, or \"for\":\"5s\"; without both, until the queue is emptied
  kind     error (code, status, message), throttle (retry_after_millis), delay (millis), hang,
           reset, half-body, html, wrong-date (offset_seconds), expired, empty, beyond,
           unsuccessful (code)
";

/// The command of a command line.
#[derive(Debug)]
pub enum Command {
    /// Print the help text.
    Help,
    /// Print the version.
    Version,
    /// Print the default account model.
    PrintAccountModel,
    /// Run an emulator.
    Run(RunOptions),
}

/// The options of a run.
#[derive(Debug, Default)]
pub struct RunOptions {
    /// The address of STS.
    pub sts: Option<SocketAddr>,
    /// The address of OSS.
    pub oss: Option<SocketAddr>,
    /// The address of the metadata service.
    pub imds: Option<SocketAddr>,
    /// The file of the account model; `None` for the default model.
    pub account_file: Option<PathBuf>,
    /// Maximum lifetime of each session.
    pub max_session_lifetime: Option<Duration>,
    /// The directory for the certificate of HTTPS; `None` for HTTP alone.
    pub tls_directory: Option<PathBuf>,
    /// `true` if the end of standard input stops the program.
    pub exit_with_stdin: bool,
}

impl RunOptions {
    /// Reads the account model.
    ///
    /// # Errors
    ///
    /// Its file is not readable or invalid.
    pub fn account_model(&self) -> Result<AccountModel, AccountModelError> {
        self.account_file
            .as_deref()
            .map_or_else(|| Ok(account::default_model()), account::read)
    }

    /// Returns the options of the emulator.
    #[must_use]
    pub fn emulator_options(&self) -> Options {
        let defaults = Options::default();
        Options {
            sts: self.sts.unwrap_or(defaults.sts),
            oss: self.oss.unwrap_or(defaults.oss),
            imds: self.imds.unwrap_or(defaults.imds),
            max_session_lifetime: self.max_session_lifetime,
            tls_directory: self.tls_directory.clone(),
            clock: defaults.clock,
        }
    }
}

/// Parses a command line.
///
/// # Errors
///
/// An option is unknown, or its value is invalid.
pub fn parse(mut parser: lexopt::Parser) -> Result<Command, lexopt::Error> {
    let mut options = RunOptions::default();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("sts") => options.sts = Some(address(&mut parser)?),
            Long("oss") => options.oss = Some(address(&mut parser)?),
            Long("imds") => options.imds = Some(address(&mut parser)?),
            Long("world") => options.account_file = Some(parser.value()?.into()),
            Long("session-life") => {
                let text = parser.value()?.string()?;
                let lifetime = parse_duration(&text)
                    .filter(|lifetime| lifetime.as_secs() > 0)
                    .ok_or_else(|| format!("{text:?} is not a duration like 60s or 15m"))?;
                options.max_session_lifetime = Some(lifetime);
            }
            Long("tls") => options.tls_directory = Some(parser.value()?.into()),
            Long("print-world") => return Ok(Command::PrintAccountModel),
            Long("exit-with-stdin") => options.exit_with_stdin = true,
            Long("help") | Short('h') => return Ok(Command::Help),
            Long("version") | Short('V') => return Ok(Command::Version),
            other => return Err(other.unexpected()),
        }
    }
    Ok(Command::Run(options))
}

fn address(parser: &mut lexopt::Parser) -> Result<SocketAddr, lexopt::Error> {
    let text = parser.value()?.string()?;
    text.parse()
        .map_err(|_| format!("{text:?} is not an address like 127.0.0.1:0").into())
}
