//! The private environment of a story.

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    thread,
    time::Duration,
};

use serde_json::Value;
use stsd_client::{AsyncClient, Client};

use crate::{
    DaemonHandle, EmulatorHandle, KEY_SECRET, Terminal, UPLOAD, assert_no_secrets, program,
    secrets, wait,
};

/// Lines of the daemon's log that a failed story prints.
const LOG_LINES_SHOWN: usize = 60;

/// The time in which a condition has to become true, unless a story says another.
const WAIT_TIMEOUT: Duration = Duration::from_secs(20);

/// The time in which a refusal has to come: attempts before it may run out of patience on a busy
/// machine.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(60);

/// A private directory, an emulator, and a daemon once it is started. Dropping it ends the programs
/// and fails the story if a secret is found.
pub struct TestEnv {
    directory: tempfile::TempDir,
    emulator: EmulatorHandle,
    daemon: Option<DaemonHandle>,
}

impl TestEnv {
    /// Starts an emulator, and a daemon with the profile `oss-upload`.
    #[must_use]
    pub fn start() -> Self {
        Self::with(&[], UPLOAD)
    }

    /// Starts an emulator with arguments, and a daemon with profiles.
    #[must_use]
    pub fn with(emulator: &[&str], profiles: &str) -> Self {
        let mut env = Self::without_daemon(emulator);
        env.write_config(profiles);
        env.start_daemon();
        env
    }

    /// Starts an emulator with arguments, and a daemon with profiles and the HTTP endpoint.
    #[must_use]
    pub fn with_http(emulator: &[&str], profiles: &str) -> Self {
        let mut env = Self::without_daemon(emulator);
        env.write_config_with_http(profiles);
        env.start_daemon();
        env
    }

    /// Starts an emulator, and a daemon whose hard limit of open files is `limit`. The daemon
    /// raises its soft limit to the hard one.
    #[must_use]
    pub fn with_file_limit(limit: u32, profiles: &str) -> Self {
        let mut env = Self::without_daemon(&[]);
        env.write_config(profiles);
        let mut command = Command::new("sh");
        command
            .args(["-c", &format!("ulimit -n {limit} && exec \"$0\"")])
            .arg(program("stsd"));
        command
            .env("STSD_CONFIG", env.path("config.toml"))
            .env("STSD_SOCKET", env.socket())
            .env("XDG_STATE_HOME", env.path("state"));
        env.start_daemon_with(command);
        env
    }

    /// Starts an emulator alone.
    ///
    /// # Panics
    /// When the private directory cannot be made.
    #[must_use]
    pub fn without_daemon(emulator: &[&str]) -> Self {
        let directory = tempfile::Builder::new()
            .prefix("stsd-e2e-")
            .tempdir()
            .unwrap();
        let log = directory.path().join("emulator.log");
        let env = Self {
            emulator: EmulatorHandle::start(emulator, &log),
            directory,
            daemon: None,
        };
        let key = format!(
            "access_key_id = \"LTAIEXAMPLEUPLOADER01\"\naccess_key_secret = \"{KEY_SECRET}\"\n"
        );
        env.write("uploader.key", &key, 0o600);
        // The daemon refuses a socket directory that other users can enter.
        fs::DirBuilder::new()
            .mode(0o700)
            .create(env.path("run"))
            .unwrap();
        env
    }

    /// Returns the emulator.
    #[must_use]
    pub fn emulator(&self) -> &EmulatorHandle {
        &self.emulator
    }

    /// Returns the running daemon.
    ///
    /// # Panics
    /// When no daemon was started, or it has been waited for.
    #[must_use]
    pub fn daemon(&self) -> &DaemonHandle {
        self.daemon.as_ref().expect("the daemon was not started")
    }

    /// Writes the configuration: the emulator's address, the user's key, and `profiles`.
    pub fn write_config(&self, profiles: &str) {
        self.write_config_with(&self.endpoint(), profiles);
    }

    /// Writes the configuration with the HTTP endpoint on a port that the system picks.
    pub fn write_config_with_http(&self, profiles: &str) {
        let top = format!("{}[http]\nlisten = \"127.0.0.1:0\"\n", self.endpoint());
        self.write_config_with(&top, profiles);
    }

    /// Writes the configuration with other lines at the top level.
    pub fn write_config_with(&self, top: &str, profiles: &str) {
        let source = "[source.uploader]\ntype = \"access-key\"\n\
            access_key_file = \"uploader.key\"\n";
        self.write("config.toml", &format!("{top}{source}{profiles}"), 0o600);
    }

