//! The place of the socket. A client uses one place for its whole life: a failure there never leads
//! to another place, because another daemon may serve another identity under the same profile name.

use std::{
    ffi::{OsStr, OsString},
    fs,
    io::{self, ErrorKind},
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    sys::stat::{FileStat, SFlag, lstat},
    unistd::geteuid,
};

use crate::error::Error;

/// The socket of the system daemon.
pub const SYSTEM_SOCKET: &str = "/run/stsd/stsd.sock";

/// Maximum length of a socket's path, in bytes: `sun_path` has 108 with its NUL, unix(7); 104 on
/// macOS.
const MAX_PATH_BYTES: usize = if cfg!(target_os = "macos") { 103 } else { 107 };

/// The path of a daemon's socket below the directory of a user's runtime files.
const SOCKET_IN_RUNTIME_DIR: &str = "stsd/stsd.sock";

/// The path of a user's configuration below the directory of configurations.
const CONFIG_IN_CONFIG_DIR: &str = "stsd/config.toml";

/// The accounts of this machine, passwd(5).
const ACCOUNTS: &str = "/etc/passwd";

/// The socket of a client.
#[derive(Debug, Clone)]
pub(crate) struct Location {
    path: PathBuf,
    origin: Origin,
    /// `true` if the place depends on `XDG_RUNTIME_DIR`, which is not set.
    lacks_runtime_dir: bool,
}

/// The reason for which a client uses a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// An argument or `STSD_SOCKET` names the socket.
    Named,
    /// The socket is in `$XDG_RUNTIME_DIR`.
    RuntimeDir,
    /// The socket is in the usual runtime directory, because the variable is not set.
    UsualRuntimeDir,
    /// The socket is the one of the system daemon.
    System,
}

impl Location {
    /// Returns the location of a socket that an argument or a variable names.
    pub(crate) fn named(path: PathBuf) -> Self {
        Self {
            path,
            origin: Origin::Named,
            lacks_runtime_dir: false,
        }
    }

    /// Returns `$STSD_SOCKET`; else the socket of the user's daemon; else the socket of the system
    /// daemon, if the user has neither a directory for the socket nor a configuration.
    pub(crate) fn find(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        Self::find_for(variable, home_of_account)
    }

