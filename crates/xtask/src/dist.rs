//! The release for each architecture: a Debian package, an rpm package and a static tarball; one
//! container image; checksums and a bill of materials. Packages and tarball have the same tree, in
//! `/usr` or in the folder where the tarball is unpacked.
//!
//! The release is built twice, from sources in two folders, and compared. A user can thus verify a
//! release with a build of the same sources: the same tools produce the same bytes.

mod architecture;
pub(crate) mod build;
mod deb;
mod file_tree;
mod manual;
mod oci;
mod rpm;
mod sbom;
mod scripts;
mod tools;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

pub(crate) use architecture::Architecture;
use tools::PythonTools;

use crate::process::{self, Outcome, output, root, run, say, target};

/// The version and the time of a release.
#[derive(Debug)]
pub(crate) struct Release {
    pub version: String,
    /// The time of the sources, in seconds since 1970. All files have this modification time.
    pub epoch: String,
    /// The same as a date.
    pub date: String,
}

/// The programs of a release for an architecture.
#[derive(Debug)]
pub(crate) struct Programs {
    pub architecture: Architecture,
    /// The folder of all programs, statically linked.
    pub all: PathBuf,
    /// The daemon of the Debian package, linked to the system's C library, whose NSS finds users and
    /// groups that are not in `/etc`.
    pub daemon: PathBuf,
}

/// The extent of a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// All architectures, built twice and compared.
    Compared,
    /// All architectures.
    Once,
    /// This machine's architecture, without the tools for others.
    Native,
}

/// The compression of the archives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    /// The best compression, for a release.
    Release,
    /// The fastest compression, for tests.
    Quick,
}

/// The formats in which programs are packed.
const FORMATS: [&str; 4] = ["deb", "rpm", "tarball", "image"];

/// The release, and the folders from which and into which packages are made.
#[derive(Debug)]
pub(crate) struct Packing<'a> {
    pub release: &'a Release,
    pub source: &'a Path,
    /// The folder of temporary files.
    pub stage: &'a Path,
    pub out: &'a Path,
    pub compression: Compression,
}

/// Builds and packs.
pub(crate) fn dist(extent: Extent) -> Outcome {
    let architectures = match extent {
        Extent::Native => vec![Architecture::host()?],
        Extent::Compared | Extent::Once => Architecture::ALL.to_vec(),
    };
    tools::check()?;
    build::check_toolchain(&architectures)?;
    let python_tools = PythonTools::install()?;
    let release = Release::of(None)?;
    let work = target().join("dist");
    let out = work.join("out");
    process::heading("programs");
    let build_in = |source: &Path, target: &Path| {
        let all = architectures.iter();
        let all = all.map(|it| build::programs(source, target, *it));
        all.collect::<Result<Vec<_>, _>>()
    };
    let programs = build_in(&root(), &work.join("first"))?;
    process::heading("packages");
    let stage = out.with_extension("stage");
    let packing = Packing {
        release: &release,
        source: &root(),
        stage: &stage,
        out: &out,
        compression: Compression::Release,
    };
    pack(&packing, &programs, &python_tools, &FORMATS)?;
    if extent == Extent::Compared {
        process::heading("second build");
        let second_work = work.join("second, of another name");
        let source = copy_of_source(&second_work)?;
        let programs = build_in(&source, &second_work.join("target"))?;
        let second = second_work.join("out");
        let packing = Packing {
            source: &source,
            out: &second,
            stage: &second.with_extension("stage"),
            ..packing
        };
        pack(&packing, &programs, &python_tools, &FORMATS)?;
        compare(&out, &second)?;
    } else {
        say("NOT RUN: the comparison with a second build");
    }
    say("");
    run(Command::new("ls").args(["-l", "--"]).arg(&out))
}

/// Packs programs that are built already, for the stories: in the named formats, or in all.
pub(crate) fn from(programs: &str, into: &str, version: &str, formats: &[&str]) -> Outcome {
    let formats = if formats.is_empty() {
        &FORMATS
    } else {
        formats
    };
    if let Some(unknown) = formats.iter().find(|it| !FORMATS.contains(it)) {
        return Err(format!(
            "no format {unknown:?}; there are {}",
            FORMATS.join(", ")
        ));
    }
    tools::check()?;
    let python_tools = PythonTools::install()?;
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
        architecture: Architecture::host()?,
        daemon: all.join("stsd"),
        all,
    };
    let packing = Packing {
        release: &Release::of(Some(version))?,
        source: &root(),
        stage: &out.with_extension("stage"),
        out,
        compression: Compression::Quick,
    };
    pack(&packing, &[programs], &python_tools, formats)?;
    let all = out.with_extension("programs");
    fs::remove_dir_all(&all).map_err(at(&all))
}

