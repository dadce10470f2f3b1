//! Files that `stsctl setup` leaves unchanged: unsupported ones, those of another user, and read-only
//! ones.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, chown, symlink},
    path::Path,
    process::{Command, Stdio},
};

use e2e::{Home, TestEnv, UPLOAD, program, run};
use nix::unistd::geteuid;

use super::FILES;

#[test]
fn setup_leaves_an_unsupported_file_unchanged() {
    let env = TestEnv::with_http(&[], UPLOAD);
    let home = Home::in_env(&env);
    for (tool, name, text, says) in [
        (
            "aliyun-cli",
            ".aliyun/config.json",
            "{\"profiles\": [",
            "line 1",
        ),
        (
            "aliyun-cli",
            ".aliyun/config.json",
            "{\"profiles\": 7}",
            "no list",
        ),
        (
            "aliyun-cli",
            ".aliyun/config.json",
            "{\"profiles\":[{\"name\":\"oss-upload\",\"mode\":\"AK\"}]}",
            "--name",
        ),
        (
            "aliyun-cli",
            ".aliyun/config.json",
            "{\"profiles\":[{\"name\":\"oss-upload\",\"mode\":\"External\",\"process_command\":\"/mine\"}]}",
            "--name",
        ),
        ("aws", ".aws/config", "[default\n", "line 1"),
        (
            "aws",
            ".aws/config",
            "[a]\n[profile oss-upload]\nrole_arn=x\n",
            "--name",
        ),
        (
            "aws",
            ".aws/config",
            "[profile oss-upload]\ncredential_process=/mine\n",
            "--name",
        ),
        (
            "aws",
            ".aws/config",
            "[profile oss-upload]\nSSO_account_id=1\n",
            "--name",
        ),
        (
            "aws",
            ".aws/config",
            "[profile oss-upload]\nsource_profile=x\n",
            "--name",
        ),
        (
            "aws",
            ".aws/config",
            "[profile oss-upload]\nendpoint_url=http://minio.example:9000\n",
            "--name",
        ),
        (
            "aws",
            ".aws/config",
            "[profile oss-upload]\nservices=x\n",
            "--name",
        ),
        (
            "aws",
            ".aws/config",
            "[profile oss-upload]\ns3 =\n  addressing_style = path\n",
            "addressing_style",
        ),
        (
            "aws",
            ".aws/config",
            "[profile oss-upload]\ns3 = x\n",
            "addressing_style",
        ),
        (
            "rclone",
            ".config/rclone/rclone.conf",
            "RCLONE_ENCRYPT_V0:\nabc\n",
            "encrypted",
        ),
        (
            "rclone",
            ".config/rclone/rclone.conf",
            "[oss-upload]\ntype=drive\n",
            "--name",
        ),
        (
            "rclone",
            ".config/rclone/rclone.conf",
            "[oss-upload]\ntype=s3\nprovider=Minio\nendpoint=http://minio.example:9000\n",
            "--name",
        ),
        (
            "rclone",
            ".config/rclone/rclone.conf",
            "[oss-upload]\ntype=s3\nprovider=AWS\nprofile=prod\n",
            "--name",
        ),
        (
            "rclone",
            ".config/rclone/rclone.conf",
            "[oss-upload]\ntype=s3\nprofile=prod\n",
            "--name",
        ),
        (
            "rclone",
            ".config/rclone/rclone.conf",
            "[oss-upload]\ntype=s3\nendpoint=minio.example\n",
            "--name",
        ),
        (
            "rclone",
            ".config/rclone/rclone.conf",
            "[oss-upload]\ntype=s3\nrole_arn=x\n",
            "--name",
        ),
        (
            "ossutil1",
            ".ossutilconfig",
            "[AkService]\necsAk=http://100.100.100.200/x\n",
            "ecsAk",
        ),
        (
            "ossutil1",
            ".ossutilconfig",
            "[Credentials]\naccessKeyID=LTAIMINE\n",
            "accessKeyID",
        ),
    ] {
        home.put(name, text, 0o600);
        let before = home.files();
        let output = home.setup(&[tool, "oss-upload", "--region", "cn-hongkong", "--write"]);
        let complaint = output.stderr;
        assert_eq!(output.code, Some(1), "{text}: {complaint}");
        assert!(
            complaint.contains(says) && complaint.contains(name),
            "{text}: {complaint}"
        );
        assert!(
            !complaint.contains("MINE"),
            "the content is shown: {complaint}"
        );
        assert_eq!(home.files(), before, "{text}");
    }
    // Another name adds an entry beside the existing one.
    let name = ["--name", "by-stsd", "--write"];
    let line = ["aliyun-cli", "oss-upload", "--region", "cn-hongkong"];
    home.put(".aliyun/config.json", FILES[0].2, 0o600);
    let taken = home.setup(&[&line[..], &["--name", "mine", "--write"]].concat());
    assert_eq!(taken.code, Some(1));
    home.setup(&[&line[..], &name].concat()).assert_success();
    home.setup(&["aliyun-cli", "oss-upload", "--name", "by-stsd", "--check"])
        .assert_success();
}

