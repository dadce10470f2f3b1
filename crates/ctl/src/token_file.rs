//! The file with the secret of the URLs, for libraries that use no URL without a token file:
//! the daemon's own file, otherwise one in the user's runtime directory.

use std::{
    env,
    fs::{self, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{OFlags, statfs},
    process::geteuid,
};
use stsd_client::SecretText;

/// `TMPFS_MAGIC` of statfs(2).
const TMPFS: u64 = 0x0102_1994;

/// The daemon's file, beside its socket.
const DAEMON_TOKEN_FILE: &str = "http.token";

/// The file of stsctl. The file is not in the directory of the user's daemon: that directory would
/// lead a client of the system daemon to a daemon that does not exist.
const EXEC_TOKEN_FILE: &str = "stsd-exec.token";

/// Returns a file that holds exactly `token`; `None` if only a disk, or a directory of another
/// user, could hold it.
pub(crate) fn find(socket: &Path, token: &SecretText) -> Option<PathBuf> {
    let runtime = env::var_os("XDG_RUNTIME_DIR").filter(|value| !value.is_empty());
    std::path::absolute(socket.with_file_name(DAEMON_TOKEN_FILE))
        .ok()
        .filter(|it| contains(it, token))
        .or_else(|| write(Path::new(&runtime?), token).ok())
}

/// Returns `true` if a regular file holds exactly the token. A process that could replace the
/// file later gains nothing, because the URL holds the secret as well.
fn contains(file: &Path, token: &SecretText) -> bool {
    let token = token.expose().as_bytes();
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits();
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(flags.cast_signed())
        .open(file);
    let Ok(file) = opened else { return false };
    let mut found = zeroize::Zeroizing::new(Vec::with_capacity(token.len() + 1));
    let read = file.take(token.len() as u64 + 1).read_to_end(&mut found);
    read.is_ok() && *found == token
}

/// Writes the token atomically into the user's runtime directory, with mode 0600. All programs
/// share the file.
fn write(runtime: &Path, token: &SecretText) -> io::Result<PathBuf> {
    if !runtime.is_absolute() || !is_private_directory(runtime)? || !is_tmpfs(runtime)? {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    let path = runtime.join(EXEC_TOKEN_FILE);
    if contains(&path, token) {
        return Ok(path);
    }
    // Mode 0600, and removed if it cannot be renamed.
    let mut file = tempfile::NamedTempFile::new_in(runtime)?;
    file.write_all(token.expose().as_bytes())?;
    file.persist(&path)?;
    Ok(path)
}

fn is_private_directory(directory: &Path) -> io::Result<bool> {
    let metadata = fs::symlink_metadata(directory)?;
    let user = geteuid().as_raw();
    Ok(metadata.is_dir() && metadata.uid() == user && metadata.mode() & 0o077 == 0)
}

fn is_tmpfs(directory: &Path) -> io::Result<bool> {
    let kind = statfs(directory)?.f_type;
    Ok(u64::try_from(kind).is_ok_and(|it| it == TMPFS))
}
