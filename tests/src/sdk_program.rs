//! Programs that use an official SDK: their home, the ways in which they find credentials, and
//! the calls that they make on request.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    path::PathBuf,
    process::{ChildStdin, ChildStdout, Command, Stdio},
};

use serde_json::{Value, json};

use crate::{Action, Home, Process, TestEnv, UPLOAD, assert_no_secrets, clients, program};

/// The variables with which an SDK would find other credentials, or a proxy.
pub const OTHER_CREDENTIAL_VARIABLES: [&str; 16] = [
    "ALIBABA_CLOUD_ACCESS_KEY_ID",
    "ALIBABA_CLOUD_ACCESS_KEY_SECRET",
    "ALIBABA_CLOUD_SECURITY_TOKEN",
    "ALIBABA_CLOUD_ROLE_ARN",
    "ALIBABA_CLOUD_OIDC_PROVIDER_ARN",
    "ALIBABA_CLOUD_OIDC_TOKEN_FILE",
    "ALIBABA_CLOUD_PROFILE",
    "OSS_ACCESS_KEY_ID",
    "OSS_ACCESS_KEY_SECRET",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_PROFILE",
    "HTTP_PROXY",
    "http_proxy",
    "ALL_PROXY",
    "all_proxy",
];

/// Starts a daemon with the HTTP endpoint, and writes a home with the configuration that the
/// documents recommend for aliyun-cli and for AWS's tools.
///
/// # Panics
/// When the home cannot be made.
#[must_use]
pub fn sdk_env(emulator: &[&str]) -> TestEnv {
    let env = TestEnv::with_http(emulator, UPLOAD);
    for directory in ["home", "home/.aliyun", "home/.aws"] {
        fs::create_dir(env.path(directory)).unwrap();
    }
    let line = env.shim_line("oss-upload");
    // The white space is that of no JSON writer, so that a program that rewrites the file shows.
    let aliyun = format!(
        "{{ \"current\": \"stsd\",\n  \"profiles\": [ {{\"mode\": \"External\", \"name\": \"stsd\", \
         \"process_command\": \"{line}\", \"region_id\": \"cn-hongkong\", \"output_format\": \"json\", \
         \"language\": \"en\"}} ],\n  \"meta_path\": \"\" }}\n"
    );
    env.write("home/.aliyun/config.json", &aliyun, 0o600);
    let aws = format!("[profile oss]\ncredential_process = {line}\n");
    env.write("home/.aws/config", &aws, 0o600);
    env
}

/// Returns the URL of `oss-upload` at the HTTP endpoint.
///
/// # Panics
/// When the daemon refuses it.
#[must_use]
pub fn url(env: &TestEnv) -> String {
    let url = env.client().url("oss-upload").unwrap();
    url.url.expose().to_owned()
}

/// Returns the content of aliyun-cli's file in the home.
///
/// # Panics
/// When it cannot be read.
#[must_use]
pub fn aliyun_config(env: &TestEnv) -> Vec<u8> {
    fs::read(env.path("home/.aliyun/config.json")).unwrap()
}

/// Sets a program's home and its URL, and removes the variables for other credentials.
pub fn prepare_home(env: &TestEnv, command: &mut Command) {
    for name in OTHER_CREDENTIAL_VARIABLES {
        command.env_remove(name);
    }
    command.env("HOME", env.path("home"));
    command.env("STORY_URL", url(env));
}

/// Prepares a program's command so that it finds credentials in one way; returns the number of
/// served credentials that this way costs by itself.
pub type SetUp = fn(&TestEnv, &mut Command) -> u64;

/// Runs the program in `stsctl exec`.
#[must_use]
pub fn in_exec(env: &TestEnv, command: &mut Command) -> u64 {
    let mut exec = Command::new(program("stsctl"));
    exec.arg("--socket").arg(env.socket());
    exec.args(["exec", "oss-upload", "--"]);
    exec.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => exec.env(name, value),
            None => exec.env_remove(name),
        };
    }
    *command = exec;
    1
}

/// Selects the profile of the home's AWS configuration.
#[must_use]
pub fn with_aws_profile(_: &TestEnv, command: &mut Command) -> u64 {
    command.env("AWS_PROFILE", "oss");
    0
}

/// Runs `stsctl setup aws` in the home, and selects the profile that it writes. The command requests
/// credentials, to see that the daemon knows the profile.
#[must_use]
pub fn with_written_aws_profile(env: &TestEnv, command: &mut Command) -> u64 {
    Home::in_env(env).setup_write("aws");
    command.env("AWS_PROFILE", "oss-upload");
    1
}

/// Makes the URL the address of the instance metadata.
#[must_use]
pub fn with_metadata(env: &TestEnv, command: &mut Command) -> u64 {
    command.env("ALIBABA_CLOUD_ECS_METADATA_SERVICE_ENDPOINT", url(env));
    0
}

/// Leaves the home alone: SDKs find aliyun-cli's profile as well.
#[must_use]
pub fn with_external_profile(_: &TestEnv, command: &mut Command) -> u64 {
    command.env("ALIBABA_CLOUD_ECS_METADATA_DISABLED", "true");
    0
}

/// Adds nothing: the program reads the URL from `STORY_URL` and configures the SDK itself.
#[must_use]
pub fn without_variables(_: &TestEnv, _: &mut Command) -> u64 {
    0
}

