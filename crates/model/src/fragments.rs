//! The names of the fragments of a configuration: the files in the directory beside the
//! configuration file.

use std::{
    ffi::OsStr,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

/// Returns the directory of the fragments of a configuration file: `config.d` for `config.toml`.
/// `None` for a file whose name does not end with `.toml`, such as `/dev/stdin`.
///
/// The directory has the name of the file, so that a temporary file and a second configuration in
/// the same directory do not take over fragments of another one.
#[must_use]
pub fn fragment_directory(config: &Path) -> Option<PathBuf> {
    let is_toml = config.extension()? == "toml";
    is_toml.then(|| config.with_extension("d"))
}

/// Returns `true` if a file of this name in the directory is a fragment: the name ends with `.toml`
/// and does not begin with a dot.
#[must_use]
pub fn is_fragment_name(name: &OsStr) -> bool {
    let name = name.as_bytes();
    name.ends_with(b".toml") && !name.starts_with(b".")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{fragment_directory, is_fragment_name};

    #[test]
    fn fragment_directory_has_the_name_of_the_file() {
        let check = |config: &str, expected: Option<&str>| {
            let directory = fragment_directory(Path::new(config));
            assert_eq!(directory.as_deref(), expected.map(Path::new), "{config}");
        };
        check("/etc/stsd/config.toml", Some("/etc/stsd/config.d"));
        check("/x/y.toml", Some("/x/y.d"));
        check("y.toml", Some("y.d"));
        check("/x/a.b.toml", Some("/x/a.b.d"));
        check("/x/.tried.toml", Some("/x/.tried.d"));
        for config in ["/dev/stdin", "/x/config", "/x/.toml", "/"] {
            check(config, None);
        }
    }

    #[test]
    fn fragment_name_ends_with_toml_and_begins_without_a_dot() {
        for name in ["10-team.toml", "a.toml", "ü.toml"] {
            assert!(is_fragment_name(name.as_ref()), "{name}");
        }
        for name in [
            "a.toml~",
            ".a.toml",
            "a.toml.dpkg-old",
            "README",
            ".toml",
            "toml",
        ] {
            assert!(!is_fragment_name(name.as_ref()), "{name}");
        }
    }
}
