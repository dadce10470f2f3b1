//! A program in the language of a library: it gets credentials with the unmodified library, and
//! answers line by line.

use std::{
    env, fs,
    io::{BufRead as _, BufReader, Write as _},
    path::PathBuf,
    process::{ChildStdin, ChildStdout, Command, Stdio},
};

use e2e::{Process, TestEnv, clients};
use serde_json::Value;

use crate::program::{Got, Refusal};

/// The role of all programs.
const ROLE: &str = "acs:ram::100000000000001:role/oss-upload";

pub(crate) struct Driver {
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    /// The library and its version.
    pub(crate) library: String,
    /// The runtime of the language and its version.
    pub(crate) runs_on: String,
    _process: Process,
    /// The TLS server before the emulator; it ends after the driver.
    _front: Option<Process>,
}

impl Driver {
    /// Starts `alibabacloud_credentials`, which accepts an endpoint with a scheme.
    pub(crate) fn python(env: &TestEnv, duration_seconds: u32) -> Self {
        Self::start(
            env,
            python("compared.py"),
            env.emulator().sts_url(),
            duration_seconds,
            None,
        )
    }

    /// Starts `@alicloud/credentials`, which uses HTTPS for every endpoint.
    pub(crate) fn node(env: &TestEnv, duration_seconds: u32) -> Self {
        let certificate = env.path("front.pem");
        let mut command = python("tls_front.py");
        let (_, address) = env.emulator().sts_url().split_once("://").unwrap();
        command.args(["--to", address]);
        command.arg("--certificate").arg(&certificate);
        let mut front = Process::start(command, &env.path("front.log"));
        let said = read(env, &front.first_line(), "front.log");
        let mut command = bare(Command::new("node"));
        command.arg(clients().join("node/compared.mjs"));
        command.env("NODE_EXTRA_CA_CERTS", certificate);
        let endpoint = said["address"].as_str().unwrap();
        Self::start(env, command, endpoint, duration_seconds, Some(front))
    }

    fn start(
        env: &TestEnv,
        mut command: Command,
        endpoint: &str,
        duration_seconds: u32,
        front: Option<Process>,
    ) -> Self {
        command.args(["--endpoint", endpoint, "--role-arn", ROLE]);
        command.args(["--access-key-id", "LTAIEXAMPLEUPLOADER01"]);
        command.args(["--duration", &duration_seconds.to_string()]);
        command.env("STORY_ACCESS_KEY_SECRET", "ExampleSecretOfUploader000001");
        let mut process = Process::start(command, &env.path("driver.log"));
        let (input, output) = process.take_stdio();
        let mut driver = Self {
            input,
            output,
            library: String::new(),
            runs_on: String::new(),
            _process: process,
            _front: front,
        };
        let said = driver.line(env);
        let text = |name: &str| said[name].as_str().unwrap().to_owned();
        driver.library = format!("`{}`, {}", text("library"), text("language"));
        driver.runs_on = text("runs_on");
        driver
    }

    /// Has the program get credentials, `in-a-row` or `at-once`.
    pub(crate) fn get(&mut self, env: &TestEnv, order: &str, gets: usize) -> Vec<Got> {
        writeln!(self.input, "{order} {gets}").unwrap();
        let said = self.line(env);
        said.as_array().unwrap().iter().map(got).collect()
    }

    fn line(&mut self, env: &TestEnv) -> Value {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        e2e::assert_no_secrets("a library", line.as_bytes());
        read(env, &line, "driver.log")
    }
}

/// Returns a line of JSON as a value; the panic for an invalid line has the log of the program.
fn read(env: &TestEnv, line: &str, log: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| {
        let log = fs::read_to_string(env.path(log)).unwrap_or_default();
        panic!("{line:?}: {error}\n{log}")
    })
}

fn got(entry: &Value) -> Got {
    let text = |name: &str| entry[name].as_str().map(str::to_owned);
    if let Some(key) = text("key") {
        return Ok(key);
    }
    Err(Refusal {
        name: format!("`{}`", text("error").unwrap()),
        message: text("message").unwrap(),
    })
}

fn python(script: &str) -> Command {
    let mut command = bare(Command::new(clients().join("python/bin/python")));
    let scripts = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("clients/python");
    command.arg(scripts.join(script));
    command
}

/// Clears the environment except for `PATH` and `HOME`, which the interpreter needs: no key, region or
/// proxy of the caller affects the library.
fn bare(mut command: Command) -> Command {
    command
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    for name in ["PATH", "HOME"] {
        command.envs(env::var_os(name).map(|value| (name, value)));
    }
    command
}
