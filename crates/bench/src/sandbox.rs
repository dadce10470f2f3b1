//! The environment of a measured daemon: the emulator, a session in memory, a rule for each
//! profile, and the audit in a file. All features of the daemon are switched on.

use std::{
    fmt::Write as _,
    fs::{self, DirBuilder, OpenOptions},
    io::Write as _,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, geteuid},
};
use serde_json::Value;
use stsd_client::Client;
use tempfile::TempDir;

use crate::{
    load::{Address, Target},
    machine::{SERVER_CPU, pin_to_cpu},
    process::{Process, Programs, wait_until},
};

/// The profile of the measured requests.
pub(crate) const PROFILE: &str = "oss-upload";

/// Timeout of the first request of a profile, which waits for STS.
const FIRST_SESSION_TIMEOUT: Duration = Duration::from_secs(30);

/// Timeout of a request to the control address, which the emulator answers from memory.
const CONTROL_TIMEOUT_SECONDS: u64 = 30;

/// A daemon and its emulator, in a temporary directory.
pub(crate) struct Sandbox {
    directory: TempDir,
    sts: String,
    _emulator: Process,
    daemon: Option<Process>,
    /// The process id of the daemon, if the daemon was started by a tool.
    wrapped_pid: Option<Pid>,
}

/// The options of a daemon.
#[derive(Clone)]
pub(crate) struct DaemonOptions<'a> {
    /// The program.
    pub(crate) daemon: PathBuf,
    /// The command line of the tool that starts the daemon; empty without a tool.
    pub(crate) wrapper: &'a [&'a str],
    /// The number of profiles. The first one is [`PROFILE`].
    pub(crate) profiles: usize,
    /// `true` to switch the HTTP endpoint on.
    pub(crate) http: bool,
}

impl<'a> DaemonOptions<'a> {
    pub(crate) fn new(programs: &Programs) -> Self {
        Self {
            daemon: programs.required("stsd"),
            wrapper: &[],
            profiles: 1,
            http: false,
        }
    }

    pub(crate) fn with_wrapper(programs: &Programs, wrapper: &'a [&'a str]) -> Self {
        Self {
            wrapper,
            ..Self::new(programs)
        }
    }
}

impl Sandbox {
    /// Starts a daemon, and waits for the session of [`PROFILE`].
    pub(crate) fn with_session(programs: &Programs, options: &DaemonOptions<'_>) -> Result<Self> {
        let sandbox = Self::without_session(programs, options)?;
        sandbox
            .client()
            .credentials(PROFILE, Duration::ZERO, FIRST_SESSION_TIMEOUT)?;
        Ok(sandbox)
    }

