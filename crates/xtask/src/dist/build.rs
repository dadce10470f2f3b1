//! Decides how the programs that are given away are built: each by itself, so that none has
//! what only another one asks for, and without a word of where that was.

use std::{
    env, fs,
    hash::{DefaultHasher, Hasher as _},
    path::{Path, PathBuf},
    process::Command,
};

use super::{Programs, at, output};
use crate::{
    packages,
    process::{Outcome, cargo_command, root, run, say},
};

/// A package, its profile, and the programs that come of it.
const BUILDS: [(&str, &str, &[&str]); 4] = [
    ("stsd", "release", &["stsd"]),
    ("stsctl", "release", &["stsctl"]),
    ("sts-shim", SHIM, &["sts-shim"]),
    (
        "stsd-emulator",
        "release",
        &["stsd-emulator", "stsd-oss-client"],
    ),
];

/// The shim's profile. It is also the one program whose own code has a fixed address: placing
/// it anywhere costs a third of its instructions and a thirtieth of its time, and it lives
/// for less than a millisecond. And its code, its constants and its head are one segment:
/// what a process has to be given, and what is taken back at its end, are two pieces less,
/// which is a twentieth of its time; that its constants could be executed is the price.
pub(crate) const SHIM: &str = "shim";

/// Names that tell the instances of a generic function apart, for LAYOUTS.
const NAMES: &str = "-Csymbol-mangling-version=v0";

/// Returns how a program of a profile is compiled besides, as it is given away, of a source;
/// for `CARGO_ENCODED_RUSTFLAGS`, because in RUSTFLAGS a space in a path would part it.
pub(crate) fn flags(source: &Path, profile: &str) -> String {
    let home = env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let registry = env::var_os("CARGO_HOME").map_or(home.join(".cargo"), PathBuf::from);
    let renamed = |from: &Path, to: &str| format!("--remap-path-prefix={}={to}", from.display());
    let mut flags = vec![renamed(source, "stsd"), renamed(&registry, "cargo")];
    flags.extend(of_profile(profile).iter().map(ToString::to_string));
    flags.join("\x1f")
}

fn of_profile(profile: &str) -> &'static [&'static str] {
    match profile {
        SHIM => &[
            NAMES,
            "-Crelocation-model=static",
            "-Clink-arg=-Wl,-z,noseparate-code",
        ],
        _ => &[NAMES],
    }
}

/// Scripts for linkers: the functions of a program that run lie side by side. The kernel maps
/// 64 KiB around what is needed of a program, so where they are scattered, nearly all of it is
/// resident, and one that lives for less than a millisecond waits for that again and again.
/// `cargo xtask layout` writes them, and with it that a linker fails which finds less than half
/// of that code. The path is from the workspace, where cargo has linkers started.
pub(crate) const LAYOUTS: &str = "crates/xtask/src/dist/layout";

/// Returns how a package is built as it is given away, but for flags that all of it has.
pub(crate) fn command(package: &str, profile: &str, triple: &str) -> Result<Command, String> {
    let script = format!("{LAYOUTS}/{package}.ld");
    let file = root().join(&script);
    let has_layout = ["stsd", "sts-shim"].contains(&package);
    let what: &[&str] = match has_layout {
        true => &["rustc", "--bin", package],
        false => &["build"],
    };
    let mut cargo = cargo_command(what);
    cargo.args(["--locked", "--package", package]);
    cargo.args(["--profile", profile, "--target", triple]);
    if has_layout {
        let mut hasher = DefaultHasher::new();
        hasher.write(&fs::read(&file).map_err(at(&file))?);
        cargo.arg("--").arg(format!("-Clink-arg=-Wl,-T,{script}"));
        // Cargo does not know the script: this is how it sees that it is another one.
        cargo.arg(format!("--cfg=layout=\"{:x}\"", hasher.finish()));
    }
    // What has to be relocated takes a twentieth of the bytes. glibc knows it since 2.36 only.
    if package == "stsd" && triple.ends_with("musl") {
        cargo.arg("-Clink-arg=-Wl,-z,pack-relative-relocs");
    }
    Ok(cargo)
}

/// Sees to a compiler for the static programs, or says what is missing.
pub(crate) fn ready() -> Outcome {
    let triple = triple("musl");
    let libraries = ["--print", "target-libdir", "--target", &triple];
    let libraries = output(Command::new("rustc").args(libraries))?;
    if !Path::new(libraries.trim()).exists() {
        say(&format!("installing Rust's library for {triple}"));
        run(Command::new("rustup").args(["target", "add", &triple]))?;
    }
    // ring is C and assembler in part.
    let there = || Command::new("musl-gcc").arg("--version").output().is_ok();
    if !there() {
        packages::need(&["musl-tools"]);
    }
    match there() {
        true => Ok(()),
        false => Err("musl-gcc does not start; the package musl-tools has it".to_owned()),
    }
}

pub(crate) fn programs(source: &Path, target: &Path) -> Result<Programs, String> {
    let all = target.join("programs");
    fs::create_dir_all(&all).map_err(at(&all))?;
    for (package, profile, names) in BUILDS {
        let built = build(source, target, package, profile, &triple("musl"))?;
        for name in names {
            let program = built.join(name);
            let bytes = fs::read(&program).map_err(at(&program))?;
            if asks_for_a_loader(&bytes) {
                return Err(format!("{} is not static", program.display()));
            }
            fs::copy(&program, all.join(name)).map_err(at(&program))?;
        }
    }
    let daemon = build(source, target, "stsd", "release", &triple("gnu"))?;
    Ok(Programs {
        all,
        daemon: daemon.join("stsd"),
    })
}

/// The name of this machine with a C library.
pub(crate) fn triple(library: &str) -> String {
    format!("{}-unknown-linux-{library}", env::consts::ARCH)
}

/// Returns where the programs are.
fn build(
    source: &Path,
    target: &Path,
    package: &str,
    profile: &str,
    triple: &str,
) -> Result<PathBuf, String> {
    let mut cargo = command(package, profile, triple)?;
    cargo.current_dir(source).env("CARGO_TARGET_DIR", target);
    cargo.env("CARGO_ENCODED_RUSTFLAGS", flags(source, profile));
    run(&mut cargo)?;
    Ok(target.join(triple).join(profile))
}

/// Looks whether a program, of 64 bits and the machine's byte order, names a loader
/// (`PT_INTERP`): one that is static does not.
fn asks_for_a_loader(program: &[u8]) -> bool {
    let number = |at: usize, length: usize| {
        let bytes = program.get(at..at + length).unwrap_or_default();
        let digits = bytes.iter().rev();
        digits.fold(0, |sum, byte| sum << 8 | usize::from(*byte))
    };
    let (start, size, count) = (number(32, 8), number(54, 2), number(56, 2));
    (0..count).any(|index| number(start + index * size, 4) == 3)
}
