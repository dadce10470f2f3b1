//! The packages that a package must not depend on, checked with `cargo tree`.

use crate::process::{Outcome, cargo_command};

/// Packages and what each must never depend on, as `cargo tree` sees it: with the default
/// features, and those after a `+`.
const GUARDS: [(&str, &[&str]); 16] = [
    // A list of names, which every program may have.
    ("stsd-codes", &["serde", "tokio", "tracing", "stsd-wire"]),
    // With the default features: the daemon alone adds `pages`, and nix with it.
    ("stsd-secret", &["nix", "libc", "tracing", "stsd-wire"]),
    (
        "stsd-document",
        &["nix", "tokio", "tracing", "serde_json", "stsd-wire"],
    ),
    // One text for the daemon and stsctl.
    ("stsd-metrics", &["tokio", "nix", "tracing", "serde_json"]),
    ("stsd-wire", &["tokio", "reqwest", "nix", "tracing"]),
    // Pure: the daemon and stsctl have the same limits, and nothing else in common.
    (
        "stsd-model",
        &[
            "nix",
            "rustix",
            "tokio",
            "tracing",
            "stsd-wire",
            "stsd-secret",
        ],
    ),
    // The daemon and stsctl judge by one function, which must not bring either into the other.
    (
        "stsd-trust",
        &[
            "tokio",
            "tracing",
            "serde",
            "stsd-wire",
            "stsd-secret",
            "stsd-model",
            "stsd",
        ],
    ),
    (
        "stsd-client",
        &[
            "tokio",
            "reqwest",
            "serde_json",
            "stsd-sts",
            "stsd-model",
            "stsd-trust",
        ],
    ),
    (
        "stsd-client+aws,lease,tokio",
        &[
            "reqwest",
            "serde_json",
            "stsd-sts",
            "stsd-model",
            "stsd-trust",
        ],
    ),
    (
        "sts-shim",
        &[
            "tokio",
            "reqwest",
            "tracing-subscriber",
            "stsd",
            "stsd-model",
            "stsd-trust",
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
    (
        "stsd-oss-client",
        &[
            "stsd",
            "stsd-sts",
            "stsd-client",
            "stsd-wire",
            "stsd-secret",
            "stsd-emulator",
            "tokio",
        ],
    ),
];

/// The emulator shares no code with the programs that it verifies.
const EMULATOR_GUARD: (&str, &[&str]) = (
    "stsd-emulator",
    &[
        "stsd",
        "stsd-sts",
        "stsd-wire",
        "stsd-client",
        "stsd-secret",
        "stsd-model",
        "stsd-trust",
    ],
);

/// Checks every guard.
pub(super) fn check() -> Outcome {
    for (package, forbidden) in GUARDS.iter().chain([&EMULATOR_GUARD]) {
        guard(package, forbidden)?;
    }
    Ok(())
}

/// Fails when a package can reach a forbidden one. Development dependencies do not ship, so
/// they do not count.
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
        return Err(format!("cargo tree does not list {guarded}"));
    }
    match forbidden.iter().find(|name| names.contains(name)) {
        Some(name) => Err(format!("{guarded} must not depend on {name}, and does")),
        None => Ok(()),
    }
}
