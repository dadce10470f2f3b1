//! The rpm package.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use e2e::not_run;
use nix::unistd::geteuid;

use super::{
    issue,
    machine::{self, Machine, copy_libraries, verify_units},
    pack, the_one,
};

/// Files that the creation of a user makes or changes, and the version of systemd, which the stories set.
const CHANGED_FILES: [&str; 6] = [
    "version",
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

/// Returns the metadata of every file but those that the stories change.
fn everything(machine: &Machine) -> BTreeMap<String, String> {
    let mut found = machine.everything();
    found.retain(|name, _| !CHANGED_FILES.contains(&name.as_str()));
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
    check_removal(&machine, &before);
    assert_eq!(machine.told(), machine::TOLD);
}

/// Asserts that nothing is left of the package but directories of `filesystem` and `systemd`, which this
/// machine has not installed.
fn check_removal(machine: &Machine, before: &BTreeMap<String, String>) {
    let mut after = everything(machine);
    let is_of_others = |name: &str| {
        let parts = ["usr/lib", "usr/share/man", "usr/share"];
        let own = ["stsd", "bash-completion", "fish", "zsh"];
        machine.path(name).is_dir()
            && parts.iter().any(|it| name.starts_with(it))
            && !own.iter().any(|it| name.contains(it))
    };
    after.retain(|name, _| before.contains_key(name) || !is_of_others(name));
    assert_eq!(&after, before, "something is left, or gone");
}

#[test]
fn rpm_on_systemd_239_has_a_drop_in_and_a_user() {
    let place = tempfile::tempdir().unwrap();
    let Some([old, new]) = packages(place.path()) else {
        return;
    };
    let (old, new) = (old.to_str().unwrap(), new.to_str().unwrap());
    let machine = Machine::make();
    let can_create_users = add_systemd_sysusers(&machine);
    machine.set_systemd("239 (239-74.0.1.al8)");
    let before = everything(&machine);
    let Some(said) = machine.rpm(&["--install", old]) else {
        return;
    };
    let target = fs::read_link(machine.path(LINK)).unwrap();
    let target = target.strip_prefix("/").unwrap().to_str().unwrap();
    let drop_in = fs::read_to_string(machine.path(target)).unwrap();
    assert!(drop_in.contains("PrivateUsers=no"), "{drop_in}");
    let users = || fs::read_to_string(machine.path("etc/passwd")).unwrap_or_default();
    let created = users();
    if can_create_users {
        assert!(!said.contains("not created"), "{said}");
        assert!(created.starts_with("stsd:x:"), "{created}");
    }

    // After an upgrade of systemd, the next version of the package removes the link.
    machine.set_systemd("255 (255.4-1)");
    machine.rpm(&["--upgrade", new]);
    assert!(!machine.path(LINK).parent().unwrap().exists());
    assert_eq!(users(), created);

    machine.set_systemd("239 (239-74.0.1.al8)");
    machine.rpm(&["--upgrade", "--oldpackage", old]);
    assert!(machine.path(LINK).is_symlink());
    machine.rpm(&["--erase", "stsd"]);
    assert_eq!(users(), created, "the user stays");
    check_removal(&machine, &before);
}

/// Copies systemd-sysusers into a machine; returns `false`, and reports it, where there is none.
fn add_systemd_sysusers(machine: &Machine) -> bool {
    let sysusers = Path::new("/usr/bin/systemd-sysusers");
    if !sysusers.exists() {
        not_run("there is no systemd-sysusers here");
        return false;
    }
    fs::copy(sysusers, machine.path("usr/bin/systemd-sysusers")).unwrap();
    copy_libraries(&[sysusers.to_owned()], &machine.path(""));
    true
}
