//! The private directory, the daemon in it, and the programs that ask this daemon.

use std::{
    env,
    fs::{self, File, Permissions},
    io,
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Output, Stdio},
    thread,
    time::Duration,
};

use e2e::{program, wait_for_exit};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::settings::{AccessKey, Settings};

/// The profile with the role of the user.
pub(crate) const PROFILE: &str = "live";

/// The profile with a session policy that permits no PutObject.
pub(crate) const READ_ONLY_PROFILE: &str = "live-read-only";

/// The profile with a role that does not exist.
pub(crate) const WRONG_ROLE_PROFILE: &str = "live-wrong-role";

/// The directory of the object in the bucket.
pub(crate) const KEY_PREFIX: &str = "stsd-live/";

/// The variables with the AccessKey, of the daemon alone.
const KEY_ID_VARIABLE: &str = "STSD_LIVE_ACCESS_KEY_ID";
const KEY_SECRET_VARIABLE: &str = "STSD_LIVE_ACCESS_KEY_SECRET";

/// Prefixes of variables that change where a program asks, or what it does.
const REMOVED_VARIABLES: [&str; 7] = [
    "ALIBABA_CLOUD_",
    "LISTEN_",
    "NOTIFY_SOCKET",
    "RUST_LOG",
    "STATE_DIRECTORY",
    "STSD_",
    "WATCHDOG_",
];

/// Attempts to ask the daemon after its start, and the pause between two.
const MAX_START_POLLS: u32 = 200;
const START_POLL_INTERVAL: Duration = Duration::from_millis(100);