    /// Returns the line of the configuration that names the emulated STS.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("endpoint = \"{}\"\n", self.emulator.sts_url())
    }

    /// Starts the daemon and waits for its answer.
    pub fn start_daemon(&mut self) {
        let command = self.daemon_command();
        self.start_daemon_with(command);
    }

    /// Starts the daemon by a command and waits for its answer.
    pub fn start_daemon_with(&mut self, command: Command) {
        self.spawn_daemon(command);
        let client = self.client();
        self.wait_until("the daemon answers", || client.status().is_ok());
    }

    /// Starts the daemon by a command, without waiting: for a daemon that refuses this user.
    pub fn spawn_daemon(&mut self, command: Command) {
        let log = self.path("daemon.log");
        self.daemon = Some(DaemonHandle::start(command, &log, self.socket()));
    }

    /// Returns the daemon's command, not yet started.
    #[must_use]
    pub fn daemon_command(&self) -> Command {
        self.daemon_command_at(&program("stsd"))
    }

    /// Returns the command of a daemon's program at a path, not yet started.
    #[must_use]
    pub fn daemon_command_at(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env("STSD_CONFIG", self.path("config.toml"));
        command.env("STSD_SOCKET", self.socket());
        // Of a user's daemon, and of a machine's.
        command.env("XDG_STATE_HOME", self.path("state"));
        command.env("STATE_DIRECTORY", self.path("state/stsd"));
        command
    }

    /// Runs `stsd --check`, asserts that it refuses the configuration, and returns its stderr.
    ///
    /// # Panics
    /// When the configuration is accepted, or a secret is printed.
    #[must_use]
    #[track_caller]
    pub fn check_error(&self) -> String {
        let output = self.daemon_command().arg("--check").output().unwrap();
        assert_no_secrets("the stderr of stsd --check", &output.stderr);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.contains("hint"), "{stderr}");
        stderr
    }

    /// Waits for the daemon's exit; returns the exit code, or `None` after a signal.
    ///
    /// # Panics
    /// When no daemon was started, or it does not end within a minute.
    pub fn wait_for_daemon_exit(&mut self) -> Option<i32> {
        let daemon = self.daemon.take().expect("the daemon was not started");
        daemon.wait()
    }

    /// Returns the daemon's log so far.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn daemon_log(&self) -> String {
        fs::read_to_string(self.path("daemon.log")).unwrap()
    }

    /// Returns a path in the private directory.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Returns the path of the daemon's socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.path("run/stsd.sock")
    }

    /// Returns a client of the daemon.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::at(self.socket())
    }

    /// Returns a client of the daemon for tasks of tokio.
    #[must_use]
    pub fn async_client(&self) -> AsyncClient {
        AsyncClient::at(self.socket())
    }

    /// Writes a file in the private directory, with a mode.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write(&self, name: &str, text: &str, mode: u32) {
        let path = self.path(name);
        let _ = fs::remove_file(&path);
        let mut options = fs::OpenOptions::new();
        let mut file = options
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(path)
            .unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    /// Replaces a file in the private directory atomically.
    ///
    /// # Panics
    /// When it cannot be replaced.
    pub fn replace(&self, name: &str, text: &str, mode: u32) {
        // The extension permits a secret in the file.
        let new = format!("{name}.new.secret");
        self.write(&new, text, mode);
        fs::rename(self.path(&new), self.path(name)).unwrap();
    }

    /// Returns the shim's command, not yet started.
    #[must_use]
    pub fn shim_command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program("sts-shim"));
        command.arg("--socket").arg(self.socket()).args(arguments);
        command.stdin(Stdio::null());
        command
    }

    /// Returns the shim with its socket as one command line, as SDKs are configured.
    #[must_use]
    pub fn shim_line(&self, profile: &str) -> String {
        let (shim, socket) = (program("sts-shim"), self.socket());
        format!("{} --socket {} {profile}", shim.display(), socket.display())
    }

    /// Runs the shim to its end.
    ///
    /// # Panics
    /// When it does not start, or prints a secret to stderr.
    #[must_use]
    pub fn shim(&self, arguments: &[&str]) -> Output {
        let output = self.shim_command(arguments).output().unwrap();
        assert_no_secrets("the stderr of sts-shim", &output.stderr);
        output
    }

    /// Runs the shim, asserts that it succeeds with an empty stderr, and returns its document.
    ///
    /// # Panics
    /// When it fails.
    #[must_use]
    pub fn document(&self, arguments: &[&str]) -> Value {
        let output = self.shim(arguments);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "sts-shim failed: {stderr}");
        assert_eq!(stderr, "", "stderr of a success");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Returns the command of stsctl, not yet started.
    #[must_use]
    pub fn ctl_command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program("stsctl"));
        command.arg("--socket").arg(self.socket()).args(arguments);
        command
    }

    /// Runs stsctl to its end.
    ///
    /// # Panics
    /// When it does not start, or prints a secret to stderr.
    #[must_use]
    pub fn ctl(&self, arguments: &[&str]) -> Output {
        let output = self.ctl_command(arguments).output().unwrap();
        assert_no_secrets("the stderr of stsctl", &output.stderr);
        output
    }

    /// Runs stsctl at a terminal with that many rows and columns.
    #[must_use]
    pub fn ctl_at_terminal(&self, size: (u16, u16), arguments: &[&str]) -> Terminal {
        Terminal::start(&self.ctl_command(arguments), size)
    }

    /// Runs one OSS operation with credentials of a profile.
    ///
    /// # Errors
    /// The client's stderr.
    pub fn oss_with_profile(
        &self,
        profile: &str,
        operation: &[&str],
        input: &str,
    ) -> Result<String, String> {
        self.oss_with_process(&self.shim_line(profile), operation, input)
    }

    /// Runs one OSS operation with credentials from a command; returns the client's stdout.
    ///
    /// # Errors
    /// The client's stderr.
    ///
    /// # Panics
    /// When the client does not start, or prints a secret to stderr.
    pub fn oss_with_process(
        &self,
        process: &str,
        operation: &[&str],
        input: &str,
    ) -> Result<String, String> {
        let mut child = Command::new(program("stsd-oss-client"))
            .args(["--endpoint", self.emulator.oss_url()])
            .args(["--region", "cn-hongkong"])
            .args(["--credential-process", process])
            .args(operation)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // The client may have failed before it read anything.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let output = child.wait_with_output().unwrap();
        assert_no_secrets("the stderr of stsd-oss-client", &output.stderr);
        if output.status.success() {
            return Ok(String::from_utf8(output.stdout).unwrap());
        }
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// Waits up to 20 s for a condition.
    ///
    /// # Panics
    /// When it does not become true.
    #[track_caller]
    pub fn wait_until(&self, description: &str, condition: impl FnMut() -> bool) {
        self.wait_within(WAIT_TIMEOUT, description, condition);
    }

    /// Waits for a condition. The bound counts the pauses between the evaluations only.
    ///
    /// # Panics
    /// When it does not become true.
    #[track_caller]
    pub fn wait_within(&self, bound: Duration, description: &str, condition: impl FnMut() -> bool) {
        assert!(
            wait::poll(bound, condition),
            "this did not happen in time: {description}"
        );
    }

    /// Runs the shim until it ends with an exit code and all `words` in its stderr. No attempt
    /// before that may print credentials. An attempt has a short patience, which on a busy machine
    /// can end before there is a reason.
    ///
    /// # Panics
    /// When credentials are printed, or the refusal does not come.
    #[track_caller]
    pub fn assert_refused(&self, profile: &str, code: i32, words: &[&str]) {
        let mut last = String::new();
        let is_refused = wait::poll(REFUSAL_TIMEOUT, || {
            let output = self.shim(&["--patience", "1s", profile]);
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert!(output.stdout.is_empty(), "{profile} was served: {stderr}");
            let exit_code = output.status.code();
            last = format!("{exit_code:?}: {stderr}");
            exit_code == Some(code) && words.iter().all(|word| stderr.contains(word))
        });
        assert!(
            is_refused,
            "{profile} was not refused with {code} and {words:?}; the last result: {last}"
        );
    }

    /// Keeps the directory of a failed story, and prints its path and the end of the daemon's log.
    fn keep_files(&mut self) {
        self.directory.disable_cleanup(true);
        let log = fs::read_to_string(self.path("daemon.log")).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        let end = lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..].join("\n");
        let directory = self.directory.path().display();
        let _ = writeln!(
            io::stderr(),
            "the files of this story are kept in {directory}; the end of its daemon.log:\n{end}"
        );
    }

    fn leaks(&self) -> Vec<String> {
        let daemon = self.daemon.iter().map(|it| it.id());
        let processes = daemon.chain([self.emulator.id()]);
        secrets::leaks(self.directory.path(), processes)
    }
}

impl Drop for TestEnv {
    fn drop(&mut self) {
        let mut leaks = self.leaks();
        drop(self.daemon.take());
        // The files once more: they include what the daemon logs at its end.
        leaks.extend(self.leaks());
        if thread::panicking() {
            self.keep_files();
        } else if !leaks.is_empty() {
            panic!("secrets leaked: {leaks:?}");
        }
    }
}
