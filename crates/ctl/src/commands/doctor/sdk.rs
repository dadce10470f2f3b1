//! Installed libraries and tools that split a command at each space, even within quotes.
//!
//! A library's version is read from its files; only aliyun-cli is run. Libraries compiled into a
//! program, or packed into a jar, are not detected.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::subprocess;

/// The first versions that respect quotes: aliyun-cli's pull request 1391, and the changes of
/// @alicloud/credentials 2.4.7. All versions of Python's library do (`shlex.split`).
const ALIYUN_CLI_FIXED_IN: [u32; 3] = [3, 4, 9];
const NODE_FIXED_IN: [u32; 3] = [2, 4, 7];

/// The global module directories of npm.
const GLOBAL_MODULES: [&str; 2] = ["/usr/lib/node_modules", "/usr/local/lib/node_modules"];

/// An installed library or tool: its name with version and path, and whether it splits at each
/// space.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Installed {
    pub(super) name: String,
    pub(super) splits_at_spaces: bool,
}

/// Returns the libraries and tools that this user's programs find from this directory.
pub(super) fn installed() -> Vec<Installed> {
    aliyun().into_iter().chain(node()).collect()
}

fn aliyun() -> Option<Installed> {
    let path = subprocess::find("aliyun")?;
    let mut command = Command::new(&path);
    command.arg("version");
    let output = subprocess::run(command, None).ok()?;
    let output = String::from_utf8_lossy(&output.stdout).into_owned();
    of("aliyun-cli", output.trim(), &path, ALIYUN_CLI_FIXED_IN)
}

/// Returns the packages in the order of Node.js: the working directory and its parents, then
/// `NODE_PATH` and the global directories.
fn node() -> Vec<Installed> {
    let here = env::current_dir().unwrap_or_default();
    let above = here.ancestors().map(|it| it.join("node_modules"));
    let named = env::var_os("NODE_PATH").unwrap_or_default();
    let named: Vec<PathBuf> = env::split_paths(&named).collect();
    let all = above
        .chain(named)
        .chain(GLOBAL_MODULES.iter().copied().map(PathBuf::from));
    all.filter_map(|modules| {
        let package = modules.join("@alicloud/credentials");
        let about = fs::read(package.join("package.json")).ok()?;
        let about: serde_json::Value = serde_json::from_slice(&about).ok()?;
        let version = about.get("version")?.as_str()?;
        of("@alicloud/credentials", version, &package, NODE_FIXED_IN)
    })
    .collect()
}

/// Returns `None` for an invalid version.
fn of(name: &str, version: &str, place: &Path, fixed_in: [u32; 3]) -> Option<Installed> {
    let mut numbers = version.splitn(3, '.').map(|it| {
        let digits = it.bytes().take_while(u8::is_ascii_digit).count();
        it[..digits].parse().ok()
    });
    let mut next = || numbers.next().flatten();
    let found: [u32; 3] = [next()?, next()?, next()?];
    let [major, minor, patch] = found;
    Some(Installed {
        name: format!("{name} {major}.{minor}.{patch} in {}", place.display()),
        splits_at_spaces: found < fixed_in,
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{NODE_FIXED_IN, of};

    #[test]
    fn sdk_version_is_compared_numerically() {
        let check = |version, expected: Option<bool>| {
            let found = of("x", version, Path::new("/p"), NODE_FIXED_IN);
            assert_eq!(found.map(|it| it.splits_at_spaces), expected, "{version}");
        };
        check("2.4.6", Some(true));
        check("2.4.7", Some(false));
        check("2.10.0", Some(false));
        check("3.0.0-beta.1", Some(false));
        check("2.3", None);
        check("latest", None);
    }
}
