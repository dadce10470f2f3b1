//! The check of the dependencies' licences, sources and bans: cargo-deny against `deny.toml`.

use crate::process::{cargo_command, root, run, say};

/// The manifest of each workspace.
const MANIFESTS: [&str; 3] = ["Cargo.toml", "fuzz/Cargo.toml", "examples/rust/Cargo.toml"];

/// Runs cargo-deny for each workspace; returns what was not checked.
pub(crate) fn check() -> Result<String, String> {
    let version = cargo_command(&["deny", "--version"]).output();
    if !version.is_ok_and(|output| output.status.success()) {
        return Ok(
            "licences, sources, bans and advisories: cargo-deny is not installed: \
                   cargo install --locked cargo-deny"
                .to_owned(),
        );
    }
    for manifest in MANIFESTS {
        say(manifest);
        let mut deny = cargo_command(&["deny", "--locked", "--log-level", "error"]);
        // A manifest below the root has no deny.toml beside it.
        deny.arg("--manifest-path").arg(root().join(manifest));
        deny.args(["check", "--config"])
            .arg(root().join("deny.toml"));
        run(deny.args(["licenses", "sources", "bans"]))?;
    }
    Ok("advisories: `cargo deny check advisories` downloads them from github.com".to_owned())
}
