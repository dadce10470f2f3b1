//! The directory whose files outlive a reboot.

use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::fs::DirBuilderExt as _,
    path::Path,
};

/// Creates the directory with mode 0700, where it is missing. The directory must exist before
/// Landlock restricts writes to the existing directories.
///
/// # Errors
/// There is no directory, and none can be created.
pub fn create(directory: &Path) -> io::Result<()> {
    let created = DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory);
    match fs::metadata(directory) {
        Ok(found) if found.is_dir() => Ok(()),
        _ => created,
    }
}
