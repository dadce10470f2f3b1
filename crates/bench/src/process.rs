//! A program that does not outlive the run, and where programs are found.

use std::{
    env,
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
/// A running program.
pub(crate) struct Process(Child);

impl Process {
    pub(crate) fn start(command: &mut Command) -> Result<Self> {
        let shown = command.get_program().to_string_lossy().into_owned();
        let child = command.stdin(Stdio::null()).spawn();
        child.map(Self).with_context(|| shown)
    }

    /// Starts a program that says in its first line that it is ready, and ends with its stdin.
    pub(crate) fn start_talking(command: &mut Command) -> Result<(Self, String)> {
        let shown = command.get_program().to_string_lossy().into_owned();
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().with_context(|| shown.clone())?;
        let mut line = String::new();
        if let Some(stdout) = child.stdout.as_mut() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        let process = Self(child);
        match line.is_empty() {
            true => bail!("{shown} said nothing"),
            false => Ok((process, line)),
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    pub(crate) fn has_ended(&mut self) -> Result<bool> {
        Ok(self.0.try_wait()?.is_some())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits for something that takes a moment, a minute at the most.
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> Result<bool>) -> Result<()> {
    for _ in 0..12_000 {
        if is_so()? {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(5));
    }
    bail!("waited too long for {what}")
}

/// Finds a program where a shell would, and where Debian has those of administrators.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let places = env::split_paths(&path).chain(["/usr/sbin".into()]);
    let mut candidates = places.map(|it| it.join(name));
    candidates.find(|it| it.is_file())
}

/// Where our own programs are.
pub(crate) struct Programs {
    /// One folder, filled by `cargo xtask bench`.
    pub(crate) folder: PathBuf,
    /// A Python that has oss2.
    pub(crate) python: Option<PathBuf>,
    /// The shim is built as it is given away.
    pub(crate) shim_is_static: bool,
}

impl Programs {
    /// Returns a program that has to be there.
    pub(crate) fn own(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Returns a program that need not be there.
    pub(crate) fn perhaps(&self, name: &str) -> Option<PathBuf> {
        Some(self.own(name)).filter(|it| it.is_file())
    }
}
