//! Small file systems, full ones among them.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    os::unix::ffi::OsStrExt as _,
    path::Path,
};

use nix::mount::{MsFlags, mount};

/// Mounts a tmpfs on a directory, with a capacity in bytes and in files; the directory itself is one
/// of the files. Its mode is 0700.
///
/// # Panics
/// When the system refuses, as outside of [`in_own_mounts`](crate::in_own_mounts).
pub fn mount_small(directory: &Path, bytes: usize, files: usize) {
    let options = format!("mode=0700,size={bytes},nr_inodes={files}");
    let kind = Some("tmpfs");
    mount(
        kind,
        directory,
        kind,
        MsFlags::empty(),
        Some(options.as_str()),
    )
    .unwrap();
}

/// Fills a small file system: its files, then its bytes.
///
/// # Panics
/// When another file still fits.
pub fn fill_filesystem(directory: &Path) {
    let mut last = None;
    for number in 0..1000 {
        match File::create_new(directory.join(format!("filler{number}"))) {
            Ok(file) => last = Some(file),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(_) => break,
        }
    }
    while last
        .as_mut()
        .is_some_and(|it| it.write_all(&[0; 64]).is_ok())
    {}
    let one_more = File::create_new(directory.join("one-more"));
    assert!(one_more.is_err(), "the directory is not full");
}

/// Removes the files of [`fill_filesystem`].
///
/// # Panics
/// When one cannot be removed.
pub fn free_filesystem(directory: &Path) {
    for entry in fs::read_dir(directory).unwrap().flatten() {
        if entry.file_name().as_bytes().starts_with(b"filler") {
            fs::remove_file(entry.path()).unwrap();
        }
    }
}
