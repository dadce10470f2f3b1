//! The daemon of an ordinary user, whose files belong to that user, beside a second user.

use std::{
    fs,
    os::unix::{
        fs::{PermissionsExt as _, lchown},
        process::CommandExt as _,
    },
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use nix::unistd::geteuid;

use crate::{STRANGER, TestEnv, assert_no_secrets, has_listener, not_run, program};

/// The number of the ordinary user, which has no name on this machine.
pub const OWNER: u32 = 64_003;

/// An environment of [`OWNER`].
pub struct UserDaemon {
    /// The environment.
    pub env: TestEnv,
    /// The group of the daemon, besides its own.
    group: u32,
}

impl UserDaemon {
    /// Returns an environment without a running daemon; `None`, and reports it, where the test is not
    /// run by root.
    #[must_use]
    pub fn prepare(profiles: &str) -> Option<Self> {
        if !geteuid().is_root() {
            not_run("only root can become two other users for this story");
            return None;
        }
        let env = TestEnv::without_daemon(&[]);
        env.write_config(profiles);
        let user = Self { env, group: OWNER };
        for name in ["", "run", "config.toml", "uploader.key"] {
            user.own(name);
        }
        // The second user has to reach the files that a story opens.
        user.mode("", 0o755);
        Some(user)
    }

    /// Gives the daemon a group.
    #[must_use]
    pub fn with_group(mut self, group: u32) -> Self {
        self.group = group;
        self
    }

    /// Gives a file to the ordinary user.
    ///
    /// # Panics
    /// When there is no such file.
    pub fn own(&self, name: &str) {
        lchown(self.env.path(name), Some(OWNER), Some(OWNER)).unwrap();
    }

    /// Gives a file to the second user.
    ///
    /// # Panics
    /// When there is no such file.
    pub fn give_away(&self, name: &str) {
        lchown(self.env.path(name), Some(STRANGER), Some(STRANGER)).unwrap();
    }

    /// Writes a file of the ordinary user, in directories of that user.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn put(&self, name: &str, text: &str, mode: u32) {
        let mut directory = PathBuf::new();
        for part in PathBuf::from(name).parent().into_iter().flatten() {
            directory.push(part);
            let shown = directory.to_str().unwrap();
            if fs::create_dir(self.env.path(shown)).is_ok() {
                self.own(shown);
                self.mode(shown, 0o755);
            }
        }
        self.env.write(name, text, mode);
        self.own(name);
        self.mode(name, mode);
    }

    /// Sets the mode of a file.
    ///
    /// # Panics
    /// When there is no such file.
    pub fn mode(&self, name: &str, mode: u32) {
        fs::set_permissions(self.env.path(name), fs::Permissions::from_mode(mode)).unwrap();
    }

    /// Returns a command of a user, with that user's rights alone.
    #[must_use]
    pub fn command_as(&self, uid: u32, name: &str) -> Command {
        let mut command = Command::new("setpriv");
        let gid = if uid == OWNER { self.group } else { uid };
        command.args([format!("--reuid={uid}"), format!("--regid={gid}")]);
        command.args(["--clear-groups", "--"]).arg(program(name));
        // Other users cannot run root's own programs, which come first in root's path.
        command.env("PATH", "/usr/bin:/bin").stdin(Stdio::null());
        command.current_dir("/");
        command
    }

    /// Returns the command of the user's daemon.
    #[must_use]
    pub fn daemon_command(&self) -> Command {
        let mut command = self.command_as(OWNER, "stsd");
        command
            .env("STSD_CONFIG", self.env.path("config.toml"))
            .env("STSD_SOCKET", self.env.socket())
            .env("XDG_STATE_HOME", self.env.path("state"));
        command
    }

    /// Starts the daemon and waits for its socket.
    pub fn start(&mut self, command: Command) {
        self.env.spawn_daemon(command);
        let socket = self.env.socket();
        self.env.wait_until("the socket", || has_listener(&socket));
    }

    /// Runs `stsd --check` as the user; returns the text of a refusal, or `None`.
    ///
    /// # Panics
    /// When it ends otherwise, or prints a secret.
    #[must_use]
    pub fn refusal(&self, mut command: Command) -> Option<String> {
        let output = command.arg("--check").output().unwrap();
        assert_no_secrets("stsd --check", &output.stderr);
        let said = String::from_utf8(output.stderr).unwrap();
        match output.status.code() {
            Some(0) => None,
            Some(1) => Some(said),
            code => panic!("{code:?}: {said}"),
        }
    }

    /// Runs a program at the daemon's socket as the ordinary user.
    ///
    /// # Panics
    /// When it does not start, or prints a secret.
    #[must_use]
    pub fn output(&self, name: &str, arguments: &[&str]) -> Output {
        let mut command = self.command_as(OWNER, name);
        command.arg("--socket").arg(self.env.socket());
        let output = command.args(arguments).output().unwrap();
        assert_no_secrets(name, &output.stderr);
        output
    }

    /// Runs a command line of the second user, which is in no group of the first one.
    ///
    /// # Panics
    /// When it fails.
    pub fn as_stranger(&self, line: &str) {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-ec", line]).current_dir(self.env.path(""));
        shell.uid(STRANGER).gid(STRANGER);
        let output = shell.output().unwrap();
        assert!(output.status.success(), "{line}: {output:?}");
    }
}
