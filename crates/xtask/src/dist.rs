//! The release: a Debian package and a static tarball, with checksums and a bill of materials. Both
//! have the same tree, in `/usr` or in the folder where the tarball is unpacked.
//!
//! The release is built twice, from sources in two folders, and compared. A user can thus verify a
//! release with a build of the same sources: the same compiler produces the same bytes.

pub(crate) mod build;
mod deb;
mod file_tree;
mod manual;
mod sbom;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::process::{self, Outcome, output, root, run, say, target};

/// The version, the time and the architecture of a release.
#[derive(Debug)]
pub(crate) struct Release {
    pub version: String,
    /// The time of the sources, in seconds since 1970. All files have this modification time.
    pub epoch: String,
    /// The same as a date.
    pub date: String,
    /// Debian's name of the architecture.
    pub debian: &'static str,
    /// The kernel's name of the architecture.
    pub machine: &'static str,
}

/// The programs of a release.
#[derive(Debug)]
pub(crate) struct Programs {
    /// The folder of all programs, statically linked.
    pub all: PathBuf,
    /// The daemon of the package, linked to the system's C library, whose NSS finds users and groups
    /// that are not in `/etc`.
    pub daemon: PathBuf,
}

/// The compression of the archives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    /// The best compression, for a release.
    Release,
    /// The fastest compression, for tests.
    Quick,
}

/// Builds and packs, twice unless `once`.
pub(crate) fn dist(once: bool) -> Outcome {
    tools()?;
    build::check_toolchain()?;
    let release = Release::of(None)?;
    let work = target().join("dist");
    let out = work.join("out");
    process::heading("programs");
    let programs = build::programs(&root(), &work.join("first"))?;
    process::heading("packages");
    pack(&release, &root(), &programs, &out, Compression::Release)?;
    if once {
        say("NOT RUN: the comparison with a second build");
    } else {
        rebuild_and_compare(&release, &work, &out)?;
    }
    say("");
    run(Command::new("ls").args(["-l", "--"]).arg(&out))
}

/// Builds the static programs as [`dist`] does, and returns their folder.
pub(crate) fn static_programs() -> Result<PathBuf, String> {
    build::check_toolchain()?;
    Ok(build::programs(&root(), &target().join("dist/first"))?.all)
}

/// Packs programs that are built already, for the stories.
pub(crate) fn from(programs: &str, into: &str, version: &str) -> Outcome {
    tools()?;
    let out = Path::new(into);
    let all = out.with_extension("programs");
    fs::create_dir_all(&all).map_err(at(&all))?;
    for name in file_tree::PROGRAMS {
        let (program, copy) = (Path::new(programs).join(name), all.join(name));
        // Debug information is most of the size.
        let mut strip = Command::new("strip");
        if output(strip.arg("-o").arg(&copy).arg(&program)).is_err() {
            fs::copy(&program, &copy).map_err(at(&program))?;
        }
    }
    let programs = Programs {
        daemon: all.join("stsd"),
        all,
    };
    let release = Release::of(Some(version))?;
    pack(&release, &root(), &programs, out, Compression::Quick)?;
    fs::remove_dir_all(&programs.all).map_err(at(&programs.all))
}

/// Builds and packs again, from a copy of the sources in another folder, and compares the results.
fn rebuild_and_compare(release: &Release, work: &Path, out: &Path) -> Outcome {
    process::heading("second build");
    let second_work = work.join("second, of another name");
    let (source, archive) = (second_work.join("source"), second_work.join("source.tar"));
    let _ = fs::remove_dir_all(&source);
    fs::create_dir_all(&source).map_err(at(&source))?;
    let mut tar = Command::new("tar");
    tar.args(["--exclude-vcs", "--exclude=target", "-cf"]);
    run(tar.arg(&archive).arg("-C").arg(root()).arg("."))?;
    run(Command::new("tar")
        .arg("-xf")
        .arg(&archive)
        .arg("-C")
        .arg(&source))?;
    let programs = build::programs(&source, &second_work.join("target"))?;
    let second = second_work.join("out");
    pack(release, &source, &programs, &second, Compression::Release)?;
    process::heading("comparison");
    for entry in fs::read_dir(out).map_err(at(out))? {
        let name = entry.map_err(at(out))?.file_name();
        let (one, other) = (out.join(&name), second.join(&name));
        let same = fs::read(&one).map_err(at(&one))? == fs::read(&other).map_err(at(&other))?;
        if !same {
            let (one, other) = (one.display(), other.display());
            return Err(format!(
                "{one} and {other} differ; the build is not reproducible"
            ));
        }
        say(&format!("{}: the same bytes", name.display()));
    }
    Ok(())
}

