//! The rpm package, made by nfpm from a list of files. It has no configuration files; its scripts make
//! the user of the service, start and enable nothing, and stop the machine's units before a removal.

use std::{fs, path::Path, process::Command};

use super::{Compression, Packing, Programs, at, file_tree, scripts::script};
use crate::process::{Outcome, run};

/// Files of the package alone: in `packaging/rpm`, and below `/usr/lib`.
const FILES: [(&str, &str); 3] = [
    ("sysusers.d/stsd.conf", "sysusers.d/stsd.conf"),
    ("90-stsd.preset", "systemd/system-preset/90-stsd.preset"),
    ("90-stsd.preset", "systemd/user-preset/90-stsd.preset"),
];

/// The directories that belong to the package, with all below; `filesystem` and `systemd` own the rest.
/// The shells' packages own theirs as well, and may be missing.
const OWN_DIRECTORIES: [&str; 4] = [
    "/usr/share/bash-completion",
    "/usr/share/doc/stsd",
    "/usr/share/fish",
    "/usr/share/zsh",
];

const DESCRIPTION: &str = "\
stsd holds a long-lived AccessKey, renews role credentials in the background, and serves them over a \
Unix socket to the programs of a user, or to the users and programs that a rule allows. This package \
starts and enables no service.";

pub(crate) fn pack(
    packing: &Packing<'_>,
    shared: &file_tree::SharedFiles<'_>,
    programs: &Programs,
    mut nfpm: Command,
) -> Outcome {
    let architecture = programs.architecture.kernel_name();
    let work = packing.stage.join(format!("rpm-{architecture}"));
    let (root, own) = (work.join("root"), packing.source.join("packaging/rpm"));
    let usr = root.join("usr");
    shared.write(&usr)?;
    shared.write_zsh(&usr.join("share/zsh/site-functions"))?;
    file_tree::compress(&usr.join("share/man"))?;
    for (file, path) in FILES {
        file_tree::copy(&own.join(file), &usr.join("lib").join(path))?;
    }
    file_tree::normalize_metadata(&root, packing.release)?;
    let mut contents = String::new();
    list(&root, Path::new("/"), &mut contents)?;
    let write_script = |name: &str| {
        let text = script(packing.source, &["rpm/drop-in.sh", &format!("rpm/{name}")])?;
        let path = work.join(name);
        file_tree::write(&path, &text)?;
        Ok::<_, String>(path)
    };
    let (post, preun) = (write_script("post.sh")?, write_script("preun.sh")?);
    let postun = write_script("postun.sh")?;
    let compression = match packing.compression {
        Compression::Release => "xz",
        Compression::Quick => "gzip:1",
    };
    let version = packing.release.package_version();
    // A string of YAML may be one of JSON, which Rust writes for all names that are in the package.
    let text = format!(
        "name: stsd\narch: {architecture}\nplatform: linux\nversion: {version:?}\n\
         version_schema: none\nrelease: 1\nmaintainer: the stsd authors\n\
         license: MIT OR Apache-2.0\ndescription: {DESCRIPTION:?}\n\
         rpm:\n  summary: local daemon for Alibaba Cloud role credentials\n  \
         group: System Environment/Daemons\n  buildhost: localhost\n  compression: {compression}\n\
         scripts:\n  postinstall: {post:?}\n  preremove: {preun:?}\n  \
         postremove: {postun:?}\n\
         contents:\n{contents}"
    );
    let configuration = work.join("nfpm.yaml");
    file_tree::write(&configuration, &text)?;
    let name = format!("stsd-{version}-1.{architecture}.rpm");
    nfpm.args(["package", "--packager", "rpm", "--config"])
        .arg(&configuration)
        .arg("--target")
        .arg(packing.out.join(name));
    // The time of the build is part of the package.
    run(nfpm.env("SOURCE_DATE_EPOCH", &packing.release.epoch))
}

/// Adds each file below a directory to the list of contents, and the directories that belong to the
/// package.
fn list(root: &Path, directory: &Path, contents: &mut String) -> Outcome {
    let from = root.join(directory.strip_prefix("/").unwrap_or(directory));
    let mut names = Vec::new();
    for entry in fs::read_dir(&from).map_err(at(&from))? {
        names.push(entry.map_err(at(&from))?.file_name());
    }
    names.sort();
    for name in names {
        let (source, path) = (from.join(&name), directory.join(&name));
        if !source.is_dir() {
            contents.push_str(&format!("- {{src: {source:?}, dst: {path:?}}}\n"));
            continue;
        }
        if OWN_DIRECTORIES.iter().any(|it| path.starts_with(it)) {
            contents.push_str(&format!("- {{dst: {path:?}, type: dir}}\n"));
        }
        list(root, &path, contents)?;
    }
    Ok(())
}
