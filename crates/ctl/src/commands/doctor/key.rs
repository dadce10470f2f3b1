//! The files with AccessKeys: existence, mode and owner.

use std::{fs, io::ErrorKind, os::unix::fs::MetadataExt as _, path::Path};

use rustix::process::geteuid;

use crate::report::Finding;

pub(super) fn check(config: &toml::Table, directory: &Path) -> Vec<Finding> {
    let sources = config.get("source").and_then(|it| it.as_table());
    let named = sources.into_iter().flatten().filter_map(|(name, source)| {
        let file = source.get("access_key_file")?.as_str()?;
        Some(of(&format!("key of {name}"), &directory.join(file)))
    });
    named.collect()
}

fn of(what: &str, path: &Path) -> Finding {
    let shown = path.display();
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        // Users have no access to the directory of the system daemon's keys.
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            return Finding::ok(what, format!("{shown} is not for you to see"));
        }
        Err(error) => {
            let fix = "write access_key_id and access_key_secret to it with mode 0600, or correct \
                       access_key_file";
            return Finding::fault(what, format!("{shown} is not there ({error})"), fix);
        }
    };
    let mode = metadata.mode() & 0o7777;
    if mode & 0o077 != 0 {
        let remark = format!("{shown} has mode {mode:04o}: others can read the secret");
        let fix = format!("chmod 0600 {shown}, and have a new AccessKey made if others were there");
        return Finding::fault(what, remark, fix);
    }
    let (owner, own) = (metadata.uid(), geteuid().as_raw());
    if own != 0 && owner != own && owner != 0 {
        let remark =
            format!("{shown} belongs to the user {owner}, so that user can read the secret");
        return Finding::fault(what, remark, format!("chown {own} {shown}"));
    }
    Finding::ok(what, format!("{shown} has mode {mode:04o}"))
}
