//! The rpm package.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use e2e::not_run;
use nix::unistd::geteuid;

use super::{
    issue,
    machine::{Machine, copy_libraries, verify_units},
    pack, run, the_one,
};

/// Files that the creation of a user makes or changes.
const ACCOUNTS: [&str; 5] = [
    "etc/.pwd.lock",
    "etc/group",
    "etc/gshadow",
    "etc/passwd",
    "etc/shadow",
];

const LINK: &str = "usr/lib/systemd/user/stsd.service.d/no-user-namespaces.conf";

/// Files that only this package has.
const OWN_FILES: [&str; 3] = [
    "usr/lib/sysusers.d/stsd.conf",
    "usr/lib/systemd/system-preset/90-stsd.preset",
    "usr/lib/systemd/user-preset/90-stsd.preset",
];

/// Packs two versions; returns `None`, and reports it, where they cannot be made or installed.
fn packages(place: &Path) -> Option<[PathBuf; 2]> {
    if !geteuid().is_root() {
        not_run("only root installs packages");
        return None;
    }
    let pack = |name, version| {
        let out = pack(&place.join(name), version, &["rpm"])?;
        Some(the_one(&out, ".rpm"))
    };
    Some([pack("old", "0.1.0")?, pack("new", "0.2.0-rc1")?])
}

/// Returns the metadata of every file but those that the creation of a user changes.
fn everything(machine: &Machine) -> BTreeMap<String, String> {
    let mut found = machine.everything();
    found.retain(|name, _| !ACCOUNTS.contains(&name.as_str()));
    found
}

#[test]
fn rpm_install_upgrade_and_removal_touch_no_user_file() {
    let place = tempfile::tempdir().unwrap();
    let Some([old, new]) = packages(place.path()) else {
        return;
    };
    let (old, new) = (old.to_str().unwrap(), new.to_str().unwrap());
    let machine = Machine::make();
    let before = everything(&machine);

    let Some(said) = machine.rpm(&["--install", old]) else {
        return;
    };
    assert_eq!(
        said,
        "stsd: the user stsd is not created: systemd-sysusers and useradd failed\n"
    );
    assert_eq!(machine.told(), ["--system daemon-reload"]);
    assert_eq!(machine.rpm(&["--verify", "stsd"]).unwrap(), "");
    let installed = everything(&machine);
    for (name, what) in &before {
        assert_eq!(installed.get(name), Some(what), "{name}");
    }
    let strays = installed.keys().filter(|it| !before.contains_key(*it));
    let strays = strays.filter(|it| !it.starts_with("usr/"));
    assert_eq!(strays.collect::<Vec<_>>(), Vec::<&String>::new());
    for name in OWN_FILES {
        assert!(installed.contains_key(name), "{name}");
    }
    assert!(installed["usr/bin/stsd"].starts_with("100711 0:0 "));
    assert!(!installed.contains_key(LINK));
    verify_units(&machine);
    issue(&machine.path("usr/bin"));

    let said = machine.rpm(&["--upgrade", new]).unwrap();
    for words in [
        "systemctl --user restart stsd.service",
        "refuses /etc/stsd/config.toml",
        "there is no profile",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    let version = machine.rpm(&["--query", "stsd"]).unwrap();
    assert!(version.starts_with("stsd-0.2.0~rc1-1."), "{version}");
    assert_eq!(machine.rpm(&["--verify", "stsd"]).unwrap(), "");
    issue(&machine.path("usr/bin"));

    machine.rpm(&["--erase", "stsd"]);
    assert_eq!(everything(&machine), before, "something is left, or gone");
    assert_eq!(machine.told(), ["--system daemon-reload"; 3]);
}

#[test]
fn rpm_on_systemd_239_has_the_drop_in_until_its_removal() {
    let place = tempfile::tempdir().unwrap();
    let Some([old, new]) = packages(place.path()) else {
        return;
    };
    let machine = Machine::make();
    let before = everything(&machine);
    machine.set_systemd("239 (239-74.0.1.al8)");
    if machine.rpm(&["--install", old.to_str().unwrap()]).is_none() {
        return;
    }
    let target = fs::read_link(machine.path(LINK)).unwrap();
    let target = target.strip_prefix("/").unwrap().to_str().unwrap();
    let drop_in = fs::read_to_string(machine.path(target)).unwrap();
    assert!(drop_in.contains("PrivateUsers=no"), "{drop_in}");

    // After an upgrade of systemd, the next version of the package removes the link.
    machine.set_systemd("255 (255.4-1)");
    machine.rpm(&["--upgrade", new.to_str().unwrap()]);
    assert!(!machine.path(LINK).parent().unwrap().exists());
    machine.set_systemd("239 (239-74.0.1.al8)");
    let replace = ["--reinstall", new.to_str().unwrap()];
    machine.rpm(&replace);
    assert!(machine.path(LINK).exists() || machine.path(LINK).is_symlink());
    machine.rpm(&["--erase", "stsd"]);
    machine.set_systemd("252 (252.39-1)");
    let mut after = everything(&machine);
    after.insert("version".to_owned(), before["version"].clone());
    assert_eq!(after, before, "something is left, or gone");
}

#[test]
fn rpm_creates_the_user_once_and_leaves_it() {
    let place = tempfile::tempdir().unwrap();
    let Some([old, new]) = packages(place.path()) else {
        return;
    };
    let machine = Machine::make();
    let sysusers = Path::new("/usr/bin/systemd-sysusers");
    if !sysusers.exists() {
        return not_run("there is no systemd-sysusers here");
    }
    fs::copy(sysusers, machine.path("usr/bin/systemd-sysusers")).unwrap();
    copy_libraries(&[sysusers.to_owned()], &machine.path(""));
    let Some(said) = machine.rpm(&["--install", old.to_str().unwrap()]) else {
        return;
    };
    assert!(!said.contains("not created"), "{said}");
    let users = || fs::read_to_string(machine.path("etc/passwd")).unwrap();
    let created = users();
    assert!(created.starts_with("stsd:x:"), "{created}");
    machine.rpm(&["--upgrade", new.to_str().unwrap()]);
    machine.rpm(&["--erase", "stsd"]);
    assert_eq!(users(), created);
}

#[test]
fn rpm_scripts_enable_and_start_nothing() {
    let place = tempfile::tempdir().unwrap();
    let Some(out) = pack(&place.path().join("out"), "0.1.0", &["rpm"]) else {
        return;
    };
    let mut rpm = Command::new("rpm");
    if rpm.arg("--version").output().is_err() {
        return not_run("rpm does not start; its package is rpm");
    }
    let mut query = Command::new("rpm");
    let package = the_one(&out, ".rpm");
    let scripts = run(query
        .args(["--query", "--package", "--scripts"])
        .arg(&package));
    assert!(scripts.contains("daemon-reload"), "{scripts}");
    for word in ["systemctl enable", "systemctl start", "systemctl preset"] {
        assert!(!scripts.contains(word), "{word}: {scripts}");
    }
    let mut query = Command::new("rpm");
    let host = run(query
        .args([
            "--query",
            "--package",
            "--queryformat",
            "%{BUILDHOST} %{VENDOR}",
        ])
        .arg(package));
    assert!(host.starts_with("localhost "), "{host}");
}
