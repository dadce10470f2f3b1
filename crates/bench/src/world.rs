//! Decides what the daemon is measured with: an emulated cloud, a session in memory, a rule
//! for every profile, and the audit in a file. Everything the product does is switched on.

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
    load::{Address, Service},
    machine::{SERVER, pin},
    process::{Process, Programs, wait_until},
};

/// The profile that is asked for.
pub(crate) const PROFILE: &str = "oss-upload";

/// How patient those are who wait for a first session.
const PATIENCE: Duration = Duration::from_secs(30);

/// The emulator answers from memory; one that does not is a fault of the run.
const CONTROL_TIMEOUT_SECONDS: u64 = 30;

/// One daemon with its cloud.
pub(crate) struct World {
    directory: TempDir,
    sts: String,
    _emulator: Process,
    daemon: Option<Process>,
    /// The daemon itself, where something watches it.
    watched: Option<Pid>,
}

/// What differs from one daemon to the next.
#[derive(Clone)]
pub(crate) struct Setting<'a> {
    /// Its program.
    pub(crate) daemon: PathBuf,
    /// What it is started by, if not by itself.
    pub(crate) under: &'a [&'a str],
    /// How many profiles there are; the first is [`PROFILE`].
    pub(crate) profiles: usize,
    /// Whether it answers on loopback.
    pub(crate) http: bool,
}

impl<'a> Setting<'a> {
    pub(crate) fn usual(programs: &Programs) -> Self {
        Self {
            daemon: programs.own("stsd"),
            under: &[],
            profiles: 1,
            http: false,
        }
    }

    pub(crate) fn under(programs: &Programs, under: &'a [&'a str]) -> Self {
        Self {
            under,
            ..Self::usual(programs)
        }
    }
}

impl World {
    /// Starts a daemon and has its first session fetched.
    pub(crate) fn hot(programs: &Programs, setting: &Setting<'_>) -> Result<Self> {
        let world = Self::cold(programs, setting)?;
        world
            .client()
            .credentials(PROFILE, Duration::ZERO, PATIENCE)?;
        Ok(world)
    }

    /// Starts a daemon that has no session yet.
    pub(crate) fn cold(programs: &Programs, setting: &Setting<'_>) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("stsd-bench-").tempdir()?;
        let mut emulator = Command::new(programs.own("stsd-emulator"));
        let (emulator, line) = Process::start_talking(emulator.arg("--exit-with-stdin"))?;
        let addresses: Value = serde_json::from_str(&line)?;
        let sts = addresses["sts"].as_str().context("no address of STS")?;
        let mut world = Self {
            sts: sts.to_owned(),
            directory,
            _emulator: emulator,
            daemon: None,
            watched: None,
        };
        DirBuilder::new().mode(0o700).create(world.path("run"))?;
        let key = "access_key_id = \"LTAIEXAMPLEUPLOADER01\"\n\
            access_key_secret = \"ExampleSecretOfUploader000001\"\n";
        write_private(&world.path("uploader.key"), key)?;
        write_private(&world.path("config.toml"), &world.config(setting)?)?;
        world.start(setting)?;
        if !setting.under.is_empty() {
            let pid = world.client().status()?.pid;
            world.watched = Some(Pid::from_raw(pid.cast_signed()));
        }
        Ok(world)
    }

    fn config(&self, setting: &Setting<'_>) -> Result<String> {
        let mut config = format!(
            "endpoint = \"{}\"\nsts_calls_per_second = 100\n\n\
             [source.uploader]\ntype = \"access-key\"\naccess_key_file = \"uploader.key\"\n\n\
             [audit]\nfile = \"{}\"\n\n",
            self.sts,
            self.path("audit.jsonl").display()
        );
        if setting.http {
            config.push_str("[http]\nlisten = \"127.0.0.1:0\"\n\n");
        }
        let role = "role_arn=\"acs:ram::100000000000001:role/oss-upload\"\n";
        write!(
            config,
            "[profile.{PROFILE}]\nsource = \"uploader\"\nallow = [\"user:{}\"]\n{role}",
            geteuid()
        )?;
        // As short as can be: a configuration is a megabyte at the most.
        for index in 1..setting.profiles {
            write!(
                config,
                "[profile.{}]\nsource=\"uploader\"\n{role}",
                profile(index)
            )?;
        }
        Ok(config)
    }

    fn start(&mut self, setting: &Setting<'_>) -> Result<()> {
        let mut words = setting.under.iter().map(|it| (*it).into());
        let program = setting.daemon.clone().into_os_string();
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
            .stdout(log.try_clone()?)
            .stderr(log);
        let daemon = Process::start(&mut command)?;
        pin(Some(daemon.id()), SERVER)?;
        let daemon = self.daemon.insert(daemon);
        let client = Client::at(self.directory.path().join("run/stsd.sock"));
        let log = self.directory.path().join("daemon.log");
        wait_until("the daemon", || {
            if daemon.has_ended()? {
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
        self.daemon.as_ref().context("there is no daemon")
    }

    /// Returns the daemon itself, where something watches it.
    pub(crate) fn watched(&self) -> Result<Pid> {
        self.watched.context("nothing watches the daemon")
    }

    /// Has the daemon stop, and waits until what watches it has ended as well.
    pub(crate) fn stop_watched(&mut self) -> Result<()> {
        kill(self.watched()?, Signal::SIGTERM)?;
        let daemon = self.daemon.as_mut().context("there is no daemon")?;
        wait_until("the daemon to end", || daemon.has_ended())?;
        self.watched = None;
        Ok(())
    }

    /// Returns how a hand-out is asked for.
    pub(crate) fn service(&self) -> Result<Service> {
        let request = hand_out()?;
        let first = [&stsd_wire::Message::frame(&hello())?[..], &request].concat();
        Service::learn(Address::Unix(self.socket()), first, request)
    }

    /// Has STS take so long for its next calls.
    pub(crate) fn slow_sts(&self, delay: Duration) -> Result<()> {
        let fault = format!(
            r#"{{"action":"AssumeRole","fault":{{"kind":"delay","millis":{}}}}}"#,
            delay.as_millis()
        );
        self.control(minreq::Method::Post, "faults", &fault)
            .map(drop)
    }

    /// Returns how many calls STS has had.
    pub(crate) fn sts_calls(&self) -> Result<u64> {
        let stats = self.control(minreq::Method::Get, "stats", "")?;
        let stats: Value = serde_json::from_slice(&stats)?;
        let outcomes = stats["calls"]["AssumeRole"].as_object();
        let outcomes = outcomes.with_context(|| format!("no calls in {stats}"))?;
        Ok(outcomes.values().filter_map(Value::as_u64).sum())
    }

    /// Makes a request at the emulator's control address; returns the answer's body.
    fn control(&self, method: minreq::Method, name: &str, body: &str) -> Result<Vec<u8>> {
        let url = format!("{}/_emulator/{name}", self.sts);
        let answer = minreq::Request::new(method, &url)
            .with_header("content-type", "application/json")
            .with_body(body)
            .with_timeout(CONTROL_TIMEOUT_SECONDS)
            .send()
            .with_context(|| format!("no answer from {url}"))?;
        match answer.status_code {
            200..300 => Ok(answer.into_bytes()),
            status => bail!("{url} answers {status}: {}", answer.as_str()?),
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // It outlives one who watches it and is killed.
        if let Some(pid) = self.watched {
            let _ = kill(pid, Signal::SIGKILL);
        }
    }
}

/// The name of a profile by its number.
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

fn hand_out() -> Result<Vec<u8>> {
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
