//! Child processes that do not outlive the run, and the paths of programs.

use std::{
    env,
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};

/// A running program, which is killed when it is dropped.
pub(crate) struct Process(Child);

impl Process {
    pub(crate) fn start(command: &mut Command) -> Result<Self> {
        let shown = command.get_program().to_string_lossy().into_owned();
        let child = command.stdin(Stdio::null()).spawn();
        child.map(Self).with_context(|| shown)
    }

    /// Starts a program that prints a line when it is ready, and exits at the end of its stdin.
    pub(crate) fn start_with_ready_line(command: &mut Command) -> Result<(Self, String)> {
        let shown = command.get_program().to_string_lossy().into_owned();
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().with_context(|| shown.clone())?;
        let mut line = String::new();
        if let Some(stdout) = child.stdout.as_mut() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        let process = Self(child);
        match line.is_empty() {
            true => bail!("{shown} printed no line"),
            false => Ok((process, line)),
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    pub(crate) fn has_exited(&mut self) -> Result<bool> {
        Ok(self.0.try_wait()?.is_some())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits for a condition, for at most a minute.
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> Result<bool>) -> Result<()> {
    for _ in 0..12_000 {
        if condition()? {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(5));
    }
    bail!("waited too long for {what}")
}

/// Returns the path of a program in `PATH` or in `/usr/sbin`.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain(["/usr/sbin".into()]);
    let mut candidates = folders.map(|it| it.join(name));
    candidates.find(|it| it.is_file())
}

/// The paths of the measured programs.
pub(crate) struct Programs {
    /// The folder that `cargo xtask bench` fills.
    pub(crate) folder: PathBuf,
    /// A Python interpreter with oss2.
    pub(crate) python: Option<PathBuf>,
    /// `true` if the shim is the released, static one.
    pub(crate) shim_is_static: bool,
}

impl Programs {
    /// Returns the path of a program that must exist.
    pub(crate) fn required(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Returns the path of a program; `None` if the program is missing.
    pub(crate) fn optional(&self, name: &str) -> Option<PathBuf> {
        Some(self.required(name)).filter(|it| it.is_file())
    }
}
