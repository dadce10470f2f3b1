//! A user at home: files as other tools have left them, and `stsctl` as it is typed there.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use e2e::{Kit, MARKERS, program};

/// A home with nothing in it yet.
pub(crate) struct Home {
    path: PathBuf,
    /// Of the daemon, where there is one.
    socket: Option<PathBuf>,
    _made: Option<tempfile::TempDir>,
}

/// What a run of the program said.
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// What can be seen of a file.
#[derive(Debug, PartialEq)]
pub(crate) struct State {
    pub(crate) bytes: Vec<u8>,
    mode: u32,
    /// In seconds, and what is more in nanoseconds.
    written: (i64, i64),
}

impl Home {
    pub(crate) fn new() -> Self {
        let made = tempfile::Builder::new().prefix("stsd-e2e-").tempdir();
        let made = made.unwrap();
        Self {
            path: made.path().to_owned(),
            socket: None,
            _made: Some(made),
        }
    }

    /// A home beside a daemon, whose kit searches it for secrets.
    pub(crate) fn of(kit: &Kit) -> Self {
        let path = kit.path("home");
        fs::create_dir_all(&path).unwrap();
        Self {
            path,
            socket: Some(kit.socket()),
            _made: None,
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    pub(crate) fn put(&self, name: &str, text: impl AsRef<[u8]>, mode: u32) {
        let path = self.file(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    pub(crate) fn text(&self, name: &str) -> String {
        fs::read_to_string(self.file(name)).unwrap()
    }

    pub(crate) fn mode(&self, name: &str) -> u32 {
        self.file(name).metadata().unwrap().mode() & 0o7777
    }

    /// The program, with nothing else in its environment.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program("stsctl"));
        command.env_clear().env("HOME", &self.path);
        command.env("PATH", std::env::var_os("PATH").unwrap());
        if let Some(socket) = &self.socket {
            command.arg("--socket").arg(socket);
        }
        command.args(arguments).stdin(Stdio::null());
        command
    }

    /// Everything below.
    pub(crate) fn all(&self) -> BTreeMap<PathBuf, State> {
        let mut found = BTreeMap::new();
        let mut pending = vec![self.path.clone()];
        while let Some(directory) = pending.pop() {
            for entry in fs::read_dir(directory).unwrap().flatten() {
                let (path, metadata) = (entry.path(), entry.metadata().unwrap());
                if metadata.is_dir() {
                    pending.push(path);
                } else {
                    let state = State {
                        bytes: fs::read(&path).unwrap_or_default(),
                        mode: metadata.mode(),
                        written: (metadata.mtime(), metadata.mtime_nsec()),
                    };
                    found.insert(path, state);
                }
            }
        }
        found
    }
}

/// Runs a program, which may show no secret whatever comes of it.
pub(crate) fn run(mut command: Command) -> Said {
    let output = command.output().unwrap();
    let said = Said {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    };
    for marker in MARKERS {
        let shows = said.stdout.contains(marker) || said.stderr.contains(marker);
        assert!(!shows, "{marker} is shown: {}{}", said.stdout, said.stderr);
    }
    said
}

impl Said {
    #[track_caller]
    pub(crate) fn worked(self) -> String {
        assert_eq!(self.code, Some(0), "{}{}", self.stdout, self.stderr);
        self.stdout
    }

    /// Looks at what a failure says; returns it.
    #[track_caller]
    pub(crate) fn failed(self, with: &str) -> String {
        assert_eq!(self.code, Some(1), "{}{}", self.stdout, self.stderr);
        let all = self.stdout + &self.stderr;
        assert!(all.contains(with), "{with}: {all}");
        all
    }
}
