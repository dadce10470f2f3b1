//! The home directory of a user: the files of other tools, and stsctl run there.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::{MARKERS, TestEnv, program};

/// A home directory.
pub struct Home {
    path: PathBuf,
    /// The socket of the daemon, if there is one.
    socket: Option<PathBuf>,
    _directory: Option<tempfile::TempDir>,
}

/// The result of one run of a program.
pub struct RunOutput {
    /// The exit code; `None` after a signal.
    pub code: Option<i32>,
    /// The text on stdout.
    pub stdout: String,
    /// The text on stderr.
    pub stderr: String,
}

/// The state of a file, to compare with a later one.
#[derive(Debug, PartialEq)]
pub struct FileState {
    /// The content.
    pub bytes: Vec<u8>,
    mode: u32,
    /// The modification time in seconds and nanoseconds.
    modified: (i64, i64),
}

impl Home {
    /// Returns an empty home without a daemon.
    ///
    /// # Panics
    /// When the directory cannot be made.
    #[must_use]
    pub fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("stsd-e2e-").tempdir();
        let directory = directory.unwrap();
        Self {
            path: directory.path().to_owned(),
            socket: None,
            _directory: Some(directory),
        }
    }

    /// Returns a home in the directory of an environment, which is searched for secrets.
    ///
    /// # Panics
    /// When the directory cannot be made.
    #[must_use]
    pub fn in_env(env: &TestEnv) -> Self {
        let path = env.path("home");
        fs::create_dir_all(&path).unwrap();
        Self {
            path,
            socket: Some(env.socket()),
            _directory: None,
        }
    }

    /// Returns the path of the home.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns a path in the home.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Writes a file with a mode; makes its directories.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn put(&self, name: &str, text: impl AsRef<[u8]>, mode: u32) {
        let path = self.file(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    /// Returns the text of a file.
    ///
    /// # Panics
    /// When it cannot be read.
    #[must_use]
    pub fn text(&self, name: &str) -> String {
        fs::read_to_string(self.file(name)).unwrap()
    }

    /// Returns the mode of a file.
    ///
    /// # Panics
    /// When there is no such file.
    #[must_use]
    pub fn mode(&self, name: &str) -> u32 {
        self.file(name).metadata().unwrap().mode() & 0o7777
    }

    /// Returns the command of stsctl with `HOME` and `PATH` alone in its environment.
    ///
    /// # Panics
    /// When this test has no `PATH`.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program("stsctl"));
        command.env_clear().env("HOME", &self.path);
        command.env("PATH", std::env::var_os("PATH").unwrap());
        if let Some(socket) = &self.socket {
            command.arg("--socket").arg(socket);
        }
        command.args(arguments).stdin(Stdio::null());
        command
    }

    /// Runs `stsctl import`.
    #[must_use]
    pub fn import(&self, arguments: &[&str]) -> RunOutput {
        run(self.command(&[&["import"], arguments].concat()))
    }

    /// Runs `stsctl setup`.
    #[must_use]
    pub fn setup(&self, arguments: &[&str]) -> RunOutput {
        run(self.command(&[&["setup"], arguments].concat()))
    }

    /// Runs `stsctl setup TOOL oss-upload --write`, asserts its success and returns its stdout.
    ///
    /// # Panics
    /// When it fails.
    #[track_caller]
    pub fn setup_write(&self, tool: &str) -> String {
        self.setup(&[tool, "oss-upload", "--region", "cn-hongkong", "--write"])
            .assert_success()
    }

    /// Runs `stsctl setup TOOL oss-upload --check`; returns the exit code and stdout.
    #[must_use]
    pub fn setup_check(&self, tool: &str) -> (Option<i32>, String) {
        let output = self.setup(&[tool, "oss-upload", "--check"]);
        (output.code, output.stdout)
    }

    /// Returns the state of every file in the home.
    ///
    /// # Panics
    /// When a directory cannot be read.
    #[must_use]
    pub fn files(&self) -> BTreeMap<PathBuf, FileState> {
        let mut found = BTreeMap::new();
        let mut pending = vec![self.path.clone()];
        while let Some(directory) = pending.pop() {
            for entry in fs::read_dir(directory).unwrap().flatten() {
                let (path, metadata) = (entry.path(), entry.metadata().unwrap());
                if metadata.is_dir() {
                    pending.push(path);
                } else {
                    let state = FileState {
                        bytes: fs::read(&path).unwrap_or_default(),
                        mode: metadata.mode(),
                        modified: (metadata.mtime(), metadata.mtime_nsec()),
                    };
                    found.insert(path, state);
                }
            }
        }
        found
    }
}

impl Default for Home {
    fn default() -> Self {
        Self::new()
    }
}

impl RunOutput {
    /// Asserts that the program has succeeded; returns its stdout.
    ///
    /// # Panics
    /// When it has failed.
    #[track_caller]
    pub fn assert_success(self) -> String {
        assert_eq!(self.code, Some(0), "{}{}", self.stdout, self.stderr);
        self.stdout
    }

    /// Asserts that the program has ended with code 1 and this text; returns its whole output.
    ///
    /// # Panics
    /// When it has not.
    #[track_caller]
    pub fn assert_failure(self, text: &str) -> String {
        assert_eq!(self.code, Some(1), "{}{}", self.stdout, self.stderr);
        let all = self.stdout + &self.stderr;
        assert!(all.contains(text), "{text}: {all}");
        all
    }
}

/// Runs a program to its end, and asserts that its output has no secret.
///
/// # Panics
/// When the program does not start, or prints a secret.
#[must_use]
pub fn run(mut command: Command) -> RunOutput {
    let output = command.output().unwrap();
    let output = RunOutput {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    };
    for marker in MARKERS {
        let is_shown = output.stdout.contains(marker) || output.stderr.contains(marker);
        assert!(
            !is_shown,
            "{marker} is shown: {}{}",
            output.stdout, output.stderr
        );
    }
    output
}
