//! The rule of trust, asked for this process: `stsd-trust` has the rule.

use std::{
    ffi::OsStr,
    io::Read as _,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

pub(crate) use stsd_trust::{Loose, Purpose, TrustError};
use stsd_trust::{ProcessIds, judge};

use super::file_watch;

/// Maximum number of interpreters of interpreters, as in the kernel.
const MAX_INTERPRETERS: u32 = 5;

/// Maximum length of the first line of a script that the kernel reads: `BINPRM_BUF_SIZE` of Linux.
const MAX_INTERPRETER_LINE_BYTES: u64 = 256;

/// Judges a path that the daemon is about to open or to write below.
///
/// # Errors
/// [`TrustError`], for the first component that is not trusted, or that cannot be examined.
pub(crate) fn check(path: &Path, purpose: Purpose) -> Result<(), TrustError> {
    judge(path, purpose, &ProcessIds::own())
}

/// Judges a program that the daemon is about to run by its path, and the interpreter of a script.
///
/// # Errors
/// As [`check`].
pub(crate) fn check_program(program: &OsStr) -> Result<(), TrustError> {
    let mut program = PathBuf::from(program);
    for _ in 0..MAX_INTERPRETERS {
        check(&program, Purpose::Decides)?;
        match interpreter(&program) {
            Some(interpreter) => program = interpreter,
            None => break,
        }
    }
    Ok(())
}

/// Returns the interpreter of a script, execve(2); `None` for another program, and for a program that the
/// daemon cannot read.
fn interpreter(program: &Path) -> Option<PathBuf> {
    let mut line = Vec::with_capacity(MAX_INTERPRETER_LINE_BYTES as usize);
    let file = file_watch::open(program, usize::MAX).ok()?.0;
    file.take(MAX_INTERPRETER_LINE_BYTES)
        .read_to_end(&mut line)
        .ok()?;
    let line = line.strip_prefix(b"#!")?.split(|it| *it == b'\n').next()?;
    let mut words = line.split(|it| matches!(it, b' ' | b'\t'));
    let path = words.find(|it| !it.is_empty())?;
    // Programs start in this directory.
    Some(Path::new("/").join(OsStr::from_bytes(path)))
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::PermissionsExt as _,
        path::{Path, PathBuf},
    };

    use super::{TrustError, check_program};

    fn write(path: PathBuf, text: &str) -> PathBuf {
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    #[test]
    fn interpreters_of_a_script_are_judged() {
        let root = tempfile::tempdir().unwrap();
        let loose = root.path().join("loose");
        fs::create_dir(&loose).unwrap();
        fs::set_permissions(&loose, fs::Permissions::from_mode(0o777)).unwrap();
        let own = write(root.path().join("own"), "#!/bin/sh\n");
        let other = write(loose.join("other"), "");
        let check = |first_line: &str| {
            let script = write(root.path().join("script"), first_line);
            check_program(script.as_os_str())
        };
        let line = |path: &Path| format!("#! \t{} -e\nexit\n", path.display());
        for safe in [
            String::new(),
            "#!".to_owned(),
            line(&own),
            line(Path::new("/bin/sh")),
        ] {
            assert!(check(&safe).is_ok(), "{safe}");
        }
        assert!(matches!(check(&line(&other)), Err(TrustError::Loose(_))));
        // The interpreter of an interpreter.
        let between = write(root.path().join("between"), &line(&other));
        assert!(matches!(check(&line(&between)), Err(TrustError::Loose(_))));
    }
}