    /// Starts a daemon without sessions.
    pub(crate) fn without_session(
        programs: &Programs,
        options: &DaemonOptions<'_>,
    ) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("stsd-bench-").tempdir()?;
        let mut emulator = Command::new(programs.required("stsd-emulator"));
        let (emulator, line) = Process::start_with_ready_line(emulator.arg("--exit-with-stdin"))?;
        let addresses: Value = serde_json::from_str(&line)?;
        let sts = addresses["sts"].as_str().context("no address of STS")?;
        let mut sandbox = Self {
            sts: sts.to_owned(),
            directory,
            _emulator: emulator,
            daemon: None,
            wrapped_pid: None,
        };
        DirBuilder::new().mode(0o700).create(sandbox.path("run"))?;
        let key = "access_key_id = \"LTAIEXAMPLEUPLOADER01\"\n\
            access_key_secret = \"ExampleSecretOfUploader000001\"\n";
        write_private(&sandbox.path("uploader.key"), key)?;
        write_private(&sandbox.path("config.toml"), &sandbox.config(options)?)?;
        sandbox.start(options)?;
        if !options.wrapper.is_empty() {
            let pid = sandbox.client().status()?.pid;
            sandbox.wrapped_pid = Some(Pid::from_raw(pid.cast_signed()));
        }
        Ok(sandbox)
    }

    fn config(&self, options: &DaemonOptions<'_>) -> Result<String> {
        let mut config = format!(
            "endpoint = \"{}\"\nsts_calls_per_second = 100\n\n\
             [source.uploader]\ntype = \"access-key\"\naccess_key_file = \"uploader.key\"\n\n\
             [audit]\nfile = \"{}\"\n\n",
            self.sts,
            self.path("audit.jsonl").display()
        );
        if options.http {
            config.push_str("[http]\nlisten = \"127.0.0.1:0\"\n\n");
        }
        let role = "role_arn=\"acs:ram::100000000000001:role/oss-upload\"\n";
        write!(
            config,
            "[profile.{PROFILE}]\nsource = \"uploader\"\nallow = [\"user:{}\"]\n{role}",
            geteuid()
        )?;
        // With short names and no rule: the maximum size of a configuration is a megabyte.
        for index in 1..options.profiles {
            write!(
                config,
                "[profile.{}]\nsource=\"uploader\"\n{role}",
                profile(index)
            )?;
        }
        Ok(config)
    }

    fn start(&mut self, options: &DaemonOptions<'_>) -> Result<()> {
        let mut words = options.wrapper.iter().map(|it| (*it).into());
        let program = options.daemon.clone().into_os_string();
        let mut command = match words.next() {
            Some::<std::ffi::OsString>(first) => {
                let mut command = Command::new(first);
                command.args(words).arg(program);
                command
            }
            None => Command::new(program),
        };
        let log = fs::File::create(self.path("daemon.log"))?;
        command
            .env_clear()
            .env("STSD_CONFIG", self.path("config.toml"))
            .env("STSD_SOCKET", self.socket())
            .env("XDG_STATE_HOME", self.path("state"))
            .env("STATE_DIRECTORY", self.path("state/stsd"))
            .stdout(log.try_clone()?)
            .stderr(log);
        let daemon = Process::start(&mut command)?;
        pin_to_cpu(Some(daemon.id()), SERVER_CPU)?;
        let daemon = self.daemon.insert(daemon);
        let client = Client::at(self.directory.path().join("run/stsd.sock"));
        let log = self.directory.path().join("daemon.log");
        wait_until("the daemon", || {
            if daemon.has_exited()? {
                bail!("the daemon ended: {}", fs::read_to_string(&log)?);
            }
            Ok(client.status().is_ok())
        })
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.path("run/stsd.sock")
    }

    pub(crate) fn client(&self) -> Client {
        Client::at(self.socket())
    }

    pub(crate) fn daemon(&self) -> Result<&Process> {
        self.daemon.as_ref().context("the daemon is not running")
    }

    /// Returns the process id of a daemon that was started by a tool.
    pub(crate) fn wrapped_pid(&self) -> Result<Pid> {
        self.wrapped_pid.context("no tool has started the daemon")
    }

    /// Stops the daemon, and waits until the tool that started it has exited.
    pub(crate) fn stop_wrapped(&mut self) -> Result<()> {
        kill(self.wrapped_pid()?, Signal::SIGTERM)?;
        let daemon = self.daemon.as_mut().context("the daemon is not running")?;
        wait_until("the daemon to end", || daemon.has_exited())?;
        self.wrapped_pid = None;
        Ok(())
    }

    /// Returns the daemon's socket as a target, with a request for credentials.
    pub(crate) fn target(&self) -> Result<Target> {
        let request = credentials_request()?;
        let first = [&stsd_wire::Message::frame(&hello())?[..], &request].concat();
        Target::probe(Address::Unix(self.socket()), first, request)
    }

    /// Delays each further call to STS.
    pub(crate) fn delay_sts(&self, delay: Duration) -> Result<()> {
        let fault = format!(
            r#"{{"action":"AssumeRole","fault":{{"kind":"delay","millis":{}}}}}"#,
            delay.as_millis()
        );
        self.control(minreq::Method::Post, "faults", &fault)
            .map(drop)
    }

    /// Returns the number of calls to STS.
    pub(crate) fn sts_calls(&self) -> Result<u64> {
        let stats = self.control(minreq::Method::Get, "stats", "")?;
        let stats: Value = serde_json::from_slice(&stats)?;
        let outcomes = stats["calls"]["AssumeRole"].as_object();
        let outcomes = outcomes.with_context(|| format!("no calls in {stats}"))?;
        Ok(outcomes.values().filter_map(Value::as_u64).sum())
    }

    /// Returns the body of the reply to a request to the emulator's control address.
    fn control(&self, method: minreq::Method, name: &str, body: &str) -> Result<Vec<u8>> {
        let url = format!("{}/_emulator/{name}", self.sts);
        let reply = minreq::Request::new(method, &url)
            .with_header("content-type", "application/json")
            .with_body(body)
            .with_timeout(CONTROL_TIMEOUT_SECONDS)
            .send()
            .with_context(|| format!("no reply from {url}"))?;
        match reply.status_code {
            200..300 => Ok(reply.into_bytes()),
            status => bail!("{url} replied with status {status}: {}", reply.as_str()?),
        }
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        // The daemon outlives a tool that is killed.
        if let Some(pid) = self.wrapped_pid {
            let _ = kill(pid, Signal::SIGKILL);
        }
    }
}

/// Returns the name of a profile by its number.
pub(crate) fn profile(index: usize) -> String {
    match index {
        0 => PROFILE.to_owned(),
        _ => format!("p{index}"),
    }
}

fn hello() -> stsd_wire::Request {
    stsd_wire::Request::Hello {
        version: stsd_wire::VERSION,
    }
}

fn credentials_request() -> Result<Vec<u8>> {
    let request = stsd_wire::Request::Credentials {
        profile: PROFILE.to_owned(),
        minimum_life_millis: 0,
        patience_millis: 10_000,
    };
    Ok(stsd_wire::Message::frame(&request)?.to_vec())
}

fn write_private(path: &Path, text: &str) -> Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    Ok(options.open(path)?.write_all(text.as_bytes())?)
}
