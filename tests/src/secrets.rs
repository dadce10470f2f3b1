//! The search for secrets in output, arguments and files.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Texts that occur in secrets only: in the long-lived key's secret, in a session's secret, in its
/// token or one of the metadata, and in what identity providers sign.
pub const MARKERS: [&str; 5] = [
    "ExampleSecretOf",
    "EmulatedSecret",
    "EmulatedToken",
    stsd_emulator::OIDC_TOKEN_MARKER,
    stsd_emulator::SAML_ASSERTION_MARKER,
];

/// The secret of the RAM user's long-lived key.
pub const KEY_SECRET: &str = "ExampleSecretOfUploader000001";

/// Fails the story if `output` contains a secret.
///
/// # Panics
/// When it does.
#[track_caller]
pub fn assert_no_secrets(source: &str, output: &[u8]) {
    if let Some(marker) = marker_in(output) {
        panic!("{source} contains {marker}");
    }
}

/// Returns the files below a directory, and the processes, that contain a secret.
pub(crate) fn leaks(directory: &Path, processes: impl Iterator<Item = u32>) -> Vec<String> {
    let mut leaks = Vec::new();
    for id in processes {
        let arguments = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        leaks.extend(marker_in(&arguments).map(|it| format!("an argument list contains {it}")));
    }
    let mut pending = vec![directory.to_owned()];
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                pending.push(path);
            } else if path.is_file() && !may_hold_secrets(&path) {
                // Nothing else is read: a FIFO has no end.
                leaks.extend(leak_in_file(path));
            }
        }
    }
    leaks
}

fn leak_in_file(path: PathBuf) -> Option<String> {
    let marker = marker_in(&fs::read(&path).unwrap_or_default())?;
    Some(format!("{} contains {marker}", path.display()))
}

fn marker_in(text: &[u8]) -> Option<&'static str> {
    let is_in = |marker: &&&str| {
        let marker = marker.as_bytes();
        text.windows(marker.len()).any(|window| window == marker)
    };
    MARKERS.iter().find(is_in).copied()
}

/// Returns `true` for a file that a story has named as one with a secret in it.
fn may_hold_secrets(path: &Path) -> bool {
    path.extension()
        .is_some_and(|it| it == "key" || it == "secret")
}
