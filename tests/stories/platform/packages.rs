//! The packages: installation, upgrade, removal, and their content. They contain the programs of the
//! gate; `cargo xtask dist` builds others.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::{
        fs::{MetadataExt as _, PermissionsExt as _},
        net::UnixListener,
    },
    path::{Path, PathBuf},
    process::{Command, Output},
};

use e2e::{not_run, program};
use nix::unistd::geteuid;

/// Files of the users of a machine, which the package must not touch.
const THEIRS: [&str; 5] = [
    "home/jo/.config/stsd/config.toml",
    "home/jo/.config/systemd/user/stsd.service.d/override.conf",
    "etc/stsd/config.toml",
    "etc/stsd/uploader.key",
    "etc/systemd/system/stsd.service.d/override.conf",
];

/// Sockets with a listener.
const SOCKETS: [&str; 2] = ["run/stsd/stsd.sock", "run/user/1000/stsd/stsd.sock"];

/// Packs the gate's programs; returns `None`, and reports it, where a tool is missing.
fn pack(into: &Path, version: &str) -> Option<PathBuf> {
    for tool in ["dpkg-deb", "tar", "gzip"] {
        if Command::new(tool).arg("--version").output().is_err() {
            not_run(&format!("{tool} does not start"));
            return None;
        }
    }
    let programs = program("stsd").parent().unwrap().to_owned();
    let mut xtask = Command::new(program("xtask"));
    xtask.arg("dist").arg("--from").arg(programs);
    xtask.arg("--into").arg(into).args(["--version", version]);
    run(&mut xtask);
    Some(into.to_owned())
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", all(&output));
    String::from_utf8(output.stdout).unwrap()
}

fn all(output: &Output) -> String {
    let text = [&output.stdout[..], &output.stderr].concat();
    String::from_utf8_lossy(&text).into_owned()
}

fn the_one(directory: &Path, extension: &str) -> PathBuf {
    let entries = fs::read_dir(directory).unwrap();
    let mut paths = entries.map(|entry| entry.unwrap().path());
    let found = paths.find(|path| path.to_string_lossy().ends_with(extension));
    found.unwrap_or_else(|| panic!("no {extension} in {}", directory.display()))
}

/// A root directory for dpkg, with a shell and a systemctl that records the arguments of each change.
struct Machine {
    root: tempfile::TempDir,
    _listeners: Vec<UnixListener>,
}

