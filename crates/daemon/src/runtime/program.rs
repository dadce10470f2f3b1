//! A program of the configuration: an identity command or a hook. `Program::start` is the only
//! place where such a program is started.

use std::{
    ffi::OsString,
    fmt,
    fs::{self, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use nix::{
    errno::Errno,
    fcntl::OFlag,
    unistd::{AccessFlags, access},
};
use tokio::task::spawn_blocking;
use zeroize::Zeroizing;

use super::{
    child_process::{self, CommandError, Ended, Environment, Excess, Start},
    landlock::WRITABLE_DEVICES,
    stderr_line::{Hidden, quotable_line},
    trust::{self, Purpose, TrustError},
};

/// Maximum number of bytes of a hook's output with which its stderr is compared.
const MAX_HOOK_OUTPUT_BYTES: usize = 64 * 1024;

/// The hint for a path that a program cannot write to.
pub const UNWRITABLE_HINT: &str = "make it writable for the daemon's user, and in the unit with \
    BindPaths=; a path that is new since the start of stsd needs a restart";

/// A program of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Program {
    /// The full path of the program, and its arguments.
    pub words: Vec<String>,
    /// The paths that the program may write to.
    pub writable: Vec<PathBuf>,
    /// The names of further variables of the daemon's environment.
    pub environment: Vec<String>,
}

/// The parts of a program's surroundings that all programs share.
#[derive(Clone)]
pub struct ProgramContext {
    /// The variables that every program has.
    pub environment: Environment,
    /// Returns a variable of the daemon's environment.
    pub variable: fn(&str) -> Option<OsString>,
    /// The directories for temporary directories, in the order of preference.
    pub temp_parents: Vec<PathBuf>,
}

/// The output of a program that has succeeded.
pub(crate) struct Printed {
    /// The output.
    pub text: Zeroizing<Vec<u8>>,
    /// The last line of stderr that holds no secret.
    pub stderr: Option<String>,
}

/// The failure of a program.
#[derive(Debug)]
pub(crate) struct ProgramFailure {
    /// The failure.
    pub error: CommandError,
    /// The last line of stderr that holds no secret.
    pub stderr: Option<String>,
}

impl Program {
    /// Returns the path of the program.
    #[must_use]
    pub fn path(&self) -> &str {
        self.words.first().map_or("", String::as_str)
    }

    /// Runs the program for `limit` at most, with further variables, and discards its output.
    pub(crate) async fn run(
        &self,
        context: &ProgramContext,
        variables: &[(&str, &str)],
        limit: Duration,
    ) -> Result<(), ProgramFailure> {
        let output = (MAX_HOOK_OUTPUT_BYTES, Excess::IsDiscarded);
        let ended = self.start(context, variables, limit, output).await;
        self.printed(ended, context).map(drop)
    }

    /// Runs the program for `limit` at most, and returns its output of at most `max_bytes` bytes.
    pub(crate) async fn read(
        &self,
        context: &ProgramContext,
        limit: Duration,
        max_bytes: usize,
    ) -> Result<Printed, ProgramFailure> {
        let output = (max_bytes, Excess::Kills);
        let ended = self.start(context, &[], limit, output).await;
        self.printed(ended, context)
    }

    /// Returns the difference to a run by hand: where the program may write, and its variables.
    pub(crate) fn describe_confinement(&self, context: &ProgramContext) -> String {
        let mut writable: Vec<_> = WRITABLE_DEVICES.map(str::to_owned).into();
        writable.push("$TMPDIR".to_owned());
        writable.extend(self.writable.iter().map(|it| it.display().to_string()));
        let mut names: Vec<_> = self.variables(context).into_iter().map(|it| it.0).collect();
        names.push("TMPDIR".into());
        names.sort();
        let names: Vec<_> = names.iter().map(|it| it.to_string_lossy()).collect();
        let mut text = format!(
            "under stsd it starts in /, has only the variables {}, and may write only to {} \
             (see writable and environment in man stsd-config)",
            names.join(" "),
            writable.join(" ")
        );
        for name in self.missing_variables(context) {
            text += &format!("; {name} is not set in the daemon's environment");
        }
        text
    }

    /// Returns the configured variables that the daemon's environment does not have.
    pub(crate) fn missing_variables<'a>(
        &'a self,
        context: &'a ProgramContext,
    ) -> impl Iterator<Item = &'a str> {
        let names = self.environment.iter().map(String::as_str);
        names.filter(|it| (context.variable)(it).is_none())
    }

    /// Runs the program for `limit` at most, with further variables, and returns its output of at most
    /// `max_bytes` bytes. The rule of trust precedes each run: another user may have got the right to
    /// replace the program since the start of the daemon.
    async fn start(
        &self,
        context: &ProgramContext,
        variables: &[(&str, &str)],
        limit: Duration,
        (max_bytes, excess): (usize, Excess),
    ) -> Result<Ended, CommandError> {
        let start = self.prepare(context, variables);
        let (program, writable) = (self.path().to_owned(), self.writable.clone());
        // On a blocking thread, because the program may be on a slow disk.
        let judged = spawn_blocking(move || check_trust(&program, &writable));
        judged.await.map_err(io::Error::other)??;
        Ok(child_process::run(start, limit, max_bytes, excess).await?)
    }

    /// Returns the command, ready to be started.
    fn prepare(&self, context: &ProgramContext, variables: &[(&str, &str)]) -> Start {
        let mut command = Command::new(self.path());
        command.args(self.words.iter().skip(1)).env_clear();
        command.envs(self.variables(context));
        command.envs(variables.iter().copied());
        Start {
            command,
            writable: self.writable.clone(),
            temp_parents: context.temp_parents.clone(),
        }
    }

    /// Returns the variables of the program. The values of the configured ones are read for each
    /// run and not kept: they may be secrets.
    fn variables(&self, context: &ProgramContext) -> Environment {
        let named = self.environment.iter();
        let named = named.filter_map(|name| Some((name.into(), (context.variable)(name)?)));
        context.environment.iter().cloned().chain(named).collect()
    }

    fn printed(
        &self,
        ended: Result<Ended, CommandError>,
        context: &ProgramContext,
    ) -> Result<Printed, ProgramFailure> {
        let ended = ended.map_err(|error| ProgramFailure {
            error,
            stderr: None,
        })?;
        let stderr = self.quote(&ended, context);
        match ended.result {
            Ok(()) => Ok(Printed {
                text: ended.stdout,
                stderr,
            }),
            Err(error) => Err(ProgramFailure { error, stderr }),
        }
    }

    /// Returns the last line of stderr that holds no secret; `None` if a part of the output is not
    /// known, with which the line would be compared.
    fn quote(&self, ended: &Ended, context: &ProgramContext) -> Option<String> {
        if ended.is_cut {
            return None;
        }
        let stdout = Zeroizing::new(String::from_utf8_lossy(&ended.stdout).into_owned());
        let stderr = Zeroizing::new(String::from_utf8_lossy(&ended.stderr).into_owned());
        // A proxy's URL may hold a password.
        let is_proxy = |name: &str| name.to_ascii_uppercase().ends_with("_PROXY");
        let variables = self
            .variables(context)
            .into_iter()
            .filter_map(|(name, value)| {
                let (name, value) = (name.into_string().ok()?, value.into_string().ok()?);
                (is_proxy(&name) || self.environment.contains(&name)).then_some((name, value))
            });
        let variables: Vec<_> = variables.collect();
        quotable_line(
            &stderr,
            &Hidden {
                stdout: &stdout,
                variables: &variables,
            },
        )
    }
}