/// Installs the tools from PyPI that pack. Stories that run side by side then find them.
pub(crate) fn install_python_tools() -> Outcome {
    PythonTools::install().map(drop)
}

/// Builds the programs of an architecture where the first build of a release has them.
pub(crate) fn build_first(architecture: Architecture) -> Result<Programs, String> {
    build::check_toolchain(&[architecture])?;
    build::programs(&root(), &target().join("dist/first"), architecture)
}

/// Copies the sources, without what is built, below a directory; returns the directory of the copy.
fn copy_of_source(work: &Path) -> Result<PathBuf, String> {
    let (source, archive) = (work.join("source"), work.join("source.tar"));
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
    Ok(source)
}

/// Compares each file of a release with that of a second build.
fn compare(out: &Path, second: &Path) -> Outcome {
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

/// Packs the programs of all architectures, which include this machine's.
fn pack(
    packing: &Packing<'_>,
    all_programs: &[Programs],
    tools: &PythonTools,
    formats: &[&str],
) -> Outcome {
    let Packing { out, stage, .. } = packing;
    for folder in [out, stage] {
        let _ = fs::remove_dir_all(folder);
        fs::create_dir_all(folder).map_err(at(folder))?;
    }
    let sbom = sbom::Sbom::read(packing.source)?;
    let notices = sbom.notices()?;
    let own = Architecture::host()?;
    let host = all_programs.iter().find(|it| it.architecture == own);
    let host = host.ok_or("there are no programs for this machine")?;
    for programs in all_programs {
        let shared = file_tree::SharedFiles::new(packing, programs, host, &notices);
        for format in formats {
            match *format {
                "deb" => deb::pack(packing, &shared, programs)?,
                "rpm" => rpm::pack(packing, &shared, programs, tools.nfpm())?,
                "tarball" => tarball(packing, &shared, programs)?,
                _ => {}
            }
        }
    }
    if formats.contains(&"image") {
        oci::pack(packing, all_programs, &notices, tools)?;
    }
    let path = out.join(format!("stsd-{}.cdx.json", packing.release.version));
    fs::write(&path, sbom.cyclone_dx(packing.release)).map_err(at(&path))?;
    let _ = fs::remove_dir_all(stage);
    let sums = output(
        Command::new("sh")
            .args(["-c", "sha256sum -- *"])
            .current_dir(out),
    )?;
    let path = out.join("SHA256SUMS");
    fs::write(&path, sums).map_err(at(&path))
}

fn tarball(
    packing: &Packing<'_>,
    shared: &file_tree::SharedFiles<'_>,
    programs: &Programs,
) -> Outcome {
    let (version, architecture) = (&packing.release.version, programs.architecture);
    let name = format!("stsd-{version}-linux-{}", architecture.kernel_name());
    let tree = packing.stage.join(&name);
    shared.write(&tree)?;
    shared.write_zsh(&tree.join("share/zsh/site-functions"))?;
    file_tree::normalize_metadata(&tree, packing.release)?;
    let archive = packing.out.join(format!("{name}.tar"));
    let mut tar = Command::new("tar");
    tar.args(["--sort=name", "--format=gnu", "--owner=0", "--group=0"]);
    // With the modes of the tree, which do not depend on the umask.
    tar.args(["--numeric-owner", "-cf"]);
    run(tar.arg(&archive).arg("-C").arg(packing.stage).arg(&name))?;
    let level = packing.compression.gzip_level();
    run(Command::new("gzip").args(["-n", level]).arg(&archive))
}

impl Release {
    fn of(version: Option<&str>) -> Result<Self, String> {
        let epoch = epoch();
        let mut date = Command::new("date");
        date.args(["-u", "-d", &format!("@{epoch}"), "+%F"]);
        Ok(Self {
            version: version.unwrap_or(env!("CARGO_PKG_VERSION")).to_owned(),
            date: output(&mut date)?.trim().to_owned(),
            epoch,
        })
    }

    /// Returns the version in the form of Debian and rpm, in which `0.2.0~rc1` precedes `0.2.0`.
    fn package_version(&self) -> String {
        self.version.replace('-', "~")
    }
}

impl Compression {
    fn gzip_level(self) -> &'static str {
        match self {
            Self::Release => "-9",
            Self::Quick => "-1",
        }
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

/// Returns a function that adds a path to an error.
fn at(path: &Path) -> impl Fn(std::io::Error) -> String {
    move |error| format!("{}: {error}", path.display())
}
