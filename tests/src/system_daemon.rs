//! A daemon with `--system`, and callers with other users and groups.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    panic::resume_unwind,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    thread,
};

use nix::unistd::geteuid;
use rustix::{
    process::{Gid, Uid},
    thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid},
};

use crate::{TestEnv, assert_no_secrets, not_run, program};

/// The user and the groups of a process.
#[derive(Debug, Clone, Copy)]
pub struct UnixUser {
    /// The user.
    pub uid: u32,
    /// The primary group.
    pub gid: u32,
    /// The supplementary group, if there is one.
    pub group: Option<u32>,
}

impl UnixUser {
    /// Returns a user whose only group has the same number.
    #[must_use]
    pub const fn new(uid: u32) -> Self {
        Self {
            uid,
            gid: uid,
            group: None,
        }
    }

    /// Returns a command that runs with this user and these groups.
    #[must_use]
    pub fn command(self, program: PathBuf) -> Command {
        let mut command = Command::new("setpriv");
        command.arg(format!("--reuid={}", self.uid));
        command.arg(format!("--regid={}", self.gid));
        match self.group {
            Some(group) => command.arg(format!("--groups={group}")),
            None => command.arg("--clear-groups"),
        };
        command.arg("--").arg(program).stdin(Stdio::null());
        command
    }

    /// Runs a function in a thread with this user and these groups; the other threads of the process
    /// keep theirs. The kernel reports the thread's user to the peer of a connection.
    ///
    /// # Panics
    /// When the test is not run by root, or the function panics.
    pub fn run<T: Send>(self, function: impl FnOnce() -> T + Send) -> T {
        let run = move || {
            let groups: Vec<_> = self.group.into_iter().map(Gid::from_raw).collect();
            let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
            set_thread_groups(&groups).unwrap();
            set_thread_res_gid(gid, gid, gid).unwrap();
            set_thread_res_uid(uid, uid, uid).unwrap();
            function()
        };
        let result = thread::scope(|scope| scope.spawn(run).join());
        result.unwrap_or_else(|panic| resume_unwind(panic))
    }
}

/// A daemon for the whole machine, and copies of the programs that every user can start.
pub struct SystemDaemon {
    /// The environment of the daemon.
    pub env: TestEnv,
    /// Not in the directory of `env`: the demonstration in stsctl contains markers of secrets.
    programs: tempfile::TempDir,
}

impl SystemDaemon {
    /// Starts the daemon; returns `None`, and reports it, where the test is not run by root.
    #[must_use]
    pub fn start(profiles: &str) -> Option<Self> {
        Self::start_in_shell("", profiles)
    }

    /// Starts the daemon as [`start`](Self::start) does, from a shell that has run `prefix`.
    #[must_use]
    pub fn start_in_shell(prefix: &str, profiles: &str) -> Option<Self> {
        Self::start_with(prefix, |_| profiles.to_owned())
    }

    /// Starts the daemon as [`start_in_shell`](Self::start_in_shell) does, with profiles that depend on
    /// the environment.
    #[must_use]
    pub fn start_with(prefix: &str, profiles: impl FnOnce(&TestEnv) -> String) -> Option<Self> {
        if !geteuid().is_root() {
            not_run("only root can become other users for this story");
            return None;
        }
        let mut env = TestEnv::without_daemon(&[]);
        env.write_config(&profiles(&env));
        for directory in ["", "run"] {
            set_mode(&env.path(directory), 0o755);
        }
        let stsd = env.daemon_command();
        let mut command = Command::new("sh");
        command
            .args(["-c", &format!("{prefix} exec \"$0\" --system")])
            .arg(stsd.get_program());
        command.envs(
            stsd.get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        );
        env.start_daemon_with(command);
        Some(Self::new(env))
    }

    /// Returns the handle for an environment whose daemon is running.
    ///
    /// # Panics
    /// When the programs cannot be copied.
    #[must_use]
    pub fn new(env: TestEnv) -> Self {
        let programs = tempfile::tempdir().unwrap();
        set_mode(programs.path(), 0o755);
        for name in ["sts-shim", "stsctl", "stsd", "client-watch"] {
            fs::copy(program(name), programs.path().join(name)).unwrap();
        }
        Self { env, programs }
    }

    /// Returns the path of a copied program.
    #[must_use]
    pub fn program(&self, name: &str) -> PathBuf {
        self.programs.path().join(name)
    }

    /// Runs a program as a user, to its end.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn output(&self, user: UnixUser, name: &str, arguments: &[&str]) -> Output {
        let mut command = user.command(self.program(name));
        let output = command
            .arg("--socket")
            .arg(self.env.socket())
            .args(arguments)
            .output()
            .unwrap();
        assert_no_secrets(name, &output.stderr);
        output
    }

    /// Runs the shim as a user and asserts its exit code; returns its stderr.
    ///
    /// # Panics
    /// When the shim ends with another code.
    #[track_caller]
    pub fn assert_shim(&self, user: UnixUser, profile: &str, code: i32) -> String {
        let output = self.output(user, "sts-shim", &[profile]);
        let stderr = String::from_utf8(output.stderr).unwrap();
        let exit_code = output.status.code();
        assert_eq!(exit_code, Some(code), "{user:?} {profile}: {stderr}");
        assert_eq!(output.stdout.is_empty(), code != 0);
        stderr
    }
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}