fn pack(
    release: &Release,
    source: &Path,
    programs: &Programs,
    out: &Path,
    compression_level: Compression,
) -> Outcome {
    let _ = fs::remove_dir_all(out);
    fs::create_dir_all(out).map_err(at(out))?;
    let sbom = sbom::Sbom::read(source)?;
    let stage = out.with_extension("stage");
    let _ = fs::remove_dir_all(&stage);
    let shared = file_tree::SharedFiles::make(release, source, programs, &sbom)?;
    deb::pack(
        release,
        &shared,
        programs,
        &stage.join("deb"),
        out,
        compression_level,
    )?;
    tarball(release, &shared, &stage, out, compression_level)?;
    let path = out.join(format!("stsd-{}.cdx.json", release.version));
    fs::write(&path, sbom.cyclone_dx(release)).map_err(at(&path))?;
    let _ = fs::remove_dir_all(&stage);
    let sums = output(
        Command::new("sh")
            .args(["-c", "sha256sum -- *"])
            .current_dir(out),
    )?;
    let path = out.join("SHA256SUMS");
    fs::write(&path, sums).map_err(at(&path))
}

fn tarball(
    release: &Release,
    shared: &file_tree::SharedFiles,
    stage: &Path,
    out: &Path,
    compression_level: Compression,
) -> Outcome {
    let name = format!("stsd-{}-linux-{}", release.version, release.machine);
    let tree = stage.join(&name);
    shared.write(&tree)?;
    shared.write_zsh(&tree.join("share/zsh/site-functions"))?;
    file_tree::normalize_metadata(&tree, release)?;
    let archive = out.join(format!("{name}.tar"));
    let mut tar = Command::new("tar");
    tar.args(["--sort=name", "--format=gnu", "--owner=0", "--group=0"]);
    tar.args(["--numeric-owner", "--mode=u+rwX,go=rX", "-cf"]);
    run(tar.arg(&archive).arg("-C").arg(stage).arg(&name))?;
    let level = if compression_level == Compression::Release {
        "-9"
    } else {
        "-1"
    };
    run(Command::new("gzip").args(["-n", level]).arg(&archive))
}

impl Release {
    fn of(version: Option<&str>) -> Result<Self, String> {
        let (debian, machine) = match env::consts::ARCH {
            "x86_64" => ("amd64", "x86_64"),
            "aarch64" => ("arm64", "aarch64"),
            other => return Err(format!("there are no packages for {other}")),
        };
        let epoch = epoch();
        let mut date = Command::new("date");
        date.args(["-u", "-d", &format!("@{epoch}"), "+%F"]);
        Ok(Self {
            version: version.unwrap_or(env!("CARGO_PKG_VERSION")).to_owned(),
            date: output(&mut date)?.trim().to_owned(),
            epoch,
            debian,
            machine,
        })
    }
}

/// Returns the time of the sources: `SOURCE_DATE_EPOCH`, or that of the newest commit, or without
/// either the first day of 1980.
fn epoch() -> String {
    let variable = env::var("SOURCE_DATE_EPOCH").ok();
    let commit = || {
        let mut git = Command::new("git");
        git.args(["log", "-1", "--format=%ct"]).current_dir(root());
        let seconds = output(&mut git).ok()?.trim().to_owned();
        (!seconds.is_empty()).then_some(seconds)
    };
    variable
        .or_else(commit)
        .unwrap_or_else(|| "315532800".to_owned())
}

fn tools() -> Outcome {
    for (tool, package) in [
        ("dpkg-deb", "dpkg"),
        ("tar", "tar"),
        ("gzip", "gzip"),
        ("sha256sum", "coreutils"),
        ("md5sum", "coreutils"),
    ] {
        output(Command::new(tool).arg("--version"))
            .map_err(|error| format!("{error}; the package {package} has it"))?;
    }
    Ok(())
}

/// Returns a function that adds a path to an error.
fn at(path: &Path) -> impl Fn(std::io::Error) -> String {
    move |error| format!("{}: {error}", path.display())
}
