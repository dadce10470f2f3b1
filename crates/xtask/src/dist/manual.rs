//! Decides which manual pages there are, and what each is made of: what the programs say to
//! `--help`, what clap knows of stsctl, and pages of `docs`.

use std::{fs, path::Path, process::Command};

use super::{Release, at, markdown, output, roff::Page, usage};

/// Programs, their sections, and what they are.
const PROGRAMS: [(&str, u8, &str); 4] = [
    (
        "sts-shim",
        1,
        "print the current credentials of a profile, for programs",
    ),
    ("stsd", 8, "daemon for Alibaba Cloud role credentials"),
    (
        "stsd-emulator",
        1,
        "STS, OSS and instance metadata on loopback, for tests",
    ),
    (
        "stsd-oss-client",
        1,
        "one call to OSS with credentials of a credential process",
    ),
];

/// Documents, the pages that they make together and their sections, and what they are.
const DOCUMENTS: [(&[&str], &str, u8, &str); 2] = [
    (
        &["docs/configuration.md", "docs/configuration-reference.md"],
        "stsd-config",
        5,
        "configuration of stsd",
    ),
    (
        &["docs/protocol.md"],
        "stsd-protocol",
        7,
        "protocol of the socket of stsd",
    ),
];

/// Writes all pages into a directory.
pub(crate) fn write(
    release: &Release,
    source: &Path,
    programs: &Path,
    directory: &Path,
) -> Result<(), String> {
    let mut stsctl = Command::new(programs.join("stsctl"));
    stsctl.args(["man", "--directory"]).arg(directory);
    output(stsctl.env("SOURCE_DATE_EPOCH", &release.epoch))?;
    let page = |name, section, what| Page {
        name,
        what,
        section,
        date: release.date.clone(),
        version: release.version.clone(),
    };
    let write = |page: &Page, text: String| {
        let path = directory.join(page.file());
        fs::write(&path, text).map_err(at(&path))
    };
    for (name, section, what) in PROGRAMS {
        let help = output(Command::new(programs.join(name)).arg("--help"))?;
        let page = page(name, section, what);
        write(&page, usage::render(&page, &help))?;
    }
    for (documents, name, section, what) in DOCUMENTS {
        let page = page(name, section, what);
        let read = |name: &&'static str| {
            let path = source.join(name);
            let text = fs::read_to_string(&path).map_err(at(&path))?;
            Ok((*name, text))
        };
        let documents: Result<Vec<_>, String> = documents.iter().map(read).collect();
        let text = markdown::render(&page, &documents?)?;
        write(&page, text)?;
    }
    Ok(())
}
