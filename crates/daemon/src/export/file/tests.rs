//! The states of an export file on a real file system.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
};

use stsd_document::Format;

use super::*;

fn file(path: &Path) -> CredentialsFile {
    CredentialsFile::new(ExportFile {
        path: path.to_owned(),
        content: FileContent::Format(Format::Oss),
    })
}

fn session() -> Arc<Session> {
    Arc::new(Session::sample())
}

async fn sync(file: &mut CredentialsFile, session: Option<&Arc<Session>>, seconds: u64) -> u32 {
    let name = ProfileName::new("oss-upload").unwrap();
    let now = BootTime::default() + Duration::from_secs(seconds);
    file.sync(session, &name, now).await
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap().flatten();
    let mut names: Vec<_> = entries
        .map(|it| it.file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn export_file_is_private_and_replaced_atomically() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("StsInfo.json");
    fs::write(
        &path,
        "the file of a killed daemon, with more bytes than the new document has",
    )
    .unwrap();
    let elsewhere = directory.path().join("elsewhere");
    fs::write(&elsewhere, "not ours").unwrap();
    symlink(&elsewhere, directory.path().join(".StsInfo.json.new")).unwrap();
    let mut file = file(&path);
    assert_eq!(sync(&mut file, Some(&session()), 0).await, 0);
    let text = fs::read_to_string(&path).unwrap();
    let document: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(document["AccessKeyId"], "STS.SAMPLE");
    let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode, 0o600);
    assert_eq!(fs::read_to_string(&elsewhere).unwrap(), "not ours");
    // A symbolic link in its place is replaced, and a missing file is created.
    for plant in [true, false] {
        fs::remove_file(&path).unwrap();
        if plant {
            symlink(&elsewhere, &path).unwrap();
        }
        assert_eq!(sync(&mut file, Some(&session()), 0).await, 0);
        assert!(fs::symlink_metadata(&path).unwrap().is_file());
    }
    assert_eq!(names(directory.path()), ["StsInfo.json", "elsewhere"]);
    assert_eq!(sync(&mut file, None, 0).await, 0);
    assert_eq!(names(directory.path()), ["elsewhere"]);
}

#[tokio::test]
async fn export_file_is_rewritten_only_after_its_removal() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("StsInfo.json");
    let (mut file, session) = (file(&path), session());
    sync(&mut file, Some(&session), 0).await;
    let before = FileId::of(&path);
    sync(&mut file, Some(&session), 0).await;
    assert_eq!(FileId::of(&path), before);
    fs::remove_file(&path).unwrap();
    sync(&mut file, Some(&session), 0).await;
    assert!(path.exists());
}

#[tokio::test]
async fn failed_replacement_keeps_the_file_until_its_session_expires() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("StsInfo.json");
    let mut file = file(&path);
    sync(&mut file, Some(&session()), 0).await;
    // Another user can write to the directory now, so that no file is created in it.
    let mode = |mode| {
        let permissions = fs::Permissions::from_mode(mode);
        fs::set_permissions(directory.path(), permissions).unwrap();
    };
    mode(0o777);
    assert_eq!(sync(&mut file, Some(&session()), 3598).await, 1);
    assert!(path.exists(), "the session is valid");
    assert_eq!(sync(&mut file, Some(&session()), 3600).await, 2);
    assert!(!path.exists(), "the session has expired");
    mode(0o700);
    assert_eq!(sync(&mut file, Some(&session()), 3600).await, 0);
    assert!(path.exists());
}

#[tokio::test]
async fn file_that_another_daemon_wrote_last_is_not_removed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("StsInfo.json");
    let (mut first, mut second) = (file(&path), file(&path));
    let (of_first, of_second) = (session(), session());
    sync(&mut first, Some(&of_first), 0).await;
    sync(&mut second, Some(&of_second), 0).await;
    let written = FileId::of(&path);
    sync(&mut first, Some(&of_first), 0).await;
    assert_eq!(FileId::of(&path), written, "the first does not replace it");
    assert!(first.is_contended() && !second.is_contended());
    // The end of the first.
    sync(&mut first, None, 0).await;
    assert_eq!(FileId::of(&path), written);
    sync(&mut second, None, 0).await;
    assert!(!path.exists());
}
