//! The build of the released programs: each with a cargo command of its own, so that no program has
//! the features of another one, and without paths of the machine.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::{Architecture, Programs, at};
use crate::{
    apt,
    process::{Outcome, cargo_command, run, succeeds},
    rust_target,
};

/// A package, its profile, and its programs.
const BUILDS: [(&str, &str, &[&str]); 5] = [
    ("stsd", "release", &["stsd"]),
    ("stsctl", "release", &["stsctl"]),
    ("sts-shim", SHIM, &["sts-shim"]),
    ("stsd-emulator", "release", &["stsd-emulator"]),
    ("stsd-oss-client", "release", &["stsd-oss-client"]),
];

/// The profile of the shim. Two linker options apply to the shim alone, because it runs for less
/// than a millisecond: a fixed address, because relocations cost a third of its instructions and a
/// thirtieth of its time; and one segment for headers, constants and code, because the kernel then
/// maps two segments less, a twentieth of its time. The constants are executable in return.
pub(crate) const SHIM: &str = "shim";

/// Returns the command that builds a package of a source as it is released.
pub(crate) fn command(
    source: &Path,
    package: &str,
    profile: &str,
    architecture: Architecture,
    library: &str,
) -> Command {
    let triple = architecture.triple(library);
    let mut cargo = cargo_command(&["build", "--locked", "--package", package]);
    cargo.args(["--profile", profile, "--target", &triple]);
    // The bytes must not depend on variables of the caller.
    for (name, _) in env::vars_os() {
        let is_profile = name.to_string_lossy().starts_with("CARGO_PROFILE_");
        if is_profile || name == "CFLAGS" {
            cargo.env_remove(name);
        }
    }
    // In RUSTFLAGS, a space in a path would separate two flags.
    cargo.env("CARGO_ENCODED_RUSTFLAGS", flags(source, profile, &triple));
    if architecture.kernel_name() != env::consts::ARCH {
        let compiler = architecture.cross_compiler();
        let variable = triple.replace('-', "_");
        cargo.env(format!("CC_{variable}"), &compiler);
        let variable = variable.to_uppercase();
        cargo.env(format!("CARGO_TARGET_{variable}_LINKER"), compiler);
    }
    cargo
}

/// Returns the flags of the compiler, separated as `CARGO_ENCODED_RUSTFLAGS` requires it.
fn flags(source: &Path, profile: &str, triple: &str) -> String {
    let home = env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let registry = env::var_os("CARGO_HOME").map_or(home.join(".cargo"), PathBuf::from);
    let renamed = |from: &Path, to: &str| format!("--remap-path-prefix={}={to}", from.display());
    let mut flags = vec![renamed(source, "stsd"), renamed(&registry, "cargo")];
    let linked: &[&str] = match profile {
        SHIM => &[
            "-Crelocation-model=static",
            "-Clink-arg=-Wl,-z,noseparate-code",
        ],
        // Packed relocations take a twentieth of the bytes. glibc supports them since 2.36. Static
        // programs for aarch64 have no relocations: Rust links them at a fixed address.
        _ if triple == "x86_64-unknown-linux-musl" => &["-Clink-arg=-Wl,-z,pack-relative-relocs"],
        _ => &[],
    };
    flags.extend(linked.iter().map(ToString::to_string));
    flags.join("\x1f")
}

/// Installs the compilers and libraries of static programs, and for other architectures than that of
/// this machine those of the daemon in the Debian package.
///
/// # Errors
///
/// The command that installs a missing part, which could not be installed.
pub(crate) fn check_toolchain(architectures: &[Architecture]) -> Outcome {
    for architecture in architectures {
        let is_native = architecture.kernel_name() == env::consts::ARCH;
        for library in ["musl", "gnu"] {
            rust_target::ensure(&architecture.triple(library))?;
        }
        // ring contains C and assembler.
        if is_native {
            check_compiler("musl-gcc", &["musl-tools"])?;
        } else {
            check_compiler(
                &architecture.cross_compiler(),
                &architecture.cross_packages(),
            )?;
        }
    }
    Ok(())
}

fn check_compiler(compiler: &str, packages: &[&str]) -> Outcome {
    let is_installed = || succeeds(Command::new(compiler).arg("--version"));
    if !is_installed() {
        apt::ensure(packages);
    }
    match is_installed() {
        true => Ok(()),
        false => Err(format!(
            "{compiler} does not start; on Debian: sudo apt-get install {}",
            packages.join(" ")
        )),
    }
}

/// Builds all programs for an architecture.
pub(crate) fn programs(
    source: &Path,
    target: &Path,
    architecture: Architecture,
) -> Result<Programs, String> {
    let all = target.join(format!("programs-{}", architecture.kernel_name()));
    fs::create_dir_all(&all).map_err(at(&all))?;
    let build = |package, profile, library| {
        let mut cargo = command(source, package, profile, architecture, library);
        cargo.current_dir(source).env("CARGO_TARGET_DIR", target);
        run(&mut cargo)?;
        Ok::<_, String>(target.join(architecture.triple(library)).join(profile))
    };
    for (package, profile, names) in BUILDS {
        let built = build(package, profile, "musl")?;
        for name in names {
            let program = built.join(name);
            let bytes = fs::read(&program).map_err(at(&program))?;
            if has_interpreter(&bytes) {
                return Err(format!("{} is not static", program.display()));
            }
            fs::copy(&program, all.join(name)).map_err(at(&program))?;
        }
    }
    Ok(Programs {
        architecture,
        all,
        daemon: build("stsd", "release", "gnu")?.join("stsd"),
    })
}

/// Returns `true` if an ELF file has an interpreter (`PT_INTERP`), which a static program has not.
/// The file must be of 64 bits and of the machine's byte order.
fn has_interpreter(program: &[u8]) -> bool {
    let number = |at: usize, length: usize| {
        let bytes = program.get(at..at + length).unwrap_or_default();
        let digits = bytes.iter().rev();
        digits.fold(0, |sum, byte| sum << 8 | usize::from(*byte))
    };
    let (start, size, count) = (number(32, 8), number(54, 2), number(56, 2));
    (0..count).any(|index| number(start + index * size, 4) == 3)
}
