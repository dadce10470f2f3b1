//! The questions to STS before anything is written: the owner of a key, and the first session of the
//! profile, by stsd with a configuration of its own.

use std::{
    fs::{File, Permissions},
    io::{Read as _, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use stsd_client::{Client, Credentials};
use tempfile::{NamedTempFile, TempDir};
use toml_edit::DocumentMut;

use super::plan::{InitPlan, Source, TRIAL_VARIABLES};
use crate::{error::CliError, subprocess};

/// Timeout of the first session: an attempt ends earlier, with its reason.
const SESSION_TIMEOUT: Duration = Duration::from_secs(15);

/// Maximum time for the daemon to listen.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// Maximum time for the daemon to end.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// Interval between looks for the socket.
const START_POLL_INTERVAL: Duration = Duration::from_millis(20);

/// The variables of systemd, which are for the daemon that systemd has started.
const SYSTEMD_VARIABLES: [&str; 4] = [
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
    "NOTIFY_SOCKET",
];

/// A configuration that is tried, in a place that is removed afterwards.
pub(super) struct Trial<'a> {
    plan: &'a InitPlan,
    config: NamedTempFile,
    directory: TempDir,
    stsd: PathBuf,
}

impl<'a> Trial<'a> {
    /// Prepares a trial of a plan. `directory` is that of the configuration, to which the paths of an
    /// existing source are relative.
    pub(super) fn new(plan: &'a InitPlan, before: &DocumentMut, directory: &Path) -> Result<Self> {
        let stsd = subprocess::find("stsd").context("stsd is neither beside stsctl nor in PATH")?;
        let only_owner = Permissions::from_mode(0o700);
        let private = tempfile::Builder::new().permissions(only_owner).tempdir()?;
        let place = match plan.source {
            Source::Existing(_) => directory,
            _ => private.path(),
        };
        let mut config = tempfile::Builder::new()
            .prefix(".tried-")
            .suffix(".toml")
            .tempfile_in(place)
            .with_context(|| format!("no file can be created in {}", place.display()))?;
        config.write_all(plan.for_trial(before).to_string().as_bytes())?;
        Ok(Self {
            plan,
            config,
            directory: private,
            stsd,
        })
    }

    /// Asks STS for the owner of the identity; returns its ARN.
    pub(super) fn owner(&self) -> Result<String> {
        let mut command = self.command();
        command.arg("--caller-identity");
        let output = subprocess::run(command, None)?;
        if !output.status.success() {
            bail!(error_of(&String::from_utf8_lossy(&output.stderr)));
        }
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let arn = text
            .trim_end()
            .rsplit_once(": ")
            .map(|(_, arn)| arn.to_owned());
        arn.context("stsd does not name the owner of the key")
    }

    /// Starts a daemon for the profile alone, and requests its first credentials.
    pub(super) fn credentials(&self) -> Result<Credentials> {
        let socket = self.directory.path().join("stsd.sock");
        let log = self.directory.path().join("log");
        let mut command = self.command();
        command.env("STSD_SOCKET", &socket).env("RUST_LOG", "off");
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(File::create_new(&log)?);
        let mut daemon = TrialDaemon(command.spawn().context("stsd does not start")?);
        if !daemon.listens(&socket)? {
            let mut text = String::new();
            File::open(&log)?.read_to_string(&mut text)?;
            bail!(error_of(&text));
        }
        let answer =
            Client::at(&socket).credentials(&self.plan.profile, Duration::ZERO, SESSION_TIMEOUT)?;
        Ok(answer.credentials)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.stsd);
        command.env("STSD_CONFIG", self.config.path());
        command.env("XDG_STATE_HOME", self.directory.path());
        for name in SYSTEMD_VARIABLES {
            command.env_remove(name);
        }
        if let Source::Key { key, .. } = &self.plan.source {
            let [id, secret] = TRIAL_VARIABLES;
            command.env(id, &key.id).env(secret, key.secret.expose());
        }
        command
    }
}

/// A running daemon, which ends with this value.
struct TrialDaemon(Child);

impl TrialDaemon {
    /// Waits for the socket; returns `false` if the daemon has ended.
    fn listens(&mut self, socket: &Path) -> Result<bool> {
        let polls = START_TIMEOUT.as_millis() / START_POLL_INTERVAL.as_millis();
        for _ in 0..polls {
            if socket.exists() {
                return Ok(true);
            }
            if self.0.try_wait()?.is_some() {
                return Ok(false);
            }
            thread::sleep(START_POLL_INTERVAL);
        }
        bail!("stsd does not listen after {} s", START_TIMEOUT.as_secs())
    }
}

impl Drop for TrialDaemon {
    fn drop(&mut self) {
        if let Some(pid) = Pid::from_raw(self.0.id().cast_signed()) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let _ = subprocess::wait_for_exit(&mut self.0, "stsd", STOP_TIMEOUT);
    }
}

/// Returns the error that stsd has printed, with the exit code of a refusal or of a failed connection.
fn error_of(stderr: &str) -> CliError {
    let text = stderr.trim_end().trim_start_matches("stsd: ");
    let (text, hint) = match text
        .strip_suffix(')')
        .and_then(|it| it.rsplit_once(" (hint: "))
    {
        Some((text, hint)) => (text, hint.to_owned()),
        None => (text, String::new()),
    };
    // The variables are those of the trial: the user has typed their values.
    let [id, secret] = TRIAL_VARIABLES;
    let hint = hint.replace(
        &format!("the variables {id} and {secret}"),
        "what you typed",
    );
    CliError {
        exit_code: if text.starts_with("sts refused") {
            7
        } else {
            6
        },
        text: text.to_owned(),
        hint: hint.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::error_of;

    #[test]
    fn error_of_stsd_is_split_into_text_and_hint() {
        let refused = error_of("stsd: sts refused: NoPermission: m (hint: trust it (once))\n");
        assert_eq!(refused.text, "sts refused: NoPermission: m");
        assert_eq!(refused.hint, "trust it (once)");
        assert_eq!(refused.exit_code, 7);
        let key = error_of(
            "stsd: x (hint: check the AccessKey secret in the variables STSD_TRIAL_KEY_ID and \
             STSD_TRIAL_KEY_SECRET; create another)\n",
        );
        assert_eq!(
            key.hint,
            "check the AccessKey secret in what you typed; create another"
        );
        let failed = error_of("stsd: no route\n");
        assert_eq!((failed.hint.as_ref(), failed.exit_code), ("", 6));
    }
}
