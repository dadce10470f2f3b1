//! The state of a path, which differs after a change of the file or directory there.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

/// The state of a file or a directory; two states differ if something may have changed in between.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FileState {
    /// There is none, or its metadata cannot be read.
    Missing,
    /// The metadata.
    Present {
        device: u64,
        inode: u64,
        length: u64,
        modified: (i64, i64),
    },
}

/// A path with the state of its file or directory, links on the way to it, and rights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathState {
    path: PathBuf,
    /// The path without symbolic links: Kubernetes changes a volume by the link `..data`.
    resolved: Option<PathBuf>,
    /// Mode, user and group: a refused file may be corrected by chmod(1).
    rights: Option<(u32, u32, u32)>,
    file: FileState,
}

impl FileState {
    pub(crate) fn of(path: &Path) -> Self {
        match fs::metadata(path) {
            Ok(metadata) => Self::from_metadata(&metadata),
            Err(_) => Self::Missing,
        }
    }

    fn from_metadata(metadata: &fs::Metadata) -> Self {
        Self::Present {
            device: metadata.dev(),
            inode: metadata.ino(),
            length: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }
}

impl PathState {
    /// Returns the present state of a path.
    #[must_use]
    pub fn of(path: PathBuf) -> Self {
        let metadata = fs::metadata(&path).ok();
        Self {
            resolved: fs::canonicalize(&path).ok(),
            rights: metadata.as_ref().map(|it| (it.mode(), it.uid(), it.gid())),
            file: metadata
                .as_ref()
                .map_or(FileState::Missing, FileState::from_metadata),
            path,
        }
    }

    /// Returns the path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}