impl Machine {
    fn make() -> Self {
        let root = tempfile::Builder::new().prefix("stsd-e2e-").tempdir();
        let root = root.unwrap();
        let at = |path: &str| {
            let path = root.path().join(path.trim_start_matches('/'));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            path
        };
        for directory in ["var/lib/dpkg/info", "var/lib/dpkg/updates"] {
            fs::create_dir_all(root.path().join(directory)).unwrap();
        }
        fs::create_dir_all(root.path().join("run/systemd/system")).unwrap();
        fs::write(at("var/lib/dpkg/status"), "").unwrap();
        fs::copy("/bin/sh", at("bin/sh")).unwrap();
        // The scripts of the package run the shell and the new daemon in this root.
        let libraries = run(Command::new("ldd").arg("/bin/sh").arg(program("stsd")));
        for library in libraries
            .split_whitespace()
            // A colon follows the name of each program.
            .filter(|it| it.starts_with('/') && !it.ends_with(':'))
        {
            fs::copy(library, at(library)).unwrap();
        }
        let systemctl = at("usr/bin/systemctl");
        fs::write(
            &systemctl,
            "#!/bin/sh\n[ \"$1\" = show ] || echo \"$@\" >> /told\n",
        )
        .unwrap();
        fs::set_permissions(&systemctl, fs::Permissions::from_mode(0o755)).unwrap();
        for theirs in THEIRS {
            fs::write(at(theirs), format!("# {theirs}\n")).unwrap();
            fs::set_permissions(at(theirs), fs::Permissions::from_mode(0o600)).unwrap();
        }
        let sockets = SOCKETS.iter();
        let listeners = sockets.map(|path| UnixListener::bind(at(path)).unwrap());
        let listeners = listeners.collect();
        Self {
            _listeners: listeners,
            root,
        }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    fn dpkg(&self, arguments: &[&str]) -> String {
        let mut dpkg = Command::new("dpkg");
        dpkg.arg(format!("--root={}", self.root.path().display()));
        // The root has no package of a C library.
        dpkg.arg("--force-depends").args(arguments);
        run(dpkg.env("LC_ALL", "C"))
    }

    /// Returns the recorded arguments of systemctl.
    fn told(&self) -> Vec<String> {
        let told = fs::read_to_string(self.path("told")).unwrap_or_default();
        told.lines().map(str::to_owned).collect()
    }

    /// Returns the metadata of every file but those of dpkg. The size and time of a directory are left
    /// out, which may change and change back.
    fn everything(&self) -> BTreeMap<String, String> {
        let mut found = BTreeMap::new();
        let mut directories = vec![self.root.path().to_owned()];
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                let name = path.strip_prefix(self.root.path()).unwrap();
                let name = name.to_string_lossy().into_owned();
                if ["var/lib/dpkg", "told"].contains(&name.as_str()) {
                    continue;
                }
                let it = fs::symlink_metadata(&path).unwrap();
                let mut what = format!("{:o} {}:{} {}", it.mode(), it.uid(), it.gid(), it.ino());
                if it.is_dir() {
                    directories.push(path);
                } else {
                    what += &format!(" {} {}.{}", it.size(), it.mtime(), it.mtime_nsec());
                }
                found.insert(name, what);
            }
        }
        found
    }
}

#[test]
fn package_install_upgrade_and_removal_touch_no_user_file() {
    if !geteuid().is_root() {
        return not_run("only root installs packages");
    }
    let place = tempfile::tempdir().unwrap();
    let Some(old) = pack(&place.path().join("old"), "0.1.0") else {
        return;
    };
    let new = pack(&place.path().join("new"), "0.2.0~rc1").unwrap();
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
    units(&machine);

    let said = machine.dpkg(&["--install", new]);
    assert!(
        said.contains("systemctl --user restart stsd.service"),
        "{said}"
    );
    // The new program checks the configuration of the machine, and the upgrade goes on.
    for words in ["refuses /etc/stsd/config.toml", "there is no profile"] {
        assert!(said.contains(words), "{words}: {said}");
    }
    let status = machine.dpkg(&["--status", "stsd"]);
    assert!(status.contains("\nVersion: 0.2.0~rc1\n"), "{status}");
    assert_eq!(machine.dpkg(&["--verify", "stsd"]), "");

    machine.dpkg(&["--remove", "stsd"]);
    assert_eq!(machine.everything(), before, "something is left, or gone");
    assert_eq!(machine.told(), ["--system daemon-reload"; 3]);

    // Without a running systemd, no reload is requested.
    fs::remove_dir(machine.path("run/systemd/system")).unwrap();
    let before = machine.everything();
    machine.dpkg(&["--install", new]);
    machine.dpkg(&["--purge", "stsd"]);
    assert_eq!(machine.everything(), before);
    assert_eq!(machine.told().len(), 3);
    let list = machine.dpkg(&["--list"]);
    assert!(!list.contains("stsd"), "{list}");
}