/// The longest wait for the daemon's exit after SIGTERM: its drain of connections takes 3 s at most.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// A private directory, which is deleted when the sandbox is dropped, and its daemon.
pub(crate) struct Sandbox {
    directory: TempDir,
    key: Option<[(&'static str, String); 2]>,
    daemon: Option<Child>,
}

impl Sandbox {
    /// Creates the directory and writes the configuration, which holds no secret.
    pub(crate) fn new(settings: &Settings) -> io::Result<Self> {
        let directory = tempfile::Builder::new()
            .prefix("stsd-live-")
            .permissions(Permissions::from_mode(0o700))
            .tempdir()?;
        fs::write(directory.path().join("config.toml"), config(settings))?;
        let key = match &settings.key {
            AccessKey::File(_) => None,
            AccessKey::Pair { id, secret } => Some([
                (KEY_ID_VARIABLE, id.clone()),
                // For the environment of the daemon.
                (KEY_SECRET_VARIABLE, secret.expose().to_owned()),
            ]),
        };
        Ok(Self {
            directory,
            key,
            daemon: None,
        })
    }

    /// Returns the path of the directory.
    pub(crate) fn path(&self) -> String {
        self.directory.path().display().to_string()
    }

    /// Runs `stsd` with an option.
    pub(crate) fn stsd(&self, option: &str) -> io::Result<Output> {
        self.daemon_command().arg(option).output()
    }

    /// Runs `stsctl`.
    pub(crate) fn stsctl(&self, arguments: &[&str]) -> io::Result<Output> {
        self.command("stsctl").args(arguments).output()
    }

    /// Runs `sts-shim` for a profile.
    pub(crate) fn sts_shim(&self, profile: &str) -> io::Result<Output> {
        self.command("sts-shim").arg(profile).output()
    }

    /// Starts the daemon and waits until it answers.
    ///
    /// # Errors
    /// The last line of its log.
    pub(crate) fn start_daemon(&mut self) -> Result<(), String> {
        let failed = |error: io::Error| format!("stsd does not start: {error}");
        let log = File::create(self.file("daemon.log")).map_err(failed)?;
        let mut command = self.daemon_command();
        // An interrupt at the terminal ends this program, which then stops the daemon.
        command.stderr(log).process_group(0);
        let mut daemon = command.spawn().map_err(failed)?;
        let answers = self.wait_until_it_answers(&mut daemon);
        self.daemon = Some(daemon);
        match answers {
            true => Ok(()),
            false => Err(format!("stsd does not answer: {}", self.last_log_line())),
        }
    }

    /// Returns `false` if the daemon ends, or does not answer in time.
    fn wait_until_it_answers(&self, daemon: &mut Child) -> bool {
        for _ in 0..MAX_START_POLLS {
            if self.stsctl(&["status"]).is_ok_and(|it| it.status.success()) {
                return true;
            }
            if !matches!(daemon.try_wait(), Ok(None)) {
                return false;
            }
            thread::sleep(START_POLL_INTERVAL);
        }
        false
    }

    /// Stops the daemon; `None` if none has been started.
    pub(crate) fn stop_daemon(&mut self) -> Option<Result<(), String>> {
        let mut daemon = self.daemon.take()?;
        let _ = kill_process(Pid::from_child(&daemon), Signal::TERM);
        let status = wait_for_exit(&mut daemon, STOP_TIMEOUT);
        if status.is_none() {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
        Some(match status {
            Some(status) if status.success() => Ok(()),
            Some(status) => Err(self.ended_with(status)),
            None => Err(format!(
                "stsd has not ended {} s after SIGTERM",
                STOP_TIMEOUT.as_secs()
            )),
        })
    }

    /// Deletes the directory.
    pub(crate) fn delete(self) -> io::Result<()> {
        fs::remove_dir_all(self.directory.path())
    }

    /// Returns the request id of the AccessKey that was served last, as the daemon's audit has it.
    pub(crate) fn request_id(&self, access_key_id: &str) -> Option<String> {
        let audit = fs::read_to_string(self.file("audit.jsonl")).ok()?;
        let events = audit.lines().rev();
        let mut events = events.filter_map(|it| serde_json::from_str::<Value>(it).ok());
        let event = events.find(|it| it["access_key_id"] == access_key_id)?;
        Some(event["request_id"].as_str()?.to_owned())
    }

    fn ended_with(&self, status: ExitStatus) -> String {
        format!("stsd ended with {status}: {}", self.last_log_line())
    }

    fn last_log_line(&self) -> String {
        let log = fs::read_to_string(self.file("daemon.log")).unwrap_or_default();
        log.lines().next_back().unwrap_or("no log").to_owned()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn daemon_command(&self) -> Command {
        let mut command = self.command("stsd");
        for (name, value) in self.key.iter().flatten() {
            command.env(name, value);
        }
        command
    }

    /// Returns the command of a program that asks this daemon and no other.
    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(program(name));
        let is_removed = |name: &str| REMOVED_VARIABLES.iter().any(|it| name.starts_with(it));
        for (name, _) in env::vars_os().filter(|(name, _)| name.to_str().is_some_and(is_removed)) {
            command.env_remove(name);
        }
        command.env("STSD_CONFIG", self.file("config.toml"));
        command.env("STSD_SOCKET", self.file("stsd.sock"));
        command.env("XDG_STATE_HOME", self.file("state"));
        command.stdin(Stdio::null());
        command
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let _ = self.stop_daemon();
    }
}

/// Returns the configuration. The sessions of the user's role may read, write and delete this program's
/// objects, and nothing else, whatever the role permits.
fn config(settings: &Settings) -> String {
    let key = match &settings.key {
        AccessKey::File(path) => format!("access_key_file = {}", quoted(&path.to_string_lossy())),
        AccessKey::Pair { .. } => format!(
            "access_key_env = {{ id = \"{KEY_ID_VARIABLE}\", secret = \"{KEY_SECRET_VARIABLE}\" }}"
        ),
    };
    let endpoint = quoted(settings.sts.as_str());
    let mut config = format!(
        "endpoint = {endpoint}\n\
         [audit]\nfile = \"audit.jsonl\"\n\
         [source.key]\ntype = \"access-key\"\n{key}\n"
    );
    let role = &settings.role.arn;
    let wrong_role = format!("acs:ram::{}:role/stsd-live-absent", settings.role.account);
    let all = ["oss:PutObject", "oss:GetObject", "oss:DeleteObject"];
    for (profile, role, actions) in [
        (PROFILE, role, &all[..]),
        (READ_ONLY_PROFILE, role, &["oss:GetObject"][..]),
        (WRONG_ROLE_PROFILE, &wrong_role, &all[..]),
    ] {
        let policy = policy(&settings.bucket, actions);
        config.push_str(&format!(
            "[profile.{profile}]\nsource = \"key\"\nrole_arn = {}\nrole_session_name = \"stsd-live\"\n\
             duration = \"15m\"\npolicy = {}\n",
            quoted(role),
            quoted(&policy)
        ));
    }
    config
}

/// Returns a session policy for this program's objects.
fn policy(bucket: &str, actions: &[&str]) -> String {
    let resource = format!("acs:oss:*:*:{bucket}/{KEY_PREFIX}*");
    json!({
        "Version": "1",
        "Statement": [{"Effect": "Allow", "Action": actions, "Resource": [resource]}],
    })
    .to_string()
}

/// Returns a string of TOML: the escapes of JSON are valid in TOML.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}
