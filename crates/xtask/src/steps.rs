//! Decides what the chores consist of, fastest first, and stops at the first that fails.

use std::{
    env, fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    bench, clients, fuzz, packages, pictures, supply,
    systemd::{self, Depth, Told},
};

/// What must not be reachable from what: the house's table, as `cargo tree` sees it. A
/// package and what it must never depend on, with its usual features and those after a `+`.
const GUARDS: [(&str, &[&str]); 11] = [
    // With its usual features: only the daemon adds pages, and nix with them.
    ("stsd-secret", &["nix", "libc", "tracing", "stsd-wire"]),
    (
        "stsd-document",
        &["nix", "tokio", "tracing", "serde_json", "stsd-wire"],
    ),
    ("stsd-wire", &["tokio", "reqwest", "nix", "tracing"]),
    (
        "stsd-client",
        &["tokio", "reqwest", "serde_json", "stsd-sts"],
    ),
    (
        "stsd-client+aws,lease,tokio",
        &["reqwest", "serde_json", "stsd-sts"],
    ),
    (
        "sts-shim",
        &[
            "tokio",
            "reqwest",
            "tracing-subscriber",
            "stsd",
            "serde_json",
        ],
    ),
    (
        "stsd-keyring",
        &["reqwest", "nix", "stsd", "stsd-wire", "stsd-sts"],
    ),
    ("stsd-sts", &["stsd", "stsd-wire", "toml", "stsd-emulator"]),
    (
        "stsd",
        &["stsctl", "sts-shim", "stsd-emulator", "stsd-client", "clap"],
    ),
    (
        "stsd-bench",
        &["stsd", "sts-shim", "stsd-emulator", "reqwest"],
    ),
    ("stsctl", &["stsd-sts", "reqwest", "stsd", "stsd-emulator"]),
];

/// The emulator must not share code with what it judges.
const EMULATOR_GUARD: (&str, &[&str]) = (
    "stsd-emulator",
    &[
        "stsd",
        "stsd-sts",
        "stsd-wire",
        "stsd-client",
        "stsd-secret",
    ],
);

/// What takes credentials by the client, with libraries that nothing else needs.
const EXAMPLES: &str = "examples/rust/Cargo.toml";

pub(crate) type Outcome = Result<(), String>;

pub(crate) fn demo() -> Outcome {
    cargo(&["build", "--workspace", "--bins"])?;
    let program = target().join("debug/stsctl");
    run(Command::new(program).arg("demo"))
}

/// Measures the official libraries and us, and writes the table of `docs/comparison.md`.
pub(crate) fn compare() -> Outcome {
    clients::interpreters()?;
    cargo(&["build", "--workspace", "--bins", "--locked"])?;
    clients::install(&root(), &target())?;
    let mut test = cargo_command(&["test", "--quiet", "--locked", "--package", "e2e"]);
    test.args(["--test", "comparison"]);
    run(test.env("STSD_COMPARISON", "write"))?;
    let page = fs::read_to_string(root().join("docs/comparison.md"));
    let page = page.map_err(|error| format!("docs/comparison.md: {error}"))?;
    let table = page.lines().filter(|line| line.starts_with('|'));
    say(&table.collect::<Vec<_>>().join("\n"));
    Ok(())
}

/// Tells the long story of uploads at its full length.
pub(crate) fn soak() -> Outcome {
    clients::interpreters()?;
    cargo(&["build", "--workspace", "--bins", "--locked"])?;
    clients::install(&root(), &target())?;
    let mut test = cargo_command(&["test", "--locked", "--package", "e2e", "--test", "stories"]);
    run(test.args(["ten_minutes", "--", "--ignored", "--nocapture"]))
}

