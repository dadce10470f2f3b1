use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
};

use nix::{sys::stat::Mode, unistd::mkfifo};
use stsd_document::Format;

use super::*;

fn file(path: &Path) -> CredentialsFile {
    CredentialsFile::new(ExportFile {
        path: path.to_owned(),
        format: Format::Oss,
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
async fn a_file_is_private_and_replaced_as_a_whole() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("StsInfo.json");
    fs::write(
        &path,
        "what a killed one has left, and much longer than what comes",
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
    // A link in its place is replaced as well, and so is nothing at all.
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
async fn the_same_session_is_written_once_and_again_when_it_was_taken_away() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("StsInfo.json");
    let (mut file, session) = (file(&path), session());
    sync(&mut file, Some(&session), 0).await;
    let before = file_id(&path);
    sync(&mut file, Some(&session), 0).await;
    assert_eq!(file_id(&path), before);
    fs::remove_file(&path).unwrap();
    sync(&mut file, Some(&session), 0).await;
    assert!(path.exists());
}

#[tokio::test]
async fn what_cannot_be_replaced_stays_while_it_lives_and_no_longer() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("StsInfo.json");
    let mut file = file(&path);
    sync(&mut file, Some(&session()), 0).await;
    // A directory that others may write to since: nothing is put there any more.
    let mode = |mode| {
        let permissions = fs::Permissions::from_mode(mode);
        fs::set_permissions(directory.path(), permissions).unwrap();
    };
    mode(0o777);
    assert_eq!(sync(&mut file, Some(&session()), 3598).await, 1);
    assert!(path.exists(), "it still lives");
    assert_eq!(sync(&mut file, Some(&session()), 3600).await, 2);
    assert!(!path.exists(), "it has ended");
    mode(0o700);
    assert_eq!(sync(&mut file, Some(&session()), 3600).await, 0);
    assert!(path.exists());
}

#[test]
fn a_file_stands_where_nobody_else_can_put_another() {
    let directory = tempfile::tempdir().unwrap();
    let inside = |name: &str| directory.path().join(name);
    let refused = |path: &Path| check(path).unwrap_err();
    let mode = |mode| {
        let permissions = fs::Permissions::from_mode(mode);
        fs::set_permissions(directory.path(), permissions).unwrap();
    };
    for (bits, good) in [
        (0o700, true),
        (0o755, true),
        (0o775, false),
        (0o757, false),
        (0o1777, false),
    ] {
        mode(bits);
        assert_eq!(check(&inside("x")).is_ok(), good, "{bits:o}");
    }
    mode(0o700);
    mkfifo(&inside("fifo"), Mode::S_IRUSR).unwrap();
    fs::create_dir(inside("directory")).unwrap();
    for name in ["fifo", "directory"] {
        assert!(matches!(refused(&inside(name)), FileError::NotAFile(_)));
    }
    assert!(matches!(refused(&inside("none/x")), FileError::Io { .. }));
    fs::write(inside("file"), "").unwrap();
    assert!(check(&inside("file/x")).is_err());
    assert!(matches!(refused(Path::new("/")), FileError::NoDirectory(_)));
    check_writable(&inside("x")).unwrap();
    assert!(!inside(".x.try").exists());
}
