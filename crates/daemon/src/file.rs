//! Decides how a file that somebody named is read: a regular file, up to a size, and
//! without ever waiting for it. A FIFO in its place must not stop the daemon.

use std::{
    fs::{File, Metadata, OpenOptions},
    io::{self, Read as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use nix::fcntl::OFlag;
use zeroize::Zeroizing;

/// Opens a regular file of at most `most` bytes.
pub(crate) fn open(path: &Path, most: usize) -> io::Result<(File, Metadata)> {
    let mut options = OpenOptions::new();
    let file = options
        .read(true)
        .custom_flags(OFlag::O_NONBLOCK.bits())
        .open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    if metadata.len() > most as u64 {
        return Err(io::Error::other(format!("it is larger than {most} bytes")));
    }
    Ok((file, metadata))
}

/// Reads an opened file as text; the memory is wiped, because it may be a key file.
pub(crate) fn read(file: File, most: usize) -> io::Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::with_capacity(most.min(16 * 1024)));
    file.take(most as u64).read_to_string(&mut text)?;
    Ok(text)
}
