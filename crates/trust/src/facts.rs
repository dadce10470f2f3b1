//! The data of one component of a path, as the rule uses them.

use std::{
    fs, io,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _},
    path::Path,
};

use rustix::{
    fs::{StatVfsMountFlags, lgetxattr, major, minor, statfs, statvfs},
    io::Errno,
};

use crate::private_group;

/// The type of a tmpfs, in statfs(2).
const TMPFS_MAGIC: u64 = 0x0102_1994;

/// The major and minor number of `/dev/null`, null(4); on macOS as `ls -l /dev/null` shows them.
const NULL_DEVICE: (u32, u32) = if cfg!(target_os = "macos") {
    (3, 2)
} else {
    (1, 3)
};

/// The extended attribute with the access control list, acl(5).
const ACCESS_ACL: &str = "system.posix_acl_access";

/// The kind of a component.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Directory,
    Link,
    /// `/dev/null`: what other users write to it is not kept.
    NullDevice,
    /// A regular file, or an object that no reader of the daemon opens.
    File,
}

/// A file system that begins at a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mount {
    /// The directory is in the file system of the directory above.
    Inside,
    /// The root of a tmpfs or of a read-only mount: a volume of Kubernetes is the one or the other.
    Volume,
    /// The root of another file system.
    Other,
}

/// The data of a component.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts {
    pub(crate) kind: Kind,
    pub(crate) owner: u32,
    pub(crate) group: u32,
    /// The permission bits, with set-id and sticky bits.
    pub(crate) mode: u32,
    /// The group is the owner's primary group and has no other member. `false` where the group has
    /// no right to write.
    pub(crate) is_private_group: bool,
    /// There is an access control list: the group bits of the mode are its mask. `false` where the
    /// rule does not depend on it.
    pub(crate) has_acl: bool,
    /// [`Mount::Inside`] where no other user may write.
    pub(crate) mount: Mount,
    /// The link `..data` of a volume of Kubernetes, by its name.
    pub(crate) is_data_link: bool,
    /// The directory `/var/log`, to which its group may write in some distributions.
    pub(crate) is_var_log: bool,
}

impl Facts {
    /// Returns the data of a component, and its device.
    pub(crate) fn of(path: &Path, parent_device: Option<u64>) -> io::Result<(Self, u64)> {
        let metadata = fs::symlink_metadata(path)?;
        let kind = if metadata.is_dir() {
            Kind::Directory
        } else if metadata.is_symlink() {
            Kind::Link
        } else if metadata.file_type().is_char_device() && is_null_device(metadata.rdev()) {
            Kind::NullDevice
        } else {
            Kind::File
        };
        let (owner, group, mode) = (metadata.uid(), metadata.gid(), metadata.mode() & 0o7777);
        let is_kept = matches!(kind, Kind::Directory | Kind::File);
        let group_writes = is_kept && mode & 0o020 != 0;
        let group_reads = kind == Kind::File && mode & 0o040 != 0;
        let mount_matters = kind == Kind::Directory && mode & 0o002 != 0;
        let facts = Self {
            kind,
            owner,
            group,
            mode,
            is_private_group: group_writes && private_group::is_private(group, owner),
            has_acl: (group_writes || group_reads) && has_acl(path),
            mount: if mount_matters {
                mount(path, metadata.dev(), parent_device)
            } else {
                Mount::Inside
            },
            is_data_link: kind == Kind::Link && path.file_name().is_some_and(|it| it == "..data"),
            is_var_log: path == Path::new("/var/log"),
        };
        Ok((facts, metadata.dev()))
    }

    /// Returns `true` if a user of no right by owner or group can write.
    pub(crate) fn others_write(&self) -> bool {
        self.mode & 0o002 != 0
    }

    /// Returns `true` if a member of the group other than the owner can write, or a user or group
    /// of an access control list.
    pub(crate) fn group_writes(&self) -> bool {
        self.mode & 0o020 != 0 && (self.has_acl || !self.is_private_group)
    }
}

fn is_null_device(device: u64) -> bool {
    // macOS has 32 bits for the number of a device, and std gives 64 everywhere.
    let device = device as rustix::fs::Dev;
    (major(device), minor(device)) == NULL_DEVICE
}

/// Returns `true` if the file system at a path is mounted read-only.
pub(crate) fn is_read_only(path: &Path) -> bool {
    statvfs(path).is_ok_and(|it| it.f_flag.contains(StatVfsMountFlags::RDONLY))
}

/// Returns `true` if a file has an access control list, or if that cannot be found out.
fn has_acl(path: &Path) -> bool {
    match lgetxattr(path, ACCESS_ACL, &mut [0_u8; 0][..]) {
        Ok(_) => true,
        Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::NOSYS) => false,
        Err(_) => true,
    }
}

/// Returns the file system of a directory, relative to the device of the directory above.
fn mount(path: &Path, device: u64, parent_device: Option<u64>) -> Mount {
    if parent_device.is_none_or(|it| it == device) {
        return Mount::Inside;
    }
    let is_tmpfs = statfs(path).is_ok_and(|it| it.f_type as u64 == TMPFS_MAGIC);
    if is_tmpfs || is_read_only(path) {
        Mount::Volume
    } else {
        Mount::Other
    }
}
