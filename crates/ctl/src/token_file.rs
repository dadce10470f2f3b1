//! The file with the secret of a URL, for libraries that use no URL without a token file.

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
use stsd_client::{SecretText, Url};

/// `TMPFS_MAGIC` of statfs(2).
const TMPFS: u64 = 0x0102_1994;

/// Returns a file that holds exactly the secret of the URL; `None` if there is no private directory
/// for the file: `$XDG_RUNTIME_DIR`, else the directory of the daemon's socket, else the usual runtime
/// directory of the user.
///
/// No directory `stsd` is made in a runtime directory: that directory would lead a client of the
/// system daemon to a daemon that does not exist.
pub(crate) fn find(socket: &Path, url: &Url, profile: &str) -> Option<PathBuf> {
    let name = name(url, profile)?;
    let named = env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let usual = PathBuf::from(format!("/run/user/{}", geteuid().as_raw()));
    let beside = || Some(std::path::absolute(socket).ok()?.parent()?.to_owned());
    let directory = named
        .filter(|it| is_private_memory(it))
        .or_else(|| beside().filter(|it| is_private_directory(it).unwrap_or(false)))
        .or_else(|| Some(usual).filter(|it| is_private_memory(it)))?;
    write(&directory, &name, &url.token).ok()
}

/// Returns the name of the file: programs of several profiles, or of several daemons, run at the
/// same time. A new secret replaces the old one in the same file.
fn name(url: &Url, profile: &str) -> Option<String> {
    let authority = url.url.expose().split('/').nth(2)?;
    let (_, port) = authority.rsplit_once(':')?;
    Some(format!("stsd-exec-{profile}-{port}.token"))
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

/// Writes the token atomically, with mode 0600.
fn write(directory: &Path, name: &str, token: &SecretText) -> io::Result<PathBuf> {
    let path = directory.join(name);
    if contains(&path, token) {
        return Ok(path);
    }
    // Mode 0600, and removed if it cannot be renamed.
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    file.write_all(token.expose().as_bytes())?;
    file.persist(&path)?;
    Ok(path)
}

fn is_private_directory(directory: &Path) -> io::Result<bool> {
    let metadata = fs::symlink_metadata(directory)?;
    let user = geteuid().as_raw();
    Ok(metadata.is_dir() && metadata.uid() == user && metadata.mode() & 0o077 == 0)
}

/// Returns `true` for a tmpfs that only the user can enter.
fn is_private_memory(directory: &Path) -> bool {
    let facts = (is_private_directory(directory), is_tmpfs(directory));
    directory.is_absolute() && matches!(facts, (Ok(true), Ok(true)))
}

fn is_tmpfs(directory: &Path) -> io::Result<bool> {
    let kind = statfs(directory)?.f_type;
    Ok(u64::try_from(kind).is_ok_and(|it| it == TMPFS))
}
