//! The programs in `examples/`, unchanged, through rotations.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use e2e::{clients, sdk_env, upload_lines};

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../examples")
        .join(name)
}

/// Writes lines to an example through three rotations, and asserts that each is in the bucket.
fn keeps_lines(command: Command) {
    let env = sdk_env(&["--session-life", "12s"]);
    for (key, line) in upload_lines(&env, command, "lines") {
        let found = env.oss_with_profile("oss-upload", &["get", "examplebucket", &key], "");
        assert_eq!(found, Ok(line));
    }
}

fn python(name: &str) -> Command {
    let mut command = Command::new(clients().join("python/bin/python"));
    command.arg(example("python").join(name));
    command
}

#[test]
fn oss2_example_uploads_through_rotations() {
    keeps_lines(python("upload_oss2.py"));
}

#[test]
fn alibabacloud_oss_v2_example_uploads_through_rotations() {
    keeps_lines(python("upload_oss_v2.py"));
}

#[test]
fn ali_oss_example_uploads_through_rotations() {
    // Node searches modules beside the script.
    let place = tempfile::tempdir().unwrap();
    let script = place.path().join("upload_ali_oss.mjs");
    fs::copy(example("node/upload_ali_oss.mjs"), &script).unwrap();
    symlink(
        clients().join("node/node_modules"),
        place.path().join("node_modules"),
    )
    .unwrap();
    let mut command = Command::new("node");
    command.arg(script);
    keeps_lines(command);
}
