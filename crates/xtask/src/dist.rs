//! The release files: a package for Debian and its derivatives and a static tarball, with checksums
//! and an SBOM. Both hold the same tree, the package below `/usr`.
//!
//! Everything is built twice, from sources in two directories, and compared. A user can rebuild
//! the files and get the same bytes from the same compiler.

mod bill;
pub(crate) mod build;
mod deb;
mod manual;
mod tree;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::process::{self, Outcome, output, root, run, say, target};

/// What a release is, besides its files.
#[derive(Debug)]
pub(crate) struct Release {
    pub version: String,
    /// Seconds since 1970: when its sources are from. Every file is of that moment.
    pub epoch: String,
    /// The same as a day.
    pub date: String,
    /// Debian's name of the architecture, and the kernel's.
    pub debian: &'static str,
    pub machine: &'static str,
}

/// Programs, ready to be packed.
#[derive(Debug)]
pub(crate) struct Programs {
    /// Where all of them are, linked statically.
    pub all: PathBuf,
    /// The daemon of the package: linked to the system's C library, which knows users and
    /// groups that are not in files.
    pub daemon: PathBuf,
}

/// How much time the packing may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effort {
    /// As small as it gets.
    Release,
    /// As large as it comes.
    Quick,
}

/// Builds and packs; twice, unless told otherwise.
pub(crate) fn dist(once: bool) -> Outcome {
    tools()?;
    build::ready()?;
    let release = Release::of(None)?;
    let work = target().join("dist");
    let out = work.join("out");
    process::heading("programs");
    let programs = build::programs(&root(), &work.join("first"))?;
    process::heading("packages");
    pack(&release, &root(), &programs, &out, Effort::Release)?;
    if once {
        say("NOT RUN: the comparison with a second build");
    } else {
        again(&release, &work, &out)?;
    }
    say("");
    run(Command::new("ls").args(["-l", "--"]).arg(&out))
}

/// Packs programs that are there already: how the stories come to a package.
pub(crate) fn from(programs: &str, into: &str, version: &str) -> Outcome {
    tools()?;
    let out = Path::new(into);
    let all = out.with_extension("programs");
    fs::create_dir_all(&all).map_err(at(&all))?;
    for name in tree::PROGRAMS {
        let (program, copy) = (Path::new(programs).join(name), all.join(name));
        // What debuggers want is most of it.
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
    pack(&release, &root(), &programs, out, Effort::Quick)?;
    fs::remove_dir_all(&programs.all).map_err(at(&programs.all))
}

/// Does all of it once more, from a copy of the sources in another place.
fn again(release: &Release, work: &Path, out: &Path) -> Outcome {
    process::heading("the same again, elsewhere");
    let place = work.join("second, of another name");
    let (source, archive) = (place.join("source"), place.join("source.tar"));
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
    let programs = build::programs(&source, &place.join("target"))?;
    let second = place.join("out");
    pack(release, &source, &programs, &second, Effort::Release)?;
    process::heading("comparison");
    for entry in fs::read_dir(out).map_err(at(out))? {
        let name = entry.map_err(at(out))?.file_name();
        let (one, other) = (out.join(&name), second.join(&name));
        let same = fs::read(&one).map_err(at(&one))? == fs::read(&other).map_err(at(&other))?;
        if !same {
            let (one, other) = (one.display(), other.display());
            return Err(format!("{one} and {other} differ, and should not"));
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
    effort: Effort,
) -> Outcome {
    let _ = fs::remove_dir_all(out);
    fs::create_dir_all(out).map_err(at(out))?;
    let bill = bill::Bill::read(source)?;
    let stage = out.with_extension("stage");
    let _ = fs::remove_dir_all(&stage);
    let shared = tree::Shared::make(release, source, programs, &bill)?;
    deb::pack(release, &shared, programs, &stage.join("deb"), out, effort)?;
    tarball(release, &shared, &stage, out, effort)?;
    let sbom = out.join(format!("stsd-{}.cdx.json", release.version));
    fs::write(&sbom, bill.cyclone_dx(release)).map_err(at(&sbom))?;
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
    shared: &tree::Shared,
    stage: &Path,
    out: &Path,
    effort: Effort,
) -> Outcome {
    let name = format!("stsd-{}-linux-{}", release.version, release.machine);
    let tree = stage.join(&name);
    shared.write(&tree)?;
    shared.write_zsh(&tree.join("share/zsh/site-functions"))?;
    tree::settle(&tree, release)?;
    let archive = out.join(format!("{name}.tar"));
    let mut tar = Command::new("tar");
    tar.args(["--sort=name", "--format=gnu", "--owner=0", "--group=0"]);
    tar.args(["--numeric-owner", "--mode=u+rwX,go=rX", "-cf"]);
    run(tar.arg(&archive).arg("-C").arg(stage).arg(&name))?;
    let level = if effort == Effort::Release {
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

/// When the sources are from: what we are told, else their newest commit, else no time at all
/// that means something.
fn epoch() -> String {
    let told = env::var("SOURCE_DATE_EPOCH").ok();
    let commit = || {
        let mut git = Command::new("git");
        git.args(["log", "-1", "--format=%ct"]).current_dir(root());
        let seconds = output(&mut git).ok()?.trim().to_owned();
        (!seconds.is_empty()).then_some(seconds)
    };
    told.or_else(commit)
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

/// Names the file an error is about.
fn at(path: &Path) -> impl Fn(std::io::Error) -> String {
    move |error| format!("{}: {error}", path.display())
}