    fn find_for(
        variable: impl Fn(&str) -> Option<OsString>,
        home_of_account: impl FnOnce() -> Option<PathBuf>,
    ) -> Self {
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        if let Some(path) = variable("STSD_SOCKET") {
            return Self::named(path.into());
        }
        let (path, origin) = user_socket(variable);
        let lacks_runtime_dir = origin == Origin::UsualRuntimeDir;
        if is_absent(directory(&path)) && !may_have_configuration(variable, home_of_account) {
            return Self {
                path: SYSTEM_SOCKET.into(),
                origin: Origin::System,
                lacks_runtime_dir,
            };
        }
        Self {
            path,
            origin,
            lacks_runtime_dir,
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns `true` if a daemon that is away is waited for as long as for one that restarts: its
    /// socket was named, or the directory of the socket exists.
    pub(crate) fn is_established(&self) -> bool {
        self.origin == Origin::Named || !is_absent(directory(&self.path))
    }

    /// Returns the other socket of a daemon on this machine, the user's or the system's, if there is
    /// one.
    pub(crate) fn other(&self, variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        let places = [user_socket(variable).0, SYSTEM_SOCKET.into()];
        let is_socket = |path: &PathBuf| lstat(path).is_ok_and(|it| has_type(&it, SFlag::S_IFSOCK));
        let mut others = places.into_iter().filter(|it| *it != self.path);
        others.find(is_socket)
    }

    /// Checks the directory of a user's socket that was not named. In the usual place, which no variable
    /// names, it has to be this user's and closed to all others. In `$XDG_RUNTIME_DIR` it must not be
    /// another user's, nor a symbolic link of another user to the socket of another daemon.
    ///
    /// # Errors
    /// The directory is missing or another user could have made the socket in it.
    pub(crate) fn check_directory(&self) -> io::Result<()> {
        let is_usual = match self.origin {
            Origin::Named | Origin::System => return Ok(()),
            Origin::RuntimeDir => false,
            Origin::UsualRuntimeDir => true,
        };
        let directory = directory(&self.path);
        let found = lstat(directory)?;
        let is_private = found.st_mode & 0o077 == 0 && has_type(&found, SFlag::S_IFDIR);
        let is_ours = found.st_uid == geteuid().as_raw();
        let shown = directory.display();
        // Another user could put a link to the socket of another daemon there.
        let others_write = found.st_mode & 0o022 != 0 && has_type(&found, SFlag::S_IFDIR);
        if !is_usual && others_write && (is_ours || found.st_uid == 0) {
            let mode = found.st_mode & 0o7777;
            let problem = format!("{shown} has mode {mode:04o}, and other users can write to it");
            return Err(io::Error::other(problem));
        }
        if is_ours && (is_private || !is_usual) || found.st_uid == 0 && !is_usual {
            return Ok(());
        }
        if is_ours {
            // Not a refusal that a restart of the daemon ends: the user has to change the directory.
            return Err(io::Error::other(format!(
                "{shown} is not a directory with mode 0700"
            )));
        }
        let reason = format!("{shown} belongs to uid {}", found.st_uid);
        Err(io::Error::new(ErrorKind::PermissionDenied, reason))
    }

    /// Returns the error of a failed connect.
    pub(crate) fn unreachable(&self, error: io::Error) -> Error {
        let is_file = || lstat(&self.path).is_ok_and(|it| !has_type(&it, SFlag::S_IFSOCK));
        // connect(2) refuses any other file as well.
        let length = self.path.as_os_str().len();
        let source = if length > MAX_PATH_BYTES {
            let reason =
                format!("the path has {length} bytes, a socket's at most {MAX_PATH_BYTES}");
            io::Error::new(ErrorKind::InvalidFilename, reason)
        } else if error.kind() == ErrorKind::ConnectionRefused && is_file() {
            io::Error::new(ErrorKind::ConnectionRefused, "it is not a socket")
        } else {
            error
        };
        Error::NotReachable {
            socket: self.path.clone(),
            source,
            lacks_runtime_dir: self.lacks_runtime_dir,
        }
    }
}

/// Returns the socket of the user's own daemon.
fn user_socket(variable: impl Fn(&str) -> Option<OsString>) -> (PathBuf, Origin) {
    let (directory, origin) = match variable("XDG_RUNTIME_DIR") {
        Some(directory) => (PathBuf::from(directory), Origin::RuntimeDir),
        None => {
            let usual = format!("/run/user/{}", geteuid());
            (usual.into(), Origin::UsualRuntimeDir)
        }
    };
    (directory.join(SOCKET_IN_RUNTIME_DIR), origin)
}

/// Returns `false` only if the user surely has no configuration: a path that cannot be read counts as
/// one, and so does a home that is not known.
fn may_have_configuration(
    variable: impl Fn(&str) -> Option<OsString>,
    home_of_account: impl FnOnce() -> Option<PathBuf>,
) -> bool {
    let home = variable("HOME").map(PathBuf::from);
    let homes: Vec<_> = home.into_iter().chain(home_of_account()).collect();
    // systemd starts services of root without HOME.
    if homes.is_empty() && !geteuid().is_root() {
        return true;
    }
    let in_homes = homes.iter();
    let in_homes = in_homes.map(|it| it.join(".config").join(CONFIG_IN_CONFIG_DIR));
    let in_config_dir = variable("XDG_CONFIG_HOME");
    let in_config_dir = in_config_dir.map(|it| Path::new(&it).join(CONFIG_IN_CONFIG_DIR));
    let named = variable("STSD_CONFIG").map(PathBuf::from);
    let mut all = in_homes.chain(in_config_dir).chain(named);
    all.any(|it| !is_absent(&it))
}

/// Returns the home of this user in passwd(5): a program may run with another `HOME`.
fn home_of_account() -> Option<PathBuf> {
    let accounts = fs::read(ACCOUNTS).ok()?;
    let uid = geteuid().to_string();
    let mut lines = accounts.split(|it| *it == b'\n');
    lines.find_map(|line| {
        let mut fields = line.split(|it| *it == b':').skip(2);
        let is_ours = fields.next()? == uid.as_bytes();
        let home = fields.nth(2)?;
        is_ours.then(|| OsStr::from_bytes(home).into())
    })
}

fn is_absent(path: &Path) -> bool {
    matches!(lstat(path), Err(Errno::ENOENT | Errno::ENOTDIR))
}

fn directory(socket: &Path) -> &Path {
    match socket.parent() {
        Some(directory) if !directory.as_os_str().is_empty() => directory,
        _ => Path::new("."),
    }
}

fn has_type(file: &FileStat, r#type: SFlag) -> bool {
    file.st_mode & SFlag::S_IFMT.bits() == r#type.bits()
}

#[cfg(test)]
mod tests {
    use std::{
        ffi::OsString,
        fs::{self, DirBuilder},
        io::ErrorKind,
        os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
        path::Path,
    };

    use nix::unistd::geteuid;

    use super::{Location, Origin, SYSTEM_SOCKET};

    fn find(variables: &[(&str, &Path)]) -> Location {
        find_at_home(variables, None)
    }

    /// Returns the location for a user with a home in passwd(5).
    fn find_at_home(variables: &[(&str, &Path)], home: Option<&Path>) -> Location {
        let variable = |name: &str| {
            let mut found = variables.iter().filter(|(it, _)| *it == name);
            found.next().map(|(_, path)| OsString::from(path))
        };
        Location::find_for(variable, || home.map(Path::to_owned))
    }

    #[test]
    fn home_of_the_account_counts_with_another_home_variable() {
        let root = tempfile::tempdir().unwrap();
        let (account, other) = (root.path().join("account"), root.path().join("other"));
        let runtime = root.path().join("run");
        let variables = [("XDG_RUNTIME_DIR", &*runtime), ("HOME", &*other)];
        let find = || find_at_home(&variables, Some(&account));
        assert_eq!(find().origin, Origin::System);
        fs::create_dir_all(account.join(".local/state/stsd")).unwrap();
        assert_eq!(find().origin, Origin::System, "a state without a daemon");
        fs::create_dir_all(account.join(".config/stsd/config.toml")).unwrap();
        assert_eq!(find().origin, Origin::RuntimeDir);
    }

    #[test]
    fn named_socket_is_used_and_nothing_else() {
        let socket = Path::new("/nonexistent/a.sock");
        let found = find(&[("STSD_SOCKET", socket), ("XDG_RUNTIME_DIR", Path::new("/"))]);
        assert_eq!(found.path(), socket);
        assert!(found.is_established());
        let found = find(&[("STSD_SOCKET", Path::new("")), ("XDG_RUNTIME_DIR", socket)]);
        assert_ne!(found.path(), Path::new(""));
    }

    #[test]
    fn system_socket_needs_neither_directory_nor_configuration_of_the_user() {
        let root = tempfile::tempdir().unwrap();
        let (runtime, home) = (root.path().join("run"), root.path().join("home"));
        let other = root.path().join("other");
        let find = |more: &[(&str, &Path)]| {
            let usual = [("XDG_RUNTIME_DIR", &*runtime), ("HOME", &*home)];
            find(&[more, &usual].concat())
        };
        let user = runtime.join("stsd/stsd.sock");
        let nothing = find(&[]);
        assert_eq!(nothing.path(), Path::new(SYSTEM_SOCKET));
        assert_eq!(nothing.origin, Origin::System);
        for (name, file) in [
            ("HOME", "home/.config/stsd/config.toml"),
            ("XDG_CONFIG_HOME", "other/stsd/config.toml"),
            ("STSD_CONFIG", "other"),
        ] {
            let file = root.path().join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            let more = if name == "HOME" { &home } else { &other };
            assert_eq!(
                find(&[(name, more)]).path(),
                Path::new(SYSTEM_SOCKET),
                "{name}"
            );
            fs::write(&file, "").unwrap();
            assert_eq!(find(&[(name, more)]).path(), user, "{name}");
            assert!(!find(&[(name, more)]).is_established(), "{name}");
            fs::remove_file(&file).unwrap();
            let _ = fs::remove_dir_all(&other);
        }
        fs::create_dir_all(runtime.join("stsd")).unwrap();
        assert_eq!(find(&[]).path(), user);
        assert!(find(&[]).is_established());
    }

    #[test]
    fn user_without_a_known_home_is_not_sent_to_the_system_daemon() {
        let found = find(&[("XDG_RUNTIME_DIR", Path::new("/nonexistent"))]);
        assert_eq!(found.origin == Origin::System, geteuid().is_root());
    }

    #[test]
    fn runtime_directory_that_other_users_write_to_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let check = |mode: u32| {
            let directory = root.path().join(format!("{mode:o}/stsd"));
            fs::create_dir_all(&directory).unwrap();
            fs::set_permissions(&directory, fs::Permissions::from_mode(mode)).unwrap();
            let found = find(&[("XDG_RUNTIME_DIR", directory.parent().unwrap())]);
            found.check_directory().map_err(|it| it.to_string())
        };
        assert_eq!(check(0o755), Ok(()));
        for mode in [0o777, 0o1777, 0o775] {
            let refused = check(mode).unwrap_err();
            assert!(refused.contains(&format!("{mode:04o}")), "{refused}");
        }
    }

    #[test]
    fn usual_runtime_directory_must_be_private() {
        let found = find(&[("STSD_CONFIG", Path::new("/"))]);
        let usual = format!("/run/user/{}/stsd/stsd.sock", geteuid());
        assert_eq!(found.path(), Path::new(&usual));
        assert!(
            found
                .unreachable(ErrorKind::NotFound.into())
                .to_string()
                .contains("not set")
        );
        let root = tempfile::tempdir().unwrap();
        let check = |mode: u32| {
            let directory = root.path().join(format!("{mode:o}"));
            DirBuilder::new().mode(mode).create(&directory).unwrap();
            let location = Location {
                path: directory.join("stsd.sock"),
                origin: Origin::UsualRuntimeDir,
                lacks_runtime_dir: true,
            };
            location.check_directory().map_err(|it| it.kind())
        };
        assert_eq!(check(0o700), Ok(()));
        assert_eq!(check(0o750), Err(ErrorKind::Other));
    }

    #[test]
    fn file_that_is_no_socket_is_named_as_such() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let location = Location::named(file.path().to_owned());
        let error = location.unreachable(ErrorKind::ConnectionRefused.into());
        assert!(error.to_string().contains("it is not a socket"), "{error}");
    }
}
