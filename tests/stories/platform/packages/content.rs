//! The content of the packages: bill of materials, licences, manual pages and completions.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use e2e::{not_run, program};

use super::{all, pack, run, the_one};

#[test]
fn packages_are_reproducible_and_complete() {
    let place = tempfile::tempdir().unwrap();
    let Some(one) = pack(&place.path().join("one"), "0.1.0", &[]) else {
        return;
    };
    let other = pack(&place.path().join("other place"), "0.1.0", &[]).unwrap();
    let sums = fs::read_to_string(one.join("SHA256SUMS")).unwrap();
    // A Debian package, an rpm package, a tarball, an image, and the bill of materials.
    assert_eq!(sums.lines().count(), 5, "{sums}");
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
    let rules = "share/doc/stsd/examples/prometheus/alerts.yaml";
    assert!(place.path().join(rules).exists(), "{rules}");
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