pub(crate) fn test() -> Outcome {
    step("interpreters");
    clients::interpreters()?;
    step("format");
    cargo(&["fmt", "--all", "--check"])?;
    cargo(&["fmt", "--manifest-path", "fuzz/Cargo.toml", "--check"])?;
    cargo(&["fmt", "--manifest-path", EXAMPLES, "--check"])?;
    step("pictures");
    pictures::check()?;
    step("lints");
    cargo(&[
        "clippy",
        "--workspace",
        "--all-targets",
        "--locked",
        "--",
        "-D",
        "warnings",
    ])?;
    step("guards: who may depend on whom");
    for (package, forbidden) in GUARDS.iter().chain([&EMULATOR_GUARD]) {
        guard(package, forbidden)?;
    }
    step("supply chain: what may come in, and from where");
    let mut not_run = vec![supply::check()?];
    step("documentation");
    let mut doc = cargo_command(&["doc", "--workspace", "--no-deps", "--locked"]);
    run(doc.env("RUSTDOCFLAGS", "-D warnings"))?;
    step("programs");
    cargo(&["build", "--workspace", "--bins", "--locked"])?;
    step("examples with other libraries");
    let mut build = cargo_command(&["build", "--locked", "--manifest-path", EXAMPLES]);
    // In a folder of their own, because other features are built there.
    run(build
        .arg("--target-dir")
        .arg(target().join("examples-rust")))?;
    step("official SDKs");
    clients::install(&root(), &target())?;
    step("packages that stories need");
    packages::need(&[
        "dbus",
        "gnome-keyring",
        "iproute2",
        "libsecret-tools",
        "mandoc",
        "nftables",
        "strace",
    ]);
    step("tests");
    cargo(&["test", "--workspace", "--locked", "--no-fail-fast"])?;
    step("work that is counted");
    packages::need(&["strace", "valgrind"]);
    if let Some(obstacle) = bench::bench(bench::Depth::Budget)? {
        not_run.push(format!("the shim's budget: {obstacle}"));
    }
    step("fuzz targets");
    match fuzz::obstacle() {
        Some(obstacle) => not_run.push(format!("fuzz targets: {obstacle}")),
        None => fuzz::fuzz(fuzz::Bound::GATE)?,
    }
    step("systemd");
    if systemd::run(&root(), &target(), &target().join("debug"), Depth::Gate)? == Told::NotAll {
        not_run.push("systemd: see NOT RUN above".to_owned());
    }
    say("\nxtask: everything passed that was run");
    for name in not_run {
        say(&format!("NOT RUN: {name}"));
    }
    Ok(())
}

/// Measures what the programs cost.
pub(crate) fn bench(depth: bench::Depth) -> Outcome {
    if let Some(obstacle) = bench::bench(depth)? {
        say(&format!("NOT RUN: the static shim: {obstacle}"));
    }
    Ok(())
}

pub(crate) fn fuzz(bound: Result<fuzz::Bound, String>) -> Outcome {
    fuzz::obstacle().map_or(Ok(()), Err)?;
    fuzz::fuzz(bound?)
}

/// Runs the checks under a real systemd alone.
pub(crate) fn systemd(depth: Depth) -> Outcome {
    cargo(&["build", "--workspace", "--bins", "--locked"])?;
    match systemd::run(&root(), &target(), &target().join("debug"), depth)? {
        Told::All => say("\nxtask: everything passed"),
        Told::NotAll => say("\nxtask: everything that was run passed; see NOT RUN above"),
    }
    Ok(())
}

/// Runs the simulation alone, optimised, for more or fewer seeds than the gate.
pub(crate) fn simulate(which: Option<(&str, &str)>) -> Outcome {
    let mut test = cargo_command(&["test", "--release", "--locked", "--package", "e2e"]);
    test.args(["--test", "simulation", "no_seed", "--", "--nocapture"]);
    test.envs(which);
    run(&mut test)
}

/// Fails when a package can reach what it must not. Development dependencies do not ship,
/// so they do not count.
fn guard(guarded: &str, forbidden: &[&str]) -> Outcome {
    let (package, features) = guarded.split_once('+').unwrap_or((guarded, ""));
    let mut tree = cargo_command(&["tree", "--locked", "--edges", "normal", "--prefix", "none"]);
    let output = tree
        .args(["--package", package, "--features", features])
        .args(["--format", "{p}"])
        .output()
        .map_err(|error| format!("cargo tree does not start: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let names: Vec<_> = text
        .lines()
        .filter_map(|line| line.split(' ').next())
        .collect();
    if !output.status.success() || !names.contains(&package) {
        return Err(format!("cargo tree says nothing of {guarded}"));
    }
    match forbidden.iter().find(|name| names.contains(name)) {
        Some(name) => Err(format!("{guarded} must not depend on {name}, and does")),
        None => {
            say(&format!(
                "{guarded}: reaches none of {}",
                forbidden.join(", ")
            ));
            Ok(())
        }
    }
}

pub(crate) fn run(command: &mut Command) -> Outcome {
    let shown = command.get_program().to_string_lossy().into_owned();
    let status = command
        .status()
        .map_err(|error| format!("{shown} does not start: {error}"))?;
    if status.success() {
        return Ok(());
    }
    let arguments: Vec<_> = command.get_args().map(|it| it.to_string_lossy()).collect();
    Err(format!("{shown} {}: {status}", arguments.join(" ")))
}

pub(crate) fn say(text: &str) {
    let _ = writeln!(io::stdout(), "{text}");
}

pub(crate) fn step(name: &str) {
    say(&format!("\n== {name}"));
}

fn cargo(arguments: &[&str]) -> Outcome {
    run(&mut cargo_command(arguments))
}

pub(crate) fn cargo_command(arguments: &[&str]) -> Command {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(arguments).current_dir(root());
    command
}

pub(crate) fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.ancestors().nth(2).unwrap_or(own).to_owned()
}

pub(crate) fn target() -> PathBuf {
    let target = env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    root().join(target.unwrap_or_else(|| "target".into()))
}