#[test]
fn setup_follows_a_link_and_refuses_another_users_file() {
    let env = TestEnv::with_http(&[], UPLOAD);
    let home = Home::in_env(&env);
    home.put("dotfiles/aws", "[default]\n", 0o600);
    fs::create_dir(home.file(".aws")).unwrap();
    symlink("../dotfiles/aws", home.file(".aws/config")).unwrap();
    home.setup_write("aws");
    assert!(home.file(".aws/config").is_symlink());
    assert!(home.text("dotfiles/aws").contains("sts-shim"));
    assert_eq!(home.text(".aws/config.stsd-backup"), "[default]\n");

    // A rename would replace a read-only target, which another program generates.
    home.put("dotfiles/aws", "[default]\n", 0o444);
    let output = home.setup(&["aws", "oss-upload", "--region", "cn-hongkong", "--write"]);
    assert_eq!(output.code, Some(1), "{}", output.stderr);
    assert!(output.stderr.contains("has mode 0444"), "{}", output.stderr);
    assert_eq!(home.text("dotfiles/aws"), "[default]\n");

    let refused = |says: &str| {
        let before = home.files();
        let output = home.setup(&["rclone", "oss-upload", "--region", "cn-hongkong", "--write"]);
        let complaint = output.stderr;
        assert_eq!(output.code, Some(1), "{complaint}");
        assert!(complaint.contains(says), "{complaint}");
        assert_eq!(home.files(), before);
    };
    let path = home.file(".config/rclone/rclone.conf");
    // The backup cannot be written.
    home.put(".config/rclone/rclone.conf", "[a]\n", 0o600);
    let backup = home.file(".config/rclone/rclone.conf.stsd-backup");
    symlink("/dev/null", &backup).unwrap();
    refused("would not be kept");
    fs::remove_file(&backup).unwrap();
    fs::remove_file(&path).unwrap();
    home.put(".config/rclone/x", "", 0o600);
    symlink("nowhere", &path).unwrap();
    refused("is a link");
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    refused("no file");
    fs::remove_dir(&path).unwrap();
    if !geteuid().is_root() {
        e2e::not_run("only root can make a file another user's, for the last step");
        return;
    }
    home.put(".config/rclone/rclone.conf", "[a]\n", 0o666);
    chown(&path, Some(64_001), Some(64_001)).unwrap();
    refused("another user");
}

#[test]
fn setup_in_an_unwritable_directory_changes_nothing() {
    let env = TestEnv::with_http(&[], UPLOAD);
    let home = Home::in_env(&env);
    home.put(".aws/config", "[default]\n", 0o600);
    let closed =
        |path: &Path| fs::set_permissions(path, fs::Permissions::from_mode(0o555)).unwrap();
    let arguments = [
        "setup",
        "aws",
        "oss-upload",
        "--region",
        "cn-hongkong",
        "--write",
    ];
    let programs = tempfile::tempdir().unwrap();
    let command = if geteuid().is_root() {
        // Modes do not restrict root, so the command runs as another user.
        for path in [programs.path(), &env.path("")] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        for name in ["stsctl", "sts-shim"] {
            fs::copy(program(name), programs.path().join(name)).unwrap();
        }
        for name in ["", ".aws", ".aws/config"] {
            chown(home.file(name), Some(64_001), Some(64_001)).unwrap();
        }
        let mut command = Command::new("setpriv");
        command.args(["--reuid=64001", "--regid=64001", "--clear-groups", "--"]);
        command.arg(programs.path().join("stsctl")).args(arguments);
        command.env("HOME", home.path()).stdin(Stdio::null());
        command
    } else {
        home.command(&arguments)
    };
    closed(&home.file(".aws"));
    let before = home.files();
    let output = run(command);
    let complaint = output.stderr;
    fs::set_permissions(home.file(".aws"), fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(output.code, Some(1), "{complaint}");
    assert!(complaint.contains("cannot be written"), "{complaint}");
    assert_eq!(home.files(), before);
}