/// Returns the command of a Python script below `tests/clients`, with the name of a consumer.
#[must_use]
pub fn python_program(env: &TestEnv, script: &str, consumer: &str) -> Command {
    let mut command = Command::new(clients().join("python/bin/python"));
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("clients/python")
        .join(script);
    command.arg(script).arg(consumer);
    command.args(["--sts", env.emulator().sts_url()]);
    command.args(["--oss", env.emulator().oss_url()]);
    command.arg("--shim").arg(env.shim_line("oss-upload"));
    command
}

/// Returns the command of the Node script. `interval` is that of ali-oss in milliseconds: ali-oss
/// takes no expiration.
#[must_use]
pub fn node_program(env: &TestEnv, consumer: &str, interval: &str) -> Command {
    let mut command = Command::new("node");
    command.arg(clients().join("node/consumers.mjs"));
    command.args([consumer, env.emulator().oss_url(), interval]);
    command
}

/// Returns the command of the script for the AWS SDK for JavaScript. The variable wins over the
/// endpoint of a profile; the SDK puts the bucket into the path, because the endpoint is an address.
#[must_use]
pub fn aws_js_program(env: &TestEnv) -> Command {
    let mut command = Command::new("node");
    command.arg(clients().join("node/aws_client.mjs"));
    command.env("AWS_ENDPOINT_URL_S3", env.emulator().oss_url());
    command
}

/// A running program that calls a service through its SDK when a story asks for it.
pub struct SdkProgram<'a> {
    env: &'a TestEnv,
    _process: Process,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
    /// The number of served credentials that the start has cost.
    pub served_at_start: u64,
}

impl<'a> SdkProgram<'a> {
    /// Starts a program.
    #[must_use]
    pub fn start(env: &'a TestEnv, command: Command, set_up: SetUp) -> Self {
        Self::start_with(env, command, set_up, &[])
    }

    /// Starts a program with more variables.
    #[must_use]
    pub fn start_with(
        env: &'a TestEnv,
        mut command: Command,
        set_up: SetUp,
        variables: &[(&str, &str)],
    ) -> Self {
        prepare_home(env, &mut command);
        let by_set_up = set_up(env, &mut command);
        command.envs(variables.iter().copied());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = Process::start(command, &env.path("consumer.log"));
        let (requests, answers) = process.take_stdio();
        let mut program = Self {
            env,
            _process: process,
            requests,
            answers,
            served_at_start: 0,
        };
        program.call(0);
        program.served_at_start = served(env) - by_set_up;
        program
    }

    /// Has the program make calls, and asserts that each succeeds; returns the number of served
    /// credentials that they have cost.
    ///
    /// # Panics
    /// When a call fails.
    #[track_caller]
    pub fn call(&mut self, count: u64) -> u64 {
        let before = served(self.env);
        let answer = self.try_call(count);
        assert_eq!(answer, json!({"calls": count}), "{}", self.log());
        served(self.env) - before
    }

    /// Has the program make calls; returns its answer.
    ///
    /// # Panics
    /// When the program gives no answer.
    #[track_caller]
    pub fn try_call(&mut self, count: u64) -> Value {
        writeln!(self.requests, "{count}").unwrap();
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        assert_no_secrets("the stdout of an SDK's program", line.as_bytes());
        serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line}{}", self.log()))
    }

    fn log(&self) -> String {
        fs::read_to_string(self.env.path("consumer.log")).unwrap()
    }
}

/// Writes four lines to a program, with a rotation after each. The program puts each line into the
/// bucket, prints its key, and ends at the end of its input. Returns the keys and the lines.
///
/// # Panics
/// When the program does not do so.
pub fn upload_lines(env: &TestEnv, mut command: Command, folder: &str) -> Vec<(String, String)> {
    prepare_home(env, &mut command);
    let _ = in_exec(env, &mut command);
    command.env("OSS_ENDPOINT", env.emulator().oss_url());
    command.env("OSS_REGION", "cn-hongkong");
    command.env("OSS_BUCKET", "examplebucket");
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let log = env.path("upload.log");
    let mut process = Process::start(command, &log);
    let (mut lines, mut keys) = process.take_stdio();
    let mut uploaded = Vec::new();
    for number in 0..4 {
        let line = format!("line {number}\n");
        lines.write_all(line.as_bytes()).unwrap();
        let mut key = String::new();
        keys.read_line(&mut key).unwrap();
        let stderr = fs::read_to_string(&log).unwrap();
        assert_eq!(key, format!("{folder}/{number}\n"), "{stderr}");
        let before = held_key(env);
        env.wait_until("a rotation", || held_key(env) != before);
        uploaded.push((key.trim().to_owned(), line));
    }
    drop(lines);
    assert_eq!(process.wait(), Some(0), "exit code at the end of the input");
    assert_eq!(env.emulator().calls(Action::OssPutObject), 4);
    uploaded
}

/// Returns the number of credentials that the daemon has served for its first profile.
///
/// # Panics
/// When the daemon has no status.
#[must_use]
pub fn served(env: &TestEnv) -> u64 {
    env.client().status().unwrap().profiles[0].hand_outs
}

/// Returns the AccessKey id of the session that the daemon holds for its first profile.
///
/// # Panics
/// When the daemon has no status.
#[must_use]
pub fn held_key(env: &TestEnv) -> Option<String> {
    let status = env.client().status().unwrap();
    status.profiles[0].access_key_id.clone()
}