/// Verifies the installed system units with systemd-analyze. It reads user units of the running machine
/// only; `tests/systemd` starts those.
fn units(machine: &Machine) {
    let systemd = Path::new("/lib/systemd/system");
    let analyze = Command::new("systemd-analyze").arg("--version").output();
    if analyze.is_err() || !systemd.join("sysinit.target").exists() {
        return not_run("systemd-analyze: there is no systemd here");
    }
    let place = machine.path("usr/lib/systemd/system");
    let others = fs::read_dir(systemd).unwrap().map(|it| it.unwrap().path());
    let mut copies: Vec<_> = others
        .filter(|path| {
            path.extension()
                .is_some_and(|it| it == "target" || it == "slice")
        })
        .map(|path| (path.clone(), place.join(path.file_name().unwrap())))
        .collect();
    // The other programs of the units.
    copies.push(("/bin/sh".into(), machine.path("usr/bin/kill")));
    for (from, to) in &copies {
        fs::copy(from, to).unwrap();
    }
    let mut verify = Command::new("systemd-analyze");
    verify.args(["verify", "--man=no"]);
    verify.arg(format!("--root={}", machine.root.path().display()));
    let output = verify
        .args(["stsd.service", "stsd.socket"])
        .output()
        .unwrap();
    // A warning leaves the exit code 0.
    assert!(
        output.status.success() && all(&output).is_empty(),
        "{}",
        all(&output)
    );
    for (_, copy) in copies {
        fs::remove_file(copy).unwrap();
    }
}

#[test]
fn packages_are_reproducible_and_complete() {
    let place = tempfile::tempdir().unwrap();
    let Some(one) = pack(&place.path().join("one"), "0.1.0") else {
        return;
    };
    let other = pack(&place.path().join("other place"), "0.1.0").unwrap();
    let sums = fs::read_to_string(one.join("SHA256SUMS")).unwrap();
    assert_eq!(sums.lines().count(), 3, "{sums}");
    run(Command::new("sha256sum")
        .args(["--check", "SHA256SUMS"])
        .current_dir(&one));
    assert_eq!(sums, fs::read_to_string(other.join("SHA256SUMS")).unwrap());

    let bill = fs::read(the_one(&one, ".cdx.json")).unwrap();
    let bill: serde_json::Value = serde_json::from_slice(&bill).unwrap();
    let components = bill["components"].as_array().unwrap();
    let find = |name: &str| components.iter().find(|it| it["name"] == name);
    let ring = find("ring").expect("the daemon's TLS is in no program");
    assert_eq!(ring["hashes"][0]["alg"], "SHA-256");
    assert_eq!(ring["hashes"][0]["content"].as_str().unwrap().len(), 64);
    for name in ["tempfile", "clap", "musl", "std"] {
        assert!(find(name).is_some(), "{name} ships, and is not in the bill");
    }
    for name in ["proptest", "serde_derive", "stsd", "e2e"] {
        assert!(find(name).is_none(), "{name} is in the bill");
    }
    notices(&one, components);
    manual(&one, place.path());
}

/// Asserts that the archive contains the licence of each component.
fn notices(out: &Path, components: &[serde_json::Value]) {
    let mut tar = Command::new("tar");
    tar.args(["--wildcards", "--to-stdout", "-xzf"]);
    let text = run(tar.arg(the_one(out, ".tar.gz")).arg("*/THIRD-PARTY.txt"));
    for component in components {
        let name = component["name"].as_str().unwrap();
        assert!(text.contains(name), "{name} is not in THIRD-PARTY.txt");
    }
    assert!(text.contains("Permission is hereby granted"));
}

/// Asserts that mandoc and man read the manual pages without a warning.
fn manual(out: &Path, place: &Path) {
    let mut tar = Command::new("tar");
    tar.args(["--strip-components=1", "-C"]).arg(place);
    run(tar.arg("-xzf").arg(the_one(out, ".tar.gz")));
    let mut pages = Vec::new();
    for section in ["man1", "man5", "man7", "man8"] {
        let entries = fs::read_dir(place.join("share/man").join(section)).unwrap();
        pages.extend(entries.map(|entry| entry.unwrap().path()));
    }
    let names: Vec<_> = pages.iter().map(|it| it.file_name().unwrap()).collect();
    for name in [
        "sts-shim.1",
        "stsctl.1",
        "stsctl-setup.1",
        "stsd-emulator.1",
        "stsd-oss-client.1",
        "stsd-config.5",
        "stsd-protocol.7",
        "stsd.8",
    ] {
        assert!(names.iter().any(|it| *it == name), "{name} is not there");
    }
    let config = fs::read_to_string(place.join("share/man/man5/stsd-config.5")).unwrap();
    assert!(config.contains("\n\\fBrole_arn\\fR\n"), "{config}");

    let readers: [(&str, &[&str]); 2] = [
        ("mandoc", &["-T", "lint", "-W", "warning"]),
        ("man", &["--warnings", "-Tutf8", "-Z", "-l"]),
    ];
    for (reader, arguments) in readers {
        // A machine may have the program and a reduced package of man-db.
        if Command::new(reader)
            .args(arguments)
            .arg(&pages[0])
            .output()
            .is_err()
        {
            not_run(&format!("{reader} does not start"));
            continue;
        }
        for page in &pages {
            let mut command = Command::new(reader);
            command.args(arguments).arg(page).env("LC_ALL", "C.UTF-8");
            let output = command.output().unwrap();
            let said = match reader {
                "man" => String::from_utf8_lossy(&output.stderr).into_owned(),
                _ => all(&output),
            };
            assert!(said.is_empty(), "{reader}: {said}");
        }
    }
}

