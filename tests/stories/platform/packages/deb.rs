//! The Debian package.

use std::{fs, process::Command};

use e2e::not_run;
use nix::unistd::geteuid;

use super::{
    issue,
    machine::{self, Machine},
    pack, run, the_one,
};

#[test]
fn deb_install_upgrade_and_removal_touch_no_user_file() {
    if !geteuid().is_root() {
        return not_run("only root installs packages");
    }
    let place = tempfile::tempdir().unwrap();
    let Some(old) = pack(&place.path().join("old"), "0.1.0", &["deb"]) else {
        return;
    };
    let new = pack(&place.path().join("new"), "0.2.0-rc1", &["deb"]).unwrap();
    let (old, new) = (the_one(&old, ".deb"), the_one(&new, ".deb"));
    let (old, new) = (old.to_str().unwrap(), new.to_str().unwrap());
    let machine = Machine::make();
    let before = machine.everything();

    let said = machine.dpkg(&["--install", old]);
    assert!(!said.contains("stsd:"), "there is nothing to say: {said}");
    assert_eq!(machine.told(), ["--system daemon-reload"]);
    assert_eq!(machine.dpkg(&["--verify", "stsd"]), "");
    let installed = machine.everything();
    for (name, what) in &before {
        assert_eq!(installed.get(name), Some(what), "{name}");
    }
    let strays = installed.keys().filter(|it| !before.contains_key(*it));
    let strays = strays.filter(|it| !it.starts_with("usr/"));
    assert_eq!(strays.collect::<Vec<_>>(), Vec::<&String>::new());
    for name in ["stsd", "stsctl", "sts-shim"] {
        let path = format!("usr/bin/{name}");
        let mode = if name == "stsd" { "100711" } else { "100755" };
        assert!(
            installed[&path].starts_with(&format!("{mode} 0:0 ")),
            "{path}"
        );
        run(Command::new(machine.path(&path)).arg("--version"));
    }
    machine::verify_units(&machine);
    issue(&machine.path("usr/bin"));

    let said = machine.dpkg(&["--install", new]);
    assert!(
        said.contains("systemctl --user restart stsd.service"),
        "{said}"
    );
    // The new program checks the configuration of the machine, and the upgrade goes on.
    for words in ["refuses /etc/stsd/config.toml", "there is no profile"] {
        assert!(said.contains(words), "{words}: {said}");
    }
    // systemd passes a credential to the running service alone. A fragment is read as the file is.
    let directory = machine.path("etc/stsd/config.d");
    fs::create_dir(&directory).unwrap();
    let key = "[source.a]\naccess_key_credential = \"a\"\n";
    fs::write(directory.join("a.toml"), key).unwrap();
    let said = machine.dpkg(&["--install", new]);
    assert!(said.contains("the configuration is not checked"), "{said}");
    fs::remove_dir_all(directory).unwrap();
    let status = machine.dpkg(&["--status", "stsd"]);
    assert!(status.contains("\nVersion: 0.2.0~rc1\n"), "{status}");
    assert_eq!(machine.dpkg(&["--verify", "stsd"]), "");

    machine.dpkg(&["--remove", "stsd"]);
    assert_eq!(machine.everything(), before, "something is left, or gone");
    assert_eq!(machine.told()[1..], machine::TOLD);

    // Without a running systemd, no reload is requested.
    fs::remove_dir(machine.path("run/systemd/system")).unwrap();
    let before = machine.everything();
    machine.dpkg(&["--install", new]);
    machine.dpkg(&["--purge", "stsd"]);
    assert_eq!(machine.everything(), before);
    assert_eq!(machine.told()[1..], machine::TOLD);
    let list = machine.dpkg(&["--list"]);
    assert!(!list.contains("stsd"), "{list}");
}
