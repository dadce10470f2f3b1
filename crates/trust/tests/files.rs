//! The judgment of real files of this user, for this user and for others.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    io::ErrorKind,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
};

use stsd_trust::{ProcessIds, Purpose, TrustError, judge};

/// A user of no file.
const OTHER: u32 = 64_001;

struct Files {
    directory: tempfile::TempDir,
    own: ProcessIds,
}

impl Files {
    /// Returns a directory with `a/b/file`.
    fn create() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let files = Self {
            directory,
            own: ProcessIds::own(),
        };
        fs::create_dir_all(files.at("a/b")).unwrap();
        fs::write(files.at("a/b/file"), "").unwrap();
        for (name, mode) in [
            ("", 0o755),
            ("a", 0o755),
            ("a/b", 0o755),
            ("a/b/file", 0o644),
        ] {
            files.mode(name, mode);
        }
        files
    }

    fn at(&self, name: &str) -> PathBuf {
        // Without the slash that `join` adds for an empty name.
        match name {
            "" => self.directory.path().to_owned(),
            name => self.directory.path().join(name),
        }
    }

    fn mode(&self, name: &str, mode: u32) {
        fs::set_permissions(self.at(name), fs::Permissions::from_mode(mode)).unwrap();
    }

    fn link(&self, target: impl AsRef<Path>, name: &str) {
        symlink(target, self.at(name)).unwrap();
    }

    /// Returns the refusal and its hint; `None` for a trusted path.
    fn refusal(&self, name: &str, purpose: Purpose) -> Option<(String, String)> {
        match judge(&self.at(name), purpose, &self.own) {
            Ok(()) => None,
            Err(TrustError::Loose(loose)) => Some((loose.to_string(), loose.hint())),
            Err(TrustError::Io(error)) => panic!("{name}: {error}"),
        }
    }

    /// Asserts that a path is refused for the mode of one component.
    #[track_caller]
    fn assert_loose(&self, name: &str, component: &str) {
        let (said, hint) = self.refusal(name, Purpose::Decides).unwrap();
        let shown = self.at(component).display().to_string();
        let uid = self.own.uid;
        assert!(
            said.contains(&format!("{shown} belongs to uid {uid} and has mode 0757")),
            "{said}"
        );
        assert_eq!(hint, format!("run chmod o-w {shown}"));
    }

    fn error(&self, name: &str) -> ErrorKind {
        match judge(&self.at(name), Purpose::Decides, &self.own) {
            Err(TrustError::Io(error)) => error.kind(),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn file_is_judged_with_each_directory_above() {
    let files = Files::create();
    assert_eq!(files.refusal("a/b/file", Purpose::Decides), None);
    for name in ["a", "a/b"] {
        files.mode(name, 0o757);
        files.assert_loose("a/b/file", name);
        files.assert_loose("a/b/../b/./file", name);
        files.mode(name, 0o755);
    }
    files.mode("a/b/file", 0o602);
    let (said, hint) = files.refusal("a/b/file", Purpose::Secret).unwrap();
    assert!(said.starts_with(&format!(
        "belongs to uid {} and has mode 0602",
        files.own.uid
    )));
    assert!(hint.starts_with("run chmod 0600 "), "{hint}");
}

#[test]
fn owner_is_judged_for_the_given_process() {
    let files = Files::create();
    if files.own.uid == 0 {
        return;
    }
    let other = ProcessIds::new(OTHER, vec![OTHER]);
    let error = judge(&files.at("a/b/file"), Purpose::Decides, &other).unwrap_err();
    assert!(
        error.to_string().contains("neither root nor uid 64001"),
        "{error}"
    );
}

#[test]
fn link_is_followed_and_its_target_is_judged() {
    let files = Files::create();
    files.link("a/b/file", "relative");
    files.link(files.at("a/b"), "absolute");
    files.link("../a/../absolute/file", "a/long");
    let paths = ["relative", "absolute/file", "a/long", "absolute/../b/file"];
    for path in paths {
        assert_eq!(files.refusal(path, Purpose::Decides), None, "{path}");
    }
    files.mode("a/b", 0o757);
    for path in paths {
        files.assert_loose(path, "a/b");
    }
}

#[test]
fn path_that_cannot_be_followed_is_an_error_of_the_system() {
    let files = Files::create();
    assert_eq!(files.error("a/none"), ErrorKind::NotFound);
    assert_eq!(files.error("none/file"), ErrorKind::NotFound);
    assert_eq!(files.error("a/b/file/more"), ErrorKind::NotADirectory);
    files.link("none", "dangling");
    assert_eq!(files.error("dangling"), ErrorKind::NotFound);
    files.link("two", "one");
    files.link("one", "two");
    assert_eq!(files.error("one"), ErrorKind::Other);
}

#[test]
fn command_of_the_hint_quotes_the_path() {
    let files = Files::create();
    fs::create_dir(files.at("it's here")).unwrap();
    files.mode("it's here", 0o757);
    let (_, hint) = files
        .refusal("it's here", Purpose::WrittenDirectory)
        .unwrap();
    let directory = files.at("").display().to_string();
    assert_eq!(hint, format!("run chmod o-w '{directory}/it'\\''s here'"));
}

#[test]
fn directory_that_is_written_must_not_be_sticky() {
    let files = Files::create();
    files.mode("a", 0o1777);
    assert_eq!(files.refusal("a/b", Purpose::WrittenDirectory), None);
    assert!(files.refusal("a", Purpose::WrittenDirectory).is_some());
    assert_eq!(files.refusal("a/b/file", Purpose::Decides), None);
}
