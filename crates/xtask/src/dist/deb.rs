//! The Debian package.
//!
//! The package has no configuration files. Its scripts make systemd reload its units, and report what
//! a new version would refuse: they neither start, stop nor enable a unit.

use std::{fs, path::Path, process::Command};

use super::{Compression, Packing, Programs, at, file_tree, output, scripts::script};
use crate::process::{Outcome, run};

const ABOUT: &str = "\
Description: local daemon for Alibaba Cloud role credentials
 stsd holds a long-lived AccessKey, renews role credentials in the
 background, and serves them over a Unix socket to the programs of a user,
 or to the users and programs that a rule allows. SDKs run sts-shim to get
 the credentials; stsctl is the command for people.
 .
 This package starts and enables no service. stsd-emulator is an
 emulated STS and OSS on loopback, for `stsctl demo` and for tests.
";

pub(crate) fn pack(
    packing: &Packing<'_>,
    shared: &file_tree::SharedFiles<'_>,
    programs: &Programs,
) -> Outcome {
    let release = packing.release;
    let architecture = programs.architecture.debian_name();
    let root = &packing.stage.join(format!("deb-{architecture}"));
    let usr = root.join("usr");
    shared.write(&usr)?;
    file_tree::copy(&programs.daemon, &usr.join("bin/stsd"))?;
    shared.write_zsh(&usr.join("share/zsh/vendor-completions"))?;
    file_tree::compress(&usr.join("share/man"))?;
    let doc = usr.join("share/doc/stsd");
    let changes = doc.join("changelog");
    fs::rename(doc.join("CHANGELOG.md"), &changes).map_err(at(&changes))?;
    file_tree::compress(&changes)?;
    // The file `copyright` has the licences, in the form of Debian.
    for name in ["LICENSE-APACHE", "LICENSE-MIT"] {
        fs::remove_file(doc.join(name)).map_err(at(&doc))?;
    }
    file_tree::write(
        &doc.join("copyright"),
        &copyright(shared.licence()?.as_str()),
    )?;
    file_tree::compress(&doc.join("THIRD-PARTY.txt"))?;
    let size = output(
        Command::new("du")
            .args(["-sk", "--apparent-size"])
            .arg(&usr),
    )?;
    let size = size.split_whitespace().next().unwrap_or("0");
    let control = root.join("DEBIAN");
    let sums = "find usr -type f -print0 | LC_ALL=C sort -z | xargs -0 md5sum --";
    let sums = output(Command::new("sh").args(["-c", sums]).current_dir(root))?;
    file_tree::write(&control.join("md5sums"), &sums)?;
    let version = release.package_version();
    let text = format!(
        "Package: stsd\nVersion: {version}\nArchitecture: {architecture}\n\
         Maintainer: the stsd authors\nInstalled-Size: {size}\nSection: admin\n\
         Priority: optional\n{}{ABOUT}",
        depends(&programs.daemon)?
    );
    file_tree::write(&control.join("control"), &text)?;
    for name in ["prerm", "postinst", "postrm"] {
        let text = script(packing.source, &[&format!("deb/{name}.sh")])?;
        file_tree::write(&control.join(name), &text)?;
    }
    file_tree::normalize_metadata(root, release)?;
    let compression: &[&str] = match packing.compression {
        Compression::Release => &["-Zxz"],
        Compression::Quick => &["-Znone"],
    };
    let mut dpkg = Command::new("dpkg-deb");
    dpkg.args(["--root-owner-group", "--build"])
        .args(compression);
    dpkg.env("SOURCE_DATE_EPOCH", &release.epoch);
    // The output of several threads depends on their number.
    dpkg.env("DPKG_DEB_THREADS_MAX", "1");
    run(dpkg.arg(root).arg(
        packing
            .out
            .join(format!("stsd_{version}_{architecture}.deb")),
    ))
}

/// Returns the dependencies of the daemon: the newest version of the C library whose symbols it has,
/// and the unwinder. A static program has neither.
fn depends(daemon: &Path) -> Result<String, String> {
    let program = fs::read(daemon).map_err(at(daemon))?;
    let text = String::from_utf8_lossy(&program);
    let versions = text.split("GLIBC_2.").skip(1).filter_map(|rest| {
        let digits = rest.split(|it: char| !it.is_ascii_digit()).next()?;
        digits.parse::<u32>().ok()
    });
    let Some(newest) = versions.max() else {
        return Ok(String::new());
    };
    let unwinder = match text.contains("libgcc_s.so.1") {
        true => ", libgcc-s1",
        false => "",
    };
    Ok(format!("Depends: libc6 (>= 2.{newest}){unwinder}\n"))
}

fn copyright(mit: &str) -> String {
    let mit = mit.split_once("\n\n").map_or(mit, |(_, rest)| rest);
    let (holder, terms) = mit.split_once("\n\n").unwrap_or(("", mit));
    let holder = holder.trim_start_matches("Copyright (c) ");
    let terms = terms.trim_end().lines().map(|line| match line {
        "" => " .\n".to_owned(),
        line => format!(" {line}\n"),
    });
    let terms: String = terms.collect();
    format!(
        "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\
         Upstream-Name: stsd\n\
         Comment: The programs hold libraries of others; their licences are in\n \
         /usr/share/doc/stsd/THIRD-PARTY.txt.gz.\n\n\
         Files: *\nCopyright: {holder}\nLicense: Expat or Apache-2.0\n\n\
         License: Expat\n{terms}\n\
         License: Apache-2.0\n \
         On Debian systems the text is in /usr/share/common-licenses/Apache-2.0.\n"
    )
}
