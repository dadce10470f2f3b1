//! Child processes: their paths, and a timeout for their exit.

use std::{
    env,
    io::{Read as _, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use stsd_client::SecretText;
use zeroize::Zeroizing;

/// Interval between calls of `waitpid`.
const EXIT_POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Maximum run time of a program.
const RUN_TIMEOUT: Duration = Duration::from_secs(30);

/// Size at which the output of a program is cut.
const MAX_OUTPUT_BYTES: u64 = 256 * 1024;

/// The exit status and the output of a program.
pub(crate) struct Output {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: Zeroizing<Vec<u8>>,
    pub(crate) stderr: Vec<u8>,
}

/// Returns the path of a program: beside this one, otherwise in `PATH`.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let own = env::current_exe().ok();
    let beside = own.as_deref().and_then(Path::parent).map(Path::to_owned);
    let path = env::var_os("PATH").unwrap_or_default();
    let mut places = beside.into_iter().chain(env::split_paths(&path));
    places.find_map(|it| Some(it.join(name)).filter(|it| is_executable(it)))
}

fn is_executable(path: &Path) -> bool {
    let metadata = path.metadata();
    path.is_absolute()
        && metadata.is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0)
}

/// Runs a program with a text on stdin, and kills it after [`RUN_TIMEOUT`].
pub(crate) fn run(mut command: Command, input: Option<&SecretText>) -> Result<Output> {
    let name = command.get_program().to_string_lossy().into_owned();
    let stdin = if input.is_some() {
        Stdio::piped()
    } else {
        Stdio::null()
    };
    command.stdin(stdin);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command
        .spawn()
        .with_context(|| format!("{name} does not start"))?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    thread::scope(|scope| {
        let out = scope.spawn(move || read_to_limit(stdout));
        let err = scope.spawn(move || read_to_limit(stderr));
        scope.spawn(move || {
            if let (Some(mut stdin), Some(text)) = (stdin, input) {
                // A program that does not read stdin reports its own error.
                let _ = stdin.write_all(text.expose().as_bytes());
            }
        });
        let status = wait_for_exit(&mut child, &name, RUN_TIMEOUT)?;
        let joined = |it: thread::ScopedJoinHandle<'_, _>| it.join().unwrap_or_default();
        Ok(Output {
            status,
            stdout: joined(out),
            stderr: joined(err).to_vec(),
        })
    })
}

/// Runs a program without input, and returns its output; `None` if it fails.
pub(crate) fn stdout(command: Command) -> Option<String> {
    let output = run(command, None).ok()?;
    output.status.success().then_some(())?;
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Waits for the exit of a program; one that runs longer than `bound` is killed, which is an
/// error. `name` is what the error calls it.
///
/// A pidfd would do without the pauses, but needs Linux 5.3.
pub(crate) fn wait_for_exit(
    child: &mut Child,
    name: &str,
    timeout: Duration,
) -> Result<ExitStatus> {
    let polls = timeout.as_millis() / EXIT_POLL_INTERVAL.as_millis();
    for _ in 0..polls {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        thread::sleep(EXIT_POLL_INTERVAL);
    }
    let _ = child.kill();
    let _ = child.wait();
    bail!(
        "{name} did not end within {} s and was killed",
        timeout.as_secs()
    )
}

fn read_to_limit(stream: Option<impl std::io::Read>) -> Zeroizing<Vec<u8>> {
    let mut bytes = Zeroizing::new(Vec::new());
    if let Some(stream) = stream {
        let _ = stream.take(MAX_OUTPUT_BYTES).read_to_end(&mut bytes);
    }
    bytes
}