/// Judges a program that is about to be run by its path, as sshd(8) runs programs, and the paths that
/// the program may write to. A writable path that is missing stays forbidden.
///
/// # Errors
/// [`CommandError::Untrusted`], [`CommandError::Redirectable`], or [`CommandError::Start`] for a
/// program that cannot be examined.
fn check_trust(program: &str, writable: &[PathBuf]) -> Result<(), CommandError> {
    trust::check_program(program.as_ref()).map_err(|error| match error {
        TrustError::Io(error) => CommandError::Start(error),
        TrustError::Loose(loose) => CommandError::Untrusted(loose),
    })?;
    for path in writable {
        if let Err(TrustError::Loose(loose)) = trust::check(path, Purpose::WritablePath) {
            return Err(CommandError::Redirectable(path.clone(), loose));
        }
    }
    Ok(())
}

/// Checks that this process, and therefore a program, can write to a path. Nothing is changed.
///
/// # Errors
/// The error of the system call.
pub fn check_writable(path: &Path) -> io::Result<()> {
    let flags = match fs::metadata(path)?.is_dir() {
        // A file without a name.
        true => OFlag::O_TMPFILE,
        // A FIFO without a reader would block.
        false => OFlag::O_NONBLOCK,
    };
    let opened = OpenOptions::new()
        .write(true)
        .mode(0o600)
        .custom_flags(flags.bits())
        .open(path);
    let Err(error) = opened else { return Ok(()) };
    match error.raw_os_error().map(Errno::from_raw) {
        // Full; or a FIFO or a socket; or a program that runs.
        Some(Errno::ENOSPC | Errno::EDQUOT | Errno::ENXIO | Errno::ETXTBSY) => Ok(()),
        // A file system without such files.
        Some(Errno::EOPNOTSUPP | Errno::EISDIR) => Ok(access(path, AccessFlags::W_OK)?),
        _ => Err(error),
    }
}

/// The values of the environment may be secrets.
impl fmt::Debug for ProgramContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.environment.iter().map(|(name, _)| name);
        f.debug_list().entries(names).finish()
    }
}

impl fmt::Display for ProgramFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)?;
        match &self.stderr {
            Some(line) => write!(f, "; its stderr ends with: {line}"),
            None => Ok(()),
        }
    }
}