/// The pages of `man` with options, each with its program.
const PAGES: [(&str, &str); 4] = [
    ("stsd", "stsd.8"),
    ("sts-shim", "sts-shim.1"),
    ("stsd-emulator", "stsd-emulator.1"),
    ("stsd-oss-client", "stsd-oss-client.1"),
];

#[test]
fn manual_page_lists_exactly_the_options_of_its_program() {
    for (name, page) in PAGES {
        let help = run(Command::new(program(name)).arg("--help"));
        let page = source(&format!("man/{page}")).replace("\\-", "-");
        let (_, section) = page.split_once("\n.SH OPTIONS\n").expect(name);
        let section = section.split("\n.SH ").next().unwrap();
        assert_eq!(options(&help), options(section), "{name}: help, page");
    }
}

#[test]
fn protocol_manual_page_names_every_message() {
    let page = source("man/stsd-protocol.7");
    let document = source("docs/protocol.md");
    let listed: BTreeSet<_> = page
        .lines()
        .filter_map(|line| line.strip_prefix(".B "))
        .filter(|it| it.starts_with(|first: char| first.is_ascii_digit()))
        .map(str::to_owned)
        .collect();
    let cells = document.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| ")?.split(" | ");
        Some((cells.next()?, cells.next()?))
    });
    // The kinds of failures are sentences, and table headings have no number.
    let messages = cells.filter(|(number, name)| {
        number.parse::<u8>().is_ok() && name.starts_with(|it: char| it.is_ascii_uppercase())
    });
    let messages = messages.filter(|(_, name)| !name.starts_with("STS "));
    let messages: BTreeSet<_> = messages
        .map(|(number, name)| format!("{number} {name}"))
        .collect();
    assert_eq!(listed, messages);
}

/// Returns the long options in a text.
fn options(text: &str) -> BTreeSet<&str> {
    let words = text.split(|it: char| !it.is_ascii_alphanumeric() && it != '-');
    words
        .filter(|word| word.len() > 2 && word.starts_with("--"))
        .collect()
}

fn source(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name);
    fs::read_to_string(path).unwrap()
}

#[test]
fn shell_completion_completes_stsctl_commands() {
    let script = |shell: &str| {
        let mut stsctl = Command::new(program("stsctl"));
        // Neither needs a daemon.
        run(stsctl.env_clear().args(["completions", shell]))
    };
    for shell in ["bash", "zsh", "fish"] {
        let script = script(shell);
        for word in ["doctor", "lease", "min-life"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
    let complete = "source /dev/stdin; COMP_WORDS=(stsctl re); COMP_CWORD=1; \
        _stsctl stsctl re stsctl; echo \"${COMPREPLY[@]}\"";
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("stsctl");
    fs::write(&path, script("bash")).unwrap();
    let mut bash = Command::new("bash");
    let bash = bash.args(["--norc", "-c", complete]);
    let words = run(bash.stdin(fs::File::open(path).unwrap()));
    assert_eq!(words.trim(), "refresh reload");
}
