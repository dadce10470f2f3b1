//! The tarball.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command};

use super::{issue, pack, release, run, the_one};

/// Unpacks an archive over a prefix, as the documents say.
fn unpack(archive: &Path, prefix: &Path) {
    let mut tar = Command::new("tar");
    tar.arg("-xzf").arg(archive).arg("-C").arg(prefix);
    run(tar.arg("--strip-components=1"));
}

#[test]
fn tarball_issues_is_replaced_and_removed_by_its_list() {
    let place = tempfile::tempdir().unwrap();
    let Some(old) = pack(&place.path().join("old"), "0.1.0", &["tarball"]) else {
        return;
    };
    let new = release()
        .or_else(|| pack(&place.path().join("new"), "0.2.0-rc1", &["tarball"]))
        .unwrap();
    let ending = format!("linux-{}.tar.gz", std::env::consts::ARCH);
    let (old, new) = (the_one(&old, &ending), the_one(&new, &ending));
    let prefix = place.path().join("local");
    let other = prefix.join("bin/other");
    fs::create_dir_all(other.parent().unwrap()).unwrap();
    fs::write(&other, "another program").unwrap();

    unpack(&old, &prefix);
    issue(&prefix.join("bin"));
    unpack(&new, &prefix);
    issue(&prefix.join("bin"));
    // No other process of a user may trace a program that the user cannot read.
    let mode = |name: &str| {
        let file = fs::metadata(prefix.join("bin").join(name)).unwrap();
        file.permissions().mode() & 0o777
    };
    assert_eq!((mode("stsd"), mode("stsctl")), (0o711, 0o755));
    let units = prefix.join("lib/systemd");
    for unit in ["system/stsd.service", "user/stsd.socket"] {
        assert!(units.join(unit).exists(), "{unit}");
    }

    // The removal of docs/upgrading.md: each file of the list.
    let list = run(Command::new("tar").arg("-tzf").arg(&new));
    for line in list.lines().filter(|line| !line.ends_with('/')) {
        let (_, path) = line.split_once('/').unwrap();
        fs::remove_file(prefix.join(path)).unwrap();
    }
    let left = run(Command::new("find").arg(&prefix).args(["-type", "f"]));
    assert_eq!(left.trim(), other.to_str().unwrap());
}
