//! The files that decide which identity the daemon has, judged for the daemon's user by the same
//! function as in the daemon.

use std::{
    fs,
    io::ErrorKind,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    slice,
};

use stsd_trust::{ProcessIds, Purpose, TrustError, judge};

use super::daemon_user::DaemonUser;
use crate::report::Finding;

/// The keys of a `[source.NAME]` with a path.
const SOURCE_KEYS: [(&str, Purpose); 8] = [
    ("access_key_file", Purpose::Secret),
    ("uri_file", Purpose::Secret),
    ("token_file", Purpose::Token),
    ("assertion_file", Purpose::Token),
    ("command", Purpose::Decides),
    ("token_command", Purpose::Decides),
    ("assertion_command", Purpose::Decides),
    ("writable", Purpose::WritablePath),
];

/// The keys of a `[profile.NAME]` with a path.
const PROFILE_KEYS: [(&str, Purpose); 3] = [
    ("policy_file", Purpose::Decides),
    ("on_renewal", Purpose::Decides),
    ("writable", Purpose::WritablePath),
];

/// Returns a finding for each key file.
pub(super) fn check(config: &toml::Table, directory: &Path, daemon: &DaemonUser) -> Vec<Finding> {
    let sources = config.get("source").and_then(|it| it.as_table());
    let named = sources.into_iter().flatten().filter_map(|(name, source)| {
        let file = source.get("access_key_file")?.as_str()?;
        let path = directory.join(file);
        Some(of(&format!("key of {name}"), &path, daemon))
    });
    named.collect()
}

/// Returns a finding for each file, besides the key files, that the daemon does not trust: where
/// `stsd --check` cannot judge in the daemon's place.
pub(super) fn check_others(
    config: &toml::Table,
    path: &Path,
    directory: &Path,
    daemon: &DaemonUser,
) -> Vec<Finding> {
    let DaemonUser::Known(ids) = daemon else {
        return Vec::new();
    };
    let mut files = vec![("config".to_owned(), path.to_owned(), Purpose::Decides)];
    for (tables, keys) in [("source", &SOURCE_KEYS[1..]), ("profile", &PROFILE_KEYS)] {
        files.extend(files_of(config, tables, keys, directory));
    }
    let http = config.get("http").and_then(|it| it.get("secret_file"));
    files.extend(http.and_then(|it| it.as_str()).map(|file| {
        let what = "http.secret_file".to_owned();
        (what, directory.join(file), Purpose::Secret)
    }));
    let untrusted =
        files
            .iter()
            .filter_map(|(what, path, purpose)| match judge(path, *purpose, ids) {
                Err(TrustError::Loose(loose)) => {
                    let remark = format!("{} {loose}", path.display());
                    Some(Finding::fault(what, remark, loose.hint()))
                }
                _ => None,
            });
    untrusted.collect()
}

/// Returns the paths of the tables, each with the key that names it.
fn files_of(
    config: &toml::Table,
    tables: &str,
    keys: &[(&str, Purpose)],
    directory: &Path,
) -> Vec<(String, PathBuf, Purpose)> {
    let mut files = Vec::new();
    let all = config.get(tables).and_then(|it| it.as_table());
    for (name, table) in all.into_iter().flatten() {
        for (key, purpose) in keys {
            let Some(value) = table.get(*key) else {
                continue;
            };
            let paths = paths_of(value, *purpose);
            files.extend(paths.map(|path| {
                let what = format!("{tables}.{name}.{key}");
                (what, directory.join(path), *purpose)
            }));
        }
    }
    files
}

/// Returns the paths of a value: the text, the program of a command, or each path of a list.
fn paths_of(value: &toml::Value, purpose: Purpose) -> impl Iterator<Item = &str> {
    let elements = value
        .as_array()
        .map_or(slice::from_ref(value), Vec::as_slice);
    let is_command = purpose == Purpose::Decides;
    let count = if is_command { 1 } else { elements.len() };
    elements.iter().take(count).filter_map(toml::Value::as_str)
}

fn of(what: &str, path: &Path, daemon: &DaemonUser) -> Finding {
    let shown = path.display();
    let missing = |error: &std::io::Error| {
        // Users have no access to the directory of the system daemon's keys.
        if error.kind() == ErrorKind::PermissionDenied {
            return Finding::ok(what, format!("{shown} is not for you to see"));
        }
        let fix = "write access_key_id and access_key_secret to it with mode 0600, or correct \
                   access_key_file";
        Finding::fault(what, format!("{shown} is not there ({error})"), fix)
    };
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) => return missing(&error),
    };
    let ids: &ProcessIds = match daemon {
        DaemonUser::Known(ids) => ids,
        DaemonUser::Unknown(reason) => {
            let remark = format!("{shown} cannot be judged from here: {reason}");
            return Finding::ok(what, remark);
        }
    };
    match judge(path, Purpose::Secret, ids) {
        Ok(()) => {
            let (mode, uid) = (metadata.mode() & 0o7777, ids.uid);
            let remark = format!("{shown} has mode {mode:04o}, for the daemon's uid {uid}");
            Finding::ok(what, remark)
        }
        Err(TrustError::Io(error)) => missing(&error),
        Err(TrustError::Loose(loose)) => {
            Finding::fault(what, format!("{shown} {loose}"), loose.hint())
        }
    }
}
